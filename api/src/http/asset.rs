//! Files that a server keeps in memory. Browsers cache them and check them by their `ETag`.

use crate::base::hex::hex;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Request, Response};

/// A file that changes only with the program and its settings.
#[derive(Debug, Clone)]
pub(crate) struct Asset {
    kind: &'static str,
    content: Bytes,
    tag: HeaderValue,
    policy: &'static str,
}

impl Asset {
    /// Makes a file of this type. Its policy lets it load nothing.
    pub(super) fn new(kind: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let tag = hex(&digest(&SHA256, &content).as_ref()[..16]);
        let tag =
            HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { kind, content, tag, policy: "default-src 'none'; frame-ancestors 'none'" }
    }

    /// Returns the same file with another `Content-Security-Policy`.
    pub(super) fn with_policy(self, policy: &'static str) -> Self {
        Self { policy, ..self }
    }

    /// Answers with the file, or with 304 if the browser already has it.
    pub(super) fn answer(&self, request: &Request) -> Response {
        let known = request.headers().get(header::IF_NONE_MATCH) == Some(&self.tag);
        let response = Response::builder()
            .header(header::ETAG, &self.tag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, self.policy);
        if known {
            response.status(StatusCode::NOT_MODIFIED).finish()
        } else {
            response.content_type(self.kind).body(self.content.clone())
        }
    }
}
