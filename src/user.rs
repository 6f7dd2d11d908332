//! `tessera user`

use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;

use api::base::config::Config;
use api::identity::factor::Password;
use api::identity::user::{Email, Profile};
use api::self_service::registration::{self, Maker};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{self, Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a user, whose address counts as verified; the password is asked for, or read from
    /// standard input
    Create {
        /// The e-mail address to sign in with
        email: String,
        /// Let the user do what superusers may: manage users, and revoke anybody's sessions and tokens
        #[arg(long)]
        superuser: bool,
    },
    /// List users, by address
    List {
        /// Those whose address, name or surname contains this, without case
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Show a user
    Show(One),
    /// Let a user do what superusers may: manage users, and revoke anybody's sessions and tokens
    Promote(One),
    /// Take that back; the last superuser stays one
    Demote(One),
    /// Let a user sign in
    Activate(One),
    /// Let a user not sign in, and end every session they have
    Deactivate(One),
    /// Say that an address was shown to be the user's
    Verify(One),
    /// Give a user another password, which is asked for or read from standard input, and end every session
    /// they have
    SetPassword(One),
    /// Print everything that is kept of a user, as JSON
    Export(One),
    /// Delete a user with everything that is theirs
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        one: One,
    },
}

#[derive(Debug, Args)]
struct One {
    /// The user's e-mail address, or id
    user: String,
    #[command(flatten)]
    options: Options,
}

const COLUMNS: [&str; 6] = ["email", "name", "flags", "scopes", "website", "id"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { email, superuser } => create(config, &email, superuser).await?,
        Action::List { query, options } => {
            let operator = Operator::new(options, config).await?;
            let path = format!("/users?q={}", encoded(query.as_deref().unwrap_or_default()));
            let items = operator.list(&path).await?;
            operator.print_items(&items, &COLUMNS, row);
        }
        Action::Show(one) => {
            let (operator, user) = find(one, config).await?;
            if operator.prints_json() {
                print::line(user);
            } else {
                operator.print_items(&[user], &COLUMNS, row);
            }
        }
        Action::Promote(one) => {
            change(one, config, json!({ "is_superuser": true }), "is a superuser").await?;
        }
        Action::Demote(one) => {
            change(one, config, json!({ "is_superuser": false }), "is no superuser").await?;
        }
        Action::Activate(one) => {
            change(one, config, json!({ "is_active": true }), "may sign in").await?;
        }
        Action::Deactivate(one) => {
            change(one, config, json!({ "is_active": false }), "may not sign in").await?;
        }
        Action::Verify(one) => {
            change(one, config, json!({ "is_verified": true }), "has a verified address").await?;
        }
        Action::SetPassword(one) => {
            let password = read_password()?;
            let said = "has another password, and no session";
            change(one, config, json!({ "password": password }), said).await?;
        }
        Action::Export(one) => {
            let (operator, user) = find(one, config).await?;
            let path = format!("/users/{}/export", print::text(&user["id"]));
            print::line(operator.call(Method::POST, &path, None).await?);
        }
        Action::Delete { yes, one } => {
            let (operator, user) = find(one, config).await?;
            let email = print::text(&user["email"]);
            if !yes && !confirmed(&format!("Delete {email} with everything that is theirs?"))? {
                return Err(format!("{email} was not deleted"));
            }
            let path = format!("/users/{}", print::text(&user["id"]));
            let answer = operator.call(Method::DELETE, &path, None).await?;
            operator.print_change(answer, &format!("{email} was deleted")).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(user: &Value) -> Vec<String> {
    let flags = ["is_active", "is_superuser", "is_verified"];
    let flags = flags.iter().filter(|flag| user[**flag] == true);
    let flags = flags.map(|flag| flag.trim_start_matches("is_")).collect::<Vec<_>>().join(" ");
    let name = format!("{} {}", print::text(&user["name"]), print::text(&user["surname"]));
    let scopes = print::text(&user["scopes"]);
    vec![
        print::text(&user["email"]),
        name.trim().to_owned(),
        flags,
        if scopes.is_empty() { "authenticated".to_owned() } else { scopes },
        print::text(&user["website"]),
        print::text(&user["id"]),
    ]
}

/// Whom to ask, and the user who is named.
async fn find(one: One, config: Config) -> Result<(Operator, Value), String> {
    let One { user: named, options } = one;
    let operator = Operator::new(options, config).await?;
    let user = self::named(&operator, &named).await?;
    Ok((operator, user))
}

/// The user with this e-mail address, or id.
pub(crate) async fn named(operator: &Operator, named: &str) -> Result<Value, String> {
    let none = || {
        format!(
            "there is no user {named}: `tessera user list` has them; the audit knows who was deleted by their id"
        )
    };
    if !named.contains('@') {
        let user = operator.call(Method::GET, &format!("/users/{}", encoded(named)), None).await;
        return Ok(user.map_err(|refused| refused.or_missing(none))?);
    }
    let users = operator.list(&format!("/users?q={}", encoded(named))).await?;
    let is_named = |user: &Value| {
        user["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case(named))
    };
    users.into_iter().find(is_named).ok_or_else(none)
}

async fn change(one: One, config: Config, changes: Value, said: &str) -> Result<(), String> {
    let (operator, user) = find(one, config).await?;
    let path = format!("/users/{}", print::text(&user["id"]));
    let changed = operator.call(Method::PATCH, &path, Some(changes)).await?;
    let said = format!("{} {said}", print::text(&changed["email"]));
    operator.print_change(changed, &said).await
}

async fn create(config: Config, email: &str, superuser: bool) -> Result<(), String> {
    operator::require_no_server("user create")?;
    let email: Email = email.parse().map_err(str::to_owned)?;
    let password = Password::new(read_password()?);
    let app = api::open_or_make(config).await?;
    let (maker, profile) = (Maker::Operator { superuser }, Profile::default());
    let user = registration::create(&app, email, password, profile, maker, None)
        .await
        .map_err(|error| error.to_string())?;
    let superuser = if superuser { "  superuser" } else { "" };
    print::line(format!("{}  {}{superuser}", user.id, user.email));
    Ok(())
}

/// Asks at the terminal; elsewhere nobody can be asked.
fn confirmed(question: &str) -> Result<bool, String> {
    if !stdin().is_terminal() {
        return Err(format!("{question} Say --yes, where nobody can be asked"));
    }
    print!("{question} [y/N] ");
    let _ = stdout().flush();
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(|error| format!("no answer could be read: {error}"))?;
    Ok(["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()))
}

fn read_password() -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the password could not be read: {error}");
    if !stdin().is_terminal() {
        let mut line = String::new();
        if stdin().read_line(&mut line).map_err(unreadable)? == 0 {
            return Err("the password is read from standard input, which is empty".to_owned());
        }
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("Password: ").map_err(unreadable)?;
    let second = rpassword::prompt_password("Once more: ").map_err(unreadable)?;
    if first == second { Ok(first) } else { Err("the two passwords differ: try again".to_owned()) }
}
