//! Creating, listing and deleting one's own API tokens. Superusers can also do this for others.

pub(crate) mod http;

use entity::{ApiTokenId, PrincipalId};
use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use crate::access::api_token::{self, ApiToken, Draft, MAX_TOKENS, Secret, Written};
use crate::access::caller::{Caller, Requires};
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Error, Result};
use crate::base::listing::Page;
use crate::base::scope::{Scope, Scopes};
use crate::identity::alert;
use crate::identity::service::{self, Principal};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit::{self, Attempt};
use crate::platform::unit_of_work::UnitOfWork;

/// An API token to be created. The fields say what `None` means.
#[derive(Default)]
pub struct NewApiToken {
    /// Its id, so that a request that is sent twice makes one token. Default: a new one.
    pub id: Option<Uuid>,
    /// The name of its owner. Default: the caller.
    pub username: Option<String>,
    /// The name that its owner gives it. Default: none.
    pub name: Option<String>,
    /// A secret that was made elsewhere. Default: a new one.
    pub secret: Option<Secret>,
    /// Its lifetime in seconds. Default: `API_TOKEN_EXPIRES`.
    pub expire: Option<u64>,
    /// Its scopes. Default: `authenticated` for a user, all scopes of the service for a service.
    pub scopes: Option<Scopes>,
}

/// A new API token with its secret, which is shown once.
pub struct CreatedApiToken {
    /// The token.
    pub token: ApiToken,
    /// The name of its owner.
    pub username: String,
    /// Its secret.
    pub secret: Secret,
}

/// Creates an API token. If the owner already has a token with this secret, it keeps its age and gets the new expiry,
/// and the name and scopes if they were given.
///
/// A stolen token must not be able to create tokens that outlive it. So this requires a password that was given a short
/// time ago, or the scope `super`.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`] for one's own account, [`Code::FreshProofRequired`] for others,
/// [`Code::InsufficientScope`], [`Code::Forbidden`], [`Code::ApiTokenUserUnknown`], [`Code::ApiTokenInvalidScopes`],
/// [`Code::ApiTokenAlreadyExists`], [`Code::ApiTokenLimitReached`]; [`Code::UnprocessableContent`] for a secret that is
/// easy to guess; [`Code::TooManyAttempts`] for an account that acts too often, and for an account or an IP address
/// that tries secrets of others.
pub async fn create(app: &App, caller: &Caller, new: NewApiToken) -> Result<CreatedApiToken> {
    let NewApiToken { id, username, name, secret, expire, scopes } = new;
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
    require_within(&owner, scopes.as_ref())?;
    let counted = match &secret {
        Some(chosen) => count_chosen(app, caller, chosen).await?,
        None => None,
    };
    let secret = secret.unwrap_or_else(Secret::make);
    let mut work = UnitOfWork::begin(app).await?;
    // Users first, as at a sign-in. So this runs completely before or completely after a revocation of everything that
    // the owner has.
    caller.lock(app, &work, [owner.id()], requires).await?;
    let now = clock::now();
    let expire = expire.or(app.config.api_token_expires);
    let expires_at = expire.map(|seconds| now.plus_seconds(seconds));
    let draft = Draft { id, owner: &owner, name, secret: &secret, expires_at, scopes };
    let written = api_token::write(&mut work, draft, now).await?;
    if let Written::Created(token) = &written {
        let count = api_token::count_of(&*work, owner.id()).await?;
        if count > MAX_TOKENS && !caller.may(Scope::SUPER) {
            return Err(Code::ApiTokenLimitReached.into());
        }
        work.wake_jobs();
        tell_owner(app, &work, caller, &owner, token).await?;
    }
    let (Written::Created(token) | Written::Renewed(token)) = written;
    work.record(entry(caller, &owner, &token));
    work.commit().await?;
    rate_limit::refund(app, counted).await?;
    tracing::info!(api_token.id = %token.id, owner.id = %owner.id(), "an API token was made");
    Ok(CreatedApiToken { token, username: owner.name().to_owned(), secret })
}

/// Fails if the owner of an API token does not have all of its scopes.
fn require_within(owner: &Principal, scopes: Option<&Scopes>) -> Result<()> {
    let chosen = scopes.cloned().unwrap_or_else(|| api_token::default_scopes(owner));
    let allowed = owner.scopes();
    let Some(scope) = chosen.beyond(&allowed) else { return Ok(()) };
    let reason = format!("{} does not have the scope {}", owner.name(), scope.as_str());
    Err(Error::with_reason(Code::ApiTokenInvalidScopes, reason))
}

/// Fails for a secret that is easy to guess. Counts the attempt before the secret is looked up, because the answer
/// reveals whether another account has it.
async fn count_chosen(app: &App, caller: &Caller, chosen: &Secret) -> Result<Option<Attempt>> {
    require_hard_to_guess(app, chosen)?;
    match caller.id().filter(|_| !caller.may(Scope::SUPER)) {
        Some(own) => rate_limit::chosen_secret(app, &own.to_string()).await,
        None => Ok(None),
    }
}

