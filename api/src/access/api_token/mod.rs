//! API tokens: opaque, for scripts and services.

mod guess;
pub(crate) mod http;
pub(crate) mod jobs;
mod secret;
mod store;

pub(crate) use store::lock;

pub use guess::Guesses;
pub use jobs::Uses;
pub use secret::{Digest, Secret};

use std::sync::Arc;

use entity::api_token::Model;
use entity::{ApiTokenId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, SqlErr};
use uuid::Uuid;

use crate::access::caller::{Caller, Requires};
use crate::app::App;
use crate::base::cache::Known;
use crate::base::clock::{self, Time};
use crate::base::error::{Code, Error, LocalizedMessage, Result, TokenRefusal};
use crate::base::random;
use crate::base::request_context;
use crate::base::scope::{Scope, Scopes};
use crate::identity::alert;
use crate::identity::service::{self, Principal, PrincipalId};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::unit_of_work::UnitOfWork;

/// The most API tokens one user or service has, unless a superuser makes more.
const MOST_TOKENS: u64 = 100;

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
        let seconds = |millis| Time::from_millis(millis).seconds();
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
    fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| now.seconds() >= expires)
    }
}

/// The API tokens that were shown lately, by their digests.
pub type KnownApiTokens = Known<Digest, Arc<ApiToken>>;

/// The API token of a secret and its owner, if it is accepted now. A place that guesses is refused before anything is looked up.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::TooManyAttempts`].
pub async fn authenticate(app: &App, secret: &str) -> Result<(Arc<ApiToken>, Principal)> {
    let refuse = |why: TokenRefusal| Error::token(Code::Unauthorized, why);
    let shown = secret.parse::<Secret>().map_err(|_| refuse(TokenRefusal::API_TOKEN_MALFORMED))?;
    let shown = shown.digest();
    // A busy token is known, and counts nothing.
    let counts = app.config.rate_limit && app.known_api_tokens.get(shown).is_none();
    let place = counts.then(|| rate_limit::place(request_context::current().ip.as_deref()));
    if let Some(place) = &place {
        app.guesses.refuse(place, shown)?;
    }
    let accepted = accepted(app, secret).await?;
    match (&place, &accepted) {
        (Some(place), Ok(_)) => app.guesses.was_right(place, shown),
        (Some(place), Err(TokenRefusal::API_TOKEN_UNKNOWN)) => app.guesses.was_wrong(place, shown),
        _ => {}
    }
    let (token, principal) = accepted.map_err(refuse)?;
    let principal = principal.ok_or(Code::Unauthorized)?;
    app.api_token_uses.note(&token, clock::now());
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
    if let Some(token) = app.known_api_tokens.get(digest) {
        return Ok(Some(token));
    }
    let since = app.known_api_tokens.since();
    let row = store::find_by_digest(app.database.reader(), &digest.to_string()).await?;
    let Some(row) = row else { return Ok(None) };
    let token = Arc::new(ApiToken::try_from(row)?);
    app.known_api_tokens.put(digest, Arc::clone(&token), since);
    Ok(Some(token))
}

/// What an API token should be. What is `None` is the default.
#[derive(Default)]
pub struct Wanted {
    /// Its id, so that who asks twice gets one; a new one.
    pub id: Option<Uuid>,
    /// Whose it is; the caller's.
    pub username: Option<String>,
    /// What its owner calls it; nothing.
    pub name: Option<String>,
    /// A secret that was made elsewhere; a new one.
    pub secret: Option<Secret>,
    /// How long it lives, in seconds; as the settings say.
    pub expire: Option<u64>,
    /// What it may do; `authenticated` of a user, everything a service may of a service.
    pub scopes: Option<Scopes>,
}

/// An API token with its secret, which is told this once.
pub struct Made {
    /// The token.
    pub token: ApiToken,
    /// Its owner's name.
    pub username: String,
    /// Its secret.
    pub secret: Secret,
}

