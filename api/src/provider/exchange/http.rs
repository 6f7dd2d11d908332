//! The routes that applications call. They have the forms of OAuth 2 and OpenID Connect, so they are not in the OpenAPI
//! document: the discovery document describes them.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Request, Response, handler};
use serde_json::{Value, json};
use tessera_verify::poem::bearer;

use super::introspect::Asker;
use super::{Fields, Issued, discovery, introspect, revoke, userinfo};
use crate::access::api_token;
use crate::access::caller::Caller;
use crate::app::App;
use crate::base::error::{Code, Result, described};
use crate::base::hex::hex;
use crate::base::request_context;
use crate::base::scope::Scope;
use crate::http::app;
use crate::http::body::FORM;
use crate::http::paths::PageRoute;
use crate::provider::client::{self, Checked, Client, Credentials, OauthError, Refusal, recorded};

/// The time for which the document can be cached.
const CACHE: &str = "public, max-age=300";

/// The maximum size of a form, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// The routes of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/.well-known/openid-configuration", describe).open(),
        PageRoute::get("/.well-known/oauth-authorization-server", describe).open(),
        PageRoute::post("/oauth2/token", exchange).open().oauth(),
        PageRoute::form("/oauth2/userinfo", describe_user, describe_user).open().oauth(),
        PageRoute::post("/oauth2/introspect", describe_token).oauth(),
        PageRoute::post("/oauth2/revoke", give_up).open().oauth(),
    ]
}

#[handler]
fn describe(request: &Request) -> Result<Response> {
    let text = discovery::document(&app(request)?.config).to_string();
    let tag = format!("\"{}\"", hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16]));
    let is_known = request.header(header::IF_NONE_MATCH).is_some_and(|known| known.contains(&tag));
    let response =
        Response::builder().header(header::CACHE_CONTROL, CACHE).header(header::ETAG, tag);
    Ok(match is_known {
        true => response.status(StatusCode::NOT_MODIFIED).finish(),
        false => response.content_type("application/json").body(text),
    })
}

#[handler]
async fn exchange(request: &Request, body: Body) -> Result<Response> {
    let (fields, client) = match authenticated(request, body).await? {
        Ok(authenticated) => authenticated,
        Err(refused) => return Ok(refused),
    };
    Ok(match super::exchange(app(request)?, &client, &fields).await? {
        Ok(issued) => json_answer(StatusCode::OK, &body_of(&issued)),
        Err(refusal) => refused(request, Some(&client), &refusal),
    })
}

fn body_of(issued: &Issued) -> Value {
    let Issued { access_token, expires_in, scope, refresh_token, id_token } = issued;
    let mut body = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": expires_in,
        "scope": scope.to_string(),
    });
    let more = [("refresh_token", refresh_token), ("id_token", id_token)];
    for (name, token) in more.into_iter().filter_map(|(name, token)| Some((name, token.as_ref()?)))
    {
        body[name] = json!(token);
    }
    body
}

#[handler]
async fn describe_user(request: &Request) -> Result<Response> {
    // The token is accepted only in the header: in a query it would be in logs.
    let token = bearer(request.headers()).ok_or(Code::Unauthorized)?;
    let claims = userinfo::of_token(app(request)?, token).await?;
    Ok(json_answer(StatusCode::OK, &Value::Object(claims)))
}

#[handler]
async fn describe_token(request: &Request, body: Body) -> Result<Response> {
    let app = app(request)?;
    if let Some(secret) = bearer(request.headers()) {
        let fields = match fields(request, body).await {
            Ok(fields) => fields,
            Err(refusal) => return Ok(refused(request, None, &refusal)),
        };
        if fields.get("client_secret").is_some() {
            return Ok(refused(request, None, &client::two_methods()));
        }
        let (token, principal) = api_token::authenticate(app, secret).await?;
        Caller::ApiToken { token, principal }.require(Scope::INTROSPECT)?;
        return about(app, request, &Asker::ApiToken, &fields).await;
    }
    let (fields, client) = match authenticated(request, body).await? {
        Ok(authenticated) => authenticated,
        Err(refused) => return Ok(refused),
    };
    if client.is_public() {
        let sentence = "A client without a secret cannot introspect tokens.";
        let remedy =
            "Use a client with a secret, or an API token with the scope tokens:introspect.";
        let error = OauthError::InvalidClient;
        let refusal = Refusal::new("introspection.public_client", error, sentence, remedy);
        return Ok(refused(request, Some(&client), &refusal));
    }
    about(app, request, &Asker::Client(&client), &fields).await
}

