//! Mails that wait, signing keys, servers and settings.

use minijinja::{Value, context};
use poem::{Response, handler};

use super::{Act, Done, Filled, From, ROWS, after, next, page};
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::platform::{key, mail, replica};

/// The pages.
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
    PageQuery(from): PageQuery<From>,
) -> poem::Result<Response> {
    page(&request, "admin/mail.html", mail_values(&request, from)).await
}

async fn mail_values(request: &PageRequest, from: From) -> Result<Value> {
    let after = from.after.as_deref().and_then(|id| id.parse().ok());
    let waiting = mail::waiting(&request.app, after, ROWS).await?;
    let last = waiting.next(|last| last.id.to_string());
    let mails: Vec<_> = waiting
        .items
        .iter()
        .map(|mail| {
            // Whom it is for and what it is about; never what it brings.
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
        context! { mails, sends => request.app.mailer.sends(), from => from.query(), next => next(last, &[]) },
    )
}

#[handler]
async fn change_mail(
    from: PeerAddress,
    PageQuery(rows): PageQuery<From>,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let scope = if form.act == "hasten" { Scope::ADMIN } else { Scope::SUPER };
    let act = Act::by(&mut request, scope, &form, &from).await?;
    let outcome = mail_changed(&act, form.clone()).await;
    Ok(after(&request, &form, outcome, "admin/mail.html", mail_values(&request, rows)).await)
}

async fn mail_changed(act: &Act<'_>, form: Filled) -> Result<Done> {
    let (app, id) = (&act.request.app, form.id.unwrap_or_default());
    match form.act.as_str() {
        "hasten" => {
            mail::hasten(app, &id).await?;
            Ok(Done::Said("mail-hastened"))
        }
        "discard" => {
            admin::mail::discard(app, &act.superuser()?, &id).await?;
            Ok(Done::Said("mail-discarded"))
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}

#[handler]
async fn show_keys(request: PageRequest) -> poem::Result<Response> {
    page(&request, "admin/keys.html", key_values(&request)).await
}

async fn key_values(request: &PageRequest) -> Result<Value> {
    let keys = key::list(&request.app).await?;
    let keys: Vec<_> = keys
        .iter()
        .map(|key| {
            context! {
                kid => &key.kid,
                algorithm => &key.algorithm,
                state => key.state.as_str(),
                created => key.created,
                active => key.active,
                can_be_retired => ![key::State::Active, key::State::Retired].contains(&key.state),
            }
        })
        .collect();
    let current = request.app.config.jwt_algorithm.name().to_owned();
    Ok(context! { keys, current })
}

#[handler]
async fn change_keys(from: PeerAddress, posted: CheckedForm<Filled>) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let act = Act::by(&mut request, Scope::SUPER, &form, &from).await?;
    let outcome = keys_changed(&act, form.clone()).await;
    Ok(after(&request, &form, outcome, "admin/keys.html", key_values(&request)).await)
}

async fn keys_changed(act: &Act<'_>, form: Filled) -> Result<Done> {
    let (app, superuser) = (&act.request.app, &act.superuser()?);
    match form.act.as_str() {
        "rotate" => {
            let algorithm = form.algorithm.unwrap_or_default().parse();
            let algorithm = algorithm.map_err(|_| Code::UnprocessableContent)?;
            admin::key::rotate(app, superuser, Some(algorithm), form.now.is_some()).await?;
            Ok(Done::Said("key-made"))
        }
        "retire" => {
            let kid = form.id.unwrap_or_default();
            admin::key::retire(app, superuser, &kid, form.force.is_some()).await?;
            Ok(Done::Said("key-retired-done"))
        }
        _ => Err(Code::UnprocessableContent.into()),
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
    let age = request.app.revocations.age().map(|age| age.as_millis());
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
                origin => setting.origin,
            }
        })
        .collect();
    Ok(context! { settings })
}
