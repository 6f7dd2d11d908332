//! TLS: the certificate and its key, which can be replaced while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, fs};

use aws_lc_rs::digest::{Context, SHA256};
use chrono::DateTime;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys};
use tokio_rustls::TlsAcceptor;
use webpki::{EndEntityCert, KeyUsage};

use crate::base::clock;
use crate::base::config::{Config, ConfigError, PublicUrl};

/// A certificate that ends within this time is warned about, in seconds.
const ENDS_SOON: u64 = 3 * 86_400;

/// The last second of the year 9999, when every certificate has ended.
const FAR: u64 = 253_402_300_799;

/// The other bits of a file's mode that let everybody read it.
const READABLE_BY_ALL: u32 = 0o004;

/// The certificate of a server, and what connections need to use it.
pub struct Tls {
    acceptor: TlsAcceptor,
    pair: Arc<Pair>,
    public_url: PublicUrl,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pair.fmt(formatter)
    }
}

/// The files of a certificate and its key, and what they contained when they were read last.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// Names the files. The key is not shown.
impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pair({}, {})", self.cert.display(), self.key.display())
    }
}

/// The knowledge about the files.
struct Seen {
    stamp: Option<Stamp>,
    digest: Option<Vec<u8>>,
    /// The digest of content that could not be used. It is warned about if it is still there at the next look.
    refused: Option<Vec<u8>>,
    is_warned: bool,
    life: Life,
    validity: Validity,
}

/// The marks that tell a replaced file from the one before: for both files, device, inode, size and time of the last change.
type Stamp = [(u64, u64, u64, i64, i64); 2];

/// The times of a certificate, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Life {
    begins: Option<u64>,
    ends: Option<u64>,
}

/// The validity of a certificate at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Early,
    Valid,
    EndsSoon,
    Ended,
}

impl Life {
    fn at(self, now: u64) -> Validity {
        match (self.begins, self.ends) {
            (Some(begins), _) if now < begins => Validity::Early,
            (_, Some(ends)) if now > ends => Validity::Ended,
            (_, Some(ends)) if now + ENDS_SOON > ends => Validity::EndsSoon,
            _ => Validity::Valid,
        }
    }
}

/// The content of the files, after it was checked.
struct Loaded {
    certified: Arc<CertifiedKey>,
    life: Life,
    warnings: Vec<String>,
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A certificate that was read, and what an operator must know about it.
type WithWarnings = (Arc<Tls>, Vec<String>);

impl Tls {
    /// Reads the certificate and the key of the settings, and returns warnings about them. `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a file cannot be read, or if the two do not belong together.
    pub fn read(config: &Config) -> Result<Option<WithWarnings>, ConfigError> {
        let Some((cert, key)) = config.listening.tls() else { return Ok(None) };
        let stamp = stamp(cert, key);
        let (digest, loaded) = load(cert, key, &config.public_url);
        let loaded = loaded?;
        let validity = loaded.life.at(now());
        let mut warnings = loaded.warnings;
        warnings.extend(sentence(cert, loaded.life, validity));
        let seen =
            Seen { stamp, digest, refused: None, is_warned: false, life: loaded.life, validity };
        let pair = Arc::new(Pair {
            cert: cert.clone(),
            key: key.clone(),
            current: RwLock::new(loaded.certified),
            seen: Mutex::new(seen),
        });
        let acceptor = acceptor(&pair).map_err(|error| {
            ConfigError::new(&format!("TLS cannot be set up ({error}): report this as a bug"))
        })?;
        let public_url = config.public_url.clone();
        Ok(Some((Arc::new(Self { acceptor, pair, public_url }), warnings)))
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Looks whether the files were replaced, and uses the new ones if they can be used. Logs what changed. This blocks,
    /// because it reads files. With `at_once`, it reads them although they look the same, and warns of a fault without
    /// waiting for the next look.
    pub fn look(&self, at_once: bool) {
        let pair = &*self.pair;
        let mut seen = pair.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&pair.cert, &pair.key);
        if at_once || stamp.is_none() || stamp != seen.stamp || seen.refused.is_some() {
            seen.stamp = stamp;
            self.reload(&mut seen, at_once);
        }
        let validity = seen.life.at(now());
        if validity != seen.validity {
            seen.validity = validity;
            if let Some(warning) = sentence(&pair.cert, seen.life, validity) {
                tracing::warn!("{warning}");
            }
        }
    }

