//! Requests to a provider for one person: the code becomes tokens, and the tokens say who it is. Nothing of them is
//! kept.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::Url;

use super::refusal::{Checked, Refusal, Why};
use super::sealed::Begun;
use super::{Endpoints, Upstream, json};
use crate::app::App;
use crate::base::config::{Preset, Secret};
use crate::platform::fetch::{self, Fetched, Proof};

/// The time that a request waits for its turn at a provider.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// The tokens that a provider gave for a code. It is dropped when the sign-in ends.
pub struct Given {
    /// The access token.
    pub access_token: Secret,
    /// The ID token.
    pub id_token: Option<String>,
}

/// The answer to a code (RFC 6749, section 5). GitHub answers errors with 200.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    id_token: Option<String>,
    error: Option<String>,
}

/// Exchanges a code.
///
/// # Errors
///
/// The refusal of the provider, or of its answer.
pub async fn code(
    app: &App,
    upstream: &Upstream,
    endpoints: &Endpoints,
    begun: &Begun,
    code: &str,
) -> Checked<Given> {
    let settings = &upstream.settings;
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &begun.redirect_uri),
        ("code_verifier", &begun.verifier),
    ];
    let proof = match &settings.client_secret {
        Some(secret) if endpoints.takes_basic => Proof::Basic(&settings.client_id, secret),
        secret => {
            form.push(("client_id", &settings.client_id));
            form.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose())));
            Proof::None
        }
    };
    let sent = async {
        let _turn = turn(upstream).await?;
        let answered = fetch::post(app, upstream.reach(), &endpoints.token, &form, proof).await;
        answered.map_err(|fault| unreachable(upstream, "exchange.unreachable", &fault))
    };
    read(upstream, &sent.await?)
}

/// Waits for a turn, so that a slow provider holds only some requests.
async fn turn(upstream: &Upstream) -> Checked<tokio::sync::SemaphorePermit<'_>> {
    match timeout(TURN_WITHIN, upstream.exchanges.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => {
            let remedy = "Too many sign-ins wait for this provider. It is slow or does not answer.";
            Err(Refusal::new("exchange.busy", Why::NoAnswer, remedy))
        }
    }
}

fn unreachable(upstream: &Upstream, name: &'static str, fault: &fetch::Fault) -> Refusal {
    let remedy =
        format!("Check that this server reaches the provider: {}.", upstream.check_command());
    Refusal::new(name, Why::NoAnswer, remedy).came(fault.to_string())
}

fn read(upstream: &Upstream, fetched: &Fetched) -> Checked<Given> {
    let status = fetched.status;
    if status.is_server_error() {
        let remedy = "The provider has a fault. Ask its operator.";
        let refusal = Refusal::new("exchange.status", Why::NoAnswer, remedy);
        return Err(refusal.came(status.as_u16().to_string()));
    }
    let answer: Answer = json::read(&fetched.body).map_err(|fault| {
        let remedy = format!("Check the token endpoint: {}.", upstream.check_command());
        let refusal = Refusal::new("exchange.malformed", Why::Misconfigured, remedy);
        refusal.came(format!("status {}: {fault}", status.as_u16()))
    })?;
    if let Some(error) = answer.error {
        return Err(refused(upstream, &error));
    }
    let token = answer.access_token.filter(|token| !token.is_empty());
    // A token of another type is used in another way, which only its provider knows (RFC 6749, section 7.1).
    let is_bearer = answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    match token.filter(|_| status.is_success() && is_bearer) {
        Some(token) => Ok(Given { access_token: Secret::new(&token), id_token: answer.id_token }),
        None => {
            let remedy = "The provider answered without an access token of the type Bearer.";
            let refusal = Refusal::new("exchange.malformed", Why::Misconfigured, remedy);
            Err(refusal.came(format!("status {}", status.as_u16())))
        }
    }
}

