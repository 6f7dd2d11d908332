//! API tokens: opaque secrets for scripts and services.
//!
//! This module defines them and checks them. `self_service::api_token` creates, lists and deletes them.

mod guess;
pub(crate) mod jobs;
mod secret;
mod store;

pub(crate) use guess::Guesses;
pub(crate) use store::{Selection, lock, owner};

pub(crate) use secret::CLIENT_SECRET;
pub use secret::{Digest, OfClient, Presented, Secret};

use std::collections::HashMap;
use std::sync::Arc;

use entity::api_token::Model;
use entity::{ApiTokenId, PrincipalId, UserId};
use sea_orm::{ConnectionTrait, SqlErr};
use tokio::sync::watch;
use uuid::Uuid;

use self::jobs::Uses;
use crate::app::App;
use crate::base::cache::Cache;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, LocalizedMessage, Result, TokenRefusal};
use crate::base::listing::{Limit, Page};
use crate::base::random;
use crate::base::request_context;
use crate::base::scope::{Scope, Scopes};
use crate::identity::service::{self, Principal};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of API tokens that a user or a service can have, unless a superuser makes more.
pub(crate) const MAX_TOKENS: u64 = 100;

/// An API token without its secret. Times are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Its id.
    pub id: ApiTokenId,
    /// The user or service that it belongs to.
    pub owner: PrincipalId,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// The beginning of its secret.
    pub prefix: String,
    /// The scopes that it was granted. It has those of them that its owner currently has.
    pub scopes: Scopes,
    /// The time when it was created.
    pub created: u64,
    /// The time from which it is refused, if it expires.
    pub expires: Option<u64>,
    /// The time of its last use, to the minute.
    pub last_used: Option<u64>,
}

impl TryFrom<Model> for ApiToken {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let Model {
            id,
            user_id,
            service_id,
            name,
            prefix,
            digest: _,
            scopes,
            created_at,
            expires_at,
            last_used_at,
        } = row;
        let owner = match (user_id, service_id) {
            (Some(user), None) => PrincipalId::User(user),
            (None, Some(service)) => PrincipalId::Service(service),
            _ => {
                let fault = "an API token does not have exactly one owner";
                return Err(Error::because(Code::InternalServerError, fault));
            }
        };
        let seconds = |millis| Timestamp::from_millis(millis).seconds();
        Ok(Self {
            id,
            owner,
            name,
            prefix,
            scopes: Scopes::parse(&scopes),
            created: seconds(created_at),
            expires: expires_at.map(seconds),
            last_used: last_used_at.map(seconds),
        })
    }
}

impl ApiToken {
    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now.seconds() >= expires)
    }
}

/// The state of API tokens in this replica's memory.
#[derive(Debug, Default)]
pub struct State {
    /// Tokens that were used within the last second.
    cache: Cache<Digest, Arc<ApiToken>>,
    guesses: Guesses,
    uses: Uses,
    /// Counts the changes of tokens and services that this replica knows of.
    changes: watch::Sender<u64>,
}

impl State {
    /// See [`Cache::looked_up`].
    pub(crate) fn looked_up(&self) -> [u64; 2] {
        self.cache.looked_up()
    }

