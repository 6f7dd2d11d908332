//! The ways a mail leaves.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::Letter;
use super::template::Words;
use crate::base::clock;
use crate::base::config::{Config, ConfigError};
use crate::platform::job::Failure;

/// Where mails are kept in development.
const OUTBOX: &str = "outbox";

/// How long the mail server may take over each step.
const STEP_WITHIN: Duration = Duration::from_secs(10);

/// Where mails go.
#[derive(Debug)]
pub(super) enum Mailer {
    /// To a mail server.
    Smtp {
        /// What talks to it.
        transport: AsyncSmtpTransport<Tokio1Executor>,
        /// Who they are from.
        from: Mailbox,
    },
    /// Into files, for developers; their links are logged.
    Outbox {
        /// The folder.
        folder: PathBuf,
        /// Who they are from.
        from: Mailbox,
    },
    /// Nowhere: none is written.
    Nowhere,
}

impl Mailer {
    /// As the settings say.
    ///
    /// # Errors
    ///
    /// When `MAIL_URL` is no URL of a mail server.
    pub(super) fn of(config: &Config) -> Result<Self, ConfigError> {
        if config.mail.off {
            return Ok(Self::Nowhere);
        }
        let from = config.mail.mail_from.clone();
        match &config.mail.mail_url {
            Some(url) => {
                let from = from.ok_or(ConfigError::new("MAIL_FROM is not set"))?;
                Ok(Self::Smtp { transport: smtp(url.expose())?, from })
            }
            None if config.dev => {
                let own = || "Tessera <tessera@localhost>".parse().expect("this is an address");
                Ok(Self::Outbox { folder: OUTBOX.into(), from: from.unwrap_or_else(own) })
            }
            None => Ok(Self::Nowhere),
        }
    }

    /// Whether mails leave at all.
    pub(super) fn sends(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Sends a mail; the same id makes it the same mail, should it be sent twice.
    pub(super) async fn send(
        &self,
        id: &str,
        letter: &Letter,
        words: Words,
        link: &str,
    ) -> Result<(), Failure> {
        match self {
            Self::Smtp { transport, from } => {
                let message = message(id, from, letter, words)?;
                transport.send(message).await.map(drop).map_err(|error| failure(&error))
            }
            Self::Outbox { folder, from } => {
                let message = message(id, from, letter, words)?;
                let name = format!("{}-{id}.eml", letter.template.name());
                let path = keep(folder, &name, &message.formatted())
                    .map_err(|error| Failure::Again(format!("{}: {error}", folder.display())))?;
                tracing::info!(
                    mail.file = %path.display(),
                    mail.link = link,
                    "a mail was written to the outbox of this development server"
                );
                Ok(())
            }
            Self::Nowhere => Err(Failure::Again("MAIL_URL is not set".to_owned())),
        }
    }
}

fn smtp(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
    let fault = || {
        ConfigError::new(
            "MAIL_URL is not of the form smtp://user:password@host:587 (percent-encode what is no \
             letter or digit in user and password), with ?tls=none at its end for a server that knows \
             of no encryption, or smtps://…",
        )
    };
    // What a stranger on the way could read and change is for those who ask for it.
    let (plain, query) = url.split_once('?').unwrap_or((url, ""));
    let url = match query {
        "tls=none" if plain.starts_with("smtp://") => plain.to_owned(),
        "" if plain.starts_with("smtp://") => format!("{plain}?tls=required"),
        "" if plain.starts_with("smtps://") => plain.to_owned(),
        "tls=required" if plain.starts_with("smtp://") => url.to_owned(),
        _ => return Err(fault()),
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url).map_err(|_| fault())?;
    let pool = PoolConfig::new().max_size(4).idle_timeout(Duration::from_secs(30));
    Ok(builder.timeout(Some(STEP_WITHIN)).pool_config(pool).build())
}

fn message(id: &str, from: &Mailbox, letter: &Letter, words: Words) -> Result<Message, Failure> {
    let never = |why: &str| Failure::Never(why.to_owned());
    let to = letter.to.parse().map_err(|_| never("the address cannot be written in a mail"))?;
    let Words { subject, text, html } = words;
    let domain = from.email.domain();
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .message_id(Some(format!("<{id}@{domain}>")))
        .date(clock::system_time())
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, text))
                .singlepart(part(ContentType::TEXT_HTML, html)),
        )
        .map_err(|error| Failure::Again(error.to_string()))?;
    // No answering machine answers it (RFC 3834, section 5).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}

/// A part as it stands, where it can: a link that is broken over two lines cannot be copied from a file.
fn part(kind: ContentType, text: String) -> SinglePart {
    let plain = text.is_ascii() && text.lines().all(|line| line.len() < 990);
    let builder = SinglePart::builder().header(kind);
    if !plain {
        return builder.body(text);
    }
    let lines: Vec<_> = text.lines().collect();
    let text = lines.join("\r\n") + "\r\n";
    match Body::new_with_encoding(text, ContentTransferEncoding::SevenBit) {
        Ok(body) => builder.body(body),
        Err(bytes) => builder.body(bytes),
    }
}

/// Writes a file that is its owner's alone, whole or not at all.
fn keep(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (path, draft) = (folder.join(name), folder.join(format!(".{name}")));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

/// Why a mail server did not take a mail, without what it said: that may hold the address.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    if let Some(code) = error.status() {
        let cause = format!("the mail server answered {code}");
        // There is no such mailbox, or it takes nothing. Other refusals are of the service, and end when
        // its settings are mended.
        let of_mailbox = (550..=553).map(|code: u16| code.to_string());
        let never = of_mailbox.into_iter().any(|known| known == code.to_string());
        return if never { Failure::Never(cause) } else { Failure::Again(cause) };
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let kind = if error.is_timeout() { "does not answer in time" } else { "cannot be used" };
    let innermost = innermost.to_string();
    let hint = if innermost.contains("STARTTLS") {
        ": one beside this server wants ?tls=none"
    } else {
        ""
    };
    Failure::Again(format!("the mail server of MAIL_URL {kind} ({innermost}){hint}"))
}
