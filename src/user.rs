//! `tessera user`

use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;

use api::base::config::Config;
use api::base::mail_address::are_same;
use api::identity::factor::Password;
use api::identity::user::{Email, Profile};
use api::self_service::registration::{self, Maker};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::invitation;
use crate::operator::{self, Operator, Options, encoded};
use crate::print;
use crate::user_list::{self, COLUMNS, List};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a user with a verified address. The password is read from the terminal or from standard input
    Create {
        /// The e-mail address of the user
        email: String,
        /// Create a superuser, who can manage users and revoke the sessions and tokens of all users
        #[arg(long)]
        superuser: bool,
        #[command(flatten)]
        person: Person,
    },
    /// Change the address, name, surname, web page or language of a user. An empty text removes one
    Update(Update),
    #[command(flatten)]
    Invitation(invitation::Action),
    /// List users, ordered by address
    List(List),
    /// Show a user
    Show(One),
    /// Make a user a superuser, who can manage users and revoke the sessions and tokens of all users
    Promote(One),
    /// Make a superuser an ordinary user. The last superuser cannot be demoted
    Demote(One),
    /// Allow a user to sign in
    Activate(One),
    /// Stop a user from signing in, and end all of their sessions
    Deactivate(One),
    /// Mark the address of a user as verified
    Verify(One),
    /// Set the password of a user, and end all of their sessions. The password is read from the terminal or from
    /// standard input
    SetPassword(One),
    /// Print all data of a user as JSON
    Export(One),
    /// Delete a user and all of their data
    Delete {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        one: One,
    },
}

#[derive(Debug, Args)]
struct One {
    /// The user's e-mail address or id
    user: String,
    #[command(flatten)]
    options: Options,
}

/// The profile of a user.
#[derive(Debug, Args)]
struct Person {
    /// The name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The surname
    #[arg(long, value_name = "NAME")]
    surname: Option<String>,
    /// The web page
    #[arg(long, value_name = "URL")]
    website: Option<String>,
    /// The language of mails and pages, such as de or pt-BR
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// The new address. It is not verified
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    #[command(flatten)]
    person: Person,
    #[command(flatten)]
    one: One,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { email, superuser, person } => {
            create(config, &email, superuser, person).await?;
        }
        Action::Update(changes) => update(changes, config).await?,
        Action::Invitation(action) => invitation::run(action, config).await?,
        Action::List(list) => user_list::run(list, config).await?,
        Action::Show(one) => {
            let (operator, user) = find(one, config).await?;
            if operator.prints_json() {
                print::line(user);
            } else {
                let user = user_list::with_dates(&operator, user).await?;
                operator.print_items(&[user], &COLUMNS, user_list::row);
            }
        }
        Action::Promote(one) => {
            change(one, config, json!({ "is_superuser": true }), "is a superuser").await?;
        }
        Action::Demote(one) => {
            change(one, config, json!({ "is_superuser": false }), "is not a superuser").await?;
        }
        Action::Activate(one) => {
            change(one, config, json!({ "is_active": true }), "can sign in").await?;
        }
        Action::Deactivate(one) => {
            change(one, config, json!({ "is_active": false }), "cannot sign in").await?;
        }
        Action::Verify(one) => {
            change(one, config, json!({ "is_verified": true }), "has a verified address").await?;
        }
        Action::SetPassword(one) => {
            let password = read_password()?;
            let result = "has a new password and no sessions";
            change(one, config, json!({ "password": password }), result).await?;
        }
        Action::Export(one) => {
            let (operator, user) = find(one, config).await?;
            let path = format!("/users/{}/export", print::text(&user["id"]));
            print::line(operator.call(Method::POST, &path, None).await?);
        }
        Action::Delete { yes, one } => {
            let (operator, user) = find(one, config).await?;
            let email = print::text(&user["email"]);
            if !yes && !confirmed(&format!("Delete {email} and all of their data?"))? {
                return Err(format!("{email} was not deleted"));
            }
            let path = format!("/users/{}", print::text(&user["id"]));
            let answer = operator.call(Method::DELETE, &path, None).await?;
            operator.print_change(answer, &format!("{email} was deleted")).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates the operator, and gets the user whom the arguments name.
async fn find(one: One, config: Config) -> Result<(Operator, Value), String> {
    let One { user: named, options } = one;
    let operator = Operator::new(options, config).await?;
    let user = self::named(&operator, &named).await?;
    Ok((operator, user))
}

/// Gets the user with this e-mail address or id.
///
/// # Errors
///
/// If there is no such user.
pub(crate) async fn named(operator: &Operator, named: &str) -> Result<Value, String> {
    let none = || {
        format!(
            "there is no user {named}: see `tessera user list`. To find a deleted user in the audit, use their id"
        )
    };
    if !named.contains('@') {
        let user = operator.call(Method::GET, &format!("/users/{}", encoded(named)), None).await;
        return Ok(user.map_err(|refused| refused.or_missing(none))?);
    }
    let users = operator.list(&format!("/users?q={}", encoded(named))).await?;
    let is_named =
        |user: &Value| user["email"].as_str().is_some_and(|email| are_same(email, named));
    users.into_iter().find(is_named).ok_or_else(none)
}

/// Changes a user, and prints their address with the result.
async fn change(one: One, config: Config, changes: Value, result: &str) -> Result<(), String> {
    let (operator, user) = find(one, config).await?;
    let path = format!("/users/{}", print::text(&user["id"]));
    let changed = operator.call(Method::PATCH, &path, Some(changes)).await?;
    let sentence = format!("{} {result}", print::text(&changed["email"]));
    operator.print_change(changed, &sentence).await
}

/// Changes the address and the profile of a user.
async fn update(changes: Update, config: Config) -> Result<(), String> {
    let Update { email, person: Person { name, surname, website, language }, one } = changes;
    let given = [
        ("email", email),
        ("name", name),
        ("surname", surname),
        ("website", website),
        ("language", language),
    ];
    let given: Map<String, Value> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))))
        .collect();
    if given.is_empty() {
        return Err("nothing changes: give at least one of --email, --name, --surname, --website and --language"
            .to_owned());
    }
    change(one, config, Value::Object(given), "is changed").await
}

