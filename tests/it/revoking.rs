//! `POST /auth/revoke`, and revocations by superusers.

use serde_json::{Value, json};

use crate::support::{
    Answer, Forgery, Kind, PASSWORD, Person, Server, awaited, claims_of, eventually,
};

async fn superuser(server: &Server) -> Person {
    server.superuser("root").await
}

async fn revoke(server: &Server, token: &str) -> Answer {
    server.post("/auth/revoke").form(&[("token", token)]).send().await
}

async fn revoke_as_superuser(
    server: &Server,
    root: &Person,
    kind: &str,
    subject: &Value,
) -> Answer {
    let body = json!({ "kind": kind, "subject": subject, "why": "a test" });
    server.post("/admin/revocations").bearer(&root.access).json(&body).send().await
}

async fn listed(server: &Server, root: &Person) -> Vec<Value> {
    let answer = server.get("/admin/revocations").bearer(&root.access).send().await;
    answer.expect_status(200).json["items"].as_array().unwrap().clone()
}

async fn lift(server: &Server, root: &Person, seq: &Value) -> Answer {
    server.request("DELETE", &format!("/admin/revocations/{seq}")).bearer(&root.access).send().await
}

#[tokio::test]
async fn a_holder_can_revoke_one_access_token_alone() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let answer = revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(answer.body, "");
    server.me(&person.access).await.expect_reason("token_revoked");
    let next = server.refresh(&person.refresh).await.expect_status(200).text("access_token");
    server.me(&next).await.expect_status(200);
    // Revoking it again succeeds and writes nothing.
    revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(server.database.count("revocation").await, 1);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_reason("token_revoked");
    server.me(&next).await.expect_status(200);
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_its_session() {
    let server = Server::start().await;
    let person = server.person("first").await;
    revoke(&server, &person.refresh).await.expect_status(200);
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    revoke(&server, &person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn revoking_a_foreign_token_gets_the_same_answer() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let forged = Forgery::of(&person.access);
    let tokens = [
        "x".to_owned(),
        "..".to_owned(),
        forged.clone().secret(b"another").sign(),
        forged.clone().with_header("alg", "none").unsigned(),
        forged.clone().with("iss", "https://attacker.example").sign(),
        forged.with("exp", 1).with("iat", 0).sign(),
    ];
    for token in tokens {
        let answer = revoke(&server, &token).await.expect_status(200);
        assert_eq!(answer.body, "");
    }
    assert_eq!(server.database.count("revocation").await, 0);
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn an_invalid_revocation_request_gets_an_oauth_error() {
    let server = Server::start().await;
    let revoke = || server.post("/auth/revoke");
    let requests = [
        revoke(),
        revoke().form(&[("token_type_hint", "access_token")]),
        revoke().form(&[("token", "a"), ("token", "b")]),
        revoke().json(&json!({ "token": "a" })),
        revoke().body("text/plain", "token=a"),
    ];
    for request in requests {
        let answer = request.send().await.expect_status(400);
        assert_eq!(answer.json["error"], "invalid_request");
        assert!(answer.json["error_description"].is_string());
        assert!(answer.json.get("detail").is_none());
    }
}

#[tokio::test]
async fn a_superuser_can_revoke_a_token_a_session_and_a_user() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;

    let jti = &claims_of(&person.access)["jti"];
    revoke_as_superuser(&server, &root, "jti", jti).await.expect_status(204);
    server.me(&person.access).await.expect_reason("token_revoked");
    let next = server.refresh(&person.refresh).await.expect_status(200).text("access_token");

    let sid = &claims_of(&person.access)["sid"];
    revoke_as_superuser(&server, &root, "sid", sid).await.expect_status(204);
    server.me(&next).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.me(&other.0).await.expect_status(200);

    revoke_as_superuser(&server, &root, "sub", &json!(person.id)).await.expect_status(204);
    server.me(&other.0).await.expect_reason("token_revoked");
    server.refresh(&other.1).await.expect_refusal(401, "SESSION_ENDED");
    let (again, _) = server.sign_in(&person.email, PASSWORD).await;
    server.me(&again).await.expect_status(200);
    server.me(&root.access).await.expect_status(200);

    let listed = listed(&server, &root).await;
    let kinds: Vec<_> = listed.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sub", "sid", "sid", "jti"]);
    assert!(listed.iter().all(|row| row["why"] == "a test"));
    assert_eq!(&listed[3]["subject"], jti);
}

#[tokio::test]
async fn lifting_a_revocation_takes_effect_on_every_replica() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let jti = &claims_of(&person.access)["jti"];
    for _ in 0..2 {
        revoke_as_superuser(&server, &root, "jti", jti).await.expect_status(204);
    }
    let wait_for = async |status: u16| {
        let answers = async || other.me(&person.access).await.status == status;
        eventually(&format!("the other replica answers {status}"), answers).await;
    };
    wait_for(401).await;
    let rows = listed(&server, &root).await;
    lift(&server, &root, &rows[0]["seq"]).await.expect_status(204);
    lift(&server, &root, &rows[0]["seq"]).await.expect_refusal(404, "Not Found");
    // The other one of the two revocations still holds.
    other.wait_until_caught_up().await;
    server.me(&person.access).await.expect_reason("token_revoked");
    other.me(&person.access).await.expect_reason("token_revoked");
    lift(&server, &root, &rows[1]["seq"]).await.expect_status(204);
    wait_for(200).await;
    let lifted = listed(&server, &root).await[0].clone();
    assert_eq!(lifted["kind"], "lift");
    lift(&server, &root, &lifted["seq"]).await.expect_refusal(404, "Not Found");

    // A replica that starts reads the same from the table.
    drop(other);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_status(200);
    revoke_as_superuser(&server, &root, "jti", jti).await.expect_status(204);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_reason("token_revoked");
}

