//! The settings of other providers: `UPSTREAMS_FILE`, a list in YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use strum::{EnumString, IntoStaticStr, VariantArray};
use url::Url;

use super::value::{Registration, Secret, parse_seconds};
use super::yaml::{fault_of, without_value};
use super::{ConfigError, variable};
use crate::base::scope::Scope;

/// The maximum size of the file, in bytes.
const MAX_LENGTH: usize = 256 * 1024;

/// The settings of other providers.
#[derive(Debug, Clone, Default, Args)]
pub struct FederationSettings {
    /// A file in YAML that lists other providers with which people can sign in: Google, GitHub, Entra ID, Okta,
    /// Keycloak, authentik, or any OpenID provider. `tessera upstream check NAME` says if one of them works
    #[arg(long, env = "UPSTREAMS_FILE", global = true, value_name = "FILE")]
    pub upstreams_file: Option<PathBuf>,

    /// The entries of the file.
    #[arg(skip)]
    pub upstreams: Vec<UpstreamSettings>,
}

/// A kind of provider, with its particular rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Preset {
    /// Google. It owns gmail.com, and the domain in `hd`.
    Google,
    /// GitHub, which is no OpenID provider.
    Github,
    /// Microsoft Entra ID, with listed tenants.
    Entra,
    /// Okta.
    Okta,
    /// Keycloak.
    Keycloak,
    /// authentik.
    Authentik,
    /// Any OpenID provider.
    Oidc,
}

impl Preset {
    /// The name in the file.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The name that people read, unless the entry has its own name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Github => "GitHub",
            Self::Entra => "Microsoft",
            Self::Okta => "Okta",
            Self::Keycloak => "Keycloak",
            Self::Authentik => "authentik",
            Self::Oidc => "OpenID",
        }
    }
}

/// The endpoints that an entry sets itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnEndpoints {
    /// The page where people sign in.
    pub authorization: Option<Url>,
    /// The endpoint that exchanges a code for tokens.
    pub token: Option<Url>,
    /// The endpoint that says who somebody is.
    pub userinfo: Option<Url>,
    /// The endpoint at which GitHub lists the addresses of somebody.
    pub emails: Option<Url>,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// The name, in URLs and tables.
    pub name: String,
    /// The name that people read.
    pub label: String,
    /// Its kind.
    pub preset: Preset,
    /// The issuer, as the entry or the preset says it.
    pub issuer: String,
    /// Our id there.
    pub client_id: String,
    /// Our secret there; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// The domains whose addresses it owns, in lower case and ASCII.
    pub domains: Vec<String>,
    /// `true` if people with an address of its domains sign in there alone.
    pub is_exclusive: bool,
    /// `true` if it makes accounts.
    pub registers: bool,
    /// The members of a profile, with the claims that fill them.
    pub claims: BTreeMap<String, String>,
    /// Claims, with their values, and the words that each value gives.
    pub words: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// The scopes that are asked for.
    pub scopes: Vec<String>,
    /// `true` if it may be at a private address, and without https.
    pub is_private: bool,
    /// The time that a sign-in there is worth, in seconds.
    pub session: Option<u64>,
    /// `true` if a sign-out here is offered there too.
    pub ends_there: bool,
    /// The redirect URI of front ends, if it is not ours.
    pub redirect_uri: Option<Url>,
    /// The tenants of Entra whose people can sign in.
    pub tenants: Vec<String>,
    /// The values of `amr` and `acr` there that stand for a second factor.
    pub second: Vec<String>,
    /// The endpoints that the entry sets.
    pub endpoints: OwnEndpoints,
}

/// The words that stand for paths of ours in URLs with the name of a provider.
const RESERVED: [&str; 17] = [
    "associate",
    "callback",
    "cookie",
    "forgot-password",
    "forward",
    "introspect",
    "invitations",
    "jwt",
    "login",
    "logout",
    "register",
    "request-verify-token",
    "reset-password",
    "revocations",
    "revoke",
    "sessions",
    "tokens",
];

/// The members of a profile that claims can fill.
const PROFILE: [&str; 3] = ["name", "surname", "website"];

