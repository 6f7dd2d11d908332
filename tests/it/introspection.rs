//! Introspection of tokens by services (RFC 7662), and revocation of API tokens by their holders (RFC 7009).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{Answer, Forgery, Server, claims_of};

impl Server {
    pub(crate) async fn introspect(&self, bearer: &str, token: &str) -> Answer {
        let form = [("token", token), ("token_type_hint", "access_token")];
        self.post("/auth/introspect").bearer(bearer).form(&form).send().await
    }
}

#[tokio::test]
async fn introspection_of_an_active_token_returns_its_claims() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect"]).await;
    let person = server.person("first").await;
    let access = server.introspect(&service, &person.access).await.expect_status(200);
    let claims = claims_of(&person.access);
    for name in ["sub", "iss", "aud", "iat", "nbf", "exp", "jti", "sid", "scope", "type"] {
        assert_eq!(access.json[name], claims[name], "{name}");
    }
    assert_eq!(access.json["active"], true);
    assert_eq!(access.json["token_type"], "Bearer");
    assert_eq!(access.json["username"], "first@user.com");
    assert_eq!(access.json["email_verified"], false);

    let refresh = server.introspect(&service, &person.refresh).await.expect_status(200);
    assert_eq!((&refresh.json["active"], &refresh.json["type"]), (&json!(true), &json!("refresh")));
    assert!(refresh.json.get("token_type").is_none() && refresh.json.get("scope").is_none());

    let wanted = json!({ "expire": 60 });
    let made = server.make_api_token(&person.access, &wanted).await.expect_status(201);
    let api = server.introspect(&service, &made.text("token")).await.expect_status(200);
    assert_eq!((&api.json["active"], &api.json["type"]), (&json!(true), &json!("api")));
    assert_eq!(api.json["sub"], person.id);
    assert_eq!((&api.json["jti"], &api.json["exp"]), (&made.json["id"], &made.json["expires"]));
    assert_eq!(api.json["scope"], "authenticated");
    for token in [&person.access, &person.refresh, &made.text("token")] {
        for verified in [true, false] {
            let sql =
                format!("update \"user\" set is_verified = {verified} where id = '{}'", person.id);
            server.database.execute(&sql).await;
            server.advance(Duration::from_millis(900)).await;
            let told = server.introspect(&service, token).await;
            assert_eq!(told.json["email_verified"], verified, "{}", told.body);
        }
    }
    let own = server.introspect(&service, &service).await;
    assert!(own.json.get("email_verified").is_none(), "{}", own.body);
    assert_eq!(
        (&own.json["username"], &own.json["scope"]),
        (&json!("billing"), &json!("tokens:introspect"))
    );
}

