//! Where operators' commands go: to the database of the settings, or to a server that runs. Both are
//! asked by the same operations, so what is done is the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use api::app::App;
use api::base::config::{Config, PublicUrl, Secret};
use api::base::error::Code;
use api::local::Local;
use clap::{Args, ValueEnum};
use hyper::Uri;
use reqwest::Method;
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::print;

/// How long replicas are waited for, until each has applied a change.
const APPLIED_WITHIN: Duration = Duration::from_secs(3);

/// How long a server may say nothing. An export takes longer than that as a whole.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest wait that a server which limits acts asks for and is given.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What to do when a server refuses a session whose password was given too long ago.
const STALE: &str = "TESSERA_API_TOKEN is a session's access token, and its password was given too long ago for this. \
    Set it to a fresh one, which POST /auth/jwt/fresh gives for the password, or to an API token with the scope super; \
    beside the database, unset TESSERA_URL and no token is needed";

/// Whom to ask, and how to print the answer.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ask the server at this URL, rather than open the database
    #[arg(long, env = "TESSERA_URL", value_name = "URL", hide_env_values = true)]
    url: Option<Secret>,

    /// The API token to ask the server with; it needs the scope super for what superusers do
    #[arg(long, env = "TESSERA_API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    api_token: Option<Secret>,

    /// A file that holds the API token, and goes before it
    #[arg(long, env = "TESSERA_API_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    api_token_file: Option<PathBuf>,

    /// Send the API token over http:// to another machine: anyone on the way can read it
    #[arg(long)]
    insecure: bool,

    /// How to print the answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Somebody to ask.
enum Asked {
    Database(Local),
    Server { client: reqwest::Client, url: PublicUrl, token: Secret },
}

/// An operator with their choice of whom to ask.
pub(crate) struct Operator {
    asked: Asked,
    output: Output,
}

/// A refusal, or a fault.
pub(crate) struct Refused {
    status: u16,
    sentence: String,
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.sentence
    }
}

impl Refused {
    fn fault(sentence: String) -> Self {
        Self { status: 0, sentence }
    }

    /// With other words where what was asked for is not there.
    pub(crate) fn or_missing(self, sentence: impl FnOnce() -> String) -> Self {
        if self.status == 404 { Self { sentence: sentence(), ..self } } else { self }
    }

    /// Whether what was asked cannot be read.
    pub(crate) fn is_unprocessable(&self) -> bool {
        self.status == 422
    }

    /// Whether the caller is known, and may not.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 403
    }
}

impl Operator {
    /// For what signs nothing: beside the database, the secret of the settings is not wanted.
    pub(crate) async fn new(options: Options, config: Config) -> Result<Self, String> {
        let app = if options.url.is_none() { Some(api::open(config).await?) } else { None };
        Self::asking(options, app)
    }

    /// For what wants the secret of the settings, beside the database.
    pub(crate) async fn with_secret(options: Options, config: Config) -> Result<Self, String> {
        let app =
            if options.url.is_none() { Some(api::open_with_secret(config).await?) } else { None };
        Self::asking(options, app)
    }

