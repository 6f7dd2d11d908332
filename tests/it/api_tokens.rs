//! API tokens: what they permit, who can make and delete them, and what is stored of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Kind, Person, SECRET, Server, awaited};

impl Server {
    /// Requests an API token with an access token or another API token.
    pub(crate) async fn make_api_token(&self, bearer: &str, wanted: &Value) -> Answer {
        self.post("/auth/tokens").bearer(bearer).json(wanted).send().await
    }

    /// Makes an API token and returns its secret.
    pub(crate) async fn api_token(&self, bearer: &str, wanted: &Value) -> String {
        self.make_api_token(bearer, wanted).await.expect_status(201).text("token")
    }

    /// Makes a superuser.
    pub(crate) async fn superuser(&self, name: &str) -> Person {
        let person = self.person(name).await;
        let promote = format!("update \"user\" set is_superuser = true where id = '{}'", person.id);
        assert_eq!(self.database.execute(&promote).await, 1);
        // Waits until the server no longer uses what it knew of the user before.
        self.advance(Duration::from_millis(900)).await;
        person
    }

    /// Makes a service with these scopes, and returns the secret of an API token of the service.
    pub(crate) async fn service(&self, root: &Person, name: &str, scopes: &[&str]) -> String {
        let service = json!({ "name": name, "scopes": scopes });
        let made = self.post("/admin/services").bearer(&root.access).json(&service).send().await;
        made.expect_status(201);
        self.api_token(&root.access, &json!({ "username": name })).await
    }
}

#[tokio::test]
async fn an_api_token_works_in_each_of_three_headers() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let made = server.make_api_token(&person.access, &json!({ "name": "ci" })).await;
    let made = made.expect_status(201);
    let secret = made.text("token");
    assert!(secret.starts_with("tsr_") && secret.len() == 53, "{secret}");
    assert_eq!(made.text("username"), "first@user.com");
    assert!(secret.starts_with(&made.text("prefix")) && made.text("prefix").len() == 8);
    assert_eq!(made.json["scopes"], json!(["authenticated"]));
    assert!(made.json["expires"].is_null());
    let bearer = server.me(&secret).await.expect_status(200);
    assert_eq!(bearer.text("id"), person.id);
    for header in ["Token", "X-API-Key", "x-api-key"] {
        let answer = server.get("/users/me").header(header, &secret).send().await;
        assert_eq!(answer.expect_status(200).text("id"), person.id);
    }
    let lower = format!("bearer {secret}");
    server.get("/users/me").header("Authorization", &lower).send().await.expect_status(200);
}

#[tokio::test]
async fn api_tokens_are_listed_newest_first_without_their_secrets() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.person("second").await;
    server.api_token(&other.access, &json!({})).await;
    let mut secrets = Vec::new();
    for name in ["one", "two", "three"] {
        secrets.push(server.api_token(&person.access, &json!({ "name": name })).await);
        server.move_clock(Duration::from_millis(5));
    }
    let page = |path: String| {
        let request = server.get(&path).bearer(&person.access);
        async move { request.send().await.expect_status(200) }
    };
    let first = page("/auth/tokens?limit=2".to_owned()).await;
    let second = page(format!("/auth/tokens?limit=2&after={}", first.text("next"))).await;
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.json["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["three".into(), "two".into()], vec!["one".into()])
    );
    assert!(second.json["next"].is_null());
    for secret in &secrets {
        assert!(!first.body.contains(&secret[8..]) && !second.body.contains(&secret[8..]));
    }
    let item = &second.json["items"][0];
    assert_eq!(item["username"], "first@user.com");
    assert!(item["age"].as_u64().unwrap() < 60);
    let other = server.get("/auth/tokens").bearer(&other.access).send().await;
    assert_eq!(other.json["items"].as_array().unwrap().len(), 1);
    let stranger = format!("/auth/tokens?after={}", other.json["items"][0]["id"].as_str().unwrap());
    server.get(&stranger).bearer(&person.access).send().await.expect_status(422);
}

