//! The operations `/auth/{provider}/…` and `/auth/associate/{provider}/…`, as FastAPI Users has them, and the
//! back-channel logout.

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::callback::{self, Answer, Received, Refused};
use super::settle::{self, Settled};
use super::{linking, logout, whole};
use crate::access::caller::UserCaller;
use crate::access::session::http::TokenResponse;
use crate::access::session::{self, Audience, Device, browser};
use crate::app::App;
use crate::base::error::{Code, Error, Face, Result};
use crate::federation::upstream::sealed::{Door, Purpose};
use crate::federation::upstream::start::{self, Start};
use crate::federation::upstream::{self, Refusal, Why, recorded, sealed};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::cookie::{self, Cookies};
use crate::http::openapi::Note;
use crate::identity::user;
use crate::identity::user::http::UserResponse;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::{rate_limit, unit_of_work};

/// The name of the cookie that binds a sign-in with a provider to its browser. It is not the cookie of the session, because
/// that changes with each sign-in. So a person who signs in in one tab can finish what began in another one.
const COOKIE: &str = "tessera-oauth";

/// The refusals of a callback.
const OF_CALLBACKS: &[Code] = &[
    Code::LoginBadCredentials,
    Code::LoginUserNotVerified,
    Code::LoginWithProvider,
    Code::OauthInvalidState,
    Code::AccessTokenDecodeError,
    Code::AccessTokenAlreadyExpired,
    Code::OauthAccessDenied,
    Code::OauthNotAvailableEmail,
    Code::OauthUserAlreadyExists,
    Code::RegistrationClosed,
    Code::NotFound,
    Code::TooManyAttempts,
    Code::OauthUpstreamError,
];

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("oauth_authorize", &[Code::NotFound, Code::UnprocessableContent, Code::OauthUpstreamError]),
    ("oauth_callback", OF_CALLBACKS),
    (
        "oauth_associate_authorize",
        &[Code::Unauthorized, Code::FreshTokenRequired, Code::NotFound, Code::OauthUpstreamError],
    ),
    (
        "oauth_associate_callback",
        &[
            Code::Unauthorized,
            Code::FreshTokenRequired,
            Code::LoginUserNotVerified,
            Code::OauthInvalidState,
            Code::AccessTokenDecodeError,
            Code::AccessTokenAlreadyExpired,
            Code::OauthAccessDenied,
            Code::OauthUserAlreadyExists,
            Code::NotFound,
            Code::TooManyAttempts,
            Code::OauthUpstreamError,
        ],
    ),
    ("backchannel_logout", &[Code::NotFound, Code::UnsupportedMediaType, Code::TooManyAttempts]),
];

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] =
    &[("backchannel_logout", Note::RefusesAsOauth(Code::InvalidRequest))];

/// The URL of the provider's page.
#[derive(Object)]
#[oai(example)]
struct AuthorizationUrl {
    /// The URL to which the browser goes.
    authorization_url: String,
}

impl Example for AuthorizationUrl {
    fn example() -> Self {
        Self {
            authorization_url: "https://accounts.google.com/o/oauth2/v2/auth?response_type=code…"
                .to_owned(),
        }
    }
}

/// An identity of a user at a provider. Tokens of providers are never kept, so those members are empty.
#[derive(Object)]
#[oai(example)]
struct OauthAccount {
    /// The id of the identity.
    id: String,
    /// The name of the provider.
    oauth_name: String,
    /// Always empty.
    access_token: String,
    /// Always absent.
    expires_at: Option<u64>,
    /// Always absent.
    refresh_token: Option<String>,
    /// The subject at the provider.
    account_id: String,
    /// The address that the identity was linked with: the one at the provider, or the one that the person typed because
    /// the provider says none. It is empty if there is none.
    account_email: String,
}

