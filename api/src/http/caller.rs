//! Who asks: an argument of a handler, so that none forgets to ask.

use std::sync::Arc;

use poem::http::header;
use poem::web::RemoteAddr;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaOAuthFlow, MetaOAuthFlows, MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tessera_verify::Claims;

use crate::app::App;
use crate::clock;
use crate::error::{Code, Error, Result};
use crate::http::cookie::{self, Cookies};
use crate::revocation;
use crate::session::{self, Device};
use crate::user::User;

const PASSWORD_SCHEME: &str = "OAuth2PasswordBearer";
const BEARER_SCHEME: &str = "Bearer";
const COOKIE_SCHEME: &str = "Cookie";

/// A user with an access token.
pub(crate) struct Caller {
    /// What the token says.
    pub(crate) claims: Claims,
    /// What the database says of its user: flags are never the token's.
    pub(crate) user: Arc<User>,
    /// Whether the token was in a cookie.
    pub(crate) has_cookie: bool,
}

impl Caller {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        // A header that is there is what the caller means, whatever cookies the browser adds.
        let has_header = request.headers().contains_key(header::AUTHORIZATION);
        let cookie = if has_header { None } else { cookie::token(app, request.headers()) };
        let token = bearer(request).or(cookie).ok_or(Code::Unauthorized)?;
        let (claims, user) = session::authenticate(app, token).await?;
        if cookie.is_some() && !request.method().is_safe() {
            app.csrf.check(request.headers(), claims.sid)?;
        }
        if cookie.is_some() && session::is_in_its_second_half(&claims) {
            renew(app, request, &claims).await;
        }
        Ok(Self { claims, user, has_cookie: cookie.is_some() })
    }
}

/// Lets a browser that is in use keep its session. That this could not be done is no reason to
/// refuse what was asked.
async fn renew(app: &App, request: &Request, claims: &Claims) {
    match session::extend(app, claims, device(request)).await {
        Ok(Some(access)) => Cookies::of(request).keep(app, &access),
        Ok(None) => {}
        Err(error) => tracing::warn!(error.cause = %error, "a cookie could not be renewed"),
    }
}

/// A user with an access token who may manage others.
pub(crate) struct Superuser {
    /// Who they are.
    pub(crate) caller: Caller,
}

impl Superuser {
    async fn from_request(request: &Request) -> Result<Self> {
        let caller = Caller::from_request(request).await?;
        if caller.user.is_superuser { Ok(Self { caller }) } else { Err(Code::Forbidden.into()) }
    }
}

/// Somebody with a token of either kind, who wants to end what it belongs to.
pub(crate) struct TokenHolder {
    /// What the token says.
    pub(crate) claims: Claims,
}

impl TokenHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        let token = bearer(request).ok_or(Code::Unauthorized)?;
        revocation::require_known(app)?;
        let claims = app
            .verifier
            .verify_either(token, clock::now().seconds())
            .map_err(|refusal| Error::token(Code::Unauthorized, refusal))?;
        Ok(Self { claims })
    }
}

/// A browser that wants to end the session of its cookie, whatever else it sends.
pub(crate) struct CookieHolder {
    /// What the token in the cookie says.
    pub(crate) claims: Claims,
}

impl CookieHolder {
    async fn from_request(request: &Request) -> Result<Self> {
        let app = app(request)?;
        let token = cookie::token(app, request.headers()).ok_or(Code::Unauthorized)?;
        match session::authenticate(app, token).await {
            Ok((claims, _)) => {
                app.csrf.check(request.headers(), claims.sid)?;
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

secured!(Caller, [PASSWORD_SCHEME, BEARER_SCHEME, COOKIE_SCHEME]);
secured!(Superuser, [PASSWORD_SCHEME, BEARER_SCHEME, COOKIE_SCHEME]);
secured!(CookieHolder, [COOKIE_SCHEME]);
secured!(TokenHolder, [PASSWORD_SCHEME, BEARER_SCHEME]);

/// The refresh token in the header, where there is one; Swagger's empty Basic client is none.
pub(crate) struct BearerToken(pub(crate) Option<String>);

impl<'a> FromRequest<'a> for BearerToken {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(bearer(request).map(ToOwned::to_owned)))
    }
}

impl<'a> FromRequest<'a> for Device {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(device(request))
    }
}

fn device(request: &Request) -> Device {
    let ip = match request.remote_addr() {
        RemoteAddr(poem::Addr::SocketAddr(peer)) => Some(peer.ip().to_string()),
        RemoteAddr(_) => None,
    };
    let user_agent = request
        .header(header::USER_AGENT)
        .map(|name| name.chars().filter(|char| !char.is_control()).take(256).collect());
    Device { ip, user_agent }
}

fn app(request: &Request) -> Result<&App> {
    request
        .data::<App>()
        .ok_or_else(|| Error::because(Code::InternalServerError, "a route without its App"))
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let (value, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
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
                "An access token from `/auth/jwt/login`; where it says so, a refresh token.",
            ),
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
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
