//! Keys that sign tokens: keys in the database, their rotation, and the secrets of single audiences.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{
    Answer, Forgery, PASSWORD, Person, SECRET, Server, TestDatabase, awaited, claims_of, command,
    eventually, header_of, kid_of, refresh_key,
};

const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

pub(crate) async fn with(algorithm: &str) -> Server {
    Server::setup().set("JWT_ALGORITHM", algorithm).start().await
}

pub(crate) async fn again(algorithm: &str, database: TestDatabase) -> Server {
    Server::setup().set("JWT_ALGORITHM", algorithm).on(database).start().await
}

impl Server {
    pub(crate) async fn jwks(&self) -> Vec<Value> {
        let answer = self.get("/.well-known/jwks.json").send().await.expect_status(200);
        answer.json["keys"].as_array().unwrap().clone()
    }

    pub(crate) async fn rotate(&self, root: &Person, body: Value) -> Answer {
        self.post("/admin/keys").bearer(&root.access).json(&body).send().await
    }

    pub(crate) async fn retire(&self, root: &str, kid: &str) -> Answer {
        self.request("DELETE", &format!("/admin/keys/{kid}")).bearer(root).send().await
    }

    pub(crate) async fn states(&self, root: &str) -> Vec<(String, String)> {
        let keys = self.get("/admin/keys").bearer(root).send().await.expect_status(200);
        let items = keys.json["items"].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        items.iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
    }
}

#[tokio::test]
async fn access_tokens_are_signed_with_published_keys_of_each_algorithm() {
    for algorithm in ALGORITHMS {
        let server = with(algorithm).await;
        let person = server.person("first").await;
        let header = header_of(&person.access);
        let keys = server.jwks().await;
        assert_eq!(keys.len(), 1);
        assert_eq!((&header["alg"], &header["kid"]), (&json!(algorithm), &keys[0]["kid"]));
        assert_eq!((&keys[0]["alg"], &keys[0]["use"]), (&json!(algorithm), &json!("sig")));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(keys[0].get(private).is_none(), "{algorithm} publishes {private}");
        }
        server.me(&person.access).await.expect_status(200);
        // Only Tessera verifies refresh tokens. A retry gets the same token.
        assert_eq!(header_of(&person.refresh)["alg"], "HS256");
        let once = server.refresh(&person.refresh).await.expect_status(200);
        let twice = server.refresh(&person.refresh).await.expect_status(200);
        assert_eq!(once.text("refresh_token"), twice.text("refresh_token"));
        server.me(&once.text("access_token")).await.expect_status(200);
        // A restart finds the key, and another replica has the same.
        let server = again(algorithm, server.kill()).await;
        server.me(&person.access).await.expect_status(200);
        assert_eq!(server.jwks().await, keys);
        server.logout(&once.text("access_token")).await.expect_status(204);
        server.me(&person.access).await.expect_reason("token_revoked");
    }
}