/// Only superusers see the text that a superuser writes, however long it is.
#[tokio::test]
async fn a_user_does_not_see_the_reason_that_a_superuser_wrote() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let words = "reuse ".repeat(40);
    for (kind, subject) in [("sid", &claims_of(&person.access)["sid"]), ("sub", &json!(person.id))]
    {
        let body = json!({ "kind": kind, "subject": subject, "why": words });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(204);
    }
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    let ended = server.get("/auth/sessions?ended=true").bearer(&access).send().await;
    assert_eq!(ended.json["items"][0]["ended_why"], "admin");
    assert!(!ended.body.contains("reuse"));
    assert_eq!(listed(&server, &root).await[0]["why"], json!(words));
}

#[tokio::test]
async fn a_revocation_is_kept_no_longer_than_its_token_can_be_valid() {
    let server = Server::start().await;
    let person = server.person("first").await;
    revoke(&server, &person.access).await.expect_status(200);
    let lasts = server.database.column::<i64>("select until - at from revocation").await;
    assert!(lasts[0] <= 960_000, "{lasts:?}");
    let server = Server::setup().set("BLACKLIST_ENABLED", "false").start().await;
    let person = server.person("first").await;
    revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(server.database.count("revocation").await, 0);
}

#[tokio::test]
async fn the_explanation_of_a_refresh_token_uses_its_session() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let explain = async |token: &str| {
        let request = server.post("/admin/tokens/explain").bearer(&root.access);
        request.json(&json!({ "token": token })).send().await.expect_status(200)
    };
    assert_eq!(explain(&person.refresh).await.json["accepted"], true);
    let next = server.refresh(&person.refresh).await.text("refresh_token");
    assert_eq!(explain(&person.refresh).await.text("reason"), "token_spent");
    assert_eq!(explain(&next).await.json["accepted"], true);
    server.logout(&next).await.expect_status(204);
    server.database.execute("delete from revocation").await;
    let server = Server::setup().on(server.kill()).start().await;
    let request = server.post("/admin/tokens/explain").bearer(&root.access);
    let explained = request.json(&json!({ "token": next })).send().await;
    assert_eq!(explained.text("reason"), "session_ended");
}

#[tokio::test]
async fn invalid_revocations_are_refused() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let nil = json!("00000000-0000-0000-0000-000000000000");
    for kind in ["sid", "sub"] {
        revoke_as_superuser(&server, &root, kind, &nil).await.expect_refusal(404, "Not Found");
    }
    for (kind, subject) in [("kid", &nil), ("lift", &nil), ("jti", &json!("x")), ("jti", &json!(1))]
    {
        revoke_as_superuser(&server, &root, kind, subject).await.expect_status(422);
    }
    for why in ["line\nline", "nul\0", &"x".repeat(257)] {
        let body = json!({ "kind": "jti", "subject": nil, "why": why });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(422);
    }
    let long = json!({ "kind": "jti", "subject": nil, "why": "ü".repeat(256) });
    let request = server.post("/admin/revocations").bearer(&root.access).json(&long);
    request.send().await.expect_status(204);
    for seq in ["x", "-1", "99999999999999999999999", "%00"] {
        lift(&server, &root, &json!(null)).await.expect_status(404);
        let path = format!("/admin/revocations/{seq}");
        let request = server.request("DELETE", &path).bearer(&root.access);
        request.send().await.expect_refusal(404, "Not Found");
    }
    for query in ["?after=x", "?limit=x", "?after=1%20or%201=1"] {
        let list = server.get(&format!("/admin/revocations{query}")).bearer(&root.access);
        list.send().await.expect_status(422);
    }
}

