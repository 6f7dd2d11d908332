//! The revocation feed: records, cursors, waiting, streams, snapshots, epochs.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tessera_verify::feed::SnapshotHead;

use crate::support::{Answer, PASSWORD, Person, Server, claims_of, eventually};

/// The first 8 bytes of SHA-256 in hexadecimal, as the feed has an id.
pub(crate) fn hash(subject: &str) -> String {
    let digest = digest(&SHA256, subject.as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn claim(token: &str, name: &str) -> String {
    claims_of(token)[name].as_str().unwrap().to_owned()
}

/// A service that may read the feed.
pub(crate) struct Reader<'a> {
    pub(crate) server: &'a Server,
    pub(crate) token: String,
}

/// A stream of events.
pub(crate) struct Stream {
    response: reqwest::Response,
    text: String,
    /// The cursor of the last event.
    last: Option<String>,
}

impl Server {
    pub(crate) async fn reader(&self, root: &Person) -> Reader<'_> {
        let token = self.service(root, "reports", &["revocations:read"]).await;
        Reader { server: self, token }
    }

    /// Waits until this many streams and requests wait for revocations.
    async fn waits_for(&self, waiters: u32) {
        let do_wait = async || self.metric("tessera_feed_waiters").await == f64::from(waiters);
        eventually("they wait for revocations", do_wait).await;
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn of(server: &'a Server, token: &str) -> Self {
        Self { server, token: token.to_owned() }
    }

    pub(crate) async fn get(&self, query: &str) -> Answer {
        self.server.get(&format!("/auth/revocations{query}")).bearer(&self.token).send().await
    }

    /// The place at the end of the feed.
    pub(crate) async fn end(&self) -> String {
        self.server.wait_until_caught_up().await;
        self.get("").await.expect_status(200).text("cursor")
    }

    pub(crate) async fn after(&self, cursor: &str) -> Answer {
        self.get(&format!("?after={cursor}&limit=1000&v=1")).await
    }

    /// Waits until there are entries after a cursor, and returns them.
    pub(crate) async fn entries_after(&self, cursor: &str) -> Vec<Value> {
        let page = self.get(&format!("?after={cursor}&wait=25")).await.expect_status(200);
        page.json["entries"].as_array().unwrap().clone()
    }

    pub(crate) async fn stream(&self, query: &str, last: Option<&str>) -> Stream {
        let url = self.server.url(&format!("/auth/revocations/stream{query}"));
        let mut request = reqwest::Client::new().get(url).bearer_auth(&self.token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Stream::of(response)
    }

    /// Takes a snapshot: its head, and its records in hexadecimal.
    pub(crate) async fn snapshot(&self) -> (SnapshotHead, Vec<String>) {
        let url = self.server.url("/auth/revocations/snapshot");
        let request = reqwest::Client::new().get(url).bearer_auth(&self.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/vnd.tessera.revocations");
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let body = response.bytes().await.unwrap();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*body), &mut plain).unwrap();
        let (head, records) = SnapshotHead::parse(&plain).unwrap();
        (head, hex_records(records))
    }
}

fn hex_records(bytes: &[u8]) -> Vec<String> {
    let hex = |record: &[u8]| record.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.chunks(20).map(hex).collect()
}

impl Stream {
    pub(crate) fn of(response: reqwest::Response) -> Self {
        Self { response, text: String::new(), last: None }
    }

    /// Returns the next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let part = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    /// Returns the data of the next event with records, or of the next event at all.
    pub(crate) async fn data(&mut self, with_records: bool) -> Value {
        loop {
            let event = self.next().await.expect("the stream goes on");
            let (id, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(id, format!("id: {}", data["cursor"].as_str().unwrap()));
            // No event is missing before this one.
            assert!(self.last.is_none() || self.last == data["after"].as_str().map(str::to_owned));
            self.last = data["cursor"].as_str().map(str::to_owned);
            if !with_records || data["records"] != "" {
                return data;
            }
        }
    }

    /// Returns the hashes of the records of the next event with records.
    pub(crate) async fn data_hashes(&mut self) -> Vec<String> {
        let data = self.data(true).await;
        self.hashes(&data)
    }

    /// Returns the hashes of the records of an event.
    pub(crate) fn hashes(&self, data: &Value) -> Vec<String> {
        let records = STANDARD.decode(data["records"].as_str().unwrap()).unwrap();
        hex_records(&records).iter().map(|one| one[24..].to_owned()).collect()
    }

    async fn records(&mut self) -> Vec<String> {
        let data = self.data(true).await;
        hex_records(&STANDARD.decode(data["records"].as_str().unwrap()).unwrap())
    }

    /// Checks that the stream ends before its third heartbeat from now. It promises to end within a second, and sends a
    /// heartbeat every two seconds. A busy machine delays both.
    pub(crate) async fn ends_soon(&mut self) {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let mut heartbeats = 0;
        while let Some(event) = self.next().await {
            let Some((_, data)) = event.split_once("data: ") else { continue };
            let data: Value = serde_json::from_str(data).unwrap();
            // An earlier one can have waited for this reader.
            let is_later = u128::from(data["at"].as_u64().unwrap()) > now;
            heartbeats += usize::from(data["records"] == "" && is_later);
            assert!(heartbeats < 3, "the stream goes on");
        }
    }

    /// Waits until the stream ends.
    pub(crate) async fn ends(&mut self) -> Option<String> {
        let mut last = None;
        while let Some(event) = self.next().await {
            last = Some(event);
        }
        last
    }
}

/// A record, written by hand: `kind u8, 0 u8, at u48, until u32, hash u64`.
fn record(kind: u8, at: i64, until: i64, hash: &str) -> String {
    format!("{kind:02x}00{at:012x}{:08x}{hash}", until / 1000)
}

impl Server {
    /// Returns the columns `at` and `until` of the last row of an id.
    async fn times_of(&self, subject: &str) -> (i64, i64) {
        let sql = |column| {
            format!("select {column} from revocation where subject = '{subject}' order by seq desc")
        };
        let column = async |name| self.database.column::<i64>(&sql(name)).await[0];
        (column("at").await, column("until").await)
    }
}

#[tokio::test]
async fn records_name_nobody_and_are_the_same_bytes_everywhere() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let person = server.person("first").await;
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    let begin = reader.end().await;
    let mut stream = reader.stream(&format!("?after={begin}"), None).await;
    let first = stream.data(false).await;
    assert_eq!((&first["records"], &first["after"]), (&json!(""), &json!(begin)));

    server.logout(&person.access).await.expect_status(204);
    let sid = claim(&person.access, "sid");
    let (at, until) = server.times_of(&sid).await;
    let deny = record(1, at, until, &hash(&format!("sid:{sid}")));
    assert_eq!(stream.records().await, std::slice::from_ref(&deny));
    let page = reader.after(&begin).await.expect_status(200);
    let entry = json!({
        "kind": "deny", "hash": hash(&format!("sid:{sid}")), "at": at, "until": until / 1000,
    });
    assert_eq!(page.json["entries"], json!([entry]));
    assert!(page.json["at"].as_u64() <= page.json["now"].as_u64());

    let form = [("token", &*access)];
    server.post("/auth/revoke").form(&form).send().await.expect_status(200);
    let jti = claim(&access, "jti");
    let (at, until) = server.times_of(&jti).await;
    let token = record(1, at, until, &hash(&format!("jti:{jti}")));
    assert_eq!(stream.records().await, std::slice::from_ref(&token));

    let revoke = json!({ "kind": "sub", "subject": person.id, "why": "a laptop was stolen" });
    let admin = server.post("/admin/revocations").bearer(&root.access).json(&revoke);
    admin.send().await.expect_status(204);
    let (at, until) = server.times_of(&person.id).await;
    let cut = record(2, at, until, &hash(&format!("sub:{}", person.id)));
    let mut found = Vec::new();
    while !found.contains(&cut) {
        found.extend(stream.records().await);
    }
    let (head, records) = reader.snapshot().await;
    for wanted in [&deny, &token, &cut] {
        assert!(records.contains(wanted), "{wanted} is not in {records:?}");
    }
    assert!(head.at <= head.now && head.count as usize == records.len());
    let later = reader.after(&head.cursor).await.expect_status(200);
    assert_eq!(later.json["entries"], json!([]));
    // Nothing of what is secret or personal is in any answer.
    let all = reader.after(&begin).await.body;
    for hidden in [&sid, &jti, &person.id, "stolen", &person.email] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn a_page_has_at_most_as_many_entries_as_wanted_and_is_complete_only_at_the_end() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let begin = reader.end().await;
    for name in ["a", "b", "c", "d", "e"] {
        let person = server.person(name).await;
        server.logout(&person.access).await.expect_status(204);
    }
    server.wait_until_caught_up().await;
    let (mut cursor, mut found) = (begin.clone(), Vec::new());
    for (count, is_last) in [(2, false), (2, false), (1, true), (0, true)] {
        let page = reader.get(&format!("?after={cursor}&limit=2")).await.expect_status(200);
        let entries = page.json["entries"].as_array().unwrap().clone();
        assert_eq!(entries.len(), count);
        assert_eq!(page.json["at"].as_u64().unwrap() > 0, is_last, "{}", page.body);
        found.extend(entries);
        cursor = page.text("cursor");
    }
    let all = reader.after(&begin).await.expect_status(200);
    assert_eq!(all.json["entries"], json!(found));
    assert_eq!(all.text("cursor"), cursor);
    for query in ["?limit=0", "?limit=1001", "?wait=26", "?wait=x", "?v=0"] {
        reader.get(query).await.expect_status(422);
    }
}

#[tokio::test]
async fn a_text_that_is_no_cursor_is_refused_and_a_cursor_of_another_past_is_gone() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    let end = reader.end().await;
    let parts: Vec<_> = end.split('.').collect();
    let (epoch, seq, tag) = (parts[0], parts[1].parse::<i64>().unwrap(), parts[2]);
    for (invalid, text) in [
        ("nothing", String::new()),
        ("a word", "x".to_owned()),
        ("two parts", format!("{epoch}.{seq}")),
        ("four parts", format!("{end}.0")),
        ("a negative number", format!("{epoch}.-1.{tag}")),
        ("a number with a sign", format!("{epoch}.%2B{seq}.{tag}")),
        ("a number with a zero before it", format!("{epoch}.0{seq}.{tag}")),
        ("a number that is too large", format!("{epoch}.9223372036854775808.{tag}")),
        ("upper case", end.to_uppercase()),
        ("a short tag", format!("{epoch}.{seq}.{}", &tag[1..])),
        ("a space", format!("{end}%20")),
    ] {
        let answer = reader.after(&text).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "REVOCATION_CURSOR_INVALID"),
            "{invalid}"
        );
        let answer = reader.get(&format!("/stream?after={text}")).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "REVOCATION_CURSOR_INVALID"),
            "{invalid}"
        );
    }
    let flipped = if tag.starts_with('0') { "1" } else { "0" };
    for (gone, text) in [
        ("another epoch", format!("0123456789abcdef.{seq}.{tag}")),
        ("another row", format!("{epoch}.{seq}.{flipped}{}", &tag[1..])),
        ("a row that does not exist yet", format!("{epoch}.{}.{tag}", seq + 1)),
        ("a row far ahead", format!("{epoch}.9223372036854775807.{tag}")),
        ("the row before", format!("{epoch}.{}.{tag}", seq - 1)),
    ] {
        let answer = reader.after(&text).await;
        assert_eq!((answer.status, &*answer.code()), (410, "REVOCATION_CURSOR_GONE"), "{gone}");
        let answer = reader.get(&format!("/stream?after={text}")).await;
        assert_eq!((answer.status, &*answer.code()), (410, "REVOCATION_CURSOR_GONE"), "{gone}");
    }
}

