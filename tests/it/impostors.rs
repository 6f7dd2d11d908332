//! Tokens of one kind at the doors of others, and requests that another person or site made.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::consents::resource;
use crate::provider::{basic, code, exchange, request, sealed, server, userinfo, with_code};
use crate::support::{Browser, Forgery, PASSWORD, Server, claims_of, eventually, header_of};
use crate::terminal::tessera;

/// The APIs that an application can ask for.
const APIS: [&str; 2] = ["https://a.example.com", "https://b.example.com"];

/// The kinds of tokens and secrets, by name.
async fn kinds(server: &Server) -> Vec<(&'static str, String)> {
    let (access, refresh) = server.sign_in("ada@user.com", PASSWORD).await;
    let api_token = server.api_token(&access, &json!({})).await;
    let mut browser = Browser::of(server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code_of_grant = code(&mut browser, &[]).await;
    let grant = exchange(server, "app", &with_code(&code_of_grant)).await.expect_status(200);
    let own = exchange(server, "app", &[("grant_type", "client_credentials")]).await;
    let own = own.expect_status(200).text("access_token");
    let grant_access = grant.text("access_token");
    eventually("the key is known", async || userinfo(server, &grant_access).await.status == 200)
        .await;
    let mut kinds = vec![
        ("access", access),
        ("refresh", refresh),
        ("API token", api_token),
        ("ID token", grant.text("id_token")),
        ("grant's refresh", grant.text("refresh_token")),
        ("client's own", own),
        ("code", code(&mut browser, &[]).await),
    ];
    kinds.extend(forged(server, &grant_access).await);
    kinds.push(("grant's access", grant_access));
    kinds
}

/// Forgeries of an access token of a client.
async fn forged(server: &Server, token: &str) -> Vec<(&'static str, String)> {
    let keys = server.get("/.well-known/jwks.json").send().await.expect_status(200);
    let kid = header_of(token)["kid"].clone();
    let mut keys = keys.json["keys"].as_array().unwrap().iter();
    let key = keys.find(|key| key["kid"] == kid).unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    let as_session = Forgery::of(token).with_header("alg", "HS256");
    let plain = as_session.clone().with_header("alg", "none");
    let [head, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let mut claims = claims_of(token);
    claims["scope"] = json!("openid super admin");
    let raised = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    vec![
        ("signed with the public key", as_session.clone().secret(&modulus).sign()),
        (
            "signed with the text of the key",
            as_session.clone().secret(key.to_string().as_bytes()).sign(),
        ),
        ("signed with APP_SECRET", as_session.secret(crate::support::SECRET.as_bytes()).sign()),
        ("not signed", plain.unsigned()),
        ("with another scope", raised),
    ]
}

#[tokio::test]
async fn a_token_opens_only_the_doors_of_its_kind() {
    let server = server().await;
    let kinds = kinds(&server).await;
    for (kind, token) in &kinds {
        let bearer = |method: &str, path: &str| server.request(method, path).bearer(token);
        let is_of_user = ["access", "API token"].contains(kind);
        for path in ["/users/me", "/auth/sessions", "/auth/tokens"] {
            let answer = bearer("GET", path).send().await;
            assert_eq!(answer.status < 300, is_of_user, "{kind} at {path}: {}", answer.body);
        }
        for (method, path) in
            [("DELETE", "/users/me"), ("GET", "/admin/clients"), ("POST", "/oauth2/introspect")]
        {
            // The session of a password may delete its account.
            if *kind == "access" && method == "DELETE" {
                continue;
            }
            let request = bearer(method, path);
            let request =
                if path.starts_with("/oauth2") { request.form(&[("token", "x")]) } else { request };
            let answer = request.send().await;
            assert!(answer.status >= 400, "{kind} at {path}: {}", answer.body);
        }
        let info = userinfo(&server, token).await;
        assert_eq!(info.status == 200, *kind == "grant's access", "{kind}: {}", info.body);
        let refreshed = server.post("/auth/jwt/refresh").bearer(token).send().await;
        assert_eq!(refreshed.status == 200, *kind == "refresh", "{kind}: {}", refreshed.body);
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let refreshed = exchange(&server, "app", &fields).await;
        assert_eq!(
            refreshed.status == 200,
            *kind == "grant's refresh",
            "{kind}: {}",
            refreshed.body
        );
        let spent = exchange(&server, "app", &with_code(token)).await;
        assert_eq!(spent.status == 200, *kind == "code", "{kind}: {}", spent.body);
        let asked = server.post("/oauth2/introspect").header("authorization", &basic("app"));
        let asked = asked.form(&[("token", token)]).send().await.expect_status(200);
        let is_own = ["grant's access", "grant's refresh", "client's own"].contains(kind);
        // The refresh above has spent the refresh token of the grant, and the leeway still knows it.
        assert!(asked.json["active"] != true || is_own, "{kind}: {}", asked.body);
    }
}

/// The application can ask for both APIs, but the user permitted one of them.
#[tokio::test]
async fn a_token_for_one_api_opens_neither_another_api_nor_the_profile() {
    let server = server().await;
    for uri in APIS {
        resource(&server, uri).await;
    }
    let both = APIS.join(",");
    let allowed = ["client", "update", "app", "--resource", &both, "--scope", "openid,email"];
    assert!(tessera(&server, &allowed).status.success());
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let asked = [("resource", APIS[0])];
    let known = async || browser.open(&request(&asked)).await.status == 200;
    eventually("the server knows the resources", known).await;
    let permitted = code(&mut browser, &asked).await;
    let other = ("resource", APIS[1]);
    let wide = [&with_code(&permitted)[..], &[other]].concat();
    exchange(&server, "app", &wide).await.expect_refusal(400, "invalid_target");
    let tokens = exchange(&server, "app", &with_code(&permitted)).await.expect_status(200);
    let access = tokens.text("access_token");
    assert_eq!(claims_of(&access)["aud"], APIS[0]);
    let refresh = tokens.text("refresh_token");
    let wide = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str()), other];
    exchange(&server, "app", &wide).await.expect_refusal(400, "invalid_target");
    // The key is known, because a token for the issuer is accepted.
    let own = code(&mut browser, &[]).await;
    let own = exchange(&server, "app", &with_code(&own)).await.expect_status(200);
    let own = own.text("access_token");
    eventually("the key is known", async || userinfo(&server, &own).await.status == 200).await;
    userinfo(&server, &access).await.expect_status(401);
    server.me(&access).await.expect_status(401);
}

