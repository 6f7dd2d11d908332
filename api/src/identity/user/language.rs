//! The language of a user: in it they get mails, and pages when they are signed in.

use std::str::FromStr;

use super::User;
use crate::platform::mail::Recipient;

/// The maximum number of characters of a tag (RFC 5646, section 4.4.1).
const MAX_LENGTH: usize = 35;

/// The tag of a language (BCP 47), in the usual case: `de`, `pt-BR`, `zh-Hant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language(String);

impl Language {
    /// Returns the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Language {
    /// A sentence for people that describes the fault.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FAULT: &str = "Input should be the tag of a language, such as de or pt-BR";
        // Operating systems write de_DE.
        let text = text.trim().replace('_', "-").to_ascii_lowercase();
        let mut parts = text.split('-');
        let is_language = parts.next().is_some_and(|first| {
            (2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_lowercase())
        });
        let is_part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !is_language || !parts.all(is_part) || text.len() > MAX_LENGTH {
            return Err(FAULT);
        }
        let parts = text.split('-').enumerate().map(|(place, part)| match (place, part.len()) {
            (1.., 2) => part.to_ascii_uppercase(),
            (1.., 4) if part.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                format!("{}{}", part[..1].to_ascii_uppercase(), &part[1..])
            }
            _ => part.to_owned(),
        });
        Ok(Self(parts.collect::<Vec<_>>().join("-")))
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

impl User {
    /// Returns the user as the recipient of a mail.
    pub fn recipient(&self) -> Recipient {
        self.recipient_at(self.email.clone())
    }

    /// Returns the user as the recipient of a mail to another address of theirs.
    pub fn recipient_at(&self, address: String) -> Recipient {
        Recipient { address, language: self.profile.language.clone().map(String::from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_a_tag_in_its_usual_case() {
        for (text, tag) in [
            ("de", "de"),
            (" DE ", "de"),
            ("de_DE", "de-DE"),
            ("pt-br", "pt-BR"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("gsw", "gsw"),
            ("es-419", "es-419"),
            ("sl-rozaj-biske-1994", "sl-rozaj-biske-1994"),
        ] {
            assert_eq!(text.parse::<Language>().as_ref().map(Language::as_str), Ok(tag), "{text}");
        }
        let long = format!("de{}", "-abcdefgh".repeat(4));
        for text in
            ["", "d", "german", "de-", "-de", "de--at", "de DE", "d\u{e9}", "1a", "de;q=1", &long]
        {
            assert!(text.parse::<Language>().is_err(), "{text}");
        }
    }
}
