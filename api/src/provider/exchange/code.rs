//! The grant type `authorization_code` (RFC 6749, section 4.1.3).

use super::Fields;
use super::tokens::{self, Issued, Order};
use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::platform::revocation;
use crate::provider::authorization::code::{self, Opened, Presented};
use crate::provider::client::{Checked, Client};

/// Exchanges a code.
pub(super) async fn exchange(
    app: &App,
    client: &Client,
    fields: &Fields,
) -> Result<Checked<Issued>> {
    let code = match fields.required("code") {
        Ok(code) => code,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Before the code is spent, so that none is spent in vain.
    revocation::require_noted_life(app)?;
    let presented = Presented {
        code,
        redirect_uri: fields.get("redirect_uri"),
        verifier: fields.get("code_verifier"),
        resources: &fields.resources,
    };
    let opened = code::spend(app, client, &presented).await?;
    let Opened { grant, user, nonce, scopes, resources } = match opened {
        Ok(opened) => opened,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let order = Order { client, now: clock::now(), scopes: &scopes, resources: &resources };
    tokens::of_grant(app, &order, &grant, &user, nonce.as_deref()).await.map(Ok)
}
