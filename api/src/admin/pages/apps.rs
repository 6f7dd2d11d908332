//! The page of applications and APIs. It only lists them: commands and `CLIENTS_FILE` change them.

use minijinja::{Value, context};
use poem::{Response, handler};

use super::{ROWS, RowsQuery, next, page};
use crate::access::caller::page::PageRequest;
use crate::base::error::Result;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::provider::client::{self, Client, Origin, RedirectUri, resource};

/// The maximum number of APIs on the page.
const MAX_APIS: u64 = 100;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::get("/admin/apps", show_apps)]
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
