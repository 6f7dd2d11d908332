//! The endpoints of a provider, from its discovery document, its preset and its entry.

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::refusal::{Checked, Refusal, Why};
use super::{Upstream, json, keys};
use crate::app::App;
use crate::base::config::Preset;
use crate::platform::fetch::{self, Proof};

/// The time for which the documents of a provider are used, in seconds.
pub(super) const USED_FOR: u64 = 3600;

/// The place of the id of a tenant in an issuer of Entra.
const TENANT: &str = "{tenantid}";

/// The endpoints of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The page where people sign in.
    pub authorization: Url,
    /// The endpoint that exchanges a code for tokens.
    pub token: Url,
    /// The endpoint that says who somebody is.
    pub userinfo: Option<Url>,
    /// The endpoint at which GitHub lists the addresses of somebody.
    pub emails: Option<Url>,
    /// The keys that sign for it.
    pub jwks: Option<Url>,
    /// The page where people sign out.
    pub end_session: Option<Url>,
    /// `true` if every answer names the issuer (RFC 9207).
    pub names_issuer: bool,
    /// `true` if the client secret is sent in the header.
    pub takes_basic: bool,
}

/// The members of a discovery document that are used.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: Option<String>,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Returns where a provider is. The discovery document is read when it is first needed, never at the start.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub async fn of(app: &App, upstream: &Upstream) -> Checked<Arc<Endpoints>> {
    upstream.endpoints.get(USED_FOR, discover(app, upstream)).await
}

/// Reads where a provider is, whatever is known.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub(super) async fn discover(app: &App, upstream: &Upstream) -> Checked<Endpoints> {
    let settings = &upstream.settings;
    if settings.preset == Preset::Github {
        return github(upstream);
    }
    let url = discovery_url(upstream)?;
    let body = document(app, upstream, &url, "discovery").await?;
    let document: Document = json::read(&body).map_err(|fault| {
        let remedy = format!("Check that issuer is right: {url} is no discovery document.");
        Refusal::new("discovery.malformed", Why::Misconfigured, remedy).came(fault)
    })?;
    let expected = expected_issuer(upstream);
    if document.issuer != expected {
        let remedy = "Set issuer in UPSTREAMS_FILE to the issuer that the provider names.";
        return Err(Refusal::new("discovery.issuer", Why::Misconfigured, remedy)
            .expected(expected)
            .came(document.issuer));
    }
    read(upstream, document)
}

fn read(upstream: &Upstream, document: Document) -> Checked<Endpoints> {
    let own = &upstream.settings.endpoints;
    let url = |own: &Option<Url>, text: Option<String>| match (own, text) {
        (Some(own), _) => Ok(Some(own.clone())),
        (None, Some(text)) => endpoint(upstream, &text).map(Some),
        (None, None) => Ok(None),
    };
    let needed = |url: Option<Url>| {
        let remedy = "The discovery document lacks an endpoint.";
        url.ok_or_else(|| Refusal::new("discovery.malformed", Why::Misconfigured, remedy))
    };
    // The method that every client may use is the one in the header (RFC 6749, section 2.3.1).
    let methods = document.token_endpoint_auth_methods_supported;
    let takes_basic = methods.is_none_or(|methods| {
        let takes = |name: &str| methods.iter().any(|method| method == name);
        takes("client_secret_basic") || !takes("client_secret_post")
    });
    Ok(Endpoints {
        authorization: needed(url(&own.authorization, Some(document.authorization_endpoint))?)?,
        token: needed(url(&own.token, Some(document.token_endpoint))?)?,
        userinfo: url(&own.userinfo, document.userinfo_endpoint)?,
        emails: None,
        jwks: Some(needed(url(&None, document.jwks_uri)?)?),
        end_session: url(&None, document.end_session_endpoint)?,
        names_issuer: document.authorization_response_iss_parameter_supported,
        takes_basic,
    })
}

/// Reads the URL of an endpoint. Browsers are sent to one of them, so it must be a web page. If the issuer has https,
/// a document must not lead codes and secrets to a place without it.
fn endpoint(upstream: &Upstream, text: &str) -> Checked<Url> {
    let settings = &upstream.settings;
    let may_be_plain = settings.is_private && settings.issuer.starts_with("http://");
    let url = Url::parse(text).ok().filter(|url| {
        (url.scheme() == "https" || may_be_plain && url.scheme() == "http")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
    });
    let remedy = "The discovery document must name endpoints with https. Only a private provider whose issuer begins \
                  with http:// can have others.";
    url.ok_or_else(|| Refusal::new("discovery.endpoint", Why::Misconfigured, remedy).came(text))
}

