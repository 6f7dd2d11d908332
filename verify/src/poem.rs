//! Guards as arguments of poem's handlers, with the names of fastapi-jwt-auth.
//!
//! ```
//! use poem::{EndpointExt, Route, get, handler};
//! use tessera_verify::poem::{FreshJwtRequired, JwtRequired};
//! use tessera_verify::{Guard, Key, KeySet, Verifier};
//!
//! #[handler]
//! fn protected(jwt: JwtRequired) -> String {
//!     jwt.claims.sub.to_string()
//! }
//!
//! #[handler]
//! fn delete_everything(_: FreshJwtRequired) {}
//!
//! let key = Key::hs256(b"a secret of at least thirty-two bytes");
//! let verifier = Verifier::new(KeySet::new(key), "http://localhost:8000", "tessera");
//! let app = Route::new()
//!     .at("/protected", get(protected).delete(delete_everything))
//!     .data(Guard::new(verifier));
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use poem::error::ResponseError;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response, Result};

pub use crate::Scope;
use crate::{Claims, Denied, Guard, Refusal, bearer_of};

/// Returns the token in the header `Authorization` (RFC 6750, section 2.1). The scheme can be in upper or lower case
/// (RFC 9110, section 11.1). If there are two such headers, both are ignored.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    bearer_of(value)
}

/// A valid access token. `Debug` shows its claims, but not the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct JwtRequired {
    /// The claims of the token.
    pub claims: Claims,
    /// The token itself.
    pub token: String,
}

impl fmt::Debug for JwtRequired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JwtRequired").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// A valid access token, or no token. A token that is not valid is refused.
#[derive(Debug, Clone)]
pub struct JwtOptional(pub Option<JwtRequired>);

/// A fresh access token: its user gave a password a short time ago. See [`Guard::fresh_for`].
#[derive(Debug, Clone)]
pub struct FreshJwtRequired(pub JwtRequired);

/// A refresh token with a valid signature and valid times. The verifier requires
/// [`Key::refresh`](crate::Key::refresh). It cannot tell whether the token was already exchanged or its session has
/// ended.
#[derive(Debug, Clone)]
pub struct JwtRefreshTokenRequired(pub JwtRequired);

/// A valid access token with the scope `S`.
#[derive(Debug, Clone)]
pub struct JwtWithScope<S>(pub JwtRequired, PhantomData<S>);

impl ResponseError for Denied {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(Denied::status(self)).unwrap_or(StatusCode::UNAUTHORIZED)
    }

    /// Returns an answer like those of Tessera: the body `{"detail": …}`, and the reason in `WWW-Authenticate`.
    fn as_response(&self) -> Response {
        let mut response = Response::builder()
            .status(ResponseError::status(self))
            .content_type("application/json");
        if let Some(challenge) = self.challenge() {
            response = response.header(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        response.body(format!("{{\"detail\":\"{}\"}}", self.detail()))
    }
}

async fn guarded(
    request: &Request,
    check: impl Fn(&Guard, Option<&str>, u64) -> Result<Claims, Denied>,
) -> Result<JwtRequired, Denied> {
    let Some(guard) = request.data::<Guard>() else {
        // A route without a guard refuses all requests.
        return Err(Denied::NoToken);
    };
    let token = bearer(request.headers());
    // A header without a token is an error, even for optional tokens.
    if token.is_none() && request.headers().contains_key(header::AUTHORIZATION) {
        return Err(Denied::Refused(Refusal::Malformed));
    }
    if token.is_some() {
        guard.prepare().await;
    }
    let claims = check(guard, token, now())?;
    Ok(JwtRequired { claims, token: token.unwrap_or_default().to_owned() })
}

#[expect(clippy::disallowed_methods, reason = "requests come in here, so the time is read here")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl<'a> FromRequest<'a> for JwtRequired {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(guarded(request, Guard::required).await?)
    }
}

impl<'a> FromRequest<'a> for JwtOptional {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        match guarded(request, Guard::required).await {
            Err(Denied::NoToken) => Ok(Self(None)),
            jwt => Ok(Self(Some(jwt?))),
        }
    }
}

impl<'a> FromRequest<'a> for FreshJwtRequired {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self(guarded(request, Guard::fresh).await?))
    }
}

impl<'a> FromRequest<'a> for JwtRefreshTokenRequired {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self(guarded(request, Guard::refresh).await?))
    }
}

impl<'a, S: Scope + Send> FromRequest<'a> for JwtWithScope<S> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let check = |guard: &Guard, token: Option<&str>, now| guard.scoped(token, S::NAME, now);
        let scoped = guarded(request, check).await?;
        Ok(Self(scoped, PhantomData))
    }
}
