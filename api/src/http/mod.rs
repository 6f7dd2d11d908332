//! What every request passes on its way to a feature, and every answer on its way back. It knows no feature: it is
//! handed the routes, and what it asks of a feature.

pub(crate) mod asset;
pub(crate) mod body;
pub(crate) mod browser_request;
pub(crate) mod cookie;
pub(crate) mod docs;
pub(crate) mod form;
pub(crate) mod headers;
mod host;
pub(crate) mod layers;
pub(crate) mod null;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod paths;
pub(crate) mod peer;
pub(crate) mod server;

pub use cookie::CsrfKeys;
pub use page::Pages;
pub use server::Bound;

use poem::Request;
use poem_openapi::Tags;

use crate::app::App;
use crate::base::error::{Code, Error, Result};

/// What operations have to do with.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Register, sign in, stay signed in, sign out.
    Auth,
    /// API tokens, for scripts and services.
    Tokens,
    /// What services that take tokens ask.
    Services,
    /// Who you are.
    Users,
    /// What superusers do.
    Admin,
    /// How the service is.
    Operation,
}

/// The service that a request is for.
///
/// # Errors
///
/// [`Code::InternalServerError`] for a route without one.
pub(crate) fn app(request: &Request) -> Result<&App> {
    request
        .data::<App>()
        .ok_or_else(|| Error::because(Code::InternalServerError, "a route without its App"))
}
