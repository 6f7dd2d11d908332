//! Sources of claims: a closed list of values that a token can contain about a user.
//!
//! A claim that names a person is given only for a verified address, except `email`, which brings `email_verified`
//! along. In many programs, a local part or an address that nobody proved is the account of another person.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::User;

/// Claims of the protocol, which cannot be mapped.
pub const OF_THE_PROTOCOL: [&str; 31] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "typ",
    "type",
    "fresh",
    "sid",
    "gen",
    "scope",
    "auth_time",
    "acr",
    "amr",
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "client_id",
    "grant_id",
    "cnf",
    "act",
    "may_act",
    "events",
    "email_verified",
    "active",
    "token_type",
    "authorization_details",
];

/// The maximum length of a claim's name, and of a constant, in characters.
const MAX_LENGTH: usize = 128;

/// The origin of a claim's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The address.
    Email,
    /// The local part of a verified address of one domain.
    EmailLocal(String),
    /// The given name.
    GivenName,
    /// The family name.
    FamilyName,
    /// Both names.
    Name,
    /// The web page.
    Website,
    /// The user's scopes that begin with a prefix, without it.
    Words(String),
    /// `true` if the user has a scope.
    Has(String),
    /// A text that is the same for everybody.
    Constant(String),
}

/// Sources without a parameter, by name.
const SIMPLE: [(&str, Source); 5] = [
    ("email", Source::Email),
    ("given_name", Source::GivenName),
    ("family_name", Source::FamilyName),
    ("name", Source::Name),
    ("website", Source::Website),
];

impl FromStr for Source {
    /// A sentence for people.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |fault: &str| Err(format!("The source {text:?} of a claim {fault}"));
        if let Some((_, source)) = SIMPLE.into_iter().find(|(name, _)| *name == text) {
            return Ok(source);
        }
        if let Some(domain) = text.strip_prefix("email_local@") {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || [b'.', b'-'].contains(&byte);
            return match !domain.is_empty() && domain.bytes().all(known) {
                true => Ok(Self::EmailLocal(domain.to_ascii_lowercase())),
                false => fault("must name a domain, such as email_local@example.com"),
            };
        }
        let within = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(prefix) = within("words") {
            return Ok(Self::Words(prefix.to_owned()));
        }
        if let Some(word) = within("has") {
            return match word.is_empty() {
                true => fault("must name a scope, such as has(group:staff)"),
                false => Ok(Self::Has(word.to_owned())),
            };
        }
        let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        let constant = quoted.unwrap_or(text);
        let known =
            |char: char| char.is_alphanumeric() || ['_', '-', '.', ':', '/'].contains(&char);
        let is_like_a_source = quoted.is_none()
            && (SIMPLE.iter().any(|(name, _)| is_similar(name, text)) || !text.chars().all(known));
        if constant.is_empty() || constant.chars().count() > MAX_LENGTH || is_like_a_source {
            return fault(
                "must be email, email_local@DOMAIN, given_name, family_name, name, website, words(PREFIX), \
                 has(SCOPE) or a constant text. Put quotes around a constant that looks like another source: 'text'",
            );
        }
        Ok(Self::Constant(constant.to_owned()))
    }
}

