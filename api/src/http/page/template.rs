//! The templates of pages: the built-in ones, and the files of an operator that replace them.

use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use fluent_bundle::FluentValue;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, HtmlEscape, UndefinedBehavior, Value};

use super::place::Places;
use super::text::Texts;
use crate::base::config::{ConfigError, PageSettings};
use crate::base::error::Result;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!($name))),*] };
}

/// The built-in templates.
pub(super) const TEMPLATES: &[(&str, &str)] = &embedded![
    "layout.html",
    "macros.html",
    "account/layout.html",
    "account/data.html",
    "account/email.html",
    "account/events.html",
    "account/password.html",
    "account/profile.html",
    "account/sessions.html",
    "account/tokens.html",
    "address.html",
    "apps.html",
    "ask.html",
    "consent.html",
    "ended.html",
    "form.html",
    "form_post.html",
    "home.html",
    "invitation.html",
    "link.html",
    "login.html",
    "not_for_user.html",
    "provider_refused.html",
    "refused.html",
    "register.html",
    "said.html",
    "unlink.html",
    "verify.html",
    "admin/layout.html",
    "admin/confirm.html",
    "admin/events.html",
    "admin/keys.html",
    "admin/mail.html",
    "admin/overview.html",
    "admin/revocations.html",
    "admin/app.html",
    "admin/apps.html",
    "admin/servers.html",
    "admin/sessions.html",
    "admin/settings.html",
    "admin/tokens.html",
    "admin/user.html",
    "admin/users.html",
];

/// Reads the built-in templates and the ones that replace them, for each language of the texts.
pub(super) fn read(
    settings: &PageSettings,
    texts: &Arc<Texts>,
) -> Result<Vec<(String, Environment<'static>)>, ConfigError> {
    let folder = settings.page_templates.as_deref();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("time", time);
    environment.add_filter("when", when);
    environment.add_filter("day", day);
    let mut sources = Vec::new();
    for (name, source) in TEMPLATES {
        let own = own(folder, name)?;
        if let Some(own) = &own {
            check_names(name, own, texts)?;
        }
        sources.push((*name, own.unwrap_or_else(|| (*source).to_owned())));
    }
    check_parts(&sources)?;
    for (name, source) in sources {
        environment
            .add_template_owned(name, source)
            .map_err(|error| refused(name, &error.to_string()))?;
    }
    let places = settings.geoip_database.as_deref().map(Places::read).transpose()?.map(Arc::new);
    let templates = texts.languages().map(|language| {
        let (tag, texts) = (language.to_owned(), Arc::clone(texts));
        let mut environment = environment.clone();
        environment.add_function("text", move |name: &str, values: Kwargs| {
            text_of(&texts, &tag, name, &values)
        });
        let (tag, places) = (language.to_owned(), places.clone());
        environment.add_filter("place", move |address: &str| match &places {
            Some(places) => places.name(address, &tag),
            None => address.to_owned(),
        });
        (language.to_owned(), environment)
    });
    Ok(templates.collect())
}

/// The file in a folder that replaces a built-in one, if there is one.
pub(super) fn own(folder: Option<&Path>, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(folder) = folder else { return Ok(None) };
    match std::fs::read_to_string(folder.join(name)) {
        Ok(source) => Ok(Some(source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(name, &error.to_string())),
    }
}

/// Refuses a folder that contains a file with an unknown name. Otherwise the built-in page would stay, and nobody would
/// notice the mistyped name.
pub(super) fn check(folder: &Path) -> Result<(), ConfigError> {
    let place = folder.display().to_string();
    if !folder.is_dir() {
        return Err(refused(&place, "there is no such folder"));
    }
    let folders = [("", ""), ("admin", "admin/"), ("account", "account/")];
    for (inside, prefix) in folders.map(|(name, prefix)| (folder.join(name), prefix)) {
        let entries = match std::fs::read_dir(&inside) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refused(&place, &error.to_string())),
        };
        for entry in entries {
            let entry = entry.map_err(|error| refused(&place, &error.to_string()))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_text = prefix.is_empty() && name.ends_with(".ftl");
            let known = TEMPLATES.iter().any(|(known, _)| *known == name)
                || is_text
                || ["style.css", "extra.css", "admin", "account"].contains(&name.as_str());
            let is_kept_by_an_editor =
                name.ends_with('~') || name.contains("/.") || name.starts_with('.');
            if !known && !is_kept_by_an_editor {
                let names: Vec<_> = TEMPLATES.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                let fault = format!(
                    "no page has this name. Use one of {names}, style.css, extra.css, or a language such as de.ftl"
                );
                return Err(refused(&name, &fault));
            }
        }
    }
    Ok(())
}

fn refused(name: &str, fault: &str) -> ConfigError {
    ConfigError::new(&format!("PAGE_TEMPLATES: {name}: {fault}"))
}

