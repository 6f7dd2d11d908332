//! The service of the README and the guide, which compare their lines with this file.

use axum::{Router, routing::get};
use tessera_verify::{Tessera, axum::JwtRequired};
use tokio::net::TcpListener;

async fn reports(jwt: JwtRequired) -> String {
    jwt.claims.sub.to_string()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tessera = Tessera::from_env()?.start().await;
    let app = Router::new().route("/reports", get(reports)).layer(tessera.layer());
    Ok(axum::serve(TcpListener::bind("127.0.0.1:8001").await?, app).await?)
}
