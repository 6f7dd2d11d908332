//! The OAuth routes of FastAPI Users, with its codes. The tokens of a provider never leave the server.

use serde_json::json;

use super::{ADA, corp, parameter, path_of, with};
use crate::support::upstream::{Instead, TOKEN_PREFIX, Upstream, Wrong};
use crate::support::{Answer, Browser, Kind, PASSWORD, Server, claims_of};

/// Begins at an operation. Returns the URL at the provider, and the cookies for the callback.
async fn authorize(server: &Server, path: &str, bearer: Option<&str>) -> (String, String) {
    let request = server.get(path);
    let request = match bearer {
        Some(token) => request.bearer(token),
        None => request,
    };
    let answer = request.send().await.expect_status(200);
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cookies: Vec<_> =
        cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()).collect();
    (answer.text("authorization_url"), cookies.join("; "))
}

/// Sends what came back to a callback.
async fn arrive(server: &Server, path: &str, back: &str, cookies: &str) -> Answer {
    let query = back.split_once('?').unwrap().1;
    let request = server.get(&format!("{path}?{query}"));
    let request = if cookies.is_empty() { request } else { request.header("cookie", cookies) };
    request.send().await
}

/// Signs in with the routes, and returns the tokens.
pub(super) async fn sign_in(server: &Server, upstream: &Upstream) -> Answer {
    let (place, cookies) = authorize(server, "/auth/corp/authorize", None).await;
    let back = upstream.come_back(&place);
    arrive(server, "/auth/corp/callback", &back, &cookies).await.expect_status(200)
}

async fn associate(server: &Server, upstream: &Upstream, bearer: &str) -> Answer {
    let path = "/auth/associate/corp";
    let (place, cookies) = authorize(server, &format!("{path}/authorize"), Some(bearer)).await;
    let query = path_of(&upstream.come_back(&place));
    let query = query.split_once('?').unwrap().1;
    let request = server.get(&format!("{path}/callback?{query}")).bearer(bearer);
    request.header("cookie", &cookies).send().await
}

#[tokio::test]
async fn a_front_end_signs_people_in_with_the_routes_of_fastapi_users() {
    let (upstream, server) = corp(&json!({})).await;
    let path = "/auth/corp/authorize?scopes=openid&scopes=email&scopes=calendar";
    let (place, cookies) = authorize(&server, path, None).await;
    let scope = parameter(&place, "scope").unwrap();
    for word in ["openid", "email"] {
        assert!(scope.split(' ').any(|known| known == word), "{scope}");
    }
    assert_eq!(parameter(&place, "code_challenge_method").as_deref(), Some("S256"));
    let back = upstream.come_back(&place);
    let tokens = arrive(&server, "/auth/corp/callback", &back, &cookies).await.expect_status(200);
    assert_eq!(tokens.text("token_type"), "bearer");
    let me = server.me(&tokens.text("access_token")).await.expect_status(200);
    assert_eq!((me.text("email"), &me.json["is_verified"]), (ADA.to_owned(), &json!(true)));
    assert_eq!(claims_of(&tokens.text("access_token"))["amr"], json!(["fed"]));
    server.refresh(&tokens.text("refresh_token")).await.expect_status(200);
    // The second time, the state is spent.
    let again = arrive(&server, "/auth/corp/callback", &back, &cookies).await;
    again.expect_refusal(400, "OAUTH_INVALID_STATE");
    for path in ["/auth/unknown/authorize", "/auth/unknown/callback?code=a&state=b"] {
        server.get(path).send().await.expect_status(404);
    }
}

