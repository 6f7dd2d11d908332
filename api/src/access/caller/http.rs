//! Callers as arguments of handlers, so that no handler forgets to ask who calls.

use poem::http::{HeaderName, header};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaOAuthFlow, MetaOAuthFlows, MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tessera_verify::poem::bearer;
use tessera_verify::{Claims, Refusal, TokenKind};

use crate::access::api_token::{self, Presented};
use crate::access::caller::{Caller, Superuser, UserCaller};
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::error::{Code, Error, Result};
use crate::base::request_context::{CallerIds, note_caller};
use crate::http::app;
use crate::http::cookie::{self, Cookies};
use crate::http::peer::peer_address;
use crate::platform::rate_limit;

const PASSWORD_SCHEME: &str = "OAuth2PasswordBearer";
const BEARER_SCHEME: &str = "Bearer";
const API_KEY_SCHEME: &str = "ApiKey";
const COOKIE_SCHEME: &str = "Cookie";
const EVERY_SCHEME: [&str; 4] = [PASSWORD_SCHEME, BEARER_SCHEME, API_KEY_SCHEME, COOKIE_SCHEME];

/// Where API tokens may stand beside `Authorization`; the first that is there counts.
const API_TOKEN_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("token")];

/// Marks a request that was made in this process, by an operator who may open the database. Nothing that comes over a
/// connection is marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

/// A credential that a request shows.
enum Shown<'a> {
    Jwt(&'a str),
    ApiToken(&'a str),
    Cookie(&'a str),
}

impl<'a> Shown<'a> {
    /// A header that is there is what the caller means, whatever cookies the browser adds.
    fn of(app: &App, request: &'a Request) -> Option<Self> {
        let headers = request.headers();
        if headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(request.headers())?;
            return Some(match Presented::of(token) {
                Presented::ApiToken(secret) => Shown::ApiToken(secret),
                Presented::Jwt(token) => Shown::Jwt(token),
            });
        }
        if let Some(name) = API_TOKEN_HEADERS.iter().find(|name| headers.contains_key(*name)) {
            let mut values = headers.get_all(name).iter();
            let (value, None) = (values.next()?, values.next()) else { return None };
            return value.to_str().ok().map(|value| Shown::ApiToken(value.trim()));
        }
        cookie::token(app, headers).map(Shown::Cookie)
    }
}

impl Caller {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        if request.extensions().get::<Operator>().is_some() {
            return Ok(Self::Operator);
        }
        let (token, in_cookie) = match Shown::of(app, request).ok_or(Code::Unauthorized)? {
            Shown::ApiToken(secret) => {
                let (token, principal) = api_token::authenticate(app, secret).await?;
                let (user, token_id) = (Some(principal.id().uuid()), Some(token.id.0));
                note_caller(CallerIds { user, session: None, token: token_id });
                return Ok(Self::ApiToken { token, principal });
            }
            Shown::Jwt(token) => (token, false),
            Shown::Cookie(token) => (token, true),
        };
        let (claims, user) = session::authenticate(app, token).await?;
        note_holder(&claims);
        if in_cookie && !request.method().is_safe() {
            app.csrf.check(request.headers(), session_of(&claims).0)?;
        }
        if in_cookie && session::is_in_its_second_half(&claims) {
            renew(app, request, &claims).await;
        }
        Ok(Self::Session { claims, user, in_cookie })
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

/// A user with an access token: what is about a session is nothing for API tokens.
pub(crate) struct SessionCaller {
    /// The claims of the token.
    pub(crate) claims: Claims,
    /// Whether the token was in a cookie.
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

/// Lets a browser that is in use keep its session. That this could not be done is no reason to
/// refuse what was asked.
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

/// Somebody with a token of either kind, who wants to end what it belongs to.
pub(crate) struct TokenHolder {
    /// The claims of the token.
    pub(crate) claims: Claims,
}

impl TokenHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        let token = match Shown::of(app, request) {
            Some(Shown::Jwt(token)) => token,
            Some(Shown::ApiToken(_)) => {
                return Err(Error::token(Code::Unauthorized, Refusal::TypeMismatch));
            }
            _ => return Err(Code::Unauthorized.into()),
        };
        let claims = session::holder(app, token).await?;
        note_holder(&claims);
        Ok(Self { claims })
    }
}

/// A browser that wants to end the session of its cookie, whatever else it sends.
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
                app.csrf.check(request.headers(), session_of(&claims).0)?;
                Ok(Self { claims })
            }
            Err(error) => {
                // It opens nothing any more, and scripts cannot take it back.
                if error.code() == Code::Unauthorized {
                    Cookies::of(request).forget(app);
                }
                Err(error)
            }
        }
    }
}

/// Notes for the log line whose token it is. The id of a refresh token is not noted: it must not be known.
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
secured!(UserCaller, EVERY_SCHEME);
secured!(Superuser, EVERY_SCHEME);
secured!(SessionCaller, [PASSWORD_SCHEME, BEARER_SCHEME, COOKIE_SCHEME]);
secured!(CookieHolder, [COOKIE_SCHEME]);
secured!(TokenHolder, [PASSWORD_SCHEME, BEARER_SCHEME]);

/// The refresh token in the header, where there is one; Swagger's empty Basic client is none.
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
    let proxies = request.data::<App>().map_or(&[][..], |app| &app.config.trusted_proxies);
    let ip = peer_address(request, proxies);
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
            description: Some("Sign in with e-mail address and password; no client is needed."),
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
                "An access token from `/auth/jwt/login`, or an API token; where it says so, a \
                 refresh token.",
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
                "An API token from `/auth/tokens`. As bearer, or in the header `Token`, it is as \
                 good.",
            ),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            ..BLANK
        },
    );
    registry.create_security_scheme(
        COOKIE_SCHEME,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some(
                "The cookie of `/auth/cookie/login` (`__Host-tessera` where cookies are secure). \
                 What changes something repeats the cookie `tessera-csrf` in `X-CSRF-Token`.",
            ),
            name: Some("tessera"),
            key_in: Some("cookie"),
            ..BLANK
        },
    );
}
