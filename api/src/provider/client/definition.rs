//! The definition of a client, as operations, commands and `CLIENTS_FILE` give it, and the checks that make a client of
//! it.

use std::collections::{BTreeMap, BTreeSet};

use entity::ClientId;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::redirect::{RedirectUri, Rules};
use super::secret::ClientSecret;
use super::settings::{IdTokenClaims, Introspects, Pkce, TokenAlgorithm};
use super::{ApplicationType, AuthMethod, Client, GrantType, Origin, Settings};
use crate::base::clock::Timestamp;
use crate::base::config::Config;
use crate::base::random;
use crate::base::scope::{Scope, Scopes};
use crate::http::body::is_line;
use crate::identity::service::ServiceName;
use crate::identity::user::source::{Source, fault_of_name};

/// The lifetimes of tokens that a client can have, in seconds: a minute to a day.
const LIFETIMES: std::ops::RangeInclusive<u64> = 60..=86_400;

/// The maximum length of a name and of a URI, in characters.
const MAX_NAME: usize = 100;
const MAX_URI: usize = 255;

/// The maximum number of items in a list.
const MAX_ITEMS: usize = 50;

/// The scopes that a client can ask for unless its definition says otherwise.
const USUAL_SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// The definition of a client. What it leaves out has its default value, or in a change stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definition {
    /// The `client_id`.
    pub client_id: Option<String>,
    /// The name that people see. Default: the `client_id`.
    pub name: Option<String>,
    /// The kind of application. Default: `web`.
    pub application_type: Option<ApplicationType>,
    /// The ways to authenticate. Default: `client_secret`.
    pub auth_method: Option<AuthMethod>,
    /// The redirect URIs.
    pub redirect_uris: Option<Vec<String>>,
    /// The URIs after signing out.
    pub post_logout_uris: Option<Vec<String>>,
    /// The grant types. Default: `authorization_code` and `refresh_token`.
    pub grant_types: Option<Vec<GrantType>>,
    /// The scopes.
    pub scopes: Option<Vec<String>>,
    /// `false` to disable it.
    pub enabled: Option<bool>,
    /// A secret that an operator chose, instead of one that Tessera makes.
    pub secret: Option<ClientSecret>,
    /// See [`Settings`], as all that follow.
    pub trusted: Option<bool>,
    /// A setting.
    pub pkce: Option<Pkce>,
    /// A setting.
    pub only: Option<Vec<String>>,
    /// A setting.
    pub verified_email: Option<bool>,
    /// A setting.
    pub id_token_alg: Option<TokenAlgorithm>,
    /// A setting.
    pub access_token_alg: Option<TokenAlgorithm>,
    /// A setting.
    pub id_token_expires: Option<u64>,
    /// A setting.
    pub access_token_expires: Option<u64>,
    /// A setting.
    pub id_token_claims: Option<IdTokenClaims>,
    /// A setting.
    pub audience: Option<Vec<String>>,
    /// A setting.
    pub resources: Option<Vec<String>>,
    /// A setting.
    pub serves: Option<Vec<String>>,
    /// A setting.
    pub introspects: Option<Introspects>,
    /// A setting.
    pub insecure_http: Option<bool>,
    /// A setting.
    pub claims: Option<BTreeMap<String, Source>>,
    /// A setting.
    pub access_token_claims: Option<BTreeMap<String, Source>>,
}

