//! Grants, and the rules for exchanging their refresh tokens.
//!
//! A grant is the right to get further access tokens until it ends. The id of its n-th refresh token is computed from
//! the grant's row. So no token is stored, and a client that lost the answer gets the same token again. The columns of
//! a session's grant are in the row of the session. The grant of an OAuth client is a row of its own.

pub(crate) mod client;
pub(crate) mod jobs;
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

/// The lifetime of a grant.
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
    /// The time of the use.
    pub(crate) at: Timestamp,
    /// The address that the request came from.
    pub(crate) ip: Option<IpAddr>,
    /// The `User-Agent` header.
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
            expires_at: Timestamp::from_millis(row.expiry()),
            ended_at: row.ended_at.map(Timestamp::from_millis),
        }
    }
}

impl Issuer<'_> {
    /// The id of the grant's refresh token of a generation. It is an HMAC-SHA-256 over the generation (eight bytes,
    /// most significant first) with the grant's secret as the key. Its first 16 bytes are the claim `jti`, as a version
    /// 8 UUID (RFC 9562, section 5.8). Nobody can compute these 122 bits without the row.
    ///
    /// `None` for a row without a secret, which a server of an older release wrote.
    pub(crate) fn token_id(&self, generation: u64) -> Option<Uuid> {
        let secret = Some(self.secret).filter(|secret| secret.len() == SECRET_LENGTH)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, &generation.to_be_bytes());
        let first = tag.as_ref().first_chunk::<16>()?;
        Some(Builder::from_custom_bytes(*first).into_uuid())
    }

    /// Returns true if a refresh token is one that this grant issued or will issue. `APP_SECRET` is enough to sign such
    /// a token, but its id can only be computed from the row. The ids are compared in constant time.
    pub(crate) fn gives(&self, token: &RefreshToken) -> bool {
        let is_its_id = self.token_id(token.generation).is_some_and(|id| {
            constant_time::verify_slices_are_equal(id.as_bytes(), token.id.as_bytes()).is_ok()
        });
        is_its_id && self.user == token.user && token.generations().is_some()
    }
}

/// The contents of a refresh token whose signature is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshToken {
    user: UserId,
    generation: u64,
    id: Uuid,
}

impl RefreshToken {
    /// Returns the contents of a token, if it is a refresh token.
    pub(crate) fn of(claims: &Claims) -> Option<Self> {
        let TokenKind::Refresh { generation, .. } = claims.kind else { return None };
        Some(Self { user: user_of(claims), generation, id: claims.jti })
    }

    /// The user of its grant.
    pub(crate) fn user(&self) -> UserId {
        self.user
    }

    /// Its generation and the next one, as the table stores them; `None` if no grant can reach them.
    fn generations(&self) -> Option<(i64, i64)> {
        let generation = i64::try_from(self.generation).ok()?;
        Some((generation, generation.checked_add(1)?))
    }
}

/// The result of presenting a refresh token at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Refused, and nothing changes: the grant does not issue such a token. Somebody who has `APP_SECRET` made it.
    NotIssued,
    /// Refused: the grant has ended.
    Ended,
    /// Refused: the grant has expired.
    Expired,
    /// Exchanged for the next pair, unless another request exchanges it first.
    Current,
    /// Exchanged for the same successor again, because it was exchanged a moment ago. The answer may have been lost, or
    /// two tabs may have refreshed at once.
    Previous,
    /// Ends the grant: the token was exchanged too long ago, so two parties hold it (RFC 9700, section 4.14.2).
    Reused,
    /// Ends the grant: the token is newer than the row. The database was restored from an older copy, in which the
    /// grant may live although it was ended later.
    Ahead,
}

/// Decides what happens to a refresh token, from the grant's row alone. `leeway` is the time in seconds after the
/// exchange during which a token still gives its successor.
///
/// The id is checked first. Anyone who has `APP_SECRET` can sign a refresh token of any generation, but must not get or
/// end anything with it. The time of the rotation may be before or after this server's time by the leeway, because the
/// clock of the replica that exchanged the token may be ahead.
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
    /// The time of the rotation, in milliseconds.
    const ROTATED: i64 = 1_000_000_000;
    /// The time of the expiry, in milliseconds.
    const EXPIRES: i64 = ROTATED + 86_400_000;

    /// A live grant in its sixth generation.
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
    fn the_generation_and_the_time_decide_about_a_token() {
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
    fn without_leeway_a_token_gives_its_successor_only_at_the_time_of_the_rotation() {
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
    fn tokens_of_an_ended_or_expired_grant_are_refused_and_change_nothing() {
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
    fn a_token_that_the_grant_does_not_issue_is_refused_at_any_time() {
        let ended = Grant { ended_at: Some(Timestamp::from_millis(ROTATED)), ..grant() };
        let without_secret = Grant { issuer: Issuer { user: USER, secret: &[] }, ..grant() };
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
    fn the_first_token_of_a_grant_is_current_and_the_next_is_ahead() {
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