/// Refuses a template that extends an unknown template, because its page would always fail. Warns of a template that
/// uses an unknown text, because its page may fail.
fn check_names(name: &str, source: &str, texts: &Texts) -> Result<(), ConfigError> {
    let is_known = |name: &&str| TEMPLATES.iter().any(|(known, _)| known == name);
    let extended = named(source, "{% extends \"");
    if let Some(unknown) = extended.into_iter().find(|name| !is_known(name)) {
        return Err(refused(name, &format!("there is no template {unknown}")));
    }
    for text in named(source, " text(\"") {
        if !text.ends_with('-') && !texts.have(text) {
            tracing::warn!(
                template = name,
                text,
                "PAGE_TEMPLATES: there is no text with this name"
            );
        }
    }
    Ok(())
}

/// The names in quotation marks that follow a word of a template.
fn named<'a>(source: &'a str, word: &str) -> Vec<&'a str> {
    source.split(word).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The blocks that pages are in. Without them, a page would be empty or would have no menu.
const BLOCKS: [&str; 3] = ["aside", "content", "rows"];

/// Refuses an own template that lacks what other templates take from it: a macro or a block. It is often the copy of a
/// template of an earlier release, and pages would fail.
fn check_parts(sources: &[(&'static str, String)]) -> Result<(), ConfigError> {
    for (user, source) in sources {
        for import in source.split("{% from \"").skip(1) {
            let Some((from, rest)) = import.split_once("\" import ") else { continue };
            let Some((_, library)) = sources.iter().find(|(name, _)| *name == from) else {
                continue;
            };
            let names = rest.split("%}").next().unwrap_or_default().split(',').map(str::trim);
            let lacks = |name: &&str| !library.contains(&format!("{{% macro {name}("));
            if let Some(name) = names.into_iter().find(lacks) {
                return Err(refused(from, &format!("it has no macro {name}, which {user} uses")));
            }
        }
        let (Some(parent), above) = (named(source, "{% extends \"").pop(), above(sources, source))
        else {
            continue;
        };
        let fills = |block: &&str| {
            let is_its_own = *block == "rows" && user.ends_with("layout.html");
            source.contains(&format!("{{% block {block} %}}")) && !is_its_own
        };
        let lacks = |block: &&str| !above.contains(&format!("{{% block {block} %}}"));
        if let Some(block) = BLOCKS.into_iter().find(|block| fills(block) && lacks(block)) {
            return Err(refused(parent, &format!("it has no block {block}, which {user} fills")));
        }
    }
    Ok(())
}

/// The sources of the templates that a template extends, one after the other.
fn above(sources: &[(&'static str, String)], source: &str) -> String {
    let (mut above, mut last) = (String::new(), source);
    // Templates that extend each other are refused by the page, and not here.
    for _ in 0..8 {
        let Some(parent) = named(last, "{% extends \"").pop() else { break };
        let Some((_, found)) = sources.iter().find(|(name, _)| *name == parent) else { break };
        above += found;
        last = found;
    }
    above
}

/// Implements `text("name", value=…)` for templates: the text of this name in the page's language. A value that is HTML,
/// such as a time, stays HTML, and the rest of the text is escaped.
fn text_of(
    texts: &Texts,
    language: &str,
    name: &str,
    values: &Kwargs,
) -> Result<Value, minijinja::Error> {
    let (mut given, mut html) = (Vec::new(), Vec::new());
    for key in values.args() {
        let value: Value = values.get(key)?;
        let value = match value.kind() {
            ValueKind::Number => FluentValue::from(f64::try_from(value)?),
            _ if value.is_safe() => {
                html.push(value.to_string());
                FluentValue::from(mark(html.len() - 1))
            }
            _ => FluentValue::from(value.to_string()),
        };
        given.push((key, value));
    }
    // An action of another release has no text here, so its name is shown.
    let unknown = || name.strip_prefix("act-").map(ToOwned::to_owned);
    let text = texts.say(language, name, &given).or_else(unknown).ok_or_else(|| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("there is no text {name}"))
    })?;
    if html.is_empty() {
        return Ok(text.into());
    }
    let escaped = HtmlEscape(&text).to_string();
    let whole = html
        .iter()
        .enumerate()
        .fold(escaped, |text, (number, part)| text.replace(&mark(number), part));
    Ok(Value::from_safe_string(whole))
}

/// Stands for HTML while a text is escaped. No text contains these characters.
fn mark(number: usize) -> String {
    format!("\u{e000}{number}\u{e001}")
}

/// The element of an instant, given in seconds since the epoch. A script shows it in the reader's time zone.
fn when(seconds: i64) -> Value {
    let Some(at) = DateTime::from_timestamp(seconds, 0) else { return Value::from("") };
    let machine = at.format("%Y-%m-%dT%H:%M:%SZ");
    Value::from_safe_string(format!("<time datetime=\"{machine}\">{}</time>", time(seconds)))
}

/// Formats an instant, given in seconds since the epoch.
fn time(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// Formats the day of an instant, given in seconds since the epoch.
fn day(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string())
}
