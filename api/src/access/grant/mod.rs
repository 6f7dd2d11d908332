//! Grants: what a refresh token is worth, and how it is spent, once.
//!
//! A grant is what lets someone have further access tokens until it ends. Its n-th refresh token is a function of the
//! grant's row, so nothing of the token is stored, and a client whose answer was lost gets the same one again. The grant
//! of a first-party sign-in is columns of its session's row.

mod store;

use std::net::IpAddr;

pub(crate) use store::{Spent, next_issue, spending};

use aws_lc_rs::{constant_time, hmac};
use entity::UserId;
use entity::session::{Model, Secret};
use tessera_verify::{Claims, TokenKind};
use uuid::{Builder, Uuid};

use crate::base::claims::user_of;
use crate::base::clock::Timestamp;

/// The length of a grant's secret, in bytes.
pub(crate) const SECRET_LENGTH: usize = 32;

/// How long a grant lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From its last use, in seconds.
    pub(crate) idle: u64,
    /// From its beginning, in seconds.
    pub(crate) absolute: u64,
}

/// The latest use of a grant.
#[derive(Debug, Clone)]
pub(crate) struct LastUse {
    /// The instant.
    pub(crate) at: Timestamp,
    /// The peer's address.
    pub(crate) ip: Option<IpAddr>,
    /// What the program calls itself.
    pub(crate) user_agent: Option<String>,
}

/// The part of a grant that never changes. It gives the grant's refresh tokens their ids.
#[derive(Clone, Copy)]
pub(crate) struct Issuer<'a> {
    user: UserId,
    secret: &'a [u8],
}

impl<'a> Issuer<'a> {
    /// Of a user, with a grant's secret.
    pub(crate) fn new(user: UserId, secret: &'a Secret) -> Self {
        Self { user, secret: &secret.0 }
    }
}

/// The columns of a grant, whichever table they are in.
pub(crate) struct Grant<'a> {
    issuer: Issuer<'a>,
    generation: u64,
    rotated_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl<'a> From<&'a Model> for Issuer<'a> {
    fn from(row: &'a Model) -> Self {
        Self::new(row.user_id, &row.secret)
    }
}

impl<'a> From<&'a Model> for Grant<'a> {
    fn from(row: &'a Model) -> Self {
        Self {
            issuer: Issuer::from(row),
            generation: row.generation.cast_unsigned(),
            rotated_at: Timestamp::from_millis(row.rotated_at),
            expires_at: Timestamp::from_millis(row.expires_at),
            ended_at: row.ended_at.map(Timestamp::from_millis),
        }
    }
}

impl Issuer<'_> {
    /// The id of the grant's refresh token of a generation: HMAC-SHA-256 over the generation (eight bytes, the most
    /// significant first) under the grant's secret. Its first 16 bytes are the claim `jti`, as a version 8 UUID (RFC
    /// 9562, section 5.8): 122 bits that nobody knows without the row.
    ///
    /// `None` for a row without a secret, which a server of an older release wrote.
    pub(crate) fn token_id(&self, generation: u64) -> Option<Uuid> {
        let secret = Some(self.secret).filter(|secret| secret.len() == SECRET_LENGTH)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, &generation.to_be_bytes());
        let first = tag.as_ref().first_chunk::<16>()?;
        Some(Builder::from_custom_bytes(*first).into_uuid())
    }

    /// Whether a refresh token is one that this grant gave or will give: `APP_SECRET` signs such a token, and only the
    /// row knows its id. The ids are compared in constant time.
    pub(crate) fn gives(&self, token: &RefreshToken) -> bool {
        let is_its_id = self.token_id(token.generation).is_some_and(|id| {
            constant_time::verify_slices_are_equal(id.as_bytes(), token.id.as_bytes()).is_ok()
        });
        is_its_id && self.user == token.user && token.generations().is_some()
    }
}

/// What a refresh token with a good signature says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshToken {
    user: UserId,
    generation: u64,
    id: Uuid,
}

impl RefreshToken {
    /// What a token says, if it is a refresh token.
    pub(crate) fn of(claims: &Claims) -> Option<Self> {
        let TokenKind::Refresh { generation, .. } = claims.kind else { return None };
        Some(Self { user: user_of(claims), generation, id: claims.jti })
    }

    /// The user of its grant.
    pub(crate) fn user(&self) -> UserId {
        self.user
    }

    /// Its generation and the next, as the table has them; `None` for one that no grant reaches.
    fn generations(&self) -> Option<(i64, i64)> {
        let generation = i64::try_from(self.generation).ok()?;
        Some((generation, generation.checked_add(1)?))
    }
}

/// What a refresh token is worth at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing, and it changes nothing: the grant does not give such a token. Somebody else made it with `APP_SECRET`.
    NotIssued,
    /// Nothing: the grant has ended.
    Ended,
    /// Nothing: the grant has expired.
    Expired,
    /// The next pair, if it is spent first.
    Current,
    /// The same successor once more: it was spent just now. The answer may have been lost, or two tabs may have asked
    /// at once.
    Previous,
    /// The end of the grant: it was spent too long ago, so two parties hold it (RFC 9700, section 4.14.2).
    Reused,
    /// The end of the grant: the row does not know of the token yet. The database was restored from an older copy, in
    /// which the grant may live although it was ended since.
    Ahead,
}

