//! The calls of operators' commands. They go to the database of the settings or to a running server. Both execute the
//! same operations, so a command does the same in both cases.

use std::collections::{BTreeMap, BTreeSet};
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

/// The time within which a command waits for all replicas to apply a change.
const APPLIED_WITHIN: Duration = Duration::from_secs(5);

/// The time after which a command gives up if a server sends nothing. An export as a whole can take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest `Retry-After` of a rate limit that a command waits for.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The advice for a server that refuses an access token because its password was given too long ago.
const STALE: &str = "TESSERA_API_TOKEN is the access token of a session, and its password was given too long ago for \
    this command. Set it to a fresh token, which POST /auth/jwt/fresh issues for the password, or to an API token with \
    the scope super. To work on the database without a token, unset TESSERA_URL";

/// The server to call, if any.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Send the command to the server at this URL, instead of opening the database
    #[arg(long, env = "TESSERA_URL", value_name = "URL", hide_env_values = true)]
    url: Option<Secret>,

    /// The API token for the server; most commands require the scope super
    #[arg(long, env = "TESSERA_API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    api_token: Option<Secret>,

    /// A file that contains the API token; it takes precedence over --api-token
    #[arg(long, env = "TESSERA_API_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    api_token_file: Option<PathBuf>,

    /// Allow plain HTTP to another machine; anyone on the network path can read the API token
    #[arg(long)]
    insecure: bool,
}

/// The server to call, if any, and the format of the output.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: Server,

    /// The format of the output: table (for people) or json (for programs)
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    output: Output,
}

impl Server {
    /// Adds a format of the output.
    pub(crate) fn printing(self, output: Output) -> Options {
        Options { server: self, output }
    }
}

impl Options {
    /// Takes a URL of /oauth2/authorize that was given as `--url`. It is no server for the command.
    pub(crate) fn take_request(&mut self) -> Option<String> {
        let is_request = |url: &&Secret| url.expose().contains("/oauth2/authorize?");
        self.server.url.as_ref().filter(is_request)?;
        self.server.url.take().map(|url| url.expose().to_owned())
    }
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The destination of a command's calls.
enum Destination {
    Database(Local),
    Server { client: reqwest::Client, url: PublicUrl, token: Secret },
}

/// An operator, with the destination of their calls and the format of the output.
pub(crate) struct Operator {
    destination: Destination,
    output: Output,
}

/// A refusal by an operation, or a failure to reach it.
pub(crate) struct Refused {
    status: u16,
    code: Option<Code>,
    sentence: String,
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.sentence
    }
}

impl Refused {
    fn fault(sentence: String) -> Self {
        Self { status: 0, code: None, sentence }
    }

    /// Replaces the sentence if the status is 404.
    pub(crate) fn or_missing(self, sentence: impl FnOnce() -> String) -> Self {
        if self.status == 404 { Self { sentence: sentence(), ..self } } else { self }
    }

    /// Returns true for 404: there is nothing with this name.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// Replaces the sentence if the refusal has this code.
    pub(crate) fn or_for(self, code: Code, sentence: impl FnOnce() -> String) -> Self {
        if self.has(code) { Self { sentence: sentence(), ..self } } else { self }
    }

    /// Returns true if the refusal has this code.
    pub(crate) fn has(&self, code: Code) -> bool {
        self.code == Some(code)
    }

    /// Returns true for 422: the request has fields that are not valid.
    pub(crate) fn is_unprocessable(&self) -> bool {
        self.status == 422
    }

    /// Returns true for 403: the caller is known but may not use the operation.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 403
    }
}

impl Operator {
    /// An operator for commands that sign nothing. With the database, they do not require `APP_SECRET`.
    pub(crate) async fn new(options: Options, config: Config) -> Result<Self, String> {
        let app = if options.server.url.is_none() { Some(api::open(config).await?) } else { None };
        Self::calling(options, app)
    }

    /// An operator for commands that decide whether tokens are accepted. With the database, they require `APP_SECRET`
    /// and read the revocations.
    pub(crate) async fn with_revocations(options: Options, config: Config) -> Result<Self, String> {
        let app = match options.server.url {
            None => Some(api::open_with_revocations(config).await?),
            Some(_) => None,
        };
        Self::calling(options, app)
    }

    /// An operator for commands that need the signing keys. With the database, they require `APP_SECRET`.
    pub(crate) async fn with_secret(options: Options, config: Config) -> Result<Self, String> {
        let app = if options.server.url.is_none() {
            Some(api::open_with_secret(config).await?)
        } else {
            None
        };
        Self::calling(options, app)
    }

