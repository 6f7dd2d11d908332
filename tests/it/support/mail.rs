//! Mails: those in the outbox of a development server, and those that a mail server received.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mail_parser::{HeaderValue, Message, MessageParser};
use tempfile::TempDir;

use super::{Server, awaited};
use crate::once::tool;

/// A mail that was delivered.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) headers: String,
}

impl Letter {
    fn read(path: &Path) -> Self {
        let content = std::fs::read(path).unwrap();
        let message: Message<'_> = MessageParser::default().parse(&content).unwrap();
        let address = |value: Option<&mail_parser::Address<'_>>| {
            value.unwrap().first().unwrap().address().unwrap().to_owned()
        };
        assert!(!matches!(message.header("Date"), None | Some(HeaderValue::Empty)));
        let headers =
            String::from_utf8_lossy(&content).split("\r\n\r\n").next().unwrap().to_owned();
        Self {
            to: address(message.to()),
            from: address(message.from()),
            id: message.message_id().unwrap().to_owned(),
            subject: message.subject().unwrap().to_owned(),
            text: message.body_text(0).unwrap().into_owned(),
            html: message.body_html(0).unwrap().into_owned(),
            headers,
        }
    }

    /// Returns the link in the text.
    pub(crate) fn link(&self) -> String {
        let line = self.text.lines().find(|line| line.starts_with("http")).unwrap();
        line.trim().to_owned()
    }

    /// Returns the path and the query of the link.
    pub(crate) fn path(&self) -> String {
        let link = self.link();
        let (_, rest) = link.split_once("://").unwrap();
        rest[rest.find('/').unwrap()..].to_owned()
    }

    /// Returns the token in the link.
    pub(crate) fn token(&self) -> String {
        self.link().split_once("?token=").unwrap().1.to_owned()
    }

    /// Returns the six digits of the code.
    pub(crate) fn code(&self) -> String {
        self.text.split_once("the code ").unwrap().1[..6].to_owned()
    }
}

fn letters(folder: &Path) -> Vec<Letter> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    // The name of a file that is still being written begins with a dot.
    let is_draft =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "eml") && !is_draft(path));
    paths.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
    paths.iter().map(|path| Letter::read(path)).collect()
}

impl Server {
    /// Returns the mails that this development server wrote, the oldest first.
    pub(crate) fn outbox(&self) -> Vec<Letter> {
        letters(&self.folder().join("outbox"))
    }

    /// Waits for the `count`th mail to an address with this text in its subject.
    pub(crate) async fn letter(&self, to: &str, subject: &str, count: usize) -> Letter {
        awaited(&format!("mail {count} to {to} ({subject})"), async || {
            let found = self.outbox().into_iter();
            found
                .filter(|letter| letter.to == to && letter.subject.contains(subject))
                .nth(count - 1)
        })
        .await
    }
}

/// A mail server.
pub(crate) struct MailServer {
    child: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl MailServer {
    /// Starts a mail server on a free port.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_on(0, options)
    }

    pub(crate) fn start_on(port: u16, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/smtp.py");
        let mut command = Command::new(tool("python"));
        command.arg(script).arg(folder.path()).arg(port.to_string()).args(options);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It reports clients that break off.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the mail server prints its port");
        Self { child, folder, port }
    }

    /// Lets it answer, if it was started with `--hold`.
    pub(crate) fn go_on(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    /// Returns the mails that it received, the oldest first.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        letters(self.folder.path())
    }

    /// Waits for the first mail to an address.
    pub(crate) async fn letter(&self, to: &str) -> Letter {
        awaited(&format!("a mail to {to}"), async || {
            self.letters().into_iter().find(|letter| letter.to == to)
        })
        .await
    }

    /// Returns the source of the first mail.
    pub(crate) fn source(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("1.eml")).unwrap()
    }

    /// Returns the name with which the last client introduced itself.
    pub(crate) fn hello(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("hello")).unwrap_or_default()
    }

    /// Returns the sign-ins of clients, and whether their connections were encrypted.
    pub(crate) fn signed_in(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("signed-in")).unwrap_or_default()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
