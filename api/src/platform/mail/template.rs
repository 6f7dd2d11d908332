//! The templates of mails: a folder for each mail, with subject, text and HTML.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use minijinja::{Environment, UndefinedBehavior};

use super::{Facts, Letter, Template};
use crate::base::config::ConfigError;

/// The parts of a mail.
const PARTS: [&str; 3] = ["subject.txt", "text.txt", "body.html"];

macro_rules! embedded {
    ($folder:literal, $($name:literal),*) => {
        [$(
            ($name, "subject.txt", include_str!(concat!("template/", $folder, $name, "/subject.txt"))),
            ($name, "text.txt", include_str!(concat!("template/", $folder, $name, "/text.txt"))),
            ($name, "body.html", include_str!(concat!("template/", $folder, $name, "/body.html"))),
        )*]
    };
}

macro_rules! embedded_in {
    ($folder:literal) => {
        embedded!(
            $folder,
            "verify",
            "reset-password",
            "email-changed",
            "password-changed",
            "new-email",
            "email-change-asked",
            "restore-cancelled",
            "superuser-added",
            "superuser-password",
            "api-token-created",
            "invitation",
            "choose-password",
            "identity-linked",
            "identity-unlinked"
        )
    };
}

/// Texts of all mails: the mail, the part and the text.
type Texts = [(&'static str, &'static str, &'static str); 42];

/// The built-in texts of each part of each mail, for recipients without a language or with an unknown one.
const EMBEDDED: Texts = embedded_in!("");

/// The built-in texts in other languages.
const TRANSLATED: [(&str, Texts); 1] = [("de", embedded_in!("de/"))];

/// The templates of all mails.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The languages of mails, as their folders are called.
    languages: BTreeSet<String>,
}

/// The text of a mail.
#[derive(Debug)]
pub(super) struct Words {
    /// The subject: one line.
    pub subject: String,
    /// The text for mail programs that show plain text.
    pub text: String,
    /// The text for mail programs that show HTML.
    pub html: String,
}

impl Templates {
    /// Reads the templates: the files of a folder, and the built-in templates for files that are missing.
    ///
    /// # Errors
    ///
    /// If a file is not a template or uses a variable without a value, or if a file is not part of a mail. The error
    /// names the file.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, ConfigError> {
        let mut environment = Environment::new();
        // A mistyped variable must not become an empty place in a mail.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let fault = |name: &str, error: &dyn std::fmt::Display| {
            ConfigError::new(&format!("MAIL_TEMPLATES: {name}: {error}"))
        };
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(fault(&folder.display().to_string(), &"there is no such folder"));
        }
        let own = folder.map(own_files).transpose();
        let shown = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
        let own = own.map_err(|error| fault(&shown, &error))?.unwrap_or_default();
        if let Some(name) = own.iter().find(|name| language_and_rest(name).is_none()) {
            return Err(fault(name, &"no mail has a part with this name"));
        }
        let mut sources = built_in(&own);
        for name in own {
            let path = folder.map(|folder| folder.join(&name)).unwrap_or_default();
            let source = std::fs::read_to_string(path).map_err(|error| fault(&name, &error))?;
            sources.insert(name, source);
        }
        let languages = sources.keys().filter_map(|name| language_and_rest(name)?.0);
        let languages = languages.map(ToOwned::to_owned).collect();
        for (name, source) in sources {
            let added = environment.add_template_owned(name.clone(), source);
            added.map_err(|error| fault(&name, &error))?;
        }
        let templates = Self { environment, languages };
        let none = [String::new()];
        for language in none.iter().chain(&templates.languages) {
            for sample in Template::ALL.iter().copied().flat_map(samples) {
                let sample = Letter { language: Some(language.clone()), ..sample };
                for part in PARTS {
                    let rendered = templates.part(&sample, "https://example.com/", part);
                    let name = || templates.name_of(&sample, part);
                    rendered.map_err(|error| fault(&name(), &error))?;
                }
            }
        }
        Ok(templates)
    }

    /// Returns the text of a mail.
    ///
    /// # Errors
    ///
    /// The name of the template that failed, and the reason.
    pub(super) fn render(&self, letter: &Letter, link: &str) -> Result<Words, String> {
        let part = |part: &str| {
            let name = || self.name_of(letter, part);
            self.part(letter, link, part).map_err(|error| format!("{}: {error}", name()))
        };
        let subject = part("subject.txt")?.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Words { subject, text: part("text.txt")?, html: part("body.html")? })
    }

    /// The name of a part in the language of the letter: exactly that language, or without its region, or the default.
    fn name_of(&self, letter: &Letter, part: &str) -> String {
        let plain = format!("{}/{part}", letter.template.name());
        let wanted = letter.language.as_deref().unwrap_or_default();
        let base = wanted.split('-').next().unwrap_or_default();
        let found = [wanted, base].into_iter().find_map(|tag| {
            let known = self.languages.iter().find(|known| known.eq_ignore_ascii_case(tag))?;
            let name = format!("{known}/{plain}");
            self.environment.get_template(&name).is_ok().then_some(name)
        });
        found.unwrap_or(plain)
    }

    fn part(&self, letter: &Letter, link: &str, part: &str) -> Result<String, minijinja::Error> {
        let name = self.name_of(letter, part);
        let template = self.environment.get_template(&name)?;
        // A value that the mail does not have is undefined. Otherwise it would be written as `None`.
        let mut words = BTreeMap::from([("link", link.to_owned()), ("address", letter.to.clone())]);
        let page = link.split('?').next().unwrap_or_default();
        words.extend(letter.code.clone().map(|code| ("code", code)));
        words.extend(letter.code.as_ref().map(|_| ("page", page.to_owned())));
        words.extend(letter.lives.map(|lives| ("lifetime", lifetime(lives, &name))));
        words.extend(letter.moved.then(|| ("moved", "yes".to_owned())));
        words.extend(letter.facts.iter().map(|(name, fact)| (name.as_str(), fact.clone())));
        template.render(words)
    }
}