async fn create(
    config: Config,
    email: &str,
    superuser: bool,
    person: Person,
) -> Result<(), String> {
    operator::require_no_server("user create")?;
    let email: Email = email.parse().map_err(str::to_owned)?;
    let Person { name, surname, website, language } = person;
    let profile = Profile::read(name, surname, website, language)?;
    let password = Password::new(read_password()?);
    let app = api::open_or_make(config).await?;
    let maker = Maker::Operator { superuser };
    let user = registration::create(&app, email, password, profile, maker, None)
        .await
        .map_err(|error| error.to_string())?;
    let superuser = if superuser { "  superuser" } else { "" };
    print::line(format!("{}  {}{superuser}", user.id, user.email));
    Ok(())
}

/// Asks for a confirmation at the terminal.
///
/// # Errors
///
/// If standard input is not a terminal.
fn confirmed(question: &str) -> Result<bool, String> {
    if !stdin().is_terminal() {
        return Err(format!("{question} Standard input is not a terminal: add --yes to confirm"));
    }
    print!("{question} [y/N] ");
    let _ = stdout().flush();
    let mut line = String::new();
    stdin()
        .read_line(&mut line)
        .map_err(|error| format!("the confirmation could not be read: {error}"))?;
    Ok(["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()))
}

fn read_password() -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the password could not be read: {error}");
    if !stdin().is_terminal() {
        let mut line = String::new();
        if stdin().read_line(&mut line).map_err(unreadable)? == 0 {
            return Err("there is no password on standard input, which is empty".to_owned());
        }
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("Password: ").map_err(unreadable)?;
    let second = rpassword::prompt_password("Repeat the password: ").map_err(unreadable)?;
    if first == second { Ok(first) } else { Err("the passwords differ: try again".to_owned()) }
}