impl FederationSettings {
    /// Reads the file and the secrets that it names.
    pub(super) fn complete(&mut self, registration: Registration) -> Vec<ConfigError> {
        let file = self.upstreams_file.as_ref().filter(|file| !file.as_os_str().is_empty());
        let Some(file) = file else { return Vec::new() };
        let named = |fault: String| {
            ConfigError::new(&format!("UPSTREAMS_FILE: {}: {fault}", file.display()))
        };
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return vec![named(format!("the file cannot be read ({error})"))],
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        match read(&text, folder, registration) {
            Ok(upstreams) => {
                self.upstreams = upstreams;
                Vec::new()
            }
            Err(faults) => faults.into_iter().map(named).collect(),
        }
    }

    /// The names of the exclusive providers.
    pub fn exclusive(&self) -> Vec<String> {
        let exclusive = self.upstreams.iter().filter(|upstream| upstream.is_exclusive);
        exclusive.map(|upstream| upstream.name.clone()).collect()
    }

    /// The names of the exclusive providers that own the domain of an address.
    pub fn exclusive_for(&self, email: &str) -> Vec<String> {
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        let owns = |upstream: &&UpstreamSettings| upstream.domains.contains(&domain);
        let exclusive = self.upstreams.iter().filter(|upstream| upstream.is_exclusive);
        exclusive.filter(owns).map(|upstream| upstream.name.clone()).collect()
    }
}