/// Decides what a refresh token is worth, by the grant's row alone. `leeway` is how long after it was spent a token
/// still gives its successor, in seconds.
///
/// The id comes first: whoever holds `APP_SECRET` can sign a refresh token of any generation, and must neither get
/// anything nor end anything by it. The instant of the rotation may lie on either side of this clock's, by as much: the
/// clock of the replica that spent the token may be ahead.
pub(crate) fn worth(grant: &Grant<'_>, token: &RefreshToken, now: Timestamp, leeway: u64) -> Worth {
    if !grant.issuer.gives(token) {
        return Worth::NotIssued;
    }
    if grant.ended_at.is_some() {
        return Worth::Ended;
    }
    if now >= grant.expires_at {
        return Worth::Expired;
    }
    let was_just_rotated = now <= grant.rotated_at.plus_seconds(leeway)
        && grant.rotated_at <= now.plus_seconds(leeway);
    match grant.generation.checked_sub(token.generation) {
        None => Worth::Ahead,
        Some(0) => Worth::Current,
        Some(1) if was_just_rotated => Worth::Previous,
        Some(_) => Worth::Reused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_LENGTH] = [7; SECRET_LENGTH];
    const USER: UserId = UserId(Uuid::from_u128(1));
    const LEEWAY: u64 = 10;
    /// When the grant was rotated, in milliseconds.
    const ROTATED: i64 = 1_000_000_000;
    /// When it expires, in milliseconds.
    const EXPIRES: i64 = ROTATED + 86_400_000;

    /// A grant that lives, in its sixth generation.
    fn grant() -> Grant<'static> {
        Grant {
            issuer: Issuer { user: USER, secret: &SECRET },
            generation: 5,
            rotated_at: Timestamp::from_millis(ROTATED),
            expires_at: Timestamp::from_millis(EXPIRES),
            ended_at: None,
        }
    }

    fn token(generation: u64) -> RefreshToken {
        let id = grant().issuer.token_id(generation).unwrap();
        RefreshToken { user: USER, generation, id }
    }

    fn worth_at(grant: &Grant<'_>, token: &RefreshToken, millis: i64) -> Worth {
        worth(grant, token, Timestamp::from_millis(millis), LEEWAY)
    }

    #[test]
    fn a_token_is_worth_what_its_generation_and_the_time_say() {
        let within = [ROTATED - 10_000, ROTATED - 1, ROTATED, ROTATED + 1, ROTATED + 10_000];
        let outside = [0, ROTATED - 10_001, ROTATED + 10_001, EXPIRES - 1];
        let all = || within.into_iter().chain(outside);
        for now in all() {
            assert_eq!(worth_at(&grant(), &token(5), now), Worth::Current, "{now}");
            for generation in [6, 7, 1000, i64::MAX.unsigned_abs() - 1] {
                assert_eq!(worth_at(&grant(), &token(generation), now), Worth::Ahead, "{now}");
            }
            for generation in [0, 1, 3] {
                assert_eq!(worth_at(&grant(), &token(generation), now), Worth::Reused, "{now}");
            }
        }
        for now in within {
            assert_eq!(worth_at(&grant(), &token(4), now), Worth::Previous, "{now}");
        }
        for now in outside {
            assert_eq!(worth_at(&grant(), &token(4), now), Worth::Reused, "{now}");
        }
    }

    #[test]
    fn without_leeway_a_token_gives_its_successor_at_the_very_instant_alone() {
        for (now, expected) in
            [(ROTATED - 1, Worth::Reused), (ROTATED, Worth::Previous), (ROTATED + 1, Worth::Reused)]
        {
            assert_eq!(
                worth(&grant(), &token(4), Timestamp::from_millis(now), 0),
                expected,
                "{now}"
            );
        }
    }

    #[test]
    fn a_grant_that_is_over_gives_nothing_and_is_ended_by_nothing() {
        let ended = || Grant { ended_at: Some(Timestamp::from_millis(ROTATED + 1)), ..grant() };
        for generation in [0, 4, 5, 6, 1000] {
            let token = token(generation);
            for now in [ROTATED, ROTATED + 2, EXPIRES - 1, EXPIRES, EXPIRES + 1, i64::MAX] {
                assert_eq!(worth_at(&ended(), &token, now), Worth::Ended, "{generation}, {now}");
            }
            for now in [EXPIRES, EXPIRES + 1, i64::MAX] {
                assert_eq!(worth_at(&grant(), &token, now), Worth::Expired, "{generation}, {now}");
            }
        }
    }

    #[test]
    fn what_the_grant_does_not_give_is_worth_nothing_at_any_time() {
        let ended = Grant { ended_at: Some(Timestamp::from_millis(ROTATED)), ..grant() };
        let without_secret = Grant { secret: &[], ..grant() };
        let beyond = i64::MAX.unsigned_abs();
        let made_up = [
            RefreshToken { id: Uuid::nil(), ..token(5) },
            RefreshToken { id: token(4).id, ..token(5) },
            RefreshToken { generation: 6, ..token(5) },
            RefreshToken { user: UserId(Uuid::from_u128(2)), ..token(5) },
            token(beyond),
            token(u64::MAX),
        ];
        for now in [0, ROTATED, ROTATED + 10_001, EXPIRES, i64::MAX] {
            for token in &made_up {
                for grant in [&grant(), &ended, &without_secret] {
                    assert_eq!(worth_at(grant, token, now), Worth::NotIssued, "{token:?}, {now}");
                }
            }
            assert_eq!(worth_at(&without_secret, &token(5), now), Worth::NotIssued, "{now}");
        }
    }

    #[test]
    fn the_first_token_of_a_grant_has_none_before_it() {
        let first = Grant { generation: 0, ..grant() };
        assert_eq!(worth_at(&first, &token(0), ROTATED), Worth::Current);
        assert_eq!(worth_at(&first, &token(1), ROTATED), Worth::Ahead);
    }

    #[test]
    fn an_id_is_the_same_on_every_replica() {
        let expected = "2189620e-fcd0-840b-97a5-7eaf574cbdec";
        assert_eq!(grant().issuer.token_id(5).unwrap().to_string(), expected);
    }
}