    fn reload(&self, seen: &mut MutexGuard<'_, Seen>, at_once: bool) {
        let pair = &*self.pair;
        let (digest, loaded) = load(&pair.cert, &pair.key, &self.public_url);
        if digest.is_some() && digest == seen.digest {
            seen.refused = None;
            return;
        }
        match loaded {
            Ok(loaded) => {
                *pair.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.certified;
                seen.digest = digest;
                seen.refused = None;
                (seen.life, seen.validity) = (loaded.life, Validity::Valid);
                let ends = loaded.life.ends.map(date).unwrap_or_default();
                tracing::info!(valid_until = ends, "the certificate was replaced");
                loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            }
            Err(fault) => {
                // Programs write the two files one after the other, so the next look may find both.
                let is_new = seen.refused.as_ref() != Some(&digest.clone().unwrap_or_default());
                if is_new {
                    seen.refused = Some(digest.unwrap_or_default());
                    seen.is_warned = false;
                }
                if at_once || !(is_new || seen.is_warned) {
                    seen.is_warned = true;
                    tracing::warn!("the server keeps the certificate that it has, because {fault}");
                }
            }
        }
    }
}

/// Checks the certificate and the key of the settings. Returns warnings.
///
/// # Errors
///
/// [`ConfigError`] if they cannot be used.
pub(crate) fn check(config: &Config) -> Result<Vec<String>, ConfigError> {
    Ok(Tls::read(config)?.map(|(_, warnings)| warnings).unwrap_or_default())
}

fn acceptor(pair: &Arc<Pair>) -> Result<TlsAcceptor, Error> {
    let mut config = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(pair) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets let clients resume, and strangers cannot fill the memory with them.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn now() -> u64 {
    clock::now().seconds()
}

fn stamp(cert: &Path, key: &Path) -> Option<Stamp> {
    let of = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    Some([of(cert)?, of(key)?])
}

/// Reads both files, and returns the digest of their content if they could be read.
fn load(
    cert: &Path,
    key: &Path,
    public_url: &PublicUrl,
) -> (Option<Vec<u8>>, Result<Loaded, ConfigError>) {
    let read = |name: &str, what: &str, path: &Path| {
        fs::read(path).map_err(|error| {
            ConfigError::new(&format!(
                "{name} is \"{}\", and this file cannot be read ({error}): name a PEM file with {what} that the user \
                 of this process can read",
                path.display()
            ))
        })
    };
    let cert_text = match read("TLS_CERT", "the certificate", cert) {
        Ok(text) => text,
        Err(fault) => return (None, Err(fault)),
    };
    let key_text = match read("TLS_KEY", "the private key", key) {
        Ok(text) => text,
        Err(fault) => return (None, Err(fault)),
    };
    let mut digest = Context::new(&SHA256);
    digest.update(&cert_text);
    digest.update(&[0]);
    digest.update(&key_text);
    let digest = digest.finish().as_ref().to_vec();
    (Some(digest), judge((cert, &cert_text), (key, &key_text), public_url))
}

fn judge(
    (cert_path, cert_text): (&Path, &[u8]),
    (key_path, key_text): (&Path, &[u8]),
    public_url: &PublicUrl,
) -> Result<Loaded, ConfigError> {
    let (cert, key) = (cert_path.display(), key_path.display());
    let refused = |sentence: String| ConfigError::new(&sentence);
    let chain = chain_of(cert_text)
        .map_err(|fault| refused(format!("TLS_CERT is \"{cert}\", and {fault}")))?;
    let private = private_key_of(key_text)
        .map_err(|fault| refused(format!("TLS_KEY is \"{key}\", and {fault}")))?;
    let certified = CertifiedKey::from_der(chain, private, &default_provider());
    let certified = certified.map(Arc::new).map_err(|error| {
        refused(match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "TLS_KEY \"{key}\" does not belong to the first certificate of TLS_CERT \"{cert}\": name the key that it \
                 was made for, and put the certificate of the server before those of its authorities"
            ),
            error => format!(
                "TLS_CERT \"{cert}\" and TLS_KEY \"{key}\" cannot be used ({error}): use a certificate of X.509 version \
                 3 with a key for ECDSA, RSA (2048 bits or more) or Ed25519"
            ),
        })
    })?;
    let (life, fits) = examined(&certified, public_url);
    let mut warnings = Vec::new();
    if !fits {
        warnings.push(format!(
            "the certificate of TLS_CERT \"{cert}\" is not for {}, the host of PUBLIC_URL, so callers refuse it: use a \
             certificate with this name, or correct PUBLIC_URL",
            public_url.host()
        ));
    }
    if fs::metadata(key_path).is_ok_and(|found| found.mode() & READABLE_BY_ALL != 0) {
        warnings.push(format!(
            "every user of this machine can read TLS_KEY \"{key}\": run chmod o-rwx on it"
        ));
    }
    Ok(Loaded { certified, life, warnings })
}