#[tokio::test]
async fn a_waiting_request_is_answered_by_the_next_revocation() {
    let server = Server::setup().set("METRICS_LISTEN", "127.0.0.1:0").start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let person = server.person("first").await;
    let end = reader.end().await;
    let logout = async {
        server.waits_for(1).await;
        server.logout(&person.access).await.expect_status(204)
    };
    // At the end of the wait, there would be no entries.
    let (entries, ended) = tokio::join!(reader.entries_after(&end), logout);
    let sid = claim(&person.access, "sid");
    assert_eq!(entries[0]["hash"], hash(&format!("sid:{sid}")));
    // The answer to the sign-out says up to which number one must have read.
    let place = ended.header("tessera-revocation-seq");
    let page = reader.get("").await.expect_status(200).text("cursor");
    assert!(page.starts_with(&format!("{place}.")), "{place} {page}");
    server.me(&root.access).await.expect_status(200);
    assert_eq!(server.me(&root.access).await.header("tessera-revocation-seq"), "");
    let none = reader.get(&format!("?after={page}&wait=1")).await.expect_status(200);
    assert_eq!(none.json["entries"], json!([]));
}

#[tokio::test]
async fn a_stream_continues_after_the_last_event_and_sends_heartbeats() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let people = [server.person("a").await, server.person("b").await];
    let begin = reader.end().await;
    let mut stream = reader.stream(&format!("?after={begin}"), None).await;
    server.logout(&people[0].access).await.expect_status(204);
    let first = stream.data(true).await;
    drop(stream);
    server.logout(&people[1].access).await.expect_status(204);
    server.wait_until_caught_up().await;
    // The header counts, not the query.
    let last = first["cursor"].as_str().unwrap();
    let mut stream = reader.stream(&format!("?after={begin}"), Some(last)).await;
    let second = stream.data(false).await;
    let records = STANDARD.decode(second["records"].as_str().unwrap()).unwrap();
    let sid = claim(&people[1].access, "sid");
    let hashes: Vec<_> = hex_records(&records).iter().map(|one| one[24..].to_owned()).collect();
    assert_eq!(hashes, [hash(&format!("sid:{sid}"))]);
    // The token of another stream expires some day, so the server looks at it often. That stream gets its events too.
    let body = json!({ "scopes": ["revocations:read"], "expire": 3600 });
    let token = server.api_token(&root.access, &body).await;
    let mut watched = Reader { server: &server, token }.stream("", None).await;
    let mut watched_at = watched.data(false).await["at"].as_u64();
    for _ in 0..2 {
        let beat = stream.data(false).await;
        assert_eq!((&beat["records"], &beat["cursor"]), (&json!(""), &second["cursor"]));
        assert!(beat["at"].as_u64() > second["at"].as_u64());
        let beat = watched.data(false).await;
        assert!(beat["at"].as_u64() > watched_at);
        watched_at = beat["at"].as_u64();
    }
}

