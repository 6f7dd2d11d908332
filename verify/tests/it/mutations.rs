//! `sdk/vectors/mutations.json`: a token in which one member has each of many odd values, with the reason of each
//! refusal. Parsers of different languages disagree about such values, and the verifiers must not.
//! `UPDATE=1 cargo test --package tessera-verify mutations` writes the file, and otherwise it is compared.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{AUDIENCE, Forgery, ISSUER, NOW, SECRET, judge, part};

/// The texts of values, some of which are not JSON.
fn values() -> Vec<String> {
    let mut values: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "1.0",
        "1e3",
        "1E+2",
        "1.5e-3",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e308",
        "1e309",
        "-1e309",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "nullx",
        "1 ",
        "\n1\t",
        "\u{a0}1",
        "\"\"",
        "\"a\"",
        "\"a",
        "'a'",
        "\"access\"",
        "\"refresh\"",
        "\"Access\"",
        "[]",
        "[\"reports\"]",
        "[\"x\",\"reports\"]",
        "[\"reports\",1]",
        "[[\"reports\"]]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{}",
        "{\"a\":1}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":1,\"a\":1}",
        "[{\"a\":1,\"a\":1}]",
        "{\"a\":{\"b\":1,\"\\u0062\":2}}",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\\ud83d\"",
        "\"\\u0000\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "\"\u{e9}\"",
        "\"\u{2028}\"",
        "\"\\/\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12G4\"",
        "\"0198c5ab00007000800000000000000A\"",
        "\"{0198C5AB-0000-7000-8000-000000000001}\"",
        "\"urn:uuid:0198c5ab-0000-7000-8000-000000000001\"",
        "\"URN:UUID:0198c5ab-0000-7000-8000-000000000001\"",
        "\"0198c5ab-0000-7000-8000-00000000000g\"",
        "\"0198c5ab-00007000-8000-000000000001-\"",
        "\"0198c5ab-0000-7000-8000-000000000001\\n\"",
        "\"56DF201E-2A0C-4B3A-9C6C-0F3AD7A6C1D2\"",
    ]
    .map(str::to_owned)
    .to_vec();
    values.extend([1, 2, 3, 900].map(|ahead| (NOW + ahead).to_string()));
    // With the claims themselves, 127 levels are allowed.
    values.extend([126, 127].map(|depth| "[".repeat(depth) + &"]".repeat(depth)));
    values.extend([126, 127].map(|depth| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)));
    values
}

const CLAIMS: [&str; 17] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "sid",
    "type",
    "fresh",
    "auth_time",
    "scope",
    "gen",
    "x",
    "__proto__",
    "\\u0073ub",
    "",
];

const HEADERS: [&str; 15] = [
    "typ",
    "alg",
    "kid",
    "crit",
    "b64",
    "cty",
    "zip",
    "jku",
    "jwk",
    "x5u",
    "x5c",
    "x5t",
    "x5t#S256",
    "x",
    "al\\u0067",
];

const HEADER_VALUES: [&str; 20] = [
    "\"JWT\"",
    "\"jwt\"",
    "\"at+jwt\"",
    "\"rt+jwt\"",
    "\"RT+JWT\"",
    "\"JWS\"",
    "\"application/jwt\"",
    "\"HS256\"",
    "\"HS512\"",
    "\"hs256\"",
    "\"none\"",
    "\"ES256\"",
    "null",
    "1",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"a",
    "01",
];

fn reason(token: &str) -> Value {
    judge(token).err().map_or(Value::Null, |refusal| refusal.reason().into())
}

/// The members of a part of the token, in its order, with the JSON text of each value.
fn members(token: &str, index: usize) -> Value {
    let object = part(token, index);
    let members = object.as_object().unwrap().iter();
    members.map(|(name, value)| json!([name, value.to_string()])).collect()
}

fn cases<'a>(
    names: &[&'a str],
    values: &[String],
    forge: impl Fn(&str, &str) -> String,
) -> BTreeMap<&'a str, BTreeMap<String, Value>> {
    let of =
        |name| values.iter().map(|value| (value.clone(), reason(&forge(name, value)))).collect();
    names.iter().map(|name| (*name, of(*name))).collect()
}

#[test]
fn the_mutations_are_up_to_date_and_each_has_its_reason() {
    let token = Forgery::access().sign();
    let claims = cases(&CLAIMS, &values(), |name, value| {
        Forgery::access().without(name).and(name, value).sign()
    });
    let headers = cases(&HEADERS, &HEADER_VALUES.map(str::to_owned), |name, value| {
        Forgery::access().without_header(name).and_header(name, value).sign()
    });
    let content = json!({
        "issuer": ISSUER, "audience": AUDIENCE, "now": NOW,
        "secret": std::str::from_utf8(SECRET).unwrap(),
        "header": members(&token, 0), "claims": members(&token, 1),
        "headers_with": headers, "claims_with": claims,
    });
    let text = serde_json::to_string_pretty(&content).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/vectors/mutations.json");
    #[expect(clippy::disallowed_methods, reason = "tests have settings too")]
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let is_current = std::fs::read_to_string(path).unwrap_or_default() == text;
    assert!(is_current, "run UPDATE=1 cargo test --package tessera-verify mutations");
}
