//! Text of a row that is shown to nobody.

use std::fmt;

use sea_orm::DeriveValueType;

/// Text that `Debug` does not show, because logs and panics must not: what is sealed, and digests of what
/// people chose.
///
/// SeaORM derives `Debug` for rows, and for what it writes of them; so the column's own type has to hide it.
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
