//! `tessera doctor`: checks what a server needs, and says what to do.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use api::base::config::{Config, EnvFile, Migrate};
use api::base::database::{Database, DatabaseUrl, OLDEST_POSTGRES};
use clap::Args;
use reqwest::header::{LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, redirect};
use serde_json::Value;

use crate::finding::{self, Finding};
use crate::{config, print};

/// The largest harmless difference between the clocks of server and database, and the largest one that is not a fault,
/// in milliseconds.
const CLOCKS: [u64; 2] = [1_000, 5_000];

/// Free space on a disk, in bytes: less is a warning, and less is a fault.
const SPACE: [u64; 2] = [1 << 30, 100 << 20];

/// Fewer descriptors of open files than this are a warning.
const DESCRIPTORS: u64 = 4096;

/// The time within which `PUBLIC_URL` must answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Send a test message to this address
    #[arg(long, value_name = "ADDRESS")]
    mail: Option<String>,

    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Prints a line for each check. The exit status is 1 if there is a fault.
pub(crate) async fn run(arguments: &Arguments, config: Config, file: &EnvFile) -> ExitCode {
    let mut found = config::findings(config.clone(), Vec::new(), file);
    if finding::are_fine(&found) {
        found.push(Finding::ok("the settings are valid"));
    }
    match config.complete() {
        Ok(config) => {
            found.extend(database(&config).await);
            found.extend(mail(&config, arguments.mail.as_deref()).await);
            found.extend(public_url(&config).await);
            found.extend(proxy(&config));
            found.extend(disk(&config));
            found.push(descriptors());
        }
        Err(_) => found.push(Finding::warning(
            "the database, mail and PUBLIC_URL were not checked: correct the settings first",
        )),
    }
    if arguments.json {
        finding::print_json(&found);
    } else {
        finding::print(&found);
        print::line(finding::sum(&found, "A server can run here"));
    }
    finding::status(&found)
}

async fn database(config: &Config) -> Vec<Finding> {
    if let DatabaseUrl::Sqlite(path) = &config.database_url
        && !path.exists()
        && folder_of(path).is_dir()
    {
        let url = &config.database_url;
        return vec![Finding::ok(format!("{url} does not exist yet: the first start creates it"))];
    }
    let database = match api::connect(config).await {
        Ok(database) => database,
        Err(fault) => return vec![Finding::fault(fault)],
    };
    let mut found = about(&database).await;
    found.push(match database.ping().await {
        Ok(()) => Finding::ok("the database can be read and written"),
        Err(error) => Finding::fault(format!(
            "the database cannot be written ({error}): check the rights of its user, and whether it is a standby"
        )),
    });
    found.push(migrations(config, &database).await);
    found
}

async fn about(database: &Database) -> Vec<Finding> {
    let about = match database.about().await {
        Ok(about) => about,
        Err(error) => {
            return vec![Finding::fault(format!("the database returns an error ({error})"))];
        }
    };
    let named = format!("the database is {} {}", about.product, about.version);
    let encoding = format!("the encoding of the database is {}", about.encoding);
    let mut found = vec![
        if about.is_recent {
            Finding::ok(named)
        } else {
            Finding::fault(format!("{named}: upgrade it to {OLDEST_POSTGRES} or later"))
        },
        if about.encoding.to_ascii_uppercase().replace('-', "") == "UTF8" {
            Finding::ok(encoding)
        } else {
            Finding::fault(format!("{encoding}: create a database with the encoding UTF8"))
        },
    ];
    found.extend(about.ahead.map(clock));
    found
}

/// Judges the difference between the clocks of the database and of this machine.
fn clock(ahead: i64) -> Finding {
    let seconds = ahead.unsigned_abs() / 1000;
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let sentence = format!(
        "the clock of the database is {seconds} s {way} this machine's: synchronise both (NTP), because tokens and \
         sessions of servers with different clocks end at different times"
    );
    match ahead.unsigned_abs() {
        apart if apart <= CLOCKS[0] => {
            Finding::ok("the clocks of this machine and of the database agree within a second")
        }
        apart if apart <= CLOCKS[1] => Finding::warning(sentence),
        _ => Finding::fault(sentence),
    }
}

