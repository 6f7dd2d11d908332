//! Every route, and the background work beside them.

use poem::{Endpoint, EndpointExt, Response, Route, get, post};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, ServerObject};

use crate::access::caller;
use crate::access::{api_token, introspection, session};
use crate::admin;
use crate::app::App;
use crate::base::background::Background;
use crate::http::layers::Layers;
use crate::http::openapi::Described;
use crate::http::paths::Paths;
use crate::http::server::{self, Bound};
use crate::http::{docs, openapi, page};
use crate::identity::{factor, service, user, verification};
use crate::platform::notice::Handler;
use crate::platform::{health, key, mail, rate_limit, replica, revocation};
use crate::self_service::{account, recovery, registration};

/// What each feature does when a notice arrives.
pub(crate) const NOTICES: &[Handler] = &[
    Handler { kind: key::CHANGED, act: |app| Box::pin(key::load(app)) },
    Handler { kind: service::CHANGED, act: |app| Box::pin(service::forget(app)) },
    Handler { kind: service::CHANGED, act: |app| Box::pin(api_token::forget(app)) },
];

/// The operations of each feature.
pub(crate) fn operations() -> OpenApiService<impl OpenApi, ()> {
    let features = (
        registration::http::Api,
        session::http::Api,
        api_token::http::Api,
        introspection::http::Api,
        key::http::Api,
        admin::key::http::Api,
        account::http::Api,
        recovery::http::Api,
        admin::user::http::Api,
        admin::revocation::http::Api,
        admin::audit::http::Api,
        admin::import::http::Api,
        admin::service::http::Api,
        admin::replica::http::Api,
        health::http::Api,
    );
    OpenApiService::new(features, "Tessera", env!("CARGO_PKG_VERSION"))
        .description(
            "A JWT identity provider: it registers people, proves who they are, issues the tokens \
             that other services trust, and takes them back.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server(ServerObject::new("/"))
}

/// What the framework cannot know of operations.
fn described() -> Described {
    let refusals = [
        registration::http::REFUSALS,
        session::http::REFUSALS,
        api_token::http::REFUSALS,
        introspection::http::REFUSALS,
        admin::key::http::REFUSALS,
        account::http::REFUSALS,
        recovery::http::REFUSALS,
        admin::user::http::REFUSALS,
        admin::revocation::http::REFUSALS,
        admin::audit::http::REFUSALS,
        admin::import::http::REFUSALS,
        admin::service::http::REFUSALS,
        admin::replica::http::REFUSALS,
        health::http::REFUSALS,
    ];
    let notes = [
        registration::http::NOTES,
        session::http::NOTES,
        account::http::NOTES,
        recovery::http::NOTES,
    ];
    Described { refusals: refusals.concat(), notes: notes.concat() }
}

/// The OpenAPI document in YAML, as `openapi.yaml` has it.
pub fn document() -> String {
    openapi::to_yaml(&openapi::document(&operations(), &described()))
}

/// Starts the background work of every feature.
fn start_background(app: &App, port: u16) -> Background {
    let mut background = Background::of_server(port);
    for start in [
        revocation::jobs::start,
        session::jobs::start,
        key::jobs::start,
        api_token::jobs::start,
        replica::jobs::start,
        rate_limit::jobs::start,
        mail::jobs::start,
        recovery::jobs::start,
        verification::jobs::start,
        user::jobs::start,
        factor::jobs::start,
        admin::overview::jobs::start,
    ] {
        start(app, &mut background);
    }
    background
}

/// Serves until `shutdown` resolves, with the background work beside it; then answers what is in flight.
pub async fn serve(app: App, bound: Bound, shutdown: impl Future<Output = ()>) {
    let port = bound.address().map(|address| address.port()).unwrap_or_default();
    let background = start_background(&app, port);
    server::serve(service(app), bound, shutdown).await;
    background.end().await;
}

/// The service: every route, with what is done to every request around them.
pub(crate) fn service(app: App) -> impl Endpoint<Output = Response> {
    let operations = operations();
    let document = openapi::document(&operations, &described());
    let swagger = docs::Swagger::of(&operations.swagger_ui_html());
    let paths = Paths::of(&document, &PAGES);
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
        .at(
            "/register",
            get(registration::pages::register_form).post(registration::pages::register),
        )
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
    Layers::new(routes, paths, app, |frame, headers, error| {
        Box::pin(caller::page::recognise(frame, headers, error))
    })
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