#[tokio::test]
async fn consent_is_given_only_by_the_person_who_was_asked_on_the_page_that_asked() {
    let server = server().await;
    server.register("eve@user.com", PASSWORD).await.expect_status(201);
    let mut victim = Browser::of(&server);
    victim.sign_in("ada@user.com", PASSWORD).await;
    let page = victim.open(&request(&[])).await.expect_status(200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let asked = sealed(&page);
    let grants = async |answer: &crate::support::Answer| -> bool {
        answer.headers.get("location").is_some_and(|to| to.to_str().unwrap().contains("code="))
    };
    let fields = [("request", asked.as_str()), ("decision", "accept")];
    // Another person's browser accepts for its own account, and is asked itself first if it was not.
    let mut eve = Browser::of(&server);
    eve.sign_in("eve@user.com", PASSWORD).await;
    eve.open("/account").await.expect_status(200);
    let csrf = victim.csrf.clone();
    // A form of another site has no value, and one of another person the wrong one.
    for value in ["", "x", eve.csrf.as_str()] {
        victim.csrf = value.to_owned();
        let answer = victim.press("/oauth2/consent", &fields).await;
        assert!(!grants(&answer).await, "{value}: {}", answer.body);
    }
    victim.csrf = csrf;
    assert_eq!(server.database.count("consent").await, 0);
    // A sealed request that was changed is no request.
    let mut changed = asked.clone();
    changed.replace_range(20..21, if &asked[20..21] == "A" { "B" } else { "A" });
    let answer = victim.press("/oauth2/consent", &[("request", changed.as_str()), fields[1]]).await;
    assert!(!grants(&answer).await && answer.status == 400, "{}", answer.body);
    // A link of the application with parameters of its own decides nothing.
    let link = request(&[("decision", "accept")]);
    let answer = victim.open(&link).await;
    assert!(!grants(&answer).await, "{}", answer.body);
    assert_eq!(server.database.count("consent").await, 0);
    let answer = victim.press("/oauth2/consent", &fields).await;
    assert!(grants(&answer).await, "{} {}", answer.status, answer.body);
    let who = "select cast(count(*) as text) from consent join \"user\" on \"user\".id = user_id \
               where email = 'ada@user.com'";
    assert_eq!(server.database.column::<String>(who).await, ["1"]);
}
