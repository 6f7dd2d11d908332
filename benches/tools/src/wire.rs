//! A connection that sends a request as bytes and reads the answer. It does little, because it shares the cores with the
//! server that it measures.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Outcome, text};

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The head of an answer.
struct Head {
    status: u16,
    length: usize,
    /// The number of bytes of the body, or `None` if it comes in chunks.
    body: Option<usize>,
    closes: bool,
}

/// A connection to a server. It connects again if the server closes it after an answer.
pub(crate) struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, buffer: Vec::with_capacity(16 * 1024) }
    }

    /// Connects, so that the first request does not have to wait for it.
    pub(crate) async fn connect(&mut self) -> Outcome<()> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|error| format!("{}: {error}", self.address))?;
        stream.set_nodelay(true).map_err(text)?;
        self.stream = Some(stream);
        self.buffer.clear();
        Ok(())
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Outcome<Answer> {
        if self.stream.is_none() {
            self.connect().await?;
        }
        let stream = self.stream.as_mut().ok_or("not connected")?;
        stream.write_all(request).await.map_err(text)?;
        let head = loop {
            if let Some(head) = head_of(&self.buffer)? {
                break head;
            }
            more(stream, &mut self.buffer).await?;
        };
        self.buffer.drain(..head.length);
        let body = match head.body {
            Some(length) => {
                while self.buffer.len() < length {
                    more(stream, &mut self.buffer).await?;
                }
                self.buffer.drain(..length).collect()
            }
            None => chunks(stream, &mut self.buffer).await?,
        };
        if head.closes {
            self.stream = None;
        }
        Ok(Answer { status: head.status, body })
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    match stream.read_buf(buffer).await.map_err(text)? {
        0 => Err("the server closed the connection within an answer".to_owned()),
        _ => Ok(()),
    }
}

fn head_of(bytes: &[u8]) -> Outcome<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(text)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let is_empty = matches!(status, 204 | 304);
    let body = match (value("content-length"), value("transfer-encoding")) {
        _ if is_empty => Some(0),
        (Some(length), _) => Some(length.parse().map_err(text)?),
        (None, Some(_)) => None,
        (None, None) => return Err("an answer has neither a length nor chunks".to_owned()),
    };
    Ok(Some(Head { status, length, body, closes }))
}

async fn chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (head, size) = loop {
            match httparse::parse_chunk_size(buffer).map_err(|error| format!("{error:?}"))? {
                httparse::Status::Complete((head, size)) => break (head, size as usize),
                httparse::Status::Partial => more(stream, buffer).await?,
            }
        };
        // Each chunk ends with CR and LF.
        let end = head + size + 2;
        while buffer.len() < end {
            more(stream, buffer).await?;
        }
        body.extend_from_slice(&buffer[head..head + size]);
        buffer.drain(..end);
        if size == 0 {
            return Ok(body);
        }
    }
}
