//! Notices: mails that tell people of what was done to their account, and superusers of what was done to another's.
//!
//! They are written in the transaction of the act, so that they are sent if it was done, and not otherwise. Each has a
//! budget for the account that is told and for what is told, which nobody else can use up; a mail beyond it is left
//! out.

use chrono::DateTime;
use entity::UserId;
use sea_orm::DatabaseTransaction;

use crate::app::App;
use crate::base::error::Result;
use crate::base::request_context;
use crate::identity::user::{self, User};
use crate::platform::mail::{self, Facts, Letter, Template};
use crate::platform::rate_limit::mail::{Event, may_tell};

/// How an operator is called in a notice.
pub(crate) const OPERATOR: &str = "an operator at the terminal";

/// The most accounts that one mail names.
const MAX_NAMED: usize = 10;

/// Tells every superuser who may sign in, those that were added among them, that accounts became superusers; `by` says
/// who did that.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn superusers_added(
    app: &App,
    transaction: &DatabaseTransaction,
    added: &[(UserId, String)],
    by: &str,
) -> Result<()> {
    let path = match added {
        [] => return Ok(()),
        [(id, _)] => format!("/admin/users/{id}"),
        _ => "/admin/users?state=superuser".to_owned(),
    };
    let named: Vec<_> = added.iter().take(MAX_NAMED).map(|(_, email)| email.as_str()).collect();
    let mut accounts = named.join(", ");
    if added.len() > named.len() {
        accounts = format!("{accounts} and {} more", added.len() - named.len());
    }
    let facts = facts(&[("account", Some(accounts)), ("by", Some(by.to_owned()))]);
    tell_superusers(app, transaction, None, Event::SuperuserAdded, &path, facts).await
}

/// Tells every other superuser who may sign in that a superuser has another password, which they did not set with their
/// own session. `by` says who did that; it is nobody who is known if it was done by a mail.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn superuser_password_set(
    app: &App,
    transaction: &DatabaseTransaction,
    of: &User,
    by: Option<&str>,
) -> Result<()> {
    if !of.is_superuser || !of.is_active {
        return Ok(());
    }
    let path = format!("/admin/users/{}", of.id);
    let (account, by) = (Some(of.email.clone()), by.map(ToOwned::to_owned));
    let facts = facts(&[("account", account), ("by", by)]);
    tell_superusers(app, transaction, Some(of.id), Event::SuperuserPassword, &path, facts).await
}

/// Superusers are told in the order of their ids: of two acts that tell the same, neither waits for the other for ever.
async fn tell_superusers(
    app: &App,
    transaction: &DatabaseTransaction,
    but: Option<UserId>,
    event: Event,
    path: &str,
    facts: Facts,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let template = match event {
        Event::SuperuserPassword => Template::SuperuserPassword,
        _ => Template::SuperuserAdded,
    };
    for (id, email) in user::superusers(transaction).await? {
        if Some(id) == but || !may_tell(app, transaction, id, event).await? {
            continue;
        }
        let letter = Letter::telling(email, template, path, facts.clone());
        mail::put(app, transaction, id, &letter).await?;
    }
    Ok(())
}

/// An API token that was made, as its owner is told of it.
#[derive(Debug)]
pub(crate) struct ApiTokenNotice<'a> {
    /// What it is called.
    pub(crate) name: Option<&'a str>,
    /// The beginning of its secret.
    pub(crate) prefix: &'a str,
    /// What it may do.
    pub(crate) scopes: String,
    /// When it expires, in seconds since the epoch.
    pub(crate) expires: Option<u64>,
    /// Whether its owner made it.
    pub(crate) own: bool,
}

/// Tells the owner of an account that an API token was made for it.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn api_token_created(
    app: &App,
    transaction: &DatabaseTransaction,
    owner: &User,
    token: ApiTokenNotice<'_>,
) -> Result<()> {
    if !app.mail.sends() || !may_tell(app, transaction, owner.id, Event::ApiTokenCreated).await? {
        return Ok(());
    }
    let ApiTokenNotice { name, prefix, scopes, expires, own } = token;
    // Whoever registered an address that is somebody else's must not write to them.
    let name = name.filter(|_| owner.is_verified).map(plain);
    let expires = expires.and_then(|at| DateTime::from_timestamp(i64::try_from(at).ok()?, 0));
    let facts = facts(&[
        ("name", name),
        ("prefix", Some(prefix.to_owned())),
        ("scopes", Some(scopes)),
        ("expires", expires.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string())),
        ("own", own.then(|| "yes".to_owned())),
    ]);
    let (template, path) = (Template::ApiTokenCreated, "/account#tokens-title");
    let letter = Letter::telling(owner.email.clone(), template, path, facts);
    mail::put(app, transaction, owner.id, &letter).await
}

/// A name with nothing in it that a mail program makes a link of.
fn plain(name: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || [' ', '-', '_'].contains(&char);
    name.chars().map(|char| if is_plain(char) { char } else { '·' }).collect()
}

/// What is known of these, and from where it was done.
fn facts(known: &[(&str, Option<String>)]) -> Facts {
    let from = ("from", request_context::current().ip.map(|ip| ip.to_string()));
    let all = known.iter().cloned().chain([from]);
    all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_name_in_a_mail_leads_nowhere() {
        assert_eq!(plain("deploy key-1_b"), "deploy key-1_b");
        assert_eq!(plain("see https://evil.example/a@b"), "see https···evil·example·a·b");
        assert_eq!(plain("schön\u{202e}\n<b>"), "schön···b·");
    }
}
