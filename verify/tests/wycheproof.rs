//! Project Wycheproof's vectors for JSON web signatures and keys (C2SP, Apache-2.0: see the LICENSE
//! beside them), through the library and through the program that reads them as lines.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tessera_verify::Key;

/// The vectors whose result is not the one the file gives, with why.
const CONTRADICTIONS: [(u64, &str); 4] = [
    (367, "byte for byte the valid 357, marked invalid"),
    (370, "byte for byte the valid 357, marked invalid"),
    (372, "contains a question mark, which is no base64url, marked valid"),
    (373, "contains a question mark, which is no base64url, marked valid"),
];

/// Refused although marked valid, with why.
const REFUSED: [(u64, &str); 4] = [
    (346, "signed with PS384 by a key that says it is for PS256"),
    (350, "signed with PS384 by a key that says it is for PS256"),
    (347, "the key says it is for ES521, which is no algorithm"),
    (351, "the key says it is for ES521, which is no algorithm"),
];

struct Vector {
    id: u64,
    jwk: Value,
    jws: Value,
    valid: bool,
}

fn vectors(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/wycheproof/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the file is there");
    let document: Value = serde_json::from_str(&text).expect("the file is JSON");
    let groups = document["testGroups"].as_array().expect("there are groups");
    let mut vectors = Vec::new();
    for group in groups {
        let key = if group["public"].is_null() { &group["private"] } else { &group["public"] };
        for test in group["tests"].as_array().expect("there are tests") {
            vectors.push(Vector {
                id: test["tcId"].as_u64().expect("an id"),
                jwk: key.clone(),
                jws: test["jws"].clone(),
                valid: test["result"] == "valid",
            });
        }
    }
    vectors
}

fn expected(vector: &Vector) -> bool {
    let listed = |list: &[(u64, &str)]| list.iter().any(|(id, _)| *id == vector.id);
    vector.valid != listed(&CONTRADICTIONS) && !listed(&REFUSED)
}

fn accepted(vector: &Vector) -> bool {
    let (json, jws) = (vector.jwk.to_string(), vector.jws.as_str().unwrap_or_default());
    let keys = if vector.jwk["keys"].is_array() {
        Key::from_jwks(&json)
    } else {
        Key::from_jwk(&json).map(|key| vec![key])
    };
    keys.is_ok_and(|keys| keys.iter().any(|key| key.verify(jws).is_ok()))
}

#[test]
fn every_signature_is_judged_as_it_should_be() {
    let vectors = vectors("json_web_signature_test.json");
    assert_eq!(vectors.len(), 401);
    let wrong: BTreeMap<_, _> = vectors
        .iter()
        .filter(|vector| accepted(vector) != expected(vector))
        .map(|vector| (vector.id, vector.jwk["alg"].clone()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let valid = vectors.iter().filter(|vector| accepted(vector)).count();
    assert!(valid > 30, "only {valid} are accepted");
}

#[test]
fn every_key_is_judged_as_it_should_be() {
    for vector in vectors("json_web_key_test.json") {
        assert_eq!(accepted(&vector), vector.valid, "{}", vector.id);
    }
}

#[test]
fn the_program_says_the_same_line_by_line() {
    let vectors = vectors("json_web_signature_test.json");
    let mut program = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "tessera-verify", "--example", "verify_jsonl"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs");
    let lines: String = vectors
        .iter()
        .map(|vector| format!("{}\n", json!({ "jwk": vector.jwk, "jws": vector.jws })))
        .collect();
    let mut input = program.stdin.take().expect("it reads");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = program.wait_with_output().expect("it ends");
    writer.join().expect("written").expect("written");
    let said = String::from_utf8(output.stdout).expect("text");
    let said: Vec<_> = said.lines().collect();
    let wanted: Vec<_> =
        vectors.iter().map(|vector| if expected(vector) { "valid" } else { "invalid" }).collect();
    assert_eq!(said, wanted);
}
