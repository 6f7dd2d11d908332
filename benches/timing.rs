//! The benchmark that measures whether response times reveal which users exist.
//!
//! Run `cargo bench --bench timing`. `benches/README.md` explains the table.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

/// The number of tries for each kind of address. The kinds take turns.
const TRIES: usize = 200;
/// The number of tries if every answer waits for a hash.
const HASHED_TRIES: usize = 80;

/// A hash like those of FastAPI Users: 64 MiB of memory, three passes.
const IMPORTED: &str = "$argon2id$v=19$m=65536,t=3,p=4$skAGFaiNtPdukRRgLHkrzA$\
                        xhOrHBuGeLvP2OkpN/BDiCfg+za5i9CUwjy6N+H4B2Q";
const PASSWORD: &str = "correct horse battery";

type Outcome<T> = Result<T, String>;

/// A kind of address, and a function that makes the request for a turn.
type Probe<'a> = (&'a str, Box<dyn Fn(usize) -> (&'static str, Value) + 'a>);

struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    if let Err(error) = runtime.block_on(run()) {
        eprintln!("the benchmark failed: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Outcome<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(text)?;
    let server = start(folder.path())?;
    let client = Client::new();
    let send = async |path: &str, body: &Value| -> Outcome<(u16, Duration)> {
        let url = format!("{}{path}", server.1);
        let request = match path {
            "/auth/jwt/login" => client.post(&url).form(body),
            // The codes are tried with the binding of the client that requested the mails. Other clients cannot use
            // them.
            _ => client.post(&url).header("x-code-binding", "b".repeat(43)).json(body),
        };
        let began = Instant::now();
        let response = request.send().await.map_err(text)?;
        let status = response.status().as_u16();
        response.bytes().await.map_err(text)?;
        Ok((status, began.elapsed()))
    };
    eprintln!("making users");
    let known = |turn: usize| format!("known{turn}@user.com");
    for turn in 0..TRIES {
        let body = json!({ "email": known(turn), "password": PASSWORD });
        let (status, _) = send("/auth/register", &body).await?;
        (status == 201).then_some(()).ok_or(format!("a registration answered {status}"))?;
    }
    let url = format!("sqlite://{}/timing.db", folder.path().display());
    let database = Database::connect(url).await.map_err(text)?;
    for sql in [
        format!("update user set hashed_password = '{IMPORTED}' where email = 'known1@user.com'"),
        "update user set is_active = false where email = 'known2@user.com'".to_owned(),
    ] {
        database.execute_unprepared(&sql).await.map_err(text)?;
    }
    database.close().await.map_err(text)?;
    // The mails of the registrations must be delivered first. Then a sign-in makes the server notice the imported hash.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let login =
        |email: String| ("/auth/jwt/login", json!({ "username": email, "password": "wrong" }));
    let (_, body) = login(known(1));
    send("/auth/jwt/login", &body).await?;

    let ask = |path, email: String| (path, json!({ "email": email }));
    let code = |email: String| ("/auth/verify", json!({ "email": email, "code": "000000" }));
    let unknown = |turn: usize| format!("nobody{turn}@user.com");
    let register =
        |email: String| ("/auth/register", json!({ "email": email, "password": PASSWORD }));
    let groups: Vec<(&str, usize, Vec<Probe<'_>>)> = vec![
        (
            "POST /auth/jwt/login, wrong password",
            HASHED_TRIES,
            vec![
                ("unknown", Box::new(|turn| login(unknown(turn)))),
                ("unknown, again", Box::new(|turn| login(unknown(TRIES + turn)))),
                ("known", Box::new(|_| login(known(0)))),
                ("known, imported hash (argon2)", Box::new(|_| login(known(1)))),
                ("known, inactive", Box::new(|_| login(known(2)))),
            ],
        ),
        (
            "POST /auth/register",
            HASHED_TRIES,
            vec![
                ("unknown", Box::new(|turn| register(format!("new{turn}@user.com")))),
                ("unknown, again", Box::new(|turn| register(format!("newer{turn}@user.com")))),
                ("known", Box::new(|turn| register(known(turn)))),
            ],
        ),
        (
            "POST /auth/forgot-password",
            TRIES,
            vec![
                ("unknown", Box::new(|turn| ask("/auth/forgot-password", unknown(turn)))),
                (
                    "unknown, again",
                    Box::new(|turn| ask("/auth/forgot-password", unknown(TRIES + turn))),
                ),
                ("known", Box::new(|turn| ask("/auth/forgot-password", known(turn)))),
            ],
        ),
        (
            "POST /auth/request-verify-token",
            TRIES,
            vec![
                ("unknown", Box::new(|turn| ask("/auth/request-verify-token", unknown(turn)))),
                (
                    "unknown, again",
                    Box::new(|turn| ask("/auth/request-verify-token", unknown(TRIES + turn))),
                ),
                ("known", Box::new(|turn| ask("/auth/request-verify-token", known(turn)))),
            ],
        ),
        (
            "POST /auth/verify, wrong code",
            TRIES,
            vec![
                ("unknown", Box::new(|turn| code(unknown(turn)))),
                ("unknown, again", Box::new(|turn| code(unknown(TRIES + turn)))),
                ("known", Box::new(|turn| code(known(turn)))),
            ],
        ),
    ];
    let mut table = "| | address | median ms | difference | noise | reveals |\n\
                     |---|---|--:|--:|--:|---|\n"
        .to_owned();
    let mut seed = 1;
    for (name, tries, probes) in groups {
        eprintln!("{name}");
        let mut times = vec![Vec::new(); probes.len()];
        for turn in 0..tries {
            for which in shuffled(probes.len(), &mut seed) {
                let (path, body) = probes[which].1(turn);
                let (status, took) = send(path, &body).await?;
                if status >= 500 || status == 429 {
                    return Err(format!("{path} answered {status}"));
                }
                times[which].push(took.as_secs_f64() * 1000.0);
            }
        }
        let base = Spread::of(&mut times[0]);
        for ((address, _), times) in probes.iter().zip(&mut times) {
            let spread = Spread::of(times);
            let difference = spread.median - base.median;
            let noise = 2.0 * base.error.hypot(spread.error);
            let reveals = if difference.abs() > noise { "yes" } else { "no" };
            let Spread { median, .. } = spread;
            let _ = writeln!(
                table,
                "| `{name}` | {address} | {median:.2} | {difference:+.3} | {noise:.3} | {reveals} |"
            );
        }
    }
    println!("{table}");
    Ok(())
}

/// Returns the numbers below `count` in an order that changes. With a fixed order, work that one kind of request leaves
/// behind would always slow down the same next kind.
fn shuffled(count: usize, seed: &mut u64) -> Vec<usize> {
    let mut places: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = usize::try_from((*seed >> 33) % (last as u64 + 1)).unwrap_or_default();
        places.swap(place, last);
    }
    places
}

