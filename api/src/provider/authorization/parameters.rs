//! The parameters of an authorization request (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1).

use poem::http::Uri;
use serde::{Deserialize, Serialize};

use crate::provider::client::{Checked, OauthError, Refusal};

/// The maximum length of a request, in bytes.
pub(super) const MAX_LENGTH: usize = 6 * 1024;

/// The parameters that are known. Others are ignored. An empty one counts as missing.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// The client that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The place that the answer is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// The kind of answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_type: Option<String>,
    /// The way in which the answer is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_mode: Option<String>,
    /// The words that the client asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// A value that the answer repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// A value that the ID token repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The challenge of PKCE (RFC 7636).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// Its method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_challenge_method: Option<String>,
    /// The pages that must, or must not, be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The maximum age of the proof of identity, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Claims that the client asks for one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// The address that the user probably has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// The languages that the user probably reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_locales: Option<String>,
    /// An ID token that the client has of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_hint: Option<String>,
    /// What an ID token said, in a request that was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// A request object, which is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The place of a request object, which is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_uri: Option<String>,
    /// The metadata of a client, which is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    /// The APIs that the client asks for (RFC 8707).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
}

/// The user and the session that an ID token names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The user.
    pub sub: String,
    /// The session, as the client knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

impl Parameters {
    /// Reads the query of a URL or a form. The second value is the outcome of the check `parameters`: the fields are
    /// those that were given first.
    pub fn read(text: &str) -> (Self, Checked) {
        let mut read = Self::default();
        let mut checked = Ok(());
        let pairs: Vec<(String, String)> = match serde_urlencoded::from_str(text) {
            Ok(pairs) => pairs,
            Err(_) => return (read, Err(malformed())),
        };
        if text.len() > MAX_LENGTH {
            checked = Err(too_long(text.len()));
        }
        for (name, value) in pairs {
            if value.contains('\0') {
                checked = checked.and(Err(null(&name)));
                continue;
            }
            if name == "resource" {
                read.resource.push(value);
                continue;
            }
            let Some(field) = read.field(&name) else { continue };
            match field {
                // An empty parameter counts as missing, but not as a second one.
                Some(_) => checked = checked.and(Err(repeated(&name))),
                None => *field = Some(value),
            }
        }
        read.forget_empty();
        (read, checked)
    }

    /// Reads the query of a request.
    pub fn of_query(uri: &Uri) -> (Self, Checked) {
        Self::read(uri.query().unwrap_or_default())
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "client_id" => &mut self.client_id,
            "redirect_uri" => &mut self.redirect_uri,
            "response_type" => &mut self.response_type,
            "response_mode" => &mut self.response_mode,
            "scope" => &mut self.scope,
            "state" => &mut self.state,
            "nonce" => &mut self.nonce,
            "code_challenge" => &mut self.code_challenge,
            "code_challenge_method" => &mut self.code_challenge_method,
            "prompt" => &mut self.prompt,
            "max_age" => &mut self.max_age,
            "claims" => &mut self.claims,
            "login_hint" => &mut self.login_hint,
            "ui_locales" => &mut self.ui_locales,
            "id_token_hint" => &mut self.id_token_hint,
            "request" => &mut self.request,
            "request_uri" => &mut self.request_uri,
            "registration" => &mut self.registration,
            _ => return None,
        })
    }

    fn forget_empty(&mut self) {
        let names = [
            "client_id",
            "redirect_uri",
            "response_type",
            "response_mode",
            "scope",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "max_age",
            "claims",
            "login_hint",
            "ui_locales",
            "id_token_hint",
            "request",
            "request_uri",
            "registration",
        ];
        for name in names {
            if let Some(field) = self.field(name) {
                field.take_if(|value| value.is_empty());
            }
        }
        self.resource.retain(|uri| !uri.is_empty());
    }
}

fn refuse(name: &'static str, sentence: String) -> Refusal {
    let remedy = "Correct the request of the application.";
    Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
}

fn malformed() -> Refusal {
    refuse("parameters.malformed", "The parameters of the request cannot be read.".to_owned())
}

fn repeated(name: &str) -> Refusal {
    refuse("parameters.repeated", format!("The parameter {name} is given twice.")).came(name)
}

fn null(name: &str) -> Refusal {
    let name: String = name.chars().filter(|character| *character != '\0').take(64).collect();
    refuse("parameters.null", format!("The parameter {name} contains U+0000."))
}

fn too_long(length: usize) -> Refusal {
    let sentence = format!("The request has {length} bytes, and {MAX_LENGTH} are allowed.");
    refuse("parameters.too_long", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<&'static str> {
        Parameters::read(text).1.err().map(|refusal| refusal.name)
    }

    #[test]
    fn a_parameter_may_be_given_once_and_resource_often() {
        let names = ["client_id", "scope", "state", "prompt", "id_token_hint", "code_challenge"];
        for name in names {
            assert_eq!(fault(&format!("{name}=a")), None);
            assert_eq!(fault(&format!("{name}=a&{name}=a")), Some("parameters.repeated"));
            assert_eq!(fault(&format!("{name}=a&{name}=")), Some("parameters.repeated"));
        }
        assert_eq!(fault("unknown=a&unknown=b&resource=a&resource=b"), None);
        assert_eq!(Parameters::read("resource=a&resource=b&resource=").0.resource, ["a", "b"]);
    }

    #[test]
    fn an_empty_parameter_is_missing() {
        let (read, checked) = Parameters::read("client_id=&scope=openid");
        assert!(checked.is_ok());
        assert_eq!((read.client_id, read.scope.as_deref()), (None, Some("openid")));
    }

    #[test]
    fn a_request_that_is_too_long_or_contains_null_is_refused() {
        assert_eq!(fault("state=a%00b"), Some("parameters.null"));
        let long = format!("state={}", "a".repeat(MAX_LENGTH));
        assert_eq!(fault(&long), Some("parameters.too_long"));
        assert_eq!(fault(&long[..MAX_LENGTH]), None);
    }
}
