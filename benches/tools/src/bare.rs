//! The limit of a read: poem-openapi with one operation that answers constant data.

use poem::listener::{Acceptor, Listener, TcpListener};
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::Value;

use crate::{Outcome, text};

struct Api {
    body: Value,
}

#[OpenApi]
impl Api {
    /// Answers the same object to everybody.
    #[oai(path = "/users/me", method = "get")]
    async fn me(&self) -> Json<Value> {
        Json(self.body.clone())
    }
}

pub(crate) fn main(body: &str) -> Outcome<()> {
    let body = serde_json::from_str(body).map_err(|error| format!("{body:?}: {error}"))?;
    let runtime = tokio::runtime::Runtime::new().map_err(text)?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0");
        let acceptor = listener.into_acceptor().await.map_err(text)?;
        let addresses = acceptor.local_addr();
        let address = addresses.first().and_then(|address| address.as_socket_addr());
        println!("{}", address.ok_or("the listener has no address")?);
        let service = OpenApiService::new(Api { body }, "bare", "1");
        let routes = poem::Route::new().nest("/", service);
        poem::Server::new_with_acceptor(acceptor).run(routes).await.map_err(text)
    })
}