impl Example for OauthAccount {
    fn example() -> Self {
        Self {
            id: "01a2251b-1c63-7d2e-8a0c-5e1f4b7d9a30".to_owned(),
            oauth_name: "google".to_owned(),
            access_token: String::new(),
            expires_at: None,
            refresh_token: None,
            account_id: "110169484474386276334".to_owned(),
            account_email: "first@user.com".to_owned(),
        }
    }
}

/// A user with their identities at providers.
#[derive(Object)]
#[oai(example)]
struct AssociatedUser {
    /// The user.
    #[oai(flatten)]
    user: UserResponse,
    /// The identities at providers.
    oauth_accounts: Vec<OauthAccount>,
}

impl Example for AssociatedUser {
    fn example() -> Self {
        Self { user: UserResponse::example(), oauth_accounts: vec![OauthAccount::example()] }
    }
}

/// A logout token.
#[derive(Object)]
#[oai(example)]
struct LogoutRequest {
    /// The logout token of the provider.
    logout_token: String,
}

impl Example for LogoutRequest {
    fn example() -> Self {
        Self { logout_token: "eyJhbGciOiJSUzI1NiIsInR5cCI6ImxvZ291dCtqd3QifQ…".to_owned() }
    }
}

impl Input for LogoutRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Form;
    const FACE: Face = Face::Oauth;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("logout_token")
    }
}

#[derive(ApiResponse)]
enum LoggedOut {
    /// The sessions that the token names have ended.
    #[oai(status = 200)]
    Done,
}

/// The id that the sign-ins of a browser are bound to, if it has one.
pub(super) fn bound<'a>(app: &App, request: &'a Request) -> Option<&'a str> {
    cookie::value(app, request.headers(), COOKIE)
}

/// Returns the id that a sign-in of this browser is bound to. The browser keeps it for as long as a sign-in takes.
pub(super) fn bind(app: &App, request: &Request) -> String {
    let id = bound(app, request).map_or_else(browser::new_id, ToOwned::to_owned);
    Cookies::of(request).lend(app, COOKIE, &id, sealed::EXPIRES);
    id
}

/// The request of a program.
struct Asked<'a> {
    purpose: Purpose,
    scopes: &'a [String],
    again: bool,
}

/// Makes the URL of a provider's page, and binds the sign-in to the browser.
async fn begin(
    app: &App,
    request: &Request,
    name: &str,
    asked: Asked<'_>,
) -> Result<Json<AuthorizationUrl>> {
    let upstream = upstream::find(app, name).ok_or(Code::NotFound)?;
    let browser = bind(app, request);
    let start = Start {
        purpose: asked.purpose,
        door: Door::Program,
        browser: &browser,
        next: "",
        again: asked.again,
        scopes: asked.scopes,
        login_hint: None,
    };
    let url = match start::url(app, &upstream, start).await {
        Ok(url) => url,
        Err(refusal) => {
            recorded::note(app, Some(&upstream), upstream.label(), &refusal);
            return Err(refusal.into());
        }
    };
    Ok(Json(AuthorizationUrl { authorization_url: url.into() }))
}

/// Runs the checks of an answer. A refusal is recorded, and becomes an error.
async fn answered(
    app: &App,
    request: &Request,
    name: &str,
    caller: Option<&UserCaller>,
) -> Result<Answer> {
    if upstream::find(app, name).is_none() {
        return Err(Code::NotFound.into());
    }
    let received = Received {
        name: name.to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        browser: bound(app, request).map(ToOwned::to_owned),
        door: Door::Program,
        links: Some(caller.is_some()),
        holder: caller.map(UserCaller::user_id),
    };
    let app = app.clone();
    whole(async move {
        match callback::run(&app, received).await? {
            Ok(answer) => Ok(answer),
            Err(refused) => Err(refuse(&app, refused).await),
        }
    })
    .await
}