/// Returns true if two words differ by at most one letter or two neighbours, as after a typing error.
fn is_similar(name: &str, typed: &str) -> bool {
    let (name, typed) = (name.as_bytes(), typed.to_ascii_lowercase().into_bytes());
    let first = name.iter().zip(&typed).take_while(|(one, other)| one == other).count();
    let last = name.iter().rev().zip(typed.iter().rev());
    let last = last.take_while(|(one, other)| one == other).count();
    let longest = name.len().max(typed.len());
    typed.len() > 2
        && longest.saturating_sub(first + last) <= 2
        && name.len().abs_diff(typed.len()) <= 1
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmailLocal(domain) => write!(formatter, "email_local@{domain}"),
            Self::Words(prefix) => write!(formatter, "words({prefix})"),
            Self::Has(word) => write!(formatter, "has({word})"),
            Self::Constant(text) => write!(formatter, "'{text}'"),
            simple => {
                let name = SIMPLE.iter().find(|(_, source)| source == simple);
                formatter.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Source {
    /// The value for a user; `None` if the user has none.
    fn value(&self, user: &User) -> Option<Value> {
        let User { email, is_verified, profile, .. } = user;
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        match self {
            Self::Email => is_verified.then(|| json!(email)),
            Self::EmailLocal(domain) => {
                let (local, own) = email.rsplit_once('@')?;
                (*is_verified && own.eq_ignore_ascii_case(domain)).then(|| json!(local))
            }
            Self::GivenName => text(&profile.name),
            Self::FamilyName => text(&profile.surname),
            Self::Name => {
                let names = [profile.name.as_deref(), profile.surname.as_deref()];
                let names: Vec<_> = names.into_iter().flatten().collect();
                (!names.is_empty()).then(|| json!(names.join(" ")))
            }
            Self::Website => profile.website.as_ref().map(|website| json!(website.as_str())),
            Self::Words(prefix) => {
                let words = user.scopes().words();
                let words = words.iter().filter_map(|word| word.strip_prefix(prefix.as_str()));
                Some(json!(words.collect::<Vec<_>>()))
            }
            Self::Has(word) => Some(json!(user.scopes().contains(word))),
            Self::Constant(text) => Some(json!(text)),
        }
    }
}

/// Returns what is wrong with the name of a mapped claim, if it cannot be mapped.
pub fn fault_of_name(name: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_graphic() && ![b'"', b'\\', b'=', b','].contains(&byte);
    if name.is_empty() || name.len() > MAX_LENGTH || !name.bytes().all(known) {
        return Some(format!(
            "The claim {name:?} must have a name of up to {MAX_LENGTH} visible ASCII characters without quotes, \
             backslashes, commas and equals signs"
        ));
    }
    OF_THE_PROTOCOL.contains(&name).then(|| {
        format!(
            "The claim {name:?} cannot be mapped: the protocol defines it, and services rely on it"
        )
    })
}

/// Adds the claims of a mapping.
pub fn put_all(found: &mut Map<String, Value>, mapped: &BTreeMap<String, Source>, user: &User) {
    for (name, source) in mapped {
        put(found, name, source, user);
    }
}

/// Adds a claim. `email` from the address is also given if the address is not verified, with `email_verified` beside it.
pub fn put(found: &mut Map<String, Value>, name: &str, source: &Source, user: &User) {
    if name == "email" && *source == Source::Email {
        found.insert("email".to_owned(), json!(user.email));
        found.insert("email_verified".to_owned(), json!(user.is_verified));
    } else if let Some(value) = source.value(user) {
        if name == "email" {
            found.remove("email_verified");
        }
        found.insert(name.to_owned(), value);
    } else {
        // A mapped claim replaces the usual one, also if this user has no value for it.
        found.remove(name);
    }
}

/// Reads the mapping of a setting: names, or names with their sources, such as `email` and `role=authenticated`.
///
/// # Errors
///
/// A sentence that shows the faulty part.
pub fn mapping(parts: &[String]) -> Result<BTreeMap<String, Source>, String> {
    let mut mapped = BTreeMap::new();
    for part in parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let (name, source) = match part.split_once('=') {
            Some((name, source)) => (name, source.parse()?),
            None => match part.parse()? {
                Source::Constant(_) => {
                    return Err(format!(
                        "The claim {part:?} must have a source, such as {part}=email"
                    ));
                }
                source => (part, source),
            },
        };
        if let Some(fault) = fault_of_name(name) {
            return Err(fault);
        }
        if mapped.insert(name.to_owned(), source).is_some() {
            return Err(format!("The claim {name:?} is mapped twice"));
        }
    }
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use entity::UserId;

    use super::*;
    use crate::base::scope::Scopes;
    use crate::identity::user::Profile;

    fn user(is_verified: bool) -> User {
        User {
            id: UserId(uuid::Uuid::nil()),
            email: "Ada@Example.com".to_owned(),
            is_active: true,
            is_superuser: false,
            is_verified,
            profile: Profile {
                name: Some("Ada".to_owned()),
                surname: Some("Lovelace".to_owned()),
                website: None,
                language: None,
            },
            granted: Scopes::parse("authenticated group:staff group:ops report:read"),
        }
    }

    #[test]
    fn a_source_is_one_of_a_closed_list_and_is_written_as_it_is_read() {
        let same = [
            "email",
            "given_name",
            "family_name",
            "name",
            "website",
            "email_local@example.com",
            "words(group:)",
            "words()",
            "has(super)",
            "'authenticated'",
            "'emial'",
            "'a b'",
        ];
        for text in same {
            assert_eq!(
                text.parse::<Source>().map(|source| source.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!("authenticated".parse(), Ok(Source::Constant("authenticated".to_owned())));
        assert_eq!("web_anon".parse(), Ok(Source::Constant("web_anon".to_owned())));
        let bad = [
            "",
            "''",
            "emial",
            "emai",
            "Email",
            "websit",
            "given-name",
            "nme",
            "words(group:",
            "has()",
            "email_local@",
            "email_local@a b",
            "password(x)",
            "sql; drop",
            "hash()",
            "familyname",
        ];
        for text in bad {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_come_from_the_user_and_addresses_only_if_they_are_verified() {
        let rows = [
            ("email", json!("Ada@Example.com"), None),
            ("email_local@example.com", json!("Ada"), None),
            ("name", json!("Ada Lovelace"), Some(json!("Ada Lovelace"))),
            ("words(group:)", json!(["ops", "staff"]), Some(json!(["ops", "staff"]))),
            ("has(report:read)", json!(true), Some(json!(true))),
            ("has(super)", json!(false), Some(json!(false))),
            ("role_x", json!("role_x"), Some(json!("role_x"))),
        ];
        for (source, verified, unverified) in rows {
            let source: Source = source.parse().unwrap();
            assert_eq!(source.value(&user(true)), Some(verified));
            assert_eq!(source.value(&user(false)), unverified);
        }
        let other: Source = "email_local@other.com".parse().unwrap();
        assert_eq!(other.value(&user(true)), None);
    }

    #[test]
    fn an_address_brings_along_whether_it_is_verified() {
        for is_verified in [true, false] {
            let mut found = Map::new();
            put(&mut found, "email", &Source::Email, &user(is_verified));
            let expected = json!({ "email": "Ada@Example.com", "email_verified": is_verified });
            assert_eq!(Value::from(found), expected);
        }
        let mut found = Map::new();
        put(&mut found, "email", &Source::Email, &user(true));
        put(&mut found, "email", &Source::Constant("x".to_owned()), &user(true));
        assert_eq!(Value::from(found), json!({ "email": "x" }));
    }

    #[test]
    fn claims_of_the_protocol_cannot_be_mapped() {
        for name in OF_THE_PROTOCOL.into_iter().chain(["", "a b", "a\"b", "a=b", "ä"]) {
            assert!(fault_of_name(name).is_some(), "{name}");
        }
        for name in ["email", "username", "https://example.com/role", "groups"] {
            assert_eq!(fault_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_setting_maps_names_to_sources() {
        let parts = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let good = "email, username=email,role=authenticated,groups=words(group:)";
        let mapped = mapping(&parts(good)).unwrap();
        let written: Vec<_> =
            mapped.iter().map(|(name, source)| format!("{name}={source}")).collect();
        assert_eq!(
            written.join(","),
            "email=email,groups=words(group:),role='authenticated',username=email"
        );
        assert_eq!(mapping(&[]), Ok(BTreeMap::new()));
        for bad in [
            "sub=email",
            "email,email=name",
            "role",
            "a=",
            "x=emial",
            "=email",
            "email_verified='true'",
        ] {
            assert!(mapping(&parts(bad)).is_err(), "{bad}");
        }
    }
}