/// Makes an API token. A secret that its owner has already keeps its age, and takes the new expiry,
/// and name and scopes where they are given.
///
/// A token that was stolen must not make itself others that outlive it: this wants a password of
/// just now, or a superuser's scope.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`] for one's own, [`Code::FreshProofRequired`] for somebody else's,
/// [`Code::InsufficientScope`], [`Code::Forbidden`],
/// [`Code::ApiTokenUserUnknown`], [`Code::ApiTokenInvalidScopes`], [`Code::ApiTokenAlreadyExists`],
/// [`Code::ApiTokenLimitReached`]; [`Code::UnprocessableContent`] for a secret that is easy to guess;
/// [`Code::TooManyAttempts`] for an account that acts too often, and for one, or a place, that tries secrets of
/// others.
pub async fn create(app: &App, caller: &Caller, wanted: Wanted) -> Result<Made> {
    let Wanted { id, username, name, secret, expire, scopes } = wanted;
    let requires = if caller.is_named(username.as_deref()) {
        caller.require_fresh_or_super(app)?;
        Requires::Rights
    } else {
        caller.require(Scope::SUPER)?;
        caller.require_fresh_claims(app)?;
        Requires::FreshProof
    };
    caller.count_act(app)?;
    let owner = owner(app, caller, username.as_deref()).await?;
    let allowed = owner.scopes();
    let chosen = scopes.clone().unwrap_or_else(|| default_scopes(&owner));
    if let Some(scope) = chosen.beyond(&allowed) {
        let reason = format!("{} does not have the scope {}", owner.name(), scope.as_str());
        return Err(Error::with_reason(Code::ApiTokenInvalidScopes, reason));
    }

    let counted = match &secret {
        Some(chosen) => {
            require_hard_to_guess(app, chosen)?;
            // The answer tells whether somebody else has it: counted before it is looked up.
            let own = caller.principal().filter(|_| !caller.may(Scope::SUPER));
            match own {
                Some(own) => rate_limit::chosen_secret(app, &own.id().to_string()).await?,
                None => None,
            }
        }
        None => None,
    };
    let secret = secret.unwrap_or_else(Secret::make);
    let digest = secret.digest().to_string();
    let mut work = UnitOfWork::begin(app).await?;
    // Users first, as at a sign-in: whoever revokes everything they have comes wholly before this, or
    // wholly after.
    caller.lock(app, &work, [owner.id()], requires).await?;
    let now = clock::now();
    let expire = expire.or(app.config.api_token_expires);
    let expires_at = expire.map(|seconds| now.plus_seconds(seconds).millis());
    let (user_id, service_id) = columns(owner.id());
    let row = Model {
        id: ApiTokenId(id.unwrap_or_else(random::id)),
        user_id,
        service_id,
        name: name.clone(),
        prefix: secret.prefix().to_owned(),
        digest: digest.clone().into(),
        scopes: chosen.to_string(),
        created_at: now.millis(),
        expires_at,
        last_used_at: None,
    };
    let told = |row: &Model| {
        let entry = Entry::new(Act::TokenCreate, Actor::of(caller));
        on(entry, owner.id()).with("api_token", row.id.to_string()).with("scopes", &*row.scopes)
    };
    let row = match store::insert(&*work, row.clone()).await.map_err(not_inserted)? {
        true => {
            let count = store::count(&*work, owner.id(), now).await?;
            if count > MOST_TOKENS && !caller.may(Scope::SUPER) {
                return Err(Code::ApiTokenLimitReached.into());
            }
            tell_owner(app, &work, caller, &owner, &row).await?;
            work.record(told(&row));
            work.wake_jobs();
            work.commit().await?;
            row
        }
        false => {
            let known = store::find_by_digest(&*work, &digest).await?;
            let known =
                known.filter(|known| (known.user_id, known.service_id) == (user_id, service_id));
            let mut row = known.ok_or(Code::ApiTokenAlreadyExists)?;
            row.expires_at = expires_at;
            row.name = name.or(row.name);
            row.scopes = scopes.map_or(row.scopes, |scopes| scopes.to_string());
            let row = store::update(&*work, row).await?;
            work.notify(service::CHANGED);
            work.record(told(&row));
            work.commit().await?;
            row
        }
    };
    rate_limit::refund(app, counted).await?;
    tracing::info!(api_token.id = %row.id, owner.id = %owner.id(), "an API token was made");
    let username = owner.name().to_owned();
    Ok(Made { token: row.try_into()?, username, secret })
}

/// Tells a user by mail that an API token was made for them. A service has no address.
async fn tell_owner(
    app: &App,
    transaction: &DatabaseTransaction,
    caller: &Caller,
    owner: &Principal,
    row: &Model,
) -> Result<()> {
    let Principal::User(user) = owner else { return Ok(()) };
    let token = alert::NewApiToken {
        name: row.name.as_deref(),
        prefix: &row.prefix,
        scopes: row.scopes.clone(),
        expires: row.expires_at.map(|at| Time::from_millis(at).seconds()),
        own: caller.is_user(user.id),
    };
    alert::api_token_created(app, transaction, user, token).await
}