/// Returns an example of each kind of mail that a template is used for.
fn samples(template: Template) -> Vec<Letter> {
    let sample = |code: bool, lives: bool, moved: bool| Letter {
        to: "first@user.com".to_owned(),
        language: None,
        template,
        path: "/".to_owned(),
        code: code.then(|| "000000".to_owned()),
        lives: lives.then_some(3600),
        moved,
        facts: Facts::new(),
    };
    let telling = |names: &[&str]| {
        let facts = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        Letter { facts, ..sample(false, false, false) }
    };
    match template {
        Template::Verify | Template::ResetPassword => {
            vec![
                sample(true, true, false),
                sample(true, true, true),
                // Somebody else asked for this mail, so it has no code.
                sample(false, true, false),
                sample(false, true, true),
            ]
        }
        Template::EmailChanged => vec![sample(false, true, false), sample(false, false, false)],
        Template::NewEmail | Template::ChoosePassword => vec![sample(false, true, false)],
        Template::Invitation => [&["site", "by"] as &[_], &["site"]]
            .map(|names| Letter { lives: Some(3600), ..telling(names) })
            .into(),
        Template::PasswordChanged | Template::EmailChangeAsked | Template::RestoreCancelled => {
            vec![sample(false, false, false)]
        }
        Template::IdentityLinked | Template::IdentityUnlinked => {
            let known = [&["provider", "there", "from"] as &[_], &["provider", "there"]];
            known.map(|names| Letter { lives: Some(3600), ..telling(names) }).into()
        }
        Template::SuperuserAdded => {
            vec![telling(&["account", "by", "from"]), telling(&["account", "by"])]
        }
        Template::SuperuserPassword => {
            vec![telling(&["account", "by", "from"]), telling(&["account"])]
        }
        Template::ApiTokenCreated => vec![
            telling(&["name", "prefix", "scopes", "expires", "own", "from"]),
            telling(&["prefix", "scopes"]),
        ],
    }
}

/// The built-in texts, by the names of their files. If an operator has an own text of a mail, the built-in translations of
/// that mail are left out: they would contradict it.
fn built_in(own: &[String]) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for (mail, part, source) in EMBEDDED {
        sources.insert(format!("{mail}/{part}"), source.to_owned());
    }
    for (language, parts) in TRANSLATED {
        for (mail, part, source) in parts {
            let of_mail = format!("{mail}/");
            if !own.iter().any(|name| name.starts_with(&of_mail)) {
                sources.insert(format!("{language}/{mail}/{part}"), source.to_owned());
            }
        }
    }
    sources
}

/// Splits the name of a file into the folder of its language, if it has one, and the rest. `None` if no mail has such a
/// part.
fn language_and_rest(name: &str) -> Option<(Option<&str>, &str)> {
    let is_part = |name: &str| {
        EMBEDDED.iter().any(|(mail, part, _)| {
            name.split_once('/').is_some_and(|(folder, file)| folder == *mail && file == *part)
        })
    };
    if is_part(name) {
        return Some((None, name));
    }
    let (language, rest) = name.split_once('/')?;
    let first = language.split('-').next().unwrap_or_default();
    let is_tag = (2..=3).contains(&first.len())
        && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_tag && is_part(rest)).then_some((Some(language), rest))
}

