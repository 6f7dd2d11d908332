//! The parts of `sdk/vectors/` that only the client knows: environments with the settings that follow, and events with
//! what a client does with them. `UPDATE=1 cargo test --package tessera-verify --all-features vectors` writes them.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::follow::Event;
use super::settings::Settings;
use crate::feed::{Record, RecordKind};

/// Compares a file with what it must contain, or writes it.
fn check(name: &str, content: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sdk/vectors").join(name);
    let text = serde_json::to_string_pretty(content).unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "tests have settings too")]
    let updates = std::env::var_os("UPDATE").is_some();
    if updates {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{name} is not up to date: set UPDATE=1 and run this test again");
}

const SECRET: &str = "a secret of at least thirty-two bytes";
const TOKEN: &str = "tsr_a_token";

const ISSUER: &str = "TESSERA_ISSUER";
const AUDIENCE: &str = "TESSERA_AUDIENCE";
const FEED_TOKEN: &str = "TESSERA_FEED_TOKEN";
const FEED: &str = "TESSERA_FEED";
const LOCAL: (&str, &str) = (ISSUER, "http://localhost:8000");

/// Variables and their values.
type Variables = &'static [(&'static str, &'static str)];

/// The variables that are changed, and the variable that the error names, unless the settings can be used. Each
/// environment begins with an issuer, an audience and a token.
const ENVIRONMENTS: &[(Variables, Option<&str>)] = &[
    (&[], None),
    (&[(ISSUER, "https://ID.example.com:443")], None),
    (&[(ISSUER, "HTTPS://id.example.com/")], None),
    (&[(ISSUER, " https://id.example.com ")], None),
    (&[(ISSUER, "https://id.example.com:8443/auth//")], None),
    (&[(ISSUER, "https://id.example.com:80/Auth")], None),
    (&[(ISSUER, "http://127.0.0.1:80/")], None),
    (&[(ISSUER, "http://LOCALHOST:8000")], None),
    (&[(ISSUER, "http://[::1]:8000")], None),
    (&[(ISSUER, "")], Some(ISSUER)),
    (&[(ISSUER, "id.example.com")], Some(ISSUER)),
    (&[(ISSUER, "https://")], Some(ISSUER)),
    (&[(ISSUER, "ftp://localhost")], Some(ISSUER)),
    (&[(ISSUER, "http://id.example.com")], Some(ISSUER)),
    (&[(ISSUER, "http://localhost.example.com")], Some(ISSUER)),
    (&[(ISSUER, "https://user:topsecret@id.example.com")], Some(ISSUER)),
    (&[(ISSUER, "https://id.example.com:topsecret")], Some(ISSUER)),
    (&[(ISSUER, "https://id.example.com/?a=b")], Some(ISSUER)),
    (&[(ISSUER, "https://id.example.com/#a")], Some(ISSUER)),
    (&[(AUDIENCE, " a , b,,")], None),
    (&[(AUDIENCE, "")], Some(AUDIENCE)),
    (&[(AUDIENCE, " , ")], Some(AUDIENCE)),
    (&[("TESSERA_SECRET", SECRET)], None),
    (&[("TESSERA_SECRET", "topsecret")], Some("TESSERA_SECRET")),
    (&[(FEED, "on")], None),
    (&[(FEED, "pull")], None),
    (&[(FEED, "off")], None),
    (&[(FEED, "off"), (FEED_TOKEN, "")], None),
    (&[(FEED, "off"), (FEED_TOKEN, "tsr_topsecret\nX: y")], None),
    (&[(FEED, "")], None),
    (&[(FEED, "OFF")], Some(FEED)),
    (&[(FEED, "topsecret")], Some(FEED)),
    (&[(FEED_TOKEN, "")], Some(FEED_TOKEN)),
    (&[(FEED_TOKEN, " ")], Some(FEED_TOKEN)),
    (&[(FEED_TOKEN, ""), (FEED, "pull")], Some(FEED_TOKEN)),
    (&[(FEED_TOKEN, "tsr_topsecret\nX: y")], Some(FEED_TOKEN)),
    (&[(FEED_TOKEN, "tsr_topsecret with a space")], Some(FEED_TOKEN)),
    (&[(FEED_TOKEN, "tsr_t\u{f6}psecret")], Some(FEED_TOKEN)),
    (&[LOCAL, (FEED_TOKEN, "")], None),
    (&[LOCAL, (FEED_TOKEN, ""), (FEED, "pull")], None),
    (&[("TESSERA_SECRET_FILE", "/nonexistent/topsecret")], Some("TESSERA_SECRET_FILE")),
    (&[("TESSERA_FEED_TOKEN_FILE", "/nonexistent/topsecret")], Some("TESSERA_FEED_TOKEN_FILE")),
];