    /// Returns the signal that a token or a service was changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Returns the API token of a secret and its owner, if the token is accepted now. Refuses an address that sent too many
/// wrong tokens, before anything is read from the database.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason, or [`Code::TooManyAttempts`].
pub async fn authenticate(app: &App, secret: &str) -> Result<(Arc<ApiToken>, Principal)> {
    let refuse = |refusal: TokenRefusal| Error::token(Code::Unauthorized, refusal);
    let shown = secret.parse::<Secret>().map_err(|_| refuse(TokenRefusal::API_TOKEN_MALFORMED))?;
    let shown = shown.digest();
    // A token in the cache exists, so it is not counted.
    let counts = app.config.rate_limit && app.api_token.cache.get(shown).is_none();
    let place = counts.then(|| rate_limit::place(request_context::current().ip));
    if let Some(place) = &place {
        app.api_token.guesses.refuse(place, shown)?;
    }
    let accepted = accepted(app, secret).await?;
    match (&place, &accepted) {
        (Some(place), Ok(_)) => app.api_token.guesses.was_right(place, shown),
        (Some(place), Err(TokenRefusal::API_TOKEN_UNKNOWN)) => {
            app.api_token.guesses.was_wrong(place, shown)
        }
        _ => {}
    }
    let (token, principal) = accepted.map_err(refuse)?;
    let principal = principal.ok_or(Code::Unauthorized)?;
    app.api_token.uses.note(&token, clock::now());
    Ok((token, principal))
}

/// Returns the API token of a secret, with its owner if they are active, or the reason why it is refused.
pub(crate) async fn accepted(
    app: &App,
    secret: &str,
) -> Result<Result<(Arc<ApiToken>, Option<Principal>), TokenRefusal>> {
    let Ok(secret) = secret.parse::<Secret>() else {
        return Ok(Err(TokenRefusal::API_TOKEN_MALFORMED));
    };
    let Some(token) = current(app, secret.digest()).await? else {
        return Ok(Err(TokenRefusal::API_TOKEN_UNKNOWN));
    };
    if token.has_expired(clock::now()) {
        return Ok(Err(TokenRefusal::API_TOKEN_EXPIRED));
    }
    let principal = service::principal(app, token.owner).await?.filter(Principal::is_active);
    if let Some(Principal::User(user)) = &principal
        && !user.may_act(&app.config)
    {
        return Ok(Err(TokenRefusal::USER_NOT_VERIFIED));
    }
    Ok(Ok((token, principal)))
}

async fn current(app: &App, digest: Digest) -> Result<Option<Arc<ApiToken>>> {
    if let Some(token) = app.api_token.cache.get(digest) {
        return Ok(Some(token));
    }
    let since = app.api_token.cache.since();
    let row = store::find_by_digest(app.database.reader(), &digest.to_string()).await?;
    let Some(row) = row else { return Ok(None) };
    let token = Arc::new(ApiToken::try_from(row)?);
    app.api_token.cache.put(digest, Arc::clone(&token), since);
    Ok(Some(token))
}

/// An API token to be written.
pub(crate) struct Draft<'a> {
    /// Its id; a new one if there is none.
    pub(crate) id: Option<Uuid>,
    /// Its owner.
    pub(crate) owner: &'a Principal,
    /// The name that its owner gives it.
    pub(crate) name: Option<String>,
    /// Its secret.
    pub(crate) secret: &'a Secret,
    /// The time when it expires.
    pub(crate) expires_at: Option<Timestamp>,
    /// Its scopes; those of [`default_scopes`] if there are none.
    pub(crate) scopes: Option<Scopes>,
}

/// An API token that was written.
pub(crate) enum Written {
    /// The token is new.
    Created(ApiToken),
    /// Its owner already had a token with this secret. That token keeps its age and gets the new expiry, and the name
    /// and scopes if they were given.
    Renewed(ApiToken),
}

