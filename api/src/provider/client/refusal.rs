//! Refusals of requests from applications. Each belongs to a named check, and explains itself: to the application in a
//! public sentence, and to operators with the value that was expected, the value that came, and the remedy.

use strum::{IntoStaticStr, VariantArray};

/// The result of a check: `Ok`, or the refusal.
pub type Checked<T = ()> = Result<T, Refusal>;

/// An error code of OAuth 2 and OpenID Connect, as the answer contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OauthError {
    /// A parameter is missing, given twice or invalid.
    InvalidRequest,
    /// The client is unknown, or did not authenticate.
    InvalidClient,
    /// The code or the refresh token is invalid.
    InvalidGrant,
    /// A scope is unknown or not allowed.
    InvalidScope,
    /// A resource is unknown or not allowed (RFC 8707).
    InvalidTarget,
    /// The client cannot use this grant type.
    UnauthorizedClient,
    /// The grant type does not exist here.
    UnsupportedGrantType,
    /// The response type does not exist here.
    UnsupportedResponseType,
    /// The user or the server denied the request.
    AccessDenied,
    /// Somebody would have to sign in, but the request forbids pages.
    LoginRequired,
    /// The user would have to consent, but the request forbids pages.
    ConsentRequired,
    /// The user would have to choose an account, but the request forbids pages.
    AccountSelectionRequired,
    /// A page would have to be shown, but the request forbids pages.
    InteractionRequired,
    /// The request contains a request object.
    RequestNotSupported,
    /// The request refers to a request object elsewhere.
    RequestUriNotSupported,
    /// The request contains the metadata of a client.
    RegistrationNotSupported,
    /// Nobody can prove who they are in the way that the request requires.
    UnmetAuthenticationRequirements,
}

impl OauthError {
    /// The code on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A refusal by one check. Its texts never change, so they are boxed, which keeps the results of checks small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable name of the check and of its outcome, such as `redirect_uri.not_registered`.
    pub name: &'static str,
    /// The error code of the answer.
    pub error: OauthError,
    /// The sentence that everybody may read. It does not depend on anything that only operators know.
    pub sentence: Box<str>,
    /// The value that was expected, for operators. It is never a secret.
    pub expected: Option<Box<str>>,
    /// The value that came, for operators. It is never a secret, a code, a token or a verifier.
    pub came: Option<Box<str>>,
    /// The next step, for operators: a sentence or a command.
    pub remedy: Box<str>,
}

impl Refusal {
    /// A refusal that shows no values.
    pub fn new(
        name: &'static str,
        error: OauthError,
        sentence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let boxed = String::into_boxed_str;
        let (sentence, remedy) = (boxed(sentence.into()), boxed(remedy.into()));
        Self { name, error, sentence, expected: None, came: None, remedy }
    }

    /// Returns the same refusal with the value that was expected.
    #[must_use]
    pub fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into().into_boxed_str()), ..self }
    }

    /// Returns the same refusal with the value that came.
    #[must_use]
    pub fn came(self, came: impl Into<String>) -> Self {
        Self { came: Some(came.into().into_boxed_str()), ..self }
    }
}
