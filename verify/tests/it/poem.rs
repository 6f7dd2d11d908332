//! The guards as arguments of poem's handlers.

use std::time::{SystemTime, UNIX_EPOCH};

use poem::http::{HeaderMap, StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response, Route, get, handler};
use tessera_verify::poem::{
    FreshJwtRequired, JwtOptional, JwtRefreshTokenRequired, JwtRequired, JwtWithScope, Scope,
    bearer,
};
use tessera_verify::{Denied, Guard, Key, Refusal};

use crate::support::{Forgery, SECRET, access_claims, refresh_claims, verifier};

#[expect(clippy::disallowed_methods, reason = "the guards read the clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn access() -> Forgery {
    let claims = access_claims().with_iat(now()).with_nbf(now()).with_exp(now() + 900);
    let token = Key::hs256(SECRET).sign(&claims).unwrap();
    Forgery::of(&token, SECRET).with("auth_time", now())
}

fn refresh() -> String {
    let claims = refresh_claims().with_iat(now()).with_nbf(now()).with_exp(now() + 900);
    Key::refresh(SECRET).sign(&claims).unwrap()
}

#[handler]
fn required(jwt: JwtRequired) -> String {
    format!("{} {}", jwt.claims.sub, jwt.token)
}

#[handler]
fn optional(jwt: JwtOptional) -> String {
    jwt.0.map_or("nobody".to_owned(), |jwt| jwt.claims.sub.to_string())
}

#[handler]
fn fresh(jwt: FreshJwtRequired) -> String {
    jwt.0.claims.sub.to_string()
}

#[handler]
fn of_refresh(jwt: JwtRefreshTokenRequired) -> String {
    jwt.0.claims.jti.to_string()
}

struct Reports;

impl Scope for Reports {
    const NAME: &'static str = "reports";
}

#[handler]
fn scoped(jwt: JwtWithScope<Reports>) -> String {
    jwt.0.claims.sub.to_string()
}

#[handler]
fn unavailable() -> Result<(), Denied> {
    Err(Denied::Unavailable)
}

fn routes() -> Route {
    Route::new()
        .at("/required", get(required))
        .at("/optional", get(optional))
        .at("/fresh", get(fresh))
        .at("/refresh", get(of_refresh))
        .at("/scoped", get(scoped))
        .at("/unavailable", get(unavailable))
}

async fn ask(path: &str, authorization: &[&str]) -> Response {
    let mut request = Request::builder().uri(path.parse().unwrap());
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    routes().data(Guard::new(verifier())).get_response(request.finish()).await
}

async fn with(path: &str, token: &str) -> (u16, String) {
    let mut response = ask(path, &[&format!("Bearer {token}")]).await;
    (response.status().as_u16(), response.take_body().into_string().await.unwrap())
}

