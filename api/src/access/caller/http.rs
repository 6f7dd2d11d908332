//! Extractors that give handlers the caller. A handler that takes one cannot forget to authenticate the caller.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaOAuthFlow, MetaOAuthFlows, MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tessera_verify::poem::bearer;
use tessera_verify::{Claims, Refusal, TokenKind};

use crate::access::api_token::{self, OfClient, Presented};
use crate::access::caller::{Caller, Superuser, UserCaller, Viewer};
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::error::{Code, Error, Face, Result};
use crate::base::request_context::{CallerIds, note_caller};
use crate::http::app;
use crate::http::cookie::{self, Cookies};
use crate::http::peer::peer_address;
use crate::platform::rate_limit;

const PASSWORD_SCHEME: &str = "OAuth2PasswordBearer";
const BEARER_SCHEME: &str = "Bearer";
const API_KEY_SCHEME: &str = "ApiKey";
const COOKIE_SCHEME: &str = "Cookie";
const BASIC_SCHEME: &str = "Basic";
const EVERY_SCHEME: [&str; 4] = [PASSWORD_SCHEME, BEARER_SCHEME, API_KEY_SCHEME, COOKIE_SCHEME];

/// The headers that can contain an API token besides `Authorization`. The first one that is present is used.
const API_TOKEN_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("token")];

/// Marks a request that an operator with access to the database made within this process. A request that came over a
/// connection never has this mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

/// The credential in a request.
pub(crate) enum Credential<'a> {
    /// A JWT in a header.
    Jwt(&'a str),
    /// The secret of an API token.
    ApiToken(&'a str),
    /// A credential of an application, which is not accepted as a token.
    OfClient(OfClient),
    /// A JWT in a cookie.
    Cookie(&'a str),
}

impl<'a> Credential<'a> {
    /// Returns the credential. A header takes precedence over cookies, because browsers add those by themselves.
    pub(crate) fn of(app: &App, request: &'a Request) -> Option<Self> {
        let headers = request.headers();
        if headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(request.headers())?;
            return Some(match Presented::of(token) {
                Presented::ApiToken(secret) => Credential::ApiToken(secret),
                Presented::Jwt(token) => Credential::Jwt(token),
                Presented::OfClient(kind) => Credential::OfClient(kind),
            });
        }
        if let Some(name) = API_TOKEN_HEADERS.iter().find(|name| headers.contains_key(*name)) {
            let mut values = headers.get_all(name).iter();
            let (value, None) = (values.next()?, values.next()) else { return None };
            let value = value.to_str().ok()?.trim();
            return Some(match Presented::of(value) {
                Presented::OfClient(kind) => Credential::OfClient(kind),
                Presented::ApiToken(_) | Presented::Jwt(_) => Credential::ApiToken(value),
            });
        }
        cookie::token(app, headers).map(Credential::Cookie)
    }
}

impl Caller {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        if request.extensions().get::<Operator>().is_some() {
            return Ok(Self::Operator);
        }
        let (token, in_cookie) = match Credential::of(app, request).ok_or(Code::Unauthorized)? {
            Credential::ApiToken(secret) => return of_api_token(app, secret).await,
            Credential::OfClient(kind) => {
                return Err(Error::token(Code::Unauthorized, kind.refusal()));
            }
            Credential::Jwt(token) => (token, false),
            Credential::Cookie(token) => (token, true),
        };
        let (claims, user) = session::authenticate(app, token).await?;
        note_holder(&claims);
        if in_cookie && !request.method().is_safe() {
            cookie::check_sender(app, request, session_of(&claims).0)?;
        }
        if in_cookie && session::is_in_its_second_half(&claims) {
            renew(app, request, &claims).await;
        }
        Ok(Self::Session { claims, user, in_cookie })
    }
}

/// The caller with an API token.
///
/// # Errors
///
/// Like [`api_token::authenticate`].
pub(crate) async fn of_api_token(app: &App, secret: &str) -> Result<Caller> {
    let (token, principal) = api_token::authenticate(app, secret).await?;
    let (user, token_id) = (Some(principal.id().uuid()), Some(token.id.0));
    note_caller(CallerIds { user, session: None, token: token_id });
    Ok(Caller::ApiToken { token, principal })
}

/// The caller of an operation of OAuth. Instead of a bearer token, clients can send the name of a service and its API
/// token with HTTP Basic (RFC 6749, section 2.3.1).
pub(crate) struct OauthCaller(pub(crate) Caller);

