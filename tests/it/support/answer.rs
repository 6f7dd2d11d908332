//! Requests and answers. Every answer is compared with openapi.yaml.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::contract;

pub(crate) struct Request {
    builder: reqwest::RequestBuilder,
    method: String,
    path: String,
}

impl Request {
    pub(super) fn new(builder: reqwest::RequestBuilder, method: &str, path: &str) -> Self {
        Self { builder, method: method.to_owned(), path: path.to_owned() }
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { builder: change(self.builder), ..self }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with(|builder| builder.bearer_auth(token))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.with(|builder| builder.header(name, value))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.with(|builder| builder.json(body))
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        self.with(|builder| builder.form(fields))
    }

    pub(crate) fn multipart(self, form: reqwest::multipart::Form) -> Self {
        self.with(|builder| builder.multipart(form))
    }

    pub(crate) fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.header("content-type", content_type).body(body))
    }

    /// Sends the request and returns the answer. Panics if there is none.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    pub(crate) async fn try_send(self) -> reqwest::Result<Answer> {
        let response = self.builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let body = String::from_utf8_lossy(&body).into_owned();
        let answer = Answer { status, headers, body, json };
        contract::check(&self.method, &self.path, &answer);
        Ok(answer)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) json: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Asserts that the answer is a refusal with this status and this code in `detail`.
    #[track_caller]
    pub(crate) fn expect_refusal(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.body);
        self
    }

    /// Asserts that the answer refuses a token for this reason.
    #[track_caller]
    pub(crate) fn expect_reason(self, reason: &str) -> Self {
        let challenge = self.header("www-authenticate");
        assert_eq!(self.status, 401, "{}", self.body);
        assert!(challenge.contains(&format!("reason=\"{reason}\"")), "{reason}: {challenge}");
        self
    }

    /// Returns the code of a refusal.
    pub(crate) fn code(&self) -> String {
        if let Some(error) = self.json["error"].as_str() {
            return error.to_owned();
        }
        let detail = &self.json["detail"];
        let code = if detail.is_object() { &detail["code"] } else { detail };
        code.as_str().unwrap_or(if code.is_array() { "UNPROCESSABLE_CONTENT" } else { "" }).into()
    }

    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let text = self.json[member].as_str();
        text.unwrap_or_else(|| panic!("no {member} in {}", self.body)).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }
}
