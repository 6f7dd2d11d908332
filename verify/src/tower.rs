//! A layer that gives a guard to the handlers of a service. axum's handlers take it with the arguments in the module
//! `axum`.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::Guard;

/// A layer that puts a guard into the extensions of each request.
#[derive(Debug, Clone)]
pub struct GuardLayer(Guard);

/// A service with a guard. See [`GuardLayer`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl Guard {
    /// Returns a layer that puts this guard into the extensions of each request.
    pub fn layer(&self) -> GuardLayer {
        GuardLayer(self.clone())
    }
}

#[cfg(feature = "feed")]
impl crate::Tessera {
    /// Returns a layer that puts a guard into the extensions of each request.
    pub fn layer(&self) -> GuardLayer {
        self.guard().layer()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.0.clone() }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Guarded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.guard.clone());
        self.inner.call(request)
    }
}