impl OauthCaller {
    async fn from_request(request: &Request) -> Result<Self> {
        if !uses_basic(request.headers()) {
            return Caller::from_request(request).await.map(Self);
        }
        let refused = || Error::from(Code::InvalidClient).with_face(Face::Oauth);
        let Some((name, secret)) = basic(request.headers()) else { return Err(refused()) };
        match of_api_token(app(request)?, &secret).await {
            Ok(caller) if caller.principal().is_some_and(|owner| owner.name() == name) => {
                Ok(Self(caller))
            }
            Ok(_) => Err(refused()),
            Err(error) if error.code() == Code::Unauthorized => Err(refused()),
            Err(error) => Err(error),
        }
    }
}

/// Returns true if a header `Authorization` has the scheme Basic, whatever follows it.
fn uses_basic(headers: &HeaderMap) -> bool {
    let is_basic = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
            && value.get(5).is_none_or(|byte| *byte == b' ')
    };
    headers.get_all(header::AUTHORIZATION).iter().any(is_basic)
}

/// The name and the secret in the header `Authorization`, if its scheme is Basic. Clients may encode both for a URL
/// (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let mut headers = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, secret) = pair.split_once(':')?;
    let decoded = |text| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    Some((decoded(name)?, decoded(secret)?))
}

/// The holder of an API token, for operations that check the token again while they answer. Other credentials are
/// refused.
pub(crate) struct ApiTokenHolder {
    /// The caller.
    pub(crate) caller: Caller,
    /// The secret of the token.
    pub(crate) secret: String,
}

impl ApiTokenHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        match Credential::of(app, request) {
            Some(Credential::ApiToken(secret)) => {
                Ok(Self { caller: of_api_token(app, secret).await?, secret: secret.to_owned() })
            }
            Some(Credential::Jwt(_)) => {
                Err(Error::token(Code::Unauthorized, Refusal::TypeMismatch))
            }
            _ => Err(Code::Unauthorized.into()),
        }
    }
}

impl UserCaller {
    async fn from_request(request: &Request) -> Result<Self> {
        Caller::from_request(request).await?.try_into()
    }
}

impl Superuser {
    async fn from_request(request: &Request) -> Result<Self> {
        Caller::from_request(request).await?.try_into()
    }
}

impl Viewer {
    async fn from_request(request: &Request) -> Result<Self> {
        Caller::from_request(request).await?.try_into()
    }
}

/// A user with an access token, for operations on a session. API tokens are refused.
pub(crate) struct SessionCaller {
    /// The claims of the token.
    pub(crate) claims: Claims,
    /// `true` if the token was in a cookie.
    pub(crate) in_cookie: bool,
}

impl SessionCaller {
    async fn from_request(request: &Request) -> Result<Self> {
        match Caller::from_request(request).await? {
            Caller::Session { claims, user: _, in_cookie } => Ok(Self { claims, in_cookie }),
            _ => Err(Error::token(Code::Unauthorized, Refusal::TypeMismatch)),
        }
    }
}

/// Renews the cookie, so that a browser in use stays signed in. If that fails, the request is still answered.
async fn renew(app: &App, request: &Request, claims: &Claims) {
    if !rate_limit::may_renew(app, session_of(claims)) {
        return;
    }
    match session::extend(app, claims, device(request)).await {
        Ok(Some(access)) => access.keep_in(&Cookies::of(request), app),
        Ok(None) => {}
        Err(error) => tracing::warn!(error.cause = %error, "a cookie could not be renewed"),
    }
}

/// The holder of an access or refresh token, who can end what the token belongs to.
pub(crate) struct TokenHolder {
    /// The claims of the token.
    pub(crate) claims: Claims,
}

impl TokenHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        let token = match Credential::of(app, request) {
            Some(Credential::Jwt(token)) => token,
            Some(Credential::ApiToken(_)) => {
                return Err(Error::token(Code::Unauthorized, Refusal::TypeMismatch));
            }
            _ => return Err(Code::Unauthorized.into()),
        };
        let claims = session::holder(app, token).await?;
        note_holder(&claims);
        Ok(Self { claims })
    }
}

/// A browser that can end the session of its cookie. Other credentials in the request are ignored.
pub(crate) struct CookieHolder {
    /// The claims of the token in the cookie.
    pub(crate) claims: Claims,
}

impl CookieHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        let token = cookie::token(app, request.headers()).ok_or(Code::Unauthorized)?;
        match session::authenticate(app, token).await {
            Ok((claims, _)) => {
                note_holder(&claims);
                cookie::check_sender(app, request, session_of(&claims).0)?;
                Ok(Self { claims })
            }
            Err(error) => {
                // The cookie has no use any more, and scripts cannot delete it.
                if error.code() == Code::Unauthorized {
                    Cookies::of(request).forget(app);
                }
                Err(error)
            }
        }
    }
}

