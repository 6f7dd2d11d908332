//! `tessera help`: the help of a command, the tree of all commands, and the list of the settings.

use std::fmt::Write;

use clap::{Arg, Args, Command};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A command, such as `token create`; or `settings`, for the list of the settings; or `tree`, for the tree
    /// of all commands or of the command that follows (`*`: required, `+`: one of these is required)
    command: Vec<String>,
}

/// The groups of the settings on their page. Each begins at the setting with this variable, in the order in
/// which the settings are defined.
const GROUPS: [(&str, &str); 13] = [
    ("TESSERA_DEV", "Server"),
    ("DATABASE_URL", "Database"),
    ("APP_SECRET", "Secrets and signing"),
    ("ACCESS_TOKEN_EXPIRES", "Lifetimes and revocation"),
    ("BCRYPT_COST", "Passwords"),
    ("RATE_LIMIT", "Rate limits and proxies"),
    ("MAIL_URL", "Mail"),
    ("BRAND_NAME", "Pages"),
    ("CLIENTS_FILE", "Applications"),
    ("REGISTRATION", "Registration"),
    ("CORS_ORIGINS", "Cross-origin requests"),
    ("REPLICA_NAME", "Replicas and logs"),
    ("METRICS_LISTEN", "Monitoring"),
];

/// The maximum length of a line of the page of settings.
const WIDTH: usize = 96;

pub(crate) fn run(arguments: &Arguments, mut root: Command) -> Result<(), String> {
    root.build();
    let mut words = arguments.command.as_slice();
    if words == ["settings"] {
        print::line(settings().trim_end());
        return Ok(());
    }
    let as_tree = words.first().is_some_and(|word| word == "tree");
    if as_tree {
        words = &words[1..];
    }
    let mut found = &root;
    for word in words {
        found = found.find_subcommand(word).ok_or_else(|| {
            format!("there is no command {}: see `tessera help tree`", words.join(" "))
        })?;
    }
    if as_tree {
        print::line(tree(found).trim_end());
    } else {
        print::line(found.clone().render_help().to_string().trim_end());
    }
    Ok(())
}

/// The page with every setting: its variable, its option, its default and its description.
fn settings() -> String {
    let mut text = "Settings of Tessera\n\n\
        Set each as an option of any command, as an environment variable, or as a line\n\
        VARIABLE=value of the file .env in the current folder. An option overrides the environment,\n\
        the environment overrides .env, and .env overrides the default. An empty variable counts as\n\
        not set. A TIME is a number of seconds, or has a unit: 45s, 15m, 2h, 30d or 1w.\n\n\
        `tessera config print --origin` prints the current values and where each comes from, and\n\
        `tessera config check` lists everything that is wrong with them.\n"
        .to_owned();
    for argument in api::base::config::definitions().get_arguments() {
        let Some(variable) = argument.get_env().filter(|_| !argument.is_hide_set()) else {
            continue;
        };
        let variable = variable.to_string_lossy();
        if let Some((_, group)) = GROUPS.iter().find(|(first, _)| *first == variable) {
            let _ = writeln!(text, "\n{group}:");
        }
        let default = argument.get_default_values().first();
        let default = default.map_or("none".into(), |default| default.to_string_lossy());
        let _ = writeln!(text, "\n  {variable}  ({}, default: {default})", option_of(argument));
        for line in wrapped(&described(argument)) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// The option that gives a setting, such as `--port <PORT>`.
fn option_of(setting: &Arg) -> String {
    let option = setting.get_long().unwrap_or_default();
    let value = setting.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    let is_optional = setting.get_num_args().is_some_and(|count| count.min_values() == 0);
    if is_optional { format!("--{option}[=<{value}>]") } else { format!("--{option} <{value}>") }
}

/// The description of a setting, with the values that it accepts if these are words.
fn described(setting: &Arg) -> String {
    let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
    let values = setting.get_possible_values();
    let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
    if names.is_empty() || names.contains(&"true") {
        format!("{help}.")
    } else {
        format!("{help}. One of: {}.", names.join(", "))
    }
}

/// Breaks a text into lines, which can be indented by six spaces.
pub(crate) fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| line.len() + word.len() + 7 > WIDTH);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The tree of a command: its subcommands and arguments. A star marks a required argument, and a plus marks
/// arguments of which one is required.
pub(crate) fn tree(command: &Command) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", labelled(command));
    branches(command, "", &mut text);
    text
}

fn branches(command: &Command, indent: &str, text: &mut String) {
    let arguments = command.get_arguments().filter(|argument| is_own(argument));
    let subcommands = command.get_subcommands().filter(|below| !below.is_hide_set());
    let leaves: Vec<_> = arguments
        .map(|argument| (argument_label(command, argument), None))
        .chain(subcommands.map(|below| (labelled(below), Some(below))))
        .collect();
    let last = leaves.len().saturating_sub(1);
    for (position, (label, below)) in leaves.into_iter().enumerate() {
        let (branch, deeper) =
            if position == last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let _ = writeln!(text, "{indent}{branch}{label}");
        if let Some(below) = below {
            branches(below, &format!("{indent}{deeper}"), text);
        }
    }
}

/// Returns true for an argument of the command itself: neither a setting, which every command has, nor one of
/// clap's own.
fn is_own(argument: &Arg) -> bool {
    let id = argument.get_id().as_str();
    !argument.is_global_set() && !["help", "version"].contains(&id)
}

fn labelled(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!("{}  {}", command.get_name(), first_clause(&about))
}

fn argument_label(command: &Command, argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let in_group = command
        .get_groups()
        .any(|group| group.is_required_set() && group.get_args().any(|id| id == argument.get_id()));
    let star = match (argument.is_required_set(), in_group) {
        (true, _) => "*",
        (false, true) => "+",
        _ => "",
    };
    let name = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.get_id().to_string(),
    };
    format!("{name}{star}  {}", first_clause(&help))
}

/// The text up to the first full stop, semicolon or colon.
fn first_clause(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.split(['.', ';', ':']).next().unwrap_or_default().to_owned()
}
