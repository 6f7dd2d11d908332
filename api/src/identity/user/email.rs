//! E-mail addresses.

use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};

use crate::base::error::{Error, Result};
use crate::base::mail_address::{are_same, ascii_domain, trimmed, with_ascii_domain};

/// An e-mail address that an account can have: the local part as typed, the domain in its ASCII spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// Domains that nobody has on the internet (RFC 6761, RFC 7686).
const SPECIAL_USE_DOMAINS: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

const NOT_VALID: &str = "The email address is not valid.";

impl Email {
    /// The fault of an address whose local part has other characters than ASCII. Browsers send no such address from a
    /// field for addresses, so its user could register but not use the forms of other sites.
    pub const NOT_ASCII: &str = "The part before the @-sign can have only letters without accents, digits and signs \
        such as . and +, because browsers and many mail servers take no others.";

    /// Takes an address that a row has. Earlier versions accepted addresses that are refused today, and their owners can
    /// still confirm them and take them back.
    pub(crate) fn of_row(text: String) -> Self {
        text.parse().unwrap_or(Self(text))
    }

    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if this is an address of an account, perhaps in another spelling.
    pub fn is(&self, known: &str) -> bool {
        are_same(&self.0, known)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl FromStr for Email {
    /// A sentence for people that describes the fault.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((local, domain)) = trimmed(text).rsplit_once('@') else {
            return Err("An email address must have an @-sign.");
        };
        if local.is_empty() {
            return Err("There must be something before the @-sign.");
        }
        if domain.is_empty() {
            return Err("There must be something after the @-sign.");
        }
        let Some(domain) = ascii_domain(domain) else {
            return Err(NOT_VALID);
        };
        if !domain.contains('.') {
            return Err("The part after the @-sign is not valid. It should have a period.");
        }
        let top = domain.rsplit('.').next().unwrap_or_default();
        if SPECIAL_USE_DOMAINS.contains(&top) {
            return Err(
                "The part after the @-sign is a special-use or reserved name that cannot be \
                        used with email.",
            );
        }
        // An IP address in any of its spellings: browsers read 0x7f as a number too.
        let number = top.strip_prefix("0x").unwrap_or(top);
        let is_number = top.bytes().all(|byte| byte.is_ascii_digit())
            || number.len() < top.len() && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        let address = format!("{local}@{domain}");
        if !local.is_ascii() {
            return Err(Self::NOT_ASCII);
        }
        match is_number || !is_usual(&address) {
            false => Ok(Self(address)),
            true => Err(NOT_VALID),
        }
    }
}

/// Returns true if an address has a form that mail programs use. A local part in quotes is neither a typing error nor
/// something that they use.
fn is_usual(address: &str) -> bool {
    let options = Options::default().without_display_text().without_domain_literal();
    let local = address.rsplit_once('@').map_or("", |(local, _)| local);
    // Invisible characters would make two addresses that look alike.
    let hidden = |char: char| {
        char.is_control()
            || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    !local.contains('"')
        && !local.contains(hidden)
        && address.len() <= 254
        && EmailAddress::parse_with_options(address, options).is_ok()
}

/// An address that somebody typed to find an account. Earlier versions accepted addresses that [`Email`] refuses, and
/// their users can still get mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoughtEmail(String);

impl SoughtEmail {
    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if this is an address of an account, perhaps in another spelling.
    pub fn is(&self, known: &str) -> bool {
        are_same(&self.0, known)
    }

    /// Returns the address, if an account can get it today.
    ///
    /// # Errors
    ///
    /// [`Code::UnprocessableContent`](crate::base::error::Code::UnprocessableContent), with the fault.
    pub fn for_account(self) -> Result<Email> {
        self.0.parse().map_err(|fault| {
            Error::field("email", format!("value is not a valid email address: {fault}"))
        })
    }
}

impl From<Email> for SoughtEmail {
    fn from(email: Email) -> Self {
        Self(email.0)
    }
}

impl FromStr for SoughtEmail {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = match text.parse::<Email>() {
            Ok(email) => return Ok(email.into()),
            Err(fault) => fault,
        };
        let address = with_ascii_domain(text);
        let may_be_old = fault == NOT_VALID || fault == Email::NOT_ASCII;
        if may_be_old && is_usual(&address) { Ok(Self(address)) } else { Err(fault) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that are no addresses.
    const REFUSED: &[&str] = &[
        "a@b.co?x",
        "a@b_c.co",
        "a@1.2.3.4",
        "a@b.0x7f",
        "a@b.123",
        "a@[1.2.3.4]",
        "a@-b.co",
        "a@b-.co",
        "a@b..co",
        "a@.b.co",
        "a@b.co.",
        "a@b.co/x",
        "a@b.co#x",
        "a@b.co:25",
        "a@b%2ec.co",
        "a b@c.co",
        "a@b .co",
        ".a@b.co",
        "a.@b.co",
        "a..b@c.co",
        "a@b@c.co",
        "\"a\"@b.co",
        "A <a@b.co>",
        "mailto:a@b.co?x",
        "a,b@c.co",
        "a;b@c.co",
        "a(b)@c.co",
        "a\u{200b}b@c.co",
        "a@xn--.co",
        "a@xn--0.co",
        "a@b\u{202e}c.co",
        "a@localhost",
        "a@b.test",
        "a@b.\u{ff54}est",
        "a@b",
        "@b.co",
        "a@",
        "a",
        "",
    ];

    #[test]
    fn addresses_are_refused_as_browsers_and_validators_refuse_them() {
        for text in REFUSED {
            assert!(text.parse::<Email>().is_err(), "{text}");
        }
        for (text, email) in [
            (" a@b.co ", "a@b.co"),
            ("First.Last+tag@User.COM", "First.Last+tag@user.com"),
            ("a@r3---sn.example.com", "a@r3---sn.example.com"),
            ("o'neil@1and1.com", "o'neil@1and1.com"),
            ("kontakt@M\u{dc}LLER.de", "kontakt@xn--mller-kva.de"),
        ] {
            assert_eq!(text.parse::<Email>().as_ref().map(Email::as_str), Ok(email), "{text}");
        }
    }

    #[test]
    fn addresses_of_earlier_versions_are_still_found() {
        assert_eq!("j\u{f6}rg@b.co".parse::<Email>(), Err(Email::NOT_ASCII));
        for text in ["a@b_c.co", "a@1.2.3.4", "j\u{f6}rg@b.co"] {
            assert_eq!(text.parse::<SoughtEmail>().as_ref().map(SoughtEmail::as_str), Ok(text));
        }
        assert!("a@localhost".parse::<SoughtEmail>().is_err());
        assert!("nobody".parse::<SoughtEmail>().is_err());
    }
}
