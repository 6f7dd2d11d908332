//! The options of `tessera client` that define an application.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::seconds;

/// The options that define an application.
#[derive(Debug, Args)]
pub(crate) struct Definition {
    /// The name that people see
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A redirect URI, exactly as the application sends it; can be repeated
    #[arg(long, value_name = "URI")]
    redirect: Vec<String>,
    /// A URI that a browser can go to after signing out; can be repeated
    #[arg(long, value_name = "URI")]
    post_logout: Vec<String>,
    /// The application runs on a device: its loopback redirects match any port
    #[arg(long)]
    native: bool,
    /// The application has no secret, as one on a device or a page in a browser
    #[arg(long, conflicts_with = "auth_method")]
    public: bool,
    /// The way to send the secret: client_secret (either way), client_secret_basic or client_secret_post; or none
    #[arg(hide_short_help = true, long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// The grant types: authorization_code, refresh_token, client_credentials
    #[arg(hide_short_help = true, long, value_name = "TYPES", value_delimiter = ',')]
    grant: Vec<String>,
    /// The scopes that it can ask for
    #[arg(hide_short_help = true, long, value_name = "SCOPES", value_delimiter = ',')]
    scope: Vec<String>,
    /// Ask nobody for consent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    trusted: Option<bool>,
    /// PKCE: required or optional
    #[arg(hide_short_help = true, long, value_name = "WHEN")]
    pkce: Option<String>,
    /// Only users with one of these scopes can sign in
    #[arg(hide_short_help = true, long, value_name = "SCOPES", value_delimiter = ',')]
    only: Vec<String>,
    /// Only users with a verified address can sign in
    #[arg(hide_short_help = true, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verified_email: Option<bool>,
    /// The algorithm of ID tokens: RS256, ES256 or EdDSA
    #[arg(hide_short_help = true, long, value_name = "ALGORITHM")]
    id_token_alg: Option<String>,
    /// The algorithm of access tokens: RS256, ES256 or EdDSA
    #[arg(hide_short_help = true, long, value_name = "ALGORITHM")]
    access_token_alg: Option<String>,
    /// The lifetime of ID tokens, such as 10m
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = seconds)]
    id_token_lifetime: Option<u64>,
    /// The lifetime of access tokens, such as 10m
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = seconds)]
    access_token_lifetime: Option<u64>,
    /// The claims of scopes that ID tokens contain: all or minimal
    #[arg(hide_short_help = true, long, value_name = "WHICH")]
    id_token_claims: Option<String>,
    /// The `aud` of access tokens if a request names no resource
    #[arg(hide_short_help = true, long, value_name = "AUDIENCES", value_delimiter = ',')]
    audience: Vec<String>,
    /// The resources that it can ask for
    #[arg(hide_short_help = true, long, value_name = "URIS", value_delimiter = ',')]
    resource: Vec<String>,
    /// The resources that it is the API of
    #[arg(hide_short_help = true, long, value_name = "URIS", value_delimiter = ',')]
    serves: Vec<String>,
    /// The tokens that it can introspect: own, served or any
    #[arg(hide_short_help = true, long, value_name = "WHICH")]
    introspects: Option<String>,
    /// Allow plain HTTP to other machines in redirect URIs
    #[arg(hide_short_help = true, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure_http: Option<bool>,
    /// A claim of ID tokens and userinfo with its source, such as groups=words(group:); can be repeated
    #[arg(hide_short_help = true, long, value_name = "NAME=SOURCE", value_parser = claim)]
    claim: Vec<(String, String)>,
    /// A claim of access tokens with its source; can be repeated
    #[arg(hide_short_help = true, long, value_name = "NAME=SOURCE", value_parser = claim)]
    access_token_claim: Vec<(String, String)>,
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, source) =
        text.split_once('=').ok_or("it must be NAME=SOURCE, such as username=email")?;
    Ok((name.to_owned(), source.to_owned()))
}

impl Definition {
    /// The members of the body. An option that was left out is no member.
    pub(crate) fn members(self) -> Map<String, Value> {
        // `--only ''` empties a list.
        let list = |items: Vec<String>| match items.as_slice() {
            [] => Value::Null,
            [one] if one.is_empty() => json!([]),
            _ => json!(items),
        };
        let map = |claims: Vec<(String, String)>| match claims.is_empty() {
            true => Value::Null,
            false => json!(BTreeMap::from_iter(claims)),
        };
        let auth_method = self.public.then(|| "none".to_owned()).or(self.auth_method);
        let body = json!({
            "name": self.name,
            "redirect_uris": list(self.redirect),
            "post_logout_uris": list(self.post_logout),
            "application_type": self.native.then_some("native"),
            "auth_method": auth_method,
            "grant_types": list(self.grant),
            "scopes": list(self.scope),
            "trusted": self.trusted,
            "pkce": self.pkce,
            "only": list(self.only),
            "verified_email": self.verified_email,
            "id_token_alg": self.id_token_alg,
            "access_token_alg": self.access_token_alg,
            "id_token_expires": self.id_token_lifetime,
            "access_token_expires": self.access_token_lifetime,
            "id_token_claims": self.id_token_claims,
            "audience": list(self.audience),
            "resources": list(self.resource),
            "serves": list(self.serves),
            "introspects": self.introspects,
            "insecure_http": self.insecure_http,
            "claims": map(self.claim),
            "access_token_claims": map(self.access_token_claim),
        });
        let members = body.as_object().cloned().unwrap_or_default();
        members.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}
