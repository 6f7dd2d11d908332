//! The person behind an answer of a provider: one function decides who it is.
//!
//! Accounts are stolen where this is wrong. An address proves nothing unless its provider owns it. An account whose
//! address was never proved here may be a trap. And users who can do more than others decide themselves what is
//! linked.

use crate::federation::upstream::Why;

/// The address that a provider says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// None, or one that is no address.
    None,
    /// One that the provider verified and whose domain it owns.
    Owned,
    /// Any other.
    NotOwned,
}

/// The account that has this address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// There is none.
    Nobody,
    /// The address was proved together with the password, or there is no password.
    Verified,
    /// The address was proved by a mail alone. Another person may have set the password.
    Unclaimed,
    /// The address was never proved.
    Unverified,
    /// A superuser, or somebody with words beyond the default.
    Special,
    /// It has another subject at the same provider. The provider may have given the address of one person to another.
    HasAnother,
    /// Another address can still take the account back.
    Changing,
    /// The account cannot sign in.
    Inactive,
}

/// The decision about a person whose subject is not linked to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// An account is made.
    Register {
        /// `true` if its address counts as proved.
        is_verified: bool,
    },
    /// The identity is linked to the account.
    Link {
        /// `true` if the password and everything that was done with it goes.
        cleans: bool,
    },
    /// The account is deleted, and another one is made.
    Replace,
    /// A page asks for an address.
    AskAddress,
    /// The person is refused.
    Refuse(&'static str, Why),
}

/// Decides about a person whose subject is not linked to an account. `registers` is true if the provider makes accounts
/// here.
pub fn decide(address: Address, here: Here, registers: bool) -> Decision {
    let not_linked = Decision::Refuse("person.not_linked", Why::NotLinked);
    let new = |decision| match registers {
        true => decision,
        false => Decision::Refuse("person.no_account", Why::NoAccount),
    };
    match (address, here) {
        (Address::None, _) => new(Decision::AskAddress),
        (Address::Owned, Here::Nobody) => new(Decision::Register { is_verified: true }),
        (Address::Owned, Here::Verified) => Decision::Link { cleans: false },
        (Address::Owned, Here::Unclaimed) => Decision::Link { cleans: true },
        (Address::Owned, Here::Unverified) => new(Decision::Replace),
        (Address::Owned, Here::Inactive) => Decision::Refuse("person.inactive", Why::Inactive),
        (Address::Owned, Here::HasAnother) => {
            Decision::Refuse("person.has_another", Why::HasAnother)
        }
        (Address::Owned, Here::Special | Here::Changing) => not_linked,
        (Address::NotOwned, Here::Nobody) => new(Decision::Register { is_verified: false }),
        (Address::NotOwned, _) => not_linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [Here; 8] = [
        Here::Nobody,
        Here::Verified,
        Here::Unclaimed,
        Here::Unverified,
        Here::Special,
        Here::HasAnother,
        Here::Changing,
        Here::Inactive,
    ];

    #[test]
    fn each_row_of_the_table_is_decided() {
        use Address::{None, NotOwned, Owned};
        use Decision::{AskAddress, Link, Refuse, Register, Replace};
        let not_linked = Refuse("person.not_linked", Why::NotLinked);
        let no_account = Refuse("person.no_account", Why::NoAccount);
        let has_another = Refuse("person.has_another", Why::HasAnother);
        // With a provider that makes accounts, and with one that makes none.
        for (address, here, makes, makes_none) in [
            (Owned, Here::Nobody, Register { is_verified: true }, no_account),
            (Owned, Here::Verified, Link { cleans: false }, Link { cleans: false }),
            (Owned, Here::Unclaimed, Link { cleans: true }, Link { cleans: true }),
            (Owned, Here::Unverified, Replace, no_account),
            (Owned, Here::Special, not_linked, not_linked),
            (Owned, Here::HasAnother, has_another, has_another),
            (Owned, Here::Changing, not_linked, not_linked),
            (
                Owned,
                Here::Inactive,
                Refuse("person.inactive", Why::Inactive),
                Refuse("person.inactive", Why::Inactive),
            ),
            (NotOwned, Here::Nobody, Register { is_verified: false }, no_account),
            (NotOwned, Here::Verified, not_linked, not_linked),
            (NotOwned, Here::Unclaimed, not_linked, not_linked),
            (NotOwned, Here::Unverified, not_linked, not_linked),
            (NotOwned, Here::Special, not_linked, not_linked),
            (NotOwned, Here::HasAnother, not_linked, not_linked),
            (NotOwned, Here::Changing, not_linked, not_linked),
            (NotOwned, Here::Inactive, not_linked, not_linked),
            (None, Here::Nobody, AskAddress, no_account),
        ] {
            assert_eq!(decide(address, here, true), makes, "{address:?} {here:?}");
            assert_eq!(decide(address, here, false), makes_none, "{address:?} {here:?} closed");
        }
    }

    #[test]
    fn only_an_owned_address_reaches_an_account_that_exists() {
        for here in HERE {
            for address in [Address::None, Address::NotOwned] {
                let decision = decide(address, here, true);
                let reaches = matches!(decision, Decision::Link { .. } | Decision::Replace);
                assert!(!reaches, "{address:?} {here:?}: {decision:?}");
            }
        }
    }
}
