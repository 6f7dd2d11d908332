//! Paths with a slash at their end. Some clients and frameworks add one, so `/users/me/` means `/users/me`.
//!
//! A path with an empty segment elsewhere, such as `//users/me`, means nothing: programs on the way could read another
//! path from it.

use poem::http::uri::PathAndQuery;
use poem::http::{StatusCode, Uri, header};
use poem::{Request, Response};

use super::paths::{Kind, Paths};

/// The mark of a request whose path had a slash at its end. Browsers resolve relative links against that path.
#[derive(Debug, Clone, Copy)]
pub(super) struct HadSlash;

/// Removes the slash at the end of a request's path, if the path is known without it. A page is not served below
/// another path, so this returns a redirect for a browser that opens one. It loses no body.
pub(super) fn remove(request: &mut Request, paths: &Paths) -> Option<Response> {
    let path = request.uri().path();
    let plain = path.strip_suffix('/').filter(|plain| !plain.ends_with('/'))?;
    let known = paths.find(plain)?;
    if paths.find(path).is_some() {
        return None;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if request.method().is_safe() && known.kind == Kind::Page {
        let last = plain.rsplit('/').next().unwrap_or_default();
        let redirect = Response::builder().status(StatusCode::PERMANENT_REDIRECT);
        return Some(redirect.header(header::LOCATION, format!("../{last}{query}")).finish());
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{plain}{query}")).ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    request.extensions_mut().insert(HadSlash);
    None
}
