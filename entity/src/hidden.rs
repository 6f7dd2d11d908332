//! Text of a row that logs and panics must not show.

use std::fmt;

use sea_orm::DeriveValueType;

/// Text that `Debug` does not show: encrypted data, and digests of values that people chose.
///
/// SeaORM derives `Debug` for rows and for the values that it writes, so the type of the column has to hide the text.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Hidden> for String {
    fn from(hidden: Hidden) -> Self {
        hidden.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hidden(…)")
    }
}