/// Returns the names of the files in the folders of a folder, at most two folders deep. Hidden ones are left out.
fn own_files(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            match path.is_dir() {
                true if depth < 2 => folders.push((path, format!("{name}/"), depth + 1)),
                // Files beside the folders of mails are notes of the operator.
                false if depth == 0 => {}
                _ => files.push(name),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Formats a number of seconds for people, in the language of a template.
fn lifetime(seconds: u64, template: &str) -> String {
    let (number, place) = match seconds {
        0..=119 => (seconds, 0),
        120..=7199 if seconds == 3600 => (1, 2),
        120..=7199 => (seconds / 60, 1),
        7200..=172_799 => (seconds / 3600, 2),
        _ => (seconds / 86_400, 3),
    };
    let english =
        [["second", "seconds"], ["minute", "minutes"], ["hour", "hours"], ["day", "days"]];
    // In the case that follows "innerhalb von".
    let german =
        [["Sekunde", "Sekunden"], ["Minute", "Minuten"], ["Stunde", "Stunden"], ["Tag", "Tagen"]];
    let is_german = template.starts_with("de/") || template.starts_with("de-");
    let words = if is_german { german[place] } else { english[place] };
    format!("{number} {}", words[usize::from(number != 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(template: Template) -> Letter {
        Letter {
            to: "first+<b>@user.com".to_owned(),
            language: None,
            template,
            path: "/somewhere?token=abc".to_owned(),
            code: [Template::Verify, Template::ResetPassword]
                .contains(&template)
                .then(|| "012345".to_owned()),
            lives: (template != Template::PasswordChanged).then_some(3600),
            moved: true,
            facts: [
                "account", "by", "from", "name", "prefix", "scopes", "expires", "site", "provider",
                "there",
            ]
            .map(|name| (name.to_owned(), format!("{name}+<b>")))
            .into(),
        }
    }

    #[test]
    fn every_template_has_a_subject_of_one_line_a_text_and_html_with_the_link() {
        let templates = Templates::read(None).unwrap_or_else(|error| panic!("{error}"));
        let link = "https://id.example.com/somewhere?token=abc&more=1";
        for language in [None, Some("de")] {
            for &template in Template::ALL {
                let letter = Letter { language: language.map(str::to_owned), ..letter(template) };
                let words = templates.render(&letter, link).unwrap_or_else(|e| panic!("{e}"));
                assert!(!words.subject.is_empty() && !words.subject.contains('\n'), "{words:?}");
                assert!(words.text.contains(link), "{words:?}");
                assert!(words.html.contains("https:&#x2f;&#x2f;id.example.com"), "{words:?}");
                assert!(!words.html.contains("<b>") && words.html.contains("</html>"), "{words:?}");
                let tag = format!("lang=\"{}\"", language.unwrap_or("en"));
                assert!(words.html.contains(&tag), "{words:?}");
                let has_code = words.text.contains("012345") && words.html.contains("012345");
                let should = [Template::Verify, Template::ResetPassword].contains(&template);
                assert_eq!(has_code, should, "{words:?}");
            }
        }
    }

    #[test]
    fn a_translation_uses_the_same_values_as_the_text() {
        const KNOWN: [&str; 15] = [
            "address", "link", "page", "code", "lifetime", "moved", "account", "by", "from",
            "name", "prefix", "scopes", "expires", "own", "site",
        ];
        let values = |source: &str| -> BTreeSet<String> {
            let tags = source.split('{').filter_map(|rest| rest.split_once('}'));
            let words =
                tags.flat_map(|(tag, _)| tag.split(|char: char| !char.is_ascii_lowercase()));
            words.filter(|word| KNOWN.contains(word)).map(str::to_owned).collect()
        };
        for (language, parts) in TRANSLATED {
            for ((mail, part, source), (_, _, english)) in parts.into_iter().zip(EMBEDDED) {
                assert_eq!(values(source), values(english), "{language}/{mail}/{part}");
            }
        }
    }

    #[test]
    fn the_nearest_language_is_used() {
        let templates = Templates::read(None).unwrap_or_else(|error| panic!("{error}"));
        let subject = |templates: &Templates, language: &str| {
            let letter =
                Letter { language: Some(language.to_owned()), ..letter(Template::PasswordChanged) };
            templates.render(&letter, "").unwrap_or_else(|e| panic!("{e}")).subject
        };
        let (english, german) = ("Your password was changed", "Ihr Passwort wurde geändert");
        for (language, expected) in [("de", german), ("de-AT", german), ("DE", german)] {
            assert_eq!(subject(&templates, language), expected);
        }
        for language in ["", "en", "fr", "den", "../de"] {
            assert_eq!(subject(&templates, language), english);
        }
    }

    #[test]
    fn a_previous_address_that_cannot_take_the_account_back_gets_no_link() {
        let templates = Templates::read(None).unwrap_or_else(|error| panic!("{error}"));
        let letter = Letter { lives: None, path: String::new(), ..letter(Template::EmailChanged) };
        let words =
            templates.render(&letter, "https://id.example.com").unwrap_or_else(|e| panic!("{e}"));
        assert!(!words.text.contains("https://") && !words.html.contains("href"), "{words:?}");
    }

    #[test]
    fn a_lifetime_is_formatted_in_the_unit_that_people_use() {
        let seconds = [60, 120, 3600, 5400, 7200, 259_200];
        let words = ["60 seconds", "2 minutes", "1 hour", "90 minutes", "2 hours", "3 days"];
        assert_eq!(seconds.map(|seconds| lifetime(seconds, "verify/text.txt")), words);
        let words = ["60 Sekunden", "2 Minuten", "1 Stunde", "90 Minuten", "2 Stunden", "3 Tagen"];
        assert_eq!(seconds.map(|seconds| lifetime(seconds, "de/verify/text.txt")), words);
    }
}
