//! The token endpoint and its neighbours: what applications call themselves, without a browser.
//!
//! There is one file for each grant type. `tokens.rs` makes the tokens, `discovery.rs` the document that describes all
//! this.

mod code;
mod discovery;
pub(crate) mod http;
mod introspect;
mod own;
mod refresh;
mod revoke;
mod store;
mod tokens;
mod userinfo;

pub use discovery::document;
pub use tokens::Issued;

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::App;
use crate::base::error::Result;
use crate::provider::client::{Checked, Client, GrantType, OauthError, Refusal};

/// The maximum number of resources in one request.
const MAX_RESOURCES: usize = 8;

/// A form, in which no parameter is given twice. Only `resource` may be repeated. An empty parameter counts as missing.
#[derive(Default)]
pub struct Fields {
    fields: HashMap<String, String>,
    /// The values of `resource`.
    pub resources: Vec<String>,
}

impl Fields {
    /// Reads a form.
    ///
    /// # Errors
    ///
    /// The refusal, if a parameter is given twice or cannot be read.
    pub fn read(text: &[u8]) -> Checked<Self> {
        let remedy = "Correct the request of the application.";
        let refuse = |name, sentence: String| {
            Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
        };
        let unreadable = || "The form of the request cannot be read.".to_owned();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(text)
            .map_err(|_| refuse("parameters.malformed", unreadable()))?;
        let mut read = Self::default();
        for (name, value) in pairs {
            if value.contains('\0') || name.contains('\0') {
                return Err(refuse("parameters.null", unreadable()));
            }
            if name == "resource" {
                if !value.is_empty() && !read.resources.contains(&value) {
                    read.resources.push(value);
                }
                if read.resources.len() > MAX_RESOURCES {
                    let sentence =
                        format!("The request names more than {MAX_RESOURCES} resources.");
                    return Err(refuse("parameters.resources", sentence));
                }
                continue;
            }
            let shown: String = name.chars().take(64).collect();
            if read.fields.insert(name, value).is_some() {
                let sentence = format!("The parameter {shown} is given twice.");
                return Err(refuse("parameters.repeated", sentence).came(shown));
            }
        }
        read.fields.retain(|_, value| !value.is_empty());
        Ok(read)
    }

    /// The value of a parameter, if it is given and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The value of a required parameter.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn required(&self, name: &str) -> Checked<&str> {
        self.get(name).ok_or_else(|| {
            let sentence = format!("The parameter {name} is missing.");
            let remedy = "Correct the request of the application.";
            Refusal::new("parameters.missing", OauthError::InvalidRequest, sentence, remedy)
        })
    }
}

/// Exchanges what a client presents for tokens, by its grant type.
///
/// # Errors
///
/// If the database does not answer. The inner error is the refusal.
pub async fn exchange(app: &App, client: &Arc<Client>, fields: &Fields) -> Result<Checked<Issued>> {
    let grant_type = match grant_type(client, fields) {
        Ok(grant_type) => grant_type,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match grant_type {
        GrantType::AuthorizationCode => code::exchange(app, client, fields).await,
        GrantType::RefreshToken => refresh::exchange(app, client, fields).await,
        GrantType::ClientCredentials => own::exchange(app, client, fields).await,
    }
}

fn grant_type(client: &Client, fields: &Fields) -> Checked<GrantType> {
    let text = fields.required("grant_type")?;
    let Ok(grant_type) = text.parse::<GrantType>() else {
        let sentence = "This grant_type is not supported here.";
        let remedy = "The discovery document lists the grant types.";
        let error = OauthError::UnsupportedGrantType;
        let shown: String = text.chars().take(64).collect();
        return Err(Refusal::new("grant_type.unsupported", error, sentence, remedy).came(shown));
    };
    if !client.can_use(grant_type) {
        let sentence = "This application cannot use this grant_type.";
        let known = client.grant_types.iter().map(|known| <&str>::from(*known));
        let grants = known.chain([text]).collect::<Vec<_>>().join(",");
        let remedy = client.remedy(&format!("--grant {grants}"));
        let error = OauthError::UnauthorizedClient;
        return Err(Refusal::new("grant_type.not_allowed", error, sentence, remedy).came(text));
    }
    Ok(grant_type)
}
