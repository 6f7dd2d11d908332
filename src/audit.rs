//! `tessera audit`

use std::process::ExitCode;

use api::base::config::Config;
use api::platform::audit::Act;
use api::platform::audit::chain::{self, Break, Follower};
use chrono::{DateTime, NaiveDate};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, Options, encoded};
use crate::{print, user};

/// The number of rows in one request. Its answer has a few hundred kilobytes.
const AT_ONCE: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the rows of the audit, the newest first
    List {
        /// Only rows with this action
        #[arg(long, value_name = "ACT",
              value_parser = PossibleValuesParser::new(Act::ALL.iter().map(|act| act.name())))]
        act: Option<String>,
        /// Only actions on this user (an e-mail address or an id)
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Only actions by this user (an e-mail address or an id), by `operator` or by `anybody`
        #[arg(long, value_name = "USER")]
        by: Option<String>,
        /// Only rows since this time; for example 2026-11-22, or 2026-11-22T09:30:00Z
        #[arg(long, value_name = "TIME", value_parser = parse_instant)]
        since: Option<i64>,
        /// The maximum number of rows
        #[arg(long, value_name = "COUNT", default_value = "100")]
        limit: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Verify the chain of digests from the first row: exit status 1 if a row was altered or is missing
    Verify {
        /// A position that an earlier verification printed, which the chain must contain. This detects a chain
        /// whose end was cut off, or that was made again
        #[arg(long, value_name = "SEQ:DIGEST", value_parser = parse_head)]
        expect: Option<(i64, String)>,
        #[command(flatten)]
        options: Options,
    },
}

const COLUMNS: [&str; 7] = ["seq", "at", "act", "by", "on", "from", "detail"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::List { act, user, by, since, limit, options } => {
            let operator = Operator::new(options, config).await?;
            let mut path = "/admin/audit?".to_owned();
            for (name, filter) in [("subject", user), ("actor", by)] {
                if let Some(named) = filter {
                    let named = audit_name(&operator, &named).await?;
                    path += &format!("{name}={}&", encoded(&named));
                }
            }
            if let Some(act) = act {
                path += &format!("act={act}&");
            }
            if let Some(since) = since {
                path += &format!("since={since}&");
            }
            let items = first_rows(&operator, &path, limit).await?;
            operator.print_items(&items, &COLUMNS, row);
            Ok(ExitCode::SUCCESS)
        }
        Action::Verify { expect, options } => {
            let operator = Operator::new(options, config).await?;
            verify(&operator, expect).await
        }
    }
}

/// The name of an account in the audit, such as `user:` with an id.
async fn audit_name(operator: &Operator, named: &str) -> Result<String, String> {
    if named == "operator" || named == "anybody" {
        return Ok(named.to_owned());
    }
    // An id is not looked up, because rows of deleted users remain under their ids.
    if named.parse::<uuid::Uuid>().is_ok() {
        return Ok(format!("user:{named}"));
    }
    let user = user::named(operator, named).await?;
    Ok(format!("user:{}", print::text(&user["id"])))
}

/// Requests the first `limit` rows, page by page.
async fn first_rows(operator: &Operator, path: &str, limit: usize) -> Result<Vec<Value>, String> {
    let (mut items, mut after) = (Vec::new(), String::new());
    while items.len() < limit {
        let max = (limit - items.len()).min(AT_ONCE);
        let page = format!("{path}limit={max}{after}");
        let page = operator.call(Method::GET, &page, None).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next"].as_i64() else { break };
        after = format!("&after={next}");
    }
    Ok(items)
}

fn row(entry: &Value) -> Vec<String> {
    let detail = print::text(&entry["detail"]);
    vec![
        print::text(&entry["seq"]),
        print::time(&json!(entry["at"].as_i64().unwrap_or_default().div_euclid(1000))),
        print::text(&entry["act"]),
        print::text(&entry["actor"]),
        print::text(&entry["subject"]),
        print::text(&entry["ip"]),
        if detail == "{}" { String::new() } else { detail },
    ]
}

async fn verify(operator: &Operator, expect: Option<(i64, String)>) -> Result<ExitCode, String> {
    let mut follower = Follower::default();
    let mut found = expect.is_none();
    loop {
        let after = follower.head().0;
        let path = format!("/admin/audit?oldest=true&limit={AT_ONCE}&after={after}");
        let page = operator.call(Method::GET, &path, None).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        for item in &items {
            let (link, digest) =
                chain::link_of(item).ok_or("the answer is not a page of the audit")?;
            if let Err(fault) = follower.follow(&link, digest) {
                return Ok(broken(operator, &fault));
            }
            found |= expect
                .as_ref()
                .is_some_and(|(seq, digest)| follower.head() == (*seq, digest.as_str()));
        }
        if page["next"].is_null() {
            break;
        }
    }
    let (seq, digest) = follower.head();
    let expected = expect.is_some();
    if let Some((expected, _)) = expect.filter(|_| !found) {
        let fault = if expected > seq { Break::Missing(seq + 1) } else { Break::Altered(expected) };
        return Ok(broken(operator, &fault));
    }
    if operator.prints_json() {
        print::line(json!({ "whole": true, "seq": seq, "digest": digest }));
    } else {
        let expected = if expected { " and contains the expected position" } else { "" };
        print::line(format!(
            "The audit has {seq} rows, none of which was altered{expected}. Its position is {seq}:{digest}"
        ));
        print::line(
            "Keep the position in another place. Later, pass it to `tessera audit verify --expect`.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn broken(operator: &Operator, fault: &Break) -> ExitCode {
    let (seq, sentence) = match fault {
        Break::Missing(seq) => (seq, format!("row {seq} is missing")),
        Break::Altered(seq) => (seq, format!("row {seq} or a row before it was altered")),
    };
    if operator.prints_json() {
        print::line(json!({ "whole": false, "seq": seq, "fault": sentence }));
    } else {
        print::line(format!("the chain is broken: {sentence}"));
    }
    ExitCode::FAILURE
}

/// Parses a day or a time into milliseconds since the epoch.
fn parse_instant(text: &str) -> Result<i64, &'static str> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()).ok();
    let instant = instant.or_else(day);
    instant
        .map(|instant| instant.timestamp_millis())
        .ok_or("this must be a day such as 2026-11-22, or a time such as 2026-11-22T09:30:00Z")
}

fn parse_head(text: &str) -> Result<(i64, String), &'static str> {
    let fault = "this must be a position that a verification printed, such as 1234:9f86d081…";
    let (seq, digest) = text.split_once(':').ok_or(fault)?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seq = seq.parse().ok().filter(|_| is_digest).ok_or(fault)?;
    Ok((seq, digest.to_owned()))
}
