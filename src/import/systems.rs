//! The systems that users come from: which member of their records means what.

use api::base::clock;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use super::format::Format;
use super::record::Draft;
use super::values::{Members, adapted, bytes};

/// Reads a record. Returns `None` if it is no user.
///
/// # Errors
///
/// A sentence that names the member and its fault.
pub(super) fn draft(format: Format, members: &mut Members) -> Result<Option<Draft>, String> {
    match format {
        Format::Django => return django(members),
        Format::Keycloak => keycloak(members),
        Format::Auth0 => auth0(members),
        Format::Supabase => supabase(members),
        Format::Okta => okta(members),
        Format::Laravel => laravel(members),
        Format::Firebase => firebase(members),
        Format::Session => session(members),
        Format::Htpasswd | Format::FastapiUsers | Format::Csv | Format::Jsonl => plain(members),
    }
    .map(Some)
}

/// The fields under their own names, and under a few that others use.
fn plain(members: &mut Members) -> Result<Draft, String> {
    Ok(Draft {
        id: members.text(&["id", "external_id"]),
        email: members.text(&["email"]).or_else(|| address(members, "username")),
        hash: members.text(&["hashed_password", "password_hash", "encrypted_password", "password"]),
        is_active: members.flag("is_active")?,
        is_superuser: members.flag("is_superuser")?,
        is_verified: match members.flag("is_verified")? {
            None => members.flag("email_verified")?,
            known => known,
        },
        name: members.text(&["name", "first_name", "given_name"]),
        surname: members.text(&["surname", "last_name", "family_name"]),
        website: members.text(&["website"]),
        language: members.text(&["language", "locale"]),
        scopes: members.value("scopes"),
        created: members.time(&["created", "created_at", "date_joined"]),
    })
}

/// A member that is a name in most systems, if it is an address in this record.
fn address(members: &mut Members, name: &str) -> Option<String> {
    members.text(&[name]).filter(|name| name.contains('@'))
}

fn django(members: &mut Members) -> Result<Option<Draft>, String> {
    if let Some(model) = members.text(&["model"]) {
        let id = members.value("pk");
        let Some(Value::Object(mut fields)) = members.take("fields") else {
            return Err("fields: this must be an object".to_owned());
        };
        // Groups and other tables can be in the same dump.
        if !fields.contains_key("password") && !model.ends_with(".user") {
            return Ok(None);
        }
        fields.extend(id.map(|id| ("id".to_owned(), id)));
        let mut inner = Members::new(fields);
        let draft = django_row(&mut inner);
        std::mem::swap(members, &mut inner);
        return draft.map(Some);
    }
    django_row(members).map(Some)
}

fn django_row(members: &mut Members) -> Result<Draft, String> {
    // Most sign-in names are also in the address, and are not imported.
    let name = address(members, "username");
    let email = members.text(&["email"]).or(name);
    if email.is_none() {
        return Err("email: this field is missing, and the username is no address".to_owned());
    }
    Ok(Draft {
        id: members.text(&["id"]),
        email,
        hash: members.text(&["password"]),
        is_active: members.flag("is_active")?,
        is_superuser: members.flag("is_superuser")?,
        name: members.text(&["first_name"]),
        surname: members.text(&["last_name"]),
        created: members.time(&["date_joined"]),
        ..Draft::default()
    })
}

fn keycloak(members: &mut Members) -> Result<Draft, String> {
    Ok(Draft {
        id: members.text(&["id"]),
        email: members.text(&["email"]).or_else(|| address(members, "username")),
        hash: keycloak_hash(members),
        is_active: members.flag("enabled")?,
        is_verified: members.flag("emailVerified")?,
        name: members.text(&["firstName"]),
        surname: members.text(&["lastName"]),
        language: members.text(&["attributes.locale"]),
        created: members.time(&["createdTimestamp"]),
        ..Draft::default()
    })
}

