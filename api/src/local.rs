//! Calls of operations in this process, for commands that can open the database. So the terminal follows the same rules
//! as HTTP and gets the same answers.

use poem::http::{Method, Uri, header};
use poem::{Body, Endpoint, Request, Response};
use serde_json::Value;

use crate::access::caller::http::Operator;
use crate::app::App;
use crate::base::error::Code;
use crate::routes;

/// The operations without a port.
pub struct Local(Box<dyn poem::endpoint::DynEndpoint<Output = Response>>);

impl Local {
    /// Makes the operations of an application.
    pub fn new(app: App) -> Self {
        Self(Box::new(poem::endpoint::ToDynEndpoint(routes::service(app))))
    }

    /// Calls an operation as an operator. Returns its status, and its body, which is null if it is not JSON.
    pub async fn call(&self, method: Method, uri: Uri, body: Option<&Value>) -> (u16, Value) {
        // Every request must name its host.
        let request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost");
        let request = request.extension(Operator);
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from_string(body.to_string())),
            None => request.finish(),
        };
        let mut response = self.0.get_response(request).await;
        let status = response.status().as_u16();
        match response.take_body().into_bytes().await {
            Ok(body) => (status, serde_json::from_slice(&body).unwrap_or(Value::Null)),
            // The body was sent while it was read, and ended too early.
            Err(_) => (Code::ServiceUnavailable.status().as_u16(), Value::Null),
        }
    }
}
