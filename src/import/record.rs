//! A record of a file, made into a user of the operation `POST /admin/import`.

use std::collections::BTreeMap;
use std::str::FromStr;

use api::identity::factor::{self, HashKind};
use api::identity::user::imported::MAX_EXTERNAL_ID;
use api::identity::user::{Email, Language, PasswordHash, Profile};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::format::Format;
use super::systems;
use super::values::Members;

/// The fields that `--map` can name.
const FIELDS: [&str; 12] = [
    "id",
    "email",
    "hashed_password",
    "is_active",
    "is_superuser",
    "is_verified",
    "name",
    "surname",
    "website",
    "language",
    "scopes",
    "created",
];

/// The characters with which a spreadsheet begins a formula.
const FORMULA: [char; 9] = ['=', '@', '\t', '\r', '＝', '＠', '+', '-', '－'];

/// A field that is read from another column.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    column: String,
    field: String,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, field) = text
            .rsplit_once('=')
            .filter(|(column, _)| !column.is_empty())
            .ok_or("write the name of the column, an equals sign and the field: mail=email")?;
        if !FIELDS.contains(&field) {
            let fields = FIELDS.join(", ");
            return Err(format!("there is no field {field:?}: the fields are {fields}"));
        }
        Ok(Self { column: column.to_owned(), field: field.to_owned() })
    }
}

/// The content of a record, before it is checked.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) id: Option<String>,
    pub(super) email: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) is_active: Option<bool>,
    pub(super) is_superuser: Option<bool>,
    pub(super) is_verified: Option<bool>,
    pub(super) name: Option<String>,
    pub(super) surname: Option<String>,
    pub(super) website: Option<String>,
    pub(super) language: Option<String>,
    pub(super) scopes: Option<Value>,
    pub(super) created: Option<i64>,
}

/// A user that can be sent.
pub(super) struct User {
    /// The user, as the operation reads it.
    pub(super) body: Value,
    /// The kind of the hash in the record, if it has one. It is sent only if it is usable.
    pub(super) hash: Option<HashKind>,
    pub(super) email: String,
    pub(super) is_superuser: bool,
    id: Option<String>,
}

impl User {
    /// The values that no other user of the file may have, with the names of their fields.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'static str, String)> {
        let id = self.id.as_ref().map(|id| ("id", format!("id\0{id}")));
        std::iter::once(("email", self.email.to_ascii_lowercase())).chain(id)
    }
}

/// Reads the records of a file.
pub(super) struct Reader {
    format: Format,
    map: Vec<Mapping>,
    /// `true` for comma-separated values, which spreadsheets open.
    is_table: bool,
    /// The members that were not read, with the number of records that have them.
    unused: BTreeMap<String, u64>,
}

impl Reader {
    pub(super) fn new(format: Format, map: Vec<Mapping>, is_table: bool) -> Self {
        Self { format, map, is_table, unused: BTreeMap::new() }
    }

    /// The members of the records that are not imported, with the number of records that have them.
    pub(super) fn ignored(self) -> BTreeMap<String, u64> {
        self.unused
    }

    /// Reads a record. Returns `None` if it is no user, but a row of another table.
    pub(super) fn read(&mut self, members: Map<String, Value>) -> Option<Result<User, String>> {
        let mut members = Members::new(members);
        let draft = match systems::draft(self.format, &mut members) {
            Ok(Some(draft)) => draft,
            Ok(None) => {
                *self.unused.entry("records of other tables".to_owned()).or_default() += 1;
                return None;
            }
            Err(reason) => return Some(Err(reason)),
        };
        let read = self.mapped(draft, &mut members).and_then(|draft| self.checked(draft));
        members.count_unused(&mut self.unused);
        Some(read)
    }

