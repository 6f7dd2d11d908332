//! `tessera upstream`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the providers with which people sign in
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Print what to register at a provider, read its discovery document and its keys, and say what is wrong
    Check {
        /// The name of the provider
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Say why a sign-in with a provider was refused, and what to do
    Explain {
        /// The reference that the page showed. Without it, the latest refusals
        reference: Option<String>,
        #[command(flatten)]
        options: Options,
    },
}

const COLUMNS: [&str; 6] = ["name", "preset", "issuer", "domains", "exclusive", "register"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::List { options } => {
            let operator = Operator::new(options, config).await?;
            let items = operator.list("/admin/upstreams").await?;
            operator.print_items(&items, &COLUMNS, |upstream| {
                COLUMNS.map(|column| print::text(&upstream[column])).to_vec()
            });
            Ok(ExitCode::SUCCESS)
        }
        Action::Check { name, options } => {
            check(&Operator::new(options, config).await?, &name).await
        }
        Action::Explain { reference, options } => {
            let operator = Operator::new(options, config).await?;
            explain(&operator, reference.as_deref()).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn check(operator: &Operator, name: &str) -> Result<ExitCode, String> {
    let path = format!("/admin/upstreams/{}/check", encoded(name));
    let none =
        || format!("there is no provider {name}: see `tessera upstream list` and UPSTREAMS_FILE");
    let answer = operator.call(Method::POST, &path, None).await;
    let answer = answer.map_err(|refused| refused.or_missing(none))?;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    let is_good = |item: &Value| item["works"] == json!(true);
    if operator.prints_json() {
        print::line(json!(items));
    }
    for item in items.iter().filter(|_| !operator.prints_json()) {
        let mark = if is_good(item) { "" } else { "does not work: " };
        print::line(format!(
            "{}: {mark}{}",
            print::text(&item["part"]),
            print::text(&item["text"])
        ));
        details(item);
    }
    Ok(if items.iter().all(is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn explain(operator: &Operator, reference: Option<&str>) -> Result<(), String> {
    let path = match reference {
        Some(reference) => format!("/admin/upstream-refusals?reference={}", encoded(reference)),
        None => "/admin/upstream-refusals".to_owned(),
    };
    let answer = operator.call(Method::GET, &path, None).await?;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    if operator.prints_json() {
        print::line(json!(items));
        return Ok(());
    }
    if items.is_empty() {
        print::line(match reference {
            Some(reference) => format!(
                "No refusal has the reference {reference}. A server stores refusals within seconds, for 30 days. The \
                 log has them too.",
                reference = print::plain(reference)
            ),
            None => "No sign-in with a provider was refused in the last 30 days.".to_owned(),
        });
    }
    for refusal in &items {
        let text = |member: &str| print::text(&refusal[member]);
        let at = print::time(&refusal["at"]);
        print::line(format!(
            "{} ({}, {at}, reference {})",
            text("name"),
            text("upstream"),
            text("reference")
        ));
        print::line(format!("  {}", text("sentence")));
        details(refusal);
    }
    Ok(())
}

fn details(item: &Value) {
    for member in ["expected", "came", "remedy"] {
        if item[member].is_string() {
            print::line(format!("  {member}: {}", print::text(&item[member])));
        }
    }
}
