//! The report of an import.

use std::collections::BTreeMap;

use serde_json::json;

use super::Place;
use super::format::Format;
use super::record::User;
use crate::operator::Operator;
use crate::print;

/// The maximum number of refused users and of superusers that are printed for people.
const MAX_PRINTED: usize = 20;

/// The kind of a hash that a user does not have.
const NONE: &str = "none";

/// The result of an import. Every record that was read is created, known or refused.
pub(super) struct Report {
    pub(super) dry_run: bool,
    format: Format,
    is_guessed: bool,
    /// The number of users in the file.
    pub(super) read: u64,
    /// The number of users who were created, or would be.
    created: u64,
    /// The number of users who already exist.
    known: u64,
    /// The users who were refused, with the reasons.
    pub(super) refused: Vec<(Place, String)>,
    /// The number of users who get a mail.
    pub(super) invited: u64,
    /// The number of users who get no mail, because a limit of mails is reached.
    pub(super) not_invited: u64,
    /// The kinds of hashes of created users.
    hashes: BTreeMap<String, u64>,
    /// The kinds of hashes of users who were created without a password.
    unusable: BTreeMap<String, u64>,
    /// The created superusers.
    superusers: Vec<String>,
    pub(super) ignored: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(dry_run: bool, format: Format, is_guessed: bool) -> Self {
        Self {
            dry_run,
            format,
            is_guessed,
            read: 0,
            created: 0,
            known: 0,
            refused: Vec::new(),
            invited: 0,
            not_invited: 0,
            hashes: BTreeMap::new(),
            unusable: BTreeMap::new(),
            superusers: Vec::new(),
            ignored: BTreeMap::new(),
        }
    }

    /// Returns true if every user was imported or known before, and every mail that was asked for is written.
    pub(super) fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.not_invited == 0
    }

    pub(super) fn note_known(&mut self) {
        self.read += 1;
        self.known += 1;
    }

    pub(super) fn note_created(&mut self, user: User) {
        self.read += 1;
        self.created += 1;
        let (name, is_usable) =
            user.hash.map_or((NONE.to_owned(), false), |kind| (kind.name, kind.is_usable));
        let kinds = if is_usable { &mut self.hashes } else { &mut self.unusable };
        *kinds.entry(name).or_default() += 1;
        if user.is_superuser {
            self.superusers.push(user.email);
        }
    }

    /// Prints the refused users and the numbers.
    pub(super) fn print(&mut self, operator: &Operator) {
        self.refused.sort();
        if operator.prints_json() {
            let refused = self.refused.iter();
            let refused: Vec<_> = refused
                .map(|(Place(_, place), reason)| json!({ "place": place, "reason": reason }))
                .collect();
            print::line(json!({
                "dry_run": self.dry_run,
                "format": self.format.name(),
                "guessed": self.is_guessed,
                "read": self.read,
                "created": self.created,
                "known": self.known,
                "refused": refused,
                "without_password": self.unusable.values().sum::<u64>(),
                "hashes": self.hashes,
                "unusable": self.unusable,
                "superusers": self.superusers,
                "invited": self.invited,
                "not_invited": self.not_invited,
                "ignored": self.ignored,
            }));
            return;
        }
        for (Place(_, place), reason) in self.refused.iter().take(MAX_PRINTED) {
            eprintln!("{place}: {}", print::plain(reason));
        }
        if let Some(more) = self.refused.len().checked_sub(MAX_PRINTED).filter(|more| *more > 0) {
            eprintln!("and {more} more: --output json prints all of them");
        }
        self.print_numbers();
    }

    fn print_numbers(&self) {
        let Self { dry_run, format, is_guessed, read, created, known, invited, .. } = self;
        if *is_guessed {
            let name = format.name();
            print::line(format!("The users look like those of {name} (--format sets another)"));
        }
        let would = if *dry_run { "would be " } else { "" };
        let refused = self.refused.len();
        print::line(format!(
            "{read} read: {created} {would}created, {known} already exist, {refused} {would}refused"
        ));
        if !self.hashes.is_empty() {
            print::line(format!("Hashes of passwords: {}", listed(&self.hashes)));
        }
        let without: u64 = self.unusable.values().sum();
        if without > 0 {
            let kinds = listed(&self.unusable);
            print::line(format!("{without} {would}created without a password; hash: {kinds}"));
        }
        if *invited > 0 {
            print::line(format!("{invited} {would}asked by mail to choose a password"));
        }
        self.print_not_invited();
        if !self.superusers.is_empty() {
            let (count, named) = (self.superusers.len(), self.superusers.iter().take(MAX_PRINTED));
            let named: Vec<_> = named.map(|email| print::plain(email)).collect();
            let more = if count > named.len() { ", …" } else { "" };
            let named = named.join(", ");
            print::line(format!("{count} {would}created as superuser: {named}{more}"));
        }
        if !self.ignored.is_empty() {
            let names: Vec<_> = self.ignored.keys().map(|name| print::plain(name)).collect();
            print::line(format!("Not imported: {}", names.join(", ")));
        }
    }
}

impl Report {
    /// Says how many users must be asked later.
    fn print_not_invited(&self) {
        if self.not_invited > 0 {
            let would = if self.dry_run { "would not be" } else { "not" };
            print::line(format!(
                "{} {would} asked by mail, because the limit of mails is reached: run this again later, it asks nobody \
                 twice",
                self.not_invited
            ));
        }
    }
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let listed: Vec<_> = counts.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    listed.join(", ")
}
