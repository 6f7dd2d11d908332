//! The names of our own headers.

use poem::http::HeaderName;

/// The id of a request: a caller's own, or ours.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the value that belongs to a cookie is repeated.
pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// What binds the code of a mail to the client that asked for it, if it keeps no cookies.
pub(crate) const CODE_BINDING: HeaderName = HeaderName::from_static("x-code-binding");