/// RFC 8725, sections 2.1 and 3.1.
#[tokio::test]
async fn public_keys_and_the_secret_cannot_be_used_to_make_access_tokens() {
    for algorithm in ALGORITHMS {
        let server = with(algorithm).await;
        let person = server.person("first").await;
        let jwk = server.jwks().await.remove(0);
        let public = jwk["n"].as_str().or(jwk["x"].as_str()).unwrap();
        let raw = URL_SAFE_NO_PAD.decode(public).unwrap();
        for secret in [raw.as_slice(), public.as_bytes(), jwk.to_string().as_bytes()] {
            // The public key as an HMAC secret, with the `kid` of the key.
            let forged = Forgery::of(&person.access).with_header("alg", "HS256").secret(secret);
            server.me(&forged.sign()).await.expect_reason("algorithm_mismatch");
            let named = Forgery::of(&person.access).secret(secret);
            server.me(&named.sign()).await.expect_reason("signature_invalid");
        }
        // `APP_SECRET`, which services that verified HS256 still have; and the key that is derived from it for
        // refresh tokens.
        let derived = refresh_key(SECRET);
        let of_refresh = header_of(&person.refresh);
        assert_eq!(of_refresh["kid"], json!(kid_of(&derived)));
        let forged = Forgery::of(&person.access).with_header("alg", "HS256");
        let with = |kid: &[u8], key: &[u8]| {
            forged.clone().with_header("kid", kid_of(kid)).secret(key).sign()
        };
        server.me(&with(SECRET.as_bytes(), SECRET.as_bytes())).await.expect_reason("key_unknown");
        server.me(&with(&derived, &derived)).await.expect_reason("key_unknown");
        let named = forged.clone().header(&of_refresh);
        let raw = named.clone().secret(SECRET.as_bytes()).sign();
        server.me(&raw).await.expect_reason("signature_invalid");
        server.me(&named.secret(&derived).sign()).await.expect_reason("type_mismatch");
        for alg in ["none", "None", "HS256", "RS256", "ES256", "EdDSA", "PS256", "ES256K"] {
            if alg != algorithm {
                let forged = Forgery::of(&person.access).with_header("alg", alg);
                server.me(&forged.sign()).await.expect_reason("algorithm_mismatch");
            }
        }
        let bare = Forgery::of(&person.access).unsigned();
        server.me(&bare).await.expect_reason("signature_invalid");
        let (signed, _) = person.access.rsplit_once('.').unwrap();
        for signature in [vec![0; 64], vec![0; 256], vec![255; 64], vec![0x30; 70]] {
            let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
            server.me(&forged).await.expect_reason("signature_invalid");
        }
    }
}

