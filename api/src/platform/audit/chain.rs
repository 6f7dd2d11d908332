//! The chain of digests: the digest of each row covers the row and the digest before it.

use crate::base::hex::hex;
use aws_lc_rs::digest::{SHA256, digest};
use entity::audit::Model;
use entity::audit_pending;
use serde_json::{Value, json};

/// The value that the first row has instead of a digest before it.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The parts of a row that its digest covers.
#[derive(Debug, Clone)]
pub struct Link<'a> {
    /// The number of the row.
    pub seq: i64,
    /// The time, in milliseconds since the epoch.
    pub at: i64,
    /// The action.
    pub act: &'a str,
    /// The actor.
    pub actor: &'a str,
    /// The object of the action.
    pub subject: Option<&'a str>,
    /// The IP address that the request came from.
    pub ip: Option<&'a str>,
    /// The id of the request.
    pub request: Option<&'a str>,
    /// The details, as JSON.
    pub detail: &'a str,
}

impl<'a> From<&'a Model> for Link<'a> {
    fn from(row: &'a Model) -> Self {
        let Model { seq, at, act, actor, subject, ip, request, detail, digest: _ } = row;
        Self {
            seq: *seq,
            at: *at,
            act,
            actor,
            subject: subject.as_deref(),
            ip: ip.as_deref(),
            request: request.as_deref(),
            detail,
        }
    }
}

impl Link<'_> {
    /// Returns the digest of this row after the digest `before`, in hexadecimal: SHA-256 of both as one JSON array. No
    /// two different rows give the same array.
    pub fn digest(&self, before: &str) -> String {
        let Self { seq, at, act, actor, subject, ip, request, detail } = self;
        let text = json!([before, seq, at, act, actor, subject, ip, request, detail]).to_string();
        hex(digest(&SHA256, text.as_bytes()))
    }
}

/// A pending entry as the row with a number, behind a row with a digest.
pub(super) fn sealed(seq: i64, entry: audit_pending::Model, before: &str) -> Model {
    let audit_pending::Model { id: _, at, act, actor, subject, ip, request, detail } = entry;
    let digest = String::new();
    let row = Model { seq, at, act, actor, subject, ip, request, detail, digest };
    Model { digest: Link::from(&row).digest(before), ..row }
}

/// A reader that follows the chain, row by row.
#[derive(Debug, Clone)]
pub struct Follower {
    seq: i64,
    digest: String,
}

/// The reason why a row does not follow from the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// Rows are missing, beginning with this number.
    Missing(i64),
    /// This row, or the digest before it, was altered.
    Altered(i64),
}

impl Default for Follower {
    fn default() -> Self {
        Self { seq: 0, digest: BEGINNING.to_owned() }
    }
}

impl Follower {
    /// Returns the number of the last row that followed, and its digest.
    pub fn head(&self) -> (i64, &str) {
        (self.seq, &self.digest)
    }

    /// Checks the next row.
    ///
    /// # Errors
    ///
    /// The [`Break`], if the row does not follow.
    pub fn follow(&mut self, link: &Link<'_>, digest: &str) -> Result<(), Break> {
        if link.seq != self.seq + 1 {
            return Err(Break::Missing(self.seq + 1));
        }
        if link.digest(&self.digest) != digest {
            return Err(Break::Altered(link.seq));
        }
        (self.seq, self.digest) = (link.seq, digest.to_owned());
        Ok(())
    }
}

/// Reads a row, as the operation returns it, and its digest.
pub fn link_of(row: &Value) -> Option<(Link<'_>, &str)> {
    let text = |name: &str| row[name].as_str();
    let link = Link {
        seq: row["seq"].as_i64()?,
        at: row["at"].as_i64()?,
        act: text("act")?,
        actor: text("actor")?,
        subject: text("subject"),
        ip: text("ip"),
        request: text("request"),
        detail: text("detail")?,
    };
    Some((link, text("digest")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seq: i64) -> Link<'static> {
        Link {
            seq,
            at: 7,
            act: "login",
            actor: "user:1",
            subject: Some("user:1"),
            ip: None,
            request: None,
            detail: "{}",
        }
    }

    #[test]
    fn a_digest_covers_every_member_of_a_row() {
        let whole = link(1).digest(BEGINNING);
        let altered = [
            Link { seq: 2, ..link(1) },
            Link { at: 8, ..link(1) },
            Link { act: "logout", ..link(1) },
            Link { actor: "user:2", ..link(1) },
            Link { subject: None, ..link(1) },
            Link { ip: Some(""), ..link(1) },
            Link { request: Some("x"), ..link(1) },
            Link { detail: "{ }", ..link(1) },
        ];
        for link in altered {
            assert_ne!(link.digest(BEGINNING), whole, "{link:?}");
        }
        assert_ne!(link(1).digest(&whole), whole);
    }

    /// Operators keep digests and compare them for ever. Computed with Python's `hashlib`.
    #[test]
    fn the_digest_of_a_row_never_changes() {
        let digest = "fbd5ac473572a02d07dbbaeb6f3275e34fe78588604a6977e65954d9b27571c7";
        assert_eq!(link(1).digest(BEGINNING), digest);
    }

    #[test]
    fn a_chain_breaks_at_a_row_that_is_altered_or_missing() {
        let mut follower = Follower::default();
        let first = link(1).digest(BEGINNING);
        let second = link(2).digest(&first);
        assert_eq!(follower.follow(&link(1), &first), Ok(()));
        assert_eq!(follower.clone().follow(&link(3), &second), Err(Break::Missing(2)));
        let other = Link { act: "logout", ..link(2) };
        assert_eq!(follower.clone().follow(&other, &second), Err(Break::Altered(2)));
        assert_eq!(follower.follow(&link(2), &second), Ok(()));
        assert_eq!(follower.head(), (2, second.as_str()));
    }
}
