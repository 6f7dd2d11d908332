//! API tokens cannot be guessed, and answers that reveal tokens of other accounts are limited.

use serde_json::json;

use crate::support::{Answer, Server, Setup};

fn setup() -> Setup {
    Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1")
}

/// A secret that a caller chose and that is hard to guess.
fn chosen(turn: usize) -> String {
    format!("{turn:04}q7Zk2mVx9Lw4Rt8bNc3Hs")
}

impl Server {
    async fn show_from(&self, from: &str, header: &str, secret: &str) -> Answer {
        let value =
            if header == "authorization" { format!("Bearer {secret}") } else { secret.into() };
        let request = self.get("/users/me").header("x-forwarded-for", from);
        request.header(header, &value).send().await
    }
}

#[tokio::test]
async fn guesses_of_api_tokens_are_limited_for_each_ip_address_in_every_header() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    let unused = server.api_token(&person.access, &json!({ "token": chosen(9999) })).await;
    let inside = "192.0.2.1";
    server.show_from(inside, "x-api-key", &secret).await.expect_status(200);
    let headers = ["authorization", "x-api-key", "token"];
    let mut looked_at = 0;
    for turn in 0..130 {
        let answer = server.show_from(inside, headers[turn % 3], &chosen(turn)).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
        } else {
            answer.expect_reason("api_token_unknown");
            looked_at += 1;
        }
    }
    // One more token is checked after each delay, and the delay doubles.
    assert!((101..=106).contains(&looked_at), "{looked_at}");
    let mut refused = server.show_from(inside, "token", &unused).await;
    if refused.status == 200 {
        // A delay has just ended, and no guess was made since.
        return;
    }
    refused = refused.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    assert!(!refused.header("retry-after").is_empty());
    // Tokens that were used from this address still work. So do tokens from elsewhere, and sessions.
    server.show_from(inside, "x-api-key", &secret).await.expect_status(200);
    server.show_from("192.0.2.2", "token", &unused).await.expect_status(200);
    let session = server.get("/users/me").header("x-forwarded-for", inside);
    session.bearer(&person.access).send().await.expect_status(200);
    // A deleted token is refused as unknown, as soon as the server has read this.
    let id = "delete from api_token";
    server.database.execute(id).await;
    server.advance(std::time::Duration::from_secs(1)).await;
    server.show_from(inside, "x-api-key", &secret).await.expect_reason("api_token_unknown");
}

/// A program whose token was deleted must not lock out others at the same IP address.
#[tokio::test]
async fn repeating_one_wrong_token_does_not_count_as_guessing() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    for _ in 0..150 {
        let answer = server.show_from("192.0.2.1", "x-api-key", &chosen(1)).await;
        answer.expect_reason("api_token_unknown");
    }
    server.show_from("192.0.2.1", "x-api-key", &secret).await.expect_status(200);
}

#[tokio::test]
async fn an_account_can_ask_six_times_an_hour_whether_a_secret_is_taken() {
    let server = setup().start().await;
    let owner = server.person("owner").await;
    for turn in 0..12 {
        // An account's own secrets do not count, however many.
        server.api_token(&owner.access, &json!({ "token": chosen(turn) })).await;
        server.api_token(&owner.access, &json!({ "token": chosen(turn) })).await;
    }
    let prober = server.person("prober").await;
    let probe = async |from: &str, turn: usize| {
        let request = server.post("/auth/tokens").header("x-forwarded-for", from);
        request.bearer(&prober.access).json(&json!({ "token": chosen(turn) })).send().await
    };
    for turn in 0..12 {
        let answer = probe(&format!("192.0.2.{turn}"), turn).await;
        match turn {
            0..6 => answer.expect_refusal(409, "API_TOKEN_ALREADY_EXISTS"),
            _ => answer.expect_refusal(429, "TOO_MANY_ATTEMPTS"),
        };
    }
    // A free secret is refused too. A secret that the server makes does not count.
    probe("192.0.2.99", 7777).await.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    server.api_token(&prober.access, &json!({})).await;
    server.api_token(&owner.access, &json!({ "token": chosen(0) })).await;
}

#[tokio::test]
async fn parallel_requests_for_a_taken_secret_are_counted_before_they_are_answered() {
    let server = setup().start().await;
    let owner = server.person("owner").await;
    server.api_token(&owner.access, &json!({ "token": chosen(0) })).await;
    let prober = server.person("prober").await;
    let wanted = json!({ "token": chosen(0) });
    let asked = (0..30).map(|_| server.make_api_token(&prober.access, &wanted));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().filter(|answer| answer.status == 409).count() <= 6);
    assert!(answers.iter().all(|answer| [409, 429].contains(&answer.status)));
}

#[tokio::test]
async fn a_chosen_secret_that_is_easy_to_guess_is_refused_in_production() {
    let easy = ["aaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababab", "abcdefghijklmnopqrstuvwx"];
    let password = "a passphrase nobody guesses";
    let server = Server::setup().production().set("PUBLIC_URL", "https://id.example.com");
    let server = server.start().await;
    server.register("first@user.com", password).await.expect_status(201);
    let (access, _) = server.sign_in("first@user.com", password).await;
    for token in easy {
        let answer = server.make_api_token(&access, &json!({ "token": token })).await;
        let detail = answer.expect_status(422).json["detail"][0].clone();
        assert_eq!(detail["loc"], json!(["body", "token"]));
        let message = detail["msg"].as_str().unwrap();
        assert!(message.contains("leave it out to get a new one"), "{message}");
        assert!(!message.contains(token), "{message}");
    }
    for none in [" ".repeat(24), "short".to_owned()] {
        server.make_api_token(&access, &json!({ "token": none })).await.expect_status(422);
    }
    server.api_token(&access, &json!({ "token": chosen(1) })).await;

    let server = Server::start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({ "token": easy[0] })).await;
    server.me(&secret).await.expect_status(200);
    let log = server.log.wait_for("good enough for development only").await;
    assert!(!log.contains(easy[0]), "{log}");
}
