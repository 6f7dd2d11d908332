//! The arguments of axum's handlers, and the layer that gives them their guard.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::{Request, header};
use tessera_verify::axum::{
    FreshJwtRequired, JwtOptional, JwtRefreshTokenRequired, JwtRequired, JwtWithScope, Scope,
};
use tessera_verify::testing::FakeIssuer;
use tower_layer::Layer;
use tower_service::Service;

const USER: &str = "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2";

/// A service that answers with the request that it got.
#[derive(Clone)]
struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Request<()>;
    type Error = Infallible;
    type Future = Ready<Result<Request<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok(request))
    }
}

/// Sends a request with these headers through the layer, and takes an argument from it.
async fn taken<T: FromRequestParts<()>>(
    issuer: &FakeIssuer,
    headers: &[&str],
) -> Result<T, Response> {
    let mut request = Request::builder();
    for value in headers {
        request = request.header(header::AUTHORIZATION, *value);
    }
    let mut service = issuer.tessera().layer().layer(Echo);
    let Ok(request) = service.call(request.body(()).unwrap()).await;
    let (mut parts, ()) = request.into_parts();
    T::from_request_parts(&mut parts, &()).await.map_err(IntoResponse::into_response)
}

/// The status, the challenge, and `Retry-After` of a refusal.
fn shown<T>(taken: Result<T, Response>) -> (u16, String, String) {
    let Err(response) = taken else { return (200, String::new(), String::new()) };
    let text = |name| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(text(header::CONTENT_TYPE), "application/json");
    let status = response.status().as_u16();
    (status, text(header::WWW_AUTHENTICATE), text(header::RETRY_AFTER))
}

struct Reports;

impl Scope for Reports {
    const NAME: &'static str = "reports";
}

#[tokio::test]
async fn each_argument_accepts_and_refuses_as_the_table_says() {
    let issuer = FakeIssuer::new("reports");
    let bearer = |token: String| format!("Bearer {token}");
    let plain = bearer(issuer.token(USER).fresh(false).sign());
    let fresh = bearer(issuer.token(USER).scope("read reports").sign());
    let jwt = taken::<JwtRequired>(&issuer, &[&plain]).await.unwrap();
    assert_eq!((jwt.claims.sub.to_string(), bearer(jwt.token)), (USER.to_owned(), plain.clone()));
    let accepted = (200, String::new(), String::new());
    assert_eq!(shown(taken::<FreshJwtRequired>(&issuer, &[&fresh]).await), accepted);
    assert_eq!(shown(taken::<JwtWithScope<Reports>>(&issuer, &[&fresh]).await), accepted);
    assert!(taken::<JwtOptional>(&issuer, &[]).await.unwrap().0.is_none());
    assert!(taken::<JwtOptional>(&issuer, &[&plain]).await.unwrap().0.is_some());
    assert!(taken::<Option<JwtRequired>>(&issuer, &[]).await.unwrap().is_none());
    let jwt = taken::<Option<JwtRequired>>(&issuer, &[&plain]).await.unwrap().unwrap();
    let (shown_jwt, signature) = (format!("{jwt:?}"), jwt.token.rsplit_once('.').unwrap().1);
    assert!(shown_jwt.contains(USER) && !shown_jwt.contains(signature), "{shown_jwt}");

    let (status, challenge, _) = shown(taken::<JwtRequired>(&issuer, &[]).await);
    assert_eq!((status, &*challenge), (401, "Bearer"));
    for headers in [&["Bearer x.y.z"][..], &["Bearer"], &["Basic eDp5"], &[&plain, &plain]] {
        for taken in [
            shown(taken::<JwtRequired>(&issuer, headers).await),
            shown(taken::<JwtOptional>(&issuer, headers).await),
            shown(taken::<Option<JwtRequired>>(&issuer, headers).await),
        ] {
            assert!(taken.0 == 401 && taken.1.contains("error=\"invalid_token\""), "{taken:?}");
            assert!(taken.1.contains("reason=\"token_malformed\""), "{headers:?} {taken:?}");
        }
    }
    let (status, challenge, _) = shown(taken::<FreshJwtRequired>(&issuer, &[&plain]).await);
    assert_eq!(status, 401);
    assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
    assert!(challenge.contains("max_age=\"900\""), "{challenge}");
    let (status, challenge, _) = shown(taken::<JwtWithScope<Reports>>(&issuer, &[&plain]).await);
    assert_eq!(status, 403);
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"reports\"");
    let (status, challenge, _) = shown(taken::<JwtRefreshTokenRequired>(&issuer, &[&plain]).await);
    assert!(status == 401 && challenge.contains("type_mismatch"), "{challenge}");

    issuer.make_stale();
    let unavailable = (503, String::new(), "1".to_owned());
    assert_eq!(shown(taken::<JwtRequired>(&issuer, &[&plain]).await), unavailable);
    assert_eq!(shown(taken::<JwtOptional>(&issuer, &[&plain]).await), unavailable);
}

/// A service that has no room for a request.
#[derive(Clone)]
struct Full;

impl Service<Request<()>> for Full {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(()))
    }
}

#[tokio::test]
async fn a_layer_has_room_when_its_service_has() {
    let layer = FakeIssuer::new("reports").tessera().layer();
    let mut context = Context::from_waker(Waker::noop());
    assert!(layer.layer(Echo).poll_ready(&mut context).is_ready());
    assert!(layer.layer(Full).poll_ready(&mut context).is_pending());
}

#[tokio::test]
async fn a_route_without_a_layer_refuses_every_token() {
    let issuer = FakeIssuer::new("reports");
    let token = format!("Bearer {}", issuer.token(USER).sign());
    let request = Request::builder().header(header::AUTHORIZATION, token).body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let refused = JwtRequired::from_request_parts(&mut parts, &()).await;
    assert_eq!(refused.unwrap_err().status(), 401);
}
