//! The time until replicas and services refuse a token after its sign-out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tessera_verify::client::Settings;
use tessera_verify::{Denied, Tessera};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::programs::Program;
use crate::{
    AT_ONCE, BOUND, Outcome, SECRET, Scene, Server, balancer, clock, feed_token, in_scene, locked,
    quantile, register, sign_in, text,
};

/// The time between two questions about one token.
const AGAIN: Duration = Duration::from_millis(2);

/// The time after which a token counts as never refused.
const GIVE_UP: Duration = Duration::from_secs(10);

/// The number of services in Rust that are asked about each sign-out. More would need all cores for their verdicts.
const ASKED: usize = 20;

/// The number of connections on which one replica is asked.
const CONNECTIONS: usize = 4;

/// The number of services in Python, and of those in Node.
const PROGRAMS: usize = 4;

/// The tokens whose sign-outs were answered with 204, in that order: the place of the token, and the time of the answer.
pub(crate) type Ended = Arc<Mutex<Vec<SignOut>>>;

#[derive(Clone, Copy)]
pub(crate) struct SignOut {
    pub(crate) token: usize,
    pub(crate) at: Instant,
    /// The same time since the epoch, for other programs.
    pub(crate) micros: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    /// 503: the service knows too little.
    Unavailable,
}

/// The verdicts of some services about sign-outs.
#[derive(Default)]
pub(crate) struct Judged {
    /// The times until a token was not accepted any more.
    pub(crate) late: Vec<Duration>,
    /// The tokens that were accepted after the bound.
    pub(crate) accepted: usize,
    /// The tokens that were answered with 503 before they were refused.
    pub(crate) unavailable: usize,
}

impl Judged {
    pub(crate) fn add(&mut self, other: Self) {
        self.late.extend(other.late);
        self.accepted += other.accepted;
        self.unavailable += other.unavailable;
    }
}

pub(crate) async fn run(count: usize, services: usize) -> Outcome<()> {
    println!(
        "| 3 replicas, {services} services in Rust, {PROGRAMS} in Python, {PROGRAMS} in Node, {count} sign-outs | \
         verdicts | p50 | p99 | max | 503 | accepted after {} s |",
        BOUND.as_secs()
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, parameters) in [("with notifications", ""), ("without", "?pgbouncer=true")] {
        let rows = in_scene(async |scene| measure(scene, parameters, count, services).await);
        for (who, mut judged) in rows.await? {
            judged.late.sort_unstable();
            let at = |part: f64| quantile(&judged.late, part);
            println!(
                "| {who}, {name} | {} | {:.0} ms | {:.0} ms | {:.0} ms | {} | {} |",
                judged.late.len(),
                at(0.5),
                at(0.99),
                at(1.0),
                judged.unavailable,
                judged.accepted
            );
        }
    }
    Ok(())
}

type Rows = Vec<(&'static str, Judged)>;

async fn measure(scene: &Scene, parameters: &str, count: usize, services: usize) -> Outcome<Rows> {
    let folder = tempfile::tempdir().map_err(text)?;
    let (issuer, targets) = balancer().await?;
    let database = scene.url(parameters);
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(folder.path(), &database, &issuer)?);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address.clone()).collect();
    locked(&targets).clone_from(&addresses);
    let client = reqwest::Client::new();
    register(&client, &addresses[0]).await?;
    let token = feed_token(folder.path(), &database, &issuer, "bench")?;
    eprintln!("signing in");
    let tokens = Arc::new(sign_in(&client, &servers, count).await?);
    eprintln!("starting services");
    let known = rust_services(&issuer, &token, services).await?;
    let ended: Ended = Arc::default();
    let mut programs = Vec::new();
    for turn in 0..2 * PROGRAMS {
        let language = if turn % 2 == 0 { "Python" } else { "Node" };
        programs.push(Program::start(language, folder.path(), &tokens, &issuer, &token)?);
    }
    for program in &mut programs {
        program.begin(&ended, count)?;
    }
    eprintln!("signing out");
    let replicas = ask_replicas(&client, &addresses, &tokens, &ended);
    let rust = ask_services(&known, &tokens, &ended);
    sign_out(&client, &addresses, &tokens, &ended).await?;
    let mut rows = vec![("replicas", all(replicas).await?), ("Rust", all(rust).await?)];
    sleep(BOUND).await;
    eprintln!("asking every service about every token");
    rows[0].1.accepted += ask_replicas_again(&client, &addresses, &tokens).await?;
    rows[1].1.accepted += ask_services_again(&known, &tokens).await?;
    rows.extend([("Python", Judged::default()), ("Node", Judged::default())]);
    for program in programs {
        let row = if program.language == "Python" { 2 } else { 3 };
        rows[row].1.add(program.finish().await?);
    }
    Ok(rows)
}

async fn rust_services(issuer: &str, token: &str, count: usize) -> Outcome<Vec<Tessera>> {
    let mut known = Vec::new();
    for _ in 0..count {
        let settings = Settings::new(issuer, "tessera").map_err(text)?;
        known.push(settings.secret(SECRET.as_bytes()).feed_token(token).start().await);
    }
    Ok(known)
}

