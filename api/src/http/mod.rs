//! What every request passes on its way to a feature, and every answer on its way back.

mod asset;
pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod code_client;
pub(crate) mod cookie;
mod docs;
mod host;
mod layers;
mod local;
pub(crate) mod null;
mod openapi;
pub(crate) mod page;
mod routes;
mod server;
pub(crate) mod visitor;

pub use cookie::CsrfKeys;
pub use local::Local;
pub use openapi::document;
pub use page::Pages;
pub use server::{Bound, serve};

use poem_openapi::Tags;

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
