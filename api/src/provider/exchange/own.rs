//! The grant type `client_credentials` (RFC 6749, section 4.4): a client acts for itself.

use entity::{ClientId, GrantId};

use super::tokens::{self, Issued, Order};
use super::{Fields, store};
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::platform::revocation;
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::{self, Checked, Client, OauthError, Refusal, resource};

/// The scopes that are about a user, so a client cannot have them for itself.
const OF_USERS: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// Issues a token to a client for itself.
pub(super) async fn exchange(
    app: &App,
    client: &Client,
    fields: &Fields,
) -> Result<Checked<Issued>> {
    revocation::require_noted_life(app)?;
    if client.is_public() {
        let sentence = "A client without a secret cannot act for itself.";
        let remedy = "Give the application a secret, or let a user sign in.";
        let error = OauthError::UnauthorizedClient;
        return Ok(Err(Refusal::new("grant_type.public_client", error, sentence, remedy)));
    }
    let scopes = match scopes(client, fields) {
        Ok(scopes) => scopes,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for uri in &fields.resources {
        let known = resource::find(app, uri).await?;
        if !known.is_some_and(|known| known.is_active && client.can_ask_for(&known)) {
            let sentence = "This application cannot ask for the resource of the request.";
            let remedy = "`tessera resource list` shows the resources that exist.";
            let error = OauthError::InvalidTarget;
            let refusal = Refusal::new("resource.not_allowed", error, sentence, remedy);
            return Ok(Err(refusal.came(uri)));
        }
    }
    let grant = own_grant(app, client).await?;
    let now = clock::now();
    let order = Order { client, now, scopes: &scopes, resources: &fields.resources };
    tokens::of_client(app, &order, grant).await.map(Ok)
}

/// The `grant_id` of the tokens that a client gets for itself. All have the same one, so that a revocation can cover them.
async fn own_grant(app: &App, client: &Client) -> Result<GrantId> {
    if let Some(known) = client.own_grant {
        return Ok(known);
    }
    let mut work = UnitOfWork::begin(app).await?;
    store::set_own_grant(&*work, client.id, None, GrantId(random::id())).await?;
    work.notify(client::CHANGED);
    work.commit().await?;
    // Another request may have been first.
    let known = client::by_id(app, client.id).await?.and_then(|client| client.own_grant);
    Ok(known.ok_or(Code::InternalServerError)?)
}

/// Gives the next tokens that a client gets for itself another `grant_id`, because those of this one are revoked.
pub(super) async fn replace(
    work: &mut UnitOfWork<'_>,
    client: ClientId,
    known: GrantId,
) -> Result<()> {
    store::set_own_grant(&**work, client, Some(known), GrantId(random::id())).await?;
    work.notify(client::CHANGED);
    Ok(())
}

/// The scopes of the token: those that are asked for, or all that the client can have for itself.
fn scopes(client: &Client, fields: &Fields) -> Checked<Scopes> {
    let allowed = |word: &str| client.scopes.contains(word) && !OF_USERS.contains(&word);
    let Some(asked) = fields.get("scope") else {
        return Ok(client.scopes.iter().filter(|scope| allowed(scope.as_str())).cloned().collect());
    };
    let words: Vec<_> = asked.split(' ').filter(|word| allowed(word)).collect();
    if words.is_empty() {
        let sentence = "This application cannot ask for any scope of the request.";
        let remedy = client.remedy("--scope '…'");
        let error = OauthError::InvalidScope;
        return Err(Refusal::new("scope.none_allowed", error, sentence, remedy));
    }
    Ok(Scopes::of(&words))
}
