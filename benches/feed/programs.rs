//! Services in Python and Node: programs of their own, with the packages that `scripts/sdk` installed.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::logouts::{Ended, Judged};
use crate::{Outcome, SECRET, locked, text};

/// A running service that judges the tokens of sign-outs.
pub(crate) struct Program {
    pub(crate) language: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    judged: Option<oneshot::Receiver<Outcome<Judged>>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts a service, and waits until it follows the feed.
    pub(crate) fn start(
        language: &'static str,
        folder: &Path,
        tokens: &[String],
        issuer: &str,
        feed_token: &str,
    ) -> Outcome<Self> {
        let file = folder.join("tokens");
        fs::write(&file, tokens.join("\n")).map_err(text)?;
        let mut command = command(language, "verifier", issuer, feed_token)?;
        command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(text)?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(|output| BufReader::new(output).lines());
        let mut program = Self { language, child, input, output, judged: None };
        match program.output.as_mut().and_then(Iterator::next) {
            Some(Ok(line)) if line == "ready" => Ok(program),
            said => Err(format!("the service in {language} does not start: {said:?}")),
        }
    }

    /// Begins to tell the service of sign-outs, and to read its verdicts.
    pub(crate) fn begin(&mut self, ended: &Ended, count: usize) -> Outcome<()> {
        let mut input = self.input.take().ok_or("no input")?;
        let (mut output, ended) = (self.output.take().ok_or("no output")?, Arc::clone(ended));
        std::thread::spawn(move || {
            let mut told = 0;
            while told < count {
                let new = locked(&ended)[told..].to_vec();
                told += new.len();
                let lines = new.iter().map(|ended| format!("{} {}\n", ended.token, ended.micros));
                if input.write_all(lines.collect::<String>().as_bytes()).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (done, judged) = oneshot::channel();
        std::thread::spawn(move || drop(done.send(read(&mut output, count))));
        self.judged = Some(judged);
        Ok(())
    }

    /// Waits for the last verdict.
    pub(crate) async fn finish(mut self) -> Outcome<Judged> {
        let judged = self.judged.take().ok_or("the service was not told of sign-outs")?;
        judged.await.map_err(text)?
    }
}

/// Reads one line for each sign-out, and one about all tokens at the end.
fn read(output: &mut Lines<BufReader<ChildStdout>>, count: usize) -> Outcome<Judged> {
    let mut judged = Judged::default();
    let mut numbers = || -> Outcome<Vec<u64>> {
        let line = output.next().ok_or("a service ended early")?.map_err(text)?;
        line.split(' ').map(|word| word.parse().map_err(|_| line.clone())).collect()
    };
    for _ in 0..count {
        let line = numbers()?;
        let [late, accepted, unavailable] = line[..] else { return Err(format!("{line:?}")) };
        judged.late.push(Duration::from_micros(late));
        judged.accepted += usize::from(accepted > 0);
        judged.unavailable += usize::from(unavailable > 0);
    }
    let last = numbers()?;
    let [accepted] = last[..] else { return Err(format!("{last:?}")) };
    judged.accepted += usize::try_from(accepted).map_err(text)?;
    Ok(judged)
}

/// The numbers that a service prints about a feed with many entries.
pub(crate) fn entries(
    language: &str,
    issuer: &str,
    feed_token: &str,
    token: &str,
) -> Outcome<Value> {
    let mut command = command(language, "entries", issuer, feed_token)?;
    let output = command.env("TOKEN", token).output().map_err(text)?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("{language}: {error}: {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// A program of this folder. Those in Node must be beside their packages.
fn command(language: &str, name: &str, issuer: &str, feed_token: &str) -> Outcome<Command> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/feed");
    let mut command = if language == "Python" {
        let mut python = Command::new(installed("wheel/bin/python")?);
        python.arg(scripts.join(format!("{name}.py"))).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    } else {
        let file = installed("clean-node")?.join(format!("bench-{name}.mjs"));
        fs::copy(scripts.join(format!("{name}.mjs")), &file).map_err(text)?;
        let mut node = Command::new("node");
        node.arg("--expose-gc").arg(file);
        node
    };
    command.env("TESSERA_ISSUER", issuer).env("TESSERA_AUDIENCE", "tessera");
    command.env("TESSERA_SECRET", SECRET).env("TESSERA_FEED_TOKEN", feed_token);
    Ok(command)
}

/// A path in the folder of `scripts/sdk`.
#[expect(clippy::disallowed_methods, reason = "the benchmark uses the folder that tests use")]
fn installed(path: &str) -> Outcome<PathBuf> {
    let tools = std::env::var_os("TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/venv/bin"),
        PathBuf::from,
    );
    let path = tools.join("../../sdk").join(path);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: run scripts/sdk", path.display()))
    }
}
