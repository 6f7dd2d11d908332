//! Sends recorded requests of FastAPI Users to Tessera and compares the answers. A front end that was written for
//! FastAPI Users works with Tessera without changes. Some answers differ on purpose; the reasons are here.

use serde_json::{Value, json};

use crate::support::{Answer, MailServer, Request, Server, awaited, claims_of, eventually};

const RECORDED: &str = include_str!("../fixtures/fastapi-users-exchanges.txt");

const PASSWORD: &str = "blurp";

/// The recorded exchanges, in order.
struct Recorded {
    lines: Vec<&'static str>,
}

/// A recorded answer.
struct Exchange {
    line: &'static str,
    status: u16,
    body: Value,
}

impl Recorded {
    fn new() -> Self {
        // Other lines are comments.
        let lines = RECORDED.lines().filter(|line| line.contains(" -> ")).rev();
        Self { lines: lines.collect() }
    }

    /// Returns the next exchange. Asserts that it begins like this.
    #[track_caller]
    fn next(&mut self, begin: &str) -> Exchange {
        let line = self.lines.pop().unwrap_or_else(|| panic!("no exchange is left for {begin}"));
        assert!(line.starts_with(begin), "the next exchange is {line}, not {begin}");
        let (_, answer) = line.rsplit_once(" -> ").unwrap();
        let (status, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        let body =
            rest.strip_prefix('\'').and_then(|rest| rest.rsplit_once("' {")).unwrap_or(("", ""));
        // Python escapes quotes.
        let body = body.0.replace("\\'", "'");
        let body = serde_json::from_str(&body).unwrap_or(Value::Null);
        Exchange { line, status: status.parse().unwrap(), body }
    }

    /// Skips exchanges about features that Tessera does not have.
    #[track_caller]
    fn skip(&mut self, begins: &[&str], _why: &str) {
        for begin in begins {
            self.next(begin);
        }
    }
}

/// Removes the parts that differ each time, and those that Tessera leaves out of every list of errors.
fn comparable(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(faults) = body["detail"].as_array_mut() {
        for fault in faults.iter_mut().filter_map(Value::as_object_mut) {
            // Tessera does not send input back, because it may be a password.
            fault.remove("input");
            fault.remove("ctx");
        }
    }
    if let Some(members) = body.as_object_mut()
        && let Some(id) = members.remove("id")
    {
        assert!(id.as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{id}");
    }
    body
}

impl Exchange {
    /// Asserts that Tessera gives the same answer.
    #[track_caller]
    fn same(&self, answer: &Answer) {
        assert_eq!(answer.status, self.status, "{}\n{}", self.line, answer.body);
        assert_eq!(comparable(&answer.json), comparable(&self.body), "{}", self.line);
        let typed = answer.header("content-type");
        assert_eq!(typed == "application/json", self.line.contains("'content-type'"), "{typed}");
        for method in self.line.split("'allow': '").skip(1) {
            assert_eq!(answer.header("allow"), method.split('\'').next().unwrap());
        }
    }

    /// Asserts that Tessera's answer has the same members and more.
    #[track_caller]
    fn tokens(&self, answer: &Answer, _why: &str) {
        assert_eq!(answer.status, self.status, "{}", self.line);
        for (name, value) in self.body.as_object().unwrap() {
            let same = name == "access_token" || answer.json[name] == *value;
            assert!(same && answer.json[name].is_string(), "{name}: {}", answer.body);
        }
        let audience = claims_of(self.body["access_token"].as_str().unwrap())["aud"].clone();
        let own = claims_of(&answer.text("access_token"));
        assert_eq!(audience, json!([own["aud"]]), "a list of one, and the one");
    }

    /// Asserts that Tessera gives another answer, for a reason.
    #[track_caller]
    fn differs(&self, answer: &Answer, status: u16, why: &str) {
        assert_eq!(answer.status, status, "{}: {why}", self.line);
        let same =
            answer.status == self.status && comparable(&answer.json) == comparable(&self.body);
        assert!(!same, "Tessera now gives the same answer: {}", self.line);
    }
}

async fn send(request: Request) -> Answer {
    request.send().await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "as many as exchanges were recorded, in their order")]
async fn tessera_answers_the_recorded_exchanges_as_fastapi_users_does() {
    let mails = MailServer::start(&[]);
    let setup = || {
        Server::setup()
            .production()
            .set("PUBLIC_URL", "https://id.example.com")
            .set("MAIL_URL", format!("smtp://127.0.0.1:{}?tls=none", mails.port))
            .set("MAIL_FROM", "accounts@example.com")
            .set("JWT_AUDIENCE", "fastapi-users:auth")
            .set("BCRYPT_COST", 10)
            // The rule of the recorded application.
            .set("PASSWORD_MIN_LENGTH", 3)
            .set("PASSWORD_MIN_SCORE", 0)
    };
    let server = setup().start().await;
    let mut recorded = Recorded::new();

    // Registration.
    let register = async |body: Value| send(server.post("/auth/register").json(&body)).await;
    let mut registered = async |body: Value| {
        let answer = register(body).await;
        recorded.next("POST /auth/register {'json'").same(&answer);
        answer
    };
    let first = registered(json!({ "email": "first@user.com", "password": PASSWORD })).await;
    let first = first.text("id");
    registered(json!({ "email": "first@user.com", "password": PASSWORD })).await;
    registered(json!({ "email": "FIRST@user.com", "password": PASSWORD })).await;
    registered(json!({ "email": "b@user.com", "password": "x" })).await;
    registered(json!({ "email": "notanemail", "password": PASSWORD })).await;
    registered(json!({ "email": "x@user.com" })).await;
    registered(json!({})).await;
    recorded.next("POST /auth/register {}").same(&send(server.post("/auth/register")).await);
    let bad = server.post("/auth/register").body("application/json", "{bad");
    recorded.next("POST /auth/register {'content': '{bad'").same(&send(bad).await);
    let form = server.post("/auth/register").form(&[("email", "a@b.com"), ("password", "abcd")]);
    recorded.next("POST /auth/register {'data'").same(&send(form).await);
    let mut registered = async |body: Value| {
        let answer = register(body).await;
        recorded.next("POST /auth/register {'json'").same(&answer);
        answer
    };
    let other = json!({
        "email": "Mix.Case@User.COM", "password": PASSWORD,
        "is_superuser": true, "is_verified": true, "is_active": false, "extra": 1
    });
    let other = registered(other).await.text("id");
    for email in ["localhost@example", "u@test", "u@x.test"] {
        registered(json!({ "email": email, "password": PASSWORD })).await;
    }
    registered(json!({ "email": "u@example.com", "password": 12345 })).await;
    registered(json!({ "email": "long@example.com", "password": "p".repeat(200) })).await;
    for method in ["GET", "PUT"] {
        let answer = send(server.request(method, "/auth/register")).await;
        recorded.next(&format!("{method} /auth/register")).same(&answer);
    }

    // Sign-in.
    let login = |fields: &[(&str, &str)]| server.post("/auth/jwt/login").form(fields);
    let (name, secret) = (("username", "first@user.com"), ("password", PASSWORD));
    let begin = "POST /auth/jwt/login";
    for fields in [
        &[name, ("password", "wrong")][..],
        &[("username", "nobody@user.com"), ("password", "wrong")],
        &[name],
    ] {
        recorded.next(begin).same(&send(login(fields)).await);
    }
    let body = json!({ "username": "first@user.com", "password": PASSWORD });
    let answer = send(server.post("/auth/jwt/login").json(&body)).await;
    recorded.next("POST /auth/jwt/login {'json'").same(&answer);
    recorded.next("POST /auth/jwt/login {}").same(&send(server.post("/auth/jwt/login")).await);
    let grant = send(login(&[name, secret, ("grant_type", "foo")])).await;
    recorded.next(begin).same(&grant);
    let more = "the answer also has a refresh token and the lifetimes of both tokens";
    let whole = [
        name,
        secret,
        ("grant_type", "password"),
        ("scope", "a b"),
        ("client_id", "x"),
        ("client_secret", "y"),
    ];
    let signed_in = send(login(&whole)).await;
    recorded.next(begin).tokens(&signed_in, more);
    let access = signed_in.text("access_token");
    let answer = send(login(&[("username", "FIRST@User.com"), secret])).await;
    recorded.next("case-insens login").tokens(&answer, more);
    let parts = reqwest::multipart::Form::new();
    let parts = parts.text("username", "first@user.com").text("password", PASSWORD);
    let answer = send(server.post("/auth/jwt/login").multipart(parts)).await;
    recorded.next("multipart login").tokens(&answer, more);
    let strict = setup().set("REQUIRE_VERIFICATION", "true").on(server.database.clone());
    let strict = strict.start().await;
    let answer = send(strict.post("/auth/jwt/login").form(&[name, secret])).await;
    recorded.next("POST /auth/vjwt/login").same(&answer);
    drop(strict);

    // The current user.
    let me = || server.get("/users/me");
    recorded.next("me ok").same(&send(me().bearer(&access)).await);
    recorded.next("me none").same(&send(me()).await);
    recorded.next("me bad").same(&send(me().bearer("bad")).await);
    let scheme = |scheme: &str| me().header("authorization", &format!("{scheme} {access}"));
    recorded.next("me lowercase scheme").same(&send(scheme("bearer")).await);
    recorded.next("me JWT scheme").same(&send(scheme("JWT")).await);
    recorded.next("me basic").same(&send(me().header("authorization", "Basic Og==")).await);
    recorded.skip(
        &[
            "GET /t/active",
            "GET /t/verified",
            "GET /t/super",
            "GET /t/optional",
            "GET /t/optional",
            "optional bad",
        ],
        "routes of the recorded application; other tests cover the guards of services",
    );

    // Cookies.
    let answer = send(server.post("/auth/cookie/login").form(&[name, secret])).await;
    recorded.next("POST /auth/cookie/login").same(&answer);
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    let set: Vec<_> = set.iter().map(|value| value.to_str().unwrap()).collect();
    let cookie = set.iter().find(|cookie| cookie.contains("HttpOnly")).unwrap();
    for attribute in ["Path=/", "SameSite=Lax", "Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let pairs: Vec<_> = set.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    let with_cookie = |request: Request| request.header("cookie", &pairs.join("; "));
    recorded.next("me cookie").same(&send(with_cookie(me())).await);
    let csrf =
        pairs.iter().find_map(|pair| pair.strip_prefix("tessera-csrf=")).unwrap_or_else(|| {
            pairs.iter().find_map(|pair| pair.strip_prefix("__Host-tessera-csrf=")).unwrap()
        });
    let leave = || with_cookie(server.post("/auth/cookie/logout"));
    let exchange = recorded.next("cookie logout");
    let why = "a page of another site must not sign users out: it does not know the CSRF value";
    exchange.differs(&send(leave()).await, 403, why);
    exchange.same(&send(leave().header("x-csrf-token", csrf)).await);
    let answer = send(server.post("/auth/cookie/logout")).await;
    recorded.next("cookie logout none").same(&answer);

    // Sign-out.
    recorded.next("jwt logout").same(&server.logout(&access).await);
    let why = "a token is not accepted after the sign-out";
    recorded.next("me after jwt logout").differs(&server.me(&access).await, 401, why);
    recorded.next("jwt logout none").same(&send(server.post("/auth/jwt/logout")).await);
    recorded.skip(
        &["POST /auth/db/login", "me db token", "db logout", "me after db logout"],
        "in Tessera, tokens in the database are API tokens, which no sign-in gives",
    );

    // Changes of the current user.
    let (access, _) = server.sign_in("first@user.com", PASSWORD).await;
    let change = async |access: &str, body: Value| server.change_me(access, &body).await;
    let answer = change(&access, json!({ "is_superuser": true, "is_verified": true })).await;
    recorded.next("patch me is_superuser").same(&answer);
    recorded.next("patch me short pw").same(&change(&access, json!({ "password": "x" })).await);
    let (password, before) = ("newpassword", access);
    recorded.next("patch me pw").same(&change(&before, json!({ "password": password })).await);
    let why = "a new password ends every access token of the user";
    recorded.next("me after pw change").differs(&server.me(&before).await, 401, why);
    let (access, _) = server.sign_in("first@user.com", password).await;
    recorded.next("patch me empty").same(&change(&access, json!({})).await);
    let taken = change(&access, json!({ "email": "mix.case@user.com" })).await;
    recorded.next("patch me email taken").same(&taken);
    recorded.next("patch me email invalid").same(&change(&access, json!({ "email": "bad" })).await);
    recorded.next("patch me no auth").same(&send(server.patch("/users/me").json(&json!({}))).await);
    recorded.next("patch me pw null").same(&change(&access, json!({ "password": null })).await);

    // A new password by mail.
    let ask = async |path: &str, email: &str| {
        send(server.post(path).json(&json!({ "email": email }))).await
    };
    for email in ["nobody@x.com", "bad", "first@user.com"] {
        let answer = ask("/auth/forgot-password", email).await;
        recorded.next("POST /auth/forgot-password").same(&answer);
    }
    let mailed = async |subject: &str, count: usize| {
        let what = format!("mail {count}, {subject}");
        let letter = awaited(&what, async || {
            let letters = mails.letters().into_iter();
            letters
                .filter(|letter| letter.to == "first@user.com" && letter.subject.contains(subject))
                .nth(count - 1)
        });
        letter.await.token()
    };
    let token = mailed("new password", 1).await;
    let reset = async |token: &str, password: &str| {
        let body = json!({ "token": token, "password": password });
        send(server.post("/auth/reset-password").json(&body)).await
    };
    recorded.next("POST /auth/reset-password").same(&reset("bad", "abc123").await);
    recorded.next("reset short").same(&reset(&token, "x").await);
    recorded.next("reset ok").same(&reset(&token, "abc123").await);
    recorded.next("reset reuse").same(&reset(&token, "abc1234").await);
    let answer = server.post("/auth/reset-password").json(&json!({ "password": "abc123" }));
    recorded.next("reset missing").same(&send(answer).await);

    // Verification of the address.
    for email in ["nobody@x.com", "first@user.com"] {
        let answer = ask("/auth/request-verify-token", email).await;
        recorded.next("POST /auth/request-verify-token").same(&answer);
    }
    let verify = async |token: &str| {
        send(server.post("/auth/verify").json(&json!({ "token": token }))).await
    };
    recorded.next("POST /auth/verify").same(&verify("bad").await);
    // The registration sent the first one.
    let token = mailed("Verify", 2).await;
    recorded.next("verify ok").same(&verify(&token).await);
    recorded.next("verify again").same(&verify(&token).await);
    let answer = ask("/auth/request-verify-token", "first@user.com").await;
    recorded.next("request verify already").same(&answer);
    let (access, _) = server.sign_in("first@user.com", "abc123").await;
    let moved = change(&access, json!({ "email": "new@user.com" })).await;
    recorded.next("patch email resets verified").same(&moved);

    // Other users.
    let path = format!("/users/{first}");
    recorded.next("users/id no auth").same(&send(server.get(&path)).await);
    recorded.next("users/id not super").same(&send(server.get(&path).bearer(&access)).await);
    server
        .database
        .execute(&format!("update \"user\" set is_superuser = true where id = '{first}'"))
        .await;
    let read = |path: &str| server.get(path).bearer(&access);
    let is_known = async || read(&path).send().await.status == 200;
    eventually("the user is known as a superuser", is_known).await;
    recorded.next("users/id super").same(&send(read(&path)).await);
    for id in ["not-a-uuid", "00000000-0000-0000-0000-000000000000"] {
        let path = format!("/users/{id}");
        recorded.next(&format!("GET {path}")).same(&send(read(&path)).await);
    }
    let path = format!("/users/{other}");
    let patch = async |body: Value| send(server.patch(&path).bearer(&access).json(&body)).await;
    let flags = json!({ "is_active": false, "is_verified": true });
    recorded.next("patch id ->").same(&patch(flags).await);
    let inactive = send(login(&[("username", "Mix.Case@user.com"), secret])).await;
    recorded.next("login inactive").same(&inactive);
    recorded.next("patch id email taken").same(&patch(json!({ "email": "new@user.com" })).await);
    recorded.next("patch id short").same(&patch(json!({ "password": "x" })).await);
    let delete = |path: &str| server.request("DELETE", path).bearer(&access);
    recorded.next("delete id ->").same(&send(delete(&path)).await);
    recorded.next("delete id again").same(&send(delete(&path)).await);

    // Operations that only Tessera has.
    let why = "users can delete their account, except the last superuser";
    recorded.next("DELETE /users/me").differs(&send(delete("/users/me")).await, 409, why);
    let why = "superusers can list users";
    recorded.next("GET /users ").differs(&send(read("/users")).await, 200, why);
    let why = "a path can end in a slash";
    recorded.next("GET /users/ ").differs(&send(read("/users/")).await, 200, why);
    recorded.skip(
        &[
            "GET /auth/fake/authorize",
            "cb no cookie",
            "cb ok",
            "cb noemail",
            "cb bad state",
            "cb error",
        ],
        "Tessera has no sign-in with accounts of other providers",
    );
    recorded.skip(&["cb nocode", "cb nostate", "cb exch fail"], "as before");
    let clash = json!({ "email": "clash@ext.com", "password": PASSWORD });
    recorded.next("POST /auth/register {'json'").same(&register(clash).await);
    recorded.skip(
        &[
            "cb email clash",
            "cb email clash associate",
            "assoc authorize noauth",
            "assoc authorize",
        ],
        "as before",
    );
    recorded.skip(&["assoc cb ok", "assoc cb wrong state"], "as before");
    assert!(recorded.lines.is_empty(), "exchanges were not compared: {:?}", recorded.lines);
}
