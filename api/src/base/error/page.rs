//! Refusals as pages show them: a text, a field of a form, a status, how long to wait.

use poem::Response;
use poem::http::{StatusCode, header};

use super::{Cause, Code, Error};

/// The name of the text of a refusal.
pub(crate) fn text_name(code: Code) -> String {
    let name = match code {
        Code::ApiTokenNotNamed => "api-token-not-named",
        code => code.name(),
    };
    format!("error-{}", name.to_ascii_lowercase().replace(['_', ' '], "-"))
}

/// The field of a form that a refusal is about; none where it is about all of it.
pub(crate) fn field_of(error: &Error) -> &'static str {
    let said = error.messages().iter().find_map(|message| message.field);
    said.unwrap_or(match error.code() {
        Code::RegisterUserAlreadyExists | Code::UpdateUserEmailAlreadyExists => "email",
        Code::RegisterInvalidPassword
        | Code::ResetPasswordInvalidPassword
        | Code::UpdateUserInvalidPassword => "password",
        Code::ResetPasswordBadToken | Code::VerifyUserBadToken => "code",
        Code::LoginBadCredentials | Code::FreshTokenRequired => "current",
        Code::ServiceAlreadyExists => "name",
        Code::ApiTokenUserUnknown => "username",
        Code::ApiTokenInvalidScopes => "scopes",
        _ => "",
    })
}

/// The head of a page that refuses something, and what the log is told.
pub(crate) struct Head(Response);

impl Head {
    /// Of a refusal whose words are on the page.
    pub(crate) fn of(error: &Error) -> Self {
        Self(error.response())
    }

    /// The status. An answer that says which token to bring is for programs.
    pub(crate) fn status(&self) -> StatusCode {
        match self.0.status() {
            StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
            status => status,
        }
    }

    /// The answer of programs, if no page can be shown at all.
    pub(crate) fn without_page(self) -> Response {
        self.0
    }

    /// The page, with how long to wait.
    pub(crate) fn onto(&self, mut page: Response) -> Response {
        if let Some(wait) = self.0.headers().get(header::RETRY_AFTER) {
            page.headers_mut().insert(header::RETRY_AFTER, wait.clone());
        }
        if let Some(cause) = self.0.extensions().get::<Cause>() {
            page.extensions_mut().insert(cause.clone());
        }
        page
    }
}