/// The sentence about a member that cannot be read: what is there, and what it must be.
pub(crate) fn in_words(name: &str, value: &Value, error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("unknown field") {
        return format!("{name} is no setting: check its spelling");
    }
    // A secret is not shown.
    let shown = match value {
        _ if name.contains("secret") => String::new(),
        Value::Object(_) | Value::Array(_) => {
            let wrong =
                text.strip_prefix("unknown variant `").and_then(|rest| rest.split('`').next());
            wrong.map(|wrong| format!(" contains {wrong:?}, and each item")).unwrap_or_default()
        }
        other => format!(" is {other}, and it"),
    };
    let expected =
        text.rsplit_once("expected ").map(|(_, expected)| expected.trim_end_matches('`'));
    let must = match expected {
        Some(kind) if kind.starts_with(['u', 'i']) && kind[1..].starts_with(char::is_numeric) => {
            "a whole number, such as 900".to_owned()
        }
        Some(kind) if kind.starts_with("a bool") => "true or false".to_owned(),
        Some(kind) if kind.starts_with("a string") && value.is_array() => {
            "a list of texts".to_owned()
        }
        Some(kind) if kind.starts_with("a string") => "a text".to_owned(),
        Some(kind) if kind.starts_with("a sequence") => "a list".to_owned(),
        Some(kind) if kind.starts_with("a map") => "names with their values".to_owned(),
        Some(kind) if text.contains("unknown variant") => kind
            .trim_start_matches("one of ")
            .replace('`', "")
            .replace(" or ", ", ")
            .split(", ")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => return format!("{name}: {text}"),
    };
    format!("{name}{shown} must be {must}")
}

/// A fault in a definition: the field, and a sentence that shows the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field.
    pub field: String,
    /// The place in the field, if it is a list.
    pub item: Option<usize>,
    /// The sentence for people.
    pub sentence: String,
}

impl Fault {
    pub(crate) fn new(field: &str, sentence: impl Into<String>) -> Self {
        Self { field: field.to_owned(), item: None, sentence: sentence.into() }
    }

    pub(super) fn at(self, item: usize) -> Self {
        Self { item: Some(item), ..self }
    }
}

impl Definition {
    /// Reads a definition from the members of an object. Each faulty member is named.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn read(members: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut good = Map::new();
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            // Read alone, so that the error belongs to this member.
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            match serde_json::from_value::<Self>(alone.into()) {
                Ok(_) => drop(good.insert(name.clone(), value.clone())),
                Err(error) => faults.push(Fault::new(name, in_words(name, value, &error))),
            }
        }
        match serde_json::from_value(good.into()) {
            Ok(definition) if faults.is_empty() => Ok(definition),
            _ => Err(faults),
        }
    }

    /// Makes the client that this defines, or that `known` becomes by it.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn client(
        &self,
        config: &Config,
        known: Option<&Client>,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Client, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut client = match known {
            Some(known) => known.clone(),
            None => self.new_client(now, &mut faults),
        };
        if let Some(other) = self.client_id.as_ref().filter(|id| **id != client.client_id) {
            let sentence = format!(
                "The client id {:?} cannot be changed to {other:?}: create another client",
                client.client_id
            );
            faults.push(Fault::new("client_id", sentence));
        }
        client.origin = origin;
        client.updated = now;
        self.merge_into(&mut client, &mut faults);
        // A URI that is not valid is no missing one.
        let is_invalid = faults.iter().any(|fault| fault.field == "redirect_uris");
        let more = faults_of(&client, config).into_iter();
        faults.extend(more.filter(|fault| !is_invalid || fault.field != "redirect_uris"));
        if self.secret.is_some() && client.is_public() {
            let sentence = "The client is public, so it has no secret: leave it out";
            faults.push(Fault::new("secret", sentence));
        }
        if faults.is_empty() { Ok(client) } else { Err(faults) }
    }

    /// A client with the default values.
    fn new_client(&self, now: Timestamp, faults: &mut Vec<Fault>) -> Client {
        let client_id = self.client_id.clone().unwrap_or_default();
        // `sub` of a user is a UUID, and `sub` of a client's own tokens is its id.
        if client_id.parse::<ServiceName>().is_err() || Uuid::try_parse(&client_id).is_ok() {
            let sentence = format!(
                "The client id {client_id:?} must have 1 to 64 of the characters a-z, 0-9, '-', '_' and '.', and \
                 begin with a letter or a digit. It must not be a UUID, because those are users"
            );
            faults.push(Fault::new("client_id", sentence));
        }
        Client {
            id: ClientId(random::id()),
            name: client_id.clone(),
            client_id,
            origin: Origin::Operator,
            application_type: ApplicationType::Web,
            auth_method: AuthMethod::ClientSecret,
            redirect_uris: Vec::new(),
            post_logout_uris: Vec::new(),
            grant_types: [GrantType::AuthorizationCode, GrantType::RefreshToken].into(),
            scopes: Scopes::of(&USUAL_SCOPES),
            settings: Settings::default(),
            own_grant: None,
            is_active: true,
            created: now,
            updated: now,
        }
    }

    fn merge_into(&self, client: &mut Client, faults: &mut Vec<Fault>) {
        macro_rules! merge {
            ($target:expr; $($field:ident),+) => {
                $(if let Some(value) = &self.$field { $target.$field = value.clone().into(); })+
            };
        }
        merge!(client; name, application_type, auth_method);
        merge!(client.settings; trusted, pkce, only, verified_email, id_token_alg, access_token_alg);
        merge!(client.settings; id_token_expires, access_token_expires, id_token_claims, audience);
        merge!(client.settings; resources, serves, introspects, insecure_http, claims, access_token_claims);
        if let Some(enabled) = self.enabled {
            client.is_active = enabled;
        }
        if let Some(grant_types) = &self.grant_types {
            client.grant_types = grant_types.iter().copied().collect();
        }
        if let Some(scopes) = &self.scopes {
            client.scopes = words("scopes", scopes, faults);
        }
        let rules = client.rules();
        let lists = [
            ("redirect_uris", &self.redirect_uris, &mut client.redirect_uris),
            ("post_logout_uris", &self.post_logout_uris, &mut client.post_logout_uris),
        ];
        for (field, texts, uris) in lists {
            let known: Vec<_> = uris.iter().map(|uri| uri.as_str().to_owned()).collect();
            // Those that are there already are checked again, because other settings may have changed.
            *uris = parsed(field, texts.as_ref().unwrap_or(&known), rules, faults);
        }
    }
}

