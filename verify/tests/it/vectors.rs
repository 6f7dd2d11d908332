//! `sdk/vectors/`, on which the verifiers of all languages agree: tokens with the reason why each is refused, and feeds
//! as bytes with the states that follow. `UPDATE=1 cargo test --package tessera-verify vectors` writes the files, and
//! otherwise they are compared.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tessera_verify::feed::{
    FeedList, Follower, IdKind, LocalTime, Record, RecordKind, SnapshotHead, Verdict, WhenStale,
};
use tessera_verify::{Claims, Key, KeySet, SigningAlgorithm, TokenKind, TokenType, Verifier};
use uuid::Uuid;

use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, id_at, refresh_token, session, user,
};

/// Compares a file with what it must contain, or writes it.
fn check(name: &str, content: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sdk/vectors").join(name);
    let text = serde_json::to_string_pretty(content).unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "tests have settings too")]
    let updates = std::env::var_os("UPDATE").is_some();
    if updates {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == text,
        "{name} is not up to date: run UPDATE=1 cargo test --package tessera-verify vectors"
    );
}

/// A private key in PKCS #8 that is the same in each run (RFC 8410).
fn ed25519() -> Key {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8: Vec<u8> = head.into_iter().chain(1..=32).collect();
    Key::from_pkcs8(SigningAlgorithm::EdDsa, &pkcs8).unwrap()
}