async fn about(
    app: &App,
    request: &Request,
    asker: &Asker<'_>,
    fields: &Fields,
) -> Result<Response> {
    let token = match fields.required("token") {
        Ok(token) => token,
        Err(refusal) => {
            let client = match asker {
                Asker::Client(client) => Some(*client),
                Asker::ApiToken => None,
            };
            return Ok(refused(request, client, &refusal));
        }
    };
    let answer = introspect::of_token(app, asker, token).await?;
    Ok(json_answer(StatusCode::OK, &answer))
}

#[handler]
async fn give_up(request: &Request, body: Body) -> Result<Response> {
    let (fields, client) = match authenticated(request, body).await? {
        Ok(authenticated) => authenticated,
        Err(refused) => return Ok(refused),
    };
    let token = match fields.required("token") {
        Ok(token) => token,
        Err(refusal) => return Ok(refused(request, Some(&client), &refusal)),
    };
    revoke::revoke(app(request)?, &client, token).await?;
    Ok(Response::builder().status(StatusCode::OK).finish())
}

/// Reads the form of a request.
async fn fields(request: &Request, body: Body) -> Checked<Fields> {
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        let sentence = "The body must be a form: application/x-www-form-urlencoded.";
        let remedy = "Correct the request of the application.";
        let error = OauthError::InvalidRequest;
        return Err(Refusal::new("parameters.not_a_form", error, sentence, remedy));
    }
    Fields::read(&body.into_bytes_limit(MAX_FORM).await.unwrap_or_default())
}

/// Reads the form of a request and authenticates its client. The inner error is the answer that refuses it.
async fn authenticated(
    request: &Request,
    body: Body,
) -> Result<Result<(Fields, Arc<Client>), Response>> {
    let fields = match fields(request, body).await {
        Ok(fields) => fields,
        Err(refusal) => return Ok(Err(refused(request, None, &refusal))),
    };
    // Two headers, or an assertion beside a secret, are two ways to authenticate.
    if request.headers().get_all(header::AUTHORIZATION).iter().count() > 1
        || (fields.get("client_assertion").is_some()
            && (fields.get("client_secret").is_some()
                || request.header(header::AUTHORIZATION).is_some()))
    {
        return Ok(Err(refused(request, None, &client::two_methods())));
    }
    let credentials = Credentials {
        authorization: request.header(header::AUTHORIZATION),
        client_id: fields.get("client_id"),
        client_secret: fields.get("client_secret"),
    };
    let app = app(request)?;
    let refusal = match client::authenticate(app, &credentials).await? {
        Ok(client) => return Ok(Ok((fields, client))),
        Err(refusal) => refusal,
    };
    let named = match credentials.names() {
        Some(named) => client::find(app, &named).await?,
        None => None,
    };
    Ok(Err(refused(request, named.as_deref(), &refusal)))
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).content_type("application/json").body(body.to_string())
}

/// The name that answers show for every refusal to authenticate a client.
const NOT_AUTHENTICATED: &str = "client.not_authenticated";

/// The answer to a request that is refused (RFC 6749, section 5.2). It ends with the id of the request. Operators find the
/// reason under it, and under the reference.
fn refused(request: &Request, client: Option<&Client>, refusal: &Refusal) -> Response {
    // The endpoint is the last part of the path.
    let endpoint = request.uri().path().rsplit('/').next().unwrap_or_default();
    let reference = app(request).map(|app| recorded::note(app, client, endpoint, refusal));
    let reference = reference.unwrap_or_default();
    tracing::info!(
        refusal.name = refusal.name,
        refusal.reference = reference,
        "a request of a client is refused"
    );
    let id = request_context::current().request_id.unwrap_or_default();
    let Refusal { name, error, sentence, .. } = refusal;
    let is_client = *error == OauthError::InvalidClient;
    // The name of the check, and the reference that follows from it, would reveal if the client exists. So the name is one
    // for all, and the reference is covered.
    let place = match is_client {
        true => {
            let reference = app(request).map(|app| recorded::covered(app, &reference));
            format!(
                "{NOT_AUTHENTICATED}, reference {}, request {id}",
                reference.unwrap_or_default()
            )
        }
        false => format!("{name}, reference {reference}, request {id}"),
    };
    let body = json!({
        "error": error.name(),
        "error_description": described(&format!("{sentence} ({place})")),
    });
    let status = if is_client { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    let mut response = json_answer(status, &body);
    let credentials = Credentials {
        authorization: request.header(header::AUTHORIZATION),
        ..Credentials::default()
    };
    if is_client && credentials.used_basic() {
        let challenge = HeaderValue::from_static("Basic realm=\"tessera\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
