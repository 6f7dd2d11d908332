//! An axum service that accepts Tessera's tokens. Start it with `examples/run axum`.

use std::error::Error;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tessera_verify::Tessera;
use tessera_verify::axum::{FreshJwtRequired, JwtRequired, JwtWithScope, Scope};
use tokio::net::TcpListener;

struct Reports;

impl Scope for Reports {
    const NAME: &'static str = "reports";
}

async fn protected(jwt: JwtRequired) -> Json<Value> {
    Json(json!({ "user": jwt.claims.sub }))
}

async fn partially_protected(jwt: Option<JwtRequired>) -> Json<Value> {
    Json(json!({ "user": jwt.map(|jwt| jwt.claims.sub) }))
}

async fn protected_fresh(jwt: FreshJwtRequired) -> Json<Value> {
    Json(json!({ "user": jwt.0.claims.sub }))
}

async fn reports(jwt: JwtWithScope<Reports>) -> Json<Value> {
    Json(json!({ "user": jwt.0.claims.sub }))
}

async fn metrics(State(tessera): State<Tessera>) -> String {
    tessera.metrics()
}

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "the port of the example is in its environment")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tessera = Tessera::from_env()?.start().await;
    let app = Router::new()
        .route("/protected", get(protected))
        .route("/partially-protected", get(partially_protected))
        .route("/protected-fresh", get(protected_fresh))
        .route("/reports", get(reports))
        .route("/metrics", get(metrics))
        .layer(tessera.layer())
        .with_state(tessera);
    let port = std::env::var("PORT").unwrap_or_else(|_| "8001".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    Ok(axum::serve(listener, app).await?)
}
