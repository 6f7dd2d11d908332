//! Forms that come from other sites, without TLS, twice, or too often; and errors in forms.

use reqwest::Url;
use serde_json::json;

use crate::support::{Answer, Browser, PASSWORD, Server};

#[tokio::test]
async fn pages_of_other_sites_cannot_send_our_forms() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    browser.open("/").await.expect_status(200);
    let right = browser.csrf.clone();
    // No CSRF value, a wrong one, that of another browser, and one of the right length.
    let mut other = Browser::of(&server);
    other.open("/login").await;
    for csrf in ["", "x", &other.csrf.clone(), &"A".repeat(43)] {
        browser.csrf = csrf.to_owned();
        let refused = browser.press("/logout", &[]).await.expect_status(403);
        assert!(refused.header("content-type").starts_with("text/html"), "{}", refused.body);
    }
    let cookie = format!("tessera-browser={}", browser.id());
    let post = || server.post("/logout").header("cookie", &cookie).form(&[("csrf", &*right)]);
    post().header("origin", "https://evil.example").send().await.expect_status(403);
    post().header("origin", "null").send().await.expect_status(403);
    post().header("sec-fetch-site", "cross-site").send().await.expect_status(403);
    post().header("sec-fetch-site", "same-site").send().await.expect_status(403);
    let text = format!("csrf={right}");
    let typed = server.post("/logout").header("cookie", &cookie).body("text/plain", text);
    typed.send().await.expect_status(415);
    browser.open("/").await.expect_status(200);
    // Another site cannot sign a browser in to another account either.
    let filled = [("email", "first@user.com"), ("password", PASSWORD), ("csrf", &*right)];
    server.post("/login").form(&filled).send().await.expect_status(403);
    server.post("/register").form(&filled).send().await.expect_status(403);
    post().header("origin", &server.url("")).send().await.expect_status(303);
}

#[tokio::test]
async fn with_tls_other_sites_can_neither_plant_a_session_nor_send_a_form() {
    let server = Server::setup().set("PUBLIC_URL", "https://id.example.com").start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let own = format!("__Host-tessera-browser={}", browser.cookies["__Host-tessera-browser"]);
    let asks = |cookies: String| server.get("/account").header("cookie", &cookies).send();
    asks(own.clone()).await.expect_status(200);
    for blank in crate::cookies::BLANKS {
        asks(format!("{blank}{own}")).await.expect_status(303);
        let both = asks(format!("{own}; {blank}__Host-tessera-browser=x")).await;
        assert_eq!(both.expect_status(200).header("set-cookie"), "", "{blank:?}");
    }
    let csrf = browser.csrf.clone();
    let fields =
        [("email", person.email.as_str()), ("password", PASSWORD), ("csrf", csrf.as_str())];
    let login = |origin: &str| {
        let request = server.post("/login").header("cookie", &own).header("origin", origin);
        request.header("host", "id.example.com").form(&fields).send()
    };
    for origin in ["http://id.example.com", "https:", "https://id.example.co", "\u{ff}"] {
        login(origin).await.expect_status(403);
    }
    login("https://id.example.com").await.expect_status(303);
}

#[tokio::test]
async fn a_page_says_how_long_to_wait_after_too_many_guesses() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let guess = [("act", "delete"), ("current", "wrong")];
    let mut answer = browser.press("/account", &guess).await;
    for _ in 0..20 {
        if answer.status != 400 {
            break;
        }
        answer = browser.press("/account", &guess).await;
    }
    assert!(answer.expect_status(429).header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn only_one_of_two_password_changes_with_the_same_old_password_succeeds() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for turn in 0..5 {
        let old = if turn == 0 { PASSWORD.to_owned() } else { format!("{PASSWORD} {turn}") };
        let next = format!("{PASSWORD} {}", turn + 1);
        let mut one = Browser::of(&server);
        one.sign_in("first@user.com", &old).await;
        one.open("/account").await;
        let mut other = Browser::of(&server);
        (other.cookies, other.csrf) = (one.cookies.clone(), one.csrf.clone());
        let first = [("act", "password"), ("password", next.as_str()), ("current", old.as_str())];
        let thiefs = format!("{next} of a thief");
        let second =
            [("act", "password"), ("password", thiefs.as_str()), ("current", old.as_str())];
        let is_done = |answer: &Answer| {
            answer.header("location") == "./account/password#password-title" && answer.status == 303
        };
        let (a, b) = futures_util::future::join(
            one.press("/account", &first),
            other.press("/account", &second),
        )
        .await;
        let won = [&a, &b].iter().filter(|answer| is_done(answer)).count();
        assert_eq!(won, 1, "{} {}", a.body, b.body);
        let (browser, password) =
            if is_done(&a) { (&mut one, next.clone()) } else { (&mut other, thiefs) };
        browser.open("/account").await.expect_status(200);
        // The next round begins with the password that is now valid.
        let (access, _) = server.sign_in("first@user.com", &password).await;
        if password != next {
            server.change_me(&access, &json!({ "password": next })).await.expect_status(200);
        }
    }
}

