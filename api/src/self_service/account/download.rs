//! The download of an export: one JSON document that is sent while it is read.
//!
//! A task reads and writes it, because a client may read nothing for a long time. Then the task stops and frees its
//! slot. An export that broke off has no last chunk, so the client does not take it for the whole document.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::timeout;

use super::export::{Export, Part};
use super::http::{ActResponse, ExportResponse, IdentityResponse};
use crate::base::request_context;
use crate::identity::user::http::UserResponse;
use crate::self_service::api_token::http::ApiTokenResponse;
use crate::self_service::session::http::SessionResponse;

/// The size of a chunk, in bytes.
const CHUNK: usize = 16 * 1024;

/// The maximum time in which a client reads nothing before the download ends.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// The maximum time of a whole download.
const WRITTEN_WITHIN: Duration = Duration::from_secs(600);

/// An export that is sent while it is read.
pub(crate) struct Download(pub(crate) Export);

/// A message to the body of the response.
enum Piece {
    Some(Bytes),
    End,
}

impl IntoResponse for Download {
    fn into_response(self) -> Response {
        let user = self.0.user.id.to_string();
        let body = written(user, |writer| writer.write(self.0));
        Response::builder().header(header::CONTENT_TYPE, "application/json").body(body)
    }
}

/// Makes a body that a task writes while it is sent. `user` names the user that it is about, for the log.
pub(crate) fn written<F>(user: String, write: impl FnOnce(Writer) -> F) -> Body
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let writing = write(Writer::new(sender));
    // Log lines of the task have the id of the request.
    let request = request_context::current().request_id.unwrap_or_default();
    tokio::spawn(async move {
        let cause = match timeout(WRITTEN_WITHIN, writing).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause,
            Err(_) => format!("it took longer than {} seconds", WRITTEN_WITHIN.as_secs()),
        };
        tracing::warn!(
            request.id = request,
            user.id = user,
            error.cause = cause,
            "an export broke off"
        );
    });
    Body::from_bytes_stream(stream::unfold(Some(receiver), next))
}

/// The next bytes for the connection. If the writer stopped before the end, this is an error, which closes the
/// connection.
async fn next(
    receiver: Option<Receiver<Piece>>,
) -> Option<(Result<Bytes, std::io::Error>, Option<Receiver<Piece>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Piece::Some(bytes)) => Some((Ok(bytes), Some(receiver))),
        Some(Piece::End) => None,
        None => Some((Err(std::io::Error::other("the export broke off")), None)),
    }
}

/// Writes a document in chunks.
pub(crate) struct Writer {
    sender: Sender<Piece>,
    waiting: Vec<u8>,
}

impl Writer {
    fn new(sender: Sender<Piece>) -> Self {
        Self { sender, waiting: Vec::new() }
    }

    /// Writes the whole document. Returns the cause if it breaks off.
    async fn write(mut self, mut export: Export) -> Result<(), String> {
        self.put("{\"user\":").await?;
        let user = UserResponse::with_pending(&export.user, export.pending_email.take())
            .with_external_id(export.external_id.take());
        self.put(&user.to_json_string()).await?;
        let email = export.user.email.clone();
        // The lists of the document, in the order in which the export reads them.
        let mut lists =
            ["sessions", "api_tokens", "former_emails", "identities", "audit"].into_iter();
        let (mut open, mut is_first) = (None, true);
        while let Some(part) = export.read().await.map_err(|error| error.to_string())? {
            let (list, items) = items_of(part, &email);
            while open != Some(list) {
                let end = if open.is_some() { "]" } else { "" };
                open = lists.next();
                let name = open.ok_or("the pages came in the wrong order")?;
                self.put(&format!("{end},\"{name}\":[")).await?;
                is_first = true;
            }
            for item in items {
                if !std::mem::take(&mut is_first) {
                    self.put(",").await?;
                }
                self.put(&item).await?;
            }
        }
        self.put("]}").await?;
        self.send().await?;
        // The connection has taken all but the end. When the caller sees the end, the next export must have room.
        let last = self.room().await?;
        drop(export);
        last.send(Piece::End);
        Ok(())
    }

    /// Ends the document. A body without this end is not complete.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        self.send().await?;
        self.hand_over(Piece::End).await
    }

    /// Writes a part of the document.
    pub(crate) async fn put(&mut self, text: &str) -> Result<(), String> {
        self.waiting.extend_from_slice(text.as_bytes());
        if self.waiting.len() < CHUNK { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<(), String> {
        let bytes = std::mem::take(&mut self.waiting).into();
        self.hand_over(Piece::Some(bytes)).await
    }

    async fn hand_over(&self, piece: Piece) -> Result<(), String> {
        self.room().await?.send(piece);
        Ok(())
    }

    /// Waits until the connection has taken what was handed over before.
    async fn room(&self) -> Result<Permit<'_, Piece>, String> {
        match timeout(TAKEN_WITHIN, self.sender.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err("the client closed the connection".to_owned()),
            Err(_) => {
                Err(format!("the client read nothing for {} seconds", TAKEN_WITHIN.as_secs()))
            }
        }
    }
}

/// The list that a page belongs to, and its items as JSON.
fn items_of(part: Part, email: &str) -> (&'static str, Vec<String>) {
    fn texts<T: ToJSON>(items: impl IntoIterator<Item = T>) -> Vec<String> {
        items.into_iter().map(|item| item.to_json_string()).collect()
    }
    match part {
        Part::Sessions(some) => ("sessions", texts(some.into_iter().map(SessionResponse::from))),
        Part::ApiTokens(some) => {
            let named = some.into_iter().map(|token| (token, email.to_owned()));
            ("api_tokens", texts(named.map(ApiTokenResponse::from)))
        }
        Part::FormerEmails(some) => ("former_emails", texts(some)),
        Part::Identities(some) => {
            ("identities", texts(some.into_iter().map(IdentityResponse::from)))
        }
        Part::Audit(some) => ("audit", texts(some.into_iter().map(ActResponse::from))),
    }
}

/// In the OpenAPI document, a download is the JSON document that it sends.
impl ApiResponse for Download {
    fn meta() -> MetaResponses {
        Json::<ExportResponse>::meta()
    }

    fn register(registry: &mut Registry) {
        <Json<ExportResponse> as ApiResponse>::register(registry);
    }
}
