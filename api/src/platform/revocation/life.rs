//! The longest lifetime of access tokens that may still be valid, which is also the time for which a revocation must
//! hold.
//!
//! `ACCESS_TOKEN_EXPIRES` is the lifetime of the tokens that this server signs. Another server may sign tokens that
//! live longer, and this server may have signed such tokens before its last start. So the longest lifetime is a row of
//! the table `feed`. A server raises it before it signs, and lowers it when the tokens have expired.

use std::time::Duration;

use entity::feed::{Model, ONLY};
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;
use tessera_verify::{MAX_LEEWAY, Revocation};
use uuid::Uuid;

use super::{GRACE, store};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};

/// The time for which a longer lifetime stays recorded after the server that needs it last renewed it, in addition to
/// that lifetime, in seconds.
const NOTED_FOR: u64 = 3600;

/// The time after which a server stops signing if it could not renew its record. It is less than [`NOTED_FOR`].
const SIGNS_FOR: Duration = Duration::from_secs(1800);

/// The longest lifetime that an access token of a client can have, in seconds.
pub const MAX_CLIENT_LIFE: u64 = 86_400;

/// The longest lifetime of an access token that may still be valid, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Life(u64);

impl Life {
    /// Reads it, in the transaction of an operation that ends something, after the statement that locks it. So tokens
    /// that were signed before are covered.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(crate) async fn read(app: &App, connection: &impl ConnectionTrait) -> Result<Self> {
        let noted = store::feed(connection).await?.map_or(0, |row| row.longest.unsigned_abs());
        Ok(Self(noted.max(app.config.access_token_expires)))
    }

    /// The longest lifetime as this server knows it. Who uses it must check that the table has no longer one.
    pub(crate) fn known(app: &App) -> Self {
        Self(app.revocation.longest_life().max(app.config.access_token_expires))
    }

    /// The seconds.
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }

    /// Returns a revocation of every token of a session. `issued` is the instant of its youngest access token.
    pub fn of_session(self, session: SessionId, issued: Timestamp, now: Timestamp) -> Revocation {
        Revocation::session(session.0, self.last_expiry(issued.max(now)))
    }

    /// Returns revocations of every token of these sessions. A session whose tokens expired more than a day ago needs
    /// none.
    pub fn of_sessions(
        self,
        sessions: impl IntoIterator<Item = (SessionId, Timestamp)>,
        now: Timestamp,
    ) -> Vec<Revocation> {
        let live = sessions
            .into_iter()
            .filter(|(_, issued)| self.last_expiry(issued.plus_seconds(GRACE)) >= now.seconds());
        live.map(|(session, issued)| self.of_session(session, issued, now)).collect()
    }

    /// Returns a revocation of every access token that a user got up to an instant. It covers those of clients too,
    /// so it holds for as long as the longest of them can last.
    pub fn of_user(self, user: UserId, cut_off: Timestamp) -> Revocation {
        Revocation::user(user.0, cut_off.millis().unsigned_abs(), self.of_cut_off(cut_off))
    }

    /// Returns the instant when every access token that was issued up to an instant has expired, in seconds since the
    /// epoch.
    pub(crate) fn of_cut_off(self, cut_off: Timestamp) -> u64 {
        self.or_of_clients().last_expiry(cut_off)
    }

    /// The longest lifetime, if the token can be one of a client.
    fn or_of_clients(self) -> Self {
        Self(self.0.max(MAX_CLIENT_LIFE))
    }

    /// Returns a revocation of one token of which only the id is known. It holds for as long as the longest-lived token
    /// can last. If the id contains the instant when it was made, that instant counts up to a day ahead, because a
    /// clock may have been wrong.
    pub fn of_token(self, app: &App, jti: Uuid, now: Timestamp) -> Revocation {
        let made = jti.get_timestamp().filter(|_| jti.get_version_num() == 7);
        let made = made.map_or(0, |timestamp| timestamp.to_unix().0.saturating_mul(1000));
        let made = Timestamp::from_millis(i64::try_from(made).unwrap_or(i64::MAX));
        let last = made.clamp(now, now.plus_seconds(GRACE));
        let longest = app.config.refresh_token_expires.max(self.or_of_clients().0);
        Revocation::token(jti, last.plus_seconds(longest + MAX_LEEWAY).seconds())
    }

    /// Returns the instant when the tokens that a key can have signed until now have expired, in seconds since the epoch.
    pub(crate) fn of_key(self, now: Timestamp) -> u64 {
        self.last_expiry(now)
    }

    /// Returns the instant when an access token that was issued at an instant has expired on every replica.
    fn last_expiry(self, issued: Timestamp) -> u64 {
        issued.plus_seconds(self.0.saturating_add(MAX_LEEWAY)).seconds()
    }
}

/// Returns the row that a server whose tokens live for `own` seconds must write.
pub(super) fn next_note(known: Option<&Model>, own: u64, now: Timestamp) -> Model {
    let own_until = now.plus_seconds(own.saturating_add(NOTED_FOR)).millis();
    let own = i64::try_from(own).unwrap_or(i64::MAX);
    match known {
        Some(row) if row.longest > own && now.millis() <= row.longest_until => row.clone(),
        Some(row) if row.longest == own => {
            Model { longest_until: row.longest_until.max(own_until), ..row.clone() }
        }
        _ => Model {
            longest: own,
            longest_until: own_until,
            ..known.cloned().unwrap_or_else(unknown)
        },
    }
}

/// Returns the row before a server has written it.
pub(super) fn unknown() -> Model {
    Model { id: ONLY, longest: 0, longest_until: 0, epoch: String::new(), low: 0 }
}

/// Fails if this server has not been able to record the lifetime of its tokens for long. Then other servers may no
/// longer know that lifetime, and may revoke the tokens for too short a time.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub(crate) fn require_noted_life(app: &App) -> Result<()> {
    if life_is_noted(app) { Ok(()) } else { Err(Error::from(Code::ServiceUnavailable)) }
}

/// Returns true if other servers know the lifetime of this server's tokens.
pub(crate) fn life_is_noted(app: &App) -> bool {
    app.revocation.noted_ago().is_some_and(|ago| ago <= SIGNS_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_life_stays_noted_until_its_tokens_have_expired() {
        let now = Timestamp::from_millis(1_000_000_000);
        let row = |longest: u64, from: Timestamp| Model {
            id: ONLY,
            longest: longest.cast_signed(),
            longest_until: from.plus_seconds(longest + NOTED_FOR).millis(),
            epoch: "an epoch".to_owned(),
            low: 7,
        };
        let long_ago = now.minus_seconds(3600 + NOTED_FOR + 1);
        let just_so = now.minus_seconds(3600 + NOTED_FOR);
        let ahead = now.plus_seconds(7200);
        for (known, own, noted) in [
            (None, 900, Model { epoch: String::new(), low: 0, ..row(900, now) }),
            // Raised at once.
            (Some(row(900, now)), 3600, row(3600, now)),
            (Some(row(900, ahead)), 3600, row(3600, now)),
            // The record of another server stays while it can sign and its tokens are valid.
            (Some(row(3600, now)), 900, row(3600, now)),
            (Some(row(3600, just_so)), 900, row(3600, just_so)),
            (Some(row(3600, long_ago)), 900, row(900, now)),
            // Renewed. A clock that is behind never shortens it.
            (Some(row(900, long_ago)), 900, row(900, now)),
            (Some(row(900, ahead)), 900, row(900, ahead)),
        ] {
            assert_eq!(next_note(known.as_ref(), own, now), noted);
        }
    }
}
