//! Compares the files that are generated from the code with the committed ones. With `UPDATE=1`, the same tests write
//! the files.

use api::base::error::Code;

use super::{project, read, run, text};
use crate::support::{command, operations};

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
        "{path} differs from the generated file: run `UPDATE=1 cargo test --test it generated`"
    );
}

fn stdout(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run(command(folder.path()).args(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn openapi_yaml_is_up_to_date() {
    compare("openapi.yaml", &stdout(&["openapi"]));
}

/// Swagger UI shows the operations of a group in this order.
#[test]
fn every_operation_in_the_order_of_swagger_ui_exists() {
    let script = read("api/src/http/docs/start.js");
    let (_, rest) = script.split_once("const ORDER = [").unwrap();
    let (order, _) = rest.split_once(']').unwrap();
    let known: Vec<_> = operations()
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    for id in order.split('"').skip(1).step_by(2) {
        assert!(known.iter().any(|known| known == id), "there is no operation {id}");
    }
}

#[test]
fn the_example_environment_has_every_setting() {
    compare(".env.example", &api::base::config::example());
}

#[test]
fn the_guide_has_every_error_code() {
    let mut page =
        "# Error codes\n\nAfter reading this page you know what each error code means.\n\n\
                    The body of an error response is `{\"detail\": …}`. `detail` is a code, \
                    `{\"code\", \"reason\"}`, or, with 422, a list of errors. A code never changes \
                    its meaning. This page is generated from the code.\n\n\
                    | status | code | meaning |\n|---|---|---|\n"
            .to_owned();
    for &code in Code::ALL {
        let status = code.status().as_u16();
        page += &format!("| {status} | `{}` | {} |\n", code.name(), code.sentence());
    }
    page += "\nIf a token is refused, `WWW-Authenticate` has the reason, as `reason=\"…\"`:\n\n\
             | reason | meaning |\n|---|---|\n";
    for refusal in tessera_verify::Refusal::ALL {
        page += &format!("| `{}` | {refusal} |\n", refusal.reason());
    }
    for refusal in api::base::error::TokenRefusal::OF_API_TOKENS {
        page += &format!("| `{}` | {} |\n", refusal.reason, refusal.sentence);
    }
    compare("docs/guide/errors.md", &page);
}

#[test]
fn the_page_about_problems_has_a_row_for_every_error_code() {
    let page = read("docs/guide/troubleshooting.md");
    let (_, rows) = page.split_once("## By error code").unwrap();
    let cells = rows.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let told: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for &code in Code::ALL {
        let count = told.iter().filter(|told| **told == code.name()).count();
        assert!(count == 1, "{} is in {count} rows", code.name());
    }
    for told in &told {
        assert!(Code::ALL.iter().any(|code| code.name() == *told), "there is no code {told}");
    }
}

#[test]
fn the_guide_has_every_command() {
    let mut page = "# Commands\n\nThis page has the `--help` of every command. Exit status: 0 for \
                    success, 1 for a failure, 2 for a command line that Tessera does not understand. \
                    Every command also accepts the [settings](settings.md) as options; `tessera help \
                    settings` lists them. This page is generated from the code.\n"
        .to_owned();
    page += &format!("\n```text\n{}```\n", stdout(&["help", "tree"]));
    let pages = tempfile::tempdir().unwrap();
    let written = run(command(pages.path()).args(["man", "."]));
    assert!(written.status.success(), "{}", text(&written.stderr));
    let mut commands: Vec<_> = std::fs::read_dir(pages.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        // The name of a page joins the words of a command with hyphens. These words contain a hyphen themselves.
        .map(|page| page.trim_end_matches(".1").replace("set-password", "set_password"))
        .map(|page| page.replace("rotate-secret", "rotate_secret"))
        .map(|page| page.split('-').skip(1).map(|word| word.replace('_', "-")).collect())
        .collect::<Vec<Vec<String>>>();
    commands.sort();
    for command in commands {
        let words: Vec<_> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = stdout(&words);
        page +=
            &format!("\n## tessera {}\n\n```text\n{}\n```\n", command.join(" "), help.trim_end());
    }
    compare("docs/guide/commands.md", &page.replace("tessera \n", "tessera\n"));
}

/// Replaces ids, secrets and times in the output of commands by fixed ones. Different ids stay different, and the
/// distances between times stay the same.
#[derive(Default)]
struct Examples {
    ids: Vec<String>,
    began: Option<chrono::NaiveDateTime>,
}

const SECRET: &str = "tsr_7hQ2mXw4Jc8Zr1Vt6Ks9Lp3Nd5Gb0Fy7Hq2Wx4Ce8Ra1Ui6Oa";
const TIME: &str = "%Y-%m-%d %H:%M:%S";

impl Examples {
    fn of(&mut self, printed: &str) -> String {
        let lines = printed.lines().map(|line| self.line(line) + "\n");
        lines.collect()
    }

    fn line(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        // The duration of the command varies.
        for seconds in 1..10 {
            line = line.replace(&format!(" {seconds} s "), " 0 s ");
        }
        if let Some((begin, digest)) =
            line.rsplit_once(':').filter(|(_, digest)| digest.len() == 64)
        {
            line = format!("{begin}:{}", &"9f86d081884c7d65".repeat(4)[..digest.len()]);
        }
        let mut from = 0;
        while let Some(found) = line[from..].find("tsr_").map(|found| found + from) {
            let rest = line[found..].split([' ', '…']).next().unwrap_or_default();
            let length = rest.len().min(SECRET.len());
            if [8, 53].contains(&length) {
                line.replace_range(found..found + length, &SECRET[..length]);
            }
            from = found + 4;
        }
        let mut from = 0;
        while let Some(found) = line[from..].find(" UTC").map(|found| found + from) {
            let start = found.saturating_sub(19);
            let time = chrono::NaiveDateTime::parse_from_str(&line[start..found], TIME).unwrap();
            let began = *self.began.get_or_insert(time);
            // To the nearest minute, because the commands take some time.
            let minutes = ((time - began).num_seconds() + 30).div_euclid(60);
            let example =
                chrono::NaiveDateTime::parse_from_str("2026-11-22 09:30:00", TIME).unwrap();
            let example = example + chrono::TimeDelta::minutes(minutes);
            line.replace_range(start..found, &example.format(TIME).to_string());
            from = found + 4;
        }
        let mut from = 0;
        while let Some(part) = line.get(from..) {
            // An id can also be in the middle of a word.
            if let Some(id) = part.get(..36).filter(|id| id.parse::<uuid::Uuid>().is_ok()) {
                let example = self.id(id);
                line.replace_range(from..from + 36, &example);
                from += 36;
            } else {
                from += part.chars().next().map_or(1, char::len_utf8);
            }
        }
        line.trim_end().to_owned()
    }

    fn id(&mut self, id: &str) -> String {
        let place = self.ids.iter().position(|known| known == id).unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        let example = uuid::Uuid::from_u128(
            0xb2a1_c6de_3a55_4c39_9b83_3f2a_8b0f_8a41
                + (place as u128) * 0x1357_0000_0000_0000_0000_0000_0000,
        );
        example.to_string()
    }
}

/// The page has the real output of the commands. Only ids, times and secrets are replaced.
#[test]
fn the_guide_shows_the_output_of_commands() {
    let folder = tempfile::tempdir().unwrap();
    let mut page = "# At the terminal\n\
        \n\
        After reading this page you can manage users, tokens and sessions with the command `tessera`. Operators use it for what\n\
        superusers do over HTTP.\n\
        \n\
        A command works on a database or on a server:\n\
        \n\
        | works on | how |\n\
        |---|---|\n\
        | the database in the settings | This is the default. No server needs to run. |\n\
        | a running server | Set `--url` or `TESSERA_URL`, and set `TESSERA_API_TOKEN` to an API token with the scope `super`. |\n\
        \n\
        `user create`, `keys derive` and `keys reseal` work on the database only. In programs, use `--output json`. If servers\n\
        are running, a command that changes something also prints which of them have applied the change.\n\
        \n\
        The API token of a superuser allows every operation, so commands send it only over `https://`. For a server on the\n\
        same machine (`localhost`, `127.0.0.0/8`, `::1`) they also accept `http://`, and use no proxy. With `--insecure` they\n\
        send the token over `http://` to other machines too, and anyone on the network path can read it. They follow no\n\
        redirects.\n\
        \n\
        To keep a secret out of the shell history, write `-` in its place: the command then reads it from standard input.\n\
        \n\
        [Commands](commands.md) lists every command and option. The following examples are generated by running the commands.\n\
        "
        .to_owned();
    let imported = r#"{"email":"ada@user.com","hashed_password":"pbkdf2_sha256$1000$0123456789abcdef$BVALGMmC/K/8ELErc5VgJxyPFApArIZRCQsqjEgZWJ4="}"#;
    std::fs::write(folder.path().join("users.jsonl"), imported).unwrap();
    let mut examples = Examples::default();
    let mut shown = |line: &str, input: &str| {
        use std::io::Write;
        let words = shlex(line);
        let mut child = command(folder.path())
            .args(&words[1..])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{line}");
        page += &format!("\n```console\n$ {line}\n{}```\n", examples.of(&text(&output.stdout)));
    };
    shown("tessera user create foobar@user.com", "correct horse battery\n");
    shown("tessera user verify foobar@user.com", "");
    shown("tessera user list", "");
    shown("tessera token create --username foobar@user.com --name ci --expire 3600", "");
    shown("tessera token list", "");
    shown("tessera token check --token tsr_mistyped", "");
    shown("tessera token delete --username foobar@user.com", "");
    shown("tessera service create billing --scope tokens:introspect", "");
    shown("tessera token create --username billing", "");
    shown("tessera service list", "");
    shown("tessera session list --username foobar@user.com", "");
    shown("tessera session end --username foobar@user.com --why 'laptop stolen'", "");
    shown("tessera revocation list", "");
    shown("tessera import users.jsonl --dry-run", "");
    shown("tessera import users.jsonl", "");
    shown("tessera user delete foobar@user.com --yes", "");
    shown("tessera audit list --limit 5", "");
    shown("tessera audit verify", "");
    shown("tessera help tree session", "");
    page += "\n`tessera shell` takes the same commands at a prompt, with completion (TAB) and a history. The history leaves out lines\n\
        that contain a secret. `tessera completions bash` prints the completion for a shell\n\
        (`source <(tessera completions bash)`). `tessera man DIRECTORY` writes manual pages.\n\
        ";
    compare("docs/guide/terminal.md", &page);
}

/// Splits a line into words. Words can be in single quotes.
fn shlex(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (position, part) in line.split('\'').enumerate() {
        if position % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn the_guide_has_every_setting() {
    let mut page =
        "# Settings\n\nAfter reading this page you know every setting and its default.\n\n\
                    A flag takes precedence over the environment, the environment over `.env`, \
                    and `.env` over the default. `tessera config print --origin` shows each \
                    setting with its origin. `tessera config check` lists everything that is wrong with \
                    them. This page is generated from the code.\n\n\
                    * An empty variable counts as not set.\n\
                    * A time is a number of seconds, or a number with a unit: `45s`, `15m`, `2h`, `30d` or `1w`.\n\
                    * Tessera reads `.env` in the current folder as \
                    python-dotenv does. [Operation](operation.md#env) \
                    describes the format.\n\n\
                    | variable | flag | default | meaning |\n|---|---|---|---|\n"
            .to_owned();
    for argument in api::base::config::definitions().get_arguments() {
        let Some(name) = argument.get_env() else { continue };
        if argument.is_hide_set() {
            continue;
        }
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

/// Every operation and every answer has a description, and every body has an example.
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
