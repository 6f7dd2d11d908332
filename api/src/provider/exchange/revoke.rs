//! Revocation by clients (RFC 7009). A refresh token ends its grant, an access token is revoked alone.

use entity::{GrantId, SessionId};
use tessera_verify::{GrantClaims, MAX_LEEWAY, Revocation};

use super::own;
use crate::access::grant::Worth;
use crate::access::grant::client::{self as grant, ClientToken};
use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::key::MAX_CLIENT_LIFE;
use crate::platform::revocation::{self, Reason};
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::Client;

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
    let mut work = UnitOfWork::begin(app).await?;
    let now = clock::now();
    let Some((worth, row)) = grant::present(app, &work, token, now).await? else { return Ok(()) };
    // Whoever holds an older token of the grant can end it too: that can only help its owner.
    if row.client_id != client.id || matches!(worth, Worth::NotIssued | Worth::Ended) {
        return Ok(());
    }
    if grant::end(&mut work, row.id, &Reason::Revoked, now).await?.is_some() {
        work.record(entry(client).on_user(row.user_id).with("grant", row.id.to_string()));
        work.commit().await?;
    }
    Ok(())
}

fn entry(client: &Client) -> Entry {
    Entry::new(Act::GrantEnd, Actor::of(&format!("client:{}", client.client_id)))
}

async fn revoke_access_token(app: &App, client: &Client, claims: &GrantClaims) -> Result<()> {
    let mut work = UnitOfWork::begin(app).await?;
    let now = clock::now();
    let (id, counted) = (GrantId(claims.grant_id), SessionId(claims.grant_id));
    let until = claims.exp.saturating_add(MAX_LEEWAY);
    if app.revocation.list().covers_grant(claims) {
        return Ok(());
    }
    if revocation::count_alone(&work, counted, now).await? < MAX_REVOKED_ALONE {
        let entry = Revocation::token(claims.jti, until);
        work.revoke_alone(entry, counted, &Reason::Revoked, now);
    } else if client.own_grant == Some(id) {
        own::replace(&mut work, client).await?;
        let until = now.plus_seconds(MAX_CLIENT_LIFE + MAX_LEEWAY).seconds();
        work.revoke([Revocation::session(id.0, until)], &Reason::Revoked, now);
    } else {
        grant::end(&mut work, id, &Reason::Revoked, now).await?;
    }
    work.record(entry(client).with("token", claims.jti.to_string()));
    work.commit().await
}