/// Reads the entries. A fault names the entry and the member.
fn read(
    text: &str,
    folder: &Path,
    registration: Registration,
) -> Result<Vec<UpstreamSettings>, Vec<String>> {
    if text.len() > MAX_LENGTH {
        return Err(vec![format!("the file is larger than {MAX_LENGTH} bytes")]);
    }
    let entries: Option<Vec<serde_yaml::Value>> = serde_yaml::from_str(text)
        .map_err(|error| vec![format!("must be a list: {}", without_value(&error.to_string()))])?;
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for (place, entry) in entries.unwrap_or_default().into_iter().enumerate() {
        let place = place + 1;
        let read = serde_yaml::from_value::<Entry>(entry.clone());
        let read = read.map_err(|error| fault_of::<Entry>(&entry, &error.to_string()));
        match read.and_then(|entry| entry.checked(folder, registration)) {
            Ok(upstream) if !names.insert(upstream.name.clone()) => faults.push(format!(
                "entry {place}: another entry has the name {}: give one of them another name",
                upstream.name
            )),
            Ok(upstream) => found.push(upstream),
            Err(fault) => faults.push(format!("entry {place}: {fault}")),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    preset: Option<String>,
    name: Option<String>,
    label: Option<String>,
    issuer: Option<String>,
    client_id: String,
    client_secret: Option<String>,
    client_secret_file: Option<PathBuf>,
    client_secret_env: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    exclusive: bool,
    register: Option<bool>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    words: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    scopes: Option<Vec<String>>,
    #[serde(default)]
    private: bool,
    session: Option<Seconds>,
    logout: Option<String>,
    redirect_uri: Option<String>,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    second: Vec<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    emails_endpoint: Option<String>,
}

/// A time: a number of seconds, or a text such as `8h`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Entry {
    fn checked(
        self,
        folder: &Path,
        registration: Registration,
    ) -> Result<UpstreamSettings, String> {
        let preset = self.preset()?;
        let name = self.name.clone().unwrap_or_else(|| preset.name().to_owned());
        check_name(&name)?;
        let label = self.label.clone().or_else(|| self.name.clone());
        if self.client_id.is_empty() {
            return Err("client_id is empty: copy the id of the application there".to_owned());
        }
        let issuer = self.issuer(preset)?;
        let endpoints = self.endpoints(&issuer)?;
        check_claims(&self.claims)?;
        check_words(&self.words)?;
        let ends_there = match self.logout.as_deref() {
            None => false,
            Some("upstream") => true,
            Some(other) => return Err(format!("logout is {other:?}: it must be upstream")),
        };
        let redirect_uri = self.redirect_uri.as_deref();
        let redirect_uri = redirect_uri.map(|uri| url("redirect_uri", uri, true)).transpose()?;
        Ok(UpstreamSettings {
            label: label.unwrap_or_else(|| preset.label().to_owned()),
            client_secret: self.secret(folder)?,
            domains: domains(&self.domains)?,
            is_exclusive: self.exclusive,
            registers: self.registers(registration)?,
            session: self.session()?,
            scopes: self.scopes.unwrap_or_else(|| default_scopes(preset)),
            client_id: self.client_id,
            claims: self.claims,
            words: self.words,
            is_private: self.private,
            tenants: self.tenants,
            second: self.second,
            name,
            preset,
            issuer,
            ends_there,
            redirect_uri,
            endpoints,
        })
    }

    fn preset(&self) -> Result<Preset, String> {
        let Some(name) = &self.preset else {
            return match &self.name {
                Some(_) => Ok(Preset::Oidc),
                None => Err("the entry has neither preset nor name: add one of them".to_owned()),
            };
        };
        let names = || Preset::VARIANTS.iter().map(|preset| preset.name()).collect::<Vec<_>>();
        name.parse()
            .map_err(|_| format!("preset is {name:?}: it must be one of {}", names().join(", ")))
    }

    fn registers(&self, registration: Registration) -> Result<bool, String> {
        match (self.register, registration) {
            (Some(true), Registration::Closed) => {
                Err("register is true, but REGISTRATION is closed: remove one of them".to_owned())
            }
            (Some(register), _) => Ok(register),
            // With invitations, an operator must say that a provider's people need none.
            (None, registration) => Ok(registration == Registration::Open),
        }
    }

    fn session(&self) -> Result<Option<u64>, String> {
        let seconds = match &self.session {
            None => return Ok(None),
            Some(Seconds::Number(seconds)) => Some(*seconds),
            Some(Seconds::Text(text)) => parse_seconds(text.trim()),
        };
        let seconds = seconds.filter(|seconds| (60..=315_360_000).contains(seconds));
        let fault = "session must be a time of at least 60 seconds, such as 8h";
        seconds.map(Some).ok_or_else(|| fault.to_owned())
    }

    fn issuer(&self, preset: Preset) -> Result<String, String> {
        let issuer = match (&self.issuer, preset) {
            (Some(issuer), _) => issuer.clone(),
            (None, Preset::Google) => "https://accounts.google.com".to_owned(),
            (None, Preset::Github) => "https://github.com".to_owned(),
            (None, Preset::Entra) => "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
            (None, _) => {
                let name = preset.name();
                return Err(format!("issuer is missing: {name} needs the URL of its issuer"));
            }
        };
        let parsed = url("issuer", &issuer.replace("{tenantid}", "tenant"), self.private)?;
        if parsed.query().is_some() {
            return Err(format!("issuer is {issuer:?}: it must have no query"));
        }
        self.check_tenants(preset)?;
        Ok(issuer)
    }

    fn check_tenants(&self, preset: Preset) -> Result<(), String> {
        if preset != Preset::Entra {
            return match self.tenants.is_empty() {
                true => Ok(()),
                false => Err("tenants is only for the preset entra: remove it".to_owned()),
            };
        }
        if self.tenants.is_empty() {
            return Err("tenants is missing: list the ids of the tenants whose people can sign in"
                .to_owned());
        }
        let is_id = |tenant: &String| tenant.len() == 36 && uuid::Uuid::parse_str(tenant).is_ok();
        match self.tenants.iter().find(|tenant| !is_id(tenant)) {
            Some(tenant) => Err(format!(
                "tenants has {tenant:?}: it must be the id of a tenant, such as \
                 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, and never common"
            )),
            None => Ok(()),
        }
    }

    /// The endpoints of the entry. If the issuer has https, they must have it too.
    fn endpoints(&self, issuer: &str) -> Result<OwnEndpoints, String> {
        let may_be_plain = self.private && issuer.starts_with("http://");
        let parsed = |name, text: &Option<String>| {
            text.as_deref().map(|text| url(name, text, may_be_plain)).transpose()
        };
        Ok(OwnEndpoints {
            authorization: parsed("authorization_endpoint", &self.authorization_endpoint)?,
            token: parsed("token_endpoint", &self.token_endpoint)?,
            userinfo: parsed("userinfo_endpoint", &self.userinfo_endpoint)?,
            emails: parsed("emails_endpoint", &self.emails_endpoint)?,
        })
    }

    fn secret(&self, folder: &Path) -> Result<Option<Secret>, String> {
        let given = [
            self.client_secret.is_some(),
            self.client_secret_file.is_some(),
            self.client_secret_env.is_some(),
        ];
        if given.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err("the entry must have only one of client_secret, client_secret_file and \
                        client_secret_env"
                .to_owned());
        }
        let secret = if let Some(file) = &self.client_secret_file {
            let read = fs::read_to_string(folder.join(file));
            Some(read.map_err(|error| {
                format!("client_secret_file is {}: it cannot be read ({error})", file.display())
            })?)
        } else if let Some(name) = &self.client_secret_env {
            Some(variable(name).ok_or_else(|| {
                format!("client_secret_env is {name}: this environment variable is not set")
            })?)
        } else {
            self.client_secret.clone()
        };
        match secret.map(|secret| secret.trim().to_owned()) {
            Some(secret) if secret.is_empty() => Err("the client secret is empty".to_owned()),
            secret => Ok(secret.map(|secret| Secret::new(&secret))),
        }
    }
}

