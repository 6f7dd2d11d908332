//! The number of grants that an account can have, the time that their rows are kept, and their entries in the audit.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::provider::{
    Client, accept, basic, code, exchange, hex, refresh, request, server, userinfo, with_code,
};
use crate::support::{Answer, Browser, Kind, PASSWORD, Person, Server, claims_of, eventually};

/// A client that asks for no consent.
pub(crate) fn trusted(id: &str) -> Client<'_> {
    Client { id, settings: json!({ "trusted": true }), ..Client::default() }
}

/// Gets tokens for a user who is signed in.
pub(crate) async fn tokens(
    server: &Server,
    browser: &mut Browser<'_>,
    client: &str,
    changes: &[(&str, &str)],
) -> Answer {
    let changes = [&[("client_id", client)], changes].concat();
    let code = code(browser, &changes).await;
    exchange(server, client, &with_code(&code)).await.expect_status(200)
}

async fn refresh_of(server: &Server, client: &str, answer: &Answer) -> Answer {
    let token = answer.text("refresh_token");
    exchange(server, client, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await
}

#[tokio::test]
async fn the_least_used_grants_of_an_application_end_beyond_a_maximum_of_each_session_and_of_all() {
    let server = server().await;
    for id in ["one", "two"] {
        trusted(id).insert(&server.database).await;
    }
    let (mut thief, mut owner) = (Browser::of(&server), Browser::of(&server));
    thief.sign_in("ada@user.com", PASSWORD).await;
    owner.sign_in("ada@user.com", PASSWORD).await;
    let other = tokens(&server, &mut owner, "two", &[]).await;
    let of_owner = tokens(&server, &mut owner, "one", &[]).await;
    let mut of_thief = Vec::new();
    for _ in 0..20 {
        of_thief.push(tokens(&server, &mut thief, "one", &[]).await);
    }
    // A grant that was used since is not the least used one.
    server.advance(Duration::from_millis(10)).await;
    let kept = refresh_of(&server, "one", &of_thief[0]).await.expect_status(200);
    server.advance(Duration::from_millis(10)).await;
    let next = tokens(&server, &mut thief, "one", &[]).await;
    let ended = refresh_of(&server, "one", &of_thief[1]).await.expect_refusal(400, "invalid_grant");
    assert!(ended.body.contains("refresh_token.ended"), "{}", ended.body);
    userinfo(&server, &of_thief[1].text("access_token")).await.expect_reason("token_revoked");
    let live = "oauth_grant where ended_at is null";
    assert_eq!(server.database.count(live).await, 22);
    // The code of a grant that ended so is not kept either.
    assert_eq!(server.database.count("authorization_code").await, 22);
    // Other sessions fill the rest of the maximum.
    let mut browsers = Vec::new();
    for _ in 0..2 {
        let mut browser = Browser::of(&server);
        browser.sign_in("ada@user.com", PASSWORD).await;
        for _ in 0..20 {
            tokens(&server, &mut browser, "one", &[]).await;
        }
        browsers.push(browser);
    }
    assert_eq!(server.database.count(live).await, 51);
    // Of the first session, those that were used last are left; the owner's was used before them all.
    refresh_of(&server, "one", &of_owner).await.expect_refusal(400, "invalid_grant");
    for tokens in [&kept, &next] {
        refresh_of(&server, "one", tokens).await.expect_status(200);
    }
    // Another application has a maximum of its own.
    refresh_of(&server, "two", &other).await.expect_status(200);
    let opened = audit(&server, "grant-open").await;
    assert_eq!(opened.iter().filter(|row| row.contains("\"ended\"")).count(), 12);
}

#[tokio::test]
async fn an_application_can_have_many_grants_of_a_user_and_is_one_line_of_the_page() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    for scope in ["openid", "openid email", "openid", "openid profile"] {
        tokens(&server, &mut browser, "one", &[("scope", scope)]).await;
    }
    let page = browser.open("/account/apps").await.expect_status(200);
    assert_eq!(page.body.matches("name=\"client\"").count(), 1, "{}", page.body);
}

/// The current time of the database, in milliseconds.
fn now(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "cast(strftime('%s') as integer) * 1000",
        Kind::Postgres => "cast(extract(epoch from now()) * 1000 as bigint)",
    }
}

