//! Tests from outside: the real binary, a real port, and a database of its own for each test.
//!
//! `TEST_DATABASE` (`sqlite` or `postgres`) selects the database of the tests. `scripts/test` runs the tests on
//! both. Exceptions: the tests in `once` run once, and those in `storm` and `foreign` are slow and run only with
//! `--all`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

mod access;
mod acts;
mod addresses;
mod administration;
mod api_tokens;
mod applications;
mod audit;
mod authority;
mod budgets;
mod client_refusals;
mod clients;
mod clocks;
mod codes;
mod consents;
mod cookies;
mod directory;
mod errors;
mod exchanges;
mod export;
mod foreign;
mod forms;
mod freshness;
mod front_end;
mod guesses;
mod hijack;
mod import;
mod impostors;
mod introspection;
mod invitations;
mod keys;
mod limits;
mod login;
mod logout;
mod logs;
mod mail;
mod notices;
mod odd_rows;
mod once;
mod origins;
mod outcomes;
mod pages;
mod provider;
mod proxies;
mod recovery;
mod refresh;
mod registration;
mod remote;
mod revoking;
mod rotation;
mod round_trips;
mod services;
mod serving;
mod sessions;
mod storm;
mod support;
mod takeover;
mod terminal;
mod tokens;
mod users;
mod verification;
mod write_path;
