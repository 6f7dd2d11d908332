//! Changes of values that may be missing.

/// A change of a value that may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leaves what there is.
    #[default]
    Keep,
    /// Leaves nothing.
    Clear,
    /// Puts another value there.
    Set(T),
}

impl<T> Change<T> {
    /// Leaves everything as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Makes of the value that there is the value that there is to be.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The value that is set, if one is.
    pub fn value(self) -> Option<T> {
        self.apply(None)
    }
}

impl<T> From<Option<T>> for Change<T> {
    /// Sets the value; clears it if there is none.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::Change;

    #[test]
    fn a_change_keeps_clears_or_sets_a_value() {
        assert_eq!(Change::Keep.apply(Some('a')), Some('a'));
        assert_eq!(Change::Clear.apply(Some('a')), None);
        assert_eq!(Change::Set('b').apply(Some('a')), Some('b'));
        assert_eq!(Change::<char>::Keep.value(), None);
    }
}
