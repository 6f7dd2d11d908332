//! The settings of mail, and of the links and codes in mails.

use std::path::PathBuf;

use clap::Args;
use lettre::message::Mailbox;

use super::{Config, ConfigError, Secret, read_secret_file, value};

/// The settings of mail, and the lifetimes of links and codes in mails.
#[derive(Debug, Clone, Args)]
pub struct MailSettings {
    /// The mail server: `smtp://user:password@host:587` (encrypted with STARTTLS), `smtps://…` (TLS from the
    /// beginning), or `smtp://…?tls=none` (no encryption, for a server on the same machine). If this is not set, no
    /// mail is sent; in development, mails are written to ./outbox
    #[arg(long, env = "MAIL_URL", global = true, value_name = "URL")]
    pub mail_url: Option<Secret>,

    /// A file that contains MAIL_URL. It takes precedence over MAIL_URL itself
    #[arg(long, env = "MAIL_URL_FILE", global = true, value_name = "FILE")]
    pub mail_url_file: Option<PathBuf>,

    /// The sender of mails, for example `Example <accounts@example.com>`. Required if MAIL_URL is set
    #[arg(long, env = "MAIL_FROM", global = true, value_name = "ADDRESS",
          value_parser = parse_mailbox)]
    pub mail_from: Option<Mailbox>,

    /// A folder with your own texts for mails, for example verify/subject.txt. Tessera uses its own texts for missing
    /// files
    #[arg(long, env = "MAIL_TEMPLATES", global = true, value_name = "FOLDER")]
    pub mail_templates: Option<PathBuf>,

    /// Lifetime of the link and the code that verify an e-mail address, in seconds (60 to 604800)
    #[arg(long, env = "VERIFY_TOKEN_EXPIRES", global = true, value_name = "TIME",
          default_value = "3600", value_parser = value::seconds(60..=604_800))]
    pub verify_token_expires: u64,

    /// Lifetime of the link and the code that set a new password, in seconds (60 to 86400)
    #[arg(long, env = "RESET_TOKEN_EXPIRES", global = true, value_name = "TIME",
          default_value = "3600", value_parser = value::seconds(60..=86_400))]
    pub reset_token_expires: u64,

    /// `true` if no mail may be written, because the secret is not the servers' and they could not decrypt the mail.
    #[arg(skip)]
    pub off: bool,
}

impl MailSettings {
    pub(super) fn complete(&mut self) -> Result<(), ConfigError> {
        if let Some(file) = &self.mail_url_file {
            self.mail_url = Some(Secret::new(&read_secret_file("MAIL_URL_FILE", file)?));
        }
        self.mail_url = self.mail_url.take().filter(|url| !url.expose().is_empty());
        if self.mail_url.is_some() && self.mail_from.is_none() {
            let fault = "MAIL_URL is set, but MAIL_FROM is not: set it to the sender of mails, for \
                         example MAIL_FROM=accounts@example.com";
            return Err(ConfigError::new(fault));
        }
        Ok(())
    }
}

impl Config {
    /// A warning, if no mail is sent.
    pub(super) fn warning_of_mail(&self) -> Option<&'static str> {
        (self.mail.mail_url.is_none() && !self.dev).then_some(
            "MAIL_URL is not set: no mail is sent, so users cannot verify their address or set a new \
             password themselves; /forgot-password tells them so",
        )
    }
}

fn parse_mailbox(text: &str) -> Result<Mailbox, &'static str> {
    text.parse().map_err(|_| "must be a mail address, such as accounts@example.com or Example <accounts@example.com>")
}