fn parsed(
    field: &str,
    texts: &[String],
    rules: Rules,
    faults: &mut Vec<Fault>,
) -> Vec<RedirectUri> {
    let mut uris = Vec::new();
    for (item, text) in texts.iter().enumerate() {
        match RedirectUri::parse(text, rules) {
            Ok(uri) if uris.contains(&uri) => {}
            Ok(uri) => uris.push(uri),
            Err(sentence) => faults.push(Fault::new(field, sentence).at(item)),
        }
    }
    uris
}

pub(super) fn words(field: &str, words: &[String], faults: &mut Vec<Fault>) -> Scopes {
    let parsed = words.iter().enumerate().filter_map(|(item, word)| match word.parse::<Scope>() {
        Ok(scope) => Some(scope),
        Err(fault) => {
            let sentence = format!("The scope {word:?} is not valid. {fault}");
            faults.push(Fault::new(field, sentence).at(item));
            None
        }
    });
    parsed.collect()
}

/// Returns the faults of a client as a whole.
fn faults_of(client: &Client, config: &Config) -> Vec<Fault> {
    let Client { name, grant_types, settings, redirect_uris, .. } = client;
    let mut faults = Vec::new();
    let mut fault = |field: &str, sentence: &str| faults.push(Fault::new(field, sentence));
    if grant_types.is_empty() {
        fault("grant_types", "The client must have at least one grant type");
    }
    if redirect_uris.is_empty() && client.can_use(GrantType::AuthorizationCode) {
        let sentence = "The client signs people in (authorization_code), so it must have at least one redirect URI";
        fault("redirect_uris", sentence);
    }
    if client.is_public() && client.can_use(GrantType::ClientCredentials) {
        let sentence = "A public client cannot use client_credentials, because anybody could use its id. \
                        Choose another auth_method";
        fault("grant_types", sentence);
    }
    if client.is_public() && settings.pkce == Pkce::Optional {
        let sentence = "A public client must use PKCE, because nothing else protects its codes. Leave pkce out";
        fault("pkce", sentence);
    }
    let lifetimes = [
        ("id_token_expires", settings.id_token_expires),
        ("access_token_expires", settings.access_token_expires),
    ];
    for (field, seconds) in lifetimes {
        if let Some(seconds) = seconds.filter(|seconds| !LIFETIMES.contains(seconds)) {
            fault(field, &format!("{field} is {seconds}: it must be 60 to 86400 seconds"));
        }
    }
    let reserved = reserved(config);
    if reserved.contains(client.client_id.as_str()) {
        let sentence = format!(
            "The client id {:?} is an audience of this server's own tokens: choose another one",
            client.client_id
        );
        fault("client_id", &sentence);
    }
    faults.extend(fault_of_display_name(name));
    faults.extend(faults_of_lists(client, &reserved));
    faults
}

