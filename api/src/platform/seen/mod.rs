//! Values that work once: states and logout tokens of other providers, and codes of sign-ins at other hosts. Each is spent by the insert of its digest.

pub(crate) mod jobs;
mod store;

use aws_lc_rs::digest::{SHA256, digest};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::hex::hex;

/// The purpose of a value. Values of different purposes do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The state of a sign-in with another provider.
    State,
    /// The claims of a provider, while a page asks their person something.
    Arrival,
    /// A logout token of another provider.
    LogoutToken,
    /// The code of a sign-in at another host.
    ForwardCode,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Arrival => "arrival",
            Self::LogoutToken => "logout-token",
            Self::ForwardCode => "forward-code",
        }
    }

    /// The time for which a row is kept after its value expired, in seconds, because a clock may jump ahead and back.
    /// Every signed-in user can make rows of codes, and a code is useless without the state in its browser.
    fn kept_for(self) -> u64 {
        match self {
            Self::State | Self::Arrival | Self::LogoutToken => 86_400,
            Self::ForwardCode => 300,
        }
    }
}

/// Spends a value. Returns `false` if it was spent before. `until` is the time after which it does not work anyway.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn spend(
    transaction: &DatabaseTransaction,
    purpose: Purpose,
    value: &str,
    until: Timestamp,
) -> Result<bool> {
    let until = until.plus_seconds(purpose.kept_for());
    Ok(store::insert(transaction, digest_of(purpose, value), until).await?)
}

/// Returns true if a value was spent.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn is_spent(
    connection: &impl ConnectionTrait,
    purpose: Purpose,
    value: &str,
) -> Result<bool> {
    Ok(store::exists(connection, digest_of(purpose, value)).await?)
}

fn digest_of(purpose: Purpose, value: &str) -> String {
    hex(digest(&SHA256, format!("{}\0{value}", purpose.name()).as_bytes()))
}