#[tokio::test]
async fn a_deleted_api_token_is_refused_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let delete = |path: String, body: Value| {
        let request = server.request("DELETE", &path).bearer(&person.access);
        async move { request.json(&body).send().await }
    };
    let made = server.make_api_token(&person.access, &json!({})).await;
    server.me(&made.text("token")).await.expect_status(200);
    let by_id = delete(format!("/auth/tokens/{}", made.text("id")), json!({})).await;
    assert_eq!(by_id.expect_status(200).json, json!({ "removed": 1 }));
    server.me(&made.text("token")).await.expect_reason("api_token_unknown");

    let secret = server.api_token(&person.access, &json!({})).await;
    server.me(&secret).await.expect_status(200);
    let by_secret = delete("/auth/tokens".into(), json!({ "token": secret })).await;
    assert_eq!(by_secret.expect_status(200).json, json!({ "removed": 1 }));
    server.me(&secret).await.expect_reason("api_token_unknown");

    let secrets = [
        server.api_token(&person.access, &json!({})).await,
        server.api_token(&person.access, &json!({})).await,
    ];
    let all = delete("/auth/tokens?username=FIRST@user.com".into(), json!({})).await;
    assert_eq!(all.expect_status(200).json, json!({ "removed": 2 }));
    for secret in &secrets {
        server.me(secret).await.expect_reason("api_token_unknown");
    }
    let refusal = "Cannot delete, either username or token must be provided";
    let nothing = server.request("DELETE", "/auth/tokens").bearer(&person.access).send().await;
    nothing.expect_refusal(400, refusal);
    let both = json!({ "token": secrets[0], "username": "first@user.com" });
    delete("/auth/tokens".into(), both).await.expect_refusal(400, refusal);
    let none = delete("/auth/tokens/nothing".into(), json!({})).await;
    assert_eq!(none.expect_status(200).json, json!({ "removed": 0 }));
}

#[tokio::test]
async fn users_cannot_list_make_or_delete_api_tokens_of_others() {
    let server = Server::start().await;
    let victim = server.person("first").await;
    let other = server.person("second").await;
    let made = server.make_api_token(&victim.access, &json!({})).await;
    let secret = made.text("token");
    let list = "/auth/tokens?username=first@user.com";
    server.get(list).bearer(&other.access).send().await.expect_refusal(403, "Forbidden");
    let nobody = "/auth/tokens?username=nobody@user.com";
    server.get(nobody).bearer(&other.access).send().await.expect_refusal(403, "Forbidden");
    server.get("/auth/tokens?all=true").bearer(&other.access).send().await.expect_status(403);
    let theirs = json!({ "username": "first@user.com" });
    server.make_api_token(&other.access, &theirs).await.expect_refusal(403, "Forbidden");
    // The body cannot set the owner.
    let assigned = json!({ "user_id": victim.id, "id": made.text("id"), "owner": victim.id });
    let own = server.make_api_token(&other.access, &assigned).await.expect_status(201);
    assert_eq!(own.text("username"), "second@user.com");
    assert_ne!(own.text("id"), made.text("id"));

    server.request("DELETE", list).bearer(&other.access).send().await.expect_status(403);
    let by_id = format!("/auth/tokens/{}", made.text("id"));
    let by_id = server.request("DELETE", &by_id).bearer(&other.access).send().await;
    assert_eq!(by_id.expect_status(200).json["removed"], 0);
    let by_secret = server.request("DELETE", "/auth/tokens").bearer(&other.access);
    let by_secret = by_secret.json(&json!({ "token": secret })).send().await;
    assert_eq!(by_secret.expect_status(200).json["removed"], 0);
    server.me(&secret).await.expect_status(200);
}

#[tokio::test]
async fn a_superuser_can_make_list_and_delete_api_tokens_of_others() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let wanted = json!({ "username": "first@user.com", "name": "made for you" });
    let secret = server.api_token(&root.access, &wanted).await;
    assert_eq!(server.me(&secret).await.text("id"), person.id);
    let everybody = server.get("/auth/tokens?all=true").bearer(&root.access).send().await;
    assert_eq!(everybody.json["items"][0]["username"], "first@user.com");
    let theirs = "/auth/tokens?username=first@user.com";
    let listed = server.get(theirs).bearer(&root.access).send().await;
    assert_eq!(listed.json["items"].as_array().unwrap().len(), 1);
    let unknown = server.make_api_token(&root.access, &json!({ "username": "no@user.com" })).await;
    unknown.expect_refusal(400, "API_TOKEN_USER_UNKNOWN");
    let removed = server.request("DELETE", theirs).bearer(&root.access).send().await;
    assert_eq!(removed.json["removed"], 1);
    server.me(&secret).await.expect_status(401);
}

