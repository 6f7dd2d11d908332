//! The format of `.env`, read exactly as python-dotenv reads it. Services in Python that verify tokens can share the
//! file, so a secret must be the same text for both.

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The names and values, in their order. A name without `=` has no value.
    pub pairs: Vec<(String, Option<String>)>,
    /// The numbers of the lines that are neither a setting nor a comment.
    pub faulty_lines: Vec<usize>,
}

/// A line that is not of the form `NAME=value`.
struct NotAPair;

/// Reads a file.
pub(super) fn read(text: &str) -> Content {
    // Python reads a file with every kind of line break as one kind.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut content = Content::default();
    let mut reader = Reader { text, place: 0 };
    while !reader.rest().is_empty() {
        reader.take(is_space);
        let line = text[..reader.place].matches('\n').count() + 1;
        match reader.pair() {
            Ok(Some(pair)) => content.pairs.push(pair),
            Ok(None) => {}
            Err(NotAPair) => {
                reader.take(|char| char != '\n');
                content.faulty_lines.push(line);
            }
        }
    }
    content
}

/// Replaces `${NAME}` and `${NAME:-default}` in all values, also in quoted ones. `$NAME` stays as it is. The environment
/// takes precedence over names in the file.
pub(super) fn resolve(
    pairs: Vec<(String, Option<String>)>,
    environment: impl Fn(&str) -> Option<String>,
) -> Vec<(String, Option<String>)> {
    let mut resolved: Vec<(String, Option<String>)> = Vec::new();
    for (name, value) in pairs {
        let known = |name: &str| {
            let own = resolved.iter().rev().find(|(known, _)| known == name);
            environment(name).or_else(|| own.map(|(_, value)| value.clone().unwrap_or_default()))
        };
        let value = value.map(|value| interpolate(&value, known));
        resolved.push((name, value));
    }
    resolved
}

fn interpolate(value: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let (mut text, mut rest) = (String::new(), value);
    while let Some(start) = rest.find("${") {
        let inside = &rest[start + 2..];
        let name_end = inside.find(['}', ':']).unwrap_or(inside.len());
        let (name, after) = inside.split_at(name_end);
        let (default, end) = match after.strip_prefix(":-").map(|after| (after, after.find('}'))) {
            Some((default, Some(end))) => (&default[..end], Some(name_end + 2 + end)),
            _ => ("", after.starts_with('}').then_some(name_end)),
        };
        text += &rest[..start];
        match end {
            Some(end) => {
                text += &known(name).unwrap_or_else(|| default.to_owned());
                rest = &inside[end + 1..];
            }
            None => {
                text += "${";
                rest = inside;
            }
        }
    }
    text + rest
}

/// What Python calls white space. Unicode does not count four of its control characters.
fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\x1c'..='\x1f').contains(&char)
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    /// Takes the characters up to the first one that is not of a kind.
    fn take(&mut self, is_of_kind: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|char| !is_of_kind(char)).unwrap_or(rest.len());
        self.place += length;
        &rest[..length]
    }

    fn spaces(&mut self) -> &'a str {
        self.take(|char| is_space(char) && char != '\n')
    }

    fn pair(&mut self) -> Result<Option<(String, Option<String>)>, NotAPair> {
        if self.rest().is_empty() {
            return Ok(None);
        }
        let begin = self.place;
        if self.rest().starts_with("export") {
            self.place += "export".len();
            if self.spaces().is_empty() {
                self.place = begin;
            }
        }
        let name = self.name()?;
        self.spaces();
        let value = if self.rest().starts_with('=') {
            self.place += 1;
            let is_comment = !self.spaces().is_empty() && self.rest().starts_with('#');
            Some(if is_comment { String::new() } else { self.value()? })
        } else {
            None
        };
        self.end_of_line()?;
        Ok(name.map(|name| (name, value)))
    }

    /// The name, or none for a comment.
    fn name(&mut self) -> Result<Option<String>, NotAPair> {
        if self.rest().starts_with('#') {
            return Ok(None);
        }
        if let Some(quoted) = self.rest().strip_prefix('\'') {
            let end = quoted.find('\'').filter(|end| *end > 0).ok_or(NotAPair)?;
            self.place += end + 2;
            return Ok(Some(quoted[..end].to_owned()));
        }
        match self.take(|char| !is_space(char) && char != '=' && char != '#') {
            "" => Err(NotAPair),
            name => Ok(Some(name.to_owned())),
        }
    }

    fn value(&mut self) -> Result<String, NotAPair> {
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Ok(without_comment(self.take(|char| char != '\n'))),
        }
    }

    /// A value in quotes. A quote after a backslash does not end it.
    fn quoted(&mut self, quote: char) -> Result<String, NotAPair> {
        let inside = &self.rest()[1..];
        let mut is_escaped = false;
        let end = inside.find(|char| {
            let is_end = char == quote && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or(NotAPair)?;
        self.place += end + 2;
        Ok(unescape(&inside[..end], quote))
    }

    fn end_of_line(&mut self) -> Result<(), NotAPair> {
        self.spaces();
        if self.rest().starts_with('#') {
            self.take(|char| char != '\n');
        }
        match self.rest().chars().next() {
            None => Ok(()),
            Some('\n') => {
                self.place += 1;
                Ok(())
            }
            Some(_) => Err(NotAPair),
        }
    }
}

/// A comment begins with `#` after white space.
fn without_comment(line: &str) -> String {
    let comment = line.char_indices().find(|(place, char)| {
        *char == '#' && line[..*place].chars().next_back().is_some_and(is_space)
    });
    let value = comment.map_or(line, |(place, _)| &line[..place]);
    value.trim_end_matches(is_space).to_owned()
}

fn unescape(text: &str, quote: char) -> String {
    let (mut plain, mut rest) = (String::new(), text.chars().peekable());
    while let Some(char) = rest.next() {
        let meaning = rest.peek().filter(|_| char == '\\').and_then(|next| match (next, quote) {
            ('\\' | '\'', _) | ('"', '"') => Some(*next),
            ('a', '"') => Some('\x07'),
            ('b', '"') => Some('\x08'),
            ('f', '"') => Some('\x0c'),
            ('n', '"') => Some('\n'),
            ('r', '"') => Some('\r'),
            ('t', '"') => Some('\t'),
            ('v', '"') => Some('\x0b'),
            _ => None,
        });
        if meaning.is_some() {
            rest.next();
        }
        plain.push(meaning.unwrap_or(char));
    }
    plain
}