#[tokio::test]
async fn other_origins_cannot_read_pages_and_exports_hide_the_addresses_of_superusers() {
    let server = Server::setup().set("CORS_ORIGINS", "https://app.example.com").start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let cookie = format!("tessera-browser={}", browser.id());
    let origin = "https://app.example.com";
    let page = server.get("/account").header("cookie", &cookie).header("origin", origin);
    let page = page.send().await.expect_status(200);
    assert_eq!(page.header("access-control-allow-origin"), "");
    browser.open("/account").await;
    let form = [("csrf", browser.csrf.as_str()), ("act", "end-others")];
    let posted = server.post("/account").header("cookie", &cookie).header("origin", origin);
    posted.form(&form).send().await.expect_status(403);

    let path = format!("/users/{}", person.id);
    let change = json!({ "scopes": ["authenticated", "admin"] });
    server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    let export = server.export_me(&person.access).await;
    let acts = export.json["audit"].as_array().unwrap().clone();
    let act = acts.iter().find(|act| act["act"] == "scopes-change").unwrap();
    assert_eq!((&act["actor"], act.get("ip")), (&json!("somebody else"), None));
    assert!(!export.body.contains(&root.id));
    // Another sign-in in this browser ends the session before it.
    let before = browser.cookies.clone();
    browser.open("/account").await;
    let filled = [("email", root.email.as_str()), ("password", PASSWORD)];
    browser.press("/login", &filled).await.expect_status(303);
    let mut old = Browser::of(&server);
    old.cookies = before;
    old.open("/account").await.expect_status(303);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_api_token() {
    let server = Server::start().await;
    let (person, other) = (server.person("first").await, server.person("second").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let page = browser.open("/account/tokens").await.expect_status(200);
    let once =
        page.body.split("value=\"create-token\"><input type=\"hidden\" name=\"id\" value=\"");
    let once = once.last().unwrap().split('"').next().unwrap().to_owned();
    let token = [("act", "create-token"), ("id", once.as_str()), ("current", PASSWORD)];
    let made = browser.press("/account", &token).await.expect_status(201);
    let secret = made.body.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    // The same form again, and with a different number of days.
    browser.press("/account", &token).await.expect_status(409);
    let other_days: Vec<_> = token.into_iter().chain([("days", "365")]).collect();
    let again = browser.press("/account", &other_days).await.expect_status(409);
    assert!(again.body.contains("This form was already sent"), "{}", again.body);
    assert_eq!(server.database.column::<String>("select id from api_token").await, [once.as_str()]);
    assert_eq!(server.me(&secret).await.text("id"), person.id);

    let mut thief = Browser::of(&server);
    thief.sign_in(&other.email, PASSWORD).await;
    thief.open("/account").await.expect_status(200);
    thief.press("/account", &token).await.expect_status(409);
    let wrong = [("act", "create-token"), ("id", "x"), ("current", PASSWORD)];
    thief.press("/account", &wrong).await.expect_status(422);

    // A deleted token stays deleted: the same form makes another one.
    let delete = [("act", "delete-token"), ("id", once.as_str())];
    browser.press_and_follow("/account", &delete).await;
    browser.press("/account", &token).await.expect_status(201);
    server.me(&secret).await.expect_reason("api_token_unknown");
}

#[tokio::test]
async fn a_sign_in_never_redirects_to_another_site() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "///evil.example",
        "javascript:alert(1)",
        "/.//evil.example",
        "/..//evil.example",
        "/\r\nLocation: https://evil.example",
        "https:evil.example",
        "@evil.example",
        "",
        "/docs",
    ] {
        let mut browser = Browser::of(&server);
        browser.open("/login").await;
        let filled = [("email", "first@user.com"), ("password", PASSWORD), ("next", next)];
        let answer = browser.press("/login", &filled).await.expect_status(303);
        let base = Url::parse(&server.url("/login")).unwrap();
        let place = base.join(&answer.header("location")).unwrap();
        assert_eq!(place.origin(), base.origin(), "{next:?} leads to {place}");
        let query = Url::parse_with_params(&server.url("/login"), [("next", next)]).unwrap();
        let path = format!("/login?{}", query.query().unwrap_or_default());
        let answer = browser.open(&path).await.expect_status(303);
        let place = base.join(&answer.header("location")).unwrap();
        assert_eq!(place.origin(), base.origin(), "{next:?} leads to {place}");
        assert!(["./", "./docs"].contains(&answer.header("location").as_str()), "{next:?}");
    }
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    for (next, leads) in [
        ("/admin/users?q=%C3%84+b%26c\\d//e", "./admin/users?q=%C3%84+b%26c\\d//e"),
        ("/other/", "./other/"),
        ("/%2f%2fevil.example", "./%2f%2fevil.example"),
        ("/../other", "./"),
        ("/a/%2E./b", "./"),
        ("/a/..", "./"),
        ("/a//evil.example", "./"),
    ] {
        let query = Url::parse_with_params(&server.url("/login"), [("next", next)]).unwrap();
        let path = format!("/login?{}", query.query().unwrap_or_default());
        assert_eq!(browser.open(&path).await.expect_status(303).header("location"), leads);
    }
}