/// Writes an API token.
///
/// # Errors
///
/// [`Code::ApiTokenAlreadyExists`] if another account has the secret, or if the id is used already;
/// [`Code::ApiTokenUserUnknown`] if the owner was deleted in the meantime.
pub(crate) async fn write(
    work: &mut UnitOfWork<'_>,
    draft: Draft<'_>,
    now: Timestamp,
) -> Result<Written> {
    let Draft { id, owner, name, secret, expires_at, scopes } = draft;
    let (user_id, service_id) = columns(owner.id());
    let digest = secret.digest().to_string();
    let expires_at = expires_at.map(Timestamp::millis);
    let row = Model {
        id: ApiTokenId(id.unwrap_or_else(random::id)),
        user_id,
        service_id,
        name: name.clone(),
        prefix: secret.prefix().to_owned(),
        digest: digest.clone().into(),
        scopes: scopes.clone().unwrap_or_else(|| default_scopes(owner)).to_string(),
        created_at: now.millis(),
        expires_at,
        last_used_at: None,
    };
    if store::insert(&**work, row.clone()).await.map_err(not_inserted)? {
        return Ok(Written::Created(row.try_into()?));
    }
    let known = store::find_by_digest(&**work, &digest).await?;
    let known = known.filter(|known| (known.user_id, known.service_id) == (user_id, service_id));
    let mut row = known.ok_or(Code::ApiTokenAlreadyExists)?;
    row.expires_at = expires_at;
    row.name = name.or(row.name);
    row.scopes = scopes.map_or(row.scopes, |scopes| scopes.to_string());
    let row = store::update(&**work, row).await?;
    work.notify(service::CHANGED);
    Ok(Written::Renewed(row.try_into()?))
}

/// Translates an error of the insertion: the owner was deleted in the meantime, or the same form was sent twice.
fn not_inserted(error: sea_orm::DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Code::ApiTokenUserUnknown.into(),
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            let message =
                LocalizedMessage::new("sent-already", "A token with this id already exists");
            Error::with_messages(Code::ApiTokenAlreadyExists, vec![message])
        }
        _ => error.into(),
    }
}

/// The scopes of an API token for which none were requested: `authenticated` for a user, all scopes of a service for a
/// service.
pub(crate) fn default_scopes(owner: &Principal) -> Scopes {
    match owner {
        Principal::User(_) => Scopes::of(&[Scope::AUTHENTICATED]),
        Principal::Service(service) => service.scopes.clone(),
    }
}

fn columns(owner: PrincipalId) -> (Option<UserId>, Option<entity::ServiceId>) {
    match owner {
        PrincipalId::User(id) => (Some(id), None),
        PrincipalId::Service(id) => (None, Some(id)),
    }
}

/// A page of all API tokens with the names of their owners, newest first, from a cursor on. The caller must check the
/// permission to see them.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if `after` is not the id of an API token.
pub async fn list_all(
    app: &App,
    after: Option<String>,
    limit: u64,
) -> Result<Page<(ApiToken, String)>> {
    let tokens = list(app, None, after, limit).await?;
    let names = service::names(app, tokens.items.iter().map(|token| token.owner)).await?;
    Ok(tokens.map(|token| {
        let name = names.get(&token.owner).cloned().unwrap_or_default();
        (token, name)
    }))
}

/// A page of the API tokens of an owner, or of all owners, newest first, from a cursor on.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if `after` is not the id of a token in this list.
pub(crate) async fn list(
    app: &App,
    of: Option<PrincipalId>,
    after: Option<String>,
    limit: u64,
) -> Result<Page<ApiToken>> {
    let reader = app.database.reader();
    let after = match after {
        Some(id) => {
            let none = || Error::query("after", "This is not the id of an API token in this list");
            let id = id.parse().map_err(|_| none())?;
            Some(store::find(reader, id, of).await?.ok_or_else(none)?)
        }
        None => None,
    };
    let limit = Limit::new(limit, 100);
    let after = after.as_ref().map(cursor_of);
    let rows = store::list(reader, of, after, limit.rows()).await?;
    limit.page(rows).try_map(ApiToken::try_from)
}

/// The number of API tokens of a user or a service that have not expired.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count_of(connection: &impl ConnectionTrait, owner: PrincipalId) -> Result<u64> {
    Ok(store::count(connection, owner, clock::now()).await?)
}

/// The number of API tokens.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    Ok(store::count_all(app.database.reader()).await?)
}

/// The API tokens of a user that have not expired, newest first. At most 1000 are returned, ten times as many as users
/// can make themselves. Superusers may have made more.
///
/// # Errors
///
/// If the database does not answer.
pub async fn live_of(app: &App, user: UserId) -> Result<Vec<ApiToken>> {
    let rows = store::live(app.database.reader(), user, clock::now(), MAX_TOKENS * 10).await?;
    rows.into_iter().map(ApiToken::try_from).collect()
}

