//! API tokens: opaque, for scripts and services. Here is what one is, and when it is accepted; `self_service::api_token`
//! has how they are made, listed and deleted.

mod guess;
pub(crate) mod jobs;
mod secret;
mod store;

pub(crate) use store::{Selection, lock, owner};

pub use secret::{Digest, Presented, Secret};

use std::sync::Arc;

use entity::api_token::Model;
use entity::{ApiTokenId, PrincipalId, UserId};
use sea_orm::{ConnectionTrait, SqlErr};
use uuid::Uuid;

use self::guess::Guesses;
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

/// The most API tokens one user or service has, unless a superuser makes more.
pub(crate) const MAX_TOKENS: u64 = 100;

/// An API token, without its secret. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Its id.
    pub id: ApiTokenId,
    /// Whom it acts as.
    pub owner: PrincipalId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// The beginning of its secret.
    pub prefix: String,
    /// What it may do, as far as its owner may.
    pub scopes: Scopes,
    /// When it was made.
    pub created: u64,
    /// When it expires: at this second it is refused.
    pub expires: Option<u64>,
    /// When it was last used, to the minute.
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
                let fault = "an API token of nobody, or of two";
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

/// What this replica remembers of API tokens: those presented within the last second, guesses, and uses to write down.
#[derive(Debug, Default)]
pub struct State {
    /// The tokens that were presented within the last second.
    cache: Cache<Digest, Arc<ApiToken>>,
    guesses: Guesses,
    uses: Uses,
}

/// The API token of a secret and its owner, if it is accepted now. A place that guesses is refused before anything is
/// looked up.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::TooManyAttempts`].
pub async fn authenticate(app: &App, secret: &str) -> Result<(Arc<ApiToken>, Principal)> {
    let refuse = |why: TokenRefusal| Error::token(Code::Unauthorized, why);
    let shown = secret.parse::<Secret>().map_err(|_| refuse(TokenRefusal::API_TOKEN_MALFORMED))?;
    let shown = shown.digest();
    // A busy token is known, and counts nothing.
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

/// The API token of a secret, with its owner if they are active; or why there is none.
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

/// An API token that is to be written.
pub(crate) struct Draft<'a> {
    /// Its id; a new one, if none is given.
    pub(crate) id: Option<Uuid>,
    /// Its owner.
    pub(crate) owner: &'a Principal,
    /// What its owner calls it.
    pub(crate) name: Option<String>,
    /// Its secret.
    pub(crate) secret: &'a Secret,
    /// When it expires.
    pub(crate) expires_at: Option<Timestamp>,
    /// What it may do; as [`default_scopes`] says, if none are given.
    pub(crate) scopes: Option<Scopes>,
}

/// An API token that was written.
pub(crate) enum Written {
    /// A new one.
    Created(ApiToken),
    /// One whose secret its owner had already: it kept its age, and took the new expiry, and the name and the scopes
    /// where they were given.
    Renewed(ApiToken),
}

/// Writes an API token.
///
/// # Errors
///
/// [`Code::ApiTokenAlreadyExists`] for a secret that somebody else has, and for an id that was used;
/// [`Code::ApiTokenUserUnknown`] for an owner who was deleted meanwhile.
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

/// Somebody was deleted meanwhile, or asks twice.
fn not_inserted(error: sea_orm::DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Code::ApiTokenUserUnknown.into(),
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            let message =
                LocalizedMessage::new("sent-already", "There is a token of this id already");
            Error::with_messages(Code::ApiTokenAlreadyExists, vec![message])
        }
        _ => error.into(),
    }
}

/// The scopes of an API token for which none are asked: those of everybody for a user's, all it has for a service's.
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

/// A page of everybody's API tokens with their owners' names, the newest first, from after one. The caller asks
/// whether they may be seen.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] when `after` is none of them.
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

/// A page of an owner's API tokens, or of everybody's, the newest first, from after one.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] when `after` is none of them.
pub(crate) async fn list(
    app: &App,
    of: Option<PrincipalId>,
    after: Option<String>,
    limit: u64,
) -> Result<Page<ApiToken>> {
    let reader = app.database.reader();
    let after = match after {
        Some(id) => {
            let none = || Error::query("after", "No API token of this list");
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
/// When the database does not answer.
pub async fn count_of(connection: &impl ConnectionTrait, owner: PrincipalId) -> Result<u64> {
    Ok(store::count(connection, owner, clock::now()).await?)
}

/// How many API tokens there are.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    Ok(store::count_all(app.database.reader()).await?)
}

/// The API tokens of a user that have not expired, the newest first. Superusers may have made more than are listed: a
/// thousand, ten times as many as users make themselves.
///
/// # Errors
///
/// When the database does not answer.
pub async fn live_of(app: &App, user: UserId) -> Result<Vec<ApiToken>> {
    let rows = store::live(app.database.reader(), user, clock::now(), MAX_TOKENS * 10).await?;
    rows.into_iter().map(ApiToken::try_from).collect()
}

/// Where an API token stands in a list, which goes on behind it even if it is gone by then.
pub(crate) type Cursor = (i64, ApiTokenId);

fn cursor_of(row: &Model) -> Cursor {
    (row.created_at, row.id)
}

/// Some API tokens of a user, those that have expired too, the newest first, from behind a place; and where to go on,
/// unless there are no more.
///
/// # Errors
///
/// When the database does not answer.
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

/// Forgets the API tokens in memory: some were changed.
///
/// # Errors
///
/// None.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.api_token.cache.forget_all();
    Ok(())
}

/// Deletes an API token for whoever holds its secret (RFC 7009).
///
/// # Errors
///
/// When the database does not answer; nothing is deleted then.
pub(crate) async fn give_up(app: &App, secret: &str) -> Result<()> {
    let Ok(secret) = secret.parse::<Secret>() else { return Ok(()) };
    let mut work = UnitOfWork::begin(app).await?;
    let selection = Selection::Secret(secret, None);
    if delete(&mut work, &selection, &Actor::anybody()).await? == 0 {
        return Ok(());
    }
    work.commit().await?;
    tracing::info!("an API token was given up");
    Ok(())
}

/// Deletes API tokens, and returns how many there were: they are accepted nowhere any more.
///
/// # Errors
///
/// When the database refuses.
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

/// An entry of the audit on the owner of an API token.
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
/// When the database refuses.
pub(crate) async fn delete_of(work: &mut UnitOfWork<'_>, user: UserId) -> Result<()> {
    let theirs = Selection::Owner(PrincipalId::User(user));
    work.notify(service::CHANGED);
    Ok(store::delete(&**work, &theirs).await.map(drop)?)
}

/// Whether an API token is accepted now, and whose it is. Asking is not using it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn check(app: &App, secret: &str) -> Result<Option<(Arc<ApiToken>, Principal)>> {
    let found = accepted(app, secret).await?.ok();
    Ok(found.and_then(|(token, principal)| Some((token, principal?))))
}