/// Returns the fault of a name that people see, if it has one.
pub(super) fn fault_of_display_name(name: &str) -> Option<Fault> {
    let is_good = is_line(name, MAX_NAME) && !name.trim().is_empty();
    (!is_good).then(|| {
        let sentence = format!("The name {name:?} must be one line of 1 to {MAX_NAME} characters");
        Fault::new("name", sentence)
    })
}

/// The audiences of this server's own tokens.
pub(super) fn reserved(config: &Config) -> BTreeSet<&str> {
    let own = [&config.jwt_audience].into_iter().chain(&config.jwt_audiences);
    own.map(String::as_str).chain([config.public_url.as_str()]).collect()
}

/// Returns the faults of lists and of claims.
fn faults_of_lists(client: &Client, reserved: &BTreeSet<&str>) -> Vec<Fault> {
    let Client { settings, redirect_uris, post_logout_uris, .. } = client;
    let mut faults = Vec::new();
    let lists = [
        ("audience", &settings.audience),
        ("resources", &settings.resources),
        ("serves", &settings.serves),
    ];
    for (field, texts) in lists {
        for (item, text) in texts.iter().enumerate() {
            if let Some(fault) = fault_of_audience(text, reserved) {
                faults.push(Fault::new(field, fault).at(item));
            }
        }
    }
    drop(words("only", &settings.only, &mut faults));
    for (field, claims) in
        [("claims", &settings.claims), ("access_token_claims", &settings.access_token_claims)]
    {
        faults
            .extend(claims.keys().filter_map(|name| Some(Fault::new(field, fault_of_name(name)?))));
    }
    let lengths = [
        ("redirect_uris", redirect_uris.len()),
        ("post_logout_uris", post_logout_uris.len()),
        ("audience", settings.audience.len()),
        ("resources", settings.resources.len()),
        ("serves", settings.serves.len()),
        ("only", settings.only.len()),
        ("scopes", client.scopes.iter().count()),
        ("claims", settings.claims.len()),
        ("access_token_claims", settings.access_token_claims.len()),
    ];
    let long = lengths.into_iter().filter(|(_, length)| *length > MAX_ITEMS);
    faults.extend(long.map(|(field, length)| {
        Fault::new(field, format!("{field} has {length} items: it can have at most {MAX_ITEMS}"))
    }));
    faults
}

/// Returns what is wrong with the audience of access tokens, or the URI of a resource. A token for an audience of this
/// server itself could be taken for one that a session issued.
pub(super) fn fault_of_audience(text: &str, reserved: &BTreeSet<&str>) -> Option<String> {
    let is_good = !text.is_empty()
        && text.len() <= MAX_URI
        && text.bytes().all(|byte| byte.is_ascii_graphic() && ![b'"', b'\\'].contains(&byte));
    if !is_good {
        return Some(format!(
            "The audience {text:?} must have 1 to {MAX_URI} visible ASCII characters without quotes and backslashes, \
             such as https://api.example.com"
        ));
    }
    reserved.contains(text).then(|| {
        format!("The audience {text:?} is one of this server's own tokens: choose another one")
    })
}
