//! Users: superusers manage them, and users set their profile and delete their account.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Answer, Kind, PASSWORD, Person, Server, claims_of, eventually};

impl Server {
    pub(crate) async fn change(&self, root: &str, id: &str, changes: &Value) -> Answer {
        self.patch(&format!("/users/{id}")).bearer(root).json(changes).send().await
    }

    async fn remove(&self, root: &str, id: &str) -> Answer {
        self.request("DELETE", &format!("/users/{id}")).bearer(root).send().await
    }

    async fn listed(&self, root: &Person, query: &str) -> (Vec<String>, Value) {
        let answer = self.get(&format!("/users{query}")).bearer(&root.access).send().await;
        let answer = answer.expect_status(200);
        let items = answer.json["items"].as_array().unwrap();
        let emails = items.iter().map(|user| user["email"].as_str().unwrap().to_owned());
        (emails.collect(), answer.json["next"].clone())
    }
}

#[tokio::test]
async fn users_are_listed_by_address_and_can_be_found_by_name() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for (email, name) in
        [("b@user.com", "Bee"), ("A@user.com", "50%_off"), ("c@other.org", "\\ Élodie")]
    {
        let body = json!({ "email": email, "password": PASSWORD, "name": name, "surname": "Zed" });
        server.post("/auth/register").json(&body).send().await.expect_status(201);
    }
    let (all, next) = server.listed(&root, "").await;
    assert_eq!(all, ["A@user.com", "b@user.com", "c@other.org", "root@user.com"]);
    assert!(next.is_null());
    let (first, next) = server.listed(&root, "?limit=2").await;
    let after = format!("?limit=2&after={}", next.as_str().unwrap());
    let (second, next) = server.listed(&root, &after).await;
    assert_eq!((first.len(), second, next), (2, all[2..].to_vec(), Value::Null));
    for (query, found) in [
        ("USER.COM", 3),
        ("other", 1),
        ("bee", 1),
        ("zed", 3),
        ("%25", 1),
        ("_", 1),
        ("50%25_", 1),
        ("%5C", 1),
        ("nobody", 0),
        ("'", 0),
        ("%C3%89lodie", 1),
        ("%C3%A9LODIE", 1),
        ("lodi", 1),
        ("R.C", 3),
        ("xyzzy", 0),
        ("%00", 0),
        ("", 4),
    ] {
        assert_eq!(server.listed(&root, &format!("?q={query}")).await.0.len(), found, "{query}");
    }
    let odd = "?limit=100&after=%27%20or%201=1%20--";
    assert_eq!(server.listed(&root, odd).await.0.len(), 4);
}