#[tokio::test]
async fn only_an_api_token_with_the_scope_may_read_and_its_stream_ends_with_it() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let other = server.service(&root, "billing", &["tokens:check"]).await;
    for path in ["", "/stream", "/snapshot"] {
        let path = format!("/auth/revocations{path}");
        server.get(&path).send().await.expect_refusal(401, "Unauthorized");
        server.get(&path).bearer(&root.access).send().await.expect_reason("type_mismatch");
        server.get(&path).bearer(&other).send().await.expect_refusal(403, "Forbidden");
    }
    let body = json!({ "scopes": ["authenticated"] });
    let weak = server.api_token(&root.access, &body).await;
    let refused = server.get("/auth/revocations").bearer(&weak).send().await;
    refused.expect_refusal(403, "INSUFFICIENT_SCOPE");

    let mut of_service = reader.stream("", None).await;
    let delete = server.request("DELETE", "/admin/services/reports").bearer(&root.access);
    delete.send().await.expect_status(204);
    of_service.ends_soon().await;
    reader.get("").await.expect_status(401);

    // A token of a user ends with what the user may do.
    let body = json!({ "scopes": ["revocations:read"] });
    let second = server.superuser("second").await;
    let token = server.api_token(&second.access, &body).await;
    let of_user = Reader { server: &server, token };
    let mut stream = of_user.stream("", None).await;
    let change = json!({ "is_active": false });
    let path = format!("/users/{}", second.id);
    server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    stream.ends_soon().await;
    of_user.get("").await.expect_status(401);

    // A token that expires.
    let body = json!({ "scopes": ["revocations:read"], "expire": 3600 });
    let token = server.api_token(&root.access, &body).await;
    let expiring = Reader { server: &server, token };
    let mut stream = expiring.stream("", None).await;
    server.move_clock(Duration::from_secs(3700));
    stream.ends_soon().await;
}

