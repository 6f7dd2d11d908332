//! The pages for linking an identity by hand, and for taking back a link that somebody else made.

use std::sync::Arc;

use minijinja::context;
use poem::http::StatusCode;
use poem::web::Path;
use poem::{Request, Response, handler};
use serde::Deserialize;

use super::{Arrival, find, late, leave, refused, spend};
use crate::access::caller::UserCaller;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::Device;
use crate::access::session::browser;
use crate::base::error::Code;
use crate::federation::federated_identity::callback::Refused;
use crate::federation::federated_identity::http::{bind, bound};
use crate::federation::federated_identity::{linking, whole};
use crate::federation::upstream::sealed::{Door, Purpose};
use crate::federation::upstream::start::{self, Start};
use crate::federation::upstream::{Refusal, Why};
use crate::http::browser_request::{PageQuery, in_query, refuse};

/// The query of the page before linking.
#[derive(Deserialize)]
struct LinkQuery {
    /// Present if a form led here. Then a link leads on, because browsers follow no redirect of a form to a provider.
    shown: Option<String>,
}

/// The link, and the form, that take back an identity.
#[derive(Deserialize)]
struct TakeBackForm {
    #[serde(default)]
    token: String,
}

/// The form that confirms linking.
#[derive(Deserialize)]
struct LinkForm {
    arrival: String,
}

#[handler]
pub(super) async fn begin(
    http: &Request,
    request: PageRequest,
    Path(name): Path<String>,
    PageQuery(query): PageQuery<LinkQuery>,
) -> poem::Result<Response> {
    let upstream = find(&request, &name)?;
    let here = in_query(&format!("/account/link/{name}?shown=1"));
    let Some(signed_in) = &request.signed_in else {
        return Ok(request.redirect(&format!("login?next={here}")));
    };
    let standing = browser::standing_proof(&request.app, signed_in).await;
    let standing = standing.map_err(|error| refuse(&request, error))?;
    if standing.is_none() && !browser::has_just_proved(&request.app, signed_in) {
        return Ok(request.redirect(&format!("login?again=1&next={here}")));
    }
    let browser = bind(&request.app, http);
    let start = Start {
        purpose: Purpose::link(signed_in.session, signed_in.user.id),
        door: Door::Page,
        browser: &browser,
        next: "account/password",
        again: false,
        scopes: &[],
        login_hint: None,
    };
    Ok(match start::url(&request.app, &upstream, start).await {
        Ok(url) if query.shown.is_none() => leave(&url),
        Ok(url) => {
            let values = context! {
                name, label => upstream.label(), there => "", arrival => "", shown => true,
                way => url.as_str(),
            };
            request.page(StatusCode::OK, "link.html", values)
        }
        Err(refusal) => {
            let (upstream, next) = (Some(upstream), String::new());
            refused(&request, Refused { refusal, upstream, next, is_begun_here: false }).await
        }
    })
}

#[handler]
pub(super) async fn confirm(
    http: &Request,
    device: Device,
    Path(name): Path<String>,
    posted: CheckedForm<LinkForm>,
) -> poem::Result<Response> {
    let CheckedForm { form: LinkForm { arrival: text }, request } = posted;
    let signed_in = request.signed_in()?;
    let upstream = find(&request, &name)?;
    let own = Purpose::link(signed_in.session, signed_in.user.id);
    let browser = bound(&request.app, http);
    let arrival = match Arrival::open(&request.app, browser, &name, &text) {
        Ok(arrival) if arrival.purpose == own => arrival,
        Ok(_) => return Ok(late(&request, upstream).await),
        Err(refusal) => {
            let (upstream, next) = (Some(upstream), String::new());
            return Ok(refused(
                &request,
                Refused { refusal, upstream, next, is_begun_here: false },
            )
            .await);
        }
    };
    let (app, ip, there) = (request.app.clone(), device.ip, Arc::clone(&upstream));
    let linked = whole(async move {
        if !spend(&app, &arrival.id, arrival.at).await? {
            let remedy = "The form was sent twice. The first one has done it.";
            return Ok(Err(Refusal::new("arrival.spent", Why::Finished, remedy)));
        }
        let caller = UserCaller::browser(&signed_in, None, None);
        linking::link(&app, &caller, &there, &arrival.said, ip).await
    })
    .await;
    match linked.map_err(|error| refuse(&request, error))? {
        Ok(()) => Ok(request.redirect_with_flash("account/password", "ways", "way-linked")),
        Err(refusal) => {
            let (upstream, next) = (Some(upstream), String::new());
            Ok(refused(&request, Refused { refusal, upstream, next, is_begun_here: true }).await)
        }
    }
}

/// The page of the link in the mail about a new identity. Opening it changes nothing.
#[handler]
pub(super) async fn show_take_back(
    request: PageRequest,
    PageQuery(TakeBackForm { token }): PageQuery<TakeBackForm>,
) -> poem::Result<Response> {
    let reader = request.app.database.reader();
    let found = linking::taken_back(&request.app, reader, &token).await;
    let found = found.map_err(|error| refuse(&request, error))?;
    Ok(match found {
        Some(found) => {
            let values = context! { token, label => found.label };
            request.page(StatusCode::OK, "unlink.html", values)
        }
        None => took_back_before(&request),
    })
}

fn took_back_before(request: &PageRequest) -> Response {
    let (title, text) = (request.text("way-not-me-title"), request.text("way-not-me-gone"));
    request.refusal_with(&title, &text, "account", &Code::NotFound.into())
}

#[handler]
pub(super) async fn take_back(
    device: Device,
    posted: CheckedForm<TakeBackForm>,
) -> poem::Result<Response> {
    let CheckedForm { form: TakeBackForm { token }, request } = posted;
    Ok(match linking::take_back(&request.app, &token, device.ip).await {
        Ok(()) => {
            let mails = request.app.mail.sends();
            let text = if mails { "way-not-me-mailed" } else { "way-not-me-done" };
            let (title, text) = (request.text("way-not-me-title"), request.text(text));
            request.said(StatusCode::OK, &title, &text, "login")
        }
        Err(error) if error.code() == Code::NotFound => took_back_before(&request),
        Err(error) => return Err(refuse(&request, error)),
    })
}
