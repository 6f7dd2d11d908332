//! The release that migrated the database.

use migration::release::{self, RELEASE};

use super::Database;

impl Database {
    /// Refuses a database of a release that does not work beside this one.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub(crate) async fn check_release(&self) -> Result<(), String> {
        // Before the first migration there is no such table. Another error is reported by the statements that follow.
        let Ok(Some(known)) = release::of(&self.reader).await else { return Ok(()) };
        if !known.is_too_new() {
            return Ok(());
        }
        Err(format!(
            "the database belongs to Tessera {}, and this is Tessera {RELEASE}: run Tessera {} or a later release, or \
             restore the backup that you made before the upgrade",
            known.version, known.oldest
        ))
    }
}

/// Refuses migrations of a later release, which this release does not know.
///
/// # Errors
///
/// A sentence for the operator.
pub fn require_known(applied: &[String]) -> Result<(), String> {
    match migration::unknown(applied) {
        None => Ok(()),
        Some(name) => Err(format!(
            "it was made by a later release (this is Tessera {RELEASE}, which does not know the migration {name}): use \
             that release or a later one"
        )),
    }
}
