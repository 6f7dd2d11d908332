//! Swagger UI, served from the binary. It loads nothing from other servers.

use std::sync::LazyLock;

use poem::{Request, endpoint::make_sync};
use serde_json::Value;

use super::asset::Asset;
use super::openapi;
use super::paths::PageRoute;

/// The HTML page. The page of the library contains 1.6 MB of inline script, which a strict policy does not allow.
const PAGE: &str = include_str!("docs/index.html");
/// The script that starts Swagger UI.
const START: &str = include_str!("docs/start.js");
/// The additions to the library's stylesheet.
const STYLE: &str = include_str!("docs/page.css");

/// The policy of the page. Swagger UI sets style attributes and draws icons from data URLs. Only our own scripts run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The routes of the OpenAPI document and of Swagger UI, which is taken from the page that the framework embeds. Each file
/// is made when it is first asked for, so that a start does not wait for them.
pub(crate) fn pages(
    document: impl Fn() -> Value + Clone + Send + 'static,
    embedded: fn() -> String,
) -> Vec<PageRoute> {
    let (json, yaml) = (document.clone(), document);
    let (html, css) = ("text/html; charset=utf-8", "text/css; charset=utf-8");
    let javascript = "text/javascript; charset=utf-8";
    vec![
        page("/openapi.json", "application/json", move || json().to_string()),
        page("/openapi.yaml", "application/yaml", move || openapi::to_yaml(&yaml())),
        page("/docs", html, || PAGE.to_owned()),
        page("/docs/start.js", javascript, || START.to_owned()),
        page("/docs/page.css", css, || STYLE.to_owned()),
        page("/docs/swagger-ui.js", javascript, move || part(&embedded(), "script")),
        page("/docs/swagger-ui.css", css, move || part(&embedded(), "style")),
    ]
}

/// Returns the content of this element of the page that the framework embeds.
fn part(page: &str, tag: &str) -> String {
    let begin = page.split_once(&format!("<{tag} charset=\"UTF-8\">"));
    let content = begin.and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
    content.map(|(content, _)| content.to_owned()).unwrap_or_default()
}

/// Makes the route of a file.
fn page(
    path: &'static str,
    content_type: &'static str,
    content: impl FnOnce() -> String + Send + 'static,
) -> PageRoute {
    let asset = LazyLock::new(move || Asset::new(content_type, content()).with_policy(POLICY));
    PageRoute::get(path, make_sync(move |request: Request| asset.answer(&request)))
}