    fn asking(options: Options, app: Option<App>) -> Result<Self, String> {
        let Options { url, api_token, api_token_file, insecure, output } = options;
        if let Some(app) = app {
            return Ok(Self { asked: Asked::Database(Local::new(app)), output });
        }
        let token = match api_token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("TESSERA_API_TOKEN_FILE cannot be read: {error}"))?;
                Some(Secret::new(text.trim()))
            }
            None => api_token,
        };
        let token = token.ok_or(
            "TESSERA_API_TOKEN is not set: a superuser makes one with POST /auth/tokens, or \
             `tessera token create --username … --scope authenticated,super` beside the database",
        )?;
        let url = url.as_ref().map_or("", Secret::expose);
        let url: PublicUrl = url.parse().map_err(|fault| format!("TESSERA_URL {fault}"))?;
        let client = client_of(&url, insecure)?;
        Ok(Self { asked: Asked::Server { client, url, token }, output })
    }

    pub(crate) fn prints_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Whether a server is asked, which knows its caller by a token.
    pub(crate) fn asks_a_server(&self) -> bool {
        matches!(self.asked, Asked::Server { .. })
    }

    /// What an operation answers.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refused> {
        match &self.asked {
            Asked::Database(local) => {
                let uri: Uri = path.parse().map_err(|_| not_a_name(path))?;
                let (status, answer) = local.call(method, uri, body.as_ref()).await;
                answered(status, answer, None)
            }
            Asked::Server { client, url, token } => {
                let url = url.as_str();
                let ask = || {
                    let request = client.request(method.clone(), format!("{url}{path}"));
                    let request = request.bearer_auth(token.expose());
                    match &body {
                        Some(body) => request.json(body).send(),
                        None => request.send(),
                    }
                };
                let unreachable = |error: reqwest::Error| {
                    let cause = innermost(&error);
                    Refused::fault(format!(
                        "{url} does not answer ({cause}): is TESSERA_URL right?"
                    ))
                };
                let mut response = ask().await.map_err(unreachable)?;
                while let Some(wait) = wait_of(&response) {
                    sleep(wait).await;
                    response = ask().await.map_err(unreachable)?;
                }
                let status = response.status().as_u16();
                let challenge = response.headers().get(WWW_AUTHENTICATE);
                let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let answer = response.bytes().await.map_err(unreachable)?;
                let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                if status < 300 && status != 204 && !answer.is_object() {
                    let sentence =
                        format!("{url} answers what Tessera does not: is TESSERA_URL right?");
                    return Err(Refused::fault(sentence));
                }
                answered(status, answer, challenge)
            }
        }
    }

    /// Every item of a list, page by page.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, Refused> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let sign = if path.contains('?') { '&' } else { '?' };
            let page =
                self.call(Method::GET, &format!("{path}{sign}limit=100{after}"), None).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            let next = match &page["next"] {
                Value::String(next) => next.clone(),
                Value::Number(next) => next.to_string(),
                _ => return Ok(items),
            };
            after = format!("&after={}", encoded(&next));
        }
    }

    /// Whether each replica that is on line has applied what was just changed. Waits a little for
    /// those that have not.
    pub(crate) async fn applied(&self) -> Result<BTreeMap<String, bool>, Refused> {
        let until = Instant::now() + APPLIED_WITHIN;
        let mut wanted = None;
        loop {
            let answer = match self.call(Method::GET, "/admin/replicas", None).await {
                // Who may not ask is not told.
                Err(refused) if refused.is_forbidden() => return Ok(BTreeMap::new()),
                answer => answer?,
            };
            let wanted = *wanted.get_or_insert(answer["seq"].as_i64().unwrap_or_default());
            let mut applied = BTreeMap::new();
            for replica in answer["items"].as_array().into_iter().flatten() {
                let name = replica["name"].as_str().unwrap_or_default().to_owned();
                let has = replica["seq"].as_i64().is_some_and(|seq| seq >= wanted);
                // Of two with one name, both must.
                applied.entry(name).and_modify(|all| *all &= has).or_insert(has);
            }
            if applied.values().all(|has| *has) || Instant::now() >= until {
                return Ok(applied);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Prints what a change answered, and which replicas have applied it.
    pub(crate) async fn print_change(&self, mut answer: Value, said: &str) -> Result<(), String> {
        // The change is made, whatever comes of this question; what it answered is told this once.
        if !self.prints_json() {
            print::line(said);
        }
        let applied = self.applied().await.unwrap_or_else(|refused| {
            eprintln!("note: which replicas have applied it is not known: {}", refused.sentence);
            BTreeMap::new()
        });
        if self.prints_json() {
            if answer.is_null() {
                answer = json!({});
            }
            answer["replicas"] = json!(applied);
            print::line(answer);
            return Ok(());
        }
        if !applied.is_empty() {
            print::line(format!("replicas that have applied it: {}", json!(applied)));
        }
        Ok(())
    }

    /// Prints items, as JSON or in a table.
    pub(crate) fn print_items(
        &self,
        items: &[Value],
        columns: &[&str],
        row: impl Fn(&Value) -> Vec<String>,
    ) {
        if self.prints_json() {
            print::line(json!(items));
        } else {
            print::table(columns, items.iter().map(row));
        }
    }
}

/// A client that tells the API token to the server at this URL, and to nobody else: it follows no
/// redirect, and what anyone on the way could read stays on this machine unless the operator says so.
fn client_of(url: &PublicUrl, insecure: bool) -> Result<reqwest::Client, String> {
    if !url.is_https() && !url.is_loopback() && !insecure {
        return Err(format!(
            "TESSERA_URL must begin with https://, because anyone on the way to {} could read the API \
             token; if you trust the network, add --insecure",
            url.as_str()
        ));
    }
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    // A proxy passes on what is encrypted without reading it; it would read the rest.
    let client = if url.is_https() { client } else { client.no_proxy() };
    client.build().map_err(|error| format!("no connection can be made: {error}"))
}

/// How long to wait before it is tried again, if the server limits acts and says that it is soon.
fn wait_of(response: &reqwest::Response) -> Option<Duration> {
    let limited = response.status() == reqwest::StatusCode::TOO_MANY_REQUESTS;
    let wait = response.headers().get(RETRY_AFTER).filter(|_| limited)?;
    let wait = wait.to_str().ok()?.parse().map(Duration::from_secs).ok()?;
    Some(wait).filter(|wait| *wait <= MAX_WAIT)
}

/// A part of a path or a query, such that it is one.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn not_a_name(path: &str) -> Refused {
    Refused::fault(format!("{path} is no path"))
}

fn answered(status: u16, answer: Value, challenge: Option<String>) -> Result<Value, Refused> {
    if status < 300 {
        return Ok(answer);
    }
    let detail = &answer["detail"];
    let code = detail["code"].as_str().or(detail.as_str()).unwrap_or_default();
    let is_known = |known: &&Code| known.name() == code && known.status().as_u16() == status;
    let known = Code::ALL.iter().find(is_known);
    if known == Some(&Code::FreshProofRequired) {
        return Err(Refused { status, sentence: STALE.to_owned() });
    }
    let known = known.map(|known| known.sentence());
    let sentence = if let Some(problems) = detail.as_array() {
        let problem = |problem: &Value| {
            let place = problem["loc"].as_array().and_then(|place| place.last());
            let place = place.and_then(Value::as_str).unwrap_or_default();
            format!("{place}: {}", problem["msg"].as_str().unwrap_or_default())
        };
        problems.iter().map(problem).collect::<Vec<_>>().join("; ")
    } else if let Some(reason) = detail["reason"].as_str() {
        reason.to_owned()
    } else if let Some(why) = challenge.as_deref().and_then(described) {
        match status {
            401 => format!("the server does not accept TESSERA_API_TOKEN: {why}"),
            _ => format!("{} ({why})", known.unwrap_or("the server refuses")),
        }
    } else if let Some(known) = known {
        known.to_owned()
    } else {
        format!("the answer has status {status}: is TESSERA_URL a Tessera?")
    };
    Err(Refused { status, sentence })
}

/// What a challenge says (RFC 6750, section 3).
fn described(challenge: &str) -> Option<&str> {
    let member = |name: &str| Some(challenge.split_once(name)?.1.split('"').next().unwrap_or(""));
    member("error_description=\"").or_else(|| member("scope=\""))
}

/// Fails where a server is named for a command that works beside the database alone.
pub(crate) fn require_no_server(command: &str) -> Result<(), String> {
    if api::base::config::server_is_named() {
        return Err(format!(
            "`tessera {command}` works on the database of its own settings: unset TESSERA_URL"
        ));
    }
    Ok(())
}

/// What is at the bottom of a failure: the layers above say that they failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
