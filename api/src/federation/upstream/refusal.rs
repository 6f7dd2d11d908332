//! Refusals of sign-ins with other providers. Each belongs to a named check. It explains itself to the person in one
//! sentence, and to operators with the value that was expected, the value that came, and the remedy.

use std::fmt;

use super::Upstream;
use crate::base::error::Code;

/// The result of a check: `Ok`, or the refusal.
pub type Checked<T = ()> = Result<T, Refusal>;

/// The reason of a refusal, for the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The request is not one that the provider's page leads to.
    Unreadable,
    /// The sign-in began too long ago.
    TookTooLong,
    /// The sign-in was completed, or begun for something else.
    Finished,
    /// The sign-in began in another browser.
    OtherBrowser,
    /// The person declined.
    Declined,
    /// The provider does not answer.
    NoAnswer,
    /// The provider and these settings do not fit together.
    Misconfigured,
    /// The provider's answer cannot be trusted.
    Untrusted,
    /// There is an account, but it is not linked.
    NotLinked,
    /// The provider makes no accounts here.
    NoAccount,
    /// The identity belongs to another account.
    LinkedElsewhere,
    /// The account has another identity at the same provider.
    HasAnother,
    /// The provider says no address, and a program asks for it.
    NoEmail,
    /// Another person signed in than the one who is signed in here.
    OtherPerson,
    /// The provider does not say that the person signed in again.
    NotAgain,
    /// The account cannot sign in.
    Inactive,
    /// The address of the account is not proved.
    NotVerified,
}

/// The text for a person, on pages and for programs.
struct Row {
    why: Why,
    /// The name of the text on pages.
    text: &'static str,
    /// The code for programs.
    code: Code,
    /// The sentence. `{}` stands for the provider.
    sentence: &'static str,
}

const fn row(why: Why, text: &'static str, code: Code, sentence: &'static str) -> Row {
    Row { why, text, code, sentence }
}

/// Every reason.
const ROWS: [Row; 17] = [
    row(
        Why::Unreadable,
        "upstream-unreadable",
        Code::AccessTokenDecodeError,
        "This link cannot be read. Begin the sign-in again.",
    ),
    row(
        Why::TookTooLong,
        "upstream-took-too-long",
        Code::AccessTokenAlreadyExpired,
        "The sign-in began too long ago. Begin it again.",
    ),
    row(
        Why::Finished,
        "upstream-finished",
        Code::OauthInvalidState,
        "This sign-in was completed already, or it began for something else. Begin again.",
    ),
    row(
        Why::OtherBrowser,
        "upstream-other-browser",
        Code::OauthInvalidState,
        "This sign-in began in another browser. Begin it again in this browser.",
    ),
    row(
        Why::Declined,
        "upstream-declined",
        Code::OauthAccessDenied,
        "You declined at {}. Begin again, or sign in otherwise.",
    ),
    row(
        Why::NoAnswer,
        "upstream-no-answer",
        Code::OauthUpstreamError,
        "{} does not answer now. Try again later, or sign in otherwise.",
    ),
    row(
        Why::Misconfigured,
        "upstream-misconfigured",
        Code::OauthUpstreamError,
        "{} refuses requests of this server. Tell the operator, or sign in otherwise.",
    ),
    row(
        Why::Untrusted,
        "upstream-untrusted",
        Code::OauthUpstreamError,
        "The answer of {} cannot be trusted. Tell the operator, or sign in otherwise.",
    ),
    row(
        Why::NotLinked,
        "upstream-not-linked",
        Code::OauthUserAlreadyExists,
        "An account with this address exists, and {} is not linked to it. Sign in as before, \
                 then link {} on the page of your account.",
    ),
    row(
        Why::NoAccount,
        "upstream-no-account",
        Code::RegistrationClosed,
        "You have no account here, and {} makes none. Ask an administrator for an account.",
    ),
    row(
        Why::LinkedElsewhere,
        "upstream-linked-elsewhere",
        Code::OauthUserAlreadyExists,
        "This account of {} is linked to another account here. Sign in with it, and unlink it there.",
    ),
    row(
        Why::HasAnother,
        "upstream-has-another",
        Code::OauthUserAlreadyExists,
        "Your account is linked to another account of {}. Unlink that one first.",
    ),
    row(
        Why::NoEmail,
        "upstream-no-email",
        Code::OauthNotAvailableEmail,
        "{} says no e-mail address. Add one to your account there, or register here.",
    ),
    row(
        Why::OtherPerson,
        "upstream-other-person",
        Code::OauthInvalidState,
        "You signed in at {} with another account. Sign in with the one that is linked here.",
    ),
    row(
        Why::NotAgain,
        "upstream-not-again",
        Code::OauthUpstreamError,
        "{} does not say that you signed in again just now. Set a password with a mail, and use it instead.",
    ),
    row(
        Why::Inactive,
        "upstream-inactive",
        Code::LoginBadCredentials,
        "This account cannot sign in. Ask an administrator.",
    ),
    row(
        Why::NotVerified,
        "upstream-not-verified",
        Code::LoginUserNotVerified,
        "Confirm the e-mail address of your account first, then link {}.",
    ),
];

impl Why {
    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.why == self).unwrap_or(&ROWS[0])
    }

    /// The name of the text on pages.
    pub fn text(self) -> &'static str {
        self.row().text
    }

    /// The code for programs.
    pub fn code(self) -> Code {
        self.row().code
    }

    /// The sentence, with the name of the provider.
    pub fn sentence(self, label: &str) -> String {
        self.row().sentence.replace("{}", label)
    }
}

/// A refusal by one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable name of the check and of its outcome, such as `id_token.nonce`.
    pub name: &'static str,
    /// The reason, for the person.
    pub why: Why,
    /// The value that was expected, for operators. It is never a secret.
    pub expected: Option<Box<str>>,
    /// The value that came, for operators. It is never a secret, a code or a token.
    pub came: Option<Box<str>>,
    /// The next step, for operators.
    pub remedy: Box<str>,
}

impl Refusal {
    /// A refusal that shows no values.
    pub fn new(name: &'static str, why: Why, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into().into_boxed_str();
        Self { name, why, expected: None, came: None, remedy }
    }

    /// A refusal of an answer that cannot be trusted.
    pub(crate) fn untrusted(name: &'static str, upstream: &Upstream) -> Self {
        let check = upstream.check_command();
        let remedy = format!(
            "Compare the entry in UPSTREAMS_FILE with the provider: {check}. If they agree, somebody may have \
             tampered with the answer."
        );
        Self::new(name, Why::Untrusted, remedy)
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

/// Writes the refusal for the log and for commands.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if let Some(expected) = &self.expected {
            write!(formatter, ", expected {expected}")?;
        }
        if let Some(came) = &self.came {
            write!(formatter, ", came {came}")?;
        }
        write!(formatter, ". {}", self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_row_and_a_text_in_every_language() {
        for row in &ROWS {
            assert_eq!(row.why.text(), row.text);
            for (tag, texts) in crate::http::page::text::EMBEDDED {
                assert!(texts.contains(&format!("\n{} = ", row.text)), "{tag}: {}", row.text);
            }
        }
        let reasons: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.text).collect();
        assert_eq!((reasons.len(), Why::NotVerified as usize + 1), (ROWS.len(), ROWS.len()));
    }
}
