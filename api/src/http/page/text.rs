//! The texts of pages: one Fluent file for each language.

use std::fmt;
use std::path::Path;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::base::config::ConfigError;

/// The built-in languages. A text that another language lacks is shown in the first one.
pub(crate) const EMBEDDED: [(&str, &str); 2] =
    [("en", include_str!("en.ftl")), ("de", include_str!("de.ftl"))];

/// The texts of pages in all languages.
pub(super) struct Texts(Vec<Language>);

struct Language {
    tag: String,
    bundle: FluentBundle<FluentResource>,
}

impl fmt::Debug for Texts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|language| &language.tag)).finish()
    }
}

impl Texts {
    /// Reads the built-in texts, and the texts in a folder that replace them or add languages.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, ConfigError> {
        let mut languages = Vec::new();
        for (tag, source) in EMBEDDED {
            languages.push(Language::of(tag, source).map_err(|fault| refused(tag, &fault))?);
        }
        let mut texts = Self(languages);
        for (tag, source) in folder.map(own).transpose()?.unwrap_or_default() {
            for name in
                source.lines().filter_map(|line| line.split_once(" =")).map(|(name, _)| name)
            {
                if name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')
                    && !texts.have(name)
                {
                    tracing::warn!(
                        language = tag,
                        text = name,
                        "PAGE_TEMPLATES: no page uses a text with this name"
                    );
                }
            }
            let added = match texts.0.iter_mut().find(|language| language.tag == tag) {
                Some(language) => language.change(&source),
                None => Language::of(&tag, &source).map(|language| texts.0.push(language)),
            };
            added.map_err(|fault| refused(&tag, &fault))?;
        }
        Ok(texts)
    }

    /// The tags of all languages.
    pub(super) fn languages(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|language| language.tag.as_str())
    }

    /// The tag of the language that `Accept-Language` prefers (RFC 9110, section 12.5.4).
    pub(super) fn chosen(&self, accepted: &str) -> &str {
        let mut wanted: Vec<_> = accepted.split(',').take(32).filter_map(weighed).collect();
        wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let refused = |tag: &str| {
            let not_wanted =
                |(range, weight): &(&str, f32)| *weight <= 0.0 && range.eq_ignore_ascii_case(tag);
            wanted.iter().any(not_wanted)
        };
        let found = wanted.iter().filter(|(_, weight)| *weight > 0.0).find_map(|(range, _)| {
            let primary =
                |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
            let known =
                |tag: &str| !refused(tag) && (*range == "*" || primary(tag) == primary(range));
            // An exact match is better than another variant of the same language.
            let exact = self.0.iter().find(|language| language.tag.eq_ignore_ascii_case(range));
            exact.or_else(|| self.0.iter().find(|language| known(&language.tag)))
        });
        found.map_or(EMBEDDED[0].0, |language| &language.tag)
    }

    /// The tags of all languages, each with its name in itself. A language without a name has its tag.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|language| {
            let name = language.say("language-name", &[]);
            (language.tag.as_str(), name.unwrap_or_else(|| language.tag.clone()))
        })
    }

    /// Returns true if at least one language has this text.
    pub(super) fn have(&self, name: &str) -> bool {
        self.0.iter().any(|language| language.bundle.has_message(name))
    }

    /// The text in this language, else in the first one. `None` if neither has it.
    pub(super) fn say(
        &self,
        tag: &str,
        name: &str,
        values: &[(&str, FluentValue<'_>)],
    ) -> Option<String> {
        let chosen = self.0.iter().filter(|language| language.tag == tag);
        chosen.chain(self.0.first()).find_map(|language| language.say(name, values))
    }
}

impl Language {
    fn of(tag: &str, source: &str) -> Result<Self, String> {
        let is_short = tag.split('-').next().is_some_and(|language| language.len() <= 3);
        let known = tag.parse().ok().filter(|_| is_short);
        let known =
            known.ok_or_else(|| "its name is not a language, such as de or pt-BR".to_owned())?;
        let mut bundle = FluentBundle::new_concurrent(vec![known]);
        // No marks around values: they are only for texts that mix directions, and people would copy them.
        bundle.set_use_isolating(false);
        let mut language = Self { tag: tag.to_owned(), bundle };
        language.change(source)?;
        Ok(language)
    }

    fn change(&mut self, source: &str) -> Result<(), String> {
        let resource = FluentResource::try_new(source.to_owned()).map_err(|(_, faults)| {
            let lines = faults.iter().map(|fault| {
                let before = source.get(..fault.pos.start).unwrap_or_default();
                format!("line {}: {fault}", before.matches('\n').count() + 1)
            });
            lines.collect::<Vec<_>>().join("; ")
        })?;
        self.bundle.add_resource_overriding(resource);
        Ok(())
    }

    fn say(&self, name: &str, values: &[(&str, FluentValue<'_>)]) -> Option<String> {
        let pattern = self.bundle.get_message(name)?.value()?;
        let values: FluentArgs<'_> =
            values.iter().map(|(name, value)| (*name, value.clone())).collect();
        let mut faults = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(&values), &mut faults);
        for fault in faults {
            tracing::warn!(text = name, language = self.tag, error.cause = %fault, "a text of a page has an error");
        }
        Some(text.into_owned())
    }
}

/// A range of languages with its weight. The weight 0 means that the reader does not want it.
fn weighed(part: &str) -> Option<(&str, f32)> {
    let mut parts = part.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix('q')?.trim_start().strip_prefix('='));
    let weight: f32 = weight.map_or(Some(1.0), |weight| weight.trim().parse().ok())?;
    weight.is_finite().then_some((range, weight))
}

/// The texts in a folder, each with the tag of its language.
fn own(folder: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let unreadable =
        |error: std::io::Error| refused(&folder.display().to_string(), &error.to_string());
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "ftl") {
            let source = std::fs::read_to_string(&path)
                .map_err(|error| refused(name, &error.to_string()))?;
            texts.push((name.to_owned(), source));
        }
    }
    texts.sort();
    Ok(texts)
}

