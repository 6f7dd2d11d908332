//! The places of IP addresses, from a file.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader};

use crate::base::config::ConfigError;

/// A file with the places of IP addresses.
pub(super) struct Places(Reader<Vec<u8>>);

impl fmt::Debug for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Places(…)")
    }
}

impl Places {
    /// Reads the whole file into memory.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        let reader = Reader::open_readfile(file);
        reader.map(Self).map_err(|error| {
            ConfigError::new(&format!("GEOIP_DATABASE: {}: {error}", file.display()))
        })
    }

    /// An address with its city and country, in this language if the file has their names in it, else in English.
    pub(super) fn name(&self, address: &str, language: &str) -> String {
        let known: Vec<_> = ["city", "country"]
            .into_iter()
            .filter_map(|part| self.part(address.parse().ok()?, part, language))
            .collect();
        if known.is_empty() {
            return address.to_owned();
        }
        format!("{} ({address})", known.join(", "))
    }

    fn part(&self, address: IpAddr, part: &str, language: &str) -> Option<String> {
        let found = self.0.lookup(address).ok()?;
        let name = |language| {
            let path = ["names", language].map(PathElement::Key);
            let path = [PathElement::Key(part), path[0].clone(), path[1].clone()];
            found.decode_path::<String>(&path).ok().flatten()
        };
        name(language).or_else(|| name("en"))
    }
}