fn header_of(response: &Response, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_handler_gets_the_claims_and_the_token() {
    let token = access().sign();
    let user = access_claims().sub.to_string();
    assert_eq!(with("/required", &token).await, (200, format!("{user} {token}")));
    assert_eq!(with("/optional", &token).await, (200, user.clone()));
    assert_eq!(with("/fresh", &token).await, (200, user.clone()));
    let jti = refresh_claims().jti.to_string();
    assert_eq!(with("/refresh", &refresh()).await, (200, jti));
    let reports = access().with("scope", "a reports").sign();
    assert_eq!(with("/scoped", &reports).await, (200, user));
}

#[tokio::test]
async fn a_handler_is_not_called_without_the_token_that_it_requires() {
    for path in ["/required", "/optional", "/fresh", "/scoped"] {
        assert_eq!(with(path, &refresh()).await.0, 401, "{path}");
        assert_eq!(with(path, "x").await.0, 401, "{path}");
        let past = access().with("exp", now()).sign();
        assert_eq!(with(path, &past).await.0, 401, "{path}");
    }
    assert_eq!(with("/refresh", &access().sign()).await.0, 401);
    assert_eq!(with("/fresh", &access().with("fresh", false).sign()).await.0, 401);
    assert_eq!(with("/scoped", &access().sign()).await.0, 403);
    for path in ["/required", "/fresh", "/refresh", "/scoped"] {
        let response = ask(path, &[]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header_of(&response, header::WWW_AUTHENTICATE), Some("Bearer"));
    }
    let mut nobody = ask("/optional", &[]).await;
    assert_eq!(nobody.status(), StatusCode::OK);
    assert_eq!(nobody.take_body().into_string().await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_header_without_a_token_is_refused_even_if_the_token_is_optional() {
    let token = access().sign();
    let bearer = format!("Bearer {token}");
    for headers in [&["Basic x"][..], &["Bearer"], &["Bearer "], &[&bearer, &bearer], &[&token]] {
        for path in ["/required", "/optional"] {
            let response = ask(path, headers).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{headers:?}");
            let challenge = header_of(&response, header::WWW_AUTHENTICATE).unwrap();
            assert!(challenge.ends_with("reason=\"token_malformed\""), "{challenge}");
        }
    }
}

#[tokio::test]
async fn a_route_without_a_guard_refuses_all_requests() {
    let request = Request::builder()
        .uri("/required".parse().unwrap())
        .header(header::AUTHORIZATION, format!("Bearer {}", access().sign()))
        .finish();
    let response = routes().get_response(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_denial_is_json_with_a_challenge_or_a_time_to_wait() {
    let mut response = ask("/scoped", &[&format!("Bearer {}", access().sign())]).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(header_of(&response, header::CONTENT_TYPE), Some("application/json"));
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"reports\"";
    assert_eq!(header_of(&response, header::WWW_AUTHENTICATE), Some(challenge));
    assert_eq!(header_of(&response, header::RETRY_AFTER), None);
    let body = response.take_body().into_string().await.unwrap();
    assert_eq!(body, "{\"detail\":\"INSUFFICIENT_SCOPE\"}");

    let mut response = ask("/unavailable", &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header_of(&response, header::WWW_AUTHENTICATE), None);
    assert_eq!(header_of(&response, header::RETRY_AFTER), Some("1"));
    let body = response.take_body().into_string().await.unwrap();
    assert_eq!(body, "{\"detail\":\"SERVICE_UNAVAILABLE\"}");
}

#[test]
fn a_bearer_token_is_read_from_a_single_header_in_upper_or_lower_case() {
    let read = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, header::HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers).map(ToOwned::to_owned)
    };
    for value in ["Bearer x", "bearer x", "BEARER x", "Bearer  x", "Bearer x "] {
        assert_eq!(read(&[value.as_bytes()]).as_deref(), Some("x"), "{value}");
    }
    for value in ["", "x", "Bearer", "Bearer ", "Bearer  ", "Basic x", "Bearerx x", " Bearer x"] {
        assert_eq!(read(&[value.as_bytes()]), None, "{value}");
    }
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[b"Bearer x", b"Bearer x"]), None);
    assert_eq!(read(&["Bearer é".as_bytes()]), None);
}

#[tokio::test]
async fn the_debug_form_of_a_token_shows_its_claims_but_not_the_token() {
    #[handler]
    fn debug(jwt: JwtRequired) -> String {
        format!("{jwt:?}")
    }
    let token = access().sign();
    let request =
        Request::builder().header(header::AUTHORIZATION, format!("Bearer {token}")).finish();
    let app = debug.data(Guard::new(verifier()));
    let shown = app.get_response(request).await.take_body().into_string().await.unwrap();
    assert!(shown.starts_with("JwtRequired { claims: Claims {"), "{shown}");
    assert!(!shown.contains(token.rsplit_once('.').unwrap().1), "{shown}");
    assert_eq!(Denied::Refused(Refusal::Revoked).status(), 401);
}