    fn calling(options: Options, app: Option<App>) -> Result<Self, String> {
        let Options { server, output } = options;
        let Server { url, api_token, api_token_file, insecure } = server;
        if let Some(app) = app {
            return Ok(Self { destination: Destination::Database(Local::new(app)), output });
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
            "TESSERA_API_TOKEN is not set. A superuser can create a token with POST /auth/tokens. An operator can \
             create one with `tessera token create --username … --scope authenticated,super` on the database",
        )?;
        let url = url.as_ref().map_or("", Secret::expose);
        let url: PublicUrl = url.parse().map_err(|fault| format!("TESSERA_URL {fault}"))?;
        let client = client_of(&url, insecure)?;
        Ok(Self { destination: Destination::Server { client, url, token }, output })
    }

    /// Returns true if the command works on the database, with the settings of its own.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.destination, Destination::Database(_))
    }

    pub(crate) fn prints_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Returns true if calls go to a server, which identifies the caller by the token.
    pub(crate) fn calls_a_server(&self) -> bool {
        matches!(self.destination, Destination::Server { .. })
    }

    /// Calls an operation and returns its answer.
    ///
    /// # Errors
    ///
    /// If the operation refuses, if the server does not answer, or if the answer is not one of Tessera.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refused> {
        match &self.destination {
            Destination::Database(local) => {
                let uri: Uri = path.parse().map_err(|_| not_a_path(path))?;
                let (status, answer) = local.call(method, uri, body.as_ref()).await;
                answered(status, answer, None)
            }
            Destination::Server { client, url, token } => {
                let url = url.as_str();
                let send = || {
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
                let mut response = send().await.map_err(unreachable)?;
                while let Some(wait) = wait_of(&response) {
                    sleep(wait).await;
                    response = send().await.map_err(unreachable)?;
                }
                let status = response.status().as_u16();
                let challenge = response.headers().get(WWW_AUTHENTICATE);
                let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let answer = response.bytes().await.map_err(unreachable)?;
                let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                if status < 300 && status != 204 && !answer.is_object() {
                    let sentence =
                        format!("the answer of {url} is not one of Tessera: is TESSERA_URL right?");
                    return Err(Refused::fault(sentence));
                }
                answered(status, answer, challenge)
            }
        }
    }

    /// Requests all items of a list, page by page.
    ///
    /// # Errors
    ///
    /// See [`Operator::call`].
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

    /// Returns the running replicas, each with `true` if it has applied the change that was just made. Waits for
    /// those that have not, for at most [`APPLIED_WITHIN`].
    ///
    /// # Errors
    ///
    /// See [`Operator::call`].
    pub(crate) async fn applied(&self) -> Result<BTreeMap<String, bool>, Refused> {
        let until = Instant::now() + APPLIED_WITHIN;
        let (mut required, mut names) = (None, BTreeSet::new());
        loop {
            let answer = match self.call(Method::GET, "/admin/replicas", None).await {
                // Only superusers may list the replicas. Other callers get no list.
                Err(refused) if refused.is_forbidden() => return Ok(BTreeMap::new()),
                answer => answer?,
            };
            let required = *required.get_or_insert(answer["seq"].as_i64().unwrap_or_default());
            let mut applied = BTreeMap::new();
            for replica in answer["items"].as_array().into_iter().flatten() {
                let name = replica["name"].as_str().unwrap_or_default().to_owned();
                let has = replica["seq"].as_i64().is_some_and(|seq| seq >= required);
                // If two replicas have the same name, both must have applied it.
                applied.entry(name).and_modify(|all| *all &= has).or_insert(has);
            }
            // A replica that is no longer on line has not said that it applied the change.
            names.extend(applied.keys().cloned());
            for name in &names {
                applied.entry(name.clone()).or_insert(false);
            }
            if applied.values().all(|has| *has) || Instant::now() >= until {
                return Ok(applied);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Prints the result of a change, and the replicas that have applied it.
    pub(crate) async fn print_change(
        &self,
        mut answer: Value,
        sentence: &str,
    ) -> Result<(), String> {
        // The result is printed first, because the change is made even if the list of replicas cannot be read.
        if !self.prints_json() {
            print::line(sentence);
        }
        let applied = self.applied().await.unwrap_or_else(|refused| {
            eprintln!(
                "note: it is not known which replicas have applied the change: {}",
                refused.sentence
            );
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
        for (has_applied, begin) in [(true, "Applied by"), (false, "Not yet applied by")] {
            let names = applied.iter().filter(|(_, applied)| **applied == has_applied);
            let names: Vec<_> = names.map(|(name, _)| print::text(&json!(name))).collect();
            match names.as_slice() {
                [] => {}
                [name] => print::line(format!("{begin} replica {name}.")),
                names => print::line(format!("{begin} replicas {}.", names.join(", "))),
            }
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

/// Creates a client that sends the API token only to the server at this URL. It follows no redirects. It uses plain
/// HTTP only on this machine, unless `insecure` is set.
///
/// # Errors
///
/// If the URL is not safe for the token.
fn client_of(url: &PublicUrl, insecure: bool) -> Result<reqwest::Client, String> {
    if !url.is_https() && !url.is_loopback() && !insecure {
        return Err(format!(
            "TESSERA_URL must begin with https://, because anyone on the network path to {} could read the API \
             token; if you trust the network, add --insecure",
            url.as_str()
        ));
    }
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    // A proxy cannot read encrypted requests, but it could read plain ones.
    let client = if url.is_https() { client } else { client.no_proxy() };
    client.build().map_err(|error| format!("the HTTP client could not be set up: {error}"))
}

/// Returns the time to wait before a retry, if the server answered 429 with a wait of at most [`MAX_WAIT`].
fn wait_of(response: &reqwest::Response) -> Option<Duration> {
    let limited = response.status() == reqwest::StatusCode::TOO_MANY_REQUESTS;
    let wait = response.headers().get(RETRY_AFTER).filter(|_| limited)?;
    let wait = wait.to_str().ok()?.parse().map(Duration::from_secs).ok()?;
    Some(wait).filter(|wait| *wait <= MAX_WAIT)
}

/// Encodes a text for use as one part of a path or of a query (percent-encoding).
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn not_a_path(path: &str) -> Refused {
    Refused::fault(format!("{path} is not a valid path"))
}

fn answered(status: u16, answer: Value, challenge: Option<String>) -> Result<Value, Refused> {
    if status < 300 {
        return Ok(answer);
    }
    let detail = &answer["detail"];
    let code = detail["code"].as_str().or(detail.as_str()).unwrap_or_default();
    let is_known = |known: &&Code| known.name() == code && known.status().as_u16() == status;
    let code = Code::ALL.iter().copied().find(|known| is_known(&known));
    if code == Some(Code::FreshProofRequired) {
        return Err(Refused { status, code, sentence: STALE.to_owned() });
    }
    let known = code.map(Code::sentence);
    let sentence = if let Some(problems) = detail.as_array() {
        let problem = |problem: &Value| {
            let place = problem["loc"].as_array().and_then(|place| place.last());
            let place = place.and_then(Value::as_str).unwrap_or_default();
            let message = problem["msg"].as_str().unwrap_or_default();
            if place.is_empty() { message.to_owned() } else { format!("{place}: {message}") }
        };
        problems.iter().map(problem).collect::<Vec<_>>().join("; ")
    } else if let Some(reason) = detail["reason"].as_str() {
        reason.to_owned()
    } else if let Some(reason) = challenge.as_deref().and_then(described) {
        match status {
            401 => format!("the server does not accept TESSERA_API_TOKEN: {reason}"),
            _ => format!("{} ({reason})", known.unwrap_or("the server refuses the request")),
        }
    } else if let Some(known) = known {
        known.to_owned()
    } else {
        format!("the server answers with status {status}: is TESSERA_URL the URL of a Tessera?")
    };
    Err(Refused { status, code, sentence })
}

/// Returns the description or the scope in a challenge (RFC 6750, section 3).
fn described(challenge: &str) -> Option<&str> {
    let member = |name: &str| Some(challenge.split_once(name)?.1.split('"').next().unwrap_or(""));
    member("error_description=\"").or_else(|| member("scope=\""))
}

/// Checks that `TESSERA_URL` is not set, for a command that works on the database only.
///
/// # Errors
///
/// If `TESSERA_URL` is set.
pub(crate) fn require_no_server(command: &str) -> Result<(), String> {
    if api::base::config::server_is_named() {
        return Err(format!(
            "`tessera {command}` works only on the database in its settings: unset TESSERA_URL"
        ));
    }
    Ok(())
}

/// Returns the innermost cause of an error. The outer ones only say that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