/// The refusal for an error code of the token endpoint. Only known codes are shown, because anything could be in them.
fn refused(upstream: &Upstream, error: &str) -> Refusal {
    let name = upstream.name();
    match error {
        "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => {
            let remedy = format!(
                "The provider refuses the client id or the secret of the entry {name}. Copy both again, and \
                 check that the secret has not expired."
            );
            Refusal::new("exchange.client", Why::Misconfigured, remedy).came(error)
        }
        "invalid_grant" | "bad_verification_code" => {
            let remedy = "The code was used, has expired, or belongs to another sign-in. The person can begin again.";
            Refusal::new("exchange.code", Why::Untrusted, remedy).came(error)
        }
        "redirect_uri_mismatch" => {
            let remedy = format!("Register the redirect URI there: {}.", upstream.check_command());
            Refusal::new("exchange.redirect_uri", Why::Misconfigured, remedy).came(error)
        }
        _ => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let shown = error.len() <= 64 && error.bytes().all(plain);
            let remedy = "The provider refused the code with this error.";
            let refusal = Refusal::new("exchange.refused", Why::Misconfigured, remedy);
            if shown { refusal.came(error) } else { refusal }
        }
    }
}

/// Asks a provider who the holder of a token is. For GitHub, `sub` is the id, and the address is the primary one.
///
/// # Errors
///
/// The refusal of the provider, or of its answer.
pub async fn userinfo(
    app: &App,
    upstream: &Upstream,
    endpoints: &Endpoints,
    given: &Given,
) -> Checked<Map<String, Value>> {
    let Some(url) = &endpoints.userinfo else { return Ok(Map::new()) };
    let mut said: Map<String, Value> = asked(app, upstream, url, given).await?;
    if upstream.settings.preset == Preset::Github {
        // The numeric id stays when a name changes, and a name can be taken by somebody else.
        let id = said.get("id").and_then(Value::as_u64).map(|id| id.to_string());
        said.insert("sub".to_owned(), id.into());
        let address = match &endpoints.emails {
            Some(url) => primary(asked(app, upstream, url, given).await?),
            None => None,
        };
        said.insert("email_verified".to_owned(), address.is_some().into());
        said.insert("email".to_owned(), address.into());
    }
    Ok(said)
}

/// An address of GitHub's list.
#[derive(Deserialize)]
struct Listed {
    email: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    verified: bool,
}

fn primary(addresses: Vec<Listed>) -> Option<String> {
    let primary = addresses.into_iter().find(|listed| listed.primary && listed.verified);
    primary.map(|listed| listed.email)
}

async fn asked<T: serde::de::DeserializeOwned>(
    app: &App,
    upstream: &Upstream,
    url: &Url,
    given: &Given,
) -> Checked<T> {
    let sent = async {
        let _turn = turn(upstream).await?;
        let proof = Proof::Bearer(&given.access_token);
        let answered = fetch::get(app, upstream.reach(), url, proof).await;
        answered.map_err(|fault| unreachable(upstream, "userinfo.unreachable", &fault))
    };
    let fetched = sent.await?;
    let status = fetched.status.as_u16();
    if !fetched.status.is_success() {
        let why = if fetched.status.is_server_error() { Why::NoAnswer } else { Why::Misconfigured };
        let remedy = "The provider does not say who the person is. Check the scopes of the entry.";
        return Err(Refusal::new("userinfo.status", why, remedy).came(status.to_string()));
    }
    json::read(&fetched.body).map_err(|fault| {
        let remedy = "The provider answered without JSON. A signed answer is not supported.";
        Refusal::new("userinfo.malformed", Why::Misconfigured, remedy).came(fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_and_verified_address_of_github_counts() {
        let listed = |text| primary(serde_json::from_str(text).unwrap());
        let both = r#"[{"email":"a@b.co","primary":false,"verified":true},
                       {"email":"c@d.co","primary":true,"verified":true}]"#;
        assert_eq!(listed(both).as_deref(), Some("c@d.co"));
        for text in [
            "[]",
            r#"[{"email":"a@b.co","primary":true,"verified":false}]"#,
            r#"[{"email":"a@b.co","primary":true}]"#,
            r#"[{"email":"a@b.co","verified":true}]"#,
        ] {
            assert_eq!(listed(text), None, "{text}");
        }
    }
}
