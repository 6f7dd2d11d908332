//! The vectors of Project Wycheproof for JSON web signatures and keys (C2SP, Apache-2.0: see the LICENSE beside them).
//! They are tested with the library and with the program that reads them as lines.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tessera_verify::Key;

/// The vectors whose result in the file is wrong, with the reasons.
const CONTRADICTIONS: [(u64, &str); 4] = [
    (367, "marked invalid, but the same bytes as 357, which is valid"),
    (370, "marked invalid, but the same bytes as 357, which is valid"),
    (372, "marked valid, but contains a question mark, which is not base64url"),
    (373, "marked valid, but contains a question mark, which is not base64url"),
];

/// The vectors that are marked valid and are refused here, with the reasons.
const REFUSED: [(u64, &str); 4] = [
    (346, "signed with PS384, but the key is for PS256"),
    (350, "signed with PS384, but the key is for PS256"),
    (347, "the key is for ES521, which is not an algorithm"),
    (351, "the key is for ES521, which is not an algorithm"),
];

struct Vector {
    id: u64,
    jwk: Value,
    jws: Value,
    valid: bool,
}

fn vectors(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/wycheproof/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let document: Value = serde_json::from_str(&text).expect("the file is JSON");
    let groups = document["testGroups"].as_array().expect("the file has groups");
    let mut vectors = Vec::new();
    for group in groups {
        let key = if group["public"].is_null() { &group["private"] } else { &group["public"] };
        for test in group["tests"].as_array().expect("the group has tests") {
            vectors.push(Vector {
                id: test["tcId"].as_u64().expect("the test has an id"),
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
fn every_signature_has_the_expected_result() {
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
fn every_key_has_the_expected_result() {
    for vector in vectors("json_web_key_test.json") {
        assert_eq!(accepted(&vector), vector.valid, "{}", vector.id);
    }
}

#[test]
fn the_program_prints_the_same_results_line_by_line() {
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
    let mut input = program.stdin.take().expect("the program has standard input");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = program.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends").expect("the program reads all lines");
    let printed = String::from_utf8(output.stdout).expect("the output is text");
    let printed: Vec<_> = printed.lines().collect();
    let results: Vec<_> =
        vectors.iter().map(|vector| if expected(vector) { "valid" } else { "invalid" }).collect();
    assert_eq!(printed, results);
}
