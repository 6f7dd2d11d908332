//! The job that delivers mails.

use super::Letter;
use crate::app::App;
use crate::base::background::Background;
use crate::platform::job::{self, Failure, Job, Kind};

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_delivering(app.clone()));
}

/// Delivers mails as they become due, until the server stops.
async fn keep_delivering(app: App) {
    job::keep_working(app, Kind::Mail, deliver).await;
}

async fn deliver(app: &App, job: Job<Letter>) -> Result<(), Failure> {
    let letter = job.work;
    let link = format!("{}{}", app.config.public_url.as_str(), letter.path);
    let words = app.mail.templates().render(&letter, &link).map_err(Failure::Again)?;
    app.mail.mailer.send(&job.id.to_string(), &letter, words, &link).await?;
    tracing::info!(job.id = %job.id, mail.template = letter.template.name(), "a mail was sent");
    Ok(())
}