#[tokio::test]
async fn a_wrong_code_is_reported_at_its_field_with_a_link_to_another_mail() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    for (path, another) in
        [("/reset-password", "./forgot-password"), ("/verify", "./request-verify-token")]
    {
        browser.open(path).await.expect_status(200);
        let filled =
            [("email", "first@user.com"), ("code", "123456"), ("password", "battery staple")];
        let page = browser.press(path, &filled).await.expect_status(400);
        let field = page.body.split("<input ").find(|input| input.contains("name=\"code\""));
        let field = field.unwrap();
        assert!(field.contains("aria-invalid") && field.contains("id=\"fault\""), "{field}");
        assert_eq!(page.body.matches("aria-invalid").count(), 1, "{}", page.body);
        assert!(page.body.contains(&format!("href=\"{another}\"")), "{}", page.body);
        let asked = browser.open(&another[1..]).await.expect_status(200);
        assert!(asked.body.contains("name=\"email\""));
        let asked = browser.press(&another[1..], &[("email", "first@user.com")]).await;
        let asked = asked.expect_status(200).body;
        assert!(asked.contains(&format!("action=\".{path}\"")), "{asked}");
        assert!(asked.contains("value=\"first@user.com\"") && asked.contains("name=\"code\""));
    }
}

/// Returns the message at a field of a refused form. Asserts that this field alone is marked.
fn message_at<'a>(page: &'a Answer, act: &str, field: &str) -> &'a str {
    assert!(page.body.contains("<title>Error: "), "{}", page.body);
    assert_eq!(page.body.matches("aria-invalid").count(), 1, "{act} {field}: {}", page.body);
    assert_eq!(page.body.matches("id=\"fault\"").count(), 1, "{act} {field}: {}", page.body);
    let of_act = format!("name=\"act\" value=\"{act}\"");
    let mut forms = page.body.split("<form ").map(|form| form.split("</form>").next().unwrap());
    let name = format!("name=\"{field}\"");
    let is_it = |form: &&str| form.contains(&name) && (act.is_empty() || form.contains(&of_act));
    let form = forms.find(is_it).unwrap();
    let input = form.split("<label>").find(|input| input.contains(&name)).unwrap();
    assert!(input.contains("aria-describedby=\"fault"), "{act} {field}: {input}");
    assert!(input.contains(" autofocus"), "{act} {field}: {input}");
    input.split("role=\"alert\">").nth(1).unwrap().split("</p>").next().unwrap()
}

