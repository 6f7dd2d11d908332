//! The templates of mails: a folder for each mail, with subject, text and HTML.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::{Environment, UndefinedBehavior};

use super::{Facts, Letter, Template};
use crate::base::config::ConfigError;

/// The parts of a mail.
const PARTS: [&str; 3] = ["subject.txt", "text.txt", "body.html"];

macro_rules! embedded {
    ($($name:literal),*) => {
        [$(
            ($name, "subject.txt", include_str!(concat!("template/", $name, "/subject.txt"))),
            ($name, "text.txt", include_str!(concat!("template/", $name, "/text.txt"))),
            ($name, "body.html", include_str!(concat!("template/", $name, "/body.html"))),
        )*]
    };
}

const EMBEDDED: [(&str, &str, &str); 33] = embedded!(
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
    "invitation"
);

/// The templates of all mails.
#[derive(Debug)]
pub(super) struct Templates(Environment<'static>);

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
        if let Some(folder) = folder {
            let unknown_files = unknown_files(folder)
                .map_err(|error| fault(&folder.display().to_string(), &error))?;
            if let Some(name) = unknown_files.first() {
                return Err(fault(name, &"no mail has a part with this name"));
            }
        }
        for (template, part, source) in EMBEDDED {
            let name = format!("{template}/{part}");
            let source = match folder.map(|folder| std::fs::read_to_string(folder.join(&name))) {
                Some(Ok(own)) => own,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(fault(&name, &error));
                }
                _ => source.to_owned(),
            };
            let added = environment.add_template_owned(name.clone(), source);
            added.map_err(|error| fault(&name, &error))?;
        }
        let templates = Self(environment);
        for sample in Template::ALL.iter().copied().flat_map(samples) {
            let template = sample.template;
            for part in PARTS {
                let rendered = templates.part(&sample, "https://example.com/", part);
                rendered.map_err(|error| fault(&format!("{}/{part}", template.name()), &error))?;
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
            let name = letter.template.name();
            self.part(letter, link, part).map_err(|error| format!("{name}/{part}: {error}"))
        };
        let subject = part("subject.txt")?.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Words { subject, text: part("text.txt")?, html: part("body.html")? })
    }

    fn part(&self, letter: &Letter, link: &str, part: &str) -> Result<String, minijinja::Error> {
        let template = self.0.get_template(&format!("{}/{part}", letter.template.name()))?;
        // A value that the mail does not have is undefined. Otherwise it would be written as `None`.
        let mut words = BTreeMap::from([("link", link.to_owned()), ("address", letter.to.clone())]);
        let page = link.split('?').next().unwrap_or_default();
        words.extend(letter.code.clone().map(|code| ("code", code)));
        words.extend(letter.code.as_ref().map(|_| ("page", page.to_owned())));
        words.extend(letter.lives.map(|lives| ("lifetime", lifetime(lives))));
        words.extend(letter.moved.then(|| ("moved", "yes".to_owned())));
        words.extend(letter.facts.iter().map(|(name, fact)| (name.as_str(), fact.clone())));
        template.render(words)
    }
}

/// Returns an example of each kind of mail that a template is used for.
fn samples(template: Template) -> Vec<Letter> {
    let sample = |code: bool, lives: bool, moved: bool| Letter {
        to: "first@user.com".to_owned(),
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
        Template::NewEmail => vec![sample(false, true, false)],
        Template::Invitation => [&["site", "by"] as &[_], &["site"]]
            .map(|names| Letter { lives: Some(3600), ..telling(names) })
            .into(),
        Template::PasswordChanged | Template::EmailChangeAsked | Template::RestoreCancelled => {
            vec![sample(false, false, false)]
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

/// Returns the names of the files in a folder that are not part of a mail.
fn unknown_files(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut unknown_files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        for part in std::fs::read_dir(entry.path())? {
            let name = format!("{name}/{}", part?.file_name().to_string_lossy());
            let known = EMBEDDED.iter().any(|(mail, part, _)| format!("{mail}/{part}") == name);
            if !known && !name.contains("/.") {
                unknown_files.push(name);
            }
        }
    }
    Ok(unknown_files)
}

/// Formats a number of seconds for people.
fn lifetime(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7199 if seconds == 3600 => (1, "hour"),
        120..=7199 => (seconds / 60, "minute"),
        7200..=172_799 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(template: Template) -> Letter {
        Letter {
            to: "first+<b>@user.com".to_owned(),
            template,
            path: "/somewhere?token=abc".to_owned(),
            code: [Template::Verify, Template::ResetPassword]
                .contains(&template)
                .then(|| "012345".to_owned()),
            lives: (template != Template::PasswordChanged).then_some(3600),
            moved: true,
            facts: ["account", "by", "from", "name", "prefix", "scopes", "expires", "site"]
                .map(|name| (name.to_owned(), format!("{name}+<b>")))
                .into(),
        }
    }

    #[test]
    fn every_template_has_a_subject_of_one_line_a_text_and_html_with_the_link() {
        let templates = Templates::read(None).unwrap_or_else(|error| panic!("{error}"));
        let link = "https://id.example.com/somewhere?token=abc&more=1";
        for &template in Template::ALL {
            let words = templates.render(&letter(template), link).unwrap_or_else(|e| panic!("{e}"));
            assert!(!words.subject.is_empty() && !words.subject.contains('\n'), "{words:?}");
            assert!(words.text.contains(link), "{words:?}");
            assert!(words.html.contains("https:&#x2f;&#x2f;id.example.com"), "{words:?}");
            assert!(!words.html.contains("<b>") && words.html.contains("</html>"), "{words:?}");
            let has_code = words.text.contains("012345") && words.html.contains("012345");
            let should_have_code = [Template::Verify, Template::ResetPassword].contains(&template);
            assert_eq!(has_code, should_have_code, "{words:?}");
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
        let lifetimes = [60, 120, 3600, 5400, 7200, 259_200].map(lifetime);
        let words = ["60 seconds", "2 minutes", "1 hour", "90 minutes", "2 hours", "3 days"];
        assert_eq!(lifetimes, words);
    }
}
