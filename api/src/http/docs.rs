//! Swagger UI, served from the binary. It loads nothing from other servers.

use poem::{Endpoint, Request, Response, endpoint::make_sync};

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

/// The routes of the OpenAPI document and of Swagger UI, which is taken from the page that the framework embeds.
pub(crate) fn pages(document: &Value, embedded: &str) -> Vec<PageRoute> {
    let Swagger { script, style } = Swagger::of(embedded);
    let page =
        |path, content_type, content: String| PageRoute::get(path, asset(content_type, content));
    let (html, css) = ("text/html; charset=utf-8", "text/css; charset=utf-8");
    let javascript = "text/javascript; charset=utf-8";
    vec![
        page("/openapi.json", "application/json", document.to_string()),
        page("/openapi.yaml", "application/yaml", openapi::to_yaml(document)),
        page("/docs", html, PAGE.to_owned()),
        page("/docs/start.js", javascript, START.to_owned()),
        page("/docs/page.css", css, STYLE.to_owned()),
        page("/docs/swagger-ui.js", javascript, script),
        page("/docs/swagger-ui.css", css, style),
    ]
}

/// The parts of Swagger UI.
struct Swagger {
    script: String,
    style: String,
}

impl Swagger {
    fn of(page: &str) -> Self {
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

/// Makes the endpoint that serves a file.
fn asset(content_type: &'static str, content: String) -> impl Endpoint<Output = Response> {
    let asset = Asset::new(content_type, content).with_policy(POLICY);
    make_sync(move |request: Request| asset.answer(&request))
}
