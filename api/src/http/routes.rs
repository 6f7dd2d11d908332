//! Every route, in one list.

use poem::http::HeaderValue;
use poem::{Endpoint, EndpointExt, Response, Route, get, post};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, ServerObject};
use serde_json::Value;

use super::layers::Layers;
use super::{docs, openapi, page};
use crate::app::App;
use crate::error::Code;
use crate::{
    account, admin, audit, directory, factor, import, introspection, key, operation, recovery,
    replica, service, session, token,
};

/// The operations of each feature.
pub(super) fn operations() -> OpenApiService<impl OpenApi, ()> {
    let features = (
        factor::http::Api,
        session::http::Api,
        token::http::Api,
        introspection::http::Api,
        key::http::Api,
        account::http::Api,
        recovery::http::Api,
        directory::http::Api,
        admin::http::Api,
        audit::http::Api,
        import::http::Api,
        service::http::Api,
        replica::http::Api,
        operation::http::Api,
    );
    OpenApiService::new(features, "Tessera", env!("CARGO_PKG_VERSION"))
        .description(
            "A JWT identity provider: it registers people, proves who they are, issues the tokens \
             that other services trust, and takes them back.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server(ServerObject::new("/"))
}

/// The refusals of each operation, for the documents.
pub(super) fn refusals() -> impl Iterator<Item = &'static (&'static str, &'static [Code])> {
    [
        factor::http::REFUSALS,
        session::http::REFUSALS,
        token::http::REFUSALS,
        introspection::http::REFUSALS,
        key::http::REFUSALS,
        account::http::REFUSALS,
        recovery::http::REFUSALS,
        directory::http::REFUSALS,
        admin::http::REFUSALS,
        audit::http::REFUSALS,
        import::http::REFUSALS,
        service::http::REFUSALS,
        replica::http::REFUSALS,
        operation::http::REFUSALS,
    ]
    .into_iter()
    .flatten()
}

/// The service: every route, with what is done to every request around them.
pub(super) fn service(app: App) -> impl Endpoint<Output = Response> {
    let operations = operations();
    let document = openapi::document_of(&operations);
    let swagger = docs::Swagger::of(&operations.swagger_ui_html());
    let paths = Paths::of(&document);
    let layers = |routes| Layers::new(routes, paths, &app.config);
    let json = document.to_string();
    let yaml = openapi::to_yaml(&document);
    let routes = Route::new()
        .at("/openapi.json", get(docs::asset("application/json", json)))
        .at("/openapi.yaml", get(docs::asset("application/yaml", yaml)))
        .at("/docs", get(docs::asset("text/html; charset=utf-8", docs::PAGE)))
        .at("/docs/start.js", get(docs::asset("text/javascript; charset=utf-8", docs::START)))
        .at("/docs/page.css", get(docs::asset("text/css; charset=utf-8", docs::STYLE)))
        .at(
            "/docs/swagger-ui.js",
            get(docs::asset("text/javascript; charset=utf-8", swagger.script)),
        )
        .at("/docs/swagger-ui.css", get(docs::asset("text/css; charset=utf-8", swagger.style)))
        .at("/style.css", get(docs::asset("text/css; charset=utf-8", page::STYLE)))
        .at(
            "/forgot-password",
            get(recovery::pages::forgot_password_form).post(recovery::pages::forgot_password),
        )
        .at("/auth", get(session::pages::lead_to_login))
        .at("/login", get(session::pages::login_form).post(session::pages::login))
        .at("/account", get(account::pages::show).post(account::pages::change))
        .at("/account/export", post(account::pages::export))
        .at("/logout", post(session::pages::logout))
        .at("/register", get(factor::pages::register_form).post(factor::pages::register))
        .at("/verify", get(recovery::pages::verify_form).post(recovery::pages::verify))
        .at(
            "/reset-password",
            get(recovery::pages::reset_password_form).post(recovery::pages::reset_password),
        )
        .at(
            "/restore-email",
            get(recovery::pages::restore_email_form).post(recovery::pages::restore_email),
        )
        .nest("/", operations)
        // What is nested there takes everything below it, and not the place itself.
        .around(async |operations, request| match request.uri().path() {
            "/" => get(session::pages::home).call(request).await,
            _ => operations.call(request).await,
        })
        .data(app.clone());
    layers(routes)
}

/// The routes that are not operations, which have no entry in the document.
const PAGES: [(&str, &str); 19] = [
    ("/openapi.json", "GET"),
    ("/openapi.yaml", "GET"),
    ("/docs", "GET"),
    ("/docs/start.js", "GET"),
    ("/docs/page.css", "GET"),
    ("/docs/swagger-ui.js", "GET"),
    ("/docs/swagger-ui.css", "GET"),
    ("/style.css", "GET"),
    ("/", "GET"),
    ("/auth", "GET"),
    ("/login", "GET, POST"),
    ("/account", "GET, POST"),
    ("/account/export", "POST"),
    ("/logout", "POST"),
    ("/register", "GET, POST"),
    ("/forgot-password", "GET, POST"),
    ("/verify", "GET, POST"),
    ("/reset-password", "GET, POST"),
    ("/restore-email", "GET, POST"),
];

/// Which paths there are, and for which methods.
pub(super) struct Paths(Vec<(String, HeaderValue)>);

impl Paths {
    fn of(document: &Value) -> Self {
        let operations = document["paths"].as_object().into_iter().flatten().map(|(path, item)| {
            let methods: Vec<_> = item
                .as_object()
                .into_iter()
                .flatten()
                .map(|(method, _)| method.to_ascii_uppercase())
                .collect();
            (path.clone(), HeaderValue::try_from(methods.join(", ")))
        });
        let pages = PAGES
            .iter()
            .map(|(path, methods)| ((*path).to_owned(), HeaderValue::try_from(*methods)));
        Self(
            operations
                .chain(pages)
                .filter_map(|(path, methods)| Some((path, methods.ok()?)))
                .collect(),
        )
    }

    /// What is there, as the document writes it: `/auth/sessions/{id}`.
    pub(super) fn pattern(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(pattern, _)| pattern.as_str())
    }

    /// The methods of what is there, for the header `Allow`.
    pub(super) fn allowed(&self, path: &str) -> Option<HeaderValue> {
        self.find(path).map(|(_, methods)| methods.clone())
    }

    fn find(&self, path: &str) -> Option<&(String, HeaderValue)> {
        self.0.iter().find(|(pattern, _)| {
            let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
            loop {
                match (pattern.next(), path.next()) {
                    (None, None) => return true,
                    (Some(known), Some(given)) if known == given => {}
                    (Some(known), Some(given)) if known.starts_with('{') && !given.is_empty() => {}
                    _ => return false,
                }
            }
        })
    }
}
