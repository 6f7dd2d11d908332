//! Signing keys: what superusers do with them.

pub(crate) mod http;
