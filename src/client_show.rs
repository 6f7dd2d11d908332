//! `tessera client show`

use reqwest::Method;
use serde_json::Value;

use crate::client::{missing, path};
use crate::operator::Operator;
use crate::print;

/// The members of a client with the words that people read, in the order in which they are printed. Members that are
/// not listed have their own name.
const WORDS: [(&str, &str); 28] = [
    ("client_id", "client id"),
    ("name", "name"),
    ("enabled", "enabled"),
    ("origin", "origin"),
    ("application_type", "type"),
    ("auth_method", "authentication"),
    ("redirect_uris", "redirect URIs"),
    ("post_logout_uris", "URIs after signing out"),
    ("grant_types", "grant types"),
    ("scopes", "scopes"),
    ("trusted", "trusted"),
    ("pkce", "PKCE"),
    ("only", "only users with"),
    ("verified_email", "only verified addresses"),
    ("insecure_http", "plain HTTP allowed"),
    ("id_token_alg", "algorithm of ID tokens"),
    ("id_token_expires", "lifetime of ID tokens in seconds"),
    ("id_token_claims", "claims of scopes in ID tokens"),
    ("access_token_alg", "algorithm of access tokens"),
    ("access_token_expires", "lifetime of access tokens in seconds"),
    ("audience", "audience of access tokens"),
    ("resources", "resources"),
    ("serves", "resources that it serves"),
    ("introspects", "introspects"),
    ("claims", "claims"),
    ("access_token_claims", "claims of access tokens"),
    ("created", "created"),
    ("updated", "updated"),
];

/// Prints a client with its settings and its secrets.
pub(crate) async fn show(operator: &Operator, client_id: &str) -> Result<(), String> {
    let answer = operator.call(Method::GET, &path(client_id), None).await;
    let answer = answer.map_err(|refused| refused.or_missing(|| missing(client_id)))?;
    if operator.prints_json() {
        print::line(answer);
        return Ok(());
    }
    let mut members = answer["client"].as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(settings)) = members.remove("settings") {
        members.extend(settings);
    }
    let place = |name: &String| WORDS.iter().position(|(known, _)| known == name);
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by_key(|(name, _)| place(name).unwrap_or(WORDS.len()));
    for (name, value) in members {
        let text = match (name.as_str(), &value) {
            ("created" | "updated", _) => print::time(&value),
            (_, Value::Object(pairs)) => {
                let pairs = pairs.iter().map(|(name, source)| {
                    format!("{}={}", print::plain(name), print::text(source))
                });
                pairs.collect::<Vec<_>>().join(", ")
            }
            _ => print::text(&value),
        };
        if !text.is_empty() {
            let word = place(&name).map_or(name.as_str(), |place| WORDS[place].1);
            print::line(format!("{word}: {text}"));
        }
    }
    print::line(format!("issuer: {}\n", print::text(&answer["issuer"])));
    show_secrets(answer["secrets"].as_array().map(Vec::as_slice).unwrap_or_default());
    Ok(())
}

fn show_secrets(secrets: &[Value]) {
    let now = api::base::clock::now().seconds();
    let retires = |secret: &Value| match secret["expires"].as_u64() {
        None => "does not".to_owned(),
        Some(at) if at <= now => format!("retired {}", print::time(&secret["expires"])),
        Some(_) => print::time(&secret["expires"]),
    };
    let columns = ["secret", "created", "last used", "retires"];
    print::table(
        &columns,
        secrets.iter().map(|secret| {
            let time = |member: &str| print::time(&secret[member]);
            vec![
                format!("{}…", print::text(&secret["prefix"])),
                time("created"),
                time("last_used"),
                retires(secret),
            ]
        }),
    );
}
