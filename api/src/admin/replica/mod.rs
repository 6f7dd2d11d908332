//! The replicas, listed for superusers.

pub(crate) mod http;