#[tokio::test]
async fn a_stop_ends_waiters_and_tells_them_to_come_back_at_different_times() {
    let mut server = Server::setup().set("METRICS_LISTEN", "127.0.0.1:0").start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let end = reader.end().await;
    let mut streams = [reader.stream("", None).await, reader.stream("", None).await];
    let query = format!("?after={end}&wait=25");
    let waiting = reader.get(&query);
    let stop = async {
        server.waits_for(3).await;
        server.terminate();
    };
    let (page, ()) = tokio::join!(waiting, stop);
    assert_eq!(page.expect_status(200).json["entries"], json!([]));
    for stream in &mut streams {
        let last = stream.ends().await.unwrap();
        let millis: u64 = last.strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!(millis < 5000, "{millis}");
    }
    drop(reader);
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_lift_ends_all_entries_of_its_id_and_what_still_holds_comes_behind_it() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let jti = uuid::Uuid::from_u128(7).to_string();
    let revoke = async |why: &str| {
        let body = json!({ "kind": "jti", "subject": jti, "why": why });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(204);
    };
    revoke("first").await;
    revoke("second").await;
    let middle = reader.end().await;
    let listed = async || {
        let listed = server.get("/admin/revocations").bearer(&root.access).send().await;
        let items = listed.expect_status(200).json["items"].as_array().unwrap().clone();
        let of_token = items.into_iter().filter(|item| item["subject"] == *jti);
        of_token.map(|item| (item["seq"].clone(), item["why"].clone())).collect::<Vec<_>>()
    };
    let lift = async |seq: &Value| {
        let path = format!("/admin/revocations/{seq}");
        server.request("DELETE", &path).bearer(&root.access).send().await
    };
    let (seq, why) = listed().await[1].clone();
    assert_eq!(why, "first");
    lift(&seq).await.expect_status(204);
    lift(&seq).await.expect_status(404);
    server.wait_until_caught_up().await;
    let kinds = async |cursor: &str| {
        let page = reader.after(cursor).await.expect_status(200);
        let entries = page.json["entries"].as_array().unwrap().clone();
        assert!(entries.iter().all(|entry| entry["hash"] == *hash(&format!("jti:{jti}"))));
        entries.iter().map(|entry| entry["kind"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&middle).await, ["lift", "deny"]);
    let denies = |records: Vec<String>| {
        let hash = hash(&format!("jti:{jti}"));
        records.iter().filter(|record| record.ends_with(&hash)).count()
    };
    assert_eq!(denies(reader.snapshot().await.1), 1);
    let rest = listed().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].1, "second");
    let end = reader.end().await;
    lift(&rest[0].0).await.expect_status(204);
    server.wait_until_caught_up().await;
    assert_eq!(kinds(&end).await, ["lift"]);
    // The rows stay in their places, so that a cursor from before the lift still counts.
    assert_eq!(kinds(&middle).await, ["lift", "deny", "lift"]);
    assert_eq!(listed().await, []);
    eventually("a snapshot has nothing of it", async || denies(reader.snapshot().await.1) == 0)
        .await;
}

