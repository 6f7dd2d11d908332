//! python-dotenv reads the files of the table in `once/settings.rs` as Tessera does.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::once::settings::ENV_FILES;
use crate::once::{project, tool};

#[test]
fn python_dotenv_reads_every_file_of_the_table_as_tessera_does() {
    let mut child = Command::new(tool("python"))
        .arg(project().join("tests/tools/dotenv_values.py"))
        .env("OUTSIDE", "from outside")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let contents: Vec<_> = ENV_FILES.iter().map(|(content, _)| content).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(serde_json::to_string(&contents).unwrap().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let values: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(values.len(), ENV_FILES.len());
    for ((content, expected), value) in ENV_FILES.iter().zip(values) {
        assert_eq!(value, *expected, "{content:?}");
    }
}
