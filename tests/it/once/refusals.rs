//! Every refusal of the wings `provider` and `federation` has a name, and a test that names it.

use std::collections::BTreeMap;

use super::sources;

/// The texts in a file of code before its own tests, without those in comments.
fn texts(source: &str) -> Vec<&str> {
    let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// Returns true for a text like `id_token.nonce`. Names of templates and of hosts are none.
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|char: char| char.is_ascii_lowercase())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let Some((check, outcome)) = text.split_once('.') else { return false };
    is_part(check) && is_part(outcome) && !["html", "com"].contains(&outcome)
}

/// The names of all refusals, each with the file that has it.
fn names() -> BTreeMap<String, String> {
    let files = ["api/src/provider", "api/src/federation"].into_iter().flat_map(sources);
    let mut found = BTreeMap::new();
    for (path, source) in files {
        for name in texts(&source).into_iter().filter(|text| is_name(text)) {
            found.insert(name.to_owned(), path.display().to_string());
        }
    }
    found
}

/// Returns true if a text has a name as a whole word.
fn has(text: &str, name: &str) -> bool {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = text[at + name.len()..].chars().next();
        !before && !after.is_some_and(|char| char.is_ascii_alphanumeric() || char == '_')
    })
}

#[test]
fn every_refusal_of_the_provider_and_of_the_federation_is_named_by_a_test() {
    let names = names();
    assert!(names.len() > 120, "{names:?}");
    // The names in this file are examples.
    let tests = sources("tests/it").into_iter().filter(|(path, _)| !path.ends_with(file!()));
    let tests: Vec<_> = tests.map(|(_, source)| source).collect();
    let named = |name: &&String| tests.iter().any(|source| has(source, name));
    let missing: Vec<_> = names.iter().filter(|(name, _)| !named(name)).collect();
    assert!(missing.is_empty(), "no test names these refusals: {missing:#?}");
}

#[test]
fn a_name_is_found_as_a_whole_word() {
    for (text, name, expected) in [
        ("(\"state.spent\", 1)", "state.spent", true),
        ("contains(\"state.spent.\")", "state.spent", true),
        ("\"upstate.spent\"", "state.spent", false),
        ("\"state.spent_twice\"", "state.spent", false),
        ("\"state.expired\"", "state.spent", false),
    ] {
        assert_eq!(has(text, name), expected, "{text}");
    }
    assert!(is_name("state.spent") && !is_name("link.html") && !is_name("state"));
}
