//! Files that are made from the code are committed, and are what the code makes. `UPDATE=1` with
//! the same tests writes them.

use api::error::Code;

use super::{project, run, text};
use crate::support::command;

#[expect(clippy::disallowed_methods, reason = "tests have settings too")]
fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn compare(path: &str, made: &str) {
    let file = project().join(path);
    if updates() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == made,
        "{path} is not what the code makes: run `UPDATE=1 cargo test --test it generated`"
    );
}

fn stdout(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run(command(folder.path()).args(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn openapi_yaml_is_what_the_code_answers() {
    compare("openapi.yaml", &stdout(&["openapi"]));
}

#[test]
fn env_example_has_every_setting() {
    compare(".env.example", &api::config::example());
}

#[test]
fn the_guide_has_every_error_code() {
    let mut page = "# Error codes\n\nEvery refusal is `{\"detail\": …}` with one of these: the \
                    code itself, `{\"code\", \"reason\"}`, or, with 422, a list of what is wrong. \
                    A code never changes its meaning. This page is made from the code.\n\n\
                    | status | code | what it means |\n|---|---|---|\n"
        .to_owned();
    for code in Code::ALL {
        let status = code.status().as_u16();
        page += &format!("| {status} | `{}` | {} |\n", code.name(), code.sentence());
    }
    page += "\nA refused token says why in `WWW-Authenticate`, as `reason=\"…\"`:\n\n\
             | reason | what it means |\n|---|---|\n";
    for refusal in tessera_verify::Refusal::ALL {
        page += &format!("| `{}` | {refusal} |\n", refusal.reason());
    }
    for refusal in api::error::TokenRefusal::OF_API_TOKENS {
        page += &format!("| `{}` | {} |\n", refusal.reason, refusal.sentence);
    }
    compare("docs/guide/errors.md", &page);
}

#[test]
fn the_guide_has_every_command() {
    let mut page = "# Commands\n\nWhat `tessera` can do, as its `--help` says it. Exit status: 0 \
                    for done, 1 for a failure, 2 for a command line that cannot be understood. \
                    Every command takes the [settings](settings.md). This page is made from the \
                    code.\n"
        .to_owned();
    let commands: [&[&str]; 16] = [
        &[],
        &["serve"],
        &["migrate"],
        &["migrate", "up"],
        &["migrate", "status"],
        &["user"],
        &["user", "create"],
        &["user", "promote"],
        &["config"],
        &["config", "print"],
        &["secret"],
        &["secret", "generate"],
        &["token"],
        &["token", "explain"],
        &["openapi"],
        &["health"],
    ];
    for command in commands {
        let help = stdout(&[command, &["--help"]].concat());
        let help = help.split("\nSettings:\n").next().unwrap().trim_end();
        page += &format!("\n## tessera {}\n\n```text\n{help}\n```\n", command.join(" "));
    }
    compare("docs/guide/commands.md", &page.replace("tessera \n", "tessera\n"));
}

#[test]
fn the_guide_has_every_setting() {
    let mut page =
        "# Settings\n\nA flag goes before the environment, the environment before `.env`, \
                    `.env` before the default. `tessera config print --origin` shows each setting \
                    with where it came from. This page is made from the code.\n\n\
                    | variable | flag | default | what it is |\n|---|---|---|---|\n"
            .to_owned();
    for argument in api::config::definitions().get_arguments() {
        let Some(name) = argument.get_env() else { continue };
        let default = argument.get_default_values().first();
        let default = default.map_or("none".to_owned(), |value| format!("`{}`", value.display()));
        let help = argument.get_help().unwrap().to_string();
        page += &format!(
            "| `{}` | `--{}` | {default} | {} |\n",
            name.display(),
            argument.get_long().unwrap(),
            help.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
    compare("docs/guide/settings.md", &page);
}

/// A reader of the document finds words for everything and an example of every body.
#[test]
fn every_operation_and_every_answer_is_described() {
    for (method, path, operation) in crate::support::operations() {
        let place = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let text = response["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{place} {status} has no description");
            if let Some(content) = response["content"].as_object() {
                for body in content.values() {
                    let named = body["schema"]["$ref"] != "#/components/schemas/Error";
                    assert!(named || body["examples"].is_object(), "{place} {status}");
                }
            }
        }
    }
    let document: serde_json::Value = serde_yaml::from_str(&super::read("openapi.yaml")).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(!schema["description"].is_null(), "{name} has no description");
        assert!(name == "Error" || !schema["example"].is_null(), "{name} has no example");
    }
}
