//! Load tests and long races. `scripts/test --all` runs them on both databases.

mod behind;
mod commits;
mod connections;
mod crash;
mod exchanges;
mod exports;
mod model;
mod once;
mod races;
mod replicas;
mod sign_ins;
pub(crate) mod slow_readers;
mod snapshots;
mod waiters;
