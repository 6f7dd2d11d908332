//! The ways in which a user signs in, for the pages with forms that ask for a proof: identities at other providers, and
//! the proof that such a form asks for.

use minijinja::{Value, context};

use crate::access::session::browser::{self, SignedIn};
use crate::app::App;
use crate::base::config::Preset;
use crate::base::error::{Code, Result};
use crate::federation::{federated_identity, upstream};
use crate::identity::user;

/// The values for the page.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn values(app: &App, signed_in: &SignedIn) -> Result<Value> {
    let reader = app.database.reader();
    let known = user::by_id(&app.database, signed_in.user.id).await?.ok_or(Code::Unauthorized)?;
    let identities = federated_identity::of_user(app, reader, known.user.id).await?;
    let is_known = |name: &str| upstream::find(app, name).is_some();
    // GitHub never says when somebody signed in there, so it cannot prove again who they are.
    let can_prove = |name: &str| {
        let found = upstream::find(app, name);
        found.is_some_and(|upstream| upstream.settings.preset != Preset::Github)
    };
    let proof = match () {
        () if browser::standing_proof(app, signed_in).await?.is_some() => "recent",
        () if !known.hash.is_none() => "password",
        () if identities.iter().any(|identity| can_prove(&identity.upstream)) => "again",
        () => "none",
    };
    let has = |name: &str| identities.iter().any(|identity| identity.upstream == name);
    let links = upstream::all(app).iter().filter(|upstream| !has(upstream.name()));
    let links: Vec<Value> = links
        .map(|upstream| context! { name => upstream.name(), label => upstream.label() })
        .collect();
    let ways: Vec<Value> = identities
        .iter()
        .map(|identity| {
            context! {
                id => &identity.id,
                upstream => &identity.upstream,
                label => &identity.label,
                there => identity.email.as_deref().unwrap_or(&identity.subject),
                created => identity.created.seconds(),
                used => identity.used.seconds(),
                known => is_known(&identity.upstream),
                proves => can_prove(&identity.upstream),
            }
        })
        .collect();
    let has_password = !known.hash.is_none();
    Ok(context! { proof, has_password, ways, links })
}