/// Fails for a chosen secret that is easy to guess for its length. In development it only logs a warning.
fn require_hard_to_guess(app: &App, secret: &Secret) -> Result<()> {
    let Some(fault) = secret.fault() else { return Ok(()) };
    if app.config.dev {
        tracing::warn!("the secret of an API token {fault}: good enough for development only");
        return Ok(());
    }
    let advice = "leave it out to get a new one, or send random characters";
    Err(Error::field("token", format!("The token {fault}: {advice}")))
}

/// The audit entry for a new API token.
fn entry(caller: &Caller, owner: &Principal, token: &ApiToken) -> Entry {
    let entry = Entry::new(Act::TokenCreate, Actor::of(caller));
    let entry = api_token::on_owner(entry, owner.id());
    entry.with("api_token", token.id.to_string()).with("scopes", token.scopes.to_string())
}

/// Informs a user by mail of a new API token. Services have no address.
async fn tell_owner(
    app: &App,
    transaction: &DatabaseTransaction,
    caller: &Caller,
    owner: &Principal,
    token: &ApiToken,
) -> Result<()> {
    let Principal::User(user) = owner else { return Ok(()) };
    let notice = alert::ApiTokenNotice {
        name: token.name.as_deref(),
        prefix: &token.prefix,
        scopes: token.scopes.to_string(),
        expires: token.expires,
        own: caller.is_user(user.id),
    };
    alert::api_token_created(app, transaction, user, notice).await
}

/// The owner that an operation is about: the caller, unless another one is named. Only superusers can name others.
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

/// A selection of API tokens for a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The name of their owner. Default: the caller.
    pub username: Option<String>,
    /// `true` for the tokens of all owners.
    pub all: bool,
    /// The pagination cursor: the id of the last token of the previous page.
    pub after: Option<String>,
    /// The maximum number of tokens, from 1 to 100.
    pub limit: u64,
}

/// A page of API tokens with the names of their owners, newest first.
///
/// # Errors
///
/// [`Code::Forbidden`] or [`Code::InsufficientScope`] if they belong to others; [`Code::ApiTokenUserUnknown`];
/// [`Code::UnprocessableContent`] if `after` is not the id of a token in this list.
pub async fn list(app: &App, caller: &Caller, filter: Filter) -> Result<Page<(ApiToken, String)>> {
    caller.require_self()?;
    let Filter { username, all, after, limit } = filter;
    if all {
        caller.require(Scope::SUPER)?;
        return api_token::list_all(app, after, limit).await;
    }
    let owner = owner(app, caller, username.as_deref()).await?;
    let tokens = api_token::list(app, Some(owner.id()), after, limit).await?;
    Ok(tokens.map(|token| (token, owner.name().to_owned())))
}

/// A selection of API tokens to delete.
pub enum Selection {
    /// The token with this id.
    Id(String),
    /// The token with this id, if the caller owns it. This applies to superusers too.
    Own(String),
    /// The token with this secret.
    Secret(String),
    /// All tokens of this owner.
    Username(String),
}

/// Deletes API tokens, which are not accepted any more, and returns their number. Tokens of others do not count, unless
/// the caller is a superuser.
///
/// # Errors
///
/// [`Code::Forbidden`] or [`Code::InsufficientScope`] if another owner is named; [`Code::FreshProofRequired`] for
/// tokens of others; [`Code::ApiTokenUserUnknown`]; [`Code::TooManyAttempts`].
pub async fn delete(app: &App, caller: &Caller, selection: Selection) -> Result<u64> {
    caller.require_self()?;
    caller.count_act(app)?;
    let Some(selection) = selected(app, caller, selection).await? else { return Ok(0) };
    let mut work = UnitOfWork::begin(app).await?;
    let owner = api_token::owner(&*work, &selection).await?;
    // The deletion of tokens of others cannot be undone. The caller's own token may be stolen, so it must be possible
    // to delete it at once.
    let requires = match owner {
        Some(owner) if Some(owner) != caller.id() => Requires::FreshProof,
        _ => Requires::Rights,
    };
    caller.lock(app, &work, owner, requires).await?;
    let count = api_token::delete(&mut work, &selection, &Actor::of(caller)).await?;
    if count > 0 {
        work.commit().await?;
        tracing::info!(api_token.count = count, "API tokens were deleted");
    }
    Ok(count)
}

/// The tokens to delete, among those that the caller may delete; `None` for an invalid id or secret.
async fn selected(
    app: &App,
    caller: &Caller,
    selection: Selection,
) -> Result<Option<api_token::Selection>> {
    let own = caller.id();
    let allowed = own.filter(|_| !caller.may(Scope::SUPER));
    let by_id = |id: &str, owner: Option<PrincipalId>| {
        let id = id.parse::<ApiTokenId>().ok()?;
        Some(api_token::Selection::Id(id, owner))
    };
    Ok(match selection {
        Selection::Id(id) => by_id(&id, allowed),
        Selection::Own(id) => by_id(&id, own),
        Selection::Secret(secret) => {
            let secret = secret.parse::<Secret>().ok();
            secret.map(|secret| api_token::Selection::Secret(secret, allowed))
        }
        Selection::Username(name) => {
            let owner = owner(app, caller, Some(&name)).await?;
            Some(api_token::Selection::Owner(owner.id()))
        }
    })
}