    /// Reads the fields that are in other columns.
    fn mapped(&self, mut draft: Draft, members: &mut Members) -> Result<Draft, String> {
        for Mapping { column, field } in &self.map {
            let text = |members: &mut Members| members.text(&[column]);
            match field.as_str() {
                "id" => draft.id = text(members),
                "email" => draft.email = text(members),
                "hashed_password" => draft.hash = text(members),
                "is_active" => draft.is_active = members.flag(column)?,
                "is_superuser" => draft.is_superuser = members.flag(column)?,
                "is_verified" => draft.is_verified = members.flag(column)?,
                "name" => draft.name = text(members),
                "surname" => draft.surname = text(members),
                "website" => draft.website = text(members),
                "language" => draft.language = text(members),
                "scopes" => draft.scopes = members.value(column),
                _ => draft.created = members.time(&[column]),
            }
        }
        Ok(draft)
    }

    /// Checks a draft, and makes it into a user.
    fn checked(&mut self, draft: Draft) -> Result<User, String> {
        let Draft { id, email, hash, is_active, is_superuser, is_verified, .. } = draft;
        let email = email.ok_or("email: this field is missing")?;
        let email = self.unescaped("email", email)?;
        let email = String::from(email.parse::<Email>()?);
        let cell =
            |field, text: Option<String>| text.map(|text| self.unescaped(field, text)).transpose();
        let (name, surname) = (cell("name", draft.name)?, cell("surname", draft.surname)?);
        let website = cell("website", draft.website)?;
        // A language that is none would only lose the user.
        let language = draft.language.filter(|text| {
            let is_tag = text.parse::<Language>().is_ok();
            if !is_tag {
                *self.unused.entry("a language that is no tag".to_owned()).or_default() += 1;
            }
            is_tag
        });
        Profile::read(name.clone(), surname.clone(), website.clone(), language.clone())?;
        let (uuid, external_id) = ids(id)?;
        let hash = hash.map(PasswordHash::new);
        let kind = hash.as_ref().and_then(factor::kind_of);
        let usable = hash.filter(|_| kind.as_ref().is_some_and(|kind| kind.is_usable));
        let body = json!({
            "id": uuid,
            "external_id": external_id,
            "email": email,
            "hashed_password": usable.as_ref().map(PasswordHash::expose),
            "is_active": is_active,
            "is_superuser": is_superuser,
            "is_verified": is_verified,
            "name": name,
            "surname": surname,
            "website": website,
            "language": language,
            "scopes": draft.scopes.map(words),
            "created": draft.created,
        });
        let is_superuser = is_superuser.unwrap_or(false);
        let id = uuid.map(|id| id.to_string()).or(external_id);
        Ok(User { body: without_nulls(body), hash: kind, email, is_superuser, id })
    }

    /// Returns the text of a cell. Programs that write cells put an apostrophe before what a spreadsheet would calculate.
    ///
    /// # Errors
    ///
    /// If a spreadsheet would calculate it.
    fn unescaped(&self, field: &str, text: String) -> Result<String, String> {
        if !self.is_table {
            return Ok(text);
        }
        if let Some(rest) =
            text.strip_prefix('\'').filter(|rest| rest.trim_start().starts_with(FORMULA))
        {
            return Ok(rest.to_owned());
        }
        if text.trim_start().starts_with(FORMULA) || text.starts_with(FORMULA) {
            return Err(format!(
                "{field}: this begins like a formula of a spreadsheet: put an apostrophe before it if it is right"
            ));
        }
        Ok(text)
    }
}

/// Returns the id of a record as the id here, if it can be that, or else as a reference.
fn ids(id: Option<String>) -> Result<(Option<Uuid>, Option<String>), String> {
    let Some(id) = id else { return Ok((None, None)) };
    if let Ok(uuid) = id.parse() {
        return Ok((Some(uuid), None));
    }
    if id.chars().count() > MAX_EXTERNAL_ID || id.chars().any(char::is_control) {
        return Err(format!("id: this must be one line of at most {MAX_EXTERNAL_ID} characters"));
    }
    Ok((None, Some(id)))
}

/// The scopes of a record as a list. A table has them in one cell.
fn words(scopes: Value) -> Value {
    match scopes {
        Value::String(text) => {
            text.split([' ', ',']).filter(|word| !word.is_empty()).collect::<Vec<_>>().into()
        }
        other => other,
    }
}

fn without_nulls(mut user: Value) -> Value {
    if let Some(members) = user.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    user
}
