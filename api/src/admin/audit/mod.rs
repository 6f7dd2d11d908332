//! Reading the audit over HTTP, for superusers.

pub(crate) mod http;
