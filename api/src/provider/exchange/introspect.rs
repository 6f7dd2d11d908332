//! Introspection of the tokens of clients (RFC 7662), for clients and for services with an API token.

use entity::GrantId;
use serde_json::{Value, json};
use tessera_verify::GrantClaims;

use crate::access::grant::Worth;
use crate::access::grant::client::{self as grant, ClientToken};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::identity::user;
use crate::platform::revocation;
use crate::provider::client::settings::Introspects;
use crate::provider::client::{self, Client};

/// The caller that asks about a token.
pub(super) enum Asker<'a> {
    /// A client, which sees the tokens that its settings allow.
    Client(&'a Client),
    /// A service or a user with an API token and the scope for it, who sees all.
    ApiToken,
}

/// The answer about a token: what it contains, or only that it is not active.
pub(super) async fn of_token(app: &App, asker: &Asker<'_>, token: &str) -> Result<Value> {
    revocation::require_known(app)?;
    let found = match ClientToken::parse(token) {
        Some(token) => of_refresh_token(app, asker, &token).await?,
        None => of_access_token(app, asker, token).await?,
    };
    Ok(found.unwrap_or_else(|| json!({ "active": false })))
}

async fn of_access_token(app: &App, asker: &Asker<'_>, token: &str) -> Result<Option<Value>> {
    let now = clock::now().seconds();
    let Ok(claims) = app.key.clients.verifier.verify_any_grant(token, now) else {
        return Ok(None);
    };
    if !may_see(asker, &claims) {
        return Ok(None);
    }
    let client = client::find(app, &claims.client_id).await?;
    if !client.is_some_and(|client| client.is_active) {
        return Ok(None);
    }
    let username = match claims.sub.uuid() {
        // A client that acts for itself has its own name as the subject.
        _ if claims.auth_time.is_none() => Some(claims.client_id.clone()),
        Some(id) => {
            let user = user::current(app, entity::UserId(id)).await?;
            user.filter(|user| user.may_act(&app.config)).map(|user| user.email.clone())
        }
        None => None,
    };
    let Some(username) = username else { return Ok(None) };
    let mut answer = json!(claims);
    answer["active"] = json!(true);
    answer["token_type"] = json!("Bearer");
    answer["username"] = json!(username);
    Ok(Some(answer))
}

/// Returns true if an asker may see an access token.
fn may_see(asker: &Asker<'_>, claims: &GrantClaims) -> bool {
    let client = match asker {
        Asker::ApiToken => return true,
        Asker::Client(client) => client,
    };
    let is_own = claims.client_id == client.client_id;
    let is_served = || client.settings.serves.iter().any(|uri| claims.aud.contains(uri));
    match client.settings.introspects {
        Introspects::Any => true,
        Introspects::Served => is_own || is_served(),
        Introspects::Own => is_own,
    }
}

async fn of_refresh_token(
    app: &App,
    asker: &Asker<'_>,
    token: &ClientToken,
) -> Result<Option<Value>> {
    let Some(row) = grant::find(app, token.grant).await? else { return Ok(None) };
    let worth = grant::judge(app, &row, token, clock::now());
    let is_own = match asker {
        Asker::ApiToken => true,
        Asker::Client(client) => client.id == row.client_id,
    };
    if !is_own || worth != Worth::Current {
        return Ok(None);
    }
    let client = client::by_id(app, row.client_id).await?.filter(|client| client.is_active);
    let user = user::current(app, row.user_id).await?.filter(|user| user.may_act(&app.config));
    let (Some(client), Some(user)) = (client, user) else { return Ok(None) };
    let GrantId(grant) = row.id;
    Ok(Some(json!({
        "active": true,
        "client_id": client.client_id,
        "sub": user.id.to_string(),
        "username": user.email,
        "scope": row.scopes,
        "iss": app.config.public_url.as_str(),
        "iat": Timestamp::from_millis(row.rotated_at).seconds(),
        "exp": Timestamp::from_millis(row.expires_at).seconds(),
        "grant_id": grant,
    })))
}