#[tokio::test]
async fn revocations_are_listed_page_by_page() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    for n in 1..=5_u128 {
        let id = json!(uuid::Uuid::from_u128(n).to_string());
        revoke_as_superuser(&server, &root, "jti", &id).await.expect_status(204);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/revocations?limit=2{after}");
        let page = server.get(&path).bearer(&root.access).send().await.expect_status(200);
        seen.extend(page.json["items"].as_array().unwrap().iter().map(|row| row["seq"].as_i64()));
        match page.json["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

/// The explanation and the operation judge the same token in the same way.
#[tokio::test]
async fn the_explanation_of_a_token_agrees_with_the_decision() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let good = || Forgery::of(&person.access);
    let tokens = [
        person.access.clone(),
        good().with("exp", 1_000_000_000).with("iat", 999_999_900).sign(),
        good().with("nbf", 9_999_999_999_u64).sign(),
        good().with("exp", 9_999_999_999_u64).sign(),
        good().with("aud", "x").sign(),
        good().with("iss", "x").sign(),
        good().without("jti").sign(),
        good().with_header("alg", "none").unsigned(),
        good().with_header("crit", json!(["exp"])).sign(),
        good().with_header("kid", "x").sign(),
        good().secret(b"another").sign(),
        good().with("x", "x".repeat(7000)).sign(),
        "x".to_owned(),
        "..".to_owned(),
    ];
    let explain = async |token: &str| {
        let request = server.post("/admin/tokens/explain").bearer(&root.access);
        request.json(&json!({ "token": token })).send().await.expect_status(200)
    };
    for token in &tokens {
        let (explained, me) = (explain(token).await, server.me(token).await);
        assert_eq!(explained.json["accepted"], me.status == 200, "{token}");
        match explained.json["reason"].as_str() {
            Some(reason) => {
                assert!(explained.text("sentence").contains(reason));
                me.expect_reason(reason);
            }
            None => assert!(explained.text("sentence").starts_with("accepted: an access token")),
        }
    }
    let expired = explain(&tokens[1]).await;
    assert!(expired.text("sentence").ends_with("ago (at 1000000000)"), "{}", expired.body);
    assert_eq!(expired.text("sub"), person.id);
    assert!(
        explain(&tokens[10]).await.json["sub"].is_null(),
        "the claims of a forged token are not shown"
    );
    assert!(explain(&person.refresh).await.text("sentence").contains("a refresh token"));
    server.logout(&person.access).await.expect_status(204);
    assert_eq!(explain(&person.access).await.text("reason"), "token_revoked");
    let sql = format!("update \"user\" set is_active = false where id = '{}'", person.id);
    server.database.execute(&sql).await;
    server.advance(std::time::Duration::from_secs(1)).await;
    let again = Forgery::of(&person.access).with("sid", root.id.clone()).sign();
    assert_eq!(explain(&again).await.text("reason"), "user_inactive");
    server.me(&again).await.expect_refusal(401, "Unauthorized");
}

/// A user who lost the flag has no permissions of a superuser, also with a token from before.
#[tokio::test]
async fn a_former_superuser_cannot_list_revocations() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    server.database.execute("update \"user\" set is_superuser = false").await;
    server.advance(std::time::Duration::from_secs(1)).await;
    let list = server.get("/admin/revocations").bearer(&root.access).send().await;
    list.expect_refusal(403, "Forbidden");
    let forged = Forgery::of(&root.access).with("scope", "admin super").with("is_superuser", true);
    let list = server.get("/admin/revocations").bearer(&forged.sign()).send().await;
    list.expect_refusal(403, "Forbidden");
}