async fn migrations(config: &Config, database: &Database) -> Finding {
    let all = match database.migrations().await {
        Ok(all) => all,
        Err(error) => {
            return Finding::fault(format!("the migrations cannot be read ({error})"));
        }
    };
    match (all.iter().filter(|(_, applied)| !applied).count(), config.migrate) {
        (0, _) => Finding::ok("all migrations are applied"),
        (count, Migrate::Auto) => {
            Finding::ok(format!("{count} migrations are pending: the next start applies them"))
        }
        (count, _) => {
            Finding::fault(format!("{count} migrations are pending: run `tessera migrate up`"))
        }
    }
}

async fn mail(config: &Config, to: Option<&str>) -> Vec<Finding> {
    if config.mail.mail_url.is_none() {
        // In production, the check of the settings warns of this.
        let outbox = config.dev.then(|| {
            Finding::ok("MAIL_URL is not set: this development server writes mails to ./outbox")
        });
        let unsent =
            to.map(|_| Finding::fault("the test message was not sent: set MAIL_URL first"));
        return outbox.into_iter().chain(unsent).collect();
    }
    let (outcome, done) = match to {
        Some(to) => (
            api::platform::mail::send_test(config, to).await,
            format!(
                "the mail server accepted a test message to {to}: look whether it arrives, and not among the spam"
            ),
        ),
        None => (
            api::platform::mail::reach(config).await,
            "the mail server answers; --mail ADDRESS sends a test message".to_owned(),
        ),
    };
    vec![match outcome {
        Ok(()) => Finding::ok(done),
        Err(fault) => Finding::fault(format!("no mail can be sent: {fault}")),
    }]
}

/// Checks that `PUBLIC_URL` leads to a server with these settings.
async fn public_url(config: &Config) -> Vec<Finding> {
    let url = config.public_url.as_str();
    let client = Client::builder()
        .timeout(ANSWERS_WITHIN)
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string());
    let client = match client {
        Ok(client) => client,
        Err(fault) => return vec![Finding::fault(format!("no request can be sent ({fault})"))],
    };
    let answer = match client.get(format!("{url}/version")).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let sentence = format!(
                "PUBLIC_URL {url} cannot be reached from here ({}): if a server runs, check the name, the firewall \
                 and the proxy",
                cause(&error)
            );
            let level = if config.dev { Finding::warning } else { Finding::fault };
            return vec![level(sentence)];
        }
    };
    let mut found = vec![version(url, answer).await];
    if finding::are_fine(&found) {
        found.push(same_server(&client, config).await);
    }
    found
}

/// The innermost reason of an error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

async fn version(url: &str, answer: Response) -> Finding {
    let status = answer.status();
    if status.is_redirection() {
        let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.unwrap_or_default().trim_end_matches("/version").to_owned();
        return Finding::fault(format!(
            "PUBLIC_URL {url} redirects to {place}: set PUBLIC_URL to the URL that callers end at"
        ));
    }
    let body = answer.json::<Value>().await.unwrap_or_default();
    if !status.is_success() || body["name"] != "tessera" {
        return Finding::fault(format!(
            "PUBLIC_URL {url} leads to another program (status {status}): check where the proxy sends its requests, \
             and that it keeps the path"
        ));
    }
    let (theirs, own) = (body["version"].as_str().unwrap_or_default(), env!("CARGO_PKG_VERSION"));
    if theirs == own {
        Finding::ok(format!("PUBLIC_URL {url} leads to Tessera {theirs}"))
    } else {
        Finding::warning(format!(
            "PUBLIC_URL {url} leads to Tessera {theirs}, and this command is {own}: use the same version"
        ))
    }
}

