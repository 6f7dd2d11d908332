//! The pages of API tokens and services.

use std::net::IpAddr;

use entity::PrincipalId;
use minijinja::{Value, context};
use poem::{Response, handler};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::form::{Posted, ScopeList};
use super::{Administrator, Outcome, ROWS, RowsQuery, after, next, page, proof};
use crate::access;
use crate::access::api_token::ApiToken;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::form::{Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::service::{self, ServiceName};
use crate::self_service::account::pages::form::{Days, line, once};
use crate::self_service::api_token::{self, NewApiToken, Selection};
use crate::self_service::registration::pages::invalid;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/admin/api-tokens", show_tokens, change_tokens)]
}

#[handler]
async fn show_tokens(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/tokens.html", values(&request, rows)).await
}

async fn values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let app = &request.app;
    let tokens = access::api_token::list_all(app, rows.after.clone(), ROWS).await?;
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
        from => rows.query(),
        once => random::id().to_string(),
        next => next(last, &[]),
        ..proof(request).await?
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

/// A form of the page of API tokens and services.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum TokenForm {
    DeleteToken {
        #[serde(default)]
        id: String,
    },
    CreateService {
        #[serde(default)]
        name: Field<ServiceName>,
        #[serde(default)]
        scopes: Field<ScopeList>,
    },
    DeleteService {
        #[serde(default)]
        name: String,
    },
    CreateToken(NewToken),
    #[serde(other)]
    Unknown,
}

/// The form that creates an API token.
#[derive(Deserialize, Serialize)]
struct NewToken {
    /// The token's id, so that a form that is sent twice makes one token.
    id: Option<Field<Uuid>>,
    username: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: Field<Days>,
    #[serde(default)]
    scopes: Field<ScopeList>,
    /// The password of the superuser who sends the form, if they have one.
    #[serde(default, skip_serializing)]
    current: String,
}

impl PageForm for TokenForm {
    fn placement(&self) -> Placement {
        match self {
            TokenForm::DeleteToken { .. } => placed("delete-token", "tokens", &[]),
            TokenForm::CreateService { .. } => {
                placed("create-service", "service", &["name", "scopes"])
            }
            TokenForm::DeleteService { .. } => placed("delete-service", "services", &[]),
            TokenForm::CreateToken(_) => {
                placed("create-token", "token", &["username", "name", "days", "scopes", "current"])
            }
            TokenForm::Unknown => Placement::default(),
        }
    }
}

#[handler]
async fn change_tokens(
    peer: PeerAddress,
    PageQuery(rows): PageQuery<RowsQuery>,
    posted: CheckedForm<Posted<TokenForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = changed(&administrator, form, peer.0).await;
    Ok(after(&request, &filled, outcome, "admin/tokens.html", values(&request, rows)).await)
}

async fn changed(
    administrator: &Administrator<'_>,
    form: TokenForm,
    ip: Option<IpAddr>,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    match form {
        TokenForm::DeleteToken { id } => delete_token(administrator, id).await,
        TokenForm::CreateService { name, scopes } => {
            let name = name.value.map_err(|fault| invalid("name", "service-name-wrong", fault))?;
            let scopes = scopes.value?.0;
            admin::service::create(app, &administrator.superuser()?, name, scopes).await?;
            Ok(Outcome::Flash("service-made"))
        }
        TokenForm::DeleteService { name } => {
            admin::service::delete(app, &administrator.superuser()?, &name).await?;
            Ok(Outcome::Flash("service-deleted"))
        }
        TokenForm::CreateToken(new) => create_token(administrator, new, ip).await,
        TokenForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

/// Deletes an API token of a user or service.
pub(super) async fn delete_token(administrator: &Administrator<'_>, id: String) -> Result<Outcome> {
    let app = &administrator.request.app;
    if api_token::delete(app, &administrator.caller, Selection::Id(id)).await? == 0 {
        return Err(Code::NotFound.into());
    }
    Ok(Outcome::Flash("token-deleted"))
}

/// Creates an API token for a user or a service. The form has a field for the password.
async fn create_token(
    administrator: &Administrator<'_>,
    new: NewToken,
    ip: Option<IpAddr>,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    let NewToken { id, username, name, days, scopes, current } = new;
    let caller = administrator.proved(current, ip).await?;
    let new = NewApiToken {
        id: once(id)?,
        username,
        name: line("name", name, 64)?,
        secret: None,
        expire: days.value?.seconds(),
        scopes: Some(scopes.value?.0).filter(|scopes| scopes.iter().next().is_some()),
    };
    let made = api_token::create(app, &caller, new).await?;
    Ok(Outcome::Secret(made.secret.expose().to_owned()))
}
