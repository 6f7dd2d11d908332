//! The names of kinds of password hashes, for reports of an import. A name never contains a part of the hash.

use super::foreign::{Digested, Foreign, unwrapped};
use super::is_readable;
use crate::identity::user::PasswordHash;

/// The kind of a text that another program stores for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashKind {
    /// The name, for people.
    pub name: String,
    /// `true` if passwords can be checked against the hash, in an acceptable time.
    pub is_usable: bool,
}

/// Kinds that are not used, with the beginnings of their hashes: one quick digest, which a thief of the database tries
/// billions of times a second, or no digest at all.
const UNSAFE: &[(&str, &str)] = &[
    ("md5$", "md5 (Django)"),
    ("sha1$", "sha1 (Django)"),
    ("unsalted_", "a digest without salt (Django)"),
    ("{SHA}", "sha1 without salt"),
    ("{sha}", "sha1 without salt"),
    ("{SHA256}", "sha256 without salt"),
    ("{SHA512}", "sha512 without salt"),
    ("{MD5}", "md5 without salt"),
    ("{SMD5}", "md5 (LDAP)"),
    ("{okta:MD5}", "md5 (Okta)"),
    ("{okta:SHA-1}", "sha1 (Okta)"),
    ("{okta:SHA-256}", "sha256 (Okta)"),
    ("{okta:SHA-512}", "sha512 (Okta)"),
    ("{firebase}", "scrypt of Firebase"),
    ("{noop}", "plain text"),
    ("{CLEARTEXT}", "plain text"),
    ("{PLAIN}", "plain text"),
];

/// Kinds that are known by their beginning, with the name that they have if their parameters take too much work or they
/// are damaged.
const LIMITED: &[(&str, &str)] = &[
    ("$2", "bcrypt"),
    ("bcrypt$", "bcrypt"),
    ("bcrypt_sha256$", "bcrypt"),
    ("$bcrypt-sha256$", "bcrypt"),
    ("$wp$2", "bcrypt"),
    ("$argon2", "argon2"),
    ("pbkdf2", "PBKDF2"),
    ("$pbkdf2", "PBKDF2"),
    ("scrypt", "scrypt"),
    ("$scrypt", "scrypt"),
    ("$5$", "sha256_crypt"),
    ("$6$", "sha512_crypt"),
    ("$P$", "phpass"),
    ("$H$", "phpass"),
];

/// Returns the kind of a hash. Returns `None` for the texts by which other programs say that there is no password.
pub fn kind_of(hash: &PasswordHash) -> Option<HashKind> {
    let text = hash.expose();
    // Django writes an exclamation mark before random characters, and Unix writes one or an asterisk.
    if text.is_empty() || text.starts_with(['!', '*']) || text == "x" || hash.is_none() {
        return None;
    }
    let is_usable = is_readable(hash);
    let name = if is_usable { usable(hash).to_owned() } else { unusable(text) };
    Some(HashKind { name, is_usable })
}

fn usable(hash: &PasswordHash) -> &'static str {
    let text = unwrapped(hash.expose());
    match Foreign::read(hash.expose()) {
        Some(Foreign::Argon2 { .. }) if text.starts_with("$argon2id") => "argon2id",
        Some(Foreign::Argon2 { .. }) if text.starts_with("$argon2i$") => "argon2i",
        Some(Foreign::Argon2 { .. }) => "argon2d",
        Some(Foreign::Pbkdf2 { name, .. }) => match name {
            "SHA-1" => "PBKDF2 with SHA-1",
            "SHA-256" => "PBKDF2 with SHA-256",
            _ => "PBKDF2 with SHA-512",
        },
        Some(Foreign::Scrypt { .. }) => "scrypt",
        Some(Foreign::Bcrypt { of: Digested::Not, .. }) | None => "bcrypt",
        Some(Foreign::Bcrypt { .. }) => "bcrypt of a digest",
        Some(Foreign::ShaCrypt { .. }) if text.starts_with("$5$") => "sha256_crypt",
        Some(Foreign::ShaCrypt { .. }) => "sha512_crypt",
        Some(Foreign::Md5Crypt { .. }) => "md5_crypt (weak)",
        Some(Foreign::Phpass { .. }) => "phpass (weak)",
        Some(Foreign::Salted { .. }) => "salted SHA (weak)",
    }
}

fn unusable(text: &str) -> String {
    if let Some((_, name)) = UNSAFE.iter().find(|(begin, _)| text.starts_with(begin)) {
        return (*name).to_owned();
    }
    let inner = unwrapped(text);
    if let Some((_, name)) = LIMITED.iter().find(|(begin, _)| inner.starts_with(begin)) {
        return format!("{name}, damaged or too much work");
    }
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = match text.len() {
        32 if is_hex => "md5 without salt",
        40 if is_hex => "sha1 without salt",
        64 if is_hex => "sha256 without salt",
        128 if is_hex => "sha512 without salt",
        _ => "unknown, or plain text",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::kind_of;
    use crate::identity::user::PasswordHash;

    #[test]
    fn a_kind_has_a_name_and_is_used_only_if_it_is_safe() {
        for (text, name, is_usable) in [
            ("$2y$10$Mnk1MFmHboLrl.hHn0avpObvcrjuQNieV57N1asbeChZoW7/wh3Aq", "bcrypt", true),
            (
                "$2y$31$Mnk1MFmHboLrl.hHn0avpObvcrjuQNieV57N1asbeChZoW7/wh3Aq",
                "bcrypt, damaged or too much work",
                false,
            ),
            ("md5$m9DNsAxbYlpjYvPF2DF6X8$bc21dc7d5b39cd947594b3be4fa324f8", "md5 (Django)", false),
            ("{SHA}Qns9BXOkJKSVxrGjJPkqrhdwpdM=", "sha1 without salt", false),
            ("{SSHA}u/q054wGQQKzu5haj7XBfBcI16mylrK2", "salted SHA (weak)", true),
            ("bc21dc7d5b39cd947594b3be4fa324f8", "md5 without salt", false),
            ("hunter2", "unknown, or plain text", false),
            (
                "$argon2id$v=19$m=4194304,t=9,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
                "argon2, damaged or too much work",
                false,
            ),
        ] {
            let kind = kind_of(&PasswordHash::new(text.to_owned())).unwrap();
            assert_eq!((kind.name.as_str(), kind.is_usable), (name, is_usable), "{text}");
        }
        for text in ["", "!", "*", "!QB2TvAg6WAXKQ73NSk3cYGjzomQIkFBHxNjePuB5"] {
            assert_eq!(kind_of(&PasswordHash::new(text.to_owned())), None, "{text}");
        }
    }
}
