//! The page that the link of an invitation opens. Opening it changes nothing, because programs that scan mail open
//! every link.

use minijinja::{Value, context};
use poem::{Response, handler};
use serde::Deserialize;

use super::{ChosenName, Opened};
use crate::access::caller::page::{Form, PageRequest};
use crate::access::session::{self, Device, browser};
use crate::base::error::{Code, Error, Result};
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::identity::factor::Password;
use crate::identity::user::Profile;
use crate::self_service::account::pages::form::line;
use crate::self_service::registration::pages::strength;

/// The maximum number of characters of a name.
const MAX_NAME: usize = 100;

/// The query of a link.
#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// The form of the page.
#[derive(Deserialize)]
struct AcceptForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    surname: String,
    #[serde(default)]
    password: String,
}

impl AcceptForm {
    /// Returns the name that was typed.
    fn chosen(&self) -> Result<ChosenName> {
        let name = line("name", self.name.trim().to_owned(), MAX_NAME)?.into();
        let surname = line("surname", self.surname.trim().to_owned(), MAX_NAME)?.into();
        Ok(ChosenName { name, surname })
    }
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/accept-invitation", show, accept)]
}

#[handler]
async fn show(request: PageRequest, PageQuery(link): PageQuery<Link>) -> Response {
    let token = link.token.unwrap_or_default();
    match super::opened(&request.app, &token).await {
        Ok(opened) => {
            let Profile { name, surname, .. } = opened.invitation.profile.clone();
            let (name, surname) = (name.unwrap_or_default(), surname.unwrap_or_default());
            let filled = AcceptForm { token, name, surname, password: String::new() };
            form(&request, &opened, &filled, None)
        }
        Err(error) => dead_link(&request, &error),
    }
}

#[handler]
async fn accept(device: Device, sent: Form<AcceptForm>) -> Response {
    let Form { form: filled, mut request, stale } = sent;
    let opened = match super::opened(&request.app, &filled.token).await {
        Ok(opened) => opened,
        Err(error) => return dead_link(&request, &error),
    };
    if let Some(error) = stale {
        return form(&request, &opened, &filled, Some(&error));
    }
    match accepted(&mut request, &filled, device).await {
        Ok(()) => request.redirect_with_flash("account", "profile", "invitation-accepted"),
        Err(error) if is_dead(&error) => dead_link(&request, &error),
        Err(error) => form(&request, &opened, &filled, Some(&error)),
    }
}

/// Makes the account and signs the browser in.
async fn accepted(request: &mut PageRequest, filled: &AcceptForm, device: Device) -> Result<()> {
    let app = request.app.clone();
    let chosen = filled.chosen()?;
    // Checked first: otherwise the account could exist although the page shows an error.
    session::require_ready(&app)?;
    let password = Password::new(filled.password.clone());
    let made = super::accept(&app, &filled.token, password, chosen, device.clone()).await?;
    let (_, authentication) = made;
    let id = browser::sign_in(&app, authentication, device.clone()).await?;
    // The previous session of this browser ends, because nobody could sign out of it any more.
    if let Some(before) = &request.signed_in {
        browser::sign_out(&app, before, device).await?;
    }
    request.change_id(&id);
    Ok(())
}

/// Returns true if the link has no effect any more.
fn is_dead(error: &Error) -> bool {
    [Code::InvitationBadToken, Code::RegisterUserAlreadyExists].contains(&error.code())
}

/// The page for a link that has no effect any more.
fn dead_link(request: &PageRequest, error: &Error) -> Response {
    let (title, text) = (request.text("accept-invitation"), request.message(error));
    let more = if error.code() == Code::RegisterUserAlreadyExists { "login" } else { "" };
    request.refusal_with(&title, &text, more, error)
}

fn form(
    request: &PageRequest,
    opened: &Opened,
    filled: &AcceptForm,
    error: Option<&Error>,
) -> Response {
    let values: Value = context! {
        token => &filled.token,
        email => &opened.invitation.email,
        name => &filled.name,
        surname => &filled.surname,
        takes_over => opened.unclaimed.is_some(),
        strength => strength(request),
    };
    request.form("invitation.html", values, error)
}