/// Reads the certificates of a PEM file.
fn chain_of(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("this file contains no certificate: name a PEM file that begins with \
                      -----BEGIN CERTIFICATE-----"
            .to_owned()),
        Err(error) => Err(format!("this file is damaged ({error}): write it again")),
    }
}

/// Reads the private key of a PEM file. The error contains nothing of the file.
fn private_key_of(text: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| {
        if contains(text, b"ENCRYPTED") {
            "this key has a password: remove it with openssl pkey, and let only the user of this process read the file"
        } else {
            "this file contains no private key: name a PEM file with a line such as -----BEGIN PRIVATE KEY-----"
        }
    })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Returns the times of a certificate, and whether it is for the host of a URL.
fn examined(certified: &CertifiedKey, public_url: &PublicUrl) -> (Life, bool) {
    let cert = certified.end_entity_cert().ok().and_then(|cert| EndEntityCert::try_from(cert).ok());
    let Some(cert) = cert else { return (Life { begins: None, ends: None }, true) };
    // The library says when a certificate begins and ends if it is asked about a time outside.
    let fault_at = |seconds: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        cert.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let begins = match fault_at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => Some(not_before.as_secs()),
        _ => None,
    };
    let ends = match fault_at(FAR) {
        Some(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    };
    let host = public_url.host().to_string();
    let host = ServerName::try_from(host.trim_matches(['[', ']']));
    let fits = host.is_ok_and(|host| cert.verify_is_valid_for_subject_name(&host).is_ok());
    (Life { begins, ends }, fits)
}

fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map(|date| date.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

/// A warning about the validity of a certificate.
fn sentence(cert: &Path, life: Life, validity: Validity) -> Option<String> {
    let named = format!("the certificate of TLS_CERT \"{}\"", cert.display());
    let [begins, ends] = [life.begins, life.ends].map(|time| time.map(date).unwrap_or_default());
    match validity {
        Validity::Valid => None,
        Validity::Early => Some(format!(
            "{named} is valid only from {begins}, so callers refuse it until then: check the clock of this machine"
        )),
        Validity::EndsSoon => Some(format!(
            "{named} expires on {ends}: renew it, because callers refuse it afterwards; the server uses a new file within \
             seconds"
        )),
        Validity::Ended => Some(format!(
            "{named} expired on {ends}, so callers refuse it: renew it; the server uses a new file within seconds"
        )),
    }
}
