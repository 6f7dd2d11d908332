//! A text in the database that only the right `APP_SECRET` opens. So a restored database and a secret that do not belong
//! together are noticed before a server starts with them.

use super::{store, unsealed};
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key::{Seal, seals_of};
use crate::base::error::{Code, Error, Result};
use crate::platform::unit_of_work::UnitOfWork;

/// The purpose of the key that encrypts the text.
const PURPOSE: &str = "tessera secret check";

/// The name that the text is bound to, which is also its content.
const NAME: &str = "tessera";

/// The relation of the secrets of the settings to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// One of them belongs to the database.
    Fits,
    /// None of them does.
    Foreign,
    /// The database has nothing that was encrypted.
    Unknown,
}

fn seals(config: &Config) -> Result<Vec<Seal>> {
    let fault = |error: ConfigError| Error::because(Code::InternalServerError, error);
    let secret = config.signing_secret().map_err(fault)?;
    Ok(seals_of(&secret, config, PURPOSE))
}

/// Encrypts the text with the secret that this server starts with, unless it is already.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn note_secret(app: &App) -> Result<()> {
    let seals = seals(&app.config)?;
    let known = store::secret_check(app.database.reader()).await?;
    if seals[0].open(NAME, &known).is_some() {
        return Ok(());
    }
    let work = UnitOfWork::begin(app).await?;
    store::put_secret_check(&*work, seals[0].seal(NAME, NAME.as_bytes().to_vec())).await?;
    work.commit().await
}

/// Says whether a secret of the settings belongs to the database. A database of an earlier release has no text for this,
/// and a server that was once started with another secret has replaced it. So the keys are tried too.
///
/// # Errors
///
/// If the database does not answer.
pub async fn fit_of_secret(app: &App) -> Result<Fit> {
    let known = store::secret_check(app.database.reader()).await?;
    if seals(&app.config)?.iter().any(|seal| seal.open(NAME, &known).is_some()) {
        return Ok(Fit::Fits);
    }
    let seals = super::seals(&app.config)?;
    let rows = store::all_of_any_purpose(app.database.reader()).await?;
    let sealed: Vec<_> = rows.iter().filter(|row| row.retired_at.is_none()).collect();
    Ok(match sealed.iter().any(|row| unsealed(&seals, row).is_some()) {
        true => Fit::Fits,
        false if known.is_empty() && sealed.is_empty() => Fit::Unknown,
        false => Fit::Foreign,
    })
}
