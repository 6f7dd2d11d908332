//! Reads Rust sources for tests: the code without comments and texts, the paths in it, and the length of functions.

use std::collections::HashMap;
use std::path::Path;

/// Returns the code of a file, with comments, texts and characters replaced by spaces. Line numbers stay the same.
pub(crate) fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_blank(&chars, at);
        let blank = |char: &char| if *char == '\n' { '\n' } else { ' ' };
        if end > at {
            code.extend(chars[at..end].iter().map(blank));
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Returns the end of the comment, text or character that begins here, or this position if none does.
fn end_of_blank(chars: &[char], at: usize) -> usize {
    let get = |place: usize| chars.get(place).copied().unwrap_or('\0');
    let find = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        let found = (from..chars.len()).find(|place| chars[*place..].starts_with(&end));
        found.map_or(chars.len(), |place| place + end.len())
    };
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    match (get(at), get(at + 1)) {
        ('/', '/') => find(at, "\n") - 1,
        ('/', '*') => find(at, "*/"),
        ('r', '"' | '#') if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => {
            let marks = chars[at + 1..].iter().take_while(|char| **char == '#').count();
            if get(at + 1 + marks) != '"' {
                return at;
            }
            find(at + 2 + marks, &format!("\"{}", "#".repeat(marks)))
        }
        ('"', _) => {
            let mut end = at + 1;
            while end < chars.len() && chars[end] != '"' {
                end += if chars[end] == '\\' { 2 } else { 1 };
            }
            end + 1
        }
        ('\'', '\\') => find(at + 3, "'"),
        // Otherwise it is a lifetime.
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

/// Returns the parts of a module's path in the crate: `platform::audit::chain` for `platform/audit/chain.rs`.
pub(crate) fn module_of(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let names = names.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != "mod" && name != "lib").collect()
}

/// Splits code into words, `::`, and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |char: char| char.is_alphanumeric() || char == '_';
        let length = match first {
            first if word(first) => rest.find(|char| !word(char)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            first => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Returns every path in the code to a module of the crate: in `use`, in braces, in the middle of a function, and after
/// an imported name.
pub(crate) fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut walk = Walk { tokens: &tokens, found: Vec::new(), names: HashMap::new() };
    walk.all(module);
    // The second pass also knows the names that are imported further down.
    walk.found.clear();
    walk.all(module);
    walk.found
}

struct Walk<'a> {
    tokens: &'a [&'a str],
    found: Vec<Vec<String>>,
    /// The paths of the names that this file imports.
    names: HashMap<String, Vec<String>>,
}

impl Walk<'_> {
    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).copied().unwrap_or_default()
    }

    fn all(&mut self, module: &[String]) {
        let mut at = 0;
        while at < self.tokens.len() {
            let is_first = at == 0 || !["::", "."].contains(&self.token(at - 1));
            let begin = match self.token(at) {
                "crate" => Some(Vec::new()),
                "self" => Some(module.to_vec()),
                "super" => Some(module[..module.len().saturating_sub(1)].to_vec()),
                name => self.names.get(name).cloned(),
            };
            match begin.filter(|_| is_first && self.token(at + 1) == "::") {
                Some(begin) => {
                    let is_use = at > 0 && self.token(at - 1) == "use";
                    at = self.tree(at + 2, begin, is_use);
                }
                None => at += 1,
            }
        }
    }

    /// Reads the path after `::`, and returns the position of its end.
    fn tree(&mut self, mut at: usize, mut path: Vec<String>, is_use: bool) -> usize {
        loop {
            match self.token(at) {
                "{" => {
                    at += 1;
                    while !["}", ""].contains(&self.token(at)) {
                        at = self.tree(at, path.clone(), is_use);
                        at += usize::from(self.token(at) == ",");
                    }
                    return at + 1;
                }
                "super" => drop(path.pop()),
                "self" => {}
                name if name.starts_with(|char: char| char.is_alphabetic() || char == '_') => {
                    path.push(name.to_owned());
                }
                // `*`, or the arguments of a generic.
                _ => {
                    self.found.push(path);
                    return at + 1;
                }
            }
            if self.token(at + 1) != "::" {
                break;
            }
            at += 2;
        }
        let name = if self.token(at + 1) == "as" {
            at += 2;
            Some(self.token(at).to_owned())
        } else {
            path.last().cloned()
        };
        if let Some(name) = name.filter(|_| is_use) {
            self.names.insert(name, path.clone());
        }
        self.found.push(path);
        at + 1
    }
}

/// Returns the functions of a file, with the number of lines from the name to the last brace.
pub(crate) fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let mut functions = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(place) = line.find("fn ").filter(|place| {
            !line[..*place].ends_with(|char: char| char.is_alphanumeric() || char == '_')
        }) else {
            continue;
        };
        let rest = &line[place + 3..];
        let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        if let Some(length) = length_of(&lines[number..], place).filter(|_| !name.is_empty()) {
            functions.push((name.to_owned(), length));
        }
    }
    functions
}

/// Returns the number of lines of the function that begins in the first line, or `None` if it has no body.
fn length_of(lines: &[&str], begin: usize) -> Option<usize> {
    let (mut open, mut brackets) = (0_usize, 0_i32);
    for (number, line) in lines.iter().enumerate() {
        let from = if number == 0 { begin } else { 0 };
        for char in line[from..].chars() {
            match char {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if open == 0 && brackets == 0 => return None,
                '{' => open += 1,
                '}' => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return Some(number + 1);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let module = module_of(Path::new("access/session/pages.rs"));
        let mut found: Vec<_> =
            paths(&code(source), &module).iter().map(|path| path.join("::")).collect();
        found.sort();
        found
    }

    #[test]
    fn paths_are_found_everywhere_in_the_code() {
        assert_eq!(
            found("use crate::a::{b, c::{self, D}, e::*};"),
            ["a::b", "a::c", "a::c::D", "a::e"]
        );
        assert_eq!(found("fn f() { let x = crate::a::b::<u8>(1); }"), ["a::b"]);
        assert_eq!(
            found("use super::{store, super::grant as g};\nfn f() { g::spend() }"),
            ["access::grant", "access::grant::spend", "access::session::store",]
        );
        assert_eq!(found("fn f() { late::act() }\nuse crate::late;"), ["late", "late::act"]);
        assert_eq!(found("pub(crate) fn f(self) { self.a; x.crate_name }"), [""; 0]);
    }

    #[test]
    fn comments_and_texts_are_not_code() {
        let source = "// crate::a\n/* crate::b */ \"crate::c \\\" crate::d\" r#\"crate::\" e\"# '\"' 'a: crate::f";
        assert_eq!(found(source), ["f"]);
        assert_eq!(code(source).lines().count(), source.lines().count());
    }

    #[test]
    fn functions_are_measured_from_their_name_to_their_last_brace() {
        let source = "trait T { fn none(&self); }\nfn one() {}\nfn four(\n    x: [u8; 2],\n) {\n}";
        assert_eq!(functions(source), [("one".to_owned(), 1), ("four".to_owned(), 4)]);
    }
}
