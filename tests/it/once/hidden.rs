//! Secrets that a log line, a panic or the output of a test could show. No type that contains a secret derives
//! `Debug`, unless the type of the field hides its value.

use std::path::PathBuf;

use super::tidy::sources;

/// Words that mark a secret, in the name of a field, a variant or a type.
const SECRETS: [&str; 20] = [
    "authorization",
    "code",
    "cookie",
    "credential",
    "credentials",
    "csrf",
    "current",
    "digest",
    "hash",
    "hashed",
    "key",
    "keys",
    "link",
    "password",
    "payload",
    "sealed",
    "secret",
    "token",
    "tokens",
    "url",
];

/// Types that show their content. Other types hide it, are numbers, or are types of ours, which are checked where they
/// are defined.
const SHOW: [&str; 9] =
    ["Bytes", "Cow", "HeaderValue", "OsString", "String", "Uri", "Value", "str", "u8"];

/// Fields that have the name of a secret but are public: file, field, and reason.
const PUBLIC: [(&str, &str, &str); 24] = [
    ("config/front_end.rs", "CookieName", "the name of a cookie, which every answer shows"),
    ("entity/src/seen.rs", "digest", "a digest of a value of 256 random bits, or of a token's id"),
    (
        "entity/src/imported_user.rs",
        "digest",
        "a digest of an address and an id, which the same database shows",
    ),
    ("entity/src/invitation.rs", "digest", "a digest of 256 random bits"),
    ("entity/src/authorization_code.rs", "digest", "a digest of 256 random bits"),
    ("entity/src/authorization_code.rs", "code_challenge", "the URL of every request contains it"),
    (
        "entity/src/refusal.rs",
        "digest",
        "a digest of a client's id, a check and a value that operators see",
    ),
    ("src/client_definition.rs", "id_token_alg", "the name of an algorithm"),
    ("src/client_definition.rs", "access_token_alg", "the name of an algorithm"),
    ("src/client_definition.rs", "id_token_claims", "a choice of claims"),
    ("src/client_definition.rs", "access_token_claim", "names of claims with their sources"),
    ("config/provider.rs", "access_token_claims", "names of claims with their sources"),
    ("client/definition.rs", "access_token_claims", "names of claims with their sources"),
    ("client/settings.rs", "access_token_claims", "names of claims with their sources"),
    ("authorization/claims_request.rs", "id_token", "names of claims that a request asks for"),
    ("audit/chain.rs", "digest", "`audit verify` prints it"),
    ("entity/src/audit.rs", "digest", "`audit verify` prints it"),
    ("config/page.rs", "link", "every page shows the contact"),
    ("rate_limit/mod.rs", "keys", "a keyed digest of the account and the IP address of an attempt"),
    (
        "entity/src/attempt.rs",
        "key",
        "a keyed digest of the account and the IP address of an attempt",
    ),
    ("entity/src/browser_session.rs", "digest", "a digest of 256 random bits"),
    ("entity/src/confirmation.rs", "digest", "a digest of 256 random bits"),
    ("entity/src/former_email.rs", "digest", "a digest of 256 random bits"),
    ("entity/src/pending_email.rs", "digest", "a digest of 256 random bits"),
];

/// A type that derives `Debug`, with the names and types of its fields.
struct Shown {
    name: String,
    fields: Vec<(String, String)>,
}

/// Removes comments, and attributes other than `derive`, from a source.
fn plain(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text: String =
        lines.map(|line| line.split(" // ").next().unwrap().to_owned() + "\n").collect();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("#[") {
        let (before, attribute) = rest.split_at(start);
        plain.push_str(before);
        let end = end_of(attribute, 1);
        if attribute.starts_with("#[derive(") {
            plain.push_str(&attribute[..end]);
        }
        rest = &attribute[end..];
    }
    plain + rest
}

/// Returns the position after the bracket that closes the one at `start`.
fn end_of(text: &str, start: usize) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (place, letter) in text.char_indices().skip_while(|(place, _)| *place < start) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && !quoted && !escaped && letter != '"' {
            return place + letter.len_utf8();
        }
    }
    text.len()
}

/// Splits a text at the commas outside of brackets.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    let mut last = ' ';
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if last != '-' => depth -= 1,
            _ => {}
        }
        last = letter;
        if letter == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    let parts = parts.into_iter().map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

fn without_visibility(text: &str) -> &str {
    let text = text.trim_start();
    match text.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest[end_of(rest, 0)..].trim_start(),
        Some(rest) if rest.starts_with(' ') => rest.trim_start(),
        _ => text,
    }
}

fn named(body: &str) -> Vec<(String, String)> {
    let fields = parts(body);
    let fields = fields.iter().filter_map(|part| without_visibility(part).split_once(':'));
    fields.map(|(name, kind)| (name.trim().to_owned(), kind.trim().to_owned())).collect()
}

fn unnamed(body: &str, name: &str) -> Vec<(String, String)> {
    let kinds = parts(body);
    kinds.iter().map(|kind| (name.to_owned(), without_visibility(kind).to_owned())).collect()
}

