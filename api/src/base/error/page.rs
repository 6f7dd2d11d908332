//! Errors in the form of pages: a text, a field of a form, a status and the time to wait.

use poem::Response;
use poem::http::{StatusCode, header};

use super::{Cause, Code, Error};

/// The name of the text that pages show for a code.
pub(crate) fn text_name(code: Code) -> String {
    let name = match code {
        Code::ApiTokenNotNamed => "api-token-not-named",
        code => code.name(),
    };
    format!("error-{}", name.to_ascii_lowercase().replace(['_', ' '], "-"))
}

/// The field of a form that a refusal is about; empty if it is about the whole form.
pub(crate) fn field_of(error: &Error) -> &'static str {
    let field = error.messages().iter().find_map(|message| message.field);
    field.unwrap_or(match error.code() {
        Code::RegisterUserAlreadyExists
        | Code::UpdateUserEmailAlreadyExists
        | Code::InvitationAlreadyExists => "email",
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

/// The status and headers of a page that shows a refusal, and the cause for the log.
pub(crate) struct Head(Response);

impl Head {
    /// Takes the status, headers and cause of an error.
    pub(crate) fn of(error: &Error) -> Self {
        Self(error.response())
    }

    /// The status. It is 403 instead of 401, because a challenge for a token is for programs.
    pub(crate) fn status(&self) -> StatusCode {
        match self.0.status() {
            StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
            status => status,
        }
    }

    /// The answer to programs, for the case that no page can be shown.
    pub(crate) fn without_page(self) -> Response {
        self.0
    }

    /// Adds the time to wait and the cause to a page.
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
