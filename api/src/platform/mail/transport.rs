//! The ways to send a mail: SMTP, or files in development.

use std::error::Error as _;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Host;

use super::Letter;
use super::template::Words;
use crate::base::clock;
use crate::base::config::{Config, ConfigError, PublicUrl};
use crate::base::mail_address::with_ascii_domain;
use crate::platform::job::Failure;

/// The folder for mails in development.
const OUTBOX: &str = "outbox";

/// The longest text of a mail server that is kept, in characters.
const MAX_ANSWER: usize = 300;

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
                Ok(Self::Smtp { transport: smtp(url.expose(), hello(&config.public_url))?, from })
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

    /// Checks that the mail server answers and accepts the sign-in.
    pub(super) async fn reach(&self) -> Result<(), String> {
        let Self::Smtp { transport, .. } = self else { return Ok(()) };
        match transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the mail server of MAIL_URL answers, but not as expected".to_owned()),
            Err(error) => Err(failure(&error, "", None).cause().to_owned()),
        }
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
                let plain = message(id, from, letter, &words, Encoding::None)?;
                let sent = match transport.send(plain).await {
                    Err(error) if is_ascii_only(&error) => {
                        let coded = message(id, from, letter, &words, Encoding::Base64)?;
                        transport.send(coded).await
                    }
                    sent => sent,
                };
                sent.map(drop).map_err(|error| failure(&error, &letter.to, letter.code.as_deref()))
            }
            Self::Outbox { folder, from } => {
                let message = message(id, from, letter, &words, Encoding::None)?;
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

/// The way in which the texts of a mail are written. Quoted-printable is not among them: it breaks long lines, and a link
/// that is copied from the source of a mail would be broken too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As they are. The mail server must accept 8BITMIME if they are not ASCII.
    None,
    Base64,
}

/// Returns true if the server was not asked, because it does not accept text that is not ASCII.
fn is_ascii_only(error: &lettre::transport::smtp::Error) -> bool {
    error.source().is_some_and(|source| source.to_string().contains("8BITMIME"))
}

/// The name with which Tessera introduces itself to a mail server: the host of `PUBLIC_URL`, or its address in brackets.
/// The name of the machine can be one without a domain, which strict servers refuse.
fn hello(url: &PublicUrl) -> ClientId {
    match url.host() {
        // Strict servers refuse a name of one label, such as localhost or the name of a container.
        Host::Domain(name) if name.contains('.') => ClientId::Domain(name),
        Host::Domain(_) => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
        Host::Ipv4(address) => ClientId::Ipv4(address),
        Host::Ipv6(address) => ClientId::Ipv6(address),
    }
}

fn smtp(url: &str, hello: ClientId) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
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
    Ok(builder.hello_name(hello).timeout(Some(STEP_WITHIN)).pool_config(pool).build())
}

fn message(
    id: &str,
    from: &Mailbox,
    letter: &Letter,
    words: &Words,
    encoding: Encoding,
) -> Result<Message, Failure> {
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
        .subject(subject.clone())
        .message_id(Some(format!("<{id}@{domain}>")))
        .date(clock::system_time())
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, text, encoding))
                .singlepart(part(ContentType::TEXT_HTML, html, encoding)),
        )
        .map_err(|error| Failure::Again(error.to_string()))?;
    // Auto-responders do not answer such a mail (RFC 3834, section 5).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}

/// Makes a part. It is encoded if a line would be longer than mail servers accept (RFC 5321, section 4.5.3.1.6).
fn part(kind: ContentType, text: &str, encoding: Encoding) -> SinglePart {
    let lines: Vec<_> = text.lines().collect();
    let is_plain = |line: &&str| line.len() < 990 && !line.contains(['\r', '\0']);
    let is_plain = lines.iter().all(is_plain);
    let text = lines.join("\r\n") + "\r\n";
    let as_it_is = match encoding {
        _ if is_plain && text.is_ascii() => Some(ContentTransferEncoding::SevenBit),
        Encoding::None if is_plain => Some(ContentTransferEncoding::EightBit),
        _ => None,
    };
    let builder = SinglePart::builder().header(kind);
    match as_it_is {
        // The library would use quoted-printable for lines of more than 76 characters, such as links.
        Some(encoding) => builder.body(Body::dangerous_pre_encoded(text.into_bytes(), encoding)),
        None => match Body::new_with_encoding(text, ContentTransferEncoding::Base64) {
            Ok(body) => builder.body(body),
            Err(bytes) => builder.body(bytes),
        },
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

/// Converts the error of a mail server. The server's text often says what to do.
fn failure(error: &lettre::transport::smtp::Error, to: &str, code: Option<&str>) -> Failure {
    if let Some(status) = error.status() {
        let text = error.source().map(|text| without_secrets(&text.to_string(), to, code));
        let text = text.map(|text| format!(": {text}")).unwrap_or_default();
        let cause = format!("the mail server answered {status}{text}");
        // The mailbox does not exist or accepts no mail. Other refusals concern the service, and end when its settings
        // are corrected.
        let of_mailbox = (550..=553).map(|code: u16| code.to_string());
        let never = of_mailbox.into_iter().any(|known| known == status.to_string());
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

/// The text of a mail server in one line, without what it may repeat of the mail: addresses, links and codes.
fn without_secrets(text: &str, to: &str, code: Option<&str>) -> String {
    let words = text.split(|char: char| char.is_whitespace() || char.is_control());
    let words = words.filter(|word| !word.is_empty()).map(|word| match word {
        word if word.contains('@') || (!to.is_empty() && word.contains(to)) => "(address)",
        word if word.contains("//") || word.contains("token") => "(link)",
        word if code.is_some_and(|code| word.contains(code)) => "(code)",
        word => word,
    });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(MAX_ANSWER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_text_of_a_mail_server_is_shown_without_what_it_repeats_of_the_mail() {
        for (text, shown) in [
            ("5.5.2 <vm>: Helo command rejected", "5.5.2 <vm>: Helo command rejected"),
            ("<first@user.com>: unknown", "(address) unknown"),
            ("spam: https://id.example.com/verify?token=abc\r\nsee", "spam: (link) see"),
            ("contains 123456.", "contains (code)"),
            ("\u{1b}[31mred", "[31mred"),
        ] {
            assert_eq!(without_secrets(text, "First@user.com", Some("123456")), shown);
        }
        assert_eq!(without_secrets(&"x".repeat(9999), "", None).len(), MAX_ANSWER);
    }

    #[test]
    fn the_name_of_the_server_is_its_host_or_its_address() {
        for (url, name) in [
            ("https://id.example.com/sub", "id.example.com"),
            ("http://localhost:8000", "[127.0.0.1]"),
            ("http://192.0.2.1:80", "[192.0.2.1]"),
            ("http://[2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            let url: PublicUrl = url.parse().unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(hello(&url).to_string(), name);
        }
    }
}
