//! Records of the revocation feed, and the body of its snapshots, as bytes.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// The effect of a record. Servers send newer kinds as one of these to a verifier that asks with `v=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordKind {
    /// The tokens with this id, or of the session or grant with this id, are refused.
    Deny = 1,
    /// The access tokens that the user with this id got up to `at` are refused.
    Cut = 2,
    /// Earlier records for this id do not hold any more.
    Lift = 3,
    /// The tokens that the key with this id signed are refused, and the keys must be read again.
    Key = 4,
}

impl RecordKind {
    const ALL: [Self; 4] = [Self::Deny, Self::Cut, Self::Lift, Self::Key];

    /// Returns the name of the kind on the JSON page: `deny`, `cut`, `lift` or `key`.
    pub const fn name(self) -> &'static str {
        match self {
            RecordKind::Deny => "deny",
            RecordKind::Cut => "cut",
            RecordKind::Lift => "lift",
            RecordKind::Key => "key",
        }
    }

    /// Returns the kind with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The kind of an id. The hash of a record covers it, so that the id of a session is never taken for that of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdKind {
    /// A token: its `jti`.
    Token,
    /// A session or a grant: `sid` or `grant_id`.
    Session,
    /// A user: `sub`.
    User,
    /// A key: `kid`.
    Key,
}

impl IdKind {
    const fn prefix(self) -> &'static str {
        match self {
            IdKind::Token => "jti",
            IdKind::Session => "sid",
            IdKind::User => "sub",
            IdKind::Key => "key",
        }
    }

    /// Returns the hash of an id of this kind, as records contain it: the first 8 bytes of SHA-256 of `jti:`, `sid:`,
    /// `sub:` or `key:` and the id as tokens write it.
    pub fn hash(self, id: impl fmt::Display) -> u64 {
        hash_of(&format!("{}:{id}", self.prefix()))
    }
}

/// Returns the hash of an id with its kind before it: `sid:0a0a8bf6-…`.
pub fn hash_of(subject: &str) -> u64 {
    let digest = digest(&SHA256, subject.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// A record of the revocation feed. It names nobody: the id is a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// The effect.
    pub kind: RecordKind,
    /// The time of the revocation in milliseconds since the epoch. For [`RecordKind::Cut`], it covers tokens that were
    /// issued up to this time.
    pub at: u64,
    /// The time when the last token that it covers has expired, in seconds since the epoch.
    pub until: u32,
    /// The hash of the id. See [`IdKind::hash`].
    pub hash: u64,
}

/// The error for bytes that are no record, or no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormError;

impl fmt::Display for FormError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("these bytes are not of the form that the revocation feed has")
    }
}

impl std::error::Error for FormError {}

impl Record {
    /// The number of bytes of a record.
    pub const LENGTH: usize = 20;

    /// Returns the bytes, big-endian: `kind u8, 0 u8, at u48, until u32, hash u64`.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.kind as u8;
        // Times that need more than 48 bits are in the year 10889.
        bytes[2..8].copy_from_slice(&self.at.min((1 << 48) - 1).to_be_bytes()[2..]);
        bytes[8..12].copy_from_slice(&self.until.to_be_bytes());
        bytes[12..].copy_from_slice(&self.hash.to_be_bytes());
        bytes
    }

    /// Parses the bytes of a record.
    ///
    /// # Errors
    ///
    /// [`FormError`] if these are not 20 bytes, or the kind is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormError> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().map_err(|_| FormError)?;
        let known = RecordKind::ALL.into_iter().find(|kind| *kind as u8 == bytes[0]);
        let kind = known.filter(|_| bytes[1] == 0).ok_or(FormError)?;
        let number =
            |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let until = u32::try_from(number(&bytes[8..12])).map_err(|_| FormError)?;
        Ok(Self { kind, at: number(&bytes[2..8]), until, hash: number(&bytes[12..]) })
    }

    /// Parses the bytes of records that follow each other.
    ///
    /// # Errors
    ///
    /// [`FormError`] if the last record is not whole, or a kind is not known.
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, FormError> {
        let records = bytes.chunks_exact(Self::LENGTH);
        if !records.remainder().is_empty() {
            return Err(FormError);
        }
        records.map(Self::from_bytes).collect()
    }
}

/// The beginning of a snapshot. The records follow it, up to the end of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotHead {
    /// The cursor after which the feed continues.
    pub cursor: String,
    /// The time when the snapshot was sent, by the issuer's clock, in milliseconds since the epoch.
    pub now: u64,
    /// The time up to which the snapshot is complete, by the issuer's clock, in milliseconds since the epoch.
    pub at: u64,
    /// The number of records.
    pub count: u32,
}

impl SnapshotHead {
    /// The media type of a snapshot.
    pub const MEDIA_TYPE: &'static str = "application/vnd.tessera.revocations";

    const MAGIC: &'static [u8] = b"TSRF\x01";

    /// Creates the beginning of a snapshot.
    pub fn new(cursor: impl Into<String>, now: u64, at: u64, count: u32) -> Self {
        Self { cursor: cursor.into(), now, at, count }
    }

    /// Returns the bytes: `TSRF`, the version 1, the length of the cursor (u8), the cursor, and big-endian
    /// `now u64, at u64, count u32`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u8::try_from(self.cursor.len()).unwrap_or(u8::MAX);
        let mut bytes = Self::MAGIC.to_vec();
        bytes.push(length);
        bytes.extend_from_slice(&self.cursor.as_bytes()[..usize::from(length)]);
        bytes.extend_from_slice(&self.now.to_be_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Parses a whole snapshot: its beginning, and the bytes of its records.
    ///
    /// # Errors
    ///
    /// [`FormError`] if this is no snapshot, or it is not complete.
    pub fn parse(body: &[u8]) -> Result<(Self, &[u8]), FormError> {
        let rest = body.strip_prefix(Self::MAGIC).ok_or(FormError)?;
        let (length, rest) = rest.split_first().ok_or(FormError)?;
        let (cursor, rest) = rest.split_at_checked(usize::from(*length)).ok_or(FormError)?;
        let (now, rest) = rest.split_first_chunk::<8>().ok_or(FormError)?;
        let (at, rest) = rest.split_first_chunk::<8>().ok_or(FormError)?;
        let (count, records) = rest.split_first_chunk::<4>().ok_or(FormError)?;
        let cursor = std::str::from_utf8(cursor).map_err(|_| FormError)?.to_owned();
        let count = u32::from_be_bytes(*count);
        let expected =
            usize::try_from(count).ok().and_then(|count| count.checked_mul(Record::LENGTH));
        if expected != Some(records.len()) {
            return Err(FormError);
        }
        let (now, at) = (u64::from_be_bytes(*now), u64::from_be_bytes(*at));
        Ok((Self { cursor, now, at, count }, records))
    }
}
