//! Swagger UI, from the binary: nothing is fetched from elsewhere.

use bytes::Bytes;
use poem::{Endpoint, Request, Response, endpoint::make_sync};

use super::asset::Asset;

/// The page. The library's own inlines 1.6 MB of script, which no strict policy lets run.
pub(crate) const PAGE: &str = include_str!("docs/index.html");
/// What starts it.
pub(crate) const START: &str = include_str!("docs/start.js");
/// How it looks beyond the library's style.
pub(crate) const STYLE: &str = include_str!("docs/page.css");

/// Swagger UI sets style attributes and draws icons from data URLs; no script but ours runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The parts of Swagger UI, out of the page that the framework embeds.
pub(crate) struct Swagger {
    pub(crate) script: String,
    pub(crate) style: String,
}

impl Swagger {
    pub(crate) fn of(page: &str) -> Self {
        let part = |tag: &str| {
            let (_, rest) = page.split_once(&format!("<{tag} charset=\"UTF-8\">"))?;
            Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
        };
        Self {
            script: part("script").unwrap_or_default(),
            style: part("style").unwrap_or_default(),
        }
    }
}

/// A part of it, to be served.
pub(crate) fn asset(
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> impl Endpoint<Output = Response> {
    let asset = Asset::new(content_type, content).with_policy(POLICY);
    make_sync(move |request: Request| asset.answer(&request))
}
