//! The revocation feed: its records as bytes, and what a verifier knows from them. Nothing here reads a clock or sends
//! a request. With the feature `feed`, the module `client` follows the feed of an issuer.

mod follower;
mod list;
mod record;

pub use follower::{
    DEFAULT_MAX_AGE, DEFAULT_OPEN_FOR, FeedState, Follower, LocalTime, Verdict, WhenStale,
};
pub use list::FeedList;
pub use record::{FormError, IdKind, Record, RecordKind, SnapshotHead, hash_of};
