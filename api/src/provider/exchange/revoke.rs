//! Revocation by clients (RFC 7009). A refresh token ends its grant, an access token is revoked alone.

use entity::oauth_grant::Model;
use entity::{GrantId, SessionId};
use tessera_verify::{GrantClaims, MAX_LEEWAY, Revocation};

use super::own;
use crate::access::grant::Worth;
use crate::access::grant::client::{self as grant, ClientToken};
use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::revocation::{self, Reason};
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::{self, Client};

/// The number of access tokens of a grant that can be revoked alone before all of them are revoked instead.
const MAX_REVOKED_ALONE: u64 = 20;

/// Revokes a token of a client. Other tokens are ignored.
pub(super) async fn revoke(app: &App, client: &Client, token: &str) -> Result<()> {
    if let Some(token) = ClientToken::parse(token) {
        return end_grant(app, client, &token).await;
    }
    let Ok(claims) = app.key.clients.verifier.read_grant(token) else { return Ok(()) };
    let now = clock::now();
    let is_over = claims.exp.saturating_add(MAX_LEEWAY) <= now.seconds();
    if claims.client_id != client.client_id || is_over || !app.config.blacklist_enabled {
        return Ok(());
    }
    revoke_access_token(app, client, &claims).await
}

async fn end_grant(app: &App, client: &Client, token: &ClientToken) -> Result<()> {
    // Anybody can make up a token, so one that ends nothing must not wait for the writer of the database.
    let ends = |row: &Model, now| {
        let worth = grant::judge(app, row, token, now);
        // A holder of an older token of the grant can end it too, which can only help its owner.
        row.client_id == client.id && !matches!(worth, Worth::NotIssued | Worth::Ended)
    };
    let known = grant::find(app, token.grant).await?;
    if !known.is_some_and(|row| ends(&row, clock::now())) {
        return Ok(());
    }
    let mut work = UnitOfWork::begin(app).await?;
    let now = clock::now();
    let Some(row) = grant::lock(&work, token.grant).await? else { return Ok(()) };
    if ends(&row, now) && grant::end(&mut work, row.id, &Reason::Revoked, now).await? {
        work.record(entry(client).on_user(row.user_id).with("grant", row.id.to_string()));
        work.commit().await?;
    }
    Ok(())
}

fn entry(client: &Client) -> Entry {
    Entry::new(Act::GrantEnd, Actor::of(&format!("client:{}", client.client_id)))
}

async fn revoke_access_token(app: &App, client: &Client, claims: &GrantClaims) -> Result<()> {
    if app.revocation.list().covers_grant(claims) {
        return Ok(());
    }
    let is_of_client = claims.auth_time.is_none();
    let user = claims.sub.uuid().filter(|_| !is_of_client);
    rate_limit::grant_revocation(app, user.unwrap_or(client.id.0))?;
    let mut work = UnitOfWork::begin(app).await?;
    let (id, counted) = (GrantId(claims.grant_id), SessionId(claims.grant_id));
    // Locked, so that of several requests at once each counts the ones before it.
    let own = match grant::lock(&work, id).await? {
        Some(_) => None,
        None => client::write::lock(&work, &client.client_id).await?.own_grant,
    };
    // Another request or replica may have revoked it in the meantime.
    if revocation::is_grant_revoked(app, &*work, claims).await? {
        return Ok(());
    }
    let now = clock::now();
    if revocation::count_alone(&work, counted, now).await? < MAX_REVOKED_ALONE {
        let until = claims.exp.saturating_add(MAX_LEEWAY);
        let entry = Revocation::token(claims.jti, until);
        work.revoke_alone(entry, counted, &Reason::Revoked, now);
    } else if !grant::end(&mut work, id, &Reason::Revoked, now).await? {
        // The tokens that a client gets for itself have no grant with a row.
        if own == Some(id) {
            own::replace(&mut work, client.id, id).await?;
        }
        work.revoke(grant::revocation(id, now, now), &Reason::Revoked, now);
    }
    work.record(entry(client).with("token", claims.jti.to_string()));
    work.commit().await
}
