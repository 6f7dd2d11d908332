//! The modules that every request and every answer pass. They know no feature: they are given the routes, and the
//! functions that they need from a feature.

pub(crate) mod asset;
pub(crate) mod body;
pub(crate) mod browser_request;
pub(crate) mod cookie;
pub(crate) mod destination;
pub(crate) mod docs;
pub(crate) mod flow;
pub(crate) mod form;
mod forwarded;
pub(crate) mod headers;
mod host;
pub(crate) mod json;
pub(crate) mod layers;
mod listener;
pub(crate) mod metrics;
pub(crate) mod null;
pub(crate) mod openapi;
pub(crate) mod own_page;
pub(crate) mod page;
pub(crate) mod paths;
pub(crate) mod peer;
mod places;
pub(crate) mod router;
pub(crate) mod server;
mod slash;
mod stream;
mod tls;
mod trace;

pub use cookie::CsrfKeys;
pub use flow::FlowSeals;
pub use listener::Bound;
pub use metrics::{MetricsListener, Requests};
pub use page::Pages;
pub use tls::Tls;
pub use trace::Spans;

pub(crate) use tls::check as check_tls;
pub(crate) use trace::Span;

use poem::Request;
use poem_openapi::Tags;

use crate::app::App;
use crate::base::error::{Code, Error, Result};

/// The groups of operations in the OpenAPI document.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Register, sign in, stay signed in and sign out.
    Auth,
    /// Your own account.
    Me,
    /// Verify an e-mail address, or set a new password, with the code of a mail.
    Recovery,
    /// API tokens for scripts and services.
    Tokens,
    /// For services that accept Tessera's tokens: introspection, revocation and public keys.
    Services,
    /// For superusers: the accounts of all users.
    Users,
    /// For superusers: services, revocations, signing keys, import, audit and replicas.
    Admin,
    /// Health checks of the server.
    Operation,
}

/// The application that a request belongs to.
///
/// # Errors
///
/// [`Code::InternalServerError`] if the route has no application.
pub(crate) fn app(request: &Request) -> Result<&App> {
    request
        .data::<App>()
        .ok_or_else(|| Error::because(Code::InternalServerError, "the route has no App"))
}
