//! The service seen from outside: the real binary, a real port, a database of its own per test.
//!
//! `TEST_DATABASE` (`sqlite` or `postgres`) says where the tests keep their tables; `scripts/test`
//! runs all of them on both, but for those below `once`, which need no second time, and those below `storm`
//! and `foreign`, which take long and run with `--all`.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails its test")]

mod access;
mod acts;
mod administration;
mod api_tokens;
mod audit;
mod authority;
mod budgets;
mod clocks;
mod codes;
mod cookies;
mod directory;
mod errors;
mod exchanges;
mod export;
mod foreign;
mod forms;
mod freshness;
mod guesses;
mod hijack;
mod import;
mod introspection;
mod keys;
mod limits;
mod login;
mod logout;
mod logs;
mod mail;
mod notices;
mod once;
mod origins;
mod outcomes;
mod pages;
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
