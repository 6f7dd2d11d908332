//! One entry for each feature, with its operations, its pages and its background work. Everything that a server answers
//! and does comes from this list. No other module imports it.

use std::sync::Arc;

use futures_util::FutureExt;
use poem::{Endpoint, Response};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, ServerObject};

use crate::access::{self, caller, feed, forward, introspection, session};
use crate::admin;
use crate::app::App;
use crate::base::background::Background;
use crate::federation::{federated_identity, upstream};
use crate::http::layers::Layers;
use crate::http::metrics::{MetricsListener, Render};
use crate::http::openapi::{self, Described};
use crate::http::paths::PageRoute;
use crate::http::router::Router;
use crate::http::{Bound, docs, page, server};
use crate::identity::{self, factor, service, user, verification};
use crate::platform::notice::Handler;
use crate::platform::{audit, health, key, mail, rate_limit, replica, revocation, seen, trace};
use crate::provider::{authorization, client, exchange};
use crate::self_service::{self, account, api_token, recovery, registration};

/// Makes pairs in pairs of the operations of modules, because the framework takes tuples of up to 16 only.
macro_rules! together {
    () => { () };
    ($($first:ident)::+; $($rest:tt)*) => { ($($first::)+Api, together!($($rest)*)) };
}

/// Makes the functions below from the entries. Each entry names modules: `api` has the operations as `Api`, with their
/// `REFUSALS`; `notes` has `NOTES` on some of them; `pages` has `pages()`; and `jobs` has `start()`. A `notice` is a
/// kind of notice, with the function to call when one arrives.
macro_rules! features {
    ($({
        $(api: $($api:ident)::+;)?
        $(notes: $($notes:ident)::+;)?
        $(pages: $($pages:ident)::+;)?
        $(jobs: $($jobs:ident)::+;)?
        $(notice: $notice:expr => $act:expr;)?
    })+) => {
        /// The operations of all features.
        fn operations() -> OpenApiService<impl OpenApi, ()> {
            let features = together!($($($($api)::+;)?)+);
            OpenApiService::new(features, "Tessera", env!("CARGO_PKG_VERSION"))
        }

        /// The descriptions of the operations that the framework cannot know.
        fn described() -> Described {
            Described {
                refusals: [$($($($api::)+REFUSALS,)?)+].concat(),
                notes: [$($($($notes::)+NOTES,)?)+].concat(),
            }
        }

        /// The pages of all features.
        fn pages() -> Vec<PageRoute> {
            [$($($($pages::)+pages(),)?)+].into_iter().flatten().collect()
        }

        /// The functions to call when a notice arrives.
        pub(crate) const NOTICES: &[Handler] = &[
            $($(Handler { kind: $notice, act: |app| Box::pin($act(app)) },)?)+
        ];

        /// Starts the background work of all features for a server that listens on this port.
        fn start_background(app: &App, port: u16) -> Background {
            let mut background = Background::of_server(port);
            $($($($jobs::)+start(app, &mut background);)?)+
            background
        }
    };
}

features! {
    { api: registration::http; notes: registration::http; pages: registration::pages; }
    { api: session::http; notes: session::http; pages: session::pages; jobs: session::jobs; }
    { jobs: access::grant::jobs; }
    { api: federated_identity::http; notes: federated_identity::http; pages: federated_identity::pages; }
    { api: upstream::http; jobs: upstream::jobs; }
    { jobs: seen::jobs; }
    { pages: authorization::pages; jobs: authorization::jobs; }
    { pages: exchange::http; }
    { jobs: access::api_token::jobs; notice: service::CHANGED => access::api_token::forget; }
    { jobs: client::jobs; notice: client::CHANGED => client::forget; }
    { api: introspection::http; notes: introspection::http; }
    { api: feed::http; }
    { pages: forward::http; }
    { pages: forward::pages; }
    { api: key::http; jobs: key::jobs; notice: key::CHANGED => key::load; }
    { api: admin::key::http; }
    { api: api_token::http; }
    { api: self_service::session::http; }
    { api: account::http; notes: account::http; pages: account::pages; }
    { api: recovery::http; notes: recovery::http; pages: recovery::pages; jobs: recovery::jobs; }
    { api: self_service::invitation::http; pages: self_service::invitation::pages; }
    { jobs: identity::invitation::jobs; }
    { api: admin::user::http; }
    { api: admin::invitation::http; }
    { api: admin::revocation::http; }
    { api: admin::audit::http; }
    { api: admin::import::http; }
    { api: admin::service::http; }
    { api: admin::client::http; }
    { api: admin::replica::http; }
    { api: admin::feed::http; }
    { api: health::http; }
    { pages: admin::pages; }
    { jobs: admin::overview::jobs; }
    { jobs: factor::jobs; }
    { jobs: audit::jobs; }
    { jobs: trace::jobs; }
    { jobs: mail::jobs; }
    { jobs: rate_limit::jobs; }
    { jobs: replica::jobs; }
    { jobs: revocation::jobs; }
    { notice: service::CHANGED => service::forget; }
    { jobs: user::jobs; }
    { jobs: verification::jobs; }
}

/// The operations, with the general description in the OpenAPI document.
fn documented() -> OpenApiService<impl OpenApi, ()> {
    operations()
        .description(
            "A JWT identity provider. It registers users, checks how they prove their identity, and \
             issues and revokes the tokens that other services trust.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server(ServerObject::new("/"))
}

/// The OpenAPI document in YAML, as `openapi.yaml` contains it.
pub fn document() -> String {
    openapi::to_yaml(&openapi::document(&documented(), &described()))
}

/// The endpoint of the whole server: every route, with the layers around them.
pub(crate) fn service(app: App) -> impl Endpoint<Output = Response> {
    let operations = documented();
    let below = app.config.public_url.path().to_owned();
    let document = move || {
        let mut document = openapi::document(&documented(), &described());
        openapi::put_below(&mut document, &below);
        document
    };
    let mut pages = pages();
    pages.extend(page::pages());
    pages.extend(docs::pages(document, || documented().swagger_ui_html()));
    Layers::new(Router::new(operations, pages), app, |frame, headers, error| {
        Box::pin(caller::page::recognise(frame, headers, error))
    })
}

/// Serves and does the background work until `shutdown` resolves, and then finishes the running requests. `metrics` is
/// where monitoring programs read the numbers.
pub async fn serve(
    app: App,
    bound: Bound,
    metrics: Option<MetricsListener>,
    shutdown: impl Future<Output = ()>,
) {
    let mut background = start_background(&app, bound.port());
    admin::metrics::started();
    if let Some(listener) = metrics {
        let app = app.clone();
        let render: Render = Arc::new(move || {
            let app = app.clone();
            async move { admin::metrics::text(&app).await }.boxed()
        });
        background.start(listener.serve(render));
    }
    let proxies = app.config.trusted_proxies.clone();
    app.feed.leave_room(bound.connections());
    let waiting = app.clone();
    let shutdown = async move {
        shutdown.await;
        // Their answers have no end of their own.
        waiting.revocation.feed.stop();
    };
    server::serve(service(app), bound, proxies, shutdown).await;
    background.end().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi;
    use crate::http::paths::Paths;

    #[test]
    fn no_path_belongs_to_an_operation_and_to_a_page() {
        let mut pages = pages();
        pages.extend(page::pages());
        pages.extend(docs::pages(|| serde_json::Value::Null, String::new));
        let paths = Paths::of(openapi::outline(&operations()), &pages);
        assert_eq!(paths.shared(), []);
    }
}
