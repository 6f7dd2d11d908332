//! A service that accepts Tessera's tokens: the examples of fastapi-jwt-auth, in poem.
//!
//! Start `tessera serve --dev`, and then in the same folder `cargo run --package poem-service`. With `examples/run poem`
//! it also follows the revocations: then its settings are in the variables that begin with `TESSERA_`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use poem::listener::TcpListener;
use poem::web::{Data, Json};
use poem::{EndpointExt, Route, Server, get, handler};
use serde_json::{Value, json};
use tessera_verify::poem::{
    FreshJwtRequired, JwtOptional, JwtRefreshTokenRequired, JwtRequired, JwtWithScope, Scope,
};
use tessera_verify::{Guard, Key, KeySet, Tessera, Verifier};

/// The interval at which published keys are read. New keys are published ten minutes before they sign.
const READ_EVERY: Duration = Duration::from_secs(300);

/// A service that accepts Tessera's tokens.
#[derive(Parser)]
struct Arguments {
    /// The address to listen on
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8001")]
    listen: String,
    /// The URL of Tessera
    #[arg(long, env = "TESSERA_URL", default_value = "http://localhost:8000")]
    tessera: String,
    /// The issuer of the tokens: PUBLIC_URL of Tessera
    #[arg(long, env = "ISSUER", default_value = "http://localhost:8000")]
    issuer: String,
    /// The audience of the tokens: JWT_AUDIENCE of Tessera
    #[arg(long, env = "AUDIENCE", default_value = "tessera")]
    audience: String,
    /// The secret of HS256 tokens: APP_SECRET, or better the secret that `tessera keys derive` prints for the audience.
    /// Without it and without the file, the service reads the keys from Tessera
    #[arg(long, env = "APP_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// A file with the secret, which a development server creates
    #[arg(long, env = "APP_SECRET_FILE", default_value = "tessera.secret")]
    secret_file: PathBuf,
    /// The issuer whose revocations are followed. If it is set, the other settings are read as every service reads them
    #[arg(long, env = "TESSERA_ISSUER")]
    followed: Option<String>,
}

#[handler]
fn protected(jwt: JwtRequired) -> Json<Value> {
    Json(json!({ "user": jwt.claims.sub }))
}

#[handler]
fn partially_protected(jwt: JwtOptional) -> Json<Value> {
    Json(json!({ "user": jwt.0.map(|jwt| jwt.claims.sub) }))
}

#[handler]
fn protected_fresh(jwt: FreshJwtRequired) -> Json<Value> {
    Json(json!({ "user": jwt.0.claims.sub }))
}

#[handler]
fn get_raw_jwt(jwt: JwtRequired) -> Json<Value> {
    Json(json!({ "token": serde_json::to_value(&jwt.claims).unwrap_or_default() }))
}

#[handler]
fn get_jti(jwt: JwtRequired) -> Json<Value> {
    Json(json!({ "access_jti": jwt.claims.jti }))
}

#[handler]
fn of_refresh_token(jwt: JwtRefreshTokenRequired) -> Json<Value> {
    Json(json!({ "refresh_jti": jwt.0.claims.jti }))
}

struct Reports;

impl Scope for Reports {
    const NAME: &'static str = "reports";
}

#[handler]
fn reports(jwt: JwtWithScope<Reports>) -> Json<Value> {
    Json(json!({ "user": jwt.0.claims.sub }))
}

#[handler]
fn metrics(tessera: Data<&Option<Tessera>>) -> String {
    tessera.0.as_ref().map(Tessera::metrics).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let listen = arguments.listen.clone();
    let tessera = match &arguments.followed {
        Some(_) => Some(Tessera::from_env()?.start().await),
        None => None,
    };
    let guard = match &tessera {
        Some(tessera) => tessera.guard(),
        None => Guard::new(verifier(arguments).await?),
    };
    let routes = Route::new()
        .at("/protected", get(protected))
        .at("/partially-protected", get(partially_protected))
        .at("/protected-fresh", get(protected_fresh))
        .at("/get-raw-jwt", get(get_raw_jwt))
        .at("/get-jti", get(get_jti))
        .at("/refresh-token", get(of_refresh_token))
        .at("/reports", get(reports))
        .at("/metrics", get(metrics))
        .data(guard)
        .data(tessera);
    println!("listening on http://{listen}");
    Ok(Server::new(TcpListener::bind(listen)).run(routes).await?)
}

/// Returns a verifier that follows no revocations.
async fn verifier(arguments: Arguments) -> Result<Arc<Verifier>, Box<dyn std::error::Error>> {
    let secret = arguments
        .secret
        .clone()
        .or_else(|| Some(std::fs::read_to_string(&arguments.secret_file).ok()?.trim().to_owned()));
    let keys = match &secret {
        Some(secret) => {
            println!("verifying HS256 tokens with the secret");
            let secret = secret.as_bytes();
            KeySet::verifying([Key::hs256(secret), Key::refresh(secret)])
        }
        None => {
            println!("verifying tokens with the keys that {} publishes", arguments.tessera);
            published(&arguments.tessera).await?
        }
    };
    let verifier = Arc::new(Verifier::new(keys, arguments.issuer, arguments.audience));
    if secret.is_none() {
        tokio::spawn(keep_reading(arguments.tessera, Arc::clone(&verifier)));
    }
    Ok(verifier)
}

/// Requests the keys that Tessera publishes.
async fn published(tessera: &str) -> Result<KeySet, Box<dyn std::error::Error>> {
    let url = format!("{tessera}/.well-known/jwks.json");
    let text = reqwest::get(url).await?.error_for_status()?.text().await?;
    Ok(KeySet::verifying(Key::from_jwks(&text)?))
}

/// Reads the published keys at each interval. If Tessera does not answer, the service keeps the keys that it has.
async fn keep_reading(tessera: String, verifier: Arc<Verifier>) {
    loop {
        tokio::time::sleep(READ_EVERY).await;
        match published(&tessera).await {
            Ok(keys) => verifier.replace_keys(keys),
            Err(error) => eprintln!("the published keys could not be read: {error}"),
        }
    }
}
