//! The report about a provider for operators: what to register there, and what is wrong.

use super::refusal::Refusal;
use super::{Upstream, endpoints};
use crate::app::App;
use crate::base::config::Preset;

/// A finding about a provider.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The part that was looked at, such as `discovery`.
    pub part: &'static str,
    /// The result.
    pub text: String,
    /// The refusal, if the part does not work.
    pub refusal: Option<Refusal>,
}

impl Finding {
    fn good(part: &'static str, text: impl Into<String>) -> Self {
        Self { part, text: text.into(), refusal: None }
    }

    fn bad(part: &'static str, refusal: Refusal) -> Self {
        Self { part, text: refusal.name.to_owned(), refusal: Some(refusal) }
    }
}

/// Looks at a provider: reads its discovery document and its keys, whatever is known of it.
pub async fn of(app: &App, upstream: &Upstream) -> Vec<Finding> {
    let settings = &upstream.settings;
    let mut found = vec![Finding::good("redirect_uri", upstream.redirect_uri(app))];
    found.extend(
        settings.redirect_uri.iter().map(|own| Finding::good("redirect_uri", own.as_str())),
    );
    let backchannel =
        format!("{}/auth/{}/backchannel-logout", app.config.public_url.as_str(), upstream.name());
    if settings.preset != Preset::Github {
        found.push(Finding::good("backchannel_logout_uri", backchannel));
    }
    match endpoints::discover(app, upstream).await {
        Err(refusal) => found.push(Finding::bad("discovery", refusal)),
        Ok(endpoints) => {
            found.push(Finding::good("discovery", &settings.issuer));
            found.push(Finding::good("authorization_endpoint", endpoints.authorization.as_str()));
            found.push(Finding::good("token_endpoint", endpoints.token.as_str()));
            if endpoints.jwks.is_some() {
                found.push(match endpoints::fetch_keys(app, upstream).await {
                    Ok(keys) => Finding::good("keys", keys.names().join(" ")),
                    Err(refusal) => Finding::bad("keys", refusal),
                });
            }
        }
    }
    found.push(Finding::good("addresses", believed(upstream)));
    if settings.client_secret.is_none() {
        found.push(Finding::good("client_secret", "none: the provider must know a public client"));
    }
    found
}

/// The addresses that are believed of a provider.
fn believed(upstream: &Upstream) -> String {
    let settings = &upstream.settings;
    let mut parts = settings.domains.clone();
    match settings.preset {
        Preset::Google => parts.push("gmail.com and the domain in hd".to_owned()),
        Preset::Entra => parts.push("those with xms_edov".to_owned()),
        _ => {}
    }
    if settings.preset == Preset::Entra && settings.tenants.len() > 1 {
        parts.retain(|part| part.starts_with("those"));
    }
    match parts.is_empty() {
        true => "none is believed: set domains to those that the provider owns".to_owned(),
        false => format!("believed are {}", parts.join(", ")),
    }
}