#[tokio::test]
async fn an_error_in_a_field_is_shown_at_the_field() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let long = "x".repeat(300);
    let mut browser = Browser::of(&server);
    browser.open("/register").await;
    for (email, password, field, says) in [
        ("nobody", PASSWORD, "email", "a valid e-mail address"),
        (&*person.email, PASSWORD, "email", "already an account"),
        ("second@user.com", "", "password", "at least"),
    ] {
        let filled = [("email", email), ("password", password)];
        let page = browser.press("/register", &filled).await;
        assert!(message_at(&page, "", field).contains(says), "{}", page.body);
    }
    let page = browser.press("/forgot-password", &[("email", "x")]).await.expect_status(422);
    message_at(&page, "", "email");

    browser.sign_in(&root.email, PASSWORD).await;
    let user = format!("/admin/users/{}", person.id);
    let (account, tokens, revoked) = ("/account", "/admin/api-tokens", "/admin/revoked");
    browser.open(account).await.expect_status(200);
    let [current, wrong] = [("current", PASSWORD), ("current", "wrong")];
    let (long_name, whose) = (("name", &*long), ("username", &*person.email));
    for (path, act, fields, field) in [
        (account, "profile", &[long_name][..], "name"),
        (account, "profile", &[("surname", &*long)], "surname"),
        (account, "profile", &[("website", "javascript:x")], "website"),
        (account, "email", &[("email", "x"), current], "email"),
        (account, "email", &[("email", &person.email), current], "email"),
        (account, "email", &[("email", "third@user.com"), wrong], "current"),
        (account, "password", &[("password", PASSWORD), wrong], "current"),
        (account, "password", &[("password", ""), current], "password"),
        (account, "create-token", &[long_name, current], "name"),
        (account, "create-token", &[("days", "x"), current], "days"),
        (account, "create-token", &[("days", "3651"), current], "days"),
        (account, "create-token", &[wrong], "current"),
        (account, "delete", &[wrong], "current"),
        (&user, "change", &[("scopes", "a\"b")], "scopes"),
        (&user, "end-sessions", &[("why", "")], "why"),
        (&user, "revoke-all", &[("why", "")], "why"),
        (&user, "delete", &[("email", "x")], "email"),
        (tokens, "create-service", &[("name", ""), ("scopes", "")], "name"),
        (tokens, "create-service", &[("name", "a"), ("scopes", "a\"b")], "scopes"),
        (tokens, "create-token", &[("username", "nobody"), current], "username"),
        (tokens, "create-token", &[whose, long_name, current], "name"),
        (tokens, "create-token", &[whose, ("days", "x"), current], "days"),
        (tokens, "create-token", &[whose, ("scopes", "nothing"), current], "scopes"),
        (tokens, "create-token", &[whose, wrong], "current"),
        (revoked, "revoke", &[("kind", "sub"), ("subject", "x"), ("why", "left")], "subject"),
        (revoked, "revoke", &[("kind", "sub"), ("subject", &person.id), ("why", "")], "why"),
    ] {
        let filled: Vec<_> = [("act", act)].into_iter().chain(fields.iter().copied()).collect();
        let page = browser.press(path, &filled).await;
        assert!((400..500).contains(&page.status), "{act} {field}: {}", page.status);
        assert!(!message_at(&page, act, field).is_empty());
    }
    let page = browser.open("/admin/events?since=x").await;
    assert!(page.body.contains("name=\"since\" value=\"x\" aria-invalid"), "{}", page.body);
    // If the form has no such field, the message is at the head of its section.
    let page = browser.press(account, &[("act", "end-session"), ("id", "x"), wrong]).await;
    let part = page.body.split("id=\"sessions-title\"").nth(1).unwrap();
    assert!(part.split("<form ").next().unwrap().contains("id=\"fault\""), "{part}");
    assert!(!page.body.contains("aria-invalid"));
}

#[tokio::test]
async fn the_page_for_an_unknown_path_lets_a_signed_in_user_sign_out() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let cookie = format!("tessera-browser={}", browser.id());
    let asks = |method: &str, path: &str| {
        let request = server.request(method, path).header("accept", "text/html");
        request.header("cookie", &cookie).send()
    };
    let lost = asks("GET", "/nowhere").await.expect_status(404);
    assert!(lost.body.contains("action=\"./logout\""), "{}", lost.body);
    let lost = asks("PUT", "/login").await.expect_status(405);
    browser.csrf = lost.body.split("name=\"csrf\" value=\"").nth(1).unwrap()[..43].to_owned();
    browser.press("/logout", &[]).await.expect_status(303);
    let lost = asks("GET", "/nowhere").await.expect_status(404);
    assert!(!lost.body.contains("logout") && lost.header("set-cookie").is_empty());
}

#[tokio::test]
async fn names_with_marks_that_reverse_the_text_around_them_are_refused() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    for (mark, status) in
        [("\u{202e}", 422), ("\u{2066}", 422), ("\u{2028}", 422), ("\u{200f}", 303)]
    {
        let name = format!("gnp.{mark}exe");
        let changed = server.change_me(&person.access, &json!({ "name": name })).await;
        changed.expect_status(if status == 303 { 200 } else { status });
        let typed = [("act", "profile"), ("name", name.as_str())];
        let answer = browser.press("/account", &typed).await.expect_status(status);
        assert!(status != 303 || answer.header("location") == "./account#profile-title");
    }
}