/// Returns every type of a source that derives `Debug`.
fn shown(source: &str) -> Vec<Shown> {
    let plain = plain(source);
    let mut found = Vec::new();
    for (start, _) in plain.match_indices("#[derive(") {
        let derived = &plain[start..];
        let end = end_of(derived, 1);
        let words = derived[..end].split(|letter: char| !letter.is_alphanumeric());
        if !words.into_iter().any(|word| word == "Debug") {
            continue;
        }
        let mut item = without_visibility(&derived[end..]);
        while item.starts_with("#[") {
            item = without_visibility(&item[end_of(item, 1)..]);
        }
        let Some((kind, rest)) = item.split_once(' ') else { continue };
        assert!(["struct", "enum"].contains(&kind), "an unknown kind of type: {item:.80}");
        let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        let Some(open) = rest.find(['{', '(', ';']) else { continue };
        let body = &rest[open..];
        let inside = body[1..].get(..end_of(body, 0).saturating_sub(2)).unwrap_or_default();
        let fields = match (kind, &body[..1]) {
            (_, ";") => Vec::new(),
            ("struct", "{") => named(inside),
            ("struct", _) => unnamed(inside, &name),
            _ => parts(inside).iter().flat_map(|variant| of_variant(variant, &name)).collect(),
        };
        found.push(Shown { name, fields });
    }
    found
}

fn of_variant(variant: &str, owner: &str) -> Vec<(String, String)> {
    let Some(open) = variant.find(['{', '(']) else { return Vec::new() };
    let (name, body) = variant.split_at(open);
    let inside = &body[1..end_of(body, 0) - 1];
    if body.starts_with('{') { named(inside) } else { unnamed(inside, &format!("{owner}{name}")) }
}

/// Splits a name into words, in the style `as_here` or `AsHere`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words
}

fn is_secret(name: &str, kind: &str) -> bool {
    let mut shows = kind.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words(name).iter().any(|word| SECRETS.contains(&word.as_str()))
        && kind != "u8"
        && shows.any(|word| SHOW.contains(&word))
}

#[test]
fn no_type_that_holds_a_secret_derives_debug() {
    let mut faults = Vec::new();
    let mut known = Vec::new();
    let mut types = 0;
    let folders = ["src", "api", "entity", "verify"];
    for (path, source) in folders.into_iter().flat_map(sources) {
        for Shown { name, fields } in shown(&source) {
            types += 1;
            for (field, kind) in fields.into_iter().filter(|(field, kind)| is_secret(field, kind)) {
                let is_it = |(file, known, _): &&(&str, &str, &str)| {
                    path.ends_with(file) && field == *known
                };
                match PUBLIC.iter().find(is_it) {
                    Some(public) => known.push(*public),
                    None => {
                        faults.push(format!("{}: {name} shows {field}: {kind}", path.display()))
                    }
                }
            }
        }
    }
    assert!(types > 100, "{types} types were found: can the sources be read?");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for public in PUBLIC {
        assert!(known.contains(&public), "no type shows {public:?}: remove it from PUBLIC");
    }
}

#[test]
fn the_check_finds_secrets_in_every_notation() {
    let found = |source: &str| -> Vec<(String, bool)> {
        let fields = shown(source).into_iter().flat_map(|shown| shown.fields);
        fields.map(|(name, kind)| (name.clone(), is_secret(&name, &kind))).collect()
    };
    let fields = |fields: &[(&str, bool)]| -> Vec<(String, bool)> {
        fields.iter().map(|(name, secret)| ((*name).to_owned(), *secret)).collect()
    };
    for (source, expected) in [
        (
            "#[derive(Clone, Debug)]\npub struct A { pub password: String }",
            &[("password", true)][..],
        ),
        ("#[derive(Clone)]\npub struct A { pub password: String }", &[]),
        (
            "#[derive(std::fmt::Debug)] struct A { a: Option<String>, api_token: Option<String> }",
            &[("a", false), ("api_token", true)],
        ),
        (
            "#[derive(Debug)]\n#[x(y = \"}]\")]\npub(crate) struct ApiKey<T>(pub Vec<u8>, T);",
            &[("ApiKey", true), ("ApiKey", false)],
        ),
        (
            "#[derive(Debug)]\nenum Proof {\n/// It, { here.\nToken(String),\n#[x = \"(\"]\nCode { email: String, code: [u8; 6] },\nNone }",
            &[("ProofToken", true), ("email", false), ("code", true)],
        ),
        (
            "#[derive(Debug)] struct A { key: Key, secret: Secret, token_expires: u64, tokens: &'static str }",
            &[("key", false), ("secret", false), ("token_expires", false), ("tokens", true)],
        ),
        ("#[derive(Debug)] struct Tokens;", &[]),
    ] {
        assert_eq!(found(source), fields(expected), "{source}");
    }
}

/// SeaORM derives `Debug` for active models, whatever the row type does.
#[test]
fn rows_and_active_models_hide_their_secrets() {
    use sea_orm::ActiveValue::Set;
    let secret: entity::Hidden = "hush".to_owned().into();
    let key =
        entity::signing_key::ActiveModel { sealed: Set(secret.clone()), ..Default::default() };
    let job = entity::job::ActiveModel { sealed: Set(secret.clone()), ..Default::default() };
    let shown = format!("{secret:?} {key:?} {job:?}");
    assert!(shown.contains("sealed") && !shown.contains("hush"), "{shown}");
    assert_eq!(secret.expose(), "hush");
}

/// `?` shows a whole value, including fields that are added later.
#[test]
fn no_log_line_shows_a_whole_value() {
    let files = ["src", "api", "verify"].into_iter().flat_map(sources);
    for (path, source) in files {
        let source: Vec<_> = source.split("tracing::").skip(1).map(str::to_owned).collect();
        for call in source {
            let Some(open) = call.find('(').filter(|open| call[..*open].ends_with('!')) else {
                continue;
            };
            let inside = &call[open..open + end_of(&call[open..], 0)];
            let shows = ["= ?", "(?", ", ?", ":?}"].iter().find(|sign| inside.contains(**sign));
            assert!(shows.is_none(), "{} logs {inside}", PathBuf::from(&path).display());
        }
    }
}
