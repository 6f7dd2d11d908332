//! The cost of many revocations for a server and a service.

use std::io::Read;
use std::time::Instant;

use tessera_verify::feed::{FeedList, Record, SnapshotHead};

use crate::{
    Outcome, Scene, Server, balancer, clock, cost, execute, feed_token, in_scene, locked, programs,
    register, sign_in, text,
};

pub(crate) async fn run(count: usize) -> Outcome<()> {
    in_scene(async |scene| measure(scene, count).await).await
}

async fn measure(scene: &Scene, count: usize) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(text)?;
    let (issuer, targets) = balancer().await?;
    let database = scene.url("");
    let server = Server::start(folder.path(), &database, &issuer)?;
    let token = feed_token(folder.path(), &database, &issuer, "one")?;
    let (empty, _) = server.cost()?;
    drop(server);
    let until = (clock().as_secs() + 900) * 1000;
    let insert = format!(
        "insert into revocation (kind, subject, until, why, at) \
         select 'jti', gen_random_uuid()::text, {until}, 'x', 1 from generate_series(1, {count})"
    );
    execute(&scene.name, &insert).await?;
    let server = Server::start(folder.path(), &database, &issuer)?;
    *locked(&targets) = vec![server.address.clone()];
    println!("| {count} revocations | |\n|---|---|");
    println!("| start of a server | {:.1} s |", server.took.as_secs_f64());
    println!("| its memory, beyond that of an empty one | {:.0} MiB |", server.cost()?.0 - empty);
    let client = reqwest::Client::new();
    let url = format!("http://{}/auth/revocations/snapshot", server.address);
    let mut body = Vec::new();
    for name in ["first snapshot", "next snapshot"] {
        let began = Instant::now();
        let answer = client.get(&url).bearer_auth(&token).send().await.map_err(text)?;
        body = answer.error_for_status().map_err(text)?.bytes().await.map_err(text)?.to_vec();
        let size = body.len() as f64 / 1e6;
        println!("| {name} | {:.0} ms, {size:.1} MB |", began.elapsed().as_secs_f64() * 1000.0);
    }
    rust(&body)?;
    register(&client, &server.address).await?;
    let session = sign_in(&client, std::slice::from_ref(&server), 1).await?;
    for language in ["Python", "Node"] {
        other(language, programs::entries(language, &issuer, &token, &session[0])?, count)?;
    }
    Ok(())
}

/// Measures the list of a service in Rust.
fn rust(body: &[u8]) -> Outcome<()> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain).map_err(text)?;
    let (_, records) = SnapshotHead::parse(&plain).map_err(text)?;
    let records = Record::all_from_bytes(records).map_err(text)?;
    let (list, began, before) = (FeedList::new(), Instant::now(), cost(std::process::id())?.0);
    list.apply(&records);
    let after = cost(std::process::id())?.0;
    println!(
        "| Rust: list of a service | {:.0} ms, {:.0} MiB |",
        began.elapsed().as_secs_f64() * 1000.0,
        after - before
    );
    let (began, mut found) = (Instant::now(), 0_usize);
    for record in &records {
        found += usize::from(list.is_denied(record.hash));
        found += usize::from(list.is_denied(record.hash ^ 1));
    }
    let each = began.elapsed().as_nanos() as f64 / (2 * records.len()) as f64;
    println!("| Rust: look-up of a hash | {each:.0} ns ({found} of {} found) |", 2 * records.len());
    Ok(())
}

/// Prints what a service in another language measured.
fn other(language: &str, measured: serde_json::Value, count: usize) -> Outcome<()> {
    let number = |name: &str| measured[name].as_f64().ok_or(format!("no {name}"));
    if number("entries")? < count as f64 {
        return Err(format!("the service in {language} has {} entries", measured["entries"]));
    }
    let (start, memory) = (number("start_ms")?, number("memory_mib")?);
    println!(
        "| {language}: start of a service, with the snapshot | {start:.0} ms, {memory:.0} MiB |"
    );
    println!("| {language}: look-ups of a token in the list | {:.1} µs |", number("look_up_us")?);
    println!("| {language}: whole verification of a token | {:.1} µs |", number("verify_us")?);
    Ok(())
}
