//! The settings of mail, and of what mails let people prove.

use std::path::PathBuf;

use clap::Args;
use lettre::message::Mailbox;

use super::{Config, ConfigError, Secret, read_secret_file};

/// How mail is sent, and for how long what it brings is good.
#[derive(Debug, Clone, Args)]
pub struct MailSettings {
    /// Where mail is handed in: smtp://user:password@host:587, encrypted by STARTTLS (`?tls=none` for a
    /// server beside this one), or smtps://…; in development it is written to ./outbox by default
    #[arg(long, env = "MAIL_URL", global = true, value_name = "URL")]
    pub mail_url: Option<Secret>,

    /// A file that holds MAIL_URL, and goes before it
    #[arg(long, env = "MAIL_URL_FILE", global = true, value_name = "FILE")]
    pub mail_url_file: Option<PathBuf>,

    /// Who mails are from, as `Example <accounts@example.com>`; wanted where MAIL_URL is set
    #[arg(long, env = "MAIL_FROM", global = true, value_name = "ADDRESS",
          value_parser = parse_mailbox)]
    pub mail_from: Option<Mailbox>,

    /// A folder with mails of your own words, as verify/subject.txt; what it has not is as it comes
    #[arg(long, env = "MAIL_TEMPLATES", global = true, value_name = "FOLDER")]
    pub mail_templates: Option<PathBuf>,

    /// How long a mail may be used to show that an address is its owner's, in seconds (60 to 604800)
    #[arg(long, env = "VERIFY_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "3600", value_parser = clap::value_parser!(u64).range(60..=604_800))]
    pub verify_token_expires: u64,

    /// How long a mail may be used to set another password, in seconds (60 to 86400)
    #[arg(long, env = "RESET_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "3600", value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub reset_token_expires: u64,

    /// Whether none is sent: what is kept for later could be read by nobody.
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
            let fault = "MAIL_URL is set and MAIL_FROM is not: set it to who mails are from, as \
                         MAIL_FROM=accounts@example.com";
            return Err(ConfigError::new(fault));
        }
        Ok(())
    }
}

impl Config {
    /// Warns where mails are not sent.
    pub(super) fn warn_of_mail(&self) {
        if self.mail.mail_url.is_some() || self.dev {
            return;
        }
        tracing::warn!(
            "MAIL_URL is not set: no mail is sent, so nobody can verify an address or get a new \
             password by themself"
        );
    }
}

fn parse_mailbox(text: &str) -> Result<Mailbox, &'static str> {
    text.parse().map_err(|_| "this is no mail address, as `Example <accounts@example.com>`")
}