/// Adds the user, the session and the token to the request's log line. It never adds the id of a refresh token, because
/// the id must stay secret.
fn note_holder(claims: &Claims) {
    let is_access = matches!(claims.kind, TokenKind::Access { .. });
    let token = Some(claims.jti).filter(|_| is_access);
    let (user, session) = (Some(user_of(claims).0), Some(session_of(claims).0));
    note_caller(CallerIds { user, session, token });
    tracing::debug!(
        user.id = user.map(display),
        session.id = session.map(display),
        token.fresh = matches!(claims.kind, TokenKind::Access { fresh: true, .. }),
        "a token was accepted"
    );
}

macro_rules! secured {
    ($type:ty, $schemes:expr) => {
        impl<'a> ApiExtractor<'a> for $type {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                register_schemes(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                $schemes.to_vec()
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok(<$type>::from_request(request).await?)
            }
        }
    };
}

secured!(Caller, EVERY_SCHEME);
secured!(
    OauthCaller,
    [PASSWORD_SCHEME, BEARER_SCHEME, API_KEY_SCHEME, COOKIE_SCHEME, BASIC_SCHEME]
);
secured!(UserCaller, EVERY_SCHEME);
secured!(Superuser, EVERY_SCHEME);
secured!(Viewer, EVERY_SCHEME);
secured!(SessionCaller, [PASSWORD_SCHEME, BEARER_SCHEME, COOKIE_SCHEME]);
secured!(ApiTokenHolder, [BEARER_SCHEME, API_KEY_SCHEME]);
secured!(CookieHolder, [COOKIE_SCHEME]);
secured!(TokenHolder, [PASSWORD_SCHEME, BEARER_SCHEME]);

/// The refresh token in the `Authorization` header, if there is one. Swagger's empty Basic credentials are ignored.
pub(crate) struct BearerToken(pub(crate) Option<String>);

impl<'a> FromRequest<'a> for BearerToken {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(bearer(request.headers()).map(ToOwned::to_owned)))
    }
}

impl<'a> FromRequest<'a> for Device {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(device(request))
    }
}

pub(crate) fn device(request: &Request) -> Device {
    let ip = request.data::<App>().and_then(|app| peer_address(request, &app.config));
    let user_agent = request
        .header(header::USER_AGENT)
        .map(|name| name.chars().filter(|char| !char.is_control()).take(256).collect());
    Device { ip, user_agent }
}

const BLANK: MetaSecurityScheme = MetaSecurityScheme {
    ty: "",
    description: None,
    name: None,
    key_in: None,
    scheme: None,
    bearer_format: None,
    flows: None,
    openid_connect_url: None,
};

fn register_schemes(registry: &mut Registry) {
    let password = MetaOAuthFlow {
        authorization_url: None,
        token_url: Some("/auth/jwt/login"),
        refresh_url: Some("/auth/jwt/refresh"),
        scopes: Vec::new(),
    };
    registry.create_security_scheme(
        PASSWORD_SCHEME,
        MetaSecurityScheme {
            ty: "oauth2",
            description: Some(
                "Sign in with an e-mail address and a password. Clients are not registered.",
            ),
            flows: Some(MetaOAuthFlows {
                implicit: None,
                password: Some(password),
                client_credentials: None,
                authorization_code: None,
            }),
            ..BLANK
        },
    );
    registry.create_security_scheme(
        BEARER_SCHEME,
        MetaSecurityScheme {
            ty: "http",
            description: Some(
                "An access token from `/auth/jwt/login`, or an API token. Some operations take a \
                 refresh token; their descriptions say so.",
            ),
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            ..BLANK
        },
    );
    registry.create_security_scheme(
        API_KEY_SCHEME,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some(
                "An API token from `/auth/tokens`. You can also send it as a bearer token or in the \
                 header `Token`.",
            ),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            ..BLANK
        },
    );
    registry.create_security_scheme(
        BASIC_SCHEME,
        MetaSecurityScheme {
            ty: "http",
            description: Some("The name of a service and its API token, for introspection."),
            scheme: Some("basic"),
            ..BLANK
        },
    );
    registry.create_security_scheme(
        COOKIE_SCHEME,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some(
                "The cookie of `/auth/cookie/login` (`__Host-tessera` if cookies are secure). \
                 Requests that change something must repeat the value of the cookie \
                 `tessera-csrf` in the header `X-CSRF-Token`.",
            ),
            name: Some("tessera"),
            key_in: Some("cookie"),
            ..BLANK
        },
    );
}
