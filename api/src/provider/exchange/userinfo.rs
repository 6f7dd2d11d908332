//! Userinfo: the claims about the user of an access token (OpenID Connect Core, section 5.3).

use entity::{GrantId, UserId};
use serde_json::{Map, Value};
use tessera_verify::GrantClaims;

use super::tokens::{OPENID, userinfo_claims};
use crate::access::grant::client as grant;
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scopes;
use crate::identity::user;
use crate::platform::revocation;
use crate::provider::client;

/// The claims about the user of an access token.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::InsufficientScope`] without the scope `openid`;
/// [`Code::ServiceUnavailable`] while the revocation list is out of date.
pub(super) async fn of_token(app: &App, token: &str) -> Result<Map<String, Value>> {
    revocation::require_known(app)?;
    let claims = app.key.clients.verifier.verify_grant(token, clock::now().seconds());
    let claims: GrantClaims =
        claims.map_err(|refusal| Error::token(Code::Unauthorized, refusal))?;
    let scopes = Scopes::parse(&claims.scope);
    if !scopes.contains(OPENID) {
        return Err(Error::scope(OPENID));
    }
    let user = claims.sub.uuid().map(UserId).ok_or(Code::Unauthorized)?;
    let user = user::current(app, user).await?.filter(|user| user.may_act(&app.config));
    let user = user.ok_or(Code::Unauthorized)?;
    let client = client::find(app, &claims.client_id).await?.filter(|client| client.is_active);
    let client = client.ok_or(Code::Unauthorized)?;
    let asked = grant::find(app, GrantId(claims.grant_id)).await?.and_then(|row| row.claims);
    Ok(userinfo_claims(&client, &user, &scopes, asked.as_deref()))
}