/// There are more users than a search looks at first, and the users with the text are the last ones.
#[tokio::test]
async fn a_search_finds_the_last_of_many_users_in_every_alphabet_by_an_index() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let (numbers, id) = match server.database.kind() {
        Kind::Sqlite => (
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)",
            "printf('00000000-0000-4000-8000-%012d', i)",
        ),
        Kind::Postgres => (
            "with n(i) as (select generate_series(1, 5000))",
            "'00000000-0000-4000-8000-' || lpad(i::text, 12, '0')",
        ),
    };
    let into =
        r#"insert into "user" (id, email, hashed_password, is_active, is_superuser, is_verified)"#;
    let many = format!(
        "{into} {numbers} select {id}, 'Many' || i || '@user.com', 'x', i > 3, false, false from n"
    );
    server.database.execute(&many).await;
    let profile = format!(
        "insert into profile (user_id, name) {numbers} select {id}, 'Person' from n where i > 4000"
    );
    server.database.execute(&profile).await;
    let body =
        json!({ "email": "zz@user.com", "password": PASSWORD, "name": "Zoë", "surname": "MÜLLER" });
    let zoe = server.post("/auth/register").json(&body).send().await.expect_status(201);
    let last = ["zz@user.com".to_owned()];
    for query in ["müller", "MÜLL", "ü", "ÜLLE", "zoË", "zz@", "Z@USER"] {
        assert_eq!(server.listed(&root, &format!("?q={query}")).await.0, last, "{query}");
    }
    for query in ["muller", "zoe", "a\"b c", "ör", "\" OR \"", "user.com%25"] {
        assert!(server.listed(&root, &format!("?q={query}")).await.0.is_empty(), "{query}");
    }
    // A frequent text fills the page from the first users.
    let (first, next) = server.listed(&root, "?q=MANY&limit=2").await;
    assert_eq!((&*first[1], next.is_null()), ("Many1001@user.com", false));
    assert_eq!(server.listed(&root, "?q=person&limit=100").await.0.len(), 100);
    assert_eq!(server.listed(&root, "?is_active=false").await.0.len(), 3);
    assert_eq!(server.listed(&root, "?is_active=false&q=many3").await.0, ["Many3@user.com"]);
    assert_eq!(server.listed(&root, "?is_superuser=true").await.0, ["root@user.com"]);
    // The search follows every change.
    let id = zoe.text("id");
    for (change, found, lost) in [
        (json!({ "surname": "Şahin" }), "şAHIN", "müller"),
        (json!({ "name": null }), "ŞAH", "zoë"),
        (json!({ "email": "yy@user.com" }), "yy@u", "zz@u"),
        (json!({ "surname": null }), "YY@USER.COM", "şah"),
    ] {
        server.change(&root.access, &id, &change).await.expect_status(200);
        assert_eq!(server.listed(&root, &format!("?q={found}")).await.0.len(), 1, "{found}");
        assert!(server.listed(&root, &format!("?q={lost}")).await.0.is_empty(), "{lost}");
    }
    server.remove(&root.access, &id).await.expect_status(204);
    assert!(server.listed(&root, "?q=yy@user.com").await.0.is_empty());
    assert_eq!(server.database.count("user_search").await, 5001);
    if server.database.kind() == Kind::Postgres {
        server.database.execute("analyze").await;
        server.listed(&root, "?q=many4999").await;
        eventually("PostgreSQL has counted the use of the index", async || {
            let used =
                "pg_stat_user_indexes where indexrelname = 'ix_user_search_parts' and idx_scan > 0";
            server.database.count(used).await == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_superuser_can_read_change_and_delete_a_user() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let read =
        async |id: &str| server.get(&format!("/users/{id}")).bearer(&root.access).send().await;
    let plain = json!({
        "id": person.id, "email": "first@user.com",
        "is_active": true, "is_superuser": false, "is_verified": false,
    });
    assert_eq!(read(&person.id).await.expect_status(200).json, plain);
    for nobody in ["not-a-uuid", "00000000-0000-0000-0000-000000000000", "%00"] {
        read(nobody).await.expect_refusal(404, "Not Found");
        server.change(&root.access, nobody, &json!({})).await.expect_status(404);
        server.remove(&root.access, nobody).await.expect_status(404);
    }
    let changes = json!({
        "email": "New@User.COM", "is_verified": true, "name": "Ada", "scopes": ["authenticated", "reports"],
        "id": "x", "hashed_password": "x", "unknown": 1,
    });
    let changed = server.change(&root.access, &person.id, &changes).await.expect_status(200);
    assert_eq!(changed.text("email"), "New@user.com");
    assert_eq!(
        (&changed.json["is_verified"], &changed.json["name"]),
        (&json!(true), &json!("Ada"))
    );
    // A new address is not verified unless the superuser says so.
    let moved = server.change(&root.access, &person.id, &json!({ "email": "b@user.com" })).await;
    assert_eq!(moved.json["is_verified"], false);
    // The next token carries the scopes. The database decides which scopes apply.
    let (access, _) = server.sign_in("b@user.com", PASSWORD).await;
    assert_eq!(claims_of(&access)["scope"], "authenticated reports");
    let token = server.make_api_token(&access, &json!({ "scopes": ["reports"] })).await;
    let token = token.expect_status(201).text("token");
    server.change(&root.access, &person.id, &json!({ "scopes": ["authenticated"] })).await;
    let ask = server.post("/auth/introspect").bearer(&root.access);
    assert_eq!(ask.form(&[("token", &*token)]).send().await.json["scope"], "");

    for (bad, status, code) in [
        (json!({ "email": "root@user.com" }), 400, "UPDATE_USER_EMAIL_ALREADY_EXISTS"),
        (json!({ "email": "bad" }), 422, "UNPROCESSABLE_CONTENT"),
        (json!({ "password": "" }), 400, "UPDATE_USER_INVALID_PASSWORD"),
        (json!({ "is_active": "no" }), 422, "UNPROCESSABLE_CONTENT"),
        (json!({ "scopes": ["super"] }), 422, "UNPROCESSABLE_CONTENT"),
        (json!({ "website": "javascript:alert(1)" }), 422, "UNPROCESSABLE_CONTENT"),
        (json!({ "name": "two\nlines" }), 422, "UNPROCESSABLE_CONTENT"),
    ] {
        server.change(&root.access, &person.id, &bad).await.expect_refusal(status, code);
    }
    server.remove(&root.access, &person.id).await.expect_status(204);
    server.me(&access).await.expect_status(401);
    server.me(&token).await.expect_reason("api_token_unknown");
    server.login("b@user.com", PASSWORD).await.expect_status(400);
    server.remove(&root.access, &person.id).await.expect_status(404);
    for table in ["session", "api_token", "profile"] {
        let rows = format!("{table} where user_id = '{}'", person.id);
        assert_eq!(server.database.count(&rows).await, 0);
    }
}

#[tokio::test]
async fn deactivation_takes_effect_with_the_next_request() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    server.me(&person.access).await.expect_status(200);
    other.me(&person.access).await.expect_status(200);
    let off = json!({ "is_active": false });
    server.change(&root.access, &person.id, &off).await.expect_status(200);
    server.me(&person.access).await.expect_status(401);
    server.me(&secret).await.expect_status(401);
    server.refresh(&person.refresh).await.expect_status(401);
    server.login("first@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    other.wait_until_caught_up().await;
    other.me(&person.access).await.expect_status(401);
    // An activated user must sign in again, because revoked tokens stay revoked.
    server.change(&root.access, &person.id, &json!({ "is_active": true })).await;
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.sign_in("first@user.com", PASSWORD).await;
    server.me(&secret).await.expect_status(200);
}

#[tokio::test]
async fn a_password_that_a_superuser_sets_ends_every_session() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let set = json!({ "password": "set by somebody else" });
    server.change(&root.access, &person.id, &set).await.expect_status(200);
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.login("first@user.com", PASSWORD).await.expect_status(400);
    server.sign_in("first@user.com", "set by somebody else").await;
}

/// The operations of superusers are no way around the fresh password that one's own account requires.
#[tokio::test]
async fn a_superuser_can_change_their_own_account_only_with_a_fresh_password() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = server.superuser("root").await;
    let stale = server.refresh(&root.refresh).await.text("access_token");
    let scopes = json!({ "scopes": ["authenticated", "super"] });
    let secret = server.api_token(&root.access, &scopes).await;
    for changes in [json!({ "password": "a thief's own" }), json!({ "email": "thief@user.com" })] {
        for token in [&stale, &secret] {
            let refused = server.change(token, &root.id, &changes).await;
            refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
            server.remove(token, &root.id).await.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
        }
    }
    let name = json!({ "name": "Root" });
    let refused = server.change(&stale, &root.id, &name).await;
    refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
    server.change(&secret, &root.id, &name).await.expect_status(200);
    server
        .change(&root.access, &root.id, &json!({ "email": "r@user.com" }))
        .await
        .expect_status(200);
    // A superuser who was signed out can change nobody, also on a replica that has not read the revocation yet.
    let person = server.person("first").await;
    other.me(&root.access).await.expect_status(200);
    server.post("/auth/jwt/logout-all").bearer(&root.access).send().await.expect_status(204);
    let taken = json!({ "password": "a thief's own" });
    other.change(&root.access, &person.id, &taken).await.expect_status(401);
    other.remove(&root.access, &person.id).await.expect_status(401);
    server.sign_in("first@user.com", PASSWORD).await;
}

