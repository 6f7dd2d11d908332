//! HTTP by hand, so that an answer can break in every way.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) head: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// An answer. All but JSON are answers that the provider itself does not give.
#[derive(Debug, Clone)]
pub(crate) enum Instead {
    /// JSON with this status.
    Json(u16, Value),
    /// A body with this status and content type.
    Text(u16, &'static str, String),
    /// Another place.
    Redirect(String),
    /// A body that does not end.
    Huge,
    /// Nothing at all, while the connection stays open.
    Silence,
    /// Half of an answer, and the end of the connection.
    Half,
    /// The end of the connection.
    Cut,
}

/// Answers one request, and ends the connection.
pub(super) async fn serve(
    mut stream: TcpStream,
    answer: impl FnOnce(Request) -> Option<(Duration, Instead)> + Send,
) {
    let Some(request) = read(&mut stream).await else { return };
    let Some((late, instead)) = answer(request) else { return };
    // This is a provider that is slow, not a test that waits.
    tokio::time::sleep(late).await;
    let whole = |status: u16, kind: &str, more: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Answer\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}\
             connection: close\r\n\r\n{body}"
        )
    };
    let text = match instead {
        Instead::Json(status, body) => whole(status, "application/json", "", &body.to_string()),
        Instead::Text(status, kind, body) => whole(status, kind, "", &body),
        Instead::Redirect(place) => {
            whole(302, "text/plain", &format!("location: {place}\r\n"), "elsewhere")
        }
        Instead::Half => {
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"iss"
                .to_owned()
        }
        Instead::Cut => return,
        Instead::Silence => {
            // Ends with the client.
            let _ = stream.read(&mut [0; 16]).await;
            return;
        }
        Instead::Huge => return endless(stream).await,
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn endless(mut stream: TcpStream) {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    while stream.write_all(chunk.as_bytes()).await.is_ok() {}
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let place = head.split(' ').nth(1)?.to_owned();
    let (path, query) = place.split_once('?').unwrap_or((&place, ""));
    let mut request =
        Request { path: path.to_owned(), query: query.to_owned(), head, body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let whole = end + 4 + length.unwrap_or(0);
    while bytes.len() < whole {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(request)
}
