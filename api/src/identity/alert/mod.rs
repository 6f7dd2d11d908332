//! Security notices: mails that tell users about changes to their account, and superusers about changes to others.
//!
//! A notice is written in the transaction of the change, so it is sent only if the change is committed. There is a
//! limit for each account and event, which nobody else can use up. A notice beyond the limit is left out.

use chrono::DateTime;
use entity::UserId;
use sea_orm::DatabaseTransaction;

use crate::app::App;
use crate::base::error::Result;
use crate::base::request_context;
use crate::identity::user::{self, User};
use crate::platform::mail::{self, Facts, Letter, Recipient, Template};
use crate::platform::rate_limit::mail::{Event, may_tell};

/// The name of an operator in a notice.
pub(crate) const OPERATOR: &str = "an operator at the terminal";

/// The maximum number of accounts that one mail names.
const MAX_NAMED: usize = 10;

/// Tells every superuser who can sign in, including the new ones, that accounts became superusers. `by` names the
/// account that made them superusers.
///
/// # Errors
///
/// If the database returns an error.
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

/// Tells every other superuser who can sign in that a superuser's password was set, but not by that superuser's own
/// session. `by` names the account that set it; it is `None` if a link or code from a mail was used.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn superuser_password_set(
    app: &App,
    transaction: &DatabaseTransaction,
    superuser: &User,
    by: Option<&str>,
) -> Result<()> {
    if !superuser.is_superuser || !superuser.is_active {
        return Ok(());
    }
    let path = format!("/admin/users/{}", superuser.id);
    let (account, by) = (Some(superuser.email.clone()), by.map(ToOwned::to_owned));
    let facts = facts(&[("account", account), ("by", by)]);
    let event = Event::SuperuserPassword;
    tell_superusers(app, transaction, Some(superuser.id), event, &path, facts).await
}

/// Tells superusers in the order of their ids, so that two transactions that tell the same superusers do not deadlock.
async fn tell_superusers(
    app: &App,
    transaction: &DatabaseTransaction,
    except: Option<UserId>,
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
    for superuser in user::superusers(transaction).await? {
        let id = superuser.id;
        if Some(id) == except || !may_tell(app, transaction, id, event).await? {
            continue;
        }
        let letter = Letter::telling(superuser.recipient(), template, path, facts.clone());
        mail::put(app, transaction, id, &letter).await?;
    }
    Ok(())
}

/// The description of a new API token in the mail to its owner.
#[derive(Debug)]
pub(crate) struct ApiTokenNotice<'a> {
    /// The name of the token.
    pub(crate) name: Option<&'a str>,
    /// The beginning of its secret.
    pub(crate) prefix: &'a str,
    /// Its scopes.
    pub(crate) scopes: String,
    /// The instant when it expires, in seconds since the epoch.
    pub(crate) expires: Option<u64>,
    /// `true` if its owner made it.
    pub(crate) own: bool,
}

/// Tells the owner of an account that an API token was made for it.
///
/// # Errors
///
/// If the database returns an error.
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
    // Somebody who registered another person's address must not be able to write to that person.
    let name = name.filter(|_| owner.is_verified).map(plain);
    let expires = expires.and_then(|at| DateTime::from_timestamp(i64::try_from(at).ok()?, 0));
    let facts = facts(&[
        ("name", name),
        ("prefix", Some(prefix.to_owned())),
        ("scopes", Some(scopes)),
        ("expires", expires.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string())),
        ("own", own.then(|| "yes".to_owned())),
    ]);
    let (template, path) = (Template::ApiTokenCreated, "/account/tokens");
    let letter = Letter::telling(owner.recipient(), template, path, facts);
    mail::put(app, transaction, owner.id, &letter).await
}

/// Tells the owner of an account that an identity at another provider was linked or unlinked. The provider has the name
/// that people read, and the identity an address or a subject there. `path` leads to the page where the owner undoes
/// it; an identity that was unlinked has none.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn identity_changed(
    app: &App,
    transaction: &DatabaseTransaction,
    (owner, recipient): (UserId, Recipient),
    (provider, there): (&str, &str),
    path: Option<(String, u64)>,
) -> Result<()> {
    let (event, template) = match path {
        Some(_) => (Event::IdentityLinked, Template::IdentityLinked),
        None => (Event::IdentityUnlinked, Template::IdentityUnlinked),
    };
    if !app.mail.sends() || !may_tell(app, transaction, owner, event).await? {
        return Ok(());
    }
    let (provider, there) = (Some(plain(provider)), Some(plain(there)));
    let facts = facts(&[("provider", provider), ("there", there)]);
    let (path, lives) = path
        .map_or(("/account/password#ways-title".to_owned(), None), |(path, lives)| {
            (path, Some(lives))
        });
    let letter = Letter { lives, ..Letter::telling(recipient, template, &path, facts) };
    mail::put(app, transaction, owner, &letter).await
}

/// Replaces the characters of a name that a mail program could turn into a link.
fn plain(name: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || [' ', '-', '_'].contains(&char);
    name.chars().map(|char| if is_plain(char) { char } else { '·' }).collect()
}

/// Returns the values that are known, and the IP address that the request came from.
fn facts(known: &[(&str, Option<String>)]) -> Facts {
    let from = ("from", request_context::current().ip.map(|ip| ip.to_string()));
    let all = known.iter().cloned().chain([from]);
    all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_name_in_a_mail_cannot_become_a_link() {
        assert_eq!(plain("deploy key-1_b"), "deploy key-1_b");
        assert_eq!(plain("see https://evil.example/a@b"), "see https···evil·example·a·b");
        assert_eq!(plain("schön\u{202e}\n<b>"), "schön···b·");
    }
}
