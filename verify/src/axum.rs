//! Guards as arguments of axum's handlers, with the names of fastapi-jwt-auth. The router needs a
//! [`GuardLayer`](crate::tower::GuardLayer): `.layer(tessera.layer())`.

use std::fmt;
use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub use crate::Scope;
use crate::{Claims, Denied, Guard, Refusal, bearer_of};

/// A valid access token. `Option<JwtRequired>` also accepts a request without a token. `Debug` shows its claims, but not
/// the token.
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
/// [`Key::refresh`](crate::Key::refresh). It cannot tell whether the token was already exchanged.
#[derive(Debug, Clone)]
pub struct JwtRefreshTokenRequired(pub JwtRequired);

/// A valid access token with the scope `S`.
#[derive(Debug, Clone)]
pub struct JwtWithScope<S>(pub JwtRequired, PhantomData<S>);

/// An answer like those of Tessera: the body `{"detail": …}`, and the reason in `WWW-Authenticate`.
impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let body = Body::from(format!("{{\"detail\":\"{}\"}}", self.detail()));
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(challenge) = self.challenge().and_then(|text| HeaderValue::try_from(text).ok())
        {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Returns the token in the header `Authorization`. If there are two such headers, both are ignored.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    bearer_of(value)
}

#[expect(clippy::disallowed_methods, reason = "requests come in here, so the time is read here")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn guarded(
    parts: &Parts,
    check: impl Fn(&Guard, Option<&str>, u64) -> Result<Claims, Denied>,
) -> Result<JwtRequired, Denied> {
    let Some(guard) = parts.extensions.get::<Guard>() else {
        // A route without a guard refuses all requests.
        return Err(Denied::NoToken);
    };
    let token = bearer(&parts.headers);
    // A header without a token is an error, even for optional tokens.
    if token.is_none() && parts.headers.contains_key(header::AUTHORIZATION) {
        return Err(Denied::Refused(Refusal::Malformed));
    }
    if token.is_some() {
        guard.prepare().await;
    }
    let claims = check(guard, token, now())?;
    Ok(JwtRequired { claims, token: token.unwrap_or_default().to_owned() })
}

impl<S: Send + Sync> FromRequestParts<S> for JwtRequired {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        guarded(parts, Guard::required).await
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for JwtRequired {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Denied> {
        optional(parts).await
    }
}

async fn optional(parts: &Parts) -> Result<Option<JwtRequired>, Denied> {
    match guarded(parts, Guard::required).await {
        Err(Denied::NoToken) => Ok(None),
        jwt => jwt.map(Some),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for JwtOptional {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        optional(parts).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FreshJwtRequired {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        guarded(parts, Guard::fresh).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for JwtRefreshTokenRequired {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        guarded(parts, Guard::refresh).await.map(Self)
    }
}

impl<S: Send + Sync, N: Scope> FromRequestParts<S> for JwtWithScope<N> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        let check = |guard: &Guard, token: Option<&str>, now| guard.scoped(token, N::NAME, now);
        let scoped = guarded(parts, check).await?;
        Ok(Self(scoped, PhantomData))
    }
}