/// Copies a grant of a user many times, as a release without a maximum let an account do.
async fn multiply(server: &Server, grant: &str, count: u32, salt: u32) {
    let (numbers, id) = match server.database.kind() {
        Kind::Sqlite => (
            format!(
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"
            ),
            format!("'{salt:08x}-0000-4000-8000-' || printf('%012d', n.i)"),
        ),
        Kind::Postgres => (
            format!("with n(i) as (select generate_series(1, {count}))"),
            format!("'{salt:08x}-0000-4000-8000-' || lpad(n.i::text, 12, '0')"),
        ),
    };
    let columns = "user_id, client_id, session_id, scopes, resources, auth_time, amr, sid, is_offline, created_at, \
                   last_used_at, generation, rotated_at, issued_at, secret, expires_at";
    let sql = format!(
        "insert into oauth_grant (id, {columns}) {numbers} \
         select {id}, {columns} from n, oauth_grant where oauth_grant.id = '{grant}'"
    );
    assert_eq!(server.database.execute(&sql).await, u64::from(count));
}

#[tokio::test]
async fn an_account_with_very_many_grants_signs_out_gets_a_new_password_and_is_deleted() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let root = server.superuser("root").await;
    for (turn, act) in ["sign out", "new password", "everywhere", "deletion"].iter().enumerate() {
        let person = server.person(&format!("user{turn}")).await;
        let mut browser = Browser::of(&server);
        browser.sign_in(&person.email, PASSWORD).await;
        let tokens = tokens(&server, &mut browser, "one", &[]).await;
        let access = tokens.text("access_token");
        let grant = claims_of(&access)["grant_id"].as_str().unwrap().to_owned();
        multiply(&server, &grant, 20_000, u32::try_from(turn).unwrap() + 1).await;
        browser.open("/account/apps").await.expect_status(200);
        browser.open("/account").await.expect_status(200);
        perform(&server, &root, &person, &mut browser, act).await;
        let live = format!("oauth_grant where ended_at is null and user_id = '{}'", person.id);
        assert_eq!(server.database.count(&live).await, 0, "{act}");
        let refused = userinfo(&server, &access).await;
        assert_eq!(refused.status, 401, "{act}: {}", refused.body);
        refused.expect_reason("token_revoked");
        let token = tokens.text("refresh_token");
        let again = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        exchange(&server, "one", &again).await.expect_refusal(400, "invalid_grant");
    }
}

async fn perform(
    server: &Server,
    root: &Person,
    person: &Person,
    browser: &mut Browser<'_>,
    act: &str,
) {
    let answer = match act {
        "sign out" => browser.press("/logout", &[]).await,
        "new password" => {
            let body = json!({ "password": "another horse battery", "current_password": PASSWORD });
            server.change_me(&person.access, &body).await
        }
        "everywhere" => server.post("/auth/jwt/logout-all").bearer(&person.access).send().await,
        _ => {
            let delete = server.request("DELETE", &format!("/users/{}", person.id));
            delete.bearer(&root.access).send().await
        }
    };
    assert!([200, 204, 303].contains(&answer.status), "{act}: {} {}", answer.status, answer.body);
}

#[tokio::test]
async fn a_client_with_very_many_grants_is_deleted() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let tokens = tokens(&server, &mut browser, "one", &[]).await;
    let access = tokens.text("access_token");
    let grant = claims_of(&access)["grant_id"].as_str().unwrap().to_owned();
    // Of grants whose access tokens have expired long ago, nothing must be revoked.
    let old = "update oauth_grant set issued_at = issued_at - 200000000";
    server.database.execute(old).await;
    multiply(&server, &grant, 20_000, 1).await;
    let young = "update oauth_grant set issued_at = issued_at + 200000000 where id =";
    server.database.execute(&format!("{young} '{grant}'")).await;
    let delete = server.request("DELETE", "/admin/clients/one").bearer(&root.access);
    delete.send().await.expect_status(204);
    assert_eq!(server.database.count("oauth_grant").await, 0);
    assert_eq!(server.database.count("revocation").await, 1);
    let revoked = server.database.column::<String>("select subject from revocation").await;
    assert_eq!(revoked, [grant]);
}

