//! The language of documents, page texts and doc comments: habits that make them hard to read are kept out.

use std::path::PathBuf;

use super::{project, run, text};

/// Words and phrases of mannered English, each with plain words for it.
const HABITS: [(&str, &str); 21] = [
    ("whoever", "anyone who, users who"),
    ("whatever it", "any, every"),
    ("nobody's", "of no user"),
    ("somebody else's", "of another user"),
    ("for whom", "for users who"),
    ("of whom", "of users who"),
    ("is believed of", "is honoured only from"),
    ("may no more", "can no longer, has no more permissions than"),
    ("may what", "can do what"),
    ("told to come", "answers 503 with `Retry-After`"),
    ("is no good", "is not valid"),
    ("is nothing to do", "does nothing"),
    ("there is none of", "that does not exist"),
    ("who is told", "users who are notified"),
    ("wants a fresh", "requires a fresh"),
    ("cannot be what it is", "is not valid"),
    ("what it has not", "does not have"),
    ("lest ", "so that … not"),
    ("thereof", "of it"),
    ("so many as", "as many as, at most"),
    ("at once of", "of"),
];

/// Words that doc comments do not begin with by habit: a comment names the thing, or says what it does.
const OPENINGS: [&str; 11] = [
    "What", "Where", "When", "Whether", "Why", "How", "Who", "Whom", "Whose", "Whoever", "Whatever",
];

/// Doc comments that begin so with a reason: they are the descriptions of settings.
const DESCRIPTIONS: [&str; 3] =
    ["When to apply migrations", "How far SQLite writes", "Who can create an account"];

/// The files of the repository with one of these endings.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let listed = run(std::process::Command::new("git").current_dir(project()).args(["ls-files"]));
    let is_read = |path: &&str| {
        endings.iter().any(|ending| path.ends_with(ending)) && !path.ends_with("once/words.rs")
    };
    let files: Vec<_> = text(&listed.stdout)
        .lines()
        .filter(is_read)
        .map(PathBuf::from)
        .filter(|path| project().join(path).exists())
        .map(|path| (path.clone(), std::fs::read_to_string(project().join(&path)).unwrap()))
        .collect();
    assert!(files.len() > 1, "no files with {endings:?}");
    files
}

/// The comments of a Rust file, one line each.
fn comments(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().enumerate().map(|(number, line)| (number + 1, line.trim_start()));
    lines.filter(|(_, line)| line.starts_with("//"))
}

#[test]
fn documents_texts_and_comments_have_no_mannered_phrases() {
    let mut found = Vec::new();
    for (path, source) in files(&[".md", ".ftl", ".rs"]) {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        let lines: Vec<_> = match is_rust {
            true => comments(&source).collect(),
            false => source.lines().enumerate().map(|(number, line)| (number + 1, line)).collect(),
        };
        for (number, line) in lines {
            let line = line.to_lowercase();
            for (habit, plain) in HABITS.iter().filter(|(habit, _)| line.contains(habit)) {
                found.push(format!("{}:{number}: {habit:?}: write {plain}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn doc_comments_begin_with_the_thing_or_with_what_it_does() {
    let mut found = Vec::new();
    for (path, source) in files(&[".rs"]) {
        let mut was_comment = false;
        for (number, line) in source.lines().enumerate() {
            let line = line.trim_start();
            let comment = ["//!", "///"].iter().find_map(|marker| line.strip_prefix(marker));
            let Some(comment) = comment.map(str::trim_start) else {
                was_comment = false;
                continue;
            };
            let first = comment.split([' ', ',', ':', '.']).next().unwrap_or_default();
            let is_description = DESCRIPTIONS.iter().any(|known| comment.starts_with(known));
            if !was_comment && OPENINGS.contains(&first) && !is_description {
                found.push(format!("{}:{}: {comment}", path.display(), number + 1));
            }
            was_comment = true;
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The longest sentence of the guide and of the pages at the top: 40 words are more than a reader can hold.
#[test]
fn no_sentence_of_the_documents_is_over_40_words() {
    let mut found = Vec::new();
    for (path, source) in files(&[".md"]) {
        let generated = ["commands.md", "errors.md", "settings.md"];
        if generated.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        for paragraph in paragraphs(&source) {
            for sentence in paragraph.split_inclusive(". ") {
                let words = sentence.split_whitespace().count();
                if words > 40 {
                    found.push(format!("{}: {words} words: {sentence}", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The paragraphs and list items of a document, without code blocks, tables and headings.
fn paragraphs(source: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut is_code = false;
    for line in source.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let is_other = is_code
            || line.is_empty()
            || ["```", "|", "#", "<!--"].iter().any(|begin| line.starts_with(begin));
        let is_item = line.starts_with("* ")
            || line.starts_with("- ")
            || line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        if is_other || is_item {
            paragraphs.push(String::new());
        }
        if !is_other && let Some(last) = paragraphs.last_mut() {
            last.push_str(line);
            last.push(' ');
        }
    }
    paragraphs
}