/// Fails for a chosen secret that has less in it than its length promises; in development it is only said.
fn require_hard_to_guess(app: &App, secret: &Secret) -> Result<()> {
    let Some(fault) = secret.fault() else { return Ok(()) };
    if app.config.dev {
        tracing::warn!("the secret of an API token {fault}: good enough for development only");
        return Ok(());
    }
    let advice = "leave it out to have one made, or send random characters";
    Err(Error::field("token", format!("The token {fault}: {advice}")))
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

fn default_scopes(owner: &Principal) -> Scopes {
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

/// Whose tokens are meant: the caller's, unless somebody is named; others are for superusers.
async fn owner(app: &App, caller: &Caller, username: Option<&str>) -> Result<Principal> {
    let own = caller.principal();
    match (username, own) {
        (_, Some(own)) if caller.is_named(username) => Ok(own),
        (Some(name), _) => {
            caller.require(Scope::SUPER)?;
            service::principal_named(app, name).await?.ok_or(Code::ApiTokenUserUnknown.into())
        }
        (None, _) => Err(Code::ApiTokenUserUnknown.into()),
    }
}

/// Which API tokens are wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Whose; the caller's.
    pub username: Option<String>,
    /// Everybody's.
    pub all: bool,
    /// The id of the last one that is known.
    pub after: Option<String>,
    /// At most so many: 1 to 100.
    pub limit: u64,
}

/// API tokens with their owners' names, the newest first; and whether there are more.
///
/// # Errors
///
/// [`Code::Forbidden`] or [`Code::InsufficientScope`] where they are somebody else's;
/// [`Code::ApiTokenUserUnknown`]; [`Code::UnprocessableContent`] when `after` is none of them.
pub async fn list(
    app: &App,
    caller: &Caller,
    page: Page,
) -> Result<(Vec<(ApiToken, String)>, bool)> {
    caller.require_self()?;
    let Page { username, all, after, limit } = page;
    if all {
        caller.require(Scope::SUPER)?;
        return list_all(app, after, limit).await;
    }
    let owner = owner(app, caller, username.as_deref()).await?;
    let (tokens, more) = some(app, Some(owner.id()), after, limit).await?;
    Ok((tokens.into_iter().map(|token| (token, owner.name().to_owned())).collect(), more))
}

/// Everybody's API tokens with their owners' names, the newest first, from after one; and whether there are
/// more. For the caller to ask whether they may be seen.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] when `after` is none of them.
pub async fn list_all(
    app: &App,
    after: Option<String>,
    limit: u64,
) -> Result<(Vec<(ApiToken, String)>, bool)> {
    let (tokens, more) = some(app, None, after, limit).await?;
    let names = service::names(app, tokens.iter().map(|token| token.owner)).await?;
    let named = tokens.into_iter().map(|token| {
        let name = names.get(&token.owner).cloned().unwrap_or_default();
        (token, name)
    });
    Ok((named.collect(), more))
}

async fn some(
    app: &App,
    of: Option<PrincipalId>,
    after: Option<String>,
    limit: u64,
) -> Result<(Vec<ApiToken>, bool)> {
    let reader = app.database.reader();
    let after = match after {
        Some(id) => {
            let none = || Error::query("after", "No API token of this list");
            let id = id.parse().map_err(|_| none())?;
            Some(store::find(reader, id, of).await?.ok_or_else(none)?)
        }
        None => None,
    };
    let limit = limit.clamp(1, 100);
    let after = after.as_ref().map(place_of);
    let mut rows = store::list(reader, of, after, limit + 1).await?;
    let more = u64::try_from(rows.len()).is_ok_and(|count| count > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(100));
    Ok((rows.into_iter().map(ApiToken::try_from).collect::<Result<_>>()?, more))
}

/// The number of API tokens of a user that have not expired.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count_of(app: &App, user: UserId) -> Result<u64> {
    Ok(store::count(app.database.reader(), PrincipalId::User(user), clock::now()).await?)
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
    let rows = store::live(app.database.reader(), user, clock::now(), MOST_TOKENS * 10).await?;
    rows.into_iter().map(ApiToken::try_from).collect()
}