#[tokio::test]
async fn a_retired_key_is_in_the_feed() {
    let server = Server::setup().set("JWT_ALGORITHM", "EdDSA").start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let keys = || server.get("/admin/keys").bearer(&root.access);
    let old = keys().send().await.expect_status(200).json["items"][0]["kid"].clone();
    let old = old.as_str().unwrap().to_owned();
    let next = server.post("/admin/keys").bearer(&root.access).json(&json!({ "now": true }));
    next.send().await.expect_status(201);
    let (access, _) = server.sign_in(&root.email, PASSWORD).await;
    let end = reader.end().await;
    let retire = server.request("DELETE", &format!("/admin/keys/{old}")).bearer(&access);
    retire.send().await.expect_status(204);
    let entries = reader.entries_after(&end).await;
    assert_eq!((&entries[0]["kind"], entries.len()), (&json!("key"), 1));
    assert_eq!(entries[0]["hash"], hash(&format!("key:{old}")));
    server.me(&access).await.expect_status(200);
}

/// PostgreSQL has a clock of its own. On SQLite, the smaller one of two clocks of the server counts.
#[tokio::test]
async fn times_come_from_a_clock_that_the_servers_clock_does_not_move() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let before = reader.get("").await.expect_status(200);
    server.advance(Duration::from_secs(3600)).await;
    let after = reader.get("").await.expect_status(200);
    let elapsed = after.json["at"].as_i64().unwrap() - before.json["at"].as_i64().unwrap();
    assert!((0..600_000).contains(&elapsed), "{elapsed}");
}

#[tokio::test]
async fn a_snapshot_that_the_service_has_is_not_sent_again() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    reader.end().await;
    let request = || server.get("/auth/revocations/snapshot").bearer(&reader.token);
    let tag = request().send().await.expect_status(200).header("etag");
    let again = request().header("If-None-Match", &tag).send().await.expect_status(304);
    assert_eq!((again.body.as_str(), again.header("etag")), ("", tag.clone()));
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    eventually("there is another snapshot", async || {
        request().header("If-None-Match", &tag).send().await.status == 200
    })
    .await;
}
