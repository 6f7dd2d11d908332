//! How long access tokens live that may still be valid, and so how long a revocation must hold.
//!
//! `ACCESS_TOKEN_EXPIRES` says how long the tokens live that this server signs. Another server, or this
//! one before its last start, may sign or have signed tokens that live longer. So the longest life is kept
//! in the table `feed`: raised before a server signs, and lowered once the tokens have expired.

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

/// How long a longer life stays noted after the server that needs it was last heard of, besides that
/// life, in seconds.
const NOTED_FOR: u64 = 3600;

/// After how long a server signs no more that could not renew its note. It is less than [`NOTED_FOR`].
const SIGNS_FOR: Duration = Duration::from_secs(1800);

/// The longest life of an access token that may still be valid, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Life(u64);

impl Life {
    /// Reads it, in the transaction of an act that ends something, after the statement that holds it: a
    /// token that was signed before is covered then.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub(crate) async fn read(app: &App, connection: &impl ConnectionTrait) -> Result<Self> {
        let noted = store::feed(connection).await?.map_or(0, |row| row.longest.unsigned_abs());
        Ok(Self(noted.max(app.config.access_token_expires)))
    }

    /// Every token of a session, by the instant of its youngest access token.
    pub fn of_session(self, session: SessionId, issued: Timestamp, now: Timestamp) -> Revocation {
        Revocation::session(session.0, self.last_expiry(issued.max(now)))
    }

    /// Every token of these sessions. A session whose tokens expired more than a day ago needs no entry.
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

    /// Every access token that a user got up to an instant.
    pub fn of_user(self, user: UserId, cut_off: Timestamp) -> Revocation {
        Revocation::user(user.0, cut_off.millis().unsigned_abs(), self.last_expiry(cut_off))
    }

    /// One token of which no more is known than its id: held for as long as the longest-lived may last. An
    /// id that tells when it was made is believed up to a day ahead: a clock may have been wrong.
    pub fn of_token(self, app: &App, jti: Uuid, now: Timestamp) -> Revocation {
        let told = jti.get_timestamp().filter(|_| jti.get_version_num() == 7);
        let told = told.map_or(0, |timestamp| timestamp.to_unix().0.saturating_mul(1000));
        let told = Timestamp::from_millis(i64::try_from(told).unwrap_or(i64::MAX));
        let last = told.clamp(now, now.plus_seconds(GRACE));
        let longest = app.config.refresh_token_expires.max(self.0);
        Revocation::token(jti, last.plus_seconds(longest + MAX_LEEWAY).seconds())
    }

    /// When an access token that was issued at an instant has expired everywhere.
    fn last_expiry(self, issued: Timestamp) -> u64 {
        issued.plus_seconds(self.0.saturating_add(MAX_LEEWAY)).seconds()
    }
}

/// What is to be noted by a server whose tokens live for `own` seconds.
pub(super) fn next_note(known: Option<&Model>, own: u64, now: Timestamp) -> Model {
    let own_until = now.plus_seconds(own.saturating_add(NOTED_FOR)).millis();
    let own = i64::try_from(own).unwrap_or(i64::MAX);
    match known {
        Some(row) if row.longest > own && now.millis() <= row.longest_until => row.clone(),
        Some(row) if row.longest == own => {
            Model { longest_until: row.longest_until.max(own_until), ..row.clone() }
        }
        _ => Model { id: ONLY, longest: own, longest_until: own_until },
    }
}

/// Fails if this server could not note for long how long its tokens live: others may not count with that
/// any more, and revoke them for too short a time.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub(crate) fn require_noted_life(app: &App) -> Result<()> {
    if life_is_noted(app) { Ok(()) } else { Err(Error::from(Code::ServiceUnavailable)) }
}

/// Whether others count with how long the tokens of this server live.
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
        };
        let long_ago = now.minus_seconds(3600 + NOTED_FOR + 1);
        let just_so = now.minus_seconds(3600 + NOTED_FOR);
        let ahead = now.plus_seconds(7200);
        for (known, own, noted) in [
            (None, 900, row(900, now)),
            // Raised at once.
            (Some(row(900, now)), 3600, row(3600, now)),
            (Some(row(900, ahead)), 3600, row(3600, now)),
            // Another server's stays while it may sign, and its tokens live.
            (Some(row(3600, now)), 900, row(3600, now)),
            (Some(row(3600, just_so)), 900, row(3600, just_so)),
            (Some(row(3600, long_ago)), 900, row(900, now)),
            // Renewed, and never for less by a clock that is behind.
            (Some(row(900, long_ago)), 900, row(900, now)),
            (Some(row(900, ahead)), 900, row(900, ahead)),
        ] {
            assert_eq!(next_note(known.as_ref(), own, now), noted);
        }
    }
}
