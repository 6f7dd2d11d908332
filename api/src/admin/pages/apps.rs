//! The pages of applications and APIs. They only show them: commands and `CLIENTS_FILE` change them.

use minijinja::{Value, context};
use poem::web::Path;
use poem::{Response, handler};

use super::{ROWS, RowsQuery, next, page};
use crate::access::caller::page::PageRequest;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::provider::client::recorded::{self, Record, Selection};
use crate::provider::client::{
    self, Client, Origin, RedirectUri, Settings, StoredSecret, resource,
};

/// The maximum number of APIs on the page.
const MAX_APIS: u64 = 100;

/// The maximum number of refusals on the page of an application.
const MAX_REFUSALS: usize = 20;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/admin/apps", show_apps),
        PageRoute::get("/admin/apps/{client_id}", show_app),
    ]
}

#[handler]
async fn show_app(request: PageRequest, Path(client_id): Path<String>) -> poem::Result<Response> {
    page(&request, "admin/app.html", app_values(&request, &client_id)).await
}

async fn app_values(request: &PageRequest, client_id: &str) -> Result<Value> {
    let client = client::find(&request.app, client_id).await?.ok_or(Code::NotFound)?;
    let now = clock::now();
    let secrets: Vec<_> = client::secrets(&request.app, &client)
        .await?
        .into_iter()
        .map(|(prefix, secret)| {
            let StoredSecret { id: _, client: _, created, expires, last_used } = secret;
            context! {
                prefix,
                created => created.seconds(),
                last_used => last_used.map(Timestamp::seconds),
                expires => expires.map(Timestamp::seconds),
                retired => expires.is_some_and(|at| at <= now),
            }
        })
        .collect();
    let refusals = recorded::list(&request.app, Selection::Client(&client)).await?.items;
    let refusals: Vec<_> = refusals.into_iter().take(MAX_REFUSALS).map(refusal).collect();
    let Settings { resources, audience, only, .. } = &client.settings;
    let grant_types: Vec<&str> = client.grant_types.iter().map(|kind| (*kind).into()).collect();
    Ok(context! {
        app => app(&client),
        scopes => client.scopes.to_string(),
        grant_types => grant_types.join(" "),
        resources => resources.iter().chain(audience).cloned().collect::<Vec<_>>(),
        only => only.join(" "),
        created => client.created.seconds(),
        updated => client.updated.seconds(),
        secrets,
        refusals,
    })
}

fn refusal(record: Record) -> Value {
    let Record { name, error, endpoint, expected, came, remedy, reference, count, last, .. } =
        record;
    let last = last.seconds();
    context! { name, error, endpoint, expected, came, remedy, reference, count, last }
}

#[handler]
async fn show_apps(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/apps.html", values(&request, rows)).await
}

async fn values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let after = rows.after.filter(|after| !after.contains('\0'));
    let clients = client::list(&request.app, after, ROWS).await?;
    let last = clients.next(|last| last.client_id.clone());
    let apps: Vec<_> = clients.items.iter().map(app).collect();
    let resources = resource::list(&request.app, None, MAX_APIS).await?;
    let apis: Vec<_> = resources
        .items
        .iter()
        .map(|api| context! { uri => &api.uri, name => &api.name, scopes => api.scopes.to_string(), enabled => api.is_active })
        .collect();
    Ok(context! { apps, apis, next => next(last, &[]) })
}

fn app(client: &Client) -> Value {
    let redirects: Vec<_> = client.redirect_uris.iter().map(RedirectUri::to_string).collect();
    context! {
        id => client.client_id.clone(),
        name => client.name.clone(),
        redirects,
        public => client.is_public(),
        declared => client.origin == Origin::File,
        trusted => client.settings.trusted,
        enabled => client.is_active,
    }
}
