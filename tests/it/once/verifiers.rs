//! Other people's libraries accept what Tessera makes.

use std::process::Command;

use super::{run, text, tool};
use crate::support::{PASSWORD, SECRET, Server};

fn python(script: &str, environment: &[(&str, &str)]) -> String {
    let output =
        run(Command::new(tool("python")).args(["-c", script]).envs(environment.iter().copied()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn pyjwt_accepts_our_token_with_app_secret() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let script = "
import jwt, os
claims = jwt.decode(os.environ['TOKEN'], os.environ['APP_SECRET'], algorithms=['HS256'],
                    audience='tessera', issuer='http://localhost:8000',
                    options={'require': ['exp', 'iat', 'nbf', 'sub', 'jti']})
print(claims['sub'])
";
    let environment = [("TOKEN", person.access.as_str()), ("APP_SECRET", SECRET)];
    assert_eq!(python(script, &environment), person.id);
    let wrong = "
import jwt, os
try:
    jwt.decode(os.environ['TOKEN'], os.environ['APP_SECRET'] + 'x', algorithms=['HS256'],
               audience='tessera')
except jwt.InvalidSignatureError:
    print('refused')
";
    assert_eq!(python(wrong, &environment), "refused");
}

#[tokio::test]
async fn passlib_and_tessera_read_each_others_hashes() {
    let server = Server::start().await;
    let long = "p".repeat(200);
    server.register("short@user.com", PASSWORD).await.expect_status(201);
    server.register("long@user.com", &long).await.expect_status(201);
    let hashes = server
        .database
        .column::<String>("select hashed_password from \"user\" order by email desc")
        .await;
    let script = "
import os
from passlib.hash import bcrypt, bcrypt_sha256
assert bcrypt.verify(os.environ['SHORT'], os.environ['SHORT_HASH'])
assert bcrypt_sha256.verify(os.environ['LONG'], os.environ['LONG_HASH'])
assert not bcrypt_sha256.verify(os.environ['LONG'] + 'p', os.environ['LONG_HASH'])
print(bcrypt_sha256.using(rounds=5).hash('made elsewhere'))
";
    let environment = [
        ("SHORT", PASSWORD),
        ("LONG", long.as_str()),
        ("SHORT_HASH", hashes[0].as_str()),
        ("LONG_HASH", hashes[1].as_str()),
    ];
    let theirs = python(script, &environment);
    let sql = format!("update \"user\" set hashed_password = '{theirs}'");
    server.database.execute(&sql).await;
    server.login("short@user.com", "made elsewhere").await.expect_status(200);
    server.login("short@user.com", PASSWORD).await.expect_status(400);
}
