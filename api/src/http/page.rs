//! Pages: HTML from templates, without scripts.

use std::sync::LazyLock;

use minijinja::{Environment, UndefinedBehavior, Value};
use poem::Response;
use poem::http::{StatusCode, header};

use crate::error::{Code, Error};

/// How pages look.
pub(super) const STYLE: &str = include_str!("page/style.css");

/// Nothing but our style is loaded, and forms lead nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in [
        ("layout.html", include_str!("page/layout.html")),
        ("form.html", include_str!("page/form.html")),
        ("said.html", include_str!("page/said.html")),
    ] {
        environment.add_template(name, source).expect("the templates of pages are well-formed");
    }
    environment
});

/// A page from a template.
pub(crate) fn page(status: StatusCode, template: &str, values: Value) -> Response {
    let rendered = PAGES.get_template(template).and_then(|template| template.render(values));
    match rendered {
        Ok(html) => Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .body(html),
        Err(error) => {
            poem::IntoResponse::into_response(Error::because(Code::InternalServerError, error))
        }
    }
}
