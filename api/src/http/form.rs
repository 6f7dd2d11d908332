//! Forms of pages: their fields, and the data that a page keeps to show a form again.

use std::str::FromStr;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Object;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::base::error::Error;
use crate::base::error::page::field_of;

/// A field with a value of type `T`: the text that was typed, and its value or the error.
///
/// A form with an invalid field can still be read, so that its page can show the error beside the field.
pub(crate) struct Field<T: FromStr> {
    /// The text as it was typed.
    pub(crate) text: String,
    /// The value, or the error in the text.
    pub(crate) value: Result<T, T::Err>,
}

impl<T: FromStr> From<String> for Field<T> {
    fn from(text: String) -> Self {
        let value = text.parse();
        Self { text, value }
    }
}

/// A missing field is the same as an empty one.
impl<T: FromStr> Default for Field<T> {
    fn default() -> Self {
        Self::from(String::new())
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl<T: FromStr> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

/// A checkbox. Browsers send no field for a checkbox that is not ticked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checkbox(pub(crate) bool);

impl<'de> Deserialize<'de> for Checkbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Serialize for Checkbox {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.then_some("on").serialize(serializer)
    }
}

/// The place of a form on its page.
#[derive(Clone, Copy, Default)]
pub(crate) struct Placement {
    /// The form's name in templates, which is the value of its field `act`.
    pub(crate) act: &'static str,
    /// The section of the page that shows the result of the form. If the page has no such section, its head shows it.
    pub(crate) section: &'static str,
    /// The fields that can have a message beside them.
    pub(crate) fields: &'static [&'static str],
}

/// Makes the placement of a form from its name, its section and its fields.
pub(crate) const fn placed(
    act: &'static str,
    section: &'static str,
    fields: &'static [&'static str],
) -> Placement {
    Placement { act, section, fields }
}

/// A form of a page. Its serialized form contains what the page keeps: every field except passwords and tokens.
pub(crate) trait PageForm: Serialize {
    /// The place of the form on its page.
    fn placement(&self) -> Placement;
}

/// A form that its page shows again after a refusal, or sends again.
pub(crate) struct FilledForm {
    /// The place of the form on its page.
    pub(crate) placement: Placement,
    fields: Map<String, Json>,
}

impl FilledForm {
    /// Keeps the fields of a form that a page may show.
    pub(crate) fn of(form: &impl PageForm) -> Self {
        let fields = match serde_json::to_value(form) {
            Ok(Json::Object(fields)) => fields,
            _ => Map::new(),
        };
        Self { placement: form.placement(), fields }
    }

    /// The fields for templates. A missing field is empty.
    pub(crate) fn typed(&self) -> Value {
        Value::from_object(Typed(self.fields.clone()))
    }

    /// The fields that were sent, with their names. A missing field is left out.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The text of a field, if it has one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns true if the form has this field and can show a message beside it.
    pub(crate) fn has_field(&self, name: &str) -> bool {
        self.placement.fields.contains(&name)
    }

    /// The field that a refusal is about; empty if it is about the whole form.
    pub(crate) fn faulty_field(&self, error: &Error) -> &'static str {
        Some(field_of(error)).filter(|field| self.has_field(field)).unwrap_or_default()
    }
}

/// The fields of a form for templates. A page has several forms and shows the fields of each. So a field of a form that
/// was not sent is empty, not unknown.
#[derive(Debug)]
struct Typed(Map<String, Json>);

impl Object for Typed {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let field = name.as_str().and_then(|name| self.0.get(name));
        Some(Value::from(field.and_then(Json::as_str).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Confirmed<F> {
        proof: Option<String>,
        #[serde(flatten)]
        form: F,
    }

    #[derive(Deserialize, Serialize)]
    #[serde(tag = "act", rename_all = "kebab-case")]
    enum Sample {
        SetNumber {
            #[serde(default)]
            number: Field<u8>,
            #[serde(default)]
            sure: Checkbox,
            id: Option<String>,
            #[serde(default, skip_serializing)]
            secret: String,
        },
        #[serde(other)]
        Unknown,
    }

    impl PageForm for Sample {
        fn placement(&self) -> Placement {
            match self {
                Sample::SetNumber { .. } => placed("set-number", "numbers", &["number"]),
                Sample::Unknown => Placement::default(),
            }
        }
    }

    fn read(body: &str) -> Result<Confirmed<Sample>, serde_urlencoded::de::Error> {
        serde_urlencoded::from_str(body)
    }

    fn number(body: &str) -> (Option<u8>, bool, Vec<(String, String)>) {
        let form = read(body).unwrap_or_else(|error| panic!("{body}: {error}")).form;
        let filled = FilledForm::of(&form);
        let Sample::SetNumber { number, sure, .. } = form else { panic!("{body}") };
        let sent = filled.sent().map(|(name, value)| (name.to_owned(), value.to_owned()));
        (number.value.ok(), sure.0, sent.collect())
    }

    #[test]
    fn a_form_is_read_by_its_act_and_fields_of_other_forms_are_ignored() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(
            number("csrf=c&number=7&act=set-number&sure=&id=i&secret=s&else=1"),
            (
                Some(7),
                true,
                pairs(&[("act", "set-number"), ("id", "i"), ("number", "7"), ("sure", "on")])
            ),
        );
        assert_eq!(
            number("act=set-number&number=x"),
            (None, false, pairs(&[("act", "set-number"), ("number", "x")])),
        );
        assert_eq!(number("act=set-number").0, None);
    }

    #[test]
    fn a_form_with_an_unknown_act_is_read_but_not_one_without_an_act() {
        let unknown =
            read("act=nonsense&number=1&proof=p").unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(unknown.form, Sample::Unknown));
        assert_eq!(unknown.proof.as_deref(), Some("p"));
        assert!(read("number=1").is_err());
        assert!(read("act=set-number&act=set-number").is_err());
        assert!(read("act=set-number&number=1&number=2").is_err());
    }
}
