//! The settings of web pages: name, appearance and contact.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// The settings of web pages.
#[derive(Debug, Clone, Args)]
pub struct PageSettings {
    /// The name of the service on web pages
    #[arg(
        long,
        env = "BRAND_NAME",
        global = true,
        value_name = "NAME",
        default_value = "Tessera",
        value_parser = super::value::parse_name
    )]
    pub brand_name: String,

    /// A file with a logo, which web pages show beside the name and as the icon: SVG, PNG, JPEG or WebP, up to
    /// 256 KiB. Without it, they show the first letter or digit of the name
    #[arg(long, env = "BRAND_LOGO", global = true, value_name = "FILE")]
    pub brand_logo: Option<PathBuf>,

    /// The colour of buttons and links, for example `#1d4ed8`. Links are darker or lighter than it if they would be
    /// hard to read
    #[arg(
        long,
        env = "BRAND_COLOR",
        global = true,
        value_name = "COLOR",
        default_value = "#1d4ed8"
    )]
    pub brand_color: Color,

    /// Contact shown to users who need help or more permissions: a mail address or a URL
    #[arg(long, env = "BRAND_CONTACT", global = true, value_name = "PLACE")]
    pub brand_contact: Option<Contact>,

    /// A file in MaxMind's format with the places of IP addresses, for example GeoLite2 City. With it, lists of
    /// sessions and events show a place beside each address
    #[arg(long, env = "GEOIP_DATABASE", global = true, value_name = "FILE")]
    pub geoip_database: Option<PathBuf>,

    /// A folder with your own templates, texts and styles for web pages, for example login.html, de.ftl and
    /// style.css. Tessera uses its own files for missing ones
    #[arg(long, env = "PAGE_TEMPLATES", global = true, value_name = "FOLDER")]
    pub page_templates: Option<PathBuf>,
}

impl PageSettings {
    /// Treats an empty value, such as `BRAND_LOGO=` in an environment file, as not set.
    pub(super) fn complete(&mut self) {
        let files = [&mut self.brand_logo, &mut self.geoip_database, &mut self.page_templates];
        for file in files {
            *file = file.take().filter(|path| !path.as_os_str().is_empty());
        }
    }
}

/// A colour, as its parts red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl FromStr for Color {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] =
            number.ok_or("must be # and six hexadecimal digits, such as #1d4ed8")?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

/// Writes the colour as `#rrggbb`.
impl fmt::Display for Color {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The contact that pages show to users who need help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The target of a link to the contact.
    pub link: String,
    /// The text of the link.
    pub name: String,
}

impl FromStr for Contact {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>`".contains(&byte));
        let is_address = text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'));
        let name = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        match name {
            Some(name) if plain && !name.is_empty() && !name.contains('@') => {
                Ok(Self { link: text.to_owned(), name: name.trim_end_matches('/').to_owned() })
            }
            None if plain && is_address && !text.contains(':') => {
                Ok(Self { link: format!("mailto:{text}"), name: text.to_owned() })
            }
            _ => Err("must be a mail address or a URL that begins with https://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, Contact};

    #[test]
    fn a_colour_is_six_digits_and_is_shown_as_it_was_given() {
        let color: Color = "#0F172a".parse().unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!((color.0, color.to_string()), ([15, 23, 42], "#0f172a".to_owned()));
        for wrong in ["", "#fff", "1d4ed8", "#1d4ed8;}", "#+d4ed8a", "#1d4edé"] {
            assert!(wrong.parse::<Color>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_contact_is_a_mail_address_or_a_url_that_runs_no_script() {
        let contact = |text: &str| text.parse::<Contact>().map(|contact| contact.link);
        assert_eq!(contact("help@example.com"), Ok("mailto:help@example.com".to_owned()));
        assert_eq!(contact("https://example.com/help"), Ok("https://example.com/help".to_owned()));
        for wrong in [
            "javascript:alert(1)//a@b.c",
            "data:text/html,x",
            "https://user:secret@example.com/",
            "help",
            "https://",
            "a@b.c\" x",
        ] {
            assert!(contact(wrong).is_err(), "{wrong}");
        }
    }
}
