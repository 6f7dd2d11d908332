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
        .at("/style.css", get(page::serve_style))
        .at("/strength.js", get(page::serve_strength))
        .at("/logo", get(page::serve_logo))
        .at(
            "/forgot-password",
            get(recovery::pages::forgot_password_form).post(recovery::pages::forgot_password),
        )
        .at(
            "/request-verify-token",
            get(recovery::pages::request_verify_token_form)
                .post(recovery::pages::request_verify_token),
        )
        .at("/auth", get(session::pages::lead_to_login))
        .at("/login", get(session::pages::login_form).post(session::pages::login))
        .at("/account", get(account::pages::show).post(account::pages::change))
        .at("/.well-known/change-password", get(account::pages::lead_to_password))
        .at("/account/export", post(account::pages::export))
        .at("/admin", get(admin::pages::show_overview))
        .at("/admin/users", get(admin::pages::show_users))
        .at("/admin/users/:id", get(admin::pages::show_user).post(admin::pages::change_user))
        .at("/admin/signed-in", get(admin::pages::show_sessions).post(admin::pages::change_session))
        .at("/admin/api-tokens", get(admin::pages::show_tokens).post(admin::pages::change_tokens))
        .at(
            "/admin/revoked",
            get(admin::pages::show_revocations).post(admin::pages::change_revocations),
        )
        .at("/admin/events", get(admin::pages::show_events))
        .at("/admin/mails", get(admin::pages::show_mails).post(admin::pages::change_mail))
        .at("/admin/signing-keys", get(admin::pages::show_keys).post(admin::pages::change_keys))
        .at("/admin/servers", get(admin::pages::show_servers))
        .at("/admin/settings", get(admin::pages::show_settings))
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
    Layers::new(routes, paths, app)
}

/// The routes that are not operations, which have no entry in the document.
const PAGES: [(&str, &str); 34] = [
    ("/openapi.json", "GET"),
    ("/openapi.yaml", "GET"),
    ("/docs", "GET"),
    ("/docs/start.js", "GET"),
    ("/docs/page.css", "GET"),
    ("/docs/swagger-ui.js", "GET"),
    ("/docs/swagger-ui.css", "GET"),
    ("/style.css", "GET"),
    ("/strength.js", "GET"),
    ("/logo", "GET"),
    ("/", "GET"),
    ("/auth", "GET"),
    ("/login", "GET, POST"),
    ("/account", "GET, POST"),
    ("/.well-known/change-password", "GET"),
    ("/account/export", "POST"),
    ("/admin", "GET"),
    ("/admin/users", "GET"),
    ("/admin/users/{id}", "GET, POST"),
    ("/admin/signed-in", "GET, POST"),
    ("/admin/api-tokens", "GET, POST"),
    ("/admin/revoked", "GET, POST"),
    ("/admin/events", "GET"),
    ("/admin/mails", "GET, POST"),
    ("/admin/signing-keys", "GET, POST"),
    ("/admin/servers", "GET"),
    ("/admin/settings", "GET"),
    ("/logout", "POST"),
    ("/register", "GET, POST"),
    ("/forgot-password", "GET, POST"),
    ("/request-verify-token", "GET, POST"),
    ("/verify", "GET, POST"),
    ("/reset-password", "GET, POST"),
    ("/restore-email", "GET, POST"),
];

/// Which paths there are, and for which methods: first those of operations, then those of pages.
pub(super) struct Paths {
    known: Vec<(String, HeaderValue)>,
    operations: usize,
}

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
        let written = |(path, methods): (String, Result<_, _>)| Some((path, methods.ok()?));
        let mut known: Vec<_> = operations.filter_map(written).collect();
        let operations = known.len();
        known.extend(pages.filter_map(written));
        Self { known, operations }
    }

    /// Whether operations are there, which answer programs.
    pub(super) fn is_of_operations(&self, path: &str) -> bool {
        self.place(path).is_some_and(|place| place < self.operations)
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
        self.known.get(self.place(path)?)
    }

    fn place(&self, path: &str) -> Option<usize> {
        self.known.iter().position(|(pattern, _)| {
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
