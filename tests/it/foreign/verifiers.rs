//! Third-party libraries accept Tessera's tokens and hashes.

use std::collections::BTreeMap;
use std::process::Command;

use super::node_program;
use crate::once::{block, project, read, run, text, tool};
use crate::provider::Client;
use crate::support::{Browser, Forgery, PASSWORD, SECRET, Server, claims_of};

fn python(script: &str, environment: &[(&str, &str)]) -> String {
    let output =
        run(Command::new(tool("python")).args(["-c", script]).envs(environment.iter().copied()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn pyjwt_accepts_an_access_token_with_app_secret() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let decode = block("docs/guide/verifying.md", "decode");
    assert!(decode.contains("https://id.example.com"), "{decode}");
    let decode = decode.replace("https://id.example.com", "http://localhost:8000");
    let script =
        format!("import jwt, os\ntoken = os.environ['TOKEN']\n{decode}\nprint(claims['sub'])\n");
    let environment = [("TOKEN", person.access.as_str()), ("APP_SECRET", SECRET)];
    assert_eq!(python(&script, &environment), person.id);
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

/// Verifies a token with third-party libraries, each set up as its documentation says. The results are `accepted` or
/// the reason of the refusal.
fn verify_with_libraries(token: &str, leeway: Option<u64>) -> BTreeMap<String, String> {
    let arguments = [token.to_owned(), SECRET.to_owned()];
    let arguments = || arguments.iter().cloned().chain(leeway.map(|leeway| leeway.to_string()));
    let scripts = project().join("tests/tools");
    let libraries = node_program(&read("tests/tools/libraries.mjs"));
    let mut node = Command::new("node");
    node.arg(libraries.path()).args(arguments());
    let mut python = Command::new(tool("python"));
    python.arg(scripts.join("libraries.py")).args(arguments());
    let mut judged = BTreeMap::new();
    for command in [&mut node, &mut python] {
        let output = run(command);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let told: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
        judged.extend(told);
    }
    assert_eq!(judged.len(), 9, "{judged:?}");
    judged
}

/// The libraries hold the secret, and none of them checks the claim `type`.
#[tokio::test]
async fn no_library_accepts_a_refresh_token_as_an_access_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for (library, said) in verify_with_libraries(&person.access, None) {
        assert_eq!(said, "accepted", "{library}");
    }
    for (library, said) in verify_with_libraries(&person.refresh, None) {
        assert!(said.to_lowercase().contains("signature"), "{library}: {said}");
    }
}

/// For a library whose clock is behind, the times in tokens are in the future.
#[tokio::test]
async fn libraries_check_iat_and_nbf_as_the_table_of_the_guide_says() {
    let server = Server::start().await;
    let access = server.person("first").await.access;
    let issued = claims_of(&access)["iat"].as_u64().unwrap();
    let good = || Forgery::of(&access).with("nbf", issued - 5);
    let mut expected = BTreeMap::new();
    for claim in ["iat", "nbf"] {
        // The libraries check the token some seconds later.
        let ahead = good().with(claim, issued + 240).sign();
        for leeway in [None, Some(300)] {
            for (library, said) in verify_with_libraries(&ahead, leeway) {
                let said = if said == "accepted" { "accepted" } else { "refused" };
                expected.entry(library).or_insert_with(Vec::new).push(said.to_owned());
            }
        }
    }
    let page = read("docs/guide/verifying.md");
    let (_, table) = page.split_once("<!-- leeways -->").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let mut told = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
        let with_leeway = if cells[4].starts_with("none") { "refused" } else { "accepted" };
        let with = |cell: &str| if cell == "accepted" { "accepted" } else { with_leeway };
        let row = [&cells[2], with(&cells[2]), &cells[3], with(&cells[3])];
        told.insert(cells[1].clone(), row.map(ToOwned::to_owned).to_vec());
    }
    assert_eq!(told, expected);
}

/// The ID token and the access token of each algorithm, with the published key and the hash that binds them together.
#[tokio::test]
async fn pyjwt_accepts_id_tokens_of_each_algorithm_with_the_hash_of_their_access_token() {
    let script = "
import base64, hashlib, jwt, os
keys = jwt.PyJWKClient(os.environ['KEYS'])
algorithm, issuer = os.environ['ALGORITHM'], os.environ['ISSUER']
def decoded(token, audience):
    key = keys.get_signing_key_from_jwt(token).key
    return jwt.decode(token, key, algorithms=[algorithm], audience=audience, issuer=issuer,
                      options={'require': ['exp', 'iat', 'sub']})
claims = decoded(os.environ['ID_TOKEN'], os.environ['CLIENT'])
access = decoded(os.environ['ACCESS'], issuer)
hashed = (hashlib.sha512 if algorithm == 'EdDSA' else hashlib.sha256)(os.environ['ACCESS'].encode())
half = hashed.digest()[:hashed.digest_size // 2]
assert claims['at_hash'] == base64.urlsafe_b64encode(half).rstrip(b'=').decode(), claims
assert claims['sub'] == access['sub'] and claims['nonce'] == 'n-1', claims
parts = os.environ['ID_TOKEN'].split('.')
parts[2] = ('B' if parts[2][0] == 'A' else 'A') + parts[2][1:]
try:
    decoded('.'.join(parts), os.environ['CLIENT'])
except jwt.InvalidSignatureError:
    print(claims['email'])
";
    let server = crate::provider::server().await;
    for (id, algorithm) in [("rs", "RS256"), ("es", "ES256"), ("ed", "EdDSA")] {
        let settings = serde_json::json!({
            "trusted": true, "id_token_alg": algorithm, "access_token_alg": algorithm,
        });
        Client { id, settings, ..Client::default() }.insert(&server.database).await;
        let mut browser = Browser::of(&server);
        browser.sign_in("ada@user.com", PASSWORD).await;
        let tokens = crate::grants::tokens(&server, &mut browser, id, &[]).await;
        let (access, id_token) = (tokens.text("access_token"), tokens.text("id_token"));
        let issuer = claims_of(&access)["iss"].as_str().unwrap().to_owned();
        let keys = server.url("/.well-known/jwks.json");
        let environment = [
            ("KEYS", keys.as_str()),
            ("ALGORITHM", algorithm),
            ("ISSUER", issuer.as_str()),
            ("CLIENT", id),
            ("ID_TOKEN", id_token.as_str()),
            ("ACCESS", access.as_str()),
        ];
        assert_eq!(python(script, &environment), "ada@user.com", "{algorithm}");
    }
}

/// Every algorithm, with two libraries in Python and one in JavaScript, with the secret and with published keys.
#[tokio::test]
async fn authlib_pyjwt_and_jose_accept_access_tokens() {
    let authlib = "
import json, os, urllib.request
from authlib.jose import JsonWebKey, JsonWebToken
key = os.environ['KEY']
if key.startswith('http'):
    key = JsonWebKey.import_key_set(json.load(urllib.request.urlopen(key)))
claims = JsonWebToken([os.environ['ALGORITHM']]).decode(os.environ['TOKEN'], key, claims_options={
    'iss': {'essential': True, 'value': 'http://localhost:8000'},
    'aud': {'essential': True, 'value': 'tessera'},
})
claims.validate()
print(claims['sub'])
";
    let pyjwt = block("docs/guide/verifying.md", "jwks");
    let program = node_program(&read("tests/tools/verify.mjs"));
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let server = Server::setup().set("JWT_ALGORITHM", algorithm).start().await;
        let person = server.person("first").await;
        let jwks = server.url("/.well-known/jwks.json");
        let key = if algorithm == "HS256" { SECRET } else { jwks.as_str() };
        let jose = |token: &str, key: &str| {
            let mut node = Command::new("node");
            node.arg(program.path()).args([token, algorithm, key]);
            run(&mut node)
        };
        let accepted = jose(&person.access, key);
        assert_eq!(text(&accepted.stdout).trim(), person.id, "{}", text(&accepted.stderr));
        let environment =
            [("TOKEN", person.access.as_str()), ("ALGORITHM", algorithm), ("KEY", key)];
        assert_eq!(python(authlib, &environment), person.id, "{algorithm}");
        if algorithm == "HS256" {
            let wrong = SECRET.replace('0', "1");
            assert!(!jose(&person.access, &wrong).status.success());
        } else {
            let script = pyjwt
                .replace("http://localhost:8000/.well-known/jwks.json", &jwks)
                .replace("EdDSA", algorithm);
            assert_eq!(python(&script, &environment), person.id, "{algorithm}");
            // A retired key is no longer published.
            let root = server.superuser("root").await;
            let rotate = server.post("/admin/keys").bearer(&root.access);
            let now = serde_json::json!({ "now": true });
            rotate.json(&now).send().await.expect_status(201);
            let kid = crate::support::header_of(&person.access)["kid"].clone();
            let path = format!("/admin/keys/{}", kid.as_str().unwrap());
            let (access, _) = server.sign_in(&root.email, PASSWORD).await;
            let retire = server.request("DELETE", &path).bearer(&access);
            retire.send().await.expect_status(204);
            assert!(!jose(&person.access, key).status.success());
            assert!(jose(&access, key).status.success());
        }
    }
}

#[tokio::test]
async fn passlib_and_tessera_can_verify_each_others_hashes() {
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

/// The results of each library for a token, by name.
fn judged(token: &str, algorithm: &str, keys: &[&str]) -> Vec<(String, String)> {
    let program = node_program(&read("tests/tools/verifiers.mjs"));
    let mut python = Command::new(tool("python"));
    python.arg(project().join("tests/tools/verifiers.py"));
    let mut node = Command::new("node");
    node.arg(program.path());
    let mut results = Vec::new();
    for command in [&mut python, &mut node] {
        let output = run(command.args([token, algorithm]).args(keys));
        let said = text(&output.stdout);
        let judged: BTreeMap<String, String> = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", text(&output.stderr)));
        results.extend(judged);
    }
    results
}

/// The rows of a table of the guide: the cells after the first, by the first.
fn table(name: &str) -> Vec<Vec<String>> {
    let page = read("docs/guide/verifying.md");
    let (_, rest) = page.split_once(&format!("<!-- {name} -->")).unwrap();
    let rows = rest.trim_start().lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_libraries_of_the_guide_accept_only_access_tokens_for_their_service() {
    let rows = table("libraries");
    for algorithm in ["HS256", "ES256", "RS256", "EdDSA"] {
        let server = Server::setup().set("JWT_ALGORITHM", algorithm).start().await;
        let person = server.person("first").await;
        let jwks = server.url("/.well-known/jwks.json");
        // The settings of the terminal do not matter.
        let mut export = server.beside();
        export.env("APP_SECRET", SECRET).env("JWT_ALGORITHM", "HS256");
        let exported = run(export.args(["keys", "export", "--format=pem"]));
        let keys = match algorithm {
            "HS256" => {
                assert!(text(&exported.stderr).contains("HS256"), "{}", text(&exported.stderr));
                vec![SECRET]
            }
            _ => vec![std::str::from_utf8(&exported.stdout).unwrap(), &jwks],
        };
        let accepted = judged(&person.access, algorithm, &keys);
        for (library, result) in &accepted {
            assert_eq!(result, "accepted", "{algorithm} {library}");
        }
        let mut tried: Vec<_> = accepted.iter().map(|(library, _)| library.clone()).collect();
        let has_it = |row: &&Vec<String>| algorithm == "HS256" || row[2].contains(algorithm);
        let mut told: Vec<_> = rows.iter().filter(has_it).map(|row| row[0].clone()).collect();
        tried.sort_unstable();
        told.sort_unstable();
        assert_eq!(tried, told, "the guide names these libraries for {algorithm}");

        let mut refused = vec![person.refresh.clone()];
        if algorithm == "HS256" {
            let forgery = Forgery::of(&person.access);
            let past = claims_of(&person.access)["iat"].as_u64().unwrap() - 1000;
            refused.extend([
                forgery.clone().with("iat", past).with("exp", past + 10).sign(),
                forgery.clone().with("aud", "elsewhere").sign(),
                forgery.clone().with("iss", "https://elsewhere.example").sign(),
                forgery.clone().with("type", "refresh").sign(),
                forgery.secret(b"somebody else's secret of many bytes").sign(),
            ]);
        } else {
            // The public key as an HMAC secret, and no signature.
            let forgery = Forgery::of(&person.access).with_header("alg", "HS256");
            refused.push(forgery.secret(keys[0].as_bytes()).sign());
            refused.push(Forgery::of(&person.access).with_header("alg", "none").unsigned());
        }
        for token in refused {
            for (library, result) in judged(&token, algorithm, &keys) {
                assert_ne!(result, "accepted", "{algorithm} {library} {token}");
            }
        }
    }
}
