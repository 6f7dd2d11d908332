//! The profile of a user.

use super::{Language, Website};
use crate::http::body::is_line;

/// The maximum number of characters of a name.
const MAX_NAME: usize = 100;

/// The profile that a user writes about themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name.
    pub name: Option<String>,
    /// The surname.
    pub surname: Option<String>,
    /// The web page.
    pub website: Option<Website>,
    /// The language of mails, and of pages while the user is signed in.
    pub language: Option<Language>,
}

impl Profile {
    /// Reads the profile that an operator typed. An empty text is the same as none.
    ///
    /// # Errors
    ///
    /// A sentence that names and shows the faulty value.
    pub fn read(
        name: Option<String>,
        surname: Option<String>,
        website: Option<String>,
        language: Option<String>,
    ) -> Result<Self, String> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let line = |what: &str, text| match given(text) {
            Some(text) if !is_line(&text, MAX_NAME) => Err(format!(
                "{what} {text:?}: Input should be one line of at most {MAX_NAME} characters"
            )),
            text => Ok(text),
        };
        let fault = |what: &str, text: &str, fault| format!("{what} {text:?}: {fault}");
        let website = given(website)
            .map(|text| text.parse().map_err(|error: &str| fault("website", &text, error)));
        let language = given(language)
            .map(|text| text.parse().map_err(|error: &str| fault("language", &text, error)));
        Ok(Self {
            name: line("name", name)?,
            surname: line("surname", surname)?,
            website: website.transpose()?,
            language: language.transpose()?,
        })
    }
}
