//! The hash of a password.

use std::fmt;

use crate::base::random;

/// The digest of a bcrypt hash that has only zeros. Of 2^184 passwords, one has it.
const NO_DIGEST: &str = "...............................";

/// A password's hash in modular crypt format. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash from the database.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text that is stored.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Makes the hash of an account without a password: a well-formed one with a random salt and a digest that no password
    /// has. So checking it takes as long as checking any other, and an earlier release refuses every password too.
    pub(crate) fn none(cost: u32) -> Self {
        Self(format!("$2b${cost:02}${}.{NO_DIGEST}", random::letters_and_digits(21)))
    }

    /// Returns true if the account has no password.
    pub fn is_none(&self) -> bool {
        self.cost().is_some() && self.0.len() == 60 && self.0.ends_with(NO_DIGEST)
    }

    /// Returns the cost, as a power of two, if this is a bcrypt hash: `$2b$12$…` or `…,r=12$…`.
    pub fn cost(&self) -> Option<u32> {
        let cost = match self.0.split_once(",r=") {
            Some((_, rest)) => rest.split('$').next(),
            // Exactly as long as a bcrypt hash: checking a hash that cannot be read takes no time.
            None if self.0.len() == 60 => self.0.split('$').nth(2),
            None => None,
        };
        cost?.parse().ok().filter(|cost| (4..=31).contains(cost))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_password_is_recognised_and_no_password_matches() {
        let (none, other) = (PasswordHash::none(4), PasswordHash::none(4));
        assert!(none.is_none() && none.cost() == Some(4) && none != other);
        for password in ["", "password", "."] {
            assert!(!bcrypt::verify(password, none.expose()).unwrap());
        }
        let real = bcrypt::hash("password", 4).unwrap();
        assert!(!PasswordHash::new(real).is_none());
        assert!(!PasswordHash::new(NO_DIGEST.to_owned()).is_none());
    }
}