#[tokio::test]
async fn an_api_token_never_has_more_permissions_than_its_owner_has_now() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for scope in ["super", "tokens:check", "admin", "anything"] {
        let wanted = json!({ "scopes": [scope] });
        let refused = server.make_api_token(&person.access, &wanted).await;
        let refused = refused.expect_refusal(400, "API_TOKEN_INVALID_SCOPES");
        assert!(refused.json["detail"]["reason"].as_str().unwrap().contains(scope));
    }
    let root = server.superuser("root").await;
    let scopes = json!({ "scopes": ["authenticated", "super"] });
    let strong = server.api_token(&root.access, &scopes).await;
    let weak = server.api_token(&root.access, &json!({})).await;
    let admin = |secret: String| {
        let request = server.get("/admin/revocations").bearer(&secret);
        async move { request.send().await }
    };
    admin(strong.clone()).await.expect_status(200);
    let refused = admin(weak.clone()).await.expect_refusal(403, "INSUFFICIENT_SCOPE");
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"super\"");
    server.database.execute("update \"user\" set is_superuser = false").await;
    server.advance(Duration::from_millis(1000)).await;
    admin(strong.clone()).await.expect_refusal(403, "Forbidden");
    server.me(&strong).await.expect_status(200);
    server.database.execute("update \"user\" set is_active = false").await;
    server.advance(Duration::from_millis(1000)).await;
    server.me(&strong).await.expect_status(401);
    server.me(&weak).await.expect_status(401);
}

#[tokio::test]
async fn an_api_token_cannot_be_used_beyond_its_scopes() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let secret = server.api_token(&root.access, &json!({ "scopes": ["tokens:check"] })).await;
    for (method, path) in [
        ("GET", "/users/me"),
        ("PATCH", "/users/me"),
        ("GET", "/auth/sessions"),
        ("DELETE", "/auth/sessions"),
        ("GET", "/auth/tokens"),
        ("DELETE", "/auth/tokens?username=root@user.com"),
        ("GET", "/admin/revocations"),
        ("POST", "/auth/introspect"),
    ] {
        let request = server.request(method, path).bearer(&secret);
        let request = match (method, path) {
            ("PATCH", _) => request.json(&json!({})),
            ("POST", _) => request.form(&[("token", "x")]),
            _ => request,
        };
        request.send().await.expect_refusal(403, "INSUFFICIENT_SCOPE");
    }
    let check = server.post("/auth/tokens/check").bearer(&secret);
    let checked = check.json(&json!({ "token": secret })).send().await.expect_status(200);
    assert_eq!(checked.json["valid"], true);
    assert_eq!(checked.json["scopes"], json!(["tokens:check"]));
}

/// A thief who copied a token must not be able to make API tokens that outlive it.
#[tokio::test]
async fn neither_an_api_token_nor_a_refreshed_token_can_make_api_tokens() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    let more = server.make_api_token(&secret, &json!({})).await;
    more.expect_refusal(403, "INSUFFICIENT_SCOPE");
    let refreshed = server.refresh(&person.refresh).await.expect_status(200);
    let more = server.make_api_token(&refreshed.text("access_token"), &json!({})).await;
    more.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let root = server.superuser("root").await;
    let strong = server.api_token(&root.access, &json!({ "scopes": ["super"] })).await;
    let wanted = json!({ "username": "first@user.com" });
    server.make_api_token(&strong, &wanted).await.expect_status(201);
}

#[tokio::test]
async fn operations_on_sessions_and_passwords_accept_no_api_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    let change = server.change_me(&secret, &json!({ "password": "another password" })).await;
    change.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.change_me(&secret, &json!({})).await.expect_status(200);
    let body = json!({ "password": crate::support::PASSWORD });
    let fresh = server.post("/auth/jwt/fresh").bearer(&secret).json(&body).send().await;
    fresh.expect_reason("type_mismatch");
    server.logout(&secret).await.expect_reason("type_mismatch");
    let everywhere = server.post("/auth/jwt/logout-all").bearer(&secret).send().await;
    everywhere.expect_reason("type_mismatch");
    server.refresh(&secret).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    for header in ["Token", "X-API-Key"] {
        let jwt = server.get("/users/me").header(header, &person.access).send().await;
        jwt.expect_reason("api_token_malformed");
    }
    let sessions = server.get("/auth/sessions").bearer(&secret).send().await;
    assert_eq!(sessions.json["items"][0]["current"], false);
    server.request("DELETE", "/auth/sessions").bearer(&secret).send().await.expect_status(204);
    server.me(&person.access).await.expect_status(401);
    server.me(&secret).await.expect_status(200);
}

