//! The pages of waiting mails, signing keys, servers and settings.

use minijinja::{Value, context};
use poem::{Response, handler};
use serde::{Deserialize, Serialize};
use tessera_verify::SigningAlgorithm;

use super::form::Posted;
use super::{Administrator, Outcome, ROWS, RowsQuery, after, next, page};
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::form::{Checkbox, Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::platform::{key, mail, replica};

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/admin/mails", show_mails, change_mail),
        PageRoute::form("/admin/signing-keys", show_keys, change_keys),
        PageRoute::get("/admin/servers", show_servers),
        PageRoute::get("/admin/settings", show_settings),
    ]
}

#[handler]
async fn show_mails(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/mail.html", mail_values(&request, rows)).await
}

async fn mail_values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let after = rows.after.as_deref().and_then(|id| id.parse().ok());
    let waiting = mail::waiting(&request.app, after, ROWS).await?;
    let last = waiting.next(|last| last.id.to_string());
    let mails: Vec<_> = waiting
        .items
        .iter()
        .map(|mail| {
            // The recipient and the kind of the mail are shown, but never its links and codes.
            let letter = mail.work.as_ref();
            context! {
                id => mail.id.to_string(),
                to => letter.map(|letter| &letter.to),
                template => letter.map(|letter| letter.template.name()),
                attempts => mail.attempts,
                due => mail.due,
                expires => mail.expires,
            }
        })
        .collect();
    Ok(
        context! { mails, sends => request.app.mail.sends(), from => rows.query(), next => next(last, &[]) },
    )
}

/// A form of the list of mails.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum MailForm {
    Hasten {
        #[serde(default)]
        id: String,
    },
    Discard {
        #[serde(default)]
        id: String,
    },
    #[serde(other)]
    Unknown,
}

impl PageForm for MailForm {
    fn placement(&self) -> Placement {
        match self {
            MailForm::Hasten { .. } => placed("hasten", "", &[]),
            MailForm::Discard { .. } => placed("discard", "", &[]),
            MailForm::Unknown => Placement::default(),
        }
    }
}

#[handler]
async fn change_mail(
    peer: PeerAddress,
    PageQuery(rows): PageQuery<RowsQuery>,
    posted: CheckedForm<Posted<MailForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let scope = match form {
        MailForm::Hasten { .. } => Scope::ADMIN,
        MailForm::Discard { .. } | MailForm::Unknown => Scope::SUPER,
    };
    let filled = FilledForm::of(&form);
    let administrator = Administrator::of(&mut request, scope, &filled, proof, &peer).await?;
    let outcome = mail_changed(&administrator, form).await;
    Ok(after(&request, &filled, outcome, "admin/mail.html", mail_values(&request, rows)).await)
}

async fn mail_changed(administrator: &Administrator<'_>, form: MailForm) -> Result<Outcome> {
    let app = &administrator.request.app;
    match form {
        MailForm::Hasten { id } => {
            mail::hasten(app, &id).await?;
            Ok(Outcome::Flash("mail-hastened"))
        }
        MailForm::Discard { id } => {
            admin::mail::discard(app, &administrator.superuser()?, &id).await?;
            Ok(Outcome::Flash("mail-discarded"))
        }
        MailForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

#[handler]
async fn show_keys(request: PageRequest) -> poem::Result<Response> {
    page(&request, "admin/keys.html", key_values(&request)).await
}

async fn key_values(request: &PageRequest) -> Result<Value> {
    let keys = admin::key::list(&request.app).await?.0;
    let keys: Vec<_> = keys
        .iter()
        .map(|key| {
            context! {
                kid => &key.kid,
                algorithm => &key.algorithm,
                state => key.state.as_str(),
                created => key.created,
                active => key.active,
                can_be_retired => ![key::Phase::Active, key::Phase::Retired].contains(&key.state),
            }
        })
        .collect();
    let current = request.app.config.jwt_algorithm.name().to_owned();
    Ok(context! { keys, current })
}

/// A form of the page of signing keys.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum KeyForm {
    Rotate {
        #[serde(default)]
        algorithm: Field<SigningAlgorithm>,
        /// The checkbox to sign with the new key at once.
        #[serde(default)]
        now: Checkbox,
    },
    Retire {
        #[serde(default)]
        id: String,
        #[serde(default)]
        force: Checkbox,
    },
    #[serde(other)]
    Unknown,
}

impl PageForm for KeyForm {
    fn placement(&self) -> Placement {
        match self {
            KeyForm::Rotate { .. } => placed("rotate", "", &[]),
            KeyForm::Retire { .. } => placed("retire", "", &[]),
            KeyForm::Unknown => Placement::default(),
        }
    }
}

#[handler]
async fn change_keys(
    peer: PeerAddress,
    posted: CheckedForm<Posted<KeyForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = keys_changed(&administrator, form).await;
    Ok(after(&request, &filled, outcome, "admin/keys.html", key_values(&request)).await)
}

async fn keys_changed(administrator: &Administrator<'_>, form: KeyForm) -> Result<Outcome> {
    let (app, superuser) = (&administrator.request.app, &administrator.superuser()?);
    match form {
        KeyForm::Rotate { algorithm, now } => {
            let algorithm = algorithm.value.map_err(|_| Code::UnprocessableContent)?;
            admin::key::rotate(app, superuser, Some(algorithm), now.0).await?;
            Ok(Outcome::Flash("key-made"))
        }
        KeyForm::Retire { id, force } => {
            admin::key::retire(app, superuser, &id, force.0).await?;
            Ok(Outcome::Flash("key-retired-done"))
        }
        KeyForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

#[handler]
async fn show_servers(request: PageRequest) -> poem::Result<Response> {
    page(&request, "admin/servers.html", server_values(&request)).await
}

async fn server_values(request: &PageRequest) -> Result<Value> {
    let (replicas, last) = replica::list(&request.app).await?;
    let replicas: Vec<_> = replicas
        .iter()
        .map(|replica| {
            context! {
                name => &replica.name,
                seen => replica.seen,
                seq => replica.seq,
                behind => (last - replica.seq).max(0),
            }
        })
        .collect();
    let age = request.app.revocation.age().map(|age| age.as_millis());
    Ok(context! { replicas, last, age })
}

#[handler]
async fn show_settings(request: PageRequest) -> poem::Result<Response> {
    page(&request, "admin/settings.html", setting_values(&request)).await
}

async fn setting_values(request: &PageRequest) -> Result<Value> {
    let settings: Vec<_> = request
        .app
        .config
        .shown
        .iter()
        .map(|setting| {
            context! {
                name => &setting.name,
                value => &setting.value,
                // A text cannot have a dot in its name.
                origin => if setting.origin == ".env" { "dotenv" } else { setting.origin },
            }
        })
        .collect();
    Ok(context! { settings })
}
