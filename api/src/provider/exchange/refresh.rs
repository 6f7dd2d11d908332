//! The grant type `refresh_token` (RFC 6749, section 6). The rules are those of sessions (`access/grant`).

use entity::oauth_grant::Model;

use super::Fields;
use super::tokens::{self, Issued, Order};
use crate::access::grant::Worth;
use crate::access::grant::client::{self as grant, ClientToken};
use crate::access::session;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::base::scope::Scopes;
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, Reason};
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::authorization::checks::refusal_for;
use crate::provider::authorization::code::expiry;
use crate::provider::client::{self, Checked, Client, OauthError, Refusal};

/// Exchanges a refresh token.
pub(super) async fn exchange(
    app: &App,
    client: &Client,
    fields: &Fields,
) -> Result<Checked<Issued>> {
    let text = match fields.required("refresh_token") {
        Ok(text) => text,
        Err(refusal) => return Ok(Err(refusal)),
    };
    revocation::require_noted_life(app)?;
    let Some(token) = ClientToken::parse(text) else { return Ok(Err(unknown())) };
    let Some(known) = grant::find(app, token.grant).await? else { return Ok(Err(unknown())) };
    // Everything that the request can get wrong is checked before anything is spent.
    if known.client_id != client.id {
        return Ok(Err(unknown()));
    }
    let narrowed = narrowed_scopes(&known, fields)
        .and_then(|scopes| Ok((scopes, narrowed_resources(&known, fields)?)));
    let (scopes, resources) = match narrowed {
        Ok(narrowed) => narrowed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (scopes, resources) = match client::still_allowed(app, client, scopes, resources).await? {
        Ok(allowed) => allowed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let now = clock::now();
    let (row, user) = match settle(app, client, &token, &known, now).await? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let order = Order { client, now, scopes: &scopes, resources: &resources };
    tokens::of_grant(app, &order, &row, &user, None).await.map(Ok)
}

/// Spends a refresh token, gives its successor again, ends its grant, or refuses it.
async fn settle(
    app: &App,
    client: &Client,
    token: &ClientToken,
    known: &Model,
    now: Timestamp,
) -> Result<Checked<(Model, User)>> {
    let work = UnitOfWork::begin(app).await?;
    let user = user::lock(&*work, known.user_id).await?;
    let until = match known.session_id {
        _ if known.is_offline => known.ends_at.map(Timestamp::from_millis),
        Some(session) => session::until(app, &work, session).await?,
        None => None,
    };
    let Some((worth, row)) = grant::present(app, &work, token, now).await? else {
        return Ok(Err(unknown()));
    };
    let user = user.map(|user| user.user).filter(|user| user.may_act(&app.config));
    match worth {
        Worth::Current | Worth::Previous => {
            // A grant that ends with its session has ended if the row of the session is gone.
            let is_over = !row.is_offline && until.is_none_or(|until| until <= now);
            let user = match entitled(client, user.filter(|_| !is_over)) {
                Ok(user) => user,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let moved = successor(app, &work, &row, worth == Worth::Current, until, now).await?;
            let Some(row) = moved else { return Ok(Err(ended())) };
            work.commit().await?;
            Ok(Ok((row, user)))
        }
        Worth::Reused => {
            let entry = Entry::new(Act::RefreshReuse, Actor::anybody());
            end(work, &row, &Reason::Reuse, entry, now).await?;
            Ok(Err(reused()))
        }
        Worth::Ahead => {
            let entry = Entry::new(Act::GrantEnd, Actor::anybody());
            end(work, &row, &Reason::Restored, entry, now).await?;
            Ok(Err(ended()))
        }
        Worth::NotIssued => Ok(Err(unknown())),
        Worth::Ended => Ok(Err(ended())),
        Worth::Expired => {
            let remedy = "The user must sign in again.";
            Ok(Err(invalid("refresh_token.expired", "The refresh token has expired.", remedy)))
        }
    }
}

/// Returns the user if they may still use the client.
fn entitled(client: &Client, user: Option<User>) -> Checked<User> {
    let user = user.ok_or_else(ended)?;
    match refusal_for(client, &user) {
        Some(refusal) => Err(Refusal { error: OauthError::InvalidGrant, ..refusal }),
        None => Ok(user),
    }
}

/// The row with which the next tokens are made. The current token is spent for it; the one before it gives the same
/// successor again.
async fn successor(
    app: &App,
    work: &UnitOfWork<'_>,
    row: &Model,
    is_current: bool,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Model>> {
    let issued = revocation::next_issue(app, work, row.user_id, now).await?;
    if !is_current {
        return grant::issue(work, row, issued).await;
    }
    let expires = expiry(app, Timestamp::from_millis(row.created_at), now, until);
    grant::spend(work, row, now, issued, expires).await
}

/// Ends the grant of a token that was refused.
async fn end(
    mut work: UnitOfWork<'_>,
    row: &Model,
    reason: &Reason,
    entry: Entry,
    now: Timestamp,
) -> Result<()> {
    grant::end(&mut work, row.id, reason, now).await?;
    work.record(entry.on_user(row.user_id).with("grant", row.id.to_string()));
    work.commit().await?;
    tracing::warn!(grant.id = %row.id, why = reason.name(), "a refresh token ended its grant");
    Ok(())
}

/// The scopes of the next access token: those of the grant, or fewer if the request names some of them.
fn narrowed_scopes(grant: &Model, fields: &Fields) -> Checked<Scopes> {
    let granted = Scopes::parse(&grant.scopes);
    let Some(asked) = fields.get("scope") else { return Ok(granted) };
    let words: Vec<_> = asked.split(' ').filter(|word| !word.is_empty()).collect();
    if words.is_empty() || !words.iter().all(|word| granted.contains(word)) {
        let sentence = "The scope contains a word that was not granted.";
        let remedy = "The application must ask for scopes when the user signs in.";
        let error = OauthError::InvalidScope;
        let refusal = Refusal::new("scope.not_granted", error, sentence, remedy);
        return Err(refusal.expected(grant.scopes.clone()));
    }
    Ok(Scopes::of(&words))
}

/// The resources of the next access token: those of the grant, or fewer if the request names some of them.
fn narrowed_resources(grant: &Model, fields: &Fields) -> Checked<Vec<String>> {
    let granted: Vec<String> = serde_json::from_str(&grant.resources).unwrap_or_default();
    if fields.resources.is_empty() {
        return Ok(granted);
    }
    if !fields.resources.iter().all(|uri| granted.contains(uri)) {
        let sentence = "The resource was not granted.";
        let remedy = "The application must ask for resources when the user signs in.";
        return Err(Refusal::new(
            "resource.not_granted",
            OauthError::InvalidTarget,
            sentence,
            remedy,
        ));
    }
    Ok(fields.resources.clone())
}

fn invalid(name: &'static str, sentence: &str, remedy: &str) -> Refusal {
    Refusal::new(name, OauthError::InvalidGrant, sentence, remedy)
}

fn unknown() -> Refusal {
    let remedy = "The application must send the refresh token that it got last, unchanged.";
    invalid("refresh_token.unknown", "The refresh token is unknown.", remedy)
}

fn reused() -> Refusal {
    let sentence =
        "The refresh token was used before. Two parties hold it, so its grant was ended.";
    let remedy = "The user must sign in again. Find out who else has the token.";
    invalid("refresh_token.reused", sentence, remedy)
}

fn ended() -> Refusal {
    let sentence = "What the refresh token stands for has ended.";
    let remedy =
        "The user signed out, ended the access, or may not sign in. The user must sign in again.";
    invalid("refresh_token.ended", sentence, remedy)
}
