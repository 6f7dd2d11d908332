//! Changes of values that may be missing.

/// A change of a value that may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Keeps the value.
    #[default]
    Keep,
    /// Removes the value.
    Clear,
    /// Sets another value.
    Set(T),
}

impl<T> Change<T> {
    /// Returns true if nothing changes.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Applies the change to a value.
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
    /// Sets the value, or removes it if there is none.
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