/// This holds also on a replica that has not read the change yet.
#[tokio::test]
async fn a_demoted_superuser_cannot_undo_the_demotion() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = server.superuser("root").await;
    for (taken, given) in [
        (json!({ "is_superuser": false }), json!({ "is_superuser": true })),
        (json!({ "is_active": false }), json!({ "is_active": true })),
    ] {
        server.database.execute("update \"user\" set is_superuser = true, is_active = true").await;
        let second =
            format!("second{}", given.as_object().unwrap().len() + taken.to_string().len());
        let second = server.superuser(&second).await;
        let scopes = json!({ "scopes": ["authenticated", "super"] });
        let secret = server.api_token(&second.access, &scopes).await;
        other.me(&second.access).await.expect_status(200);
        other.me(&secret).await.expect_status(200);
        server.change(&root.access, &second.id, &taken).await.expect_status(200);
        for token in [&second.access, &secret] {
            let undone = other.change(token, &second.id, &given).await;
            assert!([401, 403].contains(&undone.status), "{}", undone.body);
            // They cannot make an API token of another superuser either.
            let wanted = json!({ "username": "root@user.com", "scopes": ["super"] });
            let made = other.make_api_token(token, &wanted).await;
            assert!([401, 403].contains(&made.status), "{}", made.body);
        }
        let still = format!(
            "\"user\" where id = '{}' and is_active = true and is_superuser = true",
            second.id
        );
        assert_eq!(server.database.count(&still).await, 0);
    }
}