/// Sends an expired token that was signed with the keys of these settings. Only a server with the same keys, issuer and
/// audience refuses it because it has expired.
async fn same_server(client: &Client, config: &Config) -> Finding {
    let token = match expired_token(config).await {
        Ok(token) => token,
        Err(fault) => {
            return Finding::warning(format!(
                "it was not checked that the server at PUBLIC_URL has these settings ({fault})"
            ));
        }
    };
    let url = format!("{}/users/me", config.public_url.as_str());
    let answer = client.get(url).bearer_auth(token).send().await;
    let challenge = answer.ok().and_then(|answer| {
        let challenge = answer.headers().get(WWW_AUTHENTICATE)?.to_str().ok()?.to_owned();
        Some(challenge)
    });
    let challenge = challenge.unwrap_or_default();
    let reason = challenge.split_once("reason=\"").and_then(|(_, rest)| rest.split('"').next());
    match reason.unwrap_or_default() {
        "token_expired" => Finding::ok("the server at PUBLIC_URL has these keys and settings"),
        "key_unknown" | "signature_invalid" | "algorithm_mismatch" => Finding::fault(
            "the server at PUBLIC_URL signs with other keys: it is another server, or it has another APP_SECRET, \
             JWT_ALGORITHM or DATABASE_URL; run this command with the settings of the server",
        ),
        "issuer_mismatch" => Finding::fault(
            "the server at PUBLIC_URL has another PUBLIC_URL itself: give both the same",
        ),
        "audience_mismatch" => {
            Finding::fault("the server at PUBLIC_URL has another JWT_AUDIENCE: give both the same")
        }
        "" => Finding::fault(
            "the server at PUBLIC_URL gets no token: let the proxy pass the header Authorization",
        ),
        other => Finding::warning(format!(
            "the server at PUBLIC_URL refuses a test token for another reason than expected ({other}): see its log"
        )),
    }
}

async fn expired_token(config: &Config) -> Result<String, String> {
    // A command that only looks applies no migrations.
    let config = Config { migrate: Migrate::Off, ..config.clone() };
    let app = api::open_with_secret(config).await?;
    api::access::session::expired_token(&app).map_err(|error| error.to_string())
}

/// A server with TLS before it must know the proxy, or it takes the proxy for every client.
fn proxy(config: &Config) -> Option<Finding> {
    if config.dev || !config.public_url.is_https() || config.listening.has_tls() {
        return None;
    }
    let header = config.network.forwarded_header.name();
    Some(if config.trusted_proxies.is_empty() {
        Finding::warning(format!(
            "PUBLIC_URL begins with https://, so a proxy is before Tessera, but TRUSTED_PROXIES is not set: all \
             clients share the proxy's address and its rate limits; set it to the address of the proxy, and let the \
             proxy send {header}"
        ))
    } else {
        Finding::ok(format!("TRUSTED_PROXIES is set: the proxy must send {header}"))
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The free space for the files of this process: with SQLite, those of the database.
fn disk(config: &Config) -> Option<Finding> {
    let DatabaseUrl::Sqlite(path) = &config.database_url else { return None };
    let folder = folder_of(path);
    let space = rustix::fs::statvfs(folder).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let sentence = format!("{} MiB are free in {}", free >> 20, place.display());
    let more = "make room: without it, nothing can be written";
    Some(match free {
        free if free < SPACE[1] => Finding::fault(format!("{sentence}: {more}")),
        free if free < SPACE[0] => Finding::warning(format!("{sentence}: {more}")),
        _ => Finding::ok(sentence),
    })
}

fn descriptors() -> Finding {
    match rlimit::Resource::NOFILE.get_hard() {
        Ok(limit) if limit < DESCRIPTORS => Finding::warning(format!(
            "a process can open {limit} files, and each connection is one: raise the limit to {DESCRIPTORS} or more \
             (ulimit -Hn, or LimitNOFILE of systemd)"
        )),
        Ok(_) => Finding::ok("a process can open enough files"),
        Err(error) => Finding::warning(format!("the limit of open files cannot be read ({error})")),
    }
}
