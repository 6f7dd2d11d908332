//! Listing the replicas, for superusers.

pub(crate) mod http;
