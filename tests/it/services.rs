//! Services, which act only with API tokens; and the check and the explanation of API tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn only_callers_with_permission_can_check_an_api_token() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let checker = server.service(&root, "gateway", &["tokens:check"]).await;
    let secret = server.api_token(&person.access, &json!({ "name": "ci" })).await;
    let check = |bearer: String, token: String| {
        let request = server.post("/auth/tokens/check").bearer(&bearer);
        async move { request.json(&json!({ "token": token })).send().await }
    };
    let valid = check(checker.clone(), secret.clone()).await.expect_status(200);
    assert_eq!(valid.json["username"], "first@user.com");
    assert_eq!((&valid.json["valid"], &valid.json["name"]), (&json!(true), &json!("ci")));
    check(root.access.clone(), secret.clone()).await.expect_status(200);
    check(person.access.clone(), secret.clone()).await.expect_refusal(403, "Forbidden");
    check(secret.clone(), secret.clone()).await.expect_refusal(403, "Forbidden");
    for other in ["tsr_x", "", "unknown-unknown-unknown", &person.access, &person.refresh] {
        let invalid = check(checker.clone(), other.to_owned()).await.expect_status(200);
        assert_eq!(invalid.json, json!({ "valid": false }));
    }
    server
        .database
        .execute("update \"user\" set is_active = false where is_superuser = false")
        .await;
    server.advance(Duration::from_millis(1000)).await;
    assert_eq!(check(checker, secret).await.json, json!({ "valid": false }));
}

#[tokio::test]
async fn a_service_acts_only_with_api_tokens_and_they_are_deleted_with_it() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let secret = server.service(&root, "billing", &["tokens:introspect", "invoices"]).await;
    let services = || server.post("/admin/services").bearer(&root.access);
    let again = services().json(&json!({ "name": "billing" })).send().await;
    again.expect_refusal(409, "SERVICE_ALREADY_EXISTS");
    for scope in ["super", "admin", "authenticated"] {
        let body = json!({ "name": "strong", "scopes": [scope] });
        services().json(&body).send().await.expect_refusal(400, "API_TOKEN_INVALID_SCOPES");
    }
    for name in ["", "Upper", "-x", "a@b.co", "ü", &"x".repeat(65), "nul\u{0}"] {
        services().json(&json!({ "name": name })).send().await.expect_status(422);
    }
    // A service has no password.
    server.login("billing", "").await.expect_status(400);
    server.me(&secret).await.expect_refusal(403, "Forbidden");
    let own = server.get("/auth/tokens").bearer(&secret).send().await.expect_status(200);
    assert_eq!(own.json["items"][0]["username"], "billing");
    assert_eq!(own.json["items"][0]["scopes"], json!(["invoices", "tokens:introspect"]));
    let wide = json!({ "username": "billing", "scopes": ["tokens:check"] });
    let wide = server.make_api_token(&root.access, &wide).await;
    wide.expect_refusal(400, "API_TOKEN_INVALID_SCOPES");
    server.get("/admin/services").bearer(&secret).send().await.expect_refusal(403, "Forbidden");

    let listed = server.get("/admin/services").bearer(&root.access).send().await;
    assert_eq!(listed.json["items"][0]["name"], "billing");
    server.database.execute("update service set is_active = false").await;
    server.advance(Duration::from_millis(1000)).await;
    server.get("/auth/tokens").bearer(&secret).send().await.expect_status(401);
    server.database.execute("update service set is_active = true").await;
    server.advance(Duration::from_millis(1000)).await;
    server.get("/auth/tokens").bearer(&secret).send().await.expect_status(200);
    let delete = || server.request("DELETE", "/admin/services/billing").bearer(&root.access);
    delete().send().await.expect_status(204);
    server.get("/auth/tokens").bearer(&secret).send().await.expect_reason("api_token_unknown");
    delete().send().await.expect_status(404);
}

#[tokio::test]
async fn superusers_can_find_out_why_an_api_token_is_refused() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let good = server.api_token(&person.access, &json!({})).await;
    let expired = server.api_token(&person.access, &json!({ "expire": 1 })).await;
    server.advance(Duration::from_millis(1100)).await;
    let unknown = "unknown-unknown-unknown";
    for (token, reason, words) in [
        (good.as_str(), Value::Null, "accepted: an API token of first@user.com (scopes: auth"),
        (&expired, json!("api_token_expired"), "refused (api_token_expired)"),
        (unknown, json!("api_token_unknown"), "refused (api_token_unknown)"),
        ("tsr_x", json!("api_token_malformed"), "refused (api_token_malformed)"),
        ("foo", json!("api_token_malformed"), "refused (api_token_malformed)"),
    ] {
        let explain = server.post("/admin/tokens/explain").bearer(&root.access);
        let told = explain.json(&json!({ "token": token })).send().await.expect_status(200);
        assert_eq!(told.json["reason"], reason);
        assert!(told.text("sentence").starts_with(words), "{}", told.body);
        // The explanation agrees with what happens.
        let happens = server.me(token).await.status == 200;
        assert_eq!(told.json["accepted"], json!(happens));
    }
}