#[tokio::test]
async fn a_secret_that_is_stored_again_keeps_its_age_and_gets_the_new_expiry() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.person("second").await;
    let wanted =
        |expire: Value| json!({ "token": "f343ff34r3fg4g5g34gf34g34g3g34g4", "expire": expire });
    let first = server.make_api_token(&person.access, &wanted(json!(60))).await.expect_status(201);
    assert_eq!(first.text("prefix"), "f343");
    server.advance(Duration::from_millis(1100)).await;
    let again = server.make_api_token(&person.access, &wanted(json!(3600))).await;
    let again = again.expect_status(201);
    assert_eq!(
        (again.text("id"), &again.json["created"]),
        (first.text("id"), &first.json["created"])
    );
    let moved = again.json["expires"].as_u64().unwrap() - first.json["expires"].as_u64().unwrap();
    assert!((3540..3560).contains(&moved), "{moved}");
    let never = server.make_api_token(&person.access, &wanted(Value::Null)).await;
    assert!(never.expect_status(201).json["expires"].is_null());
    let taken = server.make_api_token(&other.access, &wanted(json!(60))).await;
    taken.expect_refusal(409, "API_TOKEN_ALREADY_EXISTS");
    assert_eq!(server.me(&first.text("token")).await.text("id"), person.id);
    let listed = server.get("/auth/tokens").bearer(&person.access).send().await;
    assert_eq!(listed.json["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_secret_that_is_requested_in_parallel_gets_only_one_owner() {
    let server = Server::start().await;
    let people = [server.person("first").await, server.person("second").await];
    for round in 0..5 {
        let wanted = json!({ "token": format!("the-same-secret-{round}") });
        let asked = (0..16).map(|turn| {
            let request = server.post("/auth/tokens").bearer(&people[turn % 2].access);
            tokio::spawn(request.json(&wanted).send())
        });
        let mut answers = Vec::new();
        for asked in asked.collect::<Vec<_>>() {
            answers.push(asked.await.unwrap());
        }
        let owners: BTreeSet<_> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .map(|answer| (answer.text("username"), answer.text("id")))
            .collect();
        assert_eq!(owners.len(), 1, "{owners:?}");
        let refused = answers.iter().filter(|answer| answer.status != 201);
        assert_eq!(refused.inspect(|answer| assert_eq!(answer.status, 409)).count(), 8);
    }
}

#[tokio::test]
async fn an_expired_api_token_is_refused_as_expired() {
    let server = Server::setup().set("API_TOKEN_EXPIRES", 200).start().await;
    let person = server.person("first").await;
    let by_default = server.api_token(&person.access, &json!({})).await;
    let chosen = server.api_token(&person.access, &json!({ "expire": 3600 })).await;
    server.me(&by_default).await.expect_status(200);
    server.advance(Duration::from_secs(210)).await;
    server.me(&by_default).await.expect_reason("api_token_expired");
    server.me(&chosen).await.expect_status(200);
}

#[tokio::test]
async fn invalid_api_tokens_are_refused_and_not_stored() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let bodies = [
        json!({ "token": "short" }),
        json!({ "token": "with.dots.like.a.jwt" }),
        json!({ "token": "with spaces in between" }),
        json!({ "token": "tsr_0000000000000000000000000000000000000000000000000" }),
        json!({ "token": "x".repeat(257) }),
        json!({ "token": 5 }),
        json!({ "expire": 0 }),
        json!({ "expire": -1 }),
        json!({ "expire": 1.5 }),
        json!({ "expire": "60" }),
        json!({ "expire": true }),
        json!({ "expire": 1e300 }),
        json!({ "expire": u64::MAX }),
        json!({ "name": "two\nlines" }),
        json!({ "name": "x".repeat(65) }),
        json!({ "name": "nul\u{0}" }),
        json!({ "scopes": ["two words"] }),
        json!({ "scopes": [5] }),
        json!({ "scopes": vec!["x"; 33] }),
        json!({ "scopes": { "a": "b" } }),
        json!({ "username": ["first@user.com"] }),
    ];
    for body in bodies {
        server.make_api_token(&person.access, &body).await.expect_status(422);
    }
    let hostile = json!({ "username": "\u{0}' or 1=1 --" });
    server.make_api_token(&person.access, &hostile).await.expect_status(403);
    let root = server.superuser("root").await;
    let unknown = server.make_api_token(&root.access, &hostile).await;
    unknown.expect_refusal(400, "API_TOKEN_USER_UNKNOWN");
    assert_eq!(server.database.count("api_token").await, 0);
    let typed_wrong = "tsr_0000000000000000000000000000000000000000000abcdef";
    server.me(typed_wrong).await.expect_reason("api_token_malformed");
    server.me("made-elsewhere-and-unknown").await.expect_reason("api_token_unknown");
    server.me("garbage").await.expect_reason("api_token_malformed");
    for header in ["Token", "X-API-Key"] {
        let empty = server.get("/users/me").header(header, "").send().await;
        empty.expect_reason("api_token_malformed");
        let double = server.get("/users/me").header(header, "a").header(header, "b").send().await;
        double.expect_status(401);
    }
}