/// The position of an API token in a list. The list continues after it even if the token is deleted in the meantime.
pub(crate) type Cursor = (i64, ApiTokenId);

fn cursor_of(row: &Model) -> Cursor {
    (row.created_at, row.id)
}

/// Up to `max` API tokens of a user, expired ones included, newest first, from a cursor on; and the next cursor, unless
/// the list ends.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn some_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    after: Option<Cursor>,
    max: u64,
) -> Result<(Vec<ApiToken>, Option<Cursor>)> {
    let of = Some(PrincipalId::User(user));
    let rows = store::list(connection, of, after, max).await?;
    let next = rows.last().map(cursor_of);
    Ok((rows.into_iter().map(ApiToken::try_from).collect::<Result<_>>()?, next))
}

/// Returns the owners of some API tokens, and the names or the beginnings by which people recognise the tokens. Deleted ones
/// are left out.
///
/// # Errors
///
/// If the database does not answer.
pub async fn labels(
    app: &App,
    ids: Vec<ApiTokenId>,
) -> Result<HashMap<ApiTokenId, (PrincipalId, String)>> {
    let found = store::labels(app.database.reader(), ids).await?;
    Ok(found.into_iter().map(|(id, owner, label)| (id, (owner, label))).collect())
}

/// Clears the cache of API tokens, because some were changed.
///
/// # Errors
///
/// This never fails.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.api_token.cache.forget_all();
    app.api_token.changes.send_modify(|changes| *changes += 1);
    Ok(())
}

/// Deletes an API token for anyone who holds its secret (RFC 7009).
///
/// # Errors
///
/// If the database does not answer. Then nothing is deleted.
pub(crate) async fn give_up(app: &App, secret: &str) -> Result<()> {
    let Ok(secret) = secret.parse::<Secret>() else { return Ok(()) };
    let mut work = UnitOfWork::begin(app).await?;
    let selection = Selection::Secret(secret, None);
    if delete(&mut work, &selection, &Actor::anybody()).await? == 0 {
        return Ok(());
    }
    work.commit().await?;
    tracing::info!("the holder of an API token deleted it");
    Ok(())
}

/// Deletes API tokens and returns their number. They are not accepted any more.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn delete(
    work: &mut UnitOfWork<'_>,
    selection: &Selection,
    by: &Actor,
) -> Result<u64> {
    let removed = store::delete(&**work, selection).await?;
    if removed.is_empty() {
        return Ok(0);
    }
    work.notify(service::CHANGED);
    for (id, owner) in &removed {
        let entry = on_owner(Entry::new(Act::TokenDelete, by.clone()), *owner);
        work.record(entry.with("api_token", id.to_string()));
    }
    Ok(u64::try_from(removed.len()).unwrap_or(u64::MAX))
}

/// Sets the owner of an API token as the subject of an audit entry.
pub(crate) fn on_owner(entry: Entry, owner: PrincipalId) -> Entry {
    match owner {
        PrincipalId::User(id) => entry.on_user(id),
        PrincipalId::Service(id) => entry.on("service", id),
    }
}

/// Deletes every API token of a user.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn delete_of(work: &mut UnitOfWork<'_>, user: UserId) -> Result<()> {
    let theirs = Selection::Owner(PrincipalId::User(user));
    work.notify(service::CHANGED);
    Ok(store::delete(&**work, &theirs).await.map(drop)?)
}

/// Returns an API token and its owner, if the token is accepted now. This does not count as a use.
///
/// # Errors
///
/// If the database does not answer.
pub async fn check(app: &App, secret: &str) -> Result<Option<(Arc<ApiToken>, Principal)>> {
    let found = accepted(app, secret).await?.ok();
    Ok(found.and_then(|(token, principal)| Some((token, principal?))))
}