#[tokio::test]
async fn an_idle_browser_ends_no_grant_before_the_absolute_end_of_its_session() {
    let setup = || {
        let setup = Server::setup().set("BROWSER_SESSION_EXPIRES", 30 * 86_400);
        setup.set("BROWSER_SESSION_IDLE_EXPIRES", 3600)
    };
    let mut server = setup().start().await;
    Client::default().insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let (first, offline) = {
        let mut browser = Browser::of(&server);
        browser.sign_in("ada@user.com", PASSWORD).await;
        let first = tokens(&server, &mut browser, "app", &[]).await;
        // The second session has only a grant that does not end with it.
        let mut other = Browser::of(&server);
        other.sign_in("ada@user.com", PASSWORD).await;
        let scope = [("scope", "openid email offline_access")];
        (first, tokens(&server, &mut other, "app", &scope).await)
    };
    let mut token = first.text("refresh_token");
    for day in 1..=29 {
        server.advance(Duration::from_secs(86_400)).await;
        if day == 9 {
            // A start purges.
            server = setup().on(server.kill()).start().await;
            let is_purged = async || server.database.count("session").await == 1;
            eventually("the session without a live grant of its own is purged", is_purged).await;
        }
        let answer = refresh(&server, &token).await;
        assert_eq!(answer.status, 200, "day {day}: {}", answer.body);
        token = answer.text("refresh_token");
    }
    server.advance(Duration::from_secs(86_401)).await;
    refresh(&server, &token).await.expect_refusal(400, "invalid_grant");
    let offline = refresh(&server, &offline.text("refresh_token")).await;
    assert!(offline.body.contains("refresh_token.expired"), "{}", offline.body);
    // The session goes a week after the last grant that ends with it.
    server.advance(Duration::from_secs(8 * 86_400)).await;
    let server = setup().on(server.kill()).start().await;
    let is_purged = async || server.database.count("session").await == 0;
    eventually("the other session is purged", is_purged).await;
}

#[tokio::test]
async fn a_purge_deletes_old_codes_grants_secrets_and_refusals_and_no_others() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    tokens(&server, &mut browser, "one", &[]).await;
    code(&mut browser, &[("client_id", "one")]).await;
    drop(browser);
    let database = server.kill();
    let now = now(database.kind());
    let client = "(select id from client where client_id = 'one')";
    let mut made = Vec::new();
    for (name, seconds) in [("old", 86_400), ("young", -86_400)] {
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
        let (week, month) = (7 * 86_400 + seconds, 30 * 86_400 + seconds);
        let code = "user_id, client_id, session_id, redirect_uri, scopes, resources, auth_time, amr, created_at, \
                    expires_at, spent_at, grant_id";
        let grant = "user_id, client_id, session_id, scopes, resources, auth_time, amr, sid, is_offline, created_at, \
                     last_used_at, generation, rotated_at, issued_at, secret";
        let digest = hex(name.as_bytes());
        for sql in [
            format!(
                "insert into authorization_code (digest, kept_until, {code}) \
                 select '{name}', {now} - {seconds} * 1000, {code} from authorization_code \
                 where spent_at is not null limit 1"
            ),
            format!(
                "insert into oauth_grant (id, expires_at, {grant}) \
                 select '{id}', {now} - {week} * cast(1000 as bigint), {grant} from oauth_grant limit 1"
            ),
            format!(
                "insert into client_secret (id, client_id, prefix, digest, created_at, expires_at) \
                 values ('{id}', {client}, '{name}', '{digest}', 0, {now} - {month} * cast(1000 as bigint))"
            ),
            format!(
                "insert into refusal (digest, client_id, check_name, error, endpoint, remedy, reference, count, \
                 first_at, last_at) values ('{name}', {client}, '', '', '', '', '', 1, 0, \
                 {now} - {month} * cast(1000 as bigint))"
            ),
        ] {
            assert_eq!(database.execute(&sql).await, 1, "{sql}");
        }
        made.push(id);
    }
    // A start purges.
    let server = Server::setup().on(database).start().await;
    for (table, column, old, young) in [
        ("authorization_code", "digest", "old".to_owned(), "young".to_owned()),
        ("oauth_grant", "id", made[0].to_string(), made[1].to_string()),
        ("client_secret", "prefix", "old".to_owned(), "young".to_owned()),
        ("refusal", "digest", "old".to_owned(), "young".to_owned()),
    ] {
        let count = async |value: &str| {
            server.database.count(&format!("{table} where {column} = '{value}'")).await
        };
        let is_gone = async || count(&old).await == 0;
        eventually(&format!("the old row of {table} is purged"), is_gone).await;
        assert_eq!(count(&young).await, 1, "{table}");
    }
}

