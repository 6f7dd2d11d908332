//! The ways to send a mail: SMTP, or files in development.

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
use crate::base::mail_address::with_ascii_domain;
use crate::platform::job::Failure;

/// The folder for mails in development.
const OUTBOX: &str = "outbox";

/// The time that the mail server may take for each step.
const STEP_WITHIN: Duration = Duration::from_secs(10);

/// The way that mails are sent.
#[derive(Debug)]
pub(super) enum Mailer {
    /// Mails go to a mail server.
    Smtp {
        /// The connection to the server.
        transport: AsyncSmtpTransport<Tokio1Executor>,
        /// The sender of the mails.
        from: Mailbox,
    },
    /// Mails go into files, for developers. Their links are logged.
    Outbox {
        /// The folder.
        folder: PathBuf,
        /// The sender of the mails.
        from: Mailbox,
    },
    /// No mail is written.
    Nowhere,
}

impl Mailer {
    /// Creates a mailer from the settings.
    ///
    /// # Errors
    ///
    /// If `MAIL_URL` is not the URL of a mail server, or is set without `MAIL_FROM`.
    pub(super) fn of(config: &Config) -> Result<Self, ConfigError> {
        if config.mail.off {
            return Ok(Self::Nowhere);
        }
        let from = config.mail.mail_from.clone().map(|Mailbox { name, email }| {
            let ascii = with_ascii_domain(email.as_ref()).parse();
            Mailbox::new(name, ascii.unwrap_or(email))
        });
        match &config.mail.mail_url {
            Some(url) => {
                let from = from.ok_or(ConfigError::new("MAIL_FROM is not set"))?;
                Ok(Self::Smtp { transport: smtp(url.expose())?, from })
            }
            None if config.dev => {
                let own =
                    || "Tessera <tessera@localhost>".parse().expect("the default sender is valid");
                Ok(Self::Outbox { folder: OUTBOX.into(), from: from.unwrap_or_else(own) })
            }
            None => Ok(Self::Nowhere),
        }
    }

    /// Returns true if mails are sent.
    pub(super) fn sends(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Sends a mail. Mails with the same `id` have the same `Message-ID`.
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
            "MAIL_URL is not a URL such as smtp://user:password@host:587 or smtps://… (percent-encode \
             characters of user and password that are not letters or digits; end the URL with \
             ?tls=none if the server has no encryption)",
        )
    };
    // Without encryption, others on the network can read and change mails. So the operator must ask for it.
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
    let never = |cause: &str| Failure::Never(cause.to_owned());
    // Not every mail server accepts a domain that is not ASCII.
    let to = with_ascii_domain(&letter.to)
        .parse()
        .map_err(|_| never("the address cannot be used in a mail"))?;
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
    // Auto-responders do not answer such a mail (RFC 3834, section 5).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}

/// Makes a part without encoding, if possible: a link that is broken over two lines cannot be copied from a file.
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

/// Writes a file that only its owner can read. The file appears only when it is complete.
fn keep(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (path, draft) = (folder.join(name), folder.join(format!(".{name}")));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

/// Converts the error of a mail server without the server's text, which may contain the address.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    if let Some(code) = error.status() {
        let cause = format!("the mail server answered {code}");
        // The mailbox does not exist or accepts no mail. Other refusals concern the service, and end when its settings
        // are corrected.
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
        ": if it is on this machine and has no encryption, add ?tls=none to MAIL_URL"
    } else {
        ""
    };
    Failure::Again(format!("the mail server of MAIL_URL {kind} ({innermost}){hint}"))
}
