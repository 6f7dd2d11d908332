//! `tessera help`: what commands there are, as pages and as a tree.

use std::fmt::Write;

use clap::{Arg, Args, Command};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A command, as `token create`; or `tree`, for the tree of all commands or of the one that
    /// follows, with required arguments starred
    command: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, mut root: Command) -> Result<(), String> {
    root.build();
    let mut words = arguments.command.as_slice();
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
        print::line(found.clone().render_long_help());
    }
    Ok(())
}

/// The command with everything below it. What is required is starred; of what has a plus, one is.
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

/// Not a setting, which every command has, nor one of clap's own.
fn is_own(argument: &Arg) -> bool {
    let id = argument.get_id().as_str();
    !argument.is_global_set() && !["help", "version"].contains(&id)
}

fn labelled(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!("{}  {}", command.get_name(), first_words(&about))
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
    format!("{name}{star}  {}", first_words(&help))
}

/// The first sentence.
fn first_words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.split(['.', ';', ':']).next().unwrap_or_default().to_owned()
}
