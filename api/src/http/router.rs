//! The endpoints of all paths, behind the layers.

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use poem::endpoint::{BoxEndpoint, DynEndpoint};
use poem::error::NotFoundError;
use poem::{Endpoint, IntoEndpoint, Request, Response, Route};
use poem_openapi::{OpenApi, OpenApiService};

use super::openapi;
use super::paths::{Kind, PageRoute, Paths};

/// The endpoints of all paths.
///
/// The layers must know the path of a request before they call an endpoint. So this does not let the framework look for it
/// among pages first, as nested routes would.
pub(crate) struct Router {
    pub(super) paths: Paths,
    operations: BoxEndpoint<'static>,
    pages: Route,
}

impl Router {
    /// The endpoints of these operations and pages.
    pub(crate) fn new(operations: OpenApiService<impl OpenApi, ()>, pages: Vec<PageRoute>) -> Self {
        let paths = Paths::of(openapi::outline(&operations), &pages);
        let pages = pages.into_iter().fold(Route::new(), |routes, page| page.add_to(routes));
        Self { paths, operations: operations.into_endpoint(), pages }
    }

    /// Calls the endpoint of a request whose path leads to this.
    pub(super) fn call(
        &self,
        kind: Option<Kind>,
        request: Request,
    ) -> BoxFuture<'_, poem::Result<Response>> {
        match kind {
            // The layers need no future of their own around the boxed one.
            Some(Kind::Operation) => DynEndpoint::call(&*self.operations, request),
            Some(Kind::Page) => self.pages.call(request).boxed(),
            None => future::err(NotFoundError.into()).boxed(),
        }
    }
}