struct Spread {
    median: f64,
    /// The standard error of the median.
    error: f64,
}

impl Spread {
    fn of(times: &mut [f64]) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index of a list with a few hundred items"
            )]
            let place = (times.len() as f64 * part) as usize;
            times[place.min(times.len() - 1)]
        };
        #[expect(clippy::cast_precision_loss, reason = "the list has a few hundred items")]
        let count = times.len() as f64;
        // For a normal distribution. Other distributions have longer tails, which quartiles do not show.
        let deviation = (at(0.75) - at(0.25)) / 1.349;
        Self { median: at(0.5), error: 1.253 * deviation / count.sqrt() }
    }
}

fn start(folder: &Path) -> Outcome<Server> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tessera"))
        .current_dir(folder)
        .env_clear()
        .args(["serve", "--dev", "--port=0"])
        .env("DATABASE_URL", format!("sqlite:///{}/timing.db", folder.display()))
        .env("APP_SECRET", "5e7d0c2b9a81f64637c5d2e80b19fa4c6e3d7081b2f59ac44d0e8f716a2b3c95")
        .env("BCRYPT_COST", "10")
        .env("RATE_LIMIT", "off")
        .env("LOG_FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
    let listening = lines
        .by_ref()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["message"] == "listening")
        .ok_or("the server did not start")?;
    // The log must be read to the end, because the server waits when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    let address = listening["address"].as_str().ok_or("no address")?;
    Ok(Server(child, format!("http://{address}")))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