fn default_scopes(preset: Preset) -> Vec<String> {
    let scopes: &[&str] = match preset {
        Preset::Github => &["read:user", "user:email"],
        _ => &["openid", "email", "profile"],
    };
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

fn check_name(name: &str) -> Result<(), String> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_plain = (1..=32).contains(&name.len())
        && name.bytes().all(plain)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if !is_plain {
        return Err(format!(
            "name is {name:?}: it must have 1 to 32 characters of a-z, 0-9, '-' and '_', and begin with a \
             letter or a digit. `label` sets the name that people read"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!("name is {name:?}, which is a path of Tessera: choose another name"));
    }
    Ok(())
}

fn check_claims(claims: &BTreeMap<String, String>) -> Result<(), String> {
    match claims.keys().find(|member| !PROFILE.contains(&member.as_str())) {
        Some(member) => {
            Err(format!("claims has {member:?}: it must be one of {}", PROFILE.join(", ")))
        }
        None => Ok(()),
    }
}

fn check_words(words: &BTreeMap<String, BTreeMap<String, Vec<String>>>) -> Result<(), String> {
    for word in words.values().flat_map(BTreeMap::values).flatten() {
        if word == Scope::SUPER {
            return Err(
                "words gives super, which no provider can give: name another word".to_owned()
            );
        }
        word.parse::<Scope>().map_err(|fault| format!("words gives {word:?}. {fault}"))?;
    }
    Ok(())
}

fn domains(texts: &[String]) -> Result<Vec<String>, String> {
    let parsed = texts.iter().map(|text| {
        let domain = idna::domain_to_ascii(text.trim()).ok();
        domain.filter(|domain| domain.contains('.') && !domain.contains('@')).ok_or_else(|| {
            format!("domains has {text:?}: it must be the part of addresses after the @")
        })
    });
    parsed.collect()
}

/// Parses a URL with https, or with http if the entry is private.
fn url(name: &str, text: &str, is_private: bool) -> Result<Url, String> {
    let parsed = Url::parse(text).map_err(|error| format!("{name} is {text:?}: {error}"))?;
    let is_known = parsed.scheme() == "https" || is_private && parsed.scheme() == "http";
    let is_plain = parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none()
        && parsed.host().is_some();
    if !is_known {
        return Err(format!(
            "{name} is {text:?}: it must begin with https://. With `private: true`, the issuer can begin with \
             http://, and then endpoints can too"
        ));
    }
    match is_plain {
        true => Ok(parsed),
        false => {
            Err(format!("{name} is {text:?}: it must have no user, no password and no fragment"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        read(text, Path::new(""), Registration::Open).map(drop).unwrap_err().join("; ")
    }

    fn one(text: &str) -> UpstreamSettings {
        read(text, Path::new(""), Registration::Open).unwrap().remove(0)
    }

    #[test]
    fn a_preset_fills_what_an_entry_leaves_out() {
        let google = one("- {preset: google, client_id: a, client_secret: b}");
        assert_eq!((google.name.as_str(), google.label.as_str()), ("google", "Google"));
        assert_eq!(google.issuer, "https://accounts.google.com");
        assert!(google.registers && !google.is_exclusive && !google.is_private);
        let text = "- {name: corp, issuer: 'https://sso.corp.example/r', client_id: a, session: 8h, \
                    domains: [CORP.example, müller.example], logout: upstream}";
        let corp = one(text);
        assert_eq!((corp.preset, corp.label.as_str()), (Preset::Oidc, "corp"));
        assert_eq!(corp.domains, ["corp.example", "xn--mller-kva.example"]);
        assert_eq!((corp.session, corp.ends_there), (Some(28_800), true));
    }

    #[test]
    fn a_provider_registers_only_where_anybody_can_or_its_entry_says_so() {
        for (register, registration, expected) in [
            ("", Registration::Open, Some(true)),
            ("", Registration::Invite, Some(false)),
            ("", Registration::Closed, Some(false)),
            (", register: true", Registration::Invite, Some(true)),
            (", register: true", Registration::Closed, None),
            (", register: false", Registration::Open, Some(false)),
        ] {
            let text = format!("- {{preset: google, client_id: a{register}}}");
            let read = read(&text, Path::new(""), registration).ok();
            assert_eq!(read.map(|read| read[0].registers), expected, "{register} {registration:?}");
        }
    }

    #[test]
    fn a_faulty_entry_is_named_with_its_member() {
        let entry = |more: &str| format!("- {{preset: oidc, client_id: a, {more}}}");
        let issuer = "issuer: 'https://a.example'";
        for (text, part) in [
            ("x: y".to_owned(), "must be a list"),
            ("- {client_id: a}".to_owned(), "neither preset nor name"),
            ("- {preset: gogle, client_id: a}".to_owned(), "must be one of google, github"),
            ("- {preset: okta, client_id: a}".to_owned(), "issuer is missing"),
            ("- {preset: google, client_id: ''}".to_owned(), "client_id is empty"),
            ("- {preset: entra, client_id: a}".to_owned(), "tenants is missing"),
            ("- {preset: entra, client_id: a, tenants: [common]}".to_owned(), "never common"),
            (entry("issuer: 'http://a.example'"), "begin with https"),
            (entry("issuer: 'https://a:b@a.example'"), "no user"),
            (
                entry(&format!("{issuer}, private: true, token_endpoint: 'http://a.example/t'")),
                "token_endpoint is \"http://a.example/t\": it must begin with https",
            ),
            (entry(&format!("{issuer}, name: jwt")), "a path of Tessera"),
            (entry(&format!("{issuer}, name: A/b")), "1 to 32 characters"),
            (entry(&format!("{issuer}, words: {{groups: {{x: [super]}}}}")), "super"),
            (entry(&format!("{issuer}, claims: {{email: mail}}")), "must be one of name"),
            (entry(&format!("{issuer}, session: 5s")), "at least 60 seconds"),
            (entry(&format!("{issuer}, logout: both")), "must be upstream"),
            (entry(&format!("{issuer}, typo: 1")), "unknown field"),
            (
                entry(&format!("{issuer}, client_secret: 7331")),
                "client_secret: a value of the kind",
            ),
            (entry(&format!("{issuer}, tenants: [a]")), "only for the preset entra"),
            (
                entry(&format!("{issuer}, client_secret: a, client_secret_env: B")),
                "only one of client_secret",
            ),
        ] {
            let found = faults(&text);
            assert!(found.contains(part), "{text}: {found}");
        }
        let twice = "- {preset: google, client_id: a}\n- {preset: google, client_id: b}";
        assert!(faults(twice).contains("another name"));
    }

    #[test]
    fn the_secret_of_an_entry_is_never_shown() {
        let google = one("- {preset: google, client_id: a, client_secret: hunter2hunter2}");
        assert!(!format!("{google:?}").contains("hunter2"));
    }
}