/// The tokens that are signed with the secret, each with what is special about it.
fn forged() -> Vec<(&'static str, String)> {
    let token = Forgery::access;
    let plain = token().sign();
    let (signed, signature) = plain.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    // The last character of 32 bytes has two bits that must be zero.
    let last = signature.chars().next_back().unwrap();
    let unused = char::from(last as u8 + 1);
    let large = "x".repeat(8000);
    vec![
        ("a token of a session", plain.clone()),
        ("the last second", token().with("exp", NOW + 1).sign()),
        ("the first second after its expiry", token().with("exp", NOW).sign()),
        ("issued as far ahead as the leeway allows", token().with("iat", NOW + 2).sign()),
        ("issued a second further ahead", token().with("iat", NOW + 3).sign()),
        ("not valid before the leeway", token().with("nbf", NOW + 3).sign()),
        ("the longest lifetime", token().with("exp", NOW + 86_400).sign()),
        ("a second too long a lifetime", token().with("exp", NOW + 86_401).sign()),
        ("without a session", token().without("sid").sign()),
        ("a name as the subject", token().with("sub", "billing").sign()),
        ("an empty subject", token().with("sub", "").sign()),
        ("a further claim", token().with("tenant", json!({ "id": 7 })).sign()),
        ("a list of audiences", token().with("aud", json!(["other", AUDIENCE])).sign()),
        ("an empty list of audiences", token().with("aud", json!([])).sign()),
        ("another audience", token().with("aud", "other").sign()),
        ("another case of the audience", token().with("aud", AUDIENCE.to_uppercase()).sign()),
        ("another issuer", token().with("iss", "https://id.example.com/").sign()),
        ("a doubled claim", token().and("exp", &(NOW + 900).to_string()).sign()),
        ("a doubled claim with an escape", token().and("\\u0065xp", "9999999999").sign()),
        ("a doubled member below a claim", token().and("x", "{\"a\":1,\"a\":2}").sign()),
        ("a doubled member of the header", token().and_header("alg", "\"HS256\"").sign()),
        ("a number as the audience", token().with("aud", 5).sign()),
        ("a time that is no integer", token().with("exp", 1_800_000_900.5).sign()),
        ("a time as a text", token().with("exp", "1800000900").sign()),
        ("a negative time", token().with("nbf", -1).sign()),
        ("without an expiry", token().without("exp").sign()),
        ("without an id", token().without("jti").sign()),
        ("an id that is no UUID", token().with("jti", "1").sign()),
        ("without a kind", token().without("type").sign()),
        ("a kind that does not exist", token().with("type", "id").sign()),
        ("without a scope", token().without("scope").sign()),
        ("claims that are a list", token().sign_claims("[1]")),
        ("claims that are no JSON", token().sign_claims("exp")),
        ("claims with a text behind them", token().sign_claims("{} {}")),
        ("a critical extension", token().with_header("crit", json!(["exp"])).sign()),
        ("a place of a key", token().with_header("jku", "https://evil.example").sign()),
        ("a key of its own", token().with_header("jwk", json!({ "kty": "oct" })).sign()),
        ("a compressed payload", token().with_header("zip", "DEF").sign()),
        ("the header of another kind", token().with_header("typ", "dpop+jwt").sign()),
        ("the header of a client's token", token().with_header("typ", "at+jwt").sign()),
        ("no algorithm", token().with_header("alg", "none").sign()),
        ("without an algorithm", token().without_header("alg").sign()),
        ("another algorithm", token().with_header("alg", "HS512").sign()),
        ("the algorithm in lower case", token().with_header("alg", "hs256").sign()),
        ("without a key", token().without_header("kid").sign()),
        ("an unknown key", token().with_header("kid", "nobody").sign()),
        (
            "signed with another secret",
            token().signed_with(b"another secret of thirty-two bytes").sign(),
        ),
        ("a changed signature", format!("{signed}.{flipped}{}", &signature[1..])),
        ("a shortened signature", plain[..plain.len() - 4].to_owned()),
        ("without a signature", format!("{signed}.")),
        ("unused bits of base64url", format!("{}{unused}", &plain[..plain.len() - 1])),
        ("padding", format!("{plain}=")),
        ("the alphabet of base64", format!("{header}.{payload}+.{signature}")),
        ("a line break", format!("{signed}.{signature}\n")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{plain}.{signature}")),
        ("an empty text", String::new()),
        ("8192 bytes or less", token().with("x", large.get(..5500)).sign()),
        ("more than 8192 bytes", token().with("x", large).sign()),
        ("a refresh token", refresh_token()),
    ]
}

#[test]
fn the_tokens_are_up_to_date_and_each_has_its_reason() {
    let public = ed25519();
    let jwks = json!({ "keys": [public.public()] });
    let by_secret = KeySet::verifying([Key::hs256(SECRET), Key::refresh(SECRET)]);
    let by_secret = Verifier::new(by_secret, ISSUER, AUDIENCE);
    let by_keys = KeySet::verifying(Key::from_jwks(&jwks.to_string()).unwrap());
    let by_keys = Verifier::new(by_keys, ISSUER, AUDIENCE);
    let judged = |verifier: &Verifier, name: &str, token: &str| {
        let reason = verifier.verify(token, TokenType::Access, NOW).err();
        json!({ "name": name, "token": token, "reason": reason.map(|reason| reason.reason()) })
    };
    let of_secret: Vec<_> =
        forged().iter().map(|(name, token)| judged(&by_secret, name, token)).collect();
    let signed = public.sign(&access_claims()).unwrap();
    let hidden = Forgery::of(&signed, jwks.to_string().as_bytes()).with_header("alg", "HS256");
    let of_keys = [
        ("a token of a session", signed.clone()),
        ("the public key as a secret", hidden.sign()),
        ("signed with a secret", Forgery::access().sign()),
        ("a changed signature", format!("{}AAAA", &signed[..signed.len() - 4])),
    ];
    let of_keys: Vec<_> =
        of_keys.iter().map(|(name, token)| judged(&by_keys, name, token)).collect();
    check(
        "tokens.json",
        &json!({
            "issuer": ISSUER, "audience": AUDIENCE, "now": NOW, "leeway": 2,
            "max_access_lifetime": 86_400,
            "with_secret": { "secret": std::str::from_utf8(SECRET).unwrap(), "tokens": of_secret },
            "with_jwks": { "jwks": jwks, "tokens": of_keys },
        }),
    );
}

/// A verifier that takes steps and writes each of them down with what follows.
struct Scene {
    follower: Follower,
    list: FeedList,
    steps: Vec<Value>,
}

/// The issuer's clock at the beginning, in milliseconds, and the local wall clock.
const AT: u64 = NOW * 1000;

fn local(millis: u64) -> LocalTime {
    let wall = Duration::from_millis(AT + 70_000 + millis);
    LocalTime { monotonic: Duration::from_millis(5000 + millis), wall }
}

/// The ids that a scene asks about.
fn tokens() -> Vec<(&'static str, Claims)> {
    let claims = |jti: Uuid, sid: u128, sub: Uuid| {
        Claims::new(TokenKind::access(false, NOW, ""), ISSUER, sub, AUDIENCE, jti)
            .with_iat(NOW)
            .with_exp(NOW + 900)
            .with_sid(Uuid::from_u128(sid))
    };
    vec![
        ("first", claims(id_at(AT + 5), 0x2222, user())),
        ("second", claims(id_at(AT + 2000), 0x3333, user())),
        ("other", claims(id_at(AT + 6), 0x4444, Uuid::from_u128(0x9999))),
    ]
}

impl Scene {
    fn new(follower: Follower) -> Self {
        Self { follower, list: FeedList::new(), steps: Vec::new() }
    }

    fn step(&mut self, at: LocalTime, what: &str, mut step: Value) {
        let covered = tokens().into_iter().filter(|(_, claims)| self.list.covers(claims));
        let verdict = match self.follower.verdict(&at) {
            Verdict::Accepted => "accepted",
            Verdict::AcceptedStale => "accepted_stale",
            _ => "unavailable",
        };
        step["do"] = what.into();
        step["local"] = json!({
            "monotonic": at.monotonic.as_millis() as u64, "wall": at.wall.as_millis() as u64,
        });
        step["then"] = json!({
            "state": self.follower.state(&at).name(),
            "age": self.follower.age(&at).map(|age| age.as_millis() as u64),
            "judged_at": self.follower.judged_at(&at),
            "verdict": verdict,
            "revoked": covered.map(|(name, _)| name).collect::<Vec<_>>(),
            "key_revoked": self.list.is_key_denied("a-key"),
            "entries": self.list.len(),
        });
        self.steps.push(step);
    }

    fn look(&mut self, at: LocalTime) {
        self.step(at, "look", json!({}));
    }

    fn exchange(&mut self, sent: LocalTime, now: u64, at: LocalTime) {
        self.follower.exchanged(sent, now);
        let sent = json!({
            "monotonic": sent.monotonic.as_millis() as u64, "wall": sent.wall.as_millis() as u64,
        });
        self.step(at, "exchange", json!({ "sent": sent, "now": now }));
    }

    fn snapshot(&mut self, complete: u64, records: &[Record], at: LocalTime) {
        let count = u32::try_from(records.len()).unwrap();
        let head =
            SnapshotHead::new("0123456789abcdef.7.0123456789abcdef", complete + 5, complete, count);
        let bytes: Vec<u8> = records.iter().flat_map(Record::to_bytes).collect();
        let body = [head.to_bytes(), bytes].concat();
        let (parsed, bytes) = SnapshotHead::parse(&body).unwrap();
        assert_eq!(parsed, head);
        self.list.apply(&Record::all_from_bytes(bytes).unwrap());
        self.follower.took_snapshot(complete, &at);
        self.step(at, "snapshot", json!({ "body": STANDARD.encode(body) }));
    }

    fn event(&mut self, complete: u64, records: &[Record], at: LocalTime) {
        let bytes: Vec<u8> = records.iter().flat_map(Record::to_bytes).collect();
        self.list.apply(records);
        self.follower.received(complete, &at);
        self.step(at, "event", json!({ "at": complete, "records": STANDARD.encode(bytes) }));
    }

    fn drop_expired(&mut self, at: LocalTime) {
        self.list.drop_expired(self.follower.latest());
        self.step(at, "drop_expired", json!({}));
    }
}

fn record(kind: RecordKind, at: u64, seconds: u64, hash: u64) -> Record {
    Record { kind, at, until: u32::try_from(NOW + seconds).unwrap(), hash }
}

fn revocations() -> Scene {
    let mut scene = Scene::new(Follower::new());
    let (jti, sid) = (IdKind::Token.hash(id_at(AT + 6)), IdKind::Session.hash(session()));
    let (sub, key) = (IdKind::User.hash(user()), IdKind::Key.hash("a-key"));
    use RecordKind::{Cut, Deny, Key, Lift};
    scene.look(local(0));
    scene.exchange(local(0), AT + 20, local(40));
    scene.snapshot(AT + 10, &[record(Deny, AT, 900, sid)], local(50));
    scene.event(AT + 500, &[], local(540));
    scene.event(AT + 1000, &[record(Cut, AT + 1000, 900, sub)], local(1040));
    scene.event(AT + 1500, &[record(Deny, AT + 1400, 900, jti)], local(1540));
    scene.event(
        AT + 2000,
        &[record(Lift, AT + 1900, 900, sub), record(Lift, AT + 1900, 900, sid)],
        local(2040),
    );
    scene.event(
        AT + 2500,
        &[record(Lift, AT + 2400, 900, jti), record(Deny, AT + 2400, 950, jti)],
        local(2540),
    );
    scene.event(
        AT + 3000,
        &[record(Cut, AT + 2000, 900, sub), record(Key, AT, 900, key)],
        local(3040),
    );
    // A part of the rows says nothing about the time.
    scene.event(0, &[record(Deny, AT + 3000, 900, sid)], local(3050));
    scene.snapshot(AT + 4000, &[], local(4040));
    // The entry of `jti` expires at 950 and is kept for five minutes, the others expire at 900.
    scene.event(AT + 1_200_500, &[], local(1_200_540));
    scene.drop_expired(local(1_200_550));
    scene.event(AT + 1_251_000, &[], local(1_251_040));
    scene.drop_expired(local(1_251_050));
    scene
}

fn ages() -> Scene {
    let mut scene = Scene::new(Follower::new());
    scene.exchange(local(60), AT + 90, local(100));
    scene.snapshot(AT + 80, &[], local(100));
    scene.look(local(5045));
    scene.look(local(5046));
    scene.event(AT + 5050, &[], local(5100));
    scene.exchange(local(5200), AT + 5900, local(5950));
    scene.exchange(local(6200), AT + 6210, local(6250));
    scene.exchange(local(7200), AT + 7210, local(7250));
    scene.event(AT + 7300, &[], local(7350));
    // A fifth exchange: the first one does not count any more.
    scene.exchange(local(8200), AT + 8900, local(8950));
    // A machine that was suspended for a minute, and a wall clock that was set back.
    scene.look(LocalTime { wall: local(69_000).wall, ..local(9000) });
    scene.look(LocalTime { wall: Duration::from_secs(5), ..local(9000) });
    scene.look(LocalTime { wall: Duration::from_secs(5), ..local(20_000) });
    // The issuer's clock jumps ahead by an hour, and back.
    scene.event(AT + 3_620_000, &[], local(20_000));
    scene.exchange(local(20_100), AT + 3_620_120, local(20_150));
    scene.event(AT + 21_000, &[], local(21_050));
    scene.exchange(local(21_100), AT + 21_120, local(21_150));
    scene
}

/// The issuer's clock is an hour ahead for a while. What was judged by it stays judged so until the true time has caught
/// up: a token that has expired by a time of the feed may have lost its entry.
fn ahead_and_back() -> Scene {
    let mut scene = Scene::new(Follower::new());
    let sid = IdKind::Session.hash(session());
    let hour = 3_600_000;
    scene.exchange(local(0), AT + 20, local(40));
    scene.snapshot(AT + 10, &[], local(50));
    scene.event(AT + hour + 500, &[], local(540));
    scene.exchange(local(600), AT + hour + 620, local(640));
    scene.event(
        AT + hour + 1000,
        &[record(RecordKind::Deny, AT + hour + 900, 4500, sid)],
        local(1040),
    );
    scene.event(AT + 1500, &[], local(1540));
    scene.exchange(local(1600), AT + 1620, local(1640));
    scene.event(AT + 60_000, &[], local(60_040));
    scene.drop_expired(local(60_050));
    scene.look(local(70_000));
    scene.event(AT + hour + 2000, &[], local(hour + 2040));
    scene
}

fn opened() -> Scene {
    let open = Follower::new().when_stale(WhenStale::Open).open_for(Duration::from_secs(60));
    let mut scene = Scene::new(open);
    scene.look(local(0));
    scene.exchange(local(0), AT, local(10));
    scene.snapshot(AT, &[], local(20));
    scene.look(local(6000));
    scene.look(local(64_000));
    scene.look(local(66_000));
    scene
}

#[test]
fn the_feeds_are_up_to_date_and_each_has_its_states() {
    let of_record = record(RecordKind::Cut, AT + 7, 900, 0x0102_0304_0506_0708);
    let ids = tokens().into_iter().map(|(name, claims)| {
        json!({
            "name": name, "jti": claims.jti, "sid": claims.sid, "sub": claims.sub, "iat": claims.iat,
            "issued_at_millis": claims.issued_at_millis(),
            "hashes": {
                "jti": format!("{:016x}", IdKind::Token.hash(claims.jti)),
                "sid": format!("{:016x}", IdKind::Session.hash(claims.sid.unwrap())),
                "sub": format!("{:016x}", IdKind::User.hash(&claims.sub)),
            },
        })
    });
    let malformed = [
        ("a part of a record", STANDARD.encode(&of_record.to_bytes()[..19])),
        ("an unknown kind", STANDARD.encode([9; 20])),
        ("a second byte that is not zero", STANDARD.encode([1; 20])),
    ];
    for (name, bytes) in &malformed {
        assert!(Record::all_from_bytes(&STANDARD.decode(bytes).unwrap()).is_err(), "{name}");
    }
    let scene = |name: &str, max_age: u64, open_for: Option<u64>, scene: Scene| json!({ "name": name, "max_age": max_age, "open_for": open_for, "steps": scene.steps });
    check(
        "feeds.json",
        &json!({
            "record": {
                "bytes": STANDARD.encode(of_record.to_bytes()), "kind": 2, "at": of_record.at,
                "until": of_record.until, "hash": format!("{:016x}", of_record.hash),
            },
            "malformed": malformed.map(|(name, bytes)| json!({ "name": name, "records": bytes })),
            "tokens": ids.collect::<Vec<_>>(),
            "scenes": [
                scene("revocations", 5000, None, revocations()),
                scene("ages", 5000, None, ages()),
                scene("the issuer's clock is ahead and goes back", 5000, None, ahead_and_back()),
                scene("open while stale", 5000, Some(60_000), opened()),
            ],
        }),
    );
}