fn refused(name: &str, fault: &str) -> ConfigError {
    ConfigError::new(&format!("PAGE_TEMPLATES: {name}: {fault}"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::base::error::Code;
    use crate::base::error::page::text_name;

    fn texts() -> Texts {
        Texts::read(None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The names of the texts of a language, with the names of their values.
    fn names(source: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut last = String::new();
        for line in source.lines() {
            if let Some((name, _)) = line.split_once(" =").filter(|_| !line.starts_with([' ', '#']))
            {
                last = name.to_owned();
                names.entry(last.clone()).or_default();
            }
            let values = line.split('$').skip(1).map(|rest| {
                rest.chars().take_while(|char| char.is_alphanumeric()).collect::<String>()
            });
            names.entry(last.clone()).or_default().extend(values);
        }
        names
    }

    #[test]
    fn every_language_has_every_text_with_the_same_values() {
        let english = names(EMBEDDED[0].1);
        for (tag, source) in EMBEDDED {
            let known = names(source);
            for (name, values) in &english {
                assert_eq!(Some(values), known.get(name), "{tag}: {name}");
            }
        }
    }

    #[test]
    fn every_refusal_has_a_text_in_every_language() {
        for (tag, source) in EMBEDDED {
            let known = names(source);
            for &code in Code::ALL {
                let name = text_name(code);
                assert!(known.contains_key(&name), "{tag}: {name}");
            }
        }
    }

    #[test]
    fn every_text_that_a_template_uses_exists() {
        let english = names(EMBEDDED[0].1);
        let sources: Vec<_> =
            super::super::template::TEMPLATES.iter().map(|(_, source)| *source).collect();
        let templates = sources.concat();
        let asked = templates.split("text(\"").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once('"')?;
            (!rest.starts_with(" ~")).then_some(name)
        });
        for name in asked {
            assert!(english.contains_key(name), "{name}");
        }
    }

    #[test]
    fn the_language_is_the_available_one_that_the_reader_prefers() {
        let texts = texts();
        for (accepted, chosen) in [
            ("", "en"),
            ("de", "de"),
            ("de-CH, en;q=0.5", "de"),
            ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "en"),
            ("fr, DE;q=0.4", "de"),
            ("en;q=0.2,de;q=0.9", "de"),
            ("de;q=0, en", "en"),
            ("en;q=0, *", "de"),
            ("de ; q = 0.9, en;q=0.1", "de"),
            ("de-CH;q=0.9, de;q=0", "en"),
            ("fr", "en"),
            ("*", "en"),
            (";;,,q=1;q=x, de;q=NaN", "en"),
        ] {
            assert_eq!(texts.chosen(accepted), chosen, "{accepted}");
        }
    }
}