/// Records a refusal.
pub(super) async fn record(app: &App, refused: &Refused) -> Result<()> {
    let upstream = refused.upstream.as_deref();
    let label = upstream.map_or("the provider", |upstream| upstream.label());
    let begun = upstream.filter(|_| refused.is_begun_here);
    recorded::note(app, begun, label, &refused.refusal);
    // Strangers write nothing into the audit: they have begun nothing.
    let Some(upstream) = begun else { return Ok(()) };
    let entry = Entry::new(Act::UpstreamRefused, Actor::anybody());
    let entry = entry.with("upstream", upstream.name()).with("check", refused.refusal.name);
    unit_of_work::record(app, entry).await
}

async fn refuse(app: &App, refused: Refused) -> Error {
    match record(app, &refused).await {
        Ok(()) => refused.refusal.into(),
        Err(error) => error,
    }
}

/// The refusal of a person after the checks.
fn of_person(answer: &Answer, refusal: Refusal) -> Refused {
    let upstream = Some(std::sync::Arc::clone(&answer.upstream));
    Refused { refusal, upstream, next: String::new(), is_begun_here: true }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Begin to sign in with a provider
    ///
    /// Returns the URL of the provider's page, and sets a cookie that binds the sign-in to the browser. The provider
    /// sends the browser back to the `redirect_uri` of its entry in `UPSTREAMS_FILE`, or to Tessera. Then call
    /// `/auth/{provider}/callback` with the same query, in the same browser.
    #[oai(path = "/auth/:provider/authorize", method = "get", operation_id = "oauth_authorize")]
    async fn authorize(
        &self,
        app: Data<&App>,
        request: &Request,
        /// The name of the provider.
        provider: Path<String>,
        /// Scopes to ask the provider for, besides those of its entry.
        scopes: Query<Vec<String>>,
        /// `true` if the person must sign in there again. Then the access token is fresh.
        fresh: Query<Option<bool>>,
    ) -> Result<Json<AuthorizationUrl>> {
        let again = fresh.0.unwrap_or_default();
        let asked = Asked { purpose: Purpose::SignIn, scopes: &scopes, again };
        begin(&app, request, &provider, asked).await
    }

    /// Sign in with a provider
    ///
    /// Takes the answer of a provider: the query that it added to the redirect URI. Begins a session, and returns an
    /// access token and a refresh token. The first time, it makes an account, or links the one whose address the
    /// provider owns. Tokens of the provider are not kept and never returned.
    #[oai(path = "/auth/:provider/callback", method = "get", operation_id = "oauth_callback")]
    #[expect(clippy::too_many_arguments, reason = "they are the parameters of the operation")]
    async fn callback(
        &self,
        app: Data<&App>,
        request: &Request,
        device: Device,
        /// The name of the provider.
        provider: Path<String>,
        /// The code of the provider.
        #[oai(name = "code")]
        _code: Query<Option<String>>,
        /// The state from the authorization URL.
        #[oai(name = "state")]
        _state: Query<Option<String>>,
        /// The error of the provider.
        #[oai(name = "error")]
        _error: Query<Option<String>>,
    ) -> Result<Json<TokenResponse>> {
        session::require_ready(&app)?;
        let counted = rate_limit::upstream(&app, device.ip).await?;
        let answer = answered(&app, request, &provider, None).await?;
        let app = app.clone();
        let tokens = whole(async move {
            let settled =
                settle::settle(&app, &answer.upstream, &answer.said, device.ip, None).await?;
            match settled {
                Settled::Proved(authentication) => {
                    rate_limit::refund(&app, counted).await?;
                    session::login(&app, authentication, Audience::own(&app), device).await
                }
                Settled::AskAddress => {
                    let remedy =
                        "The provider says no address. Ask for its scope, or use the sign-in page.";
                    let refusal = Refusal::new("claims.email", Why::NoEmail, remedy);
                    Err(refuse(&app, of_person(&answer, refusal)).await)
                }
                Settled::Refused(refusal) => Err(refuse(&app, of_person(&answer, refusal)).await),
            }
        })
        .await?;
        Ok(Json(tokens.into()))
    }

    /// Begin to link an identity at a provider
    ///
    /// Returns the URL of the provider's page, as `/auth/{provider}/authorize` does. Requires a fresh access token.
    #[oai(
        path = "/auth/associate/:provider/authorize",
        method = "get",
        operation_id = "oauth_associate_authorize"
    )]
    async fn associate_authorize(
        &self,
        app: Data<&App>,
        request: &Request,
        caller: UserCaller,
        /// The name of the provider.
        provider: Path<String>,
        /// Scopes to ask the provider for, besides those of its entry.
        scopes: Query<Vec<String>>,
    ) -> Result<Json<AuthorizationUrl>> {
        caller.require_fresh(&app)?;
        let session = caller.session().ok_or(Code::FreshTokenRequired)?;
        let purpose = Purpose::link(session, caller.user_id());
        begin(&app, request, &provider, Asked { purpose, scopes: &scopes, again: false }).await
    }

    /// Link an identity at a provider
    ///
    /// Takes the answer of a provider, and links the identity to the caller's account. Returns the user with all
    /// identities. Requires a fresh access token of the user who began.
    #[oai(
        path = "/auth/associate/:provider/callback",
        method = "get",
        operation_id = "oauth_associate_callback"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are the parameters of the operation")]
    async fn associate_callback(
        &self,
        app: Data<&App>,
        request: &Request,
        device: Device,
        caller: UserCaller,
        /// The name of the provider.
        provider: Path<String>,
        /// The code of the provider.
        #[oai(name = "code")]
        _code: Query<Option<String>>,
        /// The state from the authorization URL.
        #[oai(name = "state")]
        _state: Query<Option<String>>,
        /// The error of the provider.
        #[oai(name = "error")]
        _error: Query<Option<String>>,
    ) -> Result<Json<AssociatedUser>> {
        caller.require_fresh(&app)?;
        let counted = rate_limit::upstream(&app, device.ip).await?;
        let answer = answered(&app, request, &provider, Some(&caller)).await?;
        let (app, ip) = (app.clone(), device.ip);
        whole(async move {
            let linked = linking::link(&app, &caller, &answer.upstream, &answer.said, ip).await?;
            if let Err(refusal) = linked {
                return Err(refuse(&app, of_person(&answer, refusal)).await);
            }
            rate_limit::refund(&app, counted).await?;
            associated(&app, &caller).await
        })
        .await
        .map(Json)
    }

    /// End sessions for a provider
    ///
    /// Takes the logout token of a provider, and ends the sessions that the provider's session proved (OpenID Connect
    /// Back-Channel Logout 1.0). Only providers call this operation.
    #[oai(
        path = "/auth/:provider/backchannel-logout",
        method = "post",
        operation_id = "backchannel_logout"
    )]
    async fn backchannel_logout(
        &self,
        app: Data<&App>,
        device: Device,
        /// The name of the provider.
        provider: Path<String>,
        body: Body<LogoutRequest>,
    ) -> Result<LoggedOut> {
        let oauth = |error: Error| error.with_face(Face::Oauth);
        let upstream = upstream::find(&app, &provider).ok_or(Code::NotFound)?;
        let counted = rate_limit::upstream(&app, device.ip).await.map_err(oauth)?;
        logout::end(&app, &upstream, &body.0).await.map_err(oauth)?;
        rate_limit::refund(&app, counted).await.map_err(oauth)?;
        Ok(LoggedOut::Done)
    }
}

/// The caller with their identities.
async fn associated(app: &App, caller: &UserCaller) -> Result<AssociatedUser> {
    let known = user::by_id(&app.database, caller.user_id()).await?.ok_or(Code::Unauthorized)?;
    let identities = super::of_user(app, app.database.reader(), known.user.id).await?;
    let accounts = identities.into_iter().map(|identity| OauthAccount {
        id: identity.id,
        oauth_name: identity.upstream,
        access_token: String::new(),
        expires_at: None,
        refresh_token: None,
        account_id: identity.subject,
        account_email: identity.email.unwrap_or_default(),
    });
    Ok(AssociatedUser { user: UserResponse::from(&known.user), oauth_accounts: accounts.collect() })
}