#[tokio::test]
async fn the_table_has_only_digests_of_api_tokens_and_the_log_has_nothing() {
    let server = Server::setup().set("RUST_LOG", "debug").start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    server.me(&secret).await.expect_status(200);
    let mistyped = format!("{}{}", &secret[..52], if secret.ends_with('x') { 'y' } else { 'x' });
    server.me(&mistyped).await.expect_status(401);
    let digest = &server.database.column::<String>("select digest from api_token").await[0];
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*digest, expected);
    if server.database.kind() == Kind::Sqlite {
        for suffix in ["", "-wal"] {
            let file = format!("{}{suffix}", server.database.file().display());
            let content = std::fs::read(file).unwrap_or_default();
            assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
    let log = server.log_so_far().await;
    assert!(!log.contains(&secret[8..]), "the log contains a secret");
    // The digest from the table does not work as a token.
    server.me(digest).await.expect_status(401);
}

#[tokio::test]
async fn the_use_of_an_api_token_is_recorded_once_a_minute() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({ "name": "one" })).await;
    let other = server.api_token(&person.access, &json!({ "name": "other" })).await;
    let at = async |name: &str| {
        let at = format!("select coalesce(last_used_at, 0) from api_token where name = '{name}'");
        server.database.column::<i64>(&at).await[0]
    };
    let noted = async |name: &str| {
        server.move_clock(Duration::from_secs(6));
        awaited("a use is recorded", async || Some(at(name).await).filter(|at| *at > 0)).await
    };
    assert_eq!(at("one").await, 0);
    server.me(&secret).await.expect_status(200);
    let first = noted("one").await;
    server.advance(Duration::from_secs(1)).await;
    server.me(&secret).await.expect_status(200);
    // A later use of another token is recorded, so the server would also have recorded this one by now.
    server.me(&other).await.expect_status(200);
    noted("other").await;
    assert_eq!(at("one").await, first, "the use was recorded twice within a minute");
    server.database.execute("update api_token set last_used_at = last_used_at - 60000").await;
    server.advance(Duration::from_secs(1)).await;
    server.me(&secret).await.expect_status(200);
    // A server that stops writes the uses that are not written yet.
    let mut server = server;
    server.terminate();
    assert!(server.ended().await.success());
    let sql = "select last_used_at from api_token where name = 'one'";
    assert!(server.database.column::<i64>(sql).await[0] > first);
}

#[tokio::test]
async fn an_owner_can_have_at_most_100_api_tokens() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let digits = match server.database.kind() {
        Kind::Sqlite => {
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 99)"
        }
        Kind::Postgres => "with n(i) as (select generate_series(1, 99))",
    };
    let fill = format!(
        "insert into api_token (id, user_id, prefix, digest, scopes, created_at) {digits} \
         select 'id-' || i, '{}', 'tsr_0000', 'digest-' || i, '', 0 from n",
        person.id
    );
    assert_eq!(server.database.execute(&fill).await, 99);
    server.make_api_token(&person.access, &json!({})).await.expect_status(201);
    let one_more = server.make_api_token(&person.access, &json!({})).await;
    one_more.expect_refusal(400, "API_TOKEN_LIMIT_REACHED");
    assert_eq!(server.database.count("api_token").await, 100);
}

#[tokio::test]
async fn revoking_everything_of_a_user_deletes_their_api_tokens() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    server.me(&secret).await.expect_status(200);
    let body = json!({ "kind": "sub", "subject": person.id, "why": "laptop stolen" });
    let revoke = server.post("/admin/revocations").bearer(&root.access).json(&body);
    revoke.send().await.expect_status(204);
    server.me(&secret).await.expect_reason("api_token_unknown");
    server.me(&person.access).await.expect_reason("token_revoked");
}

#[tokio::test]
async fn an_api_token_deleted_on_one_replica_is_refused_on_the_others_within_a_second() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    let secret = one.api_token(&person.access, &json!({})).await;
    two.me(&secret).await.expect_status(200);
    let delete = one.request("DELETE", "/auth/tokens").bearer(&person.access);
    delete.json(&json!({ "token": secret })).send().await.expect_status(200);
    two.advance(Duration::from_millis(1000)).await;
    two.me(&secret).await.expect_reason("api_token_unknown");
}

#[tokio::test]
async fn a_new_app_secret_ends_no_api_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    let other = SECRET.replace('0', "f");
    let server = Server::setup().set("APP_SECRET", other).on(server.kill()).start().await;
    server.me(&person.access).await.expect_status(401);
    server.me(&secret).await.expect_status(200);
}