#[tokio::test]
async fn secrets_are_never_published_and_published_keys_can_be_cached() {
    let server = Server::start().await;
    assert!(server.jwks().await.is_empty());
    let server = with("EdDSA").await;
    let answer = server.get("/.well-known/jwks.json").send().await;
    let tag = answer.header("etag");
    let again = server.get("/.well-known/jwks.json").header("If-None-Match", &tag).send().await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", tag));
    let other = server.get("/.well-known/jwks.json").header("If-None-Match", "\"x\"").send().await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn replicas_that_start_at_once_make_only_one_key() {
    let database = TestDatabase::create(crate::support::Kind::from_environment()).await;
    let starts: Vec<_> = (0..3).map(|_| tokio::spawn(again("ES256", database.clone()))).collect();
    let mut servers = Vec::new();
    for start in starts {
        servers.push(start.await.unwrap());
    }
    assert_eq!(database.count("signing_key").await, 1);
    let person = servers[0].person("first").await;
    for server in &servers {
        server.me(&person.access).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_still_verifies() {
    let one = with("EdDSA").await;
    let two = again("EdDSA", one.database.clone()).await;
    let root = one.superuser("root").await;
    let first = one.jwks().await.remove(0)["kid"].as_str().unwrap().to_owned();
    let pending = one.rotate(&root, json!({})).await.expect_status(201);
    assert_eq!(pending.text("state"), "pending");
    let wait = pending.json["active"].as_u64().unwrap() - pending.json["created"].as_u64().unwrap();
    assert_eq!(wait, 600);
    assert_eq!(one.jwks().await.len(), 2);
    let (access, _) = one.sign_in("root@user.com", PASSWORD).await;
    assert_eq!(header_of(&access)["kid"], json!(first));
    one.retire(&root.access, &first).await.expect_refusal(409, "KEY_IN_USE");

    let active = one.rotate(&root, json!({ "now": true })).await.expect_status(201);
    assert_eq!(active.text("state"), "active");
    let (access, _) = one.sign_in("root@user.com", PASSWORD).await;
    assert_eq!(header_of(&access)["kid"], active.json["kid"]);
    two.wait_until_caught_up().await;
    for server in [&one, &two] {
        // Tokens that the first key signed are valid until they expire.
        server.me(&root.access).await.expect_status(200);
        server.me(&access).await.expect_status(200);
        assert_eq!(server.jwks().await.len(), 3);
    }
    let states = one.states(&access).await;
    let state = |kid: &str| states.iter().find(|(known, _)| known == kid).unwrap().1.clone();
    assert_eq!(state(&first), "verifying");
    assert_eq!(state(&pending.text("kid")), "pending");
    assert_eq!(state(&active.text("kid")), "active");

    one.retire(&access, &first).await.expect_status(204);
    one.me(&root.access).await.expect_reason("key_unknown");
    two.wait_until_caught_up().await;
    two.me(&root.access).await.expect_reason("key_unknown");
    two.me(&access).await.expect_status(200);
    assert_eq!(two.jwks().await.len(), 2);
    one.retire(&access, &first).await.expect_status(404);
    one.retire(&access, "nothing").await.expect_status(404);
    let private = "select length(sealed) from signing_key where retired_at is not null";
    let lengths = match one.database.kind() {
        crate::support::Kind::Sqlite => one.database.column::<i64>(private).await,
        crate::support::Kind::Postgres => {
            let lengths = one.database.column::<i32>(private).await;
            lengths.into_iter().map(i64::from).collect()
        }
    };
    assert_eq!(lengths, [0]);
    // None of these keys signed the refresh token.
    one.refresh(&root.refresh).await.expect_status(200);
}

#[tokio::test]
async fn a_key_that_was_replaced_long_ago_is_past() {
    let server = with("ES256").await;
    let root = server.superuser("root").await;
    server.rotate(&root, json!({ "now": true })).await.expect_status(201);
    let back = "update signing_key set active_at = active_at - 2000000, \
                created_at = created_at - 2000000";
    server.database.execute(back).await;
    let server = again("ES256", server.kill()).await;
    let (access, _) = server.sign_in("root@user.com", PASSWORD).await;
    let states: Vec<_> = server.states(&access).await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["past", "active"]);
    assert_eq!(server.jwks().await.len(), 1);
}

#[tokio::test]
async fn private_keys_are_encrypted_with_app_secret() {
    let server = with("EdDSA").await;
    let person = server.person("first").await;
    let kid = server.jwks().await.remove(0)["kid"].clone();
    let sealed = server.database.column::<String>("select sealed from signing_key").await;
    let bytes = STANDARD.decode(&sealed[0]).unwrap();
    // An Ed25519 key in PKCS #8 begins with the name of its algorithm, and the lengths of what follows.
    let head = [0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    assert!(!bytes.windows(head.len()).any(|window| window == head));

    // With another secret, every token ends, and the server makes a new key.
    let other = "another secret of more than thirty-two bytes";
    let database = server.kill();
    let start = |secret: &str, previous: &str| {
        let setup = Server::setup().set("JWT_ALGORITHM", "EdDSA").set("APP_SECRET", secret);
        setup.set("APP_SECRET_PREVIOUS", previous).on(database.clone()).start()
    };
    let server = start(other, "").await;
    server.me(&person.access).await.expect_reason("key_unknown");
    server.refresh(&person.refresh).await.expect_status(401);
    assert_ne!(server.jwks().await.remove(0)["kid"], kid);
    server.log.wait_for("encrypted with another APP_SECRET").await;
    server.kill();
    // With the old secret as the previous one, all tokens are valid.
    database.execute("delete from signing_key where active_at > 0 and sealed <> ''").await;
    let row = format!(
        "insert into signing_key (kid, algorithm, sealed, created_at, active_at) \
         values ('{}', 'EdDSA', '{}', 0, 0)",
        kid.as_str().unwrap(),
        sealed[0]
    );
    database.execute(&row).await;
    let server = start(other, SECRET).await;
    server.me(&person.access).await.expect_status(200);
    assert_eq!(server.jwks().await.remove(0)["kid"], kid);
    // A replica that was not restarted has only the old secret, and still works.
    let late = start(SECRET, "").await;
    late.me(&person.access).await.expect_status(200);
    late.kill();
    let mut reseal = command(server.folder());
    reseal.args(["keys", "reseal"]).env("DATABASE_URL", database.url());
    reseal.env("APP_SECRET", other).env("APP_SECRET_PREVIOUS", SECRET);
    for expected in ["resealed: 1\n", "resealed: 0\n"] {
        assert_eq!(String::from_utf8(reseal.output().unwrap().stdout).unwrap(), expected);
    }
    server.kill();
    let server = start(other, "").await;
    server.me(&person.access).await.expect_status(200);
    assert_eq!(server.jwks().await.remove(0)["kid"], kid);
}

/// A terminal can have other settings than the servers.
#[tokio::test(flavor = "multi_thread")]
async fn listing_keys_makes_none_and_the_key_that_signs_cannot_be_retired() {
    let server = with("ES256").await;
    let person = server.person("first").await;
    let kid = header_of(&person.access)["kid"].as_str().unwrap().to_owned();
    let tessera = |secret: &str, algorithm: &str, arguments: &[&str]| {
        let mut tessera = command(server.folder());
        tessera.args(arguments).env("DATABASE_URL", server.database.url());
        let output = tessera.env("APP_SECRET", secret).env("JWT_ALGORITHM", algorithm).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    // The list says what the server signs with, whatever the terminal has.
    for algorithm in ["HS256", "RS256", "ES256"] {
        let listed = awaited("the server has reported its algorithm", async || {
            let (_, listed) = tessera(SECRET, algorithm, &["keys", "list"]);
            Some(listed).filter(|listed| listed.contains("the servers sign with ES256"))
        });
        let listed = listed.await;
        assert!(listed.contains(" active "), "{algorithm}: {listed}");
        assert!(!listed.contains("ERROR") && !listed.contains("no key can sign"), "{listed}");
    }
    let wrong = SECRET.replace('0', "f");
    let (_, listed) = tessera(&wrong, "ES256", &["keys", "list"]);
    assert!(listed.contains("unreadable"), "{listed}");
    tessera(SECRET, "RS256", &["token", "explain", &person.access]);
    tessera(SECRET, "EdDSA", &["keys", "list"]);
    assert_eq!(server.database.count("signing_key").await, 1);
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        let (well, said) = tessera(SECRET, algorithm, &["keys", "retire", &kid]);
        assert!(!well && said.contains("This key signs"), "{algorithm}: {said}");
    }
    // With the settings of the server, `--force` is refused too.
    let (well, said) = tessera(SECRET, "ES256", &["keys", "retire", &kid, "--force"]);
    assert!(!well && said.contains("This key signs"), "{said}");
    server.sign_in(&person.email, PASSWORD).await;
    let (well, said) = tessera(SECRET, "HS256", &["keys", "retire", &kid, "--force"]);
    assert!(well, "{said}");
    // Now no key signs, and the server is not ready.
    let ready = awaited("a server that cannot sign is not ready", async || {
        let ready = server.get("/health/ready").send().await;
        Some(ready).filter(|ready| ready.status == 503)
    });
    assert_eq!(ready.await.json["keys"], "unavailable");
}

#[tokio::test]
async fn jwt_audiences_may_not_contain_jwt_audience() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--dev"]).env("JWT_AUDIENCES", "a,tessera");
    let output = serve.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("JWT_AUDIENCES contains JWT_AUDIENCE"), "{said}");
}

/// Tokens that are made with the secret of an audience work for that audience alone.
#[tokio::test]
async fn tokens_made_with_the_secret_of_one_audience_do_not_affect_others() {
    let server = Server::setup().set("JWT_AUDIENCES", "billing").start().await;
    let root = server.superuser("root").await;
    let billing = server.service(&root, "billing", &["tokens:introspect"]).await;
    let reports = server.service(&root, "reports", &["tokens:introspect"]).await;
    let victim = server.person("first").await;
    let mut derive = command(server.folder());
    derive.args(["keys", "derive", "--audience", "billing"]).env("APP_SECRET", SECRET);
    let secret = String::from_utf8(derive.output().unwrap().stdout).unwrap().trim().to_owned();
    let form = [("username", "first@user.com"), ("password", PASSWORD), ("audience", "billing")];
    let given = server.post("/auth/jwt/login").form(&form).send().await.text("access_token");
    let own = Forgery::of(&given).secret(secret.as_bytes());

    let sid: uuid::Uuid = claims_of(&victim.access)["sid"].as_str().unwrap().parse().unwrap();
    let of_refresh = uuid::Uuid::new_v5(&sid, b"0").to_string();
    let now = claims_of(&given)["iat"].as_u64().unwrap();
    let ours = own.clone().with("sid", sid.to_string());
    let attacks = [
        ours.clone().with("jti", of_refresh.as_str()),
        ours.clone().with("jti", claims_of(&victim.refresh)["jti"].clone()),
        own.clone().with("exp", u64::MAX),
        own.clone().with("exp", u64::MAX).with("iat", u64::MAX - 900).with("nbf", u64::MAX - 900),
        own.clone().with("exp", 9_000_000_000_000_u64),
        own.clone().with("iat", now + 90_000).with("exp", now + 90_900),
        own.clone().with("sid", uuid::Uuid::from_u128(7).to_string()),
        own.clone().with("sub", root.id.as_str()),
        ours.with("type", "refresh").with("gen", 0),
    ];
    let before = server.database.count("revocation").await;
    for attack in &attacks {
        let form = [("token", attack.sign())];
        let form = form.each_ref().map(|(name, token)| (*name, token.as_str()));
        server.post("/auth/revoke").form(&form).send().await.expect_status(200);
    }
    assert_eq!(server.database.count("revocation").await, before);
    server.refresh(&victim.refresh).await.expect_status(200);

    let ask = async |bearer: &str, token: &str| {
        let ask = server.post("/auth/introspect").bearer(bearer).form(&[("token", token)]);
        ask.send().await.expect_status(200)
    };
    // Introspection rejects tokens that Tessera did not issue, and returns only scopes that the user has.
    for attack in &attacks[6..] {
        assert_eq!(ask(&root.access, &attack.sign()).await.body, r#"{"active":false}"#);
    }
    let strong = own.with("scope", "authenticated super tokens:introspect").sign();
    assert_eq!(ask(&billing, &strong).await.json["scope"], "authenticated");
    // Only billing can introspect a token for billing.
    assert_eq!(ask(&billing, &given).await.json["active"], true);
    assert_eq!(ask(&reports, &given).await.body, r#"{"active":false}"#);
    assert_eq!(
        ask(&reports, &server.sign_in(&victim.email, PASSWORD).await.0).await.json["active"],
        true
    );
}

/// After the switch, a service that verified with the secret can no longer make tokens. No user is signed out.
#[tokio::test]
async fn a_switch_from_hs256_signs_nobody_out() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let server = again("RS256", server.kill()).await;
    server.me(&person.access).await.expect_reason("key_unknown");
    let refreshed = server.refresh(&person.refresh).await.expect_status(200);
    let access = refreshed.text("access_token");
    assert_eq!(header_of(&access)["alg"], "RS256");
    server.me(&access).await.expect_status(200);
    // After the switch back, tokens that the key in the database signed are still accepted.
    let server = again("HS256", server.kill()).await;
    server.me(&access).await.expect_status(200);
    let (hs256, _) = server.sign_in(&person.email, PASSWORD).await;
    assert_eq!(header_of(&hs256)["alg"], "HS256");
}

#[tokio::test]
async fn a_token_for_another_audience_is_signed_with_the_secret_of_that_audience() {
    let server = Server::setup().set("JWT_AUDIENCES", "billing,reports").start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let form = [("username", "first@user.com"), ("password", PASSWORD), ("audience", "billing")];
    let login = server.post("/auth/jwt/login").form(&form).send().await.expect_status(200);
    let access = login.text("access_token");
    assert_eq!(claims_of(&access)["aud"], "billing");
    assert_ne!(header_of(&access)["kid"], header_of(&person.access)["kid"]);
    // The token is for billing, not for Tessera.
    server.me(&access).await.expect_reason("audience_mismatch");
    server.logout(&access).await.expect_reason("audience_mismatch");
    let body = json!({ "refresh_token": login.text("refresh_token"), "audience": "reports" });
    let refreshed = server.post("/auth/jwt/refresh").json(&body).send().await.expect_status(200);
    assert_eq!(claims_of(&refreshed.text("access_token"))["aud"], "reports");
    let body = json!({ "refresh_token": refreshed.text("refresh_token") });
    let refreshed = server.post("/auth/jwt/refresh").json(&body).send().await.expect_status(200);
    server.me(&refreshed.text("access_token")).await.expect_status(200);

    let derive = |audience: &str| {
        let mut derive = command(server.folder());
        derive.args(["keys", "derive", "--audience", audience]);
        derive.env("APP_SECRET", SECRET).env("JWT_AUDIENCES", "billing,reports");
        let output = derive.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (billing, reports) = (derive("billing"), derive("reports"));
    assert_ne!(billing, reports);
    // Tokens that billing makes work for billing alone.
    let own = Forgery::of(&access).secret(billing.as_bytes());
    for audience in ["tessera", "reports"] {
        let forged = own.clone().with("aud", audience);
        server.me(&forged.sign()).await.expect_reason("audience_mismatch");
        let as_refresh = forged.with("type", "refresh").with("gen", 0).sign();
        server.refresh(&as_refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    }
    let renamed = own.clone().header(header_of(&person.access));
    server.me(&renamed.sign()).await.expect_reason("signature_invalid");
    // Billing cannot end a session with a refresh token that it made.
    let sid = claims_of(&person.access)["sid"].clone();
    let refresh = own.clone().with("type", "refresh").with("gen", 0).with("sid", sid);
    server
        .post("/auth/revoke")
        .form(&[("token", &*refresh.sign())])
        .send()
        .await
        .expect_status(200);
    server.me(&person.access).await.expect_status(200);

    // Introspection and revocation work for this token as for any other.
    let ask = async |token: &str| {
        let ask = server.post("/auth/introspect").bearer(&root.access).form(&[("token", token)]);
        ask.send().await.expect_status(200).json
    };
    assert_eq!(ask(&access).await["aud"], "billing");
    assert_eq!(ask(&own.sign()).await["active"], true, "the derived secret is the one that signs");
    server.post("/auth/revoke").form(&[("token", &*access)]).send().await.expect_status(200);
    assert_eq!(ask(&access).await, json!({ "active": false }));

    let form = [("username", "first@user.com"), ("password", PASSWORD), ("audience", "nobody")];
    server.post("/auth/jwt/login").form(&form).send().await.expect_status(422);
    let body = json!({ "refresh_token": refreshed.text("refresh_token"), "audience": "nobody" });
    server.post("/auth/jwt/refresh").json(&body).send().await.expect_status(422);
    server.refresh(&refreshed.text("refresh_token")).await.expect_status(200);
}

#[tokio::test]
async fn invalid_rotations_are_refused() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for body in [
        json!({}),
        json!({ "algorithm": "HS256" }),
        json!({ "algorithm": "none" }),
        json!({ "algorithm": "PS256" }),
        json!({ "algorithm": 5 }),
        json!({ "algorithm": "ES256", "now": "yes" }),
    ] {
        server.rotate(&root, body).await.expect_status(422);
    }
    // A key can be made and published before the settings name its algorithm.
    server.rotate(&root, json!({ "algorithm": "ES256" })).await.expect_status(201);
    assert_eq!(server.jwks().await.len(), 1);
    let (access, _) = server.sign_in("root@user.com", PASSWORD).await;
    assert_eq!(header_of(&access)["alg"], "HS256");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_keys_at_the_terminal() {
    let server = with("ES256").await;
    let person = server.person("first").await;
    let keys = |arguments: &[&str]| {
        let mut keys = command(server.folder());
        keys.arg("keys").args(arguments).env("DATABASE_URL", server.database.url());
        keys.env("APP_SECRET", SECRET).env("JWT_ALGORITHM", "ES256");
        keys.env("PUBLIC_URL", "https://id.example.com");
        let output = keys.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &said)
    };
    let old = header_of(&person.access)["kid"].as_str().unwrap().to_owned();
    let (well, listed) = keys(&["list"]);
    assert!(well && listed.contains(&old) && listed.contains("active"), "{listed}");
    let (well, made) = keys(&["rotate", "--now", "--output", "json"]);
    assert!(well, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["replicas"].as_object().unwrap().values().next(), Some(&json!(true)));
    eventually("the server signs with the new key", async || {
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        header_of(&access)["kid"] == made["kid"]
    })
    .await;
    let (well, refused) = keys(&["retire", made["kid"].as_str().unwrap()]);
    assert!(!well && refused.contains("First create another key that signs at once"), "{refused}");
    assert!(keys(&["retire", &old]).0);
    server.wait_until_caught_up().await;
    server.me(&person.access).await.expect_reason("key_unknown");
}