/// Where an API token stands in a list, which goes on behind it even if it is gone by then.
pub(crate) type Place = (i64, ApiTokenId);

fn place_of(row: &Model) -> Place {
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
    after: Option<Place>,
    most: u64,
) -> Result<(Vec<ApiToken>, Option<Place>)> {
    let of = Some(PrincipalId::User(user));
    let rows = store::list(connection, of, after, most).await?;
    let next = rows.last().map(place_of);
    Ok((rows.into_iter().map(ApiToken::try_from).collect::<Result<_>>()?, next))
}

/// Which API tokens are to be deleted.
pub enum Chosen {
    /// One, by its id.
    Id(String),
    /// One of the caller's own, by its id, whoever they are.
    Own(String),
    /// One, by its secret.
    Secret(String),
    /// All of somebody's.
    Username(String),
}

/// Deletes API tokens: they are accepted nowhere any more. Says how many there were; those of
/// others, and none, are none.
///
/// # Errors
///
/// [`Code::Forbidden`] or [`Code::InsufficientScope`] where somebody else is named; [`Code::FreshProofRequired`] for
/// tokens of somebody else; [`Code::ApiTokenUserUnknown`]; [`Code::TooManyAttempts`].
pub async fn delete(app: &App, caller: &Caller, chosen: Chosen) -> Result<u64> {
    caller.require_self()?;
    caller.count_act(app)?;
    let own = caller.id();
    let of = own.filter(|_| !caller.may(Scope::SUPER));
    let chosen = match chosen {
        Chosen::Id(id) => match id.parse() {
            Ok(id) => store::Chosen::Id(id, of),
            Err(_) => return Ok(0),
        },
        Chosen::Own(id) => match id.parse() {
            Ok(id) => store::Chosen::Id(id, own),
            Err(_) => return Ok(0),
        },
        Chosen::Secret(secret) => match secret.parse::<Secret>() {
            Ok(secret) => store::Chosen::Digest(secret.digest().to_string(), of),
            Err(_) => return Ok(0),
        },
        Chosen::Username(name) => store::Chosen::Owner(owner(app, caller, Some(&name)).await?.id()),
    };
    remove(app, chosen, Some(caller)).await
}

/// Forgets the API tokens in memory: some were changed.
///
/// # Errors
///
/// None.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.known_api_tokens.forget_all();
    Ok(())
}

/// Deletes an API token for whoever holds its secret (RFC 7009).
///
/// # Errors
///
/// When the database does not answer; nothing is deleted then.
pub(crate) async fn give_up(app: &App, secret: &Secret) -> Result<()> {
    let chosen = store::Chosen::Digest(secret.digest().to_string(), None);
    remove(app, chosen, None).await.map(drop)
}

fn on(entry: Entry, owner: PrincipalId) -> Entry {
    match owner {
        PrincipalId::User(id) => entry.on_user(id),
        PrincipalId::Service(id) => entry.on("service", id),
    }
}

async fn remove(app: &App, chosen: store::Chosen, caller: Option<&Caller>) -> Result<u64> {
    let by = caller.map_or_else(Actor::anybody, Actor::of);
    let mut work = UnitOfWork::begin(app).await?;
    if let Some(caller) = caller {
        let owner = store::owner(&*work, &chosen).await?;
        let own = caller.id();
        // Nothing brings back what others lose here; what one has oneself may be copied, and must go at once.
        let requires = match owner {
            Some(owner) if Some(owner) != own => Requires::FreshProof,
            _ => Requires::Rights,
        };
        caller.lock(app, &work, owner, requires).await?;
    }
    let removed = store::delete(&*work, chosen).await?;
    let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
    // One entry is enough: replicas forget all they know of API tokens.
    if removed.is_empty() {
        return Ok(0);
    }
    work.notify(service::CHANGED);
    let entries = removed.iter().map(|(id, owner)| {
        let entry = Entry::new(Act::TokenDelete, by.clone());
        on(entry, *owner).with("api_token", id.to_string())
    });
    work.record_all(entries);
    work.commit().await?;
    tracing::info!(api_token.count = count, "API tokens were deleted");
    Ok(count)
}

/// Deletes every API token of a user.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn delete_of(work: &mut UnitOfWork<'_>, user: UserId) -> Result<()> {
    let theirs = store::Chosen::Owner(PrincipalId::User(user));
    work.notify(service::CHANGED);
    Ok(store::delete(&**work, theirs).await.map(drop)?)
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