#[tokio::test]
async fn each_refusal_of_the_routes_has_the_code_of_fastapi_users() {
    let (upstream, server) = corp(&json!({})).await;
    let callback = "/auth/corp/callback";
    let begin = async || {
        let (place, cookies) = authorize(&server, "/auth/corp/authorize", None).await;
        (upstream.come_back(&place), cookies)
    };
    let (back, cookies) = begin().await;
    // Without the cookie, or with the one of another client.
    arrive(&server, callback, &back, "").await.expect_refusal(400, "OAUTH_INVALID_STATE");
    let (_, foreign) = begin().await;
    arrive(&server, callback, &back, &foreign).await.expect_refusal(400, "OAUTH_INVALID_STATE");
    let state = parameter(&back, "state").unwrap();
    let broken = back.replace(&state, "broken");
    arrive(&server, callback, &broken, &cookies)
        .await
        .expect_refusal(400, "ACCESS_TOKEN_DECODE_ERROR");
    server.advance(std::time::Duration::from_secs(3660)).await;
    arrive(&server, callback, &back, &cookies)
        .await
        .expect_refusal(400, "ACCESS_TOKEN_ALREADY_EXPIRED");
    upstream.person(&json!({ "email": null }));
    let (back, cookies) = begin().await;
    arrive(&server, callback, &back, &cookies)
        .await
        .expect_refusal(400, "OAUTH_NOT_AVAILABLE_EMAIL");
    upstream.person(&json!({ "email": "x@elsewhere.example" }));
    server.verified_at("x@elsewhere.example").await;
    let (back, cookies) = begin().await;
    arrive(&server, callback, &back, &cookies)
        .await
        .expect_refusal(400, "OAUTH_USER_ALREADY_EXISTS");
    upstream.person(&json!({ "email": ADA }));
    upstream.make(Wrong { instead: vec![("/token", Instead::Cut)], ..Wrong::default() });
    let (back, cookies) = begin().await;
    arrive(&server, callback, &back, &cookies).await.expect_refusal(502, "OAUTH_UPSTREAM_ERROR");
    upstream.make(Wrong::default());
    let (back, cookies) = begin().await;
    arrive(&server, callback, &back, &cookies).await.expect_status(200);
    // The user is inactive now.
    server.database.execute("update \"user\" set is_active = false").await;
    server.advance(std::time::Duration::from_secs(2)).await;
    let (back, cookies) = begin().await;
    arrive(&server, callback, &back, &cookies).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
}

#[tokio::test]
async fn an_account_is_associated_by_its_own_fresh_session_alone() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (ada, eve) =
        (server.verified_at("ada@user.com").await, server.verified_at("eve@user.com").await);
    server.get("/auth/associate/corp/authorize").send().await.expect_status(401);
    let token = server.api_token(&ada.access, &json!({})).await;
    let refused = server.get("/auth/associate/corp/authorize").bearer(&token).send().await;
    assert!([401, 403].contains(&refused.status), "{}", refused.body);
    let stale = server.refresh(&ada.refresh).await.expect_status(200).text("access_token");
    server
        .get("/auth/associate/corp/authorize")
        .bearer(&stale)
        .send()
        .await
        .expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    // Another user cannot finish what one began.
    let (access, _) = server.sign_in(&ada.email, PASSWORD).await;
    let (place, cookies) =
        authorize(&server, "/auth/associate/corp/authorize", Some(&access)).await;
    let back = upstream.come_back(&place);
    let query = back.split_once('?').unwrap().1;
    let finish = |bearer: &str| {
        let request = server.get(&format!("/auth/associate/corp/callback?{query}")).bearer(bearer);
        request.header("cookie", &cookies).send()
    };
    finish(&eve.access).await.expect_refusal(400, "OAUTH_INVALID_STATE");
    assert_eq!(server.identities().await, 0);
    let done = associate(&server, &upstream, &access).await.expect_status(200);
    assert_eq!(done.text("id"), ada.id);
    let accounts = done.json["oauth_accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{}", done.body);
    for (name, expected) in [
        ("oauth_name", json!("corp")),
        ("account_id", json!("248289761001")),
        ("account_email", json!(ADA)),
        ("access_token", json!("")),
    ] {
        assert_eq!(accounts[0][name], expected, "{name}");
    }
    // The same account of the provider at another user is refused.
    let taken = associate(&server, &upstream, &server.sign_in(&eve.email, PASSWORD).await.0).await;
    taken.expect_refusal(400, "OAUTH_USER_ALREADY_EXISTS");
    // It signs the user in, with any address.
    let tokens = sign_in(&server, &upstream).await;
    assert_eq!(server.me(&tokens.text("access_token")).await.text("id"), ada.id);
}

