//! `POST /auth/jwt/login`

use serde_json::json;

use crate::support::{PASSWORD, Server, claims_of, header_of};

#[tokio::test]
async fn a_sign_in_returns_a_fresh_access_token_and_a_refresh_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let answer = server.login("first@user.com", PASSWORD).await.expect_status(200);
    assert_eq!(answer.text("token_type"), "bearer");
    assert_eq!(answer.json["expires_in"], 900);
    assert_eq!(answer.json["refresh_expires_in"], 2_592_000);

    let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
    let header = header_of(&access);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("JWT"), &json!("HS256")));
    assert!(header["kid"].is_string());
    let claims = claims_of(&access);
    assert_eq!(claims["iss"], "http://localhost:8000");
    assert_eq!(claims["aud"], "tessera");
    assert_eq!(claims["sub"], person.id);
    assert_eq!(claims["type"], "access");
    assert_eq!(claims["fresh"], true);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 900);
    // The clocks of services that verify the token may be behind.
    assert_eq!(claims["nbf"].as_u64().unwrap(), claims["iat"].as_u64().unwrap() - 5);
    assert_eq!(claims["auth_time"], claims["iat"]);
    assert_eq!(claims["scope"], "authenticated");
    for id in ["jti", "sid"] {
        assert_eq!(claims[id].as_str().unwrap().len(), 36);
    }
    let next = claims_of(&refresh);
    assert_eq!((&next["type"], &next["gen"]), (&json!("refresh"), &json!(0)));
    assert_eq!((&next["sid"], &next["sub"]), (&claims["sid"], &claims["sub"]));
}

