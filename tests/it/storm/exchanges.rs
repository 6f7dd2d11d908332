//! `kill -9` around the exchange of codes: an acknowledged grant is there, and no code gives two.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::provider::{CALLBACK, Client, VERIFIER, basic, code, refresh, userinfo, with_code};
use crate::support::{Browser, PASSWORD, Server, eventually};

/// The codes of one round.
const CODES: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_around_an_exchange_loses_no_acknowledged_grant_and_no_code_gives_two() {
    let mut server = Server::start().await;
    Client::default().insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let (mut acknowledged, mut unknown) = (0_usize, 0_usize);
    for round in 0..40 {
        // On a busy machine, all answers can be on their way when the server dies.
        if round >= 4 && acknowledged > 0 && unknown > 0 {
            break;
        }
        let mut browser = Browser::of(&server);
        browser.sign_in("ada@user.com", PASSWORD).await;
        let mut codes = Vec::new();
        for _ in 0..CODES {
            codes.push(code(&mut browser, &[]).await);
        }
        drop(browser);
        // All are sent at once, and the server is killed after some answers. The start of another program would give it the
        // time to answer all of them.
        let wanted = 1 + 4 * (round % 4);
        let answered = AtomicUsize::new(0);
        let sent = codes.iter().map(async |code| {
            let tokens = exchange(&server, code).await;
            if tokens.is_some() && answered.fetch_add(1, Ordering::Relaxed) + 1 == wanted {
                server.kill_at_once();
            }
            tokens
        });
        let answers = futures_util::future::join_all(sent).await;
        server = Server::setup().on(server.kill()).start().await;
        // What was acknowledged is alive. A code that is used again some seconds later ends it, so this comes first.
        for (access, token) in answers.iter().flatten() {
            acknowledged += 1;
            eventually("the token is accepted", async || {
                userinfo(&server, access).await.status == 200
            })
            .await;
            refresh(&server, token).await.expect_status(200);
        }
        for (code, answer) in codes.iter().zip(answers) {
            let again = server.post("/oauth2/token").header("authorization", &basic("app"));
            let again = again.form(&with_code(code)).send().await;
            // If nobody heard of it, it is open, or it was spent: then the application asks for another one.
            let is_open = answer.is_none() && again.status == 200;
            assert!(is_open || again.code() == "invalid_grant", "{}", again.body);
            unknown += usize::from(answer.is_none());
        }
        let doubles = "select cast(count(*) as text) from (select grant_id from authorization_code \
                       where grant_id is not null group by grant_id having count(*) > 1) as doubled";
        assert_eq!(server.database.column::<String>(doubles).await, ["0"]);
        let spent = "select cast(count(*) as text) from authorization_code where spent_at is not null \
                     and grant_id not in (select id from oauth_grant)";
        assert_eq!(server.database.column::<String>(spent).await, ["0"]);
    }
    assert!(acknowledged > 0 && unknown > 0, "{acknowledged} acknowledged, {unknown} not");
}

/// Exchanges a code. Returns the access token and the refresh token, or `None` if the server died.
async fn exchange(server: &Server, code: &str) -> Option<(String, String)> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let request = server.post("/oauth2/token").header("authorization", &basic("app"));
    let answer = request.form(&fields).try_send().await.ok()?.expect_status(200);
    Some((answer.text("access_token"), answer.text("refresh_token")))
}
