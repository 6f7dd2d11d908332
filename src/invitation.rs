//! `tessera user invite`, `tessera user invitations` and `tessera user withdraw`

use api::base::config::Config;
use api::base::error::Code;
use api::base::mail_address::are_same;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Invite somebody by mail. The link in the mail works once, within a week
    Invite {
        /// The e-mail address of the person
        email: String,
        /// Make the account a superuser's, who can manage users and revoke the sessions and tokens of all users
        #[arg(long)]
        superuser: bool,
        /// The scopes of the account, separated by commas; the default is authenticated
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scope: Vec<String>,
        /// The name of the person, who can change it
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The surname of the person, who can change it
        #[arg(long, value_name = "NAME")]
        surname: Option<String>,
        /// The language of the mail and of the account, such as de or pt-BR
        #[arg(long, value_name = "TAG")]
        language: Option<String>,
        /// Send an invitation again, with a new link. It keeps its scopes
        #[arg(long, conflicts_with_all = ["superuser", "scope", "name", "surname", "language"])]
        again: bool,
        #[command(flatten)]
        options: Options,
    },
    /// List the invitations that were not accepted
    Invitations {
        #[command(flatten)]
        options: Options,
    },
    /// Withdraw an invitation. Its link does not work any more
    Withdraw {
        /// The e-mail address that is invited
        email: String,
        #[command(flatten)]
        options: Options,
    },
}

const COLUMNS: [&str; 7] =
    ["email", "state", "scopes", "superuser", "invited by", "sent", "expires"];

pub(crate) async fn run(action: Action, config: Config) -> Result<(), String> {
    match action {
        Action::Invite { email, superuser, scope, name, surname, language, again, options } => {
            // A mail is stored encrypted until it is sent, and the key comes from APP_SECRET.
            let operator = Operator::with_secret(options, config).await?;
            let scopes = Some(scope).filter(|scope| !scope.is_empty());
            let body = json!({
                "email": email,
                "is_superuser": superuser,
                "scopes": scopes,
                "name": name,
                "surname": surname,
                "language": language,
            });
            let sent = match again {
                true => send_again(&operator, &email).await?,
                false => send(&operator, &email, body).await?,
            };
            if operator.prints_json() {
                print::line(sent);
            } else {
                let (email, expires) = (print::text(&sent["email"]), print::time(&sent["expires"]));
                print::line(format!(
                    "{email} is invited. The link in the mail works until {expires}"
                ));
            }
        }
        Action::Invitations { options } => {
            let operator = Operator::new(options, config).await?;
            let items = operator.list("/admin/invitations").await?;
            operator.print_items(&items, &COLUMNS, row);
        }
        Action::Withdraw { email, options } => {
            let operator = Operator::new(options, config).await?;
            let id = id_of(&operator, &email).await?;
            operator.call(Method::DELETE, &format!("/admin/invitations/{id}"), None).await?;
            print::line(format!("the invitation of {email} is withdrawn"));
        }
    }
    Ok(())
}

async fn send(operator: &Operator, email: &str, body: Value) -> Result<Value, String> {
    let exists = || {
        format!(
            "{email} already has an invitation: add --again to send it again, or use `tessera user withdraw {email}`"
        )
    };
    let sent = operator.call(Method::POST, "/users", Some(body)).await;
    Ok(sent.map_err(|refused| refused.or_for(Code::InvitationAlreadyExists, exists))?)
}

async fn send_again(operator: &Operator, email: &str) -> Result<Value, String> {
    let path = format!("/admin/invitations/{}/resend", id_of(operator, email).await?);
    Ok(operator.call(Method::POST, &path, None).await?)
}

fn row(invitation: &Value) -> Vec<String> {
    vec![
        print::text(&invitation["email"]),
        print::text(&invitation["state"]),
        print::text(&invitation["scopes"]),
        print::text(&invitation["is_superuser"]),
        print::text(&invitation["invited_by"]),
        print::time(&invitation["sent"]),
        print::time(&invitation["expires"]),
    ]
}

/// Returns the id of the invitation of an address.
async fn id_of(operator: &Operator, email: &str) -> Result<String, String> {
    let items = operator.list("/admin/invitations").await?;
    let is_named =
        |item: &&Value| item["email"].as_str().is_some_and(|known| are_same(known, email));
    let found = items.iter().find(is_named).map(|item| encoded(&print::text(&item["id"])));
    found.ok_or_else(|| format!("{email} has no invitation: see `tessera user invitations`"))
}