/// Signs all sessions out, as fast as the replicas answer.
async fn sign_out(
    client: &reqwest::Client,
    addresses: &[String],
    tokens: &Arc<Vec<String>>,
    ended: &Ended,
) -> Outcome<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, addresses, next) = (client.clone(), addresses.to_vec(), Arc::clone(&next));
        let (tokens, ended) = (Arc::clone(tokens), Arc::clone(ended));
        workers.spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some(token) = tokens.get(turn) else { return Ok::<_, String>(()) };
                let url = format!("http://{}/auth/jwt/logout", addresses[turn % addresses.len()]);
                let answer = client.post(url).bearer_auth(token).send().await.map_err(text)?;
                let (at, micros) = (Instant::now(), clock().as_micros());
                if answer.status() != 204 {
                    return Err(format!("a sign-out was answered with {}", answer.status()));
                }
                locked(&ended).push(SignOut { token: turn, at, micros });
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(text)??;
    }
    Ok(())
}

/// The sign-outs of which one service is asked: those at these places in the order of their answers.
struct Share {
    first: usize,
    step: usize,
}

/// Asks about the token of each sign-out of a share, until it is not accepted any more.
async fn follow<F: Future<Output = Outcome<Verdict>>>(
    share: Share,
    count: usize,
    ended: Ended,
    ask: impl Fn(usize) -> F,
) -> Outcome<Judged> {
    let mut judged = Judged::default();
    for place in (share.first..count).step_by(share.step) {
        let signed_out = loop {
            let known = locked(&ended).get(place).copied();
            match known {
                Some(known) => break known,
                None => sleep(AGAIN).await,
            }
        };
        let mut is_late = false;
        loop {
            let asked = signed_out.at.elapsed();
            let verdict = ask(signed_out.token).await?;
            if verdict != Verdict::Accepted || asked > GIVE_UP {
                judged.unavailable += usize::from(verdict == Verdict::Unavailable);
                break;
            }
            is_late |= asked > BOUND;
            sleep(AGAIN).await;
        }
        judged.accepted += usize::from(is_late);
        judged.late.push(signed_out.at.elapsed());
    }
    Ok(judged)
}

type Asking = JoinSet<Outcome<Judged>>;

async fn all(mut asking: Asking) -> Outcome<Judged> {
    let mut judged = Judged::default();
    while let Some(done) = asking.join_next().await {
        judged.add(done.map_err(text)??);
    }
    Ok(judged)
}

fn ask_services(known: &[Tessera], tokens: &Arc<Vec<String>>, ended: &Ended) -> Asking {
    let (mut asking, step) = (JoinSet::new(), known.len().div_ceil(ASKED).max(1));
    for (turn, service) in known.iter().enumerate() {
        let (service, tokens, ended) = (service.clone(), Arc::clone(tokens), Arc::clone(ended));
        let share = Share { first: turn % step, step };
        asking.spawn(async move {
            let ask = |place: usize| std::future::ready(Ok(verdict(&service, &tokens[place])));
            follow(share, tokens.len(), ended, ask).await
        });
    }
    asking
}

fn verdict(service: &Tessera, token: &str) -> Verdict {
    match service.guard().required(Some(token), clock().as_secs()) {
        Ok(_) => Verdict::Accepted,
        Err(Denied::Unavailable) => Verdict::Unavailable,
        Err(_) => Verdict::Refused,
    }
}

fn ask_replicas(
    client: &reqwest::Client,
    addresses: &[String],
    tokens: &Arc<Vec<String>>,
    ended: &Ended,
) -> Asking {
    let mut asking = JoinSet::new();
    for address in addresses {
        for first in 0..CONNECTIONS {
            let (client, address) = (client.clone(), address.clone());
            let (tokens, ended) = (Arc::clone(tokens), Arc::clone(ended));
            let share = Share { first, step: CONNECTIONS };
            asking.spawn(async move {
                let ask = |place: usize| asked(&client, &address, &tokens[place]);
                follow(share, tokens.len(), ended, ask).await
            });
        }
    }
    asking
}

/// Asks a replica about a token.
async fn asked(client: &reqwest::Client, address: &str, token: &str) -> Outcome<Verdict> {
    let url = format!("http://{address}/users/me");
    let answer = client.get(url).bearer_auth(token).send().await.map_err(text)?;
    match answer.status().as_u16() {
        200 => Ok(Verdict::Accepted),
        401 => Ok(Verdict::Refused),
        503 => Ok(Verdict::Unavailable),
        status => Err(format!("a replica answered {status}")),
    }
}

/// Asks each replica about each token. Returns how many are accepted.
async fn ask_replicas_again(
    client: &reqwest::Client,
    addresses: &[String],
    tokens: &Arc<Vec<String>>,
) -> Outcome<usize> {
    let mut asking = JoinSet::new();
    for address in addresses {
        let (client, address) = (client.clone(), address.clone());
        let tokens = Arc::clone(tokens);
        asking.spawn(async move {
            let mut accepted = 0;
            for token in &*tokens {
                let verdict = asked(&client, &address, token).await?;
                accepted += usize::from(verdict == Verdict::Accepted);
            }
            Ok::<_, String>(accepted)
        });
    }
    let mut accepted = 0;
    while let Some(done) = asking.join_next().await {
        accepted += done.map_err(text)??;
    }
    Ok(accepted)
}

/// Asks each service in Rust about each token. Returns how many are accepted.
async fn ask_services_again(known: &[Tessera], tokens: &Arc<Vec<String>>) -> Outcome<usize> {
    let mut asking = JoinSet::new();
    for service in known {
        let (service, tokens) = (service.clone(), Arc::clone(tokens));
        asking.spawn(async move {
            let mut accepted = 0;
            for token in &*tokens {
                accepted += usize::from(verdict(&service, token) == Verdict::Accepted);
                // The feed must be read meanwhile.
                tokio::task::yield_now().await;
            }
            accepted
        });
    }
    let mut accepted = 0;
    while let Some(done) = asking.join_next().await {
        accepted += done.map_err(text)?;
    }
    Ok(accepted)
}