fn keycloak_hash(members: &mut Members) -> Option<String> {
    let Value::Array(credentials) = members.value("credentials")? else { return None };
    let password = credentials.into_iter().find(|credential| credential["type"] == "password")?;
    let object = |name: &str| match &password[name] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    let (secret, data) = (object("secretData"), object("credentialData"));
    // Before version 8, everything was in the credential itself.
    let first = |names: [&Value; 2]| names.into_iter().find(|value| !value.is_null()).cloned();
    let value = first([&secret["value"], &password["hashedSaltedValue"]])?;
    let salt = first([&secret["salt"], &password["salt"]])?;
    let rounds = first([&data["hashIterations"], &password["hashIterations"]])?.as_u64()?;
    let algorithm = first([&data["algorithm"], &password["algorithm"]])?;
    let decoded = |text: &Value| STANDARD.decode(text.as_str()?).ok();
    let (Some(salt), Some(hash)) = (decoded(&salt), decoded(&value)) else {
        return Some("unknown".to_owned());
    };
    let parameter = |name: &str| {
        let value = &data["additionalParameters"][name];
        let value = value.as_array().map_or(value, |items| items.first().unwrap_or(&Value::Null));
        value.as_str().map(str::to_owned)
    };
    Some(match algorithm.as_str()? {
        "pbkdf2" => format!("$pbkdf2${rounds}${}${}", adapted(&salt), adapted(&hash)),
        name @ ("pbkdf2-sha256" | "pbkdf2-sha512") => {
            format!("${name}${rounds}${}${}", adapted(&salt), adapted(&hash))
        }
        "argon2" => {
            let (memory, lanes) = (parameter("memory")?, parameter("parallelism")?);
            let kind = parameter("type").unwrap_or_else(|| "id".to_owned());
            let version = if parameter("version").as_deref() == Some("1.0") { 16 } else { 19 };
            let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
            format!("$argon2{kind}$v={version}$m={memory},t={rounds},p={lanes}${salt}${hash}")
        }
        "bcrypt" => String::from_utf8(hash).ok()?,
        _ => "unknown".to_owned(),
    })
}

fn auth0(members: &mut Members) -> Result<Draft, String> {
    let id = members.text(&["_id.$oid"]).map(|id| format!("auth0|{id}"));
    Ok(Draft {
        id: members.text(&["user_id"]).or(id),
        email: members.text(&["email"]),
        hash: members.text(&["passwordHash"]),
        is_active: members.flag("blocked")?.map(|blocked| !blocked),
        is_verified: members.flag("email_verified")?,
        name: members.text(&["given_name", "user_metadata.given_name", "user_metadata.name"]),
        surname: members.text(&["family_name", "user_metadata.family_name"]),
        language: members.text(&["locale", "user_metadata.locale"]),
        created: members.time(&["created_at"]),
        ..Draft::default()
    })
}

fn supabase(members: &mut Members) -> Result<Draft, String> {
    if members.value("deleted_at").is_some() {
        return Err("deleted_at: this user was deleted".to_owned());
    }
    let is_confirmed = members.value("email_confirmed_at").is_some();
    // A time that cannot be read, such as `infinity`, is not over.
    let is_banned = members.value("banned_until").is_some()
        && members.time(&["banned_until"]).is_none_or(|until| until > clock::now().millis() / 1000);
    let name = ["raw_user_meta_data.name", "raw_user_meta_data.full_name"];
    // `is_super_admin` has no effect there, so it has none here.
    Ok(Draft {
        id: members.text(&["id"]),
        email: members.text(&["email"]),
        hash: members.text(&["encrypted_password"]),
        is_active: is_banned.then_some(false),
        is_verified: Some(is_confirmed),
        name: members.text(&name),
        language: members.text(&["raw_user_meta_data.locale"]),
        created: members.time(&["created_at"]),
        ..Draft::default()
    })
}