#[tokio::test]
async fn a_state_of_linking_signs_nobody_in_and_one_of_signing_in_links_nothing() {
    let (upstream, server) = corp(&json!({})).await;
    let person = server.verified_at("eve@user.com").await;
    let (place, cookies) =
        authorize(&server, "/auth/associate/corp/authorize", Some(&person.access)).await;
    let back = upstream.come_back(&place);
    arrive(&server, "/auth/corp/callback", &back, &cookies)
        .await
        .expect_refusal(400, "OAUTH_INVALID_STATE");
    let (place, cookies) = authorize(&server, "/auth/corp/authorize", None).await;
    let back = upstream.come_back(&place);
    let query = back.split_once('?').unwrap().1;
    let request =
        server.get(&format!("/auth/associate/corp/callback?{query}")).bearer(&person.access);
    request.header("cookie", &cookies).send().await.expect_refusal(400, "OAUTH_INVALID_STATE");
    // A state of the pages is none of the routes, and the reverse.
    let mut browser = Browser::of(&server);
    let back = upstream.come_back(&browser.leave("corp").await);
    let jar = browser.cookies.iter().map(|(name, value)| format!("{name}={value}"));
    let jar = jar.collect::<Vec<_>>().join("; ");
    arrive(&server, "/auth/corp/callback", &back, &jar)
        .await
        .expect_refusal(400, "OAUTH_INVALID_STATE");
    let (place, cookies) = authorize(&server, "/auth/corp/authorize", None).await;
    let query = path_of(&upstream.come_back(&place));
    let query = query.split_once('?').unwrap().1;
    for cookie in cookies.split("; ") {
        let (name, value) = cookie.split_once('=').unwrap();
        browser.cookies.insert(name.to_owned(), value.to_owned());
    }
    // A provider has one redirect URI, so the page leads on to the operation. It signs the browser in nowhere else.
    let led = browser.open(&format!("/login/with/corp/callback?{query}")).await.expect_status(303);
    assert!(led.header("location").contains("/auth/corp/callback?"), "{}", led.header("location"));
    assert!(!browser.is_signed_in().await);
    assert_eq!((server.identities().await, server.database.count("\"user\"").await), (0, 1));
}

/// Everything that a server stores, as text.
async fn dump(server: &Server) -> String {
    if server.database.kind() == Kind::Sqlite {
        let file = server.database.file();
        let files = ["", "-wal"].map(|suffix| format!("{}{suffix}", file.display()));
        let read = files.map(|file| std::fs::read(file).unwrap_or_default());
        return read.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    }
    let tables = "select tablename::text from pg_tables where schemaname = 'public'";
    let mut text = String::new();
    for table in server.database.column::<String>(tables).await {
        let sql = format!("select \"{table}\"::text from \"{table}\"");
        text += &server.database.column::<String>(&sql).await.join("\n");
    }
    text
}

#[tokio::test]
async fn tokens_and_secrets_of_a_provider_are_in_no_answer_log_or_table() {
    let upstream = Upstream::start().await;
    let entries = [upstream.entry(&json!({}))];
    let server = with(&entries).set("LOG_LEVEL", "debug").start().await;
    let mut answers = vec![sign_in(&server, &upstream).await.body];
    let (access, _) = {
        let person = server.verified_at("eve@user.com").await;
        upstream.person(&json!({ "sub": "second" }));
        let linked = associate(&server, &upstream, &person.access).await.expect_status(200);
        answers.push(linked.body);
        server.sign_in("eve@user.com", PASSWORD).await
    };
    answers.push(server.me(&access).await.body);
    for wrong in [
        Wrong { claims: vec![("nonce", Some(json!("another")))], ..Wrong::default() },
        Wrong { userinfo: vec![("sub", Some(json!("another")))], ..Wrong::default() },
        Wrong { tokens: vec![("token_type", Some(json!("mac")))], ..Wrong::default() },
        Wrong {
            instead: vec![(
                "/token",
                Instead::Json(
                    400,
                    json!({ "error": "invalid_grant", "error_description": crate::support::upstream::CLIENT_SECRET }),
                ),
            )],
            ..Wrong::default()
        },
    ] {
        upstream.make(wrong);
        answers.push(Browser::of(&server).sign_in_with(&upstream).await.body);
    }
    answers.push(server.log_so_far().await);
    let stored = dump(&server).await;
    // The address is stored as it is, so a token would be found too.
    assert!(stored.contains(ADA), "the tables were not read");
    answers.push(stored);
    let tokens = upstream.tokens();
    assert!(tokens.len() > 9);
    let codes = upstream.seen("/token").into_iter();
    let codes = codes.filter_map(|seen| parameter(&format!("/?{}", seen.body), "code"));
    let secrets: Vec<_> = tokens
        .into_iter()
        .chain(codes)
        .chain([TOKEN_PREFIX.to_owned(), crate::support::upstream::CLIENT_SECRET.to_owned()])
        .collect();
    for text in answers {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
