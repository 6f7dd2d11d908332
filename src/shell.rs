//! `tessera shell`: a prompt for the commands, with completion and a history.

use std::ffi::OsString;
use std::process::ExitCode;

use api::base::config::EnvFile;
use clap::Command;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use crate::{cli, print};

const PROMPT: &str = "tessera> ";

/// Texts that keep a line out of the history: beginnings of tokens, and words that a secret can follow.
const SECRETS: [&str; 8] =
    ["tsr_", "eyJ", "-token", "-secret", "-password", "-database-url", "explain", "postgres"];

/// Reads and executes commands until the end of the input or until `exit`. The options among `words`, the command line of
/// `tessera shell` itself, apply to every command.
///
/// # Errors
///
/// If the prompt cannot be shown.
pub(crate) fn run(words: &[OsString], file: &EnvFile) -> Result<ExitCode, String> {
    let settings: Vec<_> = words.iter().filter(|word| *word != "shell").cloned().collect();
    let fault = |error: ReadlineError| format!("the prompt cannot be shown: {error}");
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .max_history_size(1000)
        .map_err(fault)?
        .build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config).map_err(fault)?;
    editor.set_helper(Some(Words { root: cli::definition() }));
    let history = api::base::config::state_folder().map(|folder| folder.join("history"));
    if let Some(history) = &history {
        // The first time, there is no file.
        let _ = editor.load_history(history);
    }
    let interactive = std::io::IsTerminal::is_terminal(&std::io::stdin());
    if interactive {
        print::line(
            "Enter commands without `tessera`. `help tree` lists them, and `exit` leaves the prompt.",
        );
    }
    let mut outcome = ExitCode::SUCCESS;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(fault(error)),
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if ["exit", "quit"].contains(&line) {
            break;
        }
        let status = execute(line, &settings, file);
        if !SECRETS.iter().any(|word| line.contains(word)) && status != Some(cli::not_understood())
        {
            let _ = editor.add_history_entry(line);
        }
        if status != Some(ExitCode::SUCCESS) && !interactive {
            outcome = ExitCode::FAILURE;
        }
    }
    if let Some(history) = &history {
        let saved = history.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
            && editor.save_history(history).is_ok();
        if !saved {
            eprintln!("note: the history could not be saved in {}", history.display());
        }
    }
    Ok(outcome)
}

/// Executes a line and returns its exit status. Returns `None` if the command failed or is not for the prompt.
fn execute(line: &str, settings: &[OsString], file: &EnvFile) -> Option<ExitCode> {
    let Some(words) = shlex::split(line) else {
        eprintln!("error: a quote is not closed");
        return Some(cli::not_understood());
    };
    if words.first().is_some_and(|word| ["shell", "serve"].contains(&word.as_str())) {
        eprintln!("error: `{}` does not work at the prompt: leave with `exit` first", words[0]);
        return None;
    }
    let name = std::iter::once(OsString::from("tessera"));
    let words = name.chain(settings.iter().cloned()).chain(words.into_iter().map(OsString::from));
    let status = crate::execute(words, file);
    status.inspect_err(|fault| eprintln!("error: {fault}")).ok()
}

/// Completes the words of the command line.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words {
    root: Command,
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..position];
        let start = line.rfind(' ').map_or(0, |space| space + 1);
        let begun = &line[start..];
        let mut candidates = candidates(&self.root, &line[..start]);
        candidates.retain(|candidate| candidate.starts_with(begun));
        let pair = |word: String| Pair { display: word.clone(), replacement: format!("{word} ") };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

/// Returns the words that can follow the words before.
fn candidates(root: &Command, before: &str) -> Vec<String> {
    let mut command = root;
    let mut last = "";
    for word in before.split_whitespace() {
        command = command.find_subcommand(word).unwrap_or(command);
        last = word;
    }
    let option = last.strip_prefix("--").and_then(|name| {
        command.get_arguments().find(|argument| argument.get_long() == Some(name))
    });
    if let Some(option) = option.filter(|option| option.get_action().takes_values()) {
        let values = option.get_possible_values();
        return values.iter().map(|value| value.get_name().to_owned()).collect();
    }
    let below = command.get_subcommands().map(|below| below.get_name().to_owned());
    let options = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set())
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
    below.chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::candidates;
    use crate::cli;

    #[test]
    fn completion_offers_the_words_that_can_follow() {
        let root = cli::definition();
        assert!(candidates(&root, "").contains(&"token".to_owned()));
        assert!(candidates(&root, "token ").contains(&"create".to_owned()));
        assert!(candidates(&root, "token create ").contains(&"--username".to_owned()));
        assert_eq!(candidates(&root, "token list --output "), ["table", "json"]);
        assert!(candidates(&root, "token create --username ").is_empty());
    }
}
