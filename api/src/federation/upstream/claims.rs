//! The claims of a provider about a person, and the part of them that is believed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Upstream;
use crate::base::config::Preset;
use crate::base::scope::{MAX_SCOPES, Scope, Scopes};
use crate::identity::user::{Email, Profile, Website};

/// The claims of a provider about a person who signed in there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Said {
    /// The name of the provider.
    pub upstream: String,
    /// The issuer that named the subject.
    pub issuer: String,
    /// The subject.
    pub subject: String,
    /// The address, if it is one.
    pub email: Option<String>,
    /// `true` if the provider verified the address and owns its domain, so that it is believed.
    pub is_owned: bool,
    /// The name.
    pub name: Option<String>,
    /// The surname.
    pub surname: Option<String>,
    /// The web page.
    pub website: Option<String>,
    /// The words that the provider gives.
    pub words: Vec<String>,
    /// The name of the session there.
    pub sid: Option<String>,
    /// The time when the person signed in there, in seconds since the epoch, if the provider says it.
    pub auth_time: Option<u64>,
    /// `true` if the entry trusts the provider that this was a second factor.
    pub is_second: bool,
}

impl Said {
    /// Reads the claims of a provider.
    pub fn read(
        upstream: &Upstream,
        issuer: &str,
        subject: &str,
        claims: &Map<String, Value>,
    ) -> Self {
        let settings = &upstream.settings;
        let email = text(claims, "email").and_then(|text| text.parse::<Email>().ok());
        let is_owned = email.as_ref().is_some_and(|email| owns(upstream, claims, email));
        let mapped = |member: &str, usual: Option<&str>| {
            let own = settings.claims.get(member).map(String::as_str);
            line(claims, own.or(usual)?)
        };
        let website = mapped("website", None).and_then(|text| text.parse::<Website>().ok());
        Self {
            upstream: upstream.name().to_owned(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: email.map(String::from),
            is_owned,
            name: mapped("name", Some("given_name")),
            surname: mapped("surname", Some("family_name")),
            website: website.map(String::from),
            words: words(upstream, claims),
            sid: text(claims, "sid").filter(|sid| sid.len() <= 255).map(ToOwned::to_owned),
            auth_time: claims
                .get("auth_time")
                .and_then(Value::as_f64)
                .map(super::id_token::seconds),
            is_second: is_second(upstream, claims),
        }
    }

    /// The profile that it fills.
    pub fn profile(&self) -> Profile {
        Profile {
            name: self.name.clone(),
            surname: self.surname.clone(),
            website: self.website.as_deref().and_then(|text| text.parse().ok()),
            ..Profile::default()
        }
    }

    /// The words that the provider gives.
    pub fn scopes(&self) -> Scopes {
        self.words.iter().filter_map(|word| word.parse::<Scope>().ok()).collect()
    }
}

/// The claims that the entry needs and an ID token may lack. If one is missing, the provider is asked for it.
pub fn needed(upstream: &Upstream) -> Vec<&str> {
    let settings = &upstream.settings;
    let mapped = settings.claims.values().chain(settings.words.keys()).map(String::as_str);
    std::iter::once("email").chain(mapped).collect()
}

/// Adds what the provider said when it was asked. What an ID token says stays. An address and what is said about it
/// belong together, so they are never taken from different answers.
pub fn merge(mut token: Map<String, Value>, userinfo: Map<String, Value>) -> Map<String, Value> {
    const ABOUT_ADDRESS: [&str; 3] = ["email", "email_verified", "xms_edov"];
    let has_address = token.contains_key("email");
    if !has_address && userinfo.contains_key("email") {
        // It was said about another address, or about none.
        token.retain(|name, _| !ABOUT_ADDRESS.contains(&name.as_str()));
    }
    // These are about the sign-in, of which only an ID token tells.
    const ABOUT_SIGN_IN: [&str; 4] = ["auth_time", "amr", "acr", "sid"];
    for (name, value) in userinfo {
        if ABOUT_SIGN_IN.contains(&name.as_str()) {
            continue;
        }
        if !has_address || !ABOUT_ADDRESS.contains(&name.as_str()) {
            token.entry(name).or_insert(value);
        }
    }
    token
}

/// Returns true if a provider verified an address and owns its domain. A person who can write any address into an
/// account there must not become its owner here.
fn owns(upstream: &Upstream, claims: &Map<String, Value>, email: &Email) -> bool {
    let settings = &upstream.settings;
    let domain = email.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
    let domain = domain.to_ascii_lowercase();
    let is_listed = settings.domains.contains(&domain);
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    match settings.preset {
        Preset::Google => {
            let of_organisation =
                text(claims, "hd").is_some_and(|hd| hd.eq_ignore_ascii_case(&domain));
            is_verified && (domain == "gmail.com" || of_organisation || is_listed)
        }
        // Entra says no `email_verified`. Administrators of a tenant can write any address, so with several tenants a
        // list of domains proves nothing.
        Preset::Entra => is_edov(claims) || is_listed && settings.tenants.len() == 1,
        _ => is_verified && is_listed,
    }
}

/// Returns true if Entra says that the tenant owns the domain of the address.
fn is_edov(claims: &Map<String, Value>) -> bool {
    match claims.get("xms_edov") {
        Some(Value::Bool(is_owner)) => *is_owner,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => ["1", "true"].contains(&text.to_ascii_lowercase().as_str()),
        _ => false,
    }
}

/// The words for the values of claims. `super` is never one of them.
fn words(upstream: &Upstream, claims: &Map<String, Value>) -> Vec<String> {
    let mut found = Scopes::default();
    for (claim, given) in &upstream.settings.words {
        let values: Vec<&str> = match claims.get(claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let words = values.into_iter().filter_map(|value| given.get(value)).flatten();
        let words = words.filter_map(|word| word.parse::<Scope>().ok());
        found = found.iter().cloned().chain(words).collect();
    }
    let allowed = found.words().into_iter().filter(|word| word != Scope::SUPER);
    allowed.take(MAX_SCOPES).collect()
}

fn is_second(upstream: &Upstream, claims: &Map<String, Value>) -> bool {
    let trusted = &upstream.settings.second;
    let trusts = |value: &str| trusted.iter().any(|known| known == value);
    let methods = claims.get("amr").and_then(Value::as_array).into_iter().flatten();
    text(claims, "acr").is_some_and(trusts) || methods.filter_map(Value::as_str).any(trusts)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// A text of one line that fits a profile.
fn line(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let text = text(claims, name)?.trim();
    let fits =
        !text.is_empty() && text.chars().count() <= 100 && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::config::UpstreamSettings;

    fn upstream(preset: Preset, domains: &[&str], tenants: usize) -> Upstream {
        Upstream::new(UpstreamSettings {
            preset,
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            claims: [("name".to_owned(), "nick".to_owned())].into(),
            words: [(
                "groups".to_owned(),
                [
                    ("deployers".to_owned(), vec!["deploy".to_owned(), "super".to_owned()]),
                    ("readers".to_owned(), vec!["read".to_owned()]),
                ]
                .into(),
            )]
            .into(),
            tenants: vec!["t".to_owned(); tenants],
            second: vec!["mfa".to_owned()],
            ..crate::federation::upstream::example()
        })
    }

    fn said(upstream: &Upstream, claims: Value) -> Said {
        let Value::Object(claims) = claims else { panic!("{claims}") };
        Said::read(upstream, "https://sso.corp.example", "1", &claims)
    }

    #[test]
    fn an_address_is_believed_only_of_a_provider_that_owns_it() {
        use Preset::{Entra, Github, Google, Oidc};
        let domains = &["corp.example"][..];
        for (preset, domains, tenants, claims, owned) in [
            (Oidc, domains, 0, json!({"email": "a@corp.example", "email_verified": true}), true),
            (Oidc, domains, 0, json!({"email": "a@CORP.example", "email_verified": true}), true),
            (Oidc, domains, 0, json!({"email": "a@corp.example"}), false),
            (Oidc, domains, 0, json!({"email": "a@corp.example", "email_verified": false}), false),
            (Oidc, domains, 0, json!({"email": "a@corp.example", "email_verified": "true"}), false),
            (Oidc, domains, 0, json!({"email": "a@corp.example", "email_verified": 1}), false),
            (Oidc, domains, 0, json!({"email": "a@b.corp.example", "email_verified": true}), false),
            (Oidc, domains, 0, json!({"email": "a@gmail.com", "email_verified": true}), false),
            (Oidc, domains, 0, json!({"email": "nobody", "email_verified": true}), false),
            (Oidc, &[], 0, json!({"email": "a@corp.example", "email_verified": true}), false),
            (Google, &[], 0, json!({"email": "a@gmail.com", "email_verified": true}), true),
            (Google, &[], 0, json!({"email": "a@gmail.com"}), false),
            (Google, &[], 0, json!({"email": "a@b.co", "email_verified": true}), false),
            (
                Google,
                &[],
                0,
                json!({"email": "a@b.co", "email_verified": true, "hd": "b.co"}),
                true,
            ),
            (
                Google,
                &[],
                0,
                json!({"email": "a@c.co", "email_verified": true, "hd": "b.co"}),
                false,
            ),
            (Github, &[], 0, json!({"email": "a@gmail.com", "email_verified": true}), false),
            (Entra, &[], 1, json!({"email": "a@corp.example"}), false),
            (Entra, &[], 1, json!({"email": "a@corp.example", "email_verified": true}), false),
            (Entra, &[], 1, json!({"email": "a@corp.example", "xms_edov": true}), true),
            (Entra, &[], 1, json!({"email": "a@corp.example", "xms_edov": "1"}), true),
            (Entra, &[], 1, json!({"email": "a@corp.example", "xms_edov": false}), false),
            (Entra, domains, 1, json!({"email": "a@corp.example"}), true),
            (Entra, domains, 2, json!({"email": "a@corp.example"}), false),
            (Entra, domains, 2, json!({"email": "a@corp.example", "xms_edov": 1}), true),
        ] {
            let found = said(&upstream(preset, domains, tenants), claims.clone());
            assert_eq!(found.is_owned, owned, "{preset:?} {domains:?} {tenants} {claims}");
        }
    }

    #[test]
    fn words_come_from_listed_values_and_super_never_does() {
        let corp = upstream(Preset::Oidc, &[], 0);
        let words = |groups: Value| said(&corp, json!({ "groups": groups })).words;
        assert_eq!(words(json!(["deployers", "other", 7])), ["deploy"]);
        assert_eq!(words(json!(["readers", "deployers"])), ["deploy", "read"]);
        assert_eq!(words(json!("readers")), ["read"]);
        assert!(words(json!({"readers": true})).is_empty());
    }

    #[test]
    fn a_profile_takes_lines_only() {
        let corp = upstream(Preset::Oidc, &[], 0);
        let found =
            said(&corp, json!({"nick": " Ada ", "family_name": "a\nb", "given_name": "no"}));
        assert_eq!((found.name.as_deref(), found.surname), (Some("Ada"), None));
    }

    #[test]
    fn an_address_and_its_verification_come_from_one_answer() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let token = map(json!({"sub": "1", "email": "a@corp.example"}));
        let asked =
            map(json!({"email": "b@corp.example", "email_verified": true, "groups": ["x"]}));
        let merged = merge(token, asked.clone());
        assert_eq!(merged["email"], "a@corp.example");
        assert!(!merged.contains_key("email_verified") && merged.contains_key("groups"));
        let merged = merge(map(json!({"sub": "1", "email_verified": false})), asked);
        assert_eq!(
            (&merged["email"], &merged["email_verified"]),
            (&json!("b@corp.example"), &json!(true))
        );
        let merged = merge(map(json!({"email_verified": true})), map(json!({"email": "a@b.co"})));
        assert_eq!((&merged["email"], merged.get("email_verified")), (&json!("a@b.co"), None));
    }

    #[test]
    fn a_second_factor_counts_only_if_the_entry_trusts_its_name() {
        let corp = upstream(Preset::Oidc, &[], 0);
        assert!(said(&corp, json!({"amr": ["pwd", "mfa"]})).is_second);
        assert!(said(&corp, json!({"acr": "mfa"})).is_second);
        assert!(!said(&corp, json!({"amr": ["otp"]})).is_second);
    }
}
