//! `POST /auth/register`

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server};

async fn register(server: &Server, body: &Value) -> crate::support::Answer {
    server.post("/auth/register").json(body).send().await
}

#[tokio::test]
async fn a_registration_returns_the_new_user() {
    let server = Server::start().await;
    let user = server.register("first@user.com", "blurp").await.expect_status(201);
    let id = user.text("id");
    assert_eq!(id.len(), 36);
    let expected = json!({
        "id": id, "email": "first@user.com",
        "is_active": true, "is_superuser": false, "is_verified": false,
    });
    assert_eq!(user.json, expected);
    assert_eq!(user.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_taken_address_is_refused_in_upper_and_lower_case() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for again in ["first@user.com", "FIRST@user.com", "First@USER.com"] {
        server.register(again, PASSWORD).await.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    }
    assert_eq!(server.database.count("\"user\"").await, 1);
}

/// In Unicode, the lower case of the Kelvin sign is "k". With this rule, two users would share an address.
#[tokio::test]
async fn addresses_ignore_the_case_of_ascii_letters_only() {
    let server = Server::start().await;
    server.register("kelvin@user.com", PASSWORD).await.expect_status(201);
    // The right password does not help: only the user's own address leads to this user.
    server.login("\u{212a}ELVIN@user.com", PASSWORD).await.expect_status(400);
    // No new account gets such an address. One of an earlier version is a separate account.
    let other = server.person("other").await;
    let set = "update \"user\" set email = '\u{212a}elvin@user.com' where id =";
    server.database.execute(&format!("{set} '{}'", other.id)).await;
    let (access, _) = server.sign_in("\u{212a}ELVIN@user.com", PASSWORD).await;
    assert_eq!(server.me(&access).await.text("id"), other.id);
}

#[tokio::test]
async fn the_domain_is_stored_in_lower_case_and_the_local_part_as_typed() {
    let server = Server::start().await;
    let user = server.register("Mix.Case@User.COM", PASSWORD).await.expect_status(201);
    assert_eq!(user.text("email"), "Mix.Case@user.com");
}

#[tokio::test]
async fn a_registration_ignores_flags_and_unknown_members() {
    let server = Server::start().await;
    let body = json!({
        "email": "mallory@user.com", "password": PASSWORD, "is_superuser": true,
        "is_verified": true, "is_active": false, "id": "00000000-0000-0000-0000-000000000000",
        "hashed_password": "x", "extra": 1,
    });
    let user = register(&server, &body).await.expect_status(201);
    assert_eq!(user.json["is_superuser"], false);
    assert_eq!(user.json["is_verified"], false);
    assert_eq!(user.json["is_active"], true);
    assert_ne!(user.text("id"), "00000000-0000-0000-0000-000000000000");
}

/// The texts were recorded from FastAPI Users.
#[tokio::test]
async fn an_invalid_body_is_refused_with_the_texts_of_fastapi() {
    let server = Server::start().await;
    let item = |kind: &str, location: Value, message: &str| json!({ "detail": [{ "type": kind, "loc": location, "msg": message }] });
    let missing = |field: &str| item("missing", json!(["body", field]), "Field required");
    let email = |reason: &str| {
        let message = format!("value is not a valid email address: {reason}");
        item("value_error", json!(["body", "email"]), &message)
    };
    let no_period = "The part after the @-sign is not valid. It should have a period.";
    let special = "The part after the @-sign is a special-use or reserved name that cannot be used \
                   with email.";
    let cases = [
        (json!({ "email": "x@user.com" }), missing("password")),
        (json!({ "password": "x" }), missing("email")),
        (
            json!({ "email": "notanemail", "password": "blurp" }),
            email("An email address must have an @-sign."),
        ),
        (json!({ "email": "localhost@example", "password": "blurp" }), email(no_period)),
        (json!({ "email": "u@x.test", "password": "blurp" }), email(special)),
        (
            json!({ "email": "u@example.com", "password": 12345 }),
            item("string_type", json!(["body", "password"]), "Input should be a valid string"),
        ),
        (Value::Null, item("missing", json!(["body"]), "Field required")),
        (
            json!([]),
            item(
                "model_attributes_type",
                json!(["body"]),
                "Input should be a valid dictionary or object to extract fields from",
            ),
        ),
    ];
    for (body, expected) in cases {
        let answer = register(&server, &body).await.expect_status(422);
        assert_eq!(answer.json, expected, "{body}");
    }
    let both = register(&server, &json!({})).await.expect_status(422);
    assert_eq!(both.json["detail"].as_array().unwrap().len(), 2);
    let broken = server.post("/auth/register").body("application/json", "{bad").send().await;
    let expected = item("json_invalid", json!(["body", 1]), "JSON decode error");
    assert_eq!(broken.expect_status(422).json, expected);
    assert_eq!(server.database.count("\"user\"").await, 0);
}

#[tokio::test]
async fn invalid_addresses_are_refused() {
    let server = Server::start().await;
    let long = format!("{}@user.com", "a".repeat(65));
    let longer = format!("a@{}.com", "a.".repeat(150));
    let addresses = [
        "",
        "@",
        "a@",
        "@user.com",
        "a b@user.com",
        "a@user..com",
        ".a@user.com",
        "a.@user.com",
        "a@-user.com",
        "a@user.com\0",
        "\"a\"@user.com",
        "a@[127.0.0.1]",
        "<a@user.com>",
        "A <a@user.com>",
        "a@user.com,b@user.com",
        "a@b@user.com",
        &long,
        &longer,
        "a\r\nbcc:b@user.com",
        "a@user.localhost",
        "a@onion.onion",
    ];
    for address in addresses {
        server.register(address, PASSWORD).await.expect_refusal(422, "UNPROCESSABLE_CONTENT");
    }
    for address in ["a+tag@user.com", "o'hara@user.com", "a@sub.user.co.uk", "a@xn--bcher-kva.com"]
    {
        server.register(address, PASSWORD).await.expect_status(201);
    }
}

#[tokio::test]
async fn development_accepts_a_short_password_with_a_warning() {
    let server = Server::start().await;
    server.register("first@user.com", "blurp").await.expect_status(201);
    let warned = |line: &Value| line["level"] == "WARN" && line["password.characters"] == 5;
    server.log.wait_for_line("a warning about five characters", warned).await;
    let empty = server.register("second@user.com", "").await;
    let empty = empty.expect_refusal(400, "REGISTER_INVALID_PASSWORD");
    assert_eq!(empty.json["detail"]["reason"], "Password should be at least 1 characters");
}

#[tokio::test]
async fn production_refuses_a_short_password_with_the_reason() {
    let server = Server::setup().production().set("BCRYPT_COST", 10).set("PASSWORD_MIN_SCORE", 0);
    let server = server.start().await;
    let answer = server.register("first@user.com", "1234567").await;
    let answer = answer.expect_refusal(400, "REGISTER_INVALID_PASSWORD");
    assert_eq!(answer.json["detail"]["reason"], "Password should be at least 8 characters");
    // Characters count, not bytes.
    server.register("first@user.com", "ééééééé").await.expect_status(400);
    server.register("first@user.com", "éééééééé").await.expect_status(201);
    let long = "x".repeat(1025);
    server.register("second@user.com", &long).await.expect_status(400);
    server.register("second@user.com", &long[..1024]).await.expect_status(201);
    server.login("second@user.com", &long[..1024]).await.expect_status(200);
}

#[tokio::test]
async fn nobody_can_register_if_registration_is_closed() {
    let server = Server::setup().set("REGISTRATION", "closed").start().await;
    server.register("first@user.com", PASSWORD).await.expect_refusal(403, "REGISTRATION_CLOSED");
    assert_eq!(server.database.count("\"user\"").await, 0);
}

#[tokio::test]
async fn a_password_that_is_easy_to_guess_is_refused_with_a_reason() {
    let server = Server::setup().production().set("BCRYPT_COST", 10).start().await;
    let register = async |email: &str, password: &str, name: &str| {
        let body = json!({ "email": email, "password": password, "name": name });
        server.post("/auth/register").json(&body).send().await
    };
    for (password, name) in [
        ("password1", "x"),
        ("qwertyuiop", "x"),
        ("ada.king@user.com", "x"),
        ("ada.king1", "x"),
        ("Lovelace", "Lovelace"),
        ("aaaaaaaaaaaa", "x"),
    ] {
        let refused = register("ada.king@user.com", password, name).await;
        let refused = refused.expect_refusal(400, "REGISTER_INVALID_PASSWORD");
        let reason = refused.json["detail"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("Password is too easy to guess. "), "{reason}");
        assert!(!reason.contains("Lovelace"), "{reason}");
    }
    register("ada.king@user.com", PASSWORD, "Ada").await.expect_status(201);
    let (access, _) = server.sign_in("ada.king@user.com", PASSWORD).await;
    let changed = server.change_me(&access, &json!({ "password": "ada.king1" })).await;
    changed.expect_refusal(400, "UPDATE_USER_INVALID_PASSWORD");
    // Development accepts any password.
    let server = Server::start().await;
    server.register("first@user.com", "password").await.expect_status(201);
}