fn okta(members: &mut Members) -> Result<Draft, String> {
    let mut either = |name: &str| members.text(&[name, &format!("profile.{name}")]);
    let (login, email) = (either("login"), either("email"));
    let (name, surname) = (either("firstName"), either("lastName"));
    let language = either("preferredLanguage").or_else(|| either("locale"));
    let status = members.text(&["status"]);
    // Those of an account that may sign in, perhaps after a step of its own. Others, also unknown ones, are not active.
    let active = ["ACTIVE", "PROVISIONED", "STAGED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"];
    let is_active = |status: &str| active.iter().any(|name| name.eq_ignore_ascii_case(status));
    Ok(Draft {
        id: members.text(&["id"]),
        email: email.or(login),
        hash: okta_hash(members),
        is_active: status.as_deref().map(is_active),
        name,
        surname,
        language,
        created: members.time(&["created"]),
        ..Draft::default()
    })
}

fn okta_hash(members: &mut Members) -> Option<String> {
    let mut part = |name: &str| {
        let flat = format!("passwordHash.{name}");
        members.text(&[&flat, &format!("credentials.password.hash.{name}")])
    };
    let (algorithm, value, salt) = (part("algorithm")?, part("value")?, part("salt"));
    match algorithm.as_str() {
        "BCRYPT" => {
            let cost: u32 = part("workFactor")?.parse().ok()?;
            Some(format!("$2a${cost:02}${}{value}", salt?))
        }
        "PBKDF2" => {
            let (rounds, digest) = (part("iterationCount")?, part("digestAlgorithm")?);
            part("keySize");
            let name = match digest.as_str() {
                "SHA256_HMAC" => "pbkdf2-sha256",
                "SHA512_HMAC" => "pbkdf2-sha512",
                _ => return Some("unknown".to_owned()),
            };
            let (salt, hash) = (STANDARD.decode(salt?).ok()?, STANDARD.decode(value).ok()?);
            Some(format!("${name}${rounds}${}${}", adapted(&salt), adapted(&hash)))
        }
        // One digest, which is not used. The report names it.
        digest @ ("MD5" | "SHA-1" | "SHA-256" | "SHA-512") => {
            part("saltOrder");
            Some(format!("{{okta:{digest}}}"))
        }
        _ => Some("unknown".to_owned()),
    }
}

fn laravel(members: &mut Members) -> Result<Draft, String> {
    if members.value("deleted_at").is_some() {
        return Err("deleted_at: this user was deleted".to_owned());
    }
    let is_verified = members.value("email_verified_at").is_some();
    Ok(Draft {
        id: members.text(&["id"]),
        email: members.text(&["email"]),
        hash: members.text(&["password"]),
        is_verified: Some(is_verified),
        name: members.text(&["first_name", "name"]),
        surname: members.text(&["last_name"]),
        language: members.text(&["locale", "language"]),
        created: members.time(&["created_at"]),
        ..Draft::default()
    })
}

fn firebase(members: &mut Members) -> Result<Draft, String> {
    let hash = members.text(&["passwordHash"]).map(|_| "{firebase}".to_owned());
    members.value("salt");
    Ok(Draft {
        id: members.text(&["localId"]),
        email: members.text(&["email"]),
        hash,
        is_active: members.flag("disabled")?.map(|disabled| !disabled),
        is_verified: members.flag("emailVerified")?,
        name: members.text(&["displayName"]),
        created: members.time(&["createdAt"]),
        ..Draft::default()
    })
}

fn session(members: &mut Members) -> Result<Draft, String> {
    let salt = members.text(&["salt"]).and_then(|salt| bytes(&salt));
    let hash = members.text(&["hash", "password_hash", "key"]).and_then(|hash| bytes(&hash));
    let (Some(salt), Some(hash)) = (salt, hash) else {
        return Err("salt, hash: these fields must be in hexadecimal or base64".to_owned());
    };
    let rounds = members.text(&["rounds"]).map_or(Ok(100_000), |rounds| rounds.parse::<u64>());
    let rounds = rounds.map_err(|_| "rounds: this must be a number")?;
    let hash = format!("$pbkdf2-sha256${rounds}${}${}", adapted(&salt), adapted(&hash));
    Ok(Draft { hash: Some(hash), ..plain(members)? })
}
