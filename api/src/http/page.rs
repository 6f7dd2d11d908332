//! Pages: HTML from templates, without scripts.

use std::sync::LazyLock;

use chrono::DateTime;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use poem::Response;
use poem::http::{StatusCode, header};

use crate::error::{Cause, Code, Error};

/// How pages look.
pub(super) const STYLE: &str = include_str!("page/style.css");

/// Nothing but our style is loaded, and forms lead nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("time", time);
    for (name, source) in [
        ("layout.html", include_str!("page/layout.html")),
        ("form.html", include_str!("page/form.html")),
        ("ask.html", include_str!("page/ask.html")),
        ("login.html", include_str!("page/login.html")),
        ("register.html", include_str!("page/register.html")),
        ("account.html", include_str!("page/account.html")),
        ("home.html", include_str!("page/home.html")),
        ("said.html", include_str!("page/said.html")),
    ] {
        environment.add_template(name, source).expect("the templates of pages are well-formed");
    }
    environment
});

/// An instant, from seconds since the epoch.
fn time(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// A page that says why something was refused: with the status, and how long to wait.
pub(crate) fn refusal(title: &str, error: Error) -> Response {
    let text = error.to_string();
    let refused = poem::IntoResponse::into_response(error);
    let values = context! { title, text, fault => true, more => "" };
    let mut response = page(refused.status(), "said.html", values);
    if let Some(wait) = refused.headers().get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    // What the log is told.
    if let Some(cause) = refused.extensions().get::<Cause>() {
        response.extensions_mut().insert(cause.clone());
    }
    response
}

/// A page from a template.
pub(crate) fn page(status: StatusCode, template: &str, values: Value) -> Response {
    let rendered = PAGES.get_template(template).and_then(|template| template.render(values));
    match rendered {
        Ok(html) => Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            // With none at all, browsers hide from us that a form is our own page's.
            .header(header::REFERRER_POLICY, "same-origin")
            .body(html),
        Err(error) => {
            poem::IntoResponse::into_response(Error::because(Code::InternalServerError, error))
        }
    }
}
