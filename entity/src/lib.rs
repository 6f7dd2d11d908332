//! Tessera's tables, as SeaORM entities with typed ids.
//!
//! Rows never leave the server: nothing here can be serialised. Instants are milliseconds since
//! the epoch.

mod id;
pub mod revocation;
pub mod session;
pub mod user;

pub use id::{SessionId, UserId};