#[tokio::test]
async fn introspection_of_any_other_token_returns_only_inactive() {
    let server = Server::setup().set("REFRESH_REUSE_LEEWAY", 0).start().await;
    let root = server.superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect"]).await;
    let person = server.person("first").await;
    let now = claims_of(&person.access)["iat"].as_u64().unwrap();
    let gone = server.person("gone").await;
    server.logout(&gone.access).await.expect_status(204);
    let spent = server.person("spent").await;
    server.refresh(&spent.refresh).await.expect_status(200);
    let deleted = server.api_token(&person.access, &json!({})).await;
    let delete = server.request("DELETE", "/auth/tokens").bearer(&person.access);
    delete.json(&json!({ "token": deleted })).send().await.expect_status(200);
    let expiring = server.api_token(&person.access, &json!({ "expire": 1 })).await;
    let inactive = server.person("inactive").await;
    let of_inactive = server.api_token(&inactive.access, &json!({})).await;
    let off = format!("update \"user\" set is_active = false where id = '{}'", inactive.id);
    server.database.execute(&off).await;
    server.advance(Duration::from_millis(1100)).await;
    let expired = Forgery::of(&person.access).with("iat", now - 900).with("nbf", now - 900);
    let tokens = [
        gone.access,
        gone.refresh,
        spent.refresh,
        deleted,
        expiring,
        inactive.access,
        inactive.refresh,
        of_inactive,
        expired.with("exp", now).sign(),
        Forgery::of(&person.access).secret(b"somebody else's secret of many bytes").sign(),
        Forgery::of(&person.access).with("iss", "https://elsewhere.example").sign(),
        Forgery::of(&person.access).with("aud", "elsewhere").sign(),
        Forgery::of(&person.access).unsigned(),
        "tsr_".to_owned(),
        "x".to_owned(),
        String::new(),
        ".".repeat(20_000),
    ];
    for token in tokens {
        let answer = server.introspect(&service, &token).await.expect_status(200);
        assert_eq!(answer.body, r#"{"active":false}"#, "{token}");
    }
}

#[tokio::test]
async fn only_callers_with_the_scope_can_introspect() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let weak = server.service(&root, "weak", &["tokens:check"]).await;
    let own = server.api_token(&person.access, &json!({})).await;
    let nobody = server.post("/auth/introspect").form(&[("token", &*person.access)]).send().await;
    nobody.expect_refusal(401, "Unauthorized");
    for bearer in [&weak, &own, &person.access] {
        let refused = server.introspect(bearer, &person.access).await;
        refused.expect_refusal(403, "Forbidden");
    }
    server.introspect(&person.refresh, &person.access).await.expect_reason("type_mismatch");
    server.introspect(&root.access, &person.access).await.expect_status(200);
    let request = || server.post("/auth/introspect").bearer(&root.access);
    request().send().await.expect_refusal(400, "invalid_request");
    request().form(&[("other", "x")]).send().await.expect_refusal(400, "invalid_request");
    let twice = request().form(&[("token", "a"), ("token", "b")]).send().await;
    twice.expect_refusal(400, "invalid_request");
    request().json(&json!({ "token": "x" })).send().await.expect_refusal(400, "invalid_request");
}

/// RFC 7662, section 2.1; RFC 6749, section 2.3.1. Libraries send the credentials of a client in this way.
#[tokio::test]
async fn a_service_can_introspect_with_its_name_and_api_token_in_http_basic() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let secret = server.service(&root, "billing", &["tokens:introspect"]).await;
    let weak = server.service(&root, "weak", &["tokens:check"]).await;
    let ask = async |path: &str, scheme: &str, pair: &str| {
        let credential = format!("{scheme} {}", STANDARD.encode(pair));
        let request = server.post(path).header("authorization", &credential);
        request.form(&[("token", &*person.access)]).send().await
    };
    let encoded = format!("%62illing:{}", secret.replace('_', "%5F"));
    for (scheme, pair) in [("Basic", format!("billing:{secret}")), ("basic", encoded)] {
        let answer = ask("/auth/introspect", scheme, &pair).await.expect_status(200);
        assert_eq!(
            (&answer.json["active"], &answer.json["sub"]),
            (&json!(true), &json!(person.id))
        );
    }
    ask("/auth/introspect", "Basic", &format!("weak:{weak}"))
        .await
        .expect_refusal(403, "Forbidden");
    for (name, secret) in [
        ("", ""),
        ("weak", &*secret),
        ("Billing", &secret),
        ("", &secret),
        ("billing", ""),
        ("billing", &weak),
        ("billing", "tsr_unknown"),
        ("billing", &person.access),
        (&person.email, "correct horse battery"),
    ] {
        let refused = ask("/auth/introspect", "Basic", &format!("{name}:{secret}")).await;
        let refused = refused.expect_refusal(401, "invalid_client");
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"tessera\"");
    }
    for header in ["Basic", "Basic ", "Basic !", "Basic YQ==", &format!("Basic {secret}")] {
        let request = server.post("/auth/introspect").header("authorization", header);
        request.form(&[("token", "x")]).send().await.expect_refusal(401, "invalid_client");
    }
    // No other operation takes a password of HTTP Basic: a browser would remember it.
    let pair = STANDARD.encode(format!("billing:{secret}"));
    let me = server.get("/auth/tokens").header("authorization", &format!("Basic {pair}"));
    me.send().await.expect_refusal(401, "Unauthorized");
}

#[tokio::test]
async fn a_holder_can_revoke_an_api_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    let other = server.api_token(&person.access, &json!({})).await;
    for _ in 0..2 {
        let revoke = server.post("/auth/revoke").form(&[("token", &*secret)]);
        revoke.send().await.expect_status(200);
        server.me(&secret).await.expect_reason("api_token_unknown");
    }
    server.me(&other).await.expect_status(200);
}