/// A revocation costs little, but every server keeps its row for a day. So one sign-in can make only a few.
#[tokio::test]
async fn a_session_ends_after_too_many_of_its_tokens_were_revoked() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let (other, _) = server.sign_in(&person.email, PASSWORD).await;
    let rows = async |kind: &str| {
        server.database.count(&format!("revocation where kind = '{kind}'")).await
    };
    let (mut access, mut refresh) = (person.access, person.refresh);
    let mut all = Vec::new();
    for turn in 0..=20 {
        revoke(&server, &access).await.expect_status(200);
        server.me(&access).await.expect_reason("token_revoked");
        all.push(access.clone());
        let answer = server.refresh(&refresh).await;
        if turn == 20 {
            answer.expect_refusal(401, "SESSION_ENDED");
            break;
        }
        let answer = answer.expect_status(200);
        (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
    }
    assert_eq!((rows("jti").await, rows("sid").await), (20, 1));
    for token in &all {
        revoke(&server, token).await.expect_status(200);
    }
    assert_eq!((rows("jti").await, rows("sid").await), (20, 1));
    // Another session of the user continues and can revoke tokens.
    server.me(&other).await.expect_status(200);
    revoke(&server, &other).await.expect_status(200);
    assert_eq!((rows("jti").await, rows("sid").await), (21, 1));
    let server = Server::setup().on(server.kill()).start().await;
    for token in all {
        server.me(&token).await.expect_reason("token_revoked");
    }
}

#[tokio::test]
async fn revoked_tokens_that_have_expired_do_not_count_towards_the_end_of_a_session() {
    let mut server = Server::start().await;
    let Person { mut access, mut refresh, .. } = server.person("first").await;
    for turn in 1..=45 {
        revoke(&server, &access).await.expect_status(200);
        let answer = server.refresh(&refresh).await.expect_status(200);
        (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
        if turn % 20 == 0 {
            server.database.execute("update revocation set until = 1000").await;
            server = Server::setup().on(server.kill()).start().await;
        }
    }
    server.me(&access).await.expect_status(200);
}

/// For any number of parallel requests, on any server.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_revocations_of_tokens_are_counted_one_by_one() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    let mut tokens = vec![person.access];
    let mut refresh = person.refresh;
    while tokens.len() < 40 {
        let answer = one.refresh(&refresh).await.expect_status(200);
        tokens.push(answer.text("access_token"));
        refresh = answer.text("refresh_token");
    }
    let revoked = tokens.iter().enumerate().map(|(turn, token)| {
        [&one, &two][turn % 2]
            .beside_others(move |server| server.post("/auth/revoke").form(&[("token", token)]))
    });
    for answer in futures_util::future::join_all(revoked).await {
        answer.expect_status(200);
    }
    let rows = one.database.column::<String>("select kind from revocation order by seq").await;
    assert_eq!(rows.iter().filter(|kind| *kind == "jti").count(), 20, "{rows:?}");
    assert_eq!(rows.len(), 21, "{rows:?}");
    one.refresh(&refresh).await.expect_refusal(401, "SESSION_ENDED");
}

/// A start reads the rows of tokens that can be valid, in batches, and nothing else.
#[tokio::test]
async fn a_start_reads_only_revocations_of_tokens_that_can_be_valid() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let third = server.person("third").await;
    let database = server.kill();
    let id = |person: &Person| claims_of(&person.access)["jti"].as_str().unwrap().to_owned();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let hour = now + 3_600_000;
    let (numbers, made) = match database.kind() {
        Kind::Sqlite => (
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 45000)",
            "printf('00000000-0000-7000-8000-%012d', i)",
        ),
        Kind::Postgres => (
            "with n(i) as (select generate_series(1, 45000))",
            "'00000000-0000-7000-8000-' || lpad(i::text, 12, '0')",
        ),
    };
    let into = "insert into revocation (kind, subject, until, why, at)";
    // More than one batch of rows with the same expiry, and a row in the middle of them.
    for (subject, until) in [(id(&first), hour), (id(&second), now - 3_600_000)] {
        let sql = format!("{into} values ('jti', '{subject}', {until}, 'test', {now})");
        database.execute(&sql).await;
        let sql = format!("{into} {numbers} select 'jti', {made}, {until}, 'test', {now} from n");
        database.execute(&sql).await;
    }
    let sql = format!("{into} values ('jti', '{}', {hour}, 'test', {now})", id(&third));
    database.execute(&sql).await;
    let server = Server::setup().on(database).start().await;
    server.me(&first.access).await.expect_reason("token_revoked");
    server.me(&third.access).await.expect_reason("token_revoked");
    // By its row, this token expired long ago, so the server does not read it.
    server.me(&second.access).await.expect_status(200);
    // Now most rows are not needed.
    let database = server.kill();
    let most = format!(
        "delete from revocation where until = {hour} and subject like '00%' and subject not like '%7'"
    );
    assert_eq!(database.execute(&most).await, 40_500);
    let server = Server::setup().on(database).start().await;
    server.me(&first.access).await.expect_reason("token_revoked");
    server.me(&third.access).await.expect_reason("token_revoked");
    server.me(&second.access).await.expect_status(200);
}