/// GitHub has no discovery document. An entry for GitHub Enterprise names its endpoints or its issuer.
fn github(upstream: &Upstream) -> Checked<Endpoints> {
    let settings = &upstream.settings;
    let (issuer, own) = (settings.issuer.trim_end_matches('/'), settings.endpoints.clone());
    let api = match issuer {
        "https://github.com" => "https://api.github.com".to_owned(),
        _ => format!("{issuer}/api/v3"),
    };
    let or = |own: Option<Url>, text: String| match own {
        Some(own) => Ok(own),
        None => endpoint(upstream, &text),
    };
    Ok(Endpoints {
        authorization: or(own.authorization, format!("{issuer}/login/oauth/authorize"))?,
        token: or(own.token, format!("{issuer}/login/oauth/access_token"))?,
        userinfo: Some(or(own.userinfo, format!("{api}/user"))?),
        emails: Some(or(own.emails, format!("{api}/user/emails"))?),
        jwks: None,
        end_session: None,
        names_issuer: false,
        takes_basic: false,
    })
}

/// The issuer that the discovery document names. With several tenants, Entra names a pattern.
fn expected_issuer(upstream: &Upstream) -> String {
    match &upstream.settings.tenants[..] {
        [tenant] => upstream.settings.issuer.replace(TENANT, tenant),
        _ => upstream.settings.issuer.clone(),
    }
}

/// The issuer of an ID token. `tenant` is the one that the token names.
pub(super) fn token_issuer(upstream: &Upstream, tenant: Option<&str>) -> String {
    upstream.settings.issuer.replace(TENANT, tenant.unwrap_or_default())
}

/// The URL of the discovery document (OpenID Connect Discovery, section 4).
pub(super) fn discovery_url(upstream: &Upstream) -> Checked<Url> {
    let settings = &upstream.settings;
    let place = match &settings.tenants[..] {
        [tenant] => tenant,
        _ => "organizations",
    };
    let issuer = settings.issuer.replace(TENANT, place);
    let issuer = issuer.trim_end_matches('/');
    endpoint(upstream, &format!("{issuer}/.well-known/openid-configuration"))
}

/// The keys of a provider, at most `age` seconds old.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub(super) async fn keys(app: &App, upstream: &Upstream, age: u64) -> Checked<Arc<keys::Keys>> {
    upstream.keys.get(age, fetch_keys(app, upstream)).await
}

/// Reads the keys of a provider, whatever is known.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub(super) async fn fetch_keys(app: &App, upstream: &Upstream) -> Checked<keys::Keys> {
    let endpoints = of(app, upstream).await?;
    let Some(url) = &endpoints.jwks else {
        let remedy = "The provider publishes no keys, so it cannot sign people in.";
        return Err(Refusal::new("keys.missing", Why::Misconfigured, remedy));
    };
    let body = document(app, upstream, url, "keys").await?;
    keys::Keys::read(&body).ok_or_else(|| {
        let remedy = "The provider publishes no key that verifies signatures.";
        Refusal::new("keys.malformed", Why::Misconfigured, remedy).came(url.as_str())
    })
}

/// Gets a document that a provider publishes.
async fn document(
    app: &App,
    upstream: &Upstream,
    url: &Url,
    what: &'static str,
) -> Checked<Vec<u8>> {
    let (unreachable, status) = match what {
        "keys" => ("keys.unreachable", "keys.status"),
        _ => ("discovery.unreachable", "discovery.status"),
    };
    let fetched = fetch::get(app, upstream.reach(), url, Proof::None).await.map_err(|fault| {
        let remedy = format!(
            "Check that this server reaches {url}. A provider at a private address needs `private: true`."
        );
        Refusal::new(unreachable, Why::NoAnswer, remedy).came(fault.to_string())
    })?;
    if !fetched.status.is_success() {
        let why = if fetched.status.is_server_error() { Why::NoAnswer } else { Why::Misconfigured };
        let remedy = format!("Check that issuer is right: {url} is not there.");
        return Err(Refusal::new(status, why, remedy).came(fetched.status.as_u16().to_string()));
    }
    Ok(fetched.body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::config::UpstreamSettings;

    fn upstream(issuer: &str, is_private: bool) -> Upstream {
        let issuer = issuer.to_owned();
        Upstream::new(UpstreamSettings {
            issuer,
            is_private,
            ..crate::federation::upstream::example()
        })
    }

    #[test]
    fn endpoints_have_https_unless_a_private_issuer_has_not() {
        const MEMBERS: [&str; 5] = [
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "jwks_uri",
            "end_session_endpoint",
        ];
        for (issuer, is_private, expected) in [
            ("https://sso.corp.example", false, false),
            ("https://sso.corp.example", true, false),
            ("http://sso.corp.example", true, true),
            ("http://sso.corp.example", false, false),
        ] {
            let upstream = upstream(issuer, is_private);
            let document = |plain: &str| -> Document {
                let mut document = json!({ "issuer": issuer });
                for name in MEMBERS {
                    let scheme = if name == plain { "http" } else { "https" };
                    document[name] = format!("{scheme}://sso.corp.example/{name}").into();
                }
                serde_json::from_value(document).unwrap()
            };
            assert!(read(&upstream, document("")).is_ok());
            for name in MEMBERS {
                let found = read(&upstream, document(name));
                assert_eq!(found.is_ok(), expected, "{issuer} {is_private} {name}");
                if let Err(refusal) = found {
                    assert_eq!(refusal.name, "discovery.endpoint");
                }
            }
        }
    }
}