#[tokio::test]
async fn superusers_who_set_each_others_passwords_do_not_deadlock() {
    let server = Server::start().await;
    let (one, two) = (server.superuser("one").await, server.superuser("two").await);
    for round in 0..6 {
        let mut tasks = JoinSet::new();
        let (first, _) = server.sign_in("one@user.com", PASSWORD).await;
        let (second, _) = server.sign_in("two@user.com", PASSWORD).await;
        for (by, of) in [(&first, &two), (&second, &one)] {
            let request = server.patch(&format!("/users/{}", of.id)).bearer(by);
            tasks.spawn(request.json(&json!({ "password": PASSWORD })).send());
        }
        for answer in tasks.join_all().await {
            assert!([200, 401].contains(&answer.status), "round {round}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_last_superuser_who_can_sign_in_stays_a_superuser() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let take = [json!({ "is_superuser": false }), json!({ "is_active": false })];
    for changes in &take {
        let refused = server.change(&root.access, &root.id, changes).await;
        refused.expect_refusal(409, "LAST_SUPERUSER");
    }
    server.remove(&root.access, &root.id).await.expect_refusal(409, "LAST_SUPERUSER");
    let me = server.request("DELETE", "/users/me").bearer(&root.access).send().await;
    me.expect_refusal(409, "LAST_SUPERUSER");
    server.me(&root.access).await.expect_status(200);
    let second = server.person("second").await;
    let make = json!({ "is_superuser": true });
    server.change(&root.access, &second.id, &make).await.expect_status(200);
    // If two superusers demote each other at once, one of them stays a superuser.
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for (by, of) in [(&root, &second), (&second, &root)] {
            let request = server.patch(&format!("/users/{}", of.id)).bearer(&by.access);
            tasks.spawn(request.json(&take[round % 2]).send());
        }
        let answers = tasks.join_all().await;
        let sql = "\"user\" where is_superuser = true and is_active = true";
        assert_eq!(server.database.count(sql).await, 1, "{answers:?}");
        server.database.execute("update \"user\" set is_superuser = true, is_active = true").await;
        server.database.execute("delete from revocation").await;
        server.advance(Duration::from_millis(900)).await;
        let root = server.sign_in("root@user.com", PASSWORD).await;
        drop(root);
        if round % 2 == 1 {
            break;
        }
    }
}

#[tokio::test]
async fn users_can_set_their_profile() {
    let server = Server::start().await;
    let body = json!({
        "email": "ada@user.com", "password": PASSWORD, "name": "Ada", "surname": "Lovelace",
        "website": "https://example.com/~ada?x=1#y", "scopes": ["super"], "is_superuser": true,
    });
    let registered = server.post("/auth/register").json(&body).send().await.expect_status(201);
    assert_eq!(registered.text("surname"), "Lovelace");
    assert!(registered.json.get("scopes").is_none());
    let (access, refresh) = server.sign_in("ada@user.com", PASSWORD).await;
    // Changing the profile requires no fresh token.
    let later = server.refresh(&refresh).await.text("access_token");
    let changed = server.change_me(&later, &json!({ "name": null, "surname": "King" })).await;
    let changed = changed.expect_status(200);
    assert!(changed.json.get("name").is_none());
    assert_eq!(
        (changed.text("surname"), changed.text("website")),
        ("King".into(), "https://example.com/~ada?x=1#y".into())
    );
    let secret = server.api_token(&access, &json!({})).await;
    server.change_me(&secret, &json!({ "website": "" })).await.expect_status(200);
    let me = server.me(&access).await;
    assert!(me.json.get("website").is_none());
    for website in [
        "javascript:alert(1)",
        "https://",
        "https://user:password@example.com",
        "ftp://example.com",
        "https://example.com/\"onclick",
        "https://example.com/ x",
        "//example.com",
        &format!("https://example.com/{}", "x".repeat(256)),
    ] {
        let refused = server.change_me(&access, &json!({ "website": website })).await;
        refused.expect_refusal(422, "UNPROCESSABLE_CONTENT");
    }
    for name in ["x".repeat(101), "nul\u{0}".to_owned(), "escape\u{1b}[2J".to_owned()] {
        server.change_me(&access, &json!({ "name": name })).await.expect_status(422);
    }
    // The profile has a table of its own, and an empty profile has no row.
    let empty = json!({ "name": "", "surname": "", "website": "" });
    server.change_me(&access, &empty).await.expect_status(200);
    assert_eq!(server.database.count("profile").await, 0);
}

#[tokio::test]
async fn a_user_can_export_and_delete_their_account() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({ "name": "ci" })).await;
    let old = server.sign_in("first@user.com", PASSWORD).await;
    server.logout(&old.0).await.expect_status(204);
    let moved = json!({ "email": "moved@user.com" });
    server.change_me(&person.access, &moved).await.expect_status(200);
    server.change_me(&person.access, &json!({ "email": person.email })).await.expect_status(200);
    let export = server.export_me(&person.access).await;
    let export = export.expect_status(200);
    assert_eq!(export.json["former_emails"], json!(["first@user.com", "moved@user.com"]));
    assert_eq!(export.json["audit"][0]["act"], "register");
    assert_eq!(export.json["user"]["email"], "first@user.com");
    assert_eq!(export.json["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(export.json["sessions"][1]["ended_why"], "logout");
    assert_eq!(export.json["api_tokens"][0]["name"], "ci");
    for hidden in [&secret[8..], "$2b$", "hashed_password", "digest", "token="] {
        assert!(!export.body.contains(hidden), "the export contains {hidden}");
    }
    let delete =
        async |token: &str| server.request("DELETE", "/users/me").bearer(token).send().await;
    let refreshed = server.refresh(&person.refresh).await;
    let stale = refreshed.text("access_token");
    delete(&stale).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    delete(&secret).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    delete(&person.access).await.expect_status(204);
    for token in [&person.access, &stale, &secret] {
        server.me(token).await.expect_status(401);
    }
    server.refresh(&refreshed.text("refresh_token")).await.expect_status(401);
    server.login("first@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    // Now anybody can register the address, and gets another id.
    let again = server.person("first").await;
    assert_ne!(again.id, person.id);
    server.me(&secret).await.expect_status(401);
}
