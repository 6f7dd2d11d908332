//! Back-channel logout: a provider ends what it ended (OpenID Connect Back-Channel Logout 1.0).

use entity::FederatedIdentityId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::store;
use crate::access::session;
use crate::app::App;
use crate::base::clock;
use crate::base::config::Preset;
use crate::base::error::{Code, Error, Result};
use crate::federation::upstream::{Checked, Refusal, Upstream, Why, id_token, json, recorded};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::Reason;
use crate::platform::seen;
use crate::platform::unit_of_work::UnitOfWork;

/// The event that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The difference that is allowed between the clocks, in seconds.
const SKEW: u64 = 60;

/// The maximum age of a logout token, in seconds. The standard recommends two minutes.
const MAX_AGE: u64 = 300;

/// The claims of a logout token. A claim that appears twice is an error.
#[derive(Deserialize)]
struct LogoutToken {
    iss: String,
    aud: Value,
    iat: f64,
    exp: Option<f64>,
    jti: String,
    sub: Option<String>,
    sid: Option<String>,
    events: Map<String, Value>,
    nonce: Option<Value>,
    tid: Option<String>,
    oid: Option<String>,
}

impl LogoutToken {
    /// The subject as our rows have it. Microsoft gives a person another `sub` in each application, and one `oid`.
    fn subject(&self, upstream: &Upstream) -> Option<&str> {
        match upstream.settings.preset {
            Preset::Entra => self.oid.as_deref(),
            _ => self.sub.as_deref(),
        }
    }
}

/// Ends the sessions that a logout token names. Returns their number. The refusal of a token is recorded.
///
/// # Errors
///
/// [`Code::InvalidRequest`] if the token cannot be trusted, or came before; if the database does not answer.
pub(super) async fn end(app: &App, upstream: &Upstream, token: &str) -> Result<usize> {
    // Anybody can send a token, but only the provider can sign one.
    let parts = match signed(app, upstream, token).await {
        Ok(parts) => parts,
        Err(refusal) => return Err(refused(app, upstream, None, &refusal)),
    };
    let token = match read(upstream, &parts) {
        Ok(token) => token,
        Err(refusal) => return Err(refused(app, upstream, Some(upstream), &refusal)),
    };
    let mut work = UnitOfWork::begin(app).await?;
    let until = clock::now().plus_seconds(MAX_AGE + SKEW);
    let id = format!("{}\0{}", upstream.name(), token.jti);
    if !seen::spend(&work, seen::Purpose::LogoutToken, &id, until).await? {
        let remedy = "The provider sent the token a second time. The first one has done it.";
        let refusal = Refusal::new("logout_token.spent", Why::Finished, remedy);
        return Err(refused(app, upstream, Some(upstream), &refusal));
    }
    let mut rows = match token.subject(upstream) {
        Some(subject) => {
            let found = store::by_subject(&*work, upstream.name(), subject).await?;
            found.into_iter().collect::<Vec<_>>()
        }
        // Without a subject, the session there says which sessions end, if it is one of this provider.
        None => {
            store::of_sid(&*work, upstream.name(), token.sid.as_deref().unwrap_or_default()).await?
        }
    };
    // With several tenants, each signs with the same keys. None ends what another one proved.
    rows.retain(|row| row.issuer == token.iss);
    let identities: Vec<FederatedIdentityId> = rows.iter().map(|row| row.id).collect();
    let (sid, reason) = (token.sid.as_deref(), Reason::EndedThere);
    let ended = session::end_proven_by(app, &mut work, &identities, sid, &reason).await?;
    for (session, user) in &ended {
        let entry = Entry::new(Act::SessionEnd, Actor::anybody()).on_user(*user);
        let entry = entry.with("session", session.to_string());
        work.record(entry.with("upstream", upstream.name()));
    }
    work.commit().await?;
    Ok(ended.len())
}

/// Records the refusal of a token. `signer` is `None` if nobody knows who sent it.
fn refused(app: &App, upstream: &Upstream, signer: Option<&Upstream>, refusal: &Refusal) -> Error {
    recorded::note_logout(app, signer, upstream.label(), refusal);
    Error::because(Code::InvalidRequest, refusal.to_string())
}

/// The parts of a token that the provider signed.
async fn signed<'a>(
    app: &App,
    upstream: &Upstream,
    token: &'a str,
) -> Checked<id_token::Parts<'a>> {
    let parts = id_token::Parts::split(upstream, token)?;
    parts.verify(app, upstream).await?;
    Ok(parts)
}

fn read(upstream: &Upstream, parts: &id_token::Parts<'_>) -> Checked<LogoutToken> {
    let malformed = |fault| Refusal::untrusted("logout_token.malformed", upstream).came(fault);
    let token: LogoutToken = json::read(parts.payload()).map_err(malformed)?;
    let tenants = &upstream.settings.tenants;
    let is_listed = token.tid.as_ref().is_some_and(|tenant| tenants.contains(tenant));
    let faults = [
        ("logout_token.tenant", !tenants.is_empty() && !is_listed),
        ("logout_token.iss", token.iss != id_token::issuer_of(upstream, token.tid.as_deref())),
        ("logout_token.aud", !is_for(&token.aud, &upstream.settings.client_id)),
        ("logout_token.time", !is_now(&token)),
        ("logout_token.events", !token.events.get(EVENT).is_some_and(Value::is_object)),
        ("logout_token.nonce", token.nonce.is_some()),
        ("logout_token.sub", token.subject(upstream).is_none() && token.sid.is_none()),
        ("logout_token.jti", token.jti.is_empty()),
    ];
    match faults.into_iter().find(|(_, is_wrong)| *is_wrong) {
        Some((name, _)) => Err(Refusal::untrusted(name, upstream)),
        None => Ok(token),
    }
}

fn is_for(aud: &Value, client_id: &str) -> bool {
    match aud {
        Value::String(one) => one == client_id,
        Value::Array(many) => many.iter().any(|one| one == client_id),
        _ => false,
    }
}

fn is_now(token: &LogoutToken) -> bool {
    let now = clock::now().seconds();
    let iat = id_token::seconds(token.iat);
    let is_young = iat <= now.saturating_add(SKEW) && iat.saturating_add(MAX_AGE) >= now;
    let is_valid = token.exp.is_none_or(|exp| id_token::seconds(exp).saturating_add(SKEW) > now);
    is_young && is_valid
}
