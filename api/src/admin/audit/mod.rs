//! The audit, read over HTTP by superusers.

pub(crate) mod http;