/// An older copy of the table is restored while servers read it.
#[tokio::test]
async fn a_backup_that_is_restored_under_servers_revives_no_token_and_hides_no_revocation() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let database = one.database.clone();
    let refused = async |server: &Server, token: &str| {
        let answer = awaited("the server refuses the token", async || {
            let answer = server.me(token).await;
            assert!([200, 401, 503].contains(&answer.status), "{}", answer.body);
            Some(answer).filter(|answer| answer.status == 401)
        });
        answer.await.expect_reason("token_revoked");
    };
    for round in 0..3 {
        let mut people = Vec::new();
        for name in ["before", "forgotten", "forgotten-too", "after", "after-too", "good"] {
            people.push(one.person(&format!("{name}{round}")).await);
        }
        one.logout(&people[0].access).await.expect_status(204);
        database.execute("create table kept as select * from revocation").await;
        one.logout(&people[1].access).await.expect_status(204);
        revoke(&one, &people[2].access).await.expect_status(200);
        for person in &people[..3] {
            refused(&two, &person.access).await;
        }
        // The first round restores the copy. The second leaves an empty table. In the third, another row has the
        // number of the last one.
        let set_back = match (round, database.kind()) {
            (1, _) => "delete from revocation",
            _ => "delete from revocation where seq > (select max(seq) from kept)",
        };
        database.execute(set_back).await;
        database.execute("drop table kept").await;
        let last = database.column::<i64>("select coalesce(max(seq), 0) from revocation").await[0];
        let sequence = match database.kind() {
            Kind::Sqlite => {
                format!("update sqlite_sequence set seq = {last} where name = 'revocation'")
            }
            Kind::Postgres => format!("select setval('revocation_place', {}, false)", last + 1),
        };
        database.execute(&sequence).await;
        // These revocations get numbers that other rows had before.
        for person in &people[3..5] {
            // While a server reads the rows again, it answers 503.
            let answer = awaited("the server answers", async || {
                Some(one.logout(&person.access).await).filter(|answer| answer.status != 503)
            });
            answer.await.expect_status(204);
        }
        let seqs = database.column::<i64>("select seq from revocation order by seq desc").await;
        assert_eq!(seqs[..2], [last + 2, last + 1]);
        for server in [&one, &two] {
            for person in &people[..5] {
                refused(server, &person.access).await;
            }
        }
        for server in [&one, &two] {
            let answers = async || server.me(&people[5].access).await.status == 200;
            eventually("the server answers", answers).await;
        }
    }
}

/// With HS256, a service can make tokens for itself of any session that it saw. It cannot end the session with them.
#[tokio::test]
async fn a_service_that_makes_tokens_for_itself_ends_no_session_by_revoking_them() {
    let server = Server::setup().set("JWT_AUDIENCES", "billing").start().await;
    let person = server.person("first").await;
    let mut derive = crate::support::command(server.folder());
    derive.args(["keys", "derive", "--audience", "billing"]);
    derive.env("APP_SECRET", crate::support::SECRET).env("JWT_AUDIENCES", "billing");
    let secret = String::from_utf8(derive.output().unwrap().stdout).unwrap().trim().to_owned();
    let form = [("username", "first@user.com"), ("password", PASSWORD), ("audience", "billing")];
    let given = server.post("/auth/jwt/login").form(&form).send().await.expect_status(200);
    let own = Forgery::of(&given.text("access_token")).secret(secret.as_bytes());
    for turn in 0..25_u128 {
        let jti = uuid::Uuid::from_u128(0x7000_8000_0000_0000_0000 + turn).to_string();
        let forged =
            own.clone().with("jti", jti).with("sid", claims_of(&person.access)["sid"].clone());
        let answer = revoke(&server, &forged.sign()).await;
        assert_eq!(answer.status, if turn < 20 { 200 } else { 429 }, "{}", answer.body);
    }
    assert_eq!(server.database.count("revocation").await, 20);
    // They do not count for the session.
    revoke(&server, &person.access).await.expect_status(200);
    server.refresh(&person.refresh).await.expect_status(200);
}
