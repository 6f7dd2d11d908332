//! The names of Tessera's own headers.

use poem::http::HeaderName;

/// The id of a request, from the caller or from Tessera.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The CSRF value that belongs to a cookie.
pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// The value that binds the code of a mail to the client that asked for the mail, if the client keeps no cookies.
pub(crate) const CODE_BINDING: HeaderName = HeaderName::from_static("x-code-binding");

/// The place in the sequence of revocations, `epoch.seq`, up to which a service must have read to know what the request
/// ended.
pub(crate) const REVOCATION_SEQ: HeaderName = HeaderName::from_static("tessera-revocation-seq");