#[tokio::test]
async fn the_row_of_a_code_is_kept_for_an_hour_or_for_a_day_after_its_exchange() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    code(&mut browser, &[("client_id", "one")]).await;
    tokens(&server, &mut browser, "one", &[]).await;
    let kept = "select (kept_until - created_at) / 60000 from authorization_code order by 1";
    let kept = server.database.column::<i64>(kept).await;
    assert!(kept[0] == 61 && (1440..1450).contains(&kept[1]), "{kept:?}");
    // The row of a grant that ended is kept as long as that of one that expired.
    browser.open("/account").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    let ended = "oauth_grant where expires_at = ended_at";
    assert_eq!(server.database.count(ended).await, 1);
}

/// The details of the entries of an act.
async fn audit(server: &Server, act: &str) -> Vec<String> {
    server.database.count("audit").await;
    let rows = format!(
        "select actor || ' ' || coalesce(subject, '-') || ' ' || detail from audit where act = '{act}' order by seq"
    );
    server.database.column::<String>(&rows).await
}

#[tokio::test]
async fn the_audit_has_what_users_and_operators_do_about_applications() {
    let server = server().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let page = browser.open(&request(&[])).await.expect_status(200);
    let spent = accept(&mut browser, page).await;
    let first = exchange(&server, "app", &with_code(&spent)).await.expect_status(200);
    let claims = claims_of(&first.text("access_token"));
    let (user, grant) = (claims["sub"].as_str().unwrap(), claims["grant_id"].as_str().unwrap());
    let user = format!("user:{user}");
    server.advance(Duration::from_secs(30)).await;
    exchange(&server, "app", &with_code(&spent)).await.expect_refusal(400, "invalid_grant");
    let rotate = server.post("/admin/clients/app/secrets").bearer(&root.access);
    rotate.json(&json!({ "overlap": 60 })).send().await.expect_status(201);
    let apps = browser.open("/account/apps").await.expect_status(200);
    let (_, id) = apps.body.split_once("name=\"client\" value=\"").unwrap();
    let id = id.split('"').next().unwrap().to_owned();
    browser.press("/account/apps", &[("client", &id)]).await.expect_status(303);
    for (act, actor, words) in [
        ("consent-give", &*user, vec!["client:app", "openid"]),
        ("grant-open", &user, vec!["client:app", grant, "openid"]),
        ("code-reuse", "anybody", vec![&*user, grant]),
        ("consent-end", &user, vec!["client:app", "\"grants\""]),
        ("client-secret-rotate", &format!("user:{}", root.id), vec!["client:", "app", "60"]),
    ] {
        let rows = audit(&server, act).await;
        assert_eq!(rows.len(), 1, "{act}: {rows:?}");
        assert!(rows[0].starts_with(&format!("{actor} ")), "{act}: {rows:?}");
        assert!(words.iter().all(|word| rows[0].contains(word)), "{act}: {rows:?}");
    }
    let acts: BTreeSet<_> =
        server.database.column::<String>("select act from audit").await.into_iter().collect();
    assert!(!acts.contains("grant-end"), "the end of the access is one entry: {acts:?}");
}

/// A request about a token that nobody knows, or that only reads, waits for no other writer.
#[tokio::test]
async fn unknown_refresh_tokens_wait_for_no_writer() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let tokens = tokens(&server, &mut browser, "app", &[]).await;
    let known = tokens.text("refresh_token");
    let unknown = format!("tsr_gr_{}", "A".repeat(48));
    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    let hold = match server.database.kind() {
        Kind::Sqlite => "update client set name = name",
        Kind::Postgres => "lock table oauth_grant in exclusive mode",
    };
    held.execute_unprepared(hold).await.unwrap();
    let ask = async |path: &str, token: &str| {
        let request = server.post(path).header("authorization", &basic("app"));
        request.form(&[("token", token)]).send().await.expect_status(200)
    };
    ask("/oauth2/revoke", &unknown).await;
    assert_eq!(ask("/oauth2/introspect", &unknown).await.json, json!({ "active": false }));
    assert_eq!(ask("/oauth2/introspect", &known).await.json["active"], true);
    held.rollback().await.unwrap();
    ask("/oauth2/revoke", &known).await;
    assert_eq!(ask("/oauth2/introspect", &known).await.json["active"], false);
    connection.close().await.unwrap();
}