#[tokio::test]
async fn users_can_sign_in_with_the_address_in_any_case() {
    let server = Server::start().await;
    server.register("First@user.com", PASSWORD).await.expect_status(201);
    for spelling in ["first@user.com", "FIRST@USER.COM", "First@user.com"] {
        server.login(spelling, PASSWORD).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_sign_in_accepts_both_form_encodings_and_ignores_the_client() {
    let server = Server::start().await;
    server.person("first").await;
    let fields = [
        ("grant_type", "password"),
        ("username", "first@user.com"),
        ("password", PASSWORD),
        ("scope", "a b"),
        ("client_id", "x"),
        ("client_secret", "y"),
    ];
    let login = || server.post("/auth/jwt/login");
    login().form(&fields).send().await.expect_status(200);
    let form = fields
        .iter()
        .fold(reqwest::multipart::Form::new(), |form, (name, value)| form.text(*name, *value));
    login().multipart(form).send().await.expect_status(200);
    // The dialog of Swagger UI sends an empty client with the form.
    let swagger = login().header("authorization", "Basic Og==").form(&fields[..3]);
    swagger.send().await.expect_status(200);
}

#[tokio::test]
async fn unknown_users_wrong_passwords_and_inactive_users_get_the_same_answer() {
    let server = Server::start().await;
    let inactive = server.person("inactive").await;
    server.person("first").await;
    let sql = format!("update \"user\" set is_active = false where id = '{}'", inactive.id);
    assert_eq!(server.database.execute(&sql).await, 1);
    let answers = [
        server.login("first@user.com", "wrong").await,
        server.login("nobody@user.com", PASSWORD).await,
        server.login("inactive@user.com", PASSWORD).await,
        server.login("not an address", PASSWORD).await,
        server.login("nul\0@user.com", PASSWORD).await,
        server.login("first@user.com", "").await,
        server.login(&"x".repeat(5000), PASSWORD).await,
        server.login("first@user.com", &"x".repeat(5000)).await,
        server.login("' or 1=1 --", PASSWORD).await,
        server.login("%", PASSWORD).await,
    ];
    let names = |answer: &crate::support::Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let expected = names(&answers[0]);
    for answer in answers {
        assert_eq!(names(&answer), expected);
        assert_eq!(answer.body, r#"{"detail":"LOGIN_BAD_CREDENTIALS"}"#);
        answer.expect_status(400);
    }
}

/// One bad row must not slow down the sign-ins of other users.
#[tokio::test]
async fn an_unreadable_or_too_expensive_hash_does_not_slow_down_other_users() {
    let server = Server::start().await;
    server.person("first").await;
    for hash in ["$2b$15$unreadable".to_owned(), format!("$2b$13${}", "a".repeat(53))] {
        let sql = format!("update \"user\" set hashed_password = '{hash}'");
        server.database.execute(&sql).await;
        server.login("first@user.com", "wrong").await.expect_status(400);
    }
    // Work of the server beside the sign-ins only makes them more expensive, so the cheapest of several tries counts.
    let mut least = u64::MAX;
    for _ in 0..3 {
        let before = server.cpu_ticks();
        for _ in 0..4 {
            server.login("nobody@user.com", "wrong").await.expect_status(400);
        }
        least = least.min(server.cpu_ticks() - before);
    }
    assert!(least < 40, "one hash slows down other sign-ins: {least}");
}

#[tokio::test]
async fn every_character_of_a_long_password_counts() {
    let server = Server::start().await;
    let long = "p".repeat(100);
    server.register("long@user.com", &long).await.expect_status(201);
    server.login("long@user.com", &long).await.expect_status(200);
    for wrong in [&long[..99], &long[..72], &long[..71], &(long.clone() + "p")] {
        server.login("long@user.com", wrong).await.expect_status(400);
    }
    let hashes = server.database.column::<String>("select hashed_password from \"user\"").await;
    assert!(hashes[0].starts_with("$bcrypt-sha256$v=2,t=2b,r=4$"), "{hashes:?}");

    // bcrypt reads only the first 72 bytes, but the hash of a shorter password does not match a longer one.
    server.register("cut@user.com", &long[..71]).await.expect_status(201);
    server.login("cut@user.com", &long[..71]).await.expect_status(200);
    server.login("cut@user.com", &long[..72]).await.expect_status(400);
    server.login("cut@user.com", &long).await.expect_status(400);
}

#[tokio::test]
async fn characters_after_a_nul_in_a_password_count() {
    let server = Server::start().await;
    server.register("plain@user.com", "abcdefgh").await.expect_status(201);
    server.login("plain@user.com", "abcdefgh\0").await.expect_status(400);
    server.login("plain@user.com", "abcdefgh\0abcdefgh").await.expect_status(400);
    server.register("nul@user.com", "abcdefgh\0one").await.expect_status(201);
    server.login("nul@user.com", "abcdefgh\0one").await.expect_status(200);
    server.login("nul@user.com", "abcdefgh\0two").await.expect_status(400);
    server.login("nul@user.com", "abcdefgh").await.expect_status(400);
}

#[tokio::test]
async fn a_user_with_an_unreadable_hash_gets_the_answer_for_a_wrong_password() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for hash in ["", "!", "$2b$12$", "$2b$99$ü", "$bcrypt-sha256$v=2,t=2b,r=4$ü$", "ü"] {
        let sql =
            format!("update \"user\" set hashed_password = '{hash}' where id = '{}'", person.id);
        server.database.execute(&sql).await;
        server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    }
}

#[tokio::test]
async fn an_invalid_form_is_refused_with_the_texts_of_fastapi() {
    let server = Server::start().await;
    let login = || server.post("/auth/jwt/login");
    let missing = |names: &[&str]| {
        let items: Vec<_> = names
            .iter()
            .map(
                |name| json!({ "type": "missing", "loc": ["body", name], "msg": "Field required" }),
            )
            .collect();
        json!({ "detail": items })
    };
    let body = json!({ "username": "first@user.com", "password": PASSWORD });
    let both = missing(&["username", "password"]);
    assert_eq!(login().json(&body).send().await.expect_status(422).json, both);
    assert_eq!(login().send().await.expect_status(422).json, both);
    let half = login().form(&[("username", "first@user.com")]).send().await;
    assert_eq!(half.expect_status(422).json, missing(&["password"]));
    let other = [("username", "a"), ("password", "b"), ("grant_type", "foo")];
    let other = login().form(&other).send().await.expect_status(422);
    let expected = json!({ "detail": [{
        "type": "string_pattern_mismatch", "loc": ["body", "grant_type"],
        "msg": "String should match pattern '^password$'",
    }] });
    assert_eq!(other.json, expected);
    let twice =
        login().form(&[("username", "a"), ("username", "b"), ("password", "c")]).send().await;
    assert_eq!(twice.expect_status(422).json["detail"][0]["loc"], json!(["body", "username"]));
}

#[tokio::test]
async fn only_verified_users_can_sign_in_if_verification_is_required() {
    let server = Server::setup().set("REQUIRE_VERIFICATION", "true").start().await;
    let user = server.register("first@user.com", PASSWORD).await;
    server.login("first@user.com", "wrong").await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    server.login("first@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_USER_NOT_VERIFIED");
    let sql = format!("update \"user\" set is_verified = true where id = '{}'", user.text("id"));
    server.database.execute(&sql).await;
    server.login("first@user.com", PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_session_records_the_ip_address_and_the_user_agent() {
    let server = Server::start().await;
    server.person("first").await;
    let request = server.post("/auth/jwt/login").header("user-agent", "Tester/1.0");
    let form = [("username", "first@user.com"), ("password", PASSWORD)];
    request.form(&form).send().await.expect_status(200);
    let agents = server.database.column::<Option<String>>("select user_agent from session").await;
    assert!(agents.contains(&Some("Tester/1.0".to_owned())));
    let addresses = server.database.column::<Option<String>>("select ip from session").await;
    assert!(addresses.iter().all(|ip| ip.as_deref() == Some("127.0.0.1")), "{addresses:?}");
}

/// The server knows the password only during a sign-in.
#[tokio::test]
async fn a_sign_in_replaces_a_hash_whose_cost_is_too_low() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let hash = async |server: &Server| {
        let sql = "select hashed_password from \"user\"";
        server.database.column::<String>(sql).await.remove(0)
    };
    assert!(hash(&server).await.starts_with("$2b$04$"));
    let server = Server::setup().set("BCRYPT_COST", 5).on(server.kill()).start().await;
    server.login("first@user.com", "wrong").await.expect_status(400);
    assert!(hash(&server).await.starts_with("$2b$04$"), "a wrong password changed the hash");
    let (access, _) = server.sign_in("first@user.com", PASSWORD).await;
    let upgraded = hash(&server).await;
    assert!(upgraded.starts_with("$2b$05$"), "{upgraded}");
    // This signs nobody out and happens only once.
    server.me(&access).await.expect_status(200);
    server.me(&person.access).await.expect_status(200);
    server.refresh(&person.refresh).await.expect_status(200);
    server.sign_in("first@user.com", PASSWORD).await;
    assert_eq!(hash(&server).await, upgraded);
    // A hash with a higher cost than new hashes stays.
    let server = Server::setup().on(server.kill()).start().await;
    server.sign_in("first@user.com", PASSWORD).await;
    assert_eq!(hash(&server).await, upgraded);
}
