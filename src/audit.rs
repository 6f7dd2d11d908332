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

/// How many rows are asked for at once: an answer of some hundred kilobytes.
const AT_ONCE: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what happened, the newest first
    List {
        /// What was done
        #[arg(long, value_name = "ACT",
              value_parser = PossibleValuesParser::new(Act::ALL.iter().map(|act| act.name())))]
        act: Option<String>,
        /// To whom: a user's e-mail address or id
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// By whom: a user's e-mail address or id, or `operator`
        #[arg(long, value_name = "USER")]
        by: Option<String>,
        /// Since when: 2026-11-22, or 2026-11-22T09:30:00Z
        #[arg(long, value_name = "WHEN", value_parser = parse_instant)]
        since: Option<i64>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value = "100")]
        limit: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Follow the chain from its beginning, and name the first row that was altered; exit status 1 then
    Verify {
        /// What an earlier verification said it stood at; who cuts off the end, or makes a chain anew, cannot
        /// make that
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
            for (name, wanted) in [("subject", user), ("actor", by)] {
                if let Some(named) = wanted {
                    let named = written(&operator, &named).await?;
                    path += &format!("{name}={}&", encoded(&named));
                }
            }
            if let Some(act) = act {
                path += &format!("act={act}&");
            }
            if let Some(since) = since {
                path += &format!("since={since}&");
            }
            let items = some(&operator, &path, limit).await?;
            operator.print_items(&items, &COLUMNS, row);
            Ok(ExitCode::SUCCESS)
        }
        Action::Verify { expect, options } => {
            let operator = Operator::new(options, config).await?;
            verify(&operator, expect).await
        }
    }
}

/// Somebody, as the audit writes them.
async fn written(operator: &Operator, named: &str) -> Result<String, String> {
    if named == "operator" || named == "anybody" {
        return Ok(named.to_owned());
    }
    // Who was deleted is there by their id alone.
    if named.parse::<uuid::Uuid>().is_ok() {
        return Ok(format!("user:{named}"));
    }
    let user = user::named(operator, named).await?;
    Ok(format!("user:{}", print::text(&user["id"])))
}

/// The first `limit` rows, page by page.
async fn some(operator: &Operator, path: &str, limit: usize) -> Result<Vec<Value>, String> {
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
    let mut met = expect.is_none();
    loop {
        let after = follower.head().0;
        let path = format!("/admin/audit?oldest=true&limit={AT_ONCE}&after={after}");
        let page = operator.call(Method::GET, &path, None).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        for item in &items {
            let (link, digest) = chain::link_of(item).ok_or("the answer is not of an audit")?;
            if let Err(fault) = follower.follow(&link, digest) {
                return Ok(broken(operator, &fault));
            }
            met |= expect
                .as_ref()
                .is_some_and(|(seq, digest)| follower.head() == (*seq, digest.as_str()));
        }
        if page["next"].is_null() {
            break;
        }
    }
    let (seq, digest) = follower.head();
    let expected = expect.is_some();
    if let Some((expected, _)) = expect.filter(|_| !met) {
        let fault = if expected > seq { Break::Missing(seq + 1) } else { Break::Altered(expected) };
        return Ok(broken(operator, &fault));
    }
    if operator.prints_json() {
        print::line(json!({ "whole": true, "seq": seq, "digest": digest }));
    } else {
        let expected = if expected { ", and go through what was expected" } else { "" };
        print::line(format!(
            "{seq} rows follow from each other{expected}. It stands at {seq}:{digest}"
        ));
        print::line("Keep that elsewhere: `tessera audit verify --expect` holds the chain to it");
    }
    Ok(ExitCode::SUCCESS)
}

fn broken(operator: &Operator, fault: &Break) -> ExitCode {
    let (seq, said) = match fault {
        Break::Missing(seq) => (seq, format!("row {seq} is missing")),
        Break::Altered(seq) => (seq, format!("row {seq} was altered, or one before it")),
    };
    if operator.prints_json() {
        print::line(json!({ "whole": false, "seq": seq, "fault": said }));
    } else {
        print::line(format!("the chain is broken: {said}"));
    }
    ExitCode::FAILURE
}

/// Milliseconds since the epoch.
fn parse_instant(text: &str) -> Result<i64, &'static str> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()).ok();
    let instant = instant.or_else(day);
    instant
        .map(|instant| instant.timestamp_millis())
        .ok_or("this is no day, as 2026-11-22, and no instant, as 2026-11-22T09:30:00Z")
}

fn parse_head(text: &str) -> Result<(i64, String), &'static str> {
    let fault = "this is not what a verification says it stands at, as 1234:9f86d081…";
    let (seq, digest) = text.split_once(':').ok_or(fault)?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seq = seq.parse().ok().filter(|_| is_digest).ok_or(fault)?;
    Ok((seq, digest.to_owned()))
}
