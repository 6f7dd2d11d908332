//! The settings of pages: what they are called, how they look, whom they name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// How pages look, and what they say.
#[derive(Debug, Clone, Args)]
pub struct PageSettings {
    /// What pages call this service
    #[arg(
        long,
        env = "BRAND_NAME",
        global = true,
        value_name = "NAME",
        default_value = "Tessera",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub brand_name: String,

    /// A file with the logo above each page: SVG, PNG, JPEG or WebP, up to 256 KiB
    #[arg(long, env = "BRAND_LOGO", global = true, value_name = "FILE")]
    pub brand_logo: Option<PathBuf>,

    /// The colour of buttons and links, as #1d4ed8; where it could not be read, a darker or lighter one is
    /// taken
    #[arg(
        long,
        env = "BRAND_COLOR",
        global = true,
        value_name = "COLOR",
        default_value = "#1d4ed8"
    )]
    pub brand_color: Color,

    /// Whom people ask who may not do something, or need help: a mail address or a URL
    #[arg(long, env = "BRAND_CONTACT", global = true, value_name = "PLACE")]
    pub brand_contact: Option<Contact>,

    /// A file that says where addresses are, as GeoLite2 City (MaxMind's format), for the lists of sessions
    /// and of what happened; without it these show addresses alone
    #[arg(long, env = "GEOIP_DATABASE", global = true, value_name = "FILE")]
    pub geoip_database: Option<PathBuf>,

    /// A folder with pages, texts and style of your own, as login.html, de.ftl, style.css; what it has not
    /// is as it comes
    #[arg(long, env = "PAGE_TEMPLATES", global = true, value_name = "FOLDER")]
    pub page_templates: Option<PathBuf>,
}

impl PageSettings {
    /// `BRAND_LOGO=` in an environment file means that there is none.
    pub(super) fn complete(&mut self) {
        let files = [&mut self.brand_logo, &mut self.geoip_database, &mut self.page_templates];
        for file in files {
            *file = file.take().filter(|path| !path.as_os_str().is_empty());
        }
    }
}

/// A colour: red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl FromStr for Color {
    /// What is wrong, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] =
            number.ok_or("a colour is six hexadecimal digits, as #1d4ed8")?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

/// As `#rrggbb`.
impl fmt::Display for Color {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Where people get help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// What a link to it leads to.
    pub link: String,
    /// What is shown of it.
    pub name: String,
}

impl FromStr for Contact {
    /// What is wrong, for people.
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
            _ => Err("this is neither a mail address nor a URL that begins with https://"),
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
    fn a_contact_leads_to_a_mail_or_to_a_page_and_to_nothing_that_runs() {
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
