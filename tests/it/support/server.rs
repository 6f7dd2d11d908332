//! The real binary on a free port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::token::SECRET;
use super::wait::Waiting;
use super::{Kind, Request, TestDatabase, awaited};

/// Returns the binary as a command in a folder, without the environment of this process.
pub(crate) fn command(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// The settings with which a server is started.
pub(crate) struct Setup {
    settings: Vec<(String, String)>,
    database: Option<TestDatabase>,
    url: Option<String>,
    dev: bool,
    limits: Option<&'static str>,
    clock: Option<Clock>,
}

/// The clock of servers, which a test can move while they run.
#[derive(Clone)]
pub(crate) struct Clock(Arc<tempfile::NamedTempFile>);

impl Clock {
    /// A clock that is this many milliseconds ahead of the true time, or behind it if the number is negative.
    pub(crate) fn ahead_by(millis: i64) -> Self {
        let clock = Self(Arc::new(tempfile::NamedTempFile::new().unwrap()));
        clock.set(millis);
        clock
    }

    /// Sets the clock this many milliseconds ahead of the true time.
    pub(crate) fn set(&self, millis: i64) {
        // A new file replaces the old one, so a server reads either the old value or the new one.
        let folder = self.0.path().parent().unwrap();
        let mut new = tempfile::NamedTempFile::new_in(folder).unwrap();
        write!(new, "{millis}").unwrap();
        std::fs::rename(new.path(), self.0.path()).unwrap();
        let _ = new.keep();
    }
}

impl Clock {
    /// Moves the clock forward.
    pub(crate) fn advance(&self, time: Duration) {
        let ahead = std::fs::read_to_string(self.path()).unwrap();
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.set(ahead.parse::<i64>().unwrap() + millis);
    }

    /// The file that a development server reads (`TESSERA_CLOCK_FILE`).
    pub(crate) fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Setup {
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts the server without `--dev`.
    pub(crate) fn production(mut self) -> Self {
        self.dev = false;
        self
    }

    /// Uses an existing database.
    pub(crate) fn on(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// The server reaches its database at another address than the test.
    pub(crate) fn reach_database_at(mut self, url: String) -> Self {
        self.url = Some(url);
        self
    }

    /// Gives the server a clock of its own.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// A shell runs this first, for example `ulimit`.
    pub(crate) fn with_shell_limits(mut self, limits: &'static str) -> Self {
        self.limits = Some(limits);
        self
    }

    pub(crate) async fn start(self) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let database = match self.database {
            Some(database) => database,
            None => TestDatabase::prepared(Kind::from_environment()).await,
        };
        let mut command = match self.limits {
            Some(limits) => {
                let mut limited = Command::new("/bin/sh");
                limited
                    .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
                    .arg(env!("CARGO_BIN_EXE_tessera"))
                    .current_dir(folder.path())
                    .env_clear()
                    .env("PATH", "/usr/bin:/bin")
                    .stdin(Stdio::null());
                limited
            }
            None => command(folder.path()),
        };
        command.arg("serve");
        if !self.settings.iter().any(|(name, _)| name == "PORT") {
            command.arg("--port=0");
        }
        let clock = self.clock.unwrap_or_else(|| database.clock().clone());
        if self.dev {
            command.arg("--dev").env("BCRYPT_COST", "4").env("TESSERA_CLOCK_FILE", clock.path());
        }
        command
            // Tests make more attempts than users do. Tests of limits turn this on.
            .env("RATE_LIMIT", "off")
            .env("APP_SECRET", SECRET)
            .env("DATABASE_URL", self.url.as_deref().unwrap_or(database.url()))
            .envs(self.settings)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::default();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
            }
        });
        let waiting = Waiting::begin();
        let address = loop {
            if let Some(line) = log.objects().iter().find(|line| line["message"] == "listening") {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
            if let Some(status) = child.try_wait().unwrap() {
                // Its last line has the reason.
                reader.join().unwrap();
                panic!("the server did not start: {status}\n{}", log.text());
            }
            waiting.pause("the server listens").await;
        };
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Server { child, address, client, database, log, folder, clock, dev: self.dev }
    }
}

/// A running server. It is killed at the end of its test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    client: reqwest::Client,
    pub(crate) database: TestDatabase,
    pub(crate) log: Log,
    folder: TempDir,
    pub(super) clock: Clock,
    pub(super) dev: bool,
}

impl Server {
    pub(crate) fn setup() -> Setup {
        Setup {
            settings: Vec::new(),
            database: None,
            url: None,
            dev: true,
            limits: None,
            clock: None,
        }
    }

    /// Starts a development server on a new database.
    pub(crate) async fn start() -> Self {
        Self::setup().start().await
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Returns a development command on the database and with the clock of this server.
    pub(crate) fn beside(&self) -> Command {
        let mut command = command(self.folder());
        command.env("DATABASE_URL", self.database.url()).env("TESSERA_DEV", "true");
        command.env("TESSERA_CLOCK_FILE", self.clock.path());
        command
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server (`kill -9`) and returns its database.
    pub(crate) fn kill(mut self) -> TestDatabase {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.database.clone()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops the process (SIGSTOP). It keeps its locks and connections.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Continues the process (SIGCONT).
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until the process has ended, and returns its exit status.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        awaited("the server ends", async || self.child.try_wait().unwrap()).await
    }

    /// The CPU time that the process has used, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sends raw text, and returns the answer up to the end of the connection.
    pub(crate) fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Returns the log with all lines of earlier requests. A line that is not in it will not be written later.
    pub(crate) async fn log_so_far(&self) -> String {
        let last = self.get("/health/live").send().await.expect_status(200);
        self.log.wait_for(&last.header("x-request-id")).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let parsed = method.parse().unwrap();
        Request::new(self.client.request(parsed, self.url(path)), method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub(crate) fn patch(&self, path: &str) -> Request {
        self.request("PATCH", path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}

/// The lines that a server wrote to standard error. An answer can arrive before its line.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Waits for a text in the log, and returns the whole log.
    pub(crate) async fn wait_for(&self, text: &str) -> String {
        self.until(text, |log| log.text().contains(text).then(|| log.text())).await
    }

    /// Waits for the first line that matches, and returns it.
    pub(crate) async fn wait_for_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |log| log.objects().into_iter().find(&wanted)).await
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        awaited(&format!("the log contains {what:?}"), async || look(self)).await
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn objects(&self) -> Vec<Value> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
