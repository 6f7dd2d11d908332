//! API tokens and services.

use entity::PrincipalId;
use minijinja::{Value, context};
use poem::{Response, handler};

use super::{Act, Done, Filled, From, ROWS, after, next, page, people};
use crate::access;
use crate::access::api_token::ApiToken;
use crate::access::caller::Caller;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::service;
use crate::self_service::account::pages::{line, once, seconds_of};
use crate::self_service::api_token::{self, NewApiToken, Selection};
use crate::self_service::registration::pages::invalid;

/// The pages.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/admin/api-tokens", show_tokens, change_tokens)]
}

#[handler]
async fn show_tokens(
    request: PageRequest,
    PageQuery(from): PageQuery<From>,
) -> poem::Result<Response> {
    page(&request, "admin/tokens.html", values(&request, from)).await
}

async fn values(request: &PageRequest, from: From) -> Result<Value> {
    let app = &request.app;
    let tokens = access::api_token::list_all(app, from.after.clone(), ROWS).await?;
    let last = tokens.next(|(token, _)| token.id.to_string());
    let Page { items: services, more: more_services } = service::list(app, None, 100).await?;
    let services: Vec<_> = services
        .iter()
        .map(|service| {
            context! {
                name => &service.name,
                scopes => service.scopes.to_string(),
                is_active => service.is_active,
                created => service.created,
            }
        })
        .collect();
    Ok(context! {
        tokens => tokens.items.iter().map(|(token, owner)| seen(token, Some(owner))).collect::<Vec<_>>(),
        services,
        more_services,
        from => from.query(),
        once => random::id().to_string(),
        next => next(last, &[]),
    })
}

pub(super) fn seen(token: &ApiToken, owner: Option<&str>) -> Value {
    context! {
        id => token.id.to_string(),
        name => &token.name,
        prefix => &token.prefix,
        scopes => token.scopes.to_string(),
        created => token.created,
        expires => token.expires,
        last_used => token.last_used,
        owner,
        user => match token.owner {
            PrincipalId::User(id) => Some(id.to_string()),
            PrincipalId::Service(_) => None,
        },
    }
}

#[handler]
async fn change_tokens(
    from: PeerAddress,
    PageQuery(rows): PageQuery<From>,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let act = Act::by(&mut request, Scope::SUPER, &form, &from).await?;
    let outcome = changed(&act, form.clone(), from.0.as_deref()).await;
    Ok(after(&request, &form, outcome, "admin/tokens.html", values(&request, rows)).await)
}

async fn changed(act: &Act<'_>, form: Filled, from: Option<&str>) -> Result<Done> {
    let app = &act.request.app;
    let name = form.name.unwrap_or_default();
    match form.act.as_str() {
        "delete-token" => {
            let selection = Selection::Id(form.id.unwrap_or_default());
            if api_token::delete(app, &act.caller, selection).await? == 0 {
                return Err(Code::NotFound.into());
            }
            Ok(Done::Said("token-deleted"))
        }
        "create-service" => {
            let name =
                name.parse().map_err(|fault| invalid("name", "service-name-wrong", fault))?;
            let scopes = people::scopes(form.scopes.as_deref())?;
            admin::service::create(app, &act.superuser()?, name, scopes).await?;
            Ok(Done::Said("service-made"))
        }
        "delete-service" => {
            admin::service::delete(app, &act.superuser()?, &name).await?;
            Ok(Done::Said("service-deleted"))
        }
        "create-token" => {
            let current = Password::new(form.current.unwrap_or_default());
            let account = Account::User(act.signed_in.user.id);
            let authentication = password_check::prove(app, account, current, from).await?;
            let caller = Caller::browser(&act.signed_in, Some(authentication));
            let new = NewApiToken {
                id: once(form.id)?,
                username: form.username,
                name: line("name", Some(name), 64)?,
                secret: None,
                expire: seconds_of(form.days)?,
                scopes: match form.scopes.as_deref().map(str::trim) {
                    None | Some("") => None,
                    scopes => Some(people::scopes(scopes)?),
                },
            };
            let made = api_token::create(app, &caller, new).await?;
            Ok(Done::Secret(made.secret.expose().to_owned()))
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}
