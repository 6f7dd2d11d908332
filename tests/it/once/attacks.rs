//! The patches of `scripts/attacks`, each of which removes one defence: they apply, and name tests that exist.

use std::collections::BTreeSet;
use std::process::Command;

use super::{project, read, run, sources, text};

/// The folder of the patches.
const FOLDER: &str = "tests/attacks";

/// The names of the patches.
fn names() -> BTreeSet<String> {
    let files = std::fs::read_dir(project().join(FOLDER)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(".patch")?.to_owned())).collect()
}

/// The values of a line before the changes of a patch, such as `removes`.
fn values<'a>(patch: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = patch.split_once("\ndiff --git ").unwrap_or_else(|| panic!("{patch}"));
    let lines = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    lines.collect()
}

/// Returns true if a test has this path, such as `codes::a_code_works_once`.
fn is_test(path: &str, tests: &[(std::path::PathBuf, String)]) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else { return false };
    let file = format!("tests/it/{}.rs", module.replace("::", "/"));
    let found = tests.iter().find(|(path, _)| path.ends_with(&file));
    found.is_some_and(|(_, source)| {
        let mut lines = source.lines();
        let begins = format!("fn {name}()");
        lines.any(|line| line.trim_start_matches("async ").starts_with(&begins))
    })
}

#[test]
fn each_patch_of_an_attack_applies_to_the_sources_and_names_its_tests() {
    let tests = sources("tests/it");
    let names = names();
    assert!(names.len() >= 20, "{names:?}");
    for name in &names {
        let path = format!("{FOLDER}/{name}.patch");
        let patch = read(&path);
        let applied =
            run(Command::new("git").current_dir(project()).args(["apply", "--check", &path]));
        assert!(applied.status.success(), "{name}: {}", text(&applied.stderr));
        assert_eq!(values(&patch, "removes").len(), 1, "{name}");
        let noticed = values(&patch, "noticed by");
        assert!(!noticed.is_empty(), "{name}");
        for test in noticed {
            assert!(is_test(test, &tests), "{name}: there is no test {test}");
        }
    }
}

#[test]
fn the_table_of_attacks_names_each_patch_once() {
    let table = read(&format!("{FOLDER}/README.md"));
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(2));
    let named: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let names: Vec<_> = names().into_iter().collect();
    let mut sorted: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(sorted, names);
}

#[test]
fn a_test_is_found_by_its_path() {
    let tests = sources("tests/it");
    assert!(is_test("once::attacks::a_test_is_found_by_its_path", &tests));
    assert!(!is_test("once::attacks::a_test_is_found", &tests));
    assert!(!is_test("once::refusals::a_test_is_found_by_its_path", &tests));
}