/// Returns the settings, or the variable that the error names.
fn settings_of(environment: &Map<String, Value>, fault: Option<&str>) -> Value {
    let look = |name: &str| environment.get(name)?.as_str().map(ToOwned::to_owned);
    let read = |_: &str| Err("no such file".to_owned());
    match Settings::read(look, read) {
        Ok(settings) => {
            let feed = match (&settings.feed_token, settings.pulls) {
                (None, _) => "off",
                (Some(_), true) => "pull",
                (Some(_), false) => "stream",
            };
            json!({
                "issuer": settings.issuer, "audiences": settings.audiences, "feed": feed,
                "has_secret": settings.secret.is_some(),
            })
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains("topsecret"), "{text}");
            let named = fault.filter(|name| text.contains(name));
            json!({ "fault": named.unwrap_or_else(|| panic!("{environment:?}: {text}")) })
        }
    }
}

#[test]
fn the_settings_that_follow_from_an_environment_are_up_to_date() {
    let cases = ENVIRONMENTS.iter().map(|(changed, fault)| {
        let plain =
            [(ISSUER, "https://id.example.com"), (AUDIENCE, "reports"), (FEED_TOKEN, TOKEN)];
        let all = plain.iter().chain(*changed);
        let all: Map<_, _> =
            all.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let outcome = settings_of(&all, *fault);
        assert_eq!(fault.is_some(), outcome.get("fault").is_some(), "{all:?}: {outcome}");
        json!({ "environment": all, "outcome": outcome })
    });
    check("settings.json", &json!({ "cases": cases.collect::<Vec<_>>() }));
}

#[test]
fn what_a_client_does_with_an_event_is_up_to_date() {
    let cursor = |seq: u32| format!("0123456789abcdef.{seq}.00000000000000{seq:02}");
    let record = Record { kind: RecordKind::Deny, at: 7, until: 8, hash: 9 };
    let records = STANDARD.encode(record.to_bytes());
    let event = |after: Value, records: &str| {
        let (now, at) = (1_800_000_000_005_u64, 1_800_000_000_000_u64);
        json!({ "after": after, "cursor": cursor(8), "now": now, "at": at, "records": records })
    };
    let without = |name: &str| {
        let mut event = event(cursor(7).into(), &records);
        event.as_object_mut().unwrap().remove(name);
        event.to_string()
    };
    let other_epoch = cursor(7).replace("0123", "3210");
    let cases = [
        ("the next event", event(cursor(7).into(), &records).to_string()),
        ("a heartbeat", event(cursor(7).into(), "").to_string()),
        ("of a server that does not say where it begins", without("after")),
        ("a null as its beginning", event(Value::Null, &records).to_string()),
        ("an event after a lost one", event(cursor(6).into(), &records).to_string()),
        ("a heartbeat after a lost event", event(cursor(8).into(), "").to_string()),
        ("the same place in another history", event(other_epoch.into(), &records).to_string()),
        ("an empty beginning", event("".into(), &records).to_string()),
        ("a number as its beginning", event(7.into(), &records).to_string()),
        ("without a cursor", without("cursor")),
        ("a part of a record", event(cursor(7).into(), &records[4..]).to_string()),
        ("records that are not base64", event(cursor(7).into(), "!").to_string()),
        ("no JSON", "{".to_owned()),
    ];
    let cases = cases.map(|(name, data)| {
        let outcome = match Event::parse(&data) {
            Ok(event) if !event.continues(Some(&cursor(7))) => "lost",
            Ok(event) if event.records().is_ok() => "applied",
            _ => "malformed",
        };
        json!({ "name": name, "data": data, "outcome": outcome })
    });
    let outcomes: Vec<_> = cases.iter().map(|case| case["outcome"].as_str().unwrap()).collect();
    let (applied, lost) = (["applied"; 4], ["lost"; 4]);
    assert_eq!(outcomes, [&applied[..], &lost[..], &["malformed"; 5][..]].concat());
    check("events.json", &json!({ "cursor": cursor(7), "events": cases }));
}
