//! The page of users: the list, the invitations that were not accepted, and the forms that invite and create users.

use std::net::IpAddr;

use minijinja::{Value, context};
use poem::{IntoResponse, Response, handler};
use serde::{Deserialize, Serialize};

use super::form::{MAX_NAME, Posted, ScopeList, scopes_wrong};
use super::people::{UsersQuery, filter_of, users_values};
use super::{Administrator, Outcome, after, page, proof};
use crate::access::caller::Superuser;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::admin::invitation::Listed;
use crate::admin::user::http::TableResponse;
use crate::admin::user::{NewUser, UsersTable};
use crate::base::error::{Code, Result};
use crate::base::scope::{Scope, Scopes};
use crate::http::browser_request::PageQuery;
use crate::http::form::{Checkbox, Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::invitation::Prepared;
use crate::identity::user::{Email, Filter, Profile, User};
use crate::self_service::account::pages::form::line;
use crate::self_service::registration::pages::{invalid, invalid_email, language, strength};

/// The maximum number of invitations that the page shows.
const SHOWN: u64 = 100;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/admin/users", show, change)]
}

#[handler]
async fn show(
    request: PageRequest,
    PageQuery(sought): PageQuery<UsersQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/users.html", values(&request, sought)).await
}

async fn values(request: &PageRequest, sought: UsersQuery) -> Result<Value> {
    let app = &request.app;
    let users = users_values(request, sought).await?;
    let listed = admin::invitation::list(app, None, SHOWN).await?;
    let more_invitations = listed.more;
    let invitations: Vec<_> = listed.items.iter().map(seen).collect();
    let here = context! {
        invitations,
        more_invitations,
        mails => app.mail.sends(),
        languages => request.languages(None),
        // Not `strength`: pages with that value load a script, and the pages of the administration load none.
        password_rules => strength(request),
    };
    Ok(context! { ..here, ..users, ..proof(request).await? })
}

fn seen(listed: &Listed) -> Value {
    let Listed { invitation, state, by } = listed;
    context! {
        id => invitation.id.to_string(),
        email => &invitation.email,
        state => state.name(),
        by,
        scopes => invitation.granted.to_string(),
        is_superuser => invitation.is_superuser,
        sent => invitation.sent.seconds(),
        expires => invitation.expires.seconds(),
    }
}

/// A form of the page.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum NewcomerForm {
    Invite(Newcomer),
    CreateUser {
        #[serde(flatten)]
        newcomer: Newcomer,
        #[serde(default, skip_serializing)]
        password: String,
        /// The password of the superuser who sends the form, if they have one.
        #[serde(default, skip_serializing)]
        current: String,
    },
    ResendInvitation(Chosen),
    WithdrawInvitation(Chosen),
    ExportUsers {
        #[serde(default)]
        q: String,
        #[serde(default)]
        state: String,
    },
    #[serde(other)]
    Unknown,
}

/// The person that a form invites or creates an account for.
#[derive(Deserialize, Serialize)]
struct Newcomer {
    #[serde(default)]
    email: Field<Email>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    surname: String,
    #[serde(default)]
    language: String,
    #[serde(default)]
    scopes: Field<ScopeList>,
    #[serde(default)]
    is_superuser: Checkbox,
}

/// An invitation, with the address for the page that asks for the password.
#[derive(Deserialize, Serialize)]
struct Chosen {
    #[serde(default)]
    id: String,
    #[serde(default)]
    email: String,
}

impl PageForm for NewcomerForm {
    fn placement(&self) -> Placement {
        match self {
            NewcomerForm::Invite(_) => {
                placed("invite", "invite", &["email", "name", "surname", "language", "scopes"])
            }
            NewcomerForm::CreateUser { .. } => placed(
                "create-user",
                "create",
                &["email", "name", "surname", "language", "scopes", "password", "current"],
            ),
            NewcomerForm::ResendInvitation(_) => placed("resend-invitation", "invitations", &[]),
            NewcomerForm::WithdrawInvitation(_) => {
                placed("withdraw-invitation", "invitations", &[])
            }
            NewcomerForm::ExportUsers { .. } => placed("export-users", "", &[]),
            NewcomerForm::Unknown => Placement::default(),
        }
    }
}

impl Newcomer {
    /// The account that the form describes.
    fn prepared(self) -> Result<Prepared> {
        let email = self.email.value.map_err(invalid_email)?;
        let name = line("name", self.name.trim().to_owned(), MAX_NAME)?;
        let surname = line("surname", self.surname.trim().to_owned(), MAX_NAME)?;
        let language = language(&self.language)?;
        Ok(Prepared {
            email,
            profile: Profile { name, surname, website: None, language },
            granted: granted(self.scopes.value?.0)?,
            is_superuser: self.is_superuser.0,
        })
    }
}

/// Returns the scopes of a form. An empty field stands for the default scopes.
fn granted(scopes: Scopes) -> Result<Scopes> {
    if scopes.iter().next().is_none() {
        return Ok(User::default_scopes());
    }
    // A scope can contain a comma, but a comma typed here was meant as a space.
    if scopes.iter().any(|scope| scope.as_str().contains(',')) {
        return Err(scopes_wrong());
    }
    if scopes.contains(Scope::SUPER) {
        let sentence = "The scope super comes only with is_superuser";
        return Err(invalid("scopes", "scopes-super", sentence));
    }
    Ok(scopes)
}

#[handler]
async fn change(
    peer: PeerAddress,
    PageQuery(sought): PageQuery<UsersQuery>,
    posted: CheckedForm<Posted<NewcomerForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = match form {
        NewcomerForm::ExportUsers { q, state } => {
            let filter = filter_of(Some(q), &state);
            match table(&administrator, filter).await {
                Ok(table) => return Ok(TableResponse(table).into_response()),
                Err(error) => Err(error),
            }
        }
        form => changed(&administrator, form, peer.0).await,
    };
    Ok(after(&request, &filled, outcome, "admin/users.html", values(&request, sought)).await)
}

async fn changed(
    administrator: &Administrator<'_>,
    form: NewcomerForm,
    ip: Option<IpAddr>,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    match form {
        NewcomerForm::Invite(newcomer) => {
            let prepared = newcomer.prepared()?;
            admin::invitation::invite(app, &administrator.superuser()?, prepared).await?;
            Ok(Outcome::Flash("invited"))
        }
        NewcomerForm::CreateUser { newcomer, password, current } => {
            let (prepared, password) = (newcomer.prepared()?, Password::new(password));
            let caller = administrator.proved(current, ip).await?;
            let new = NewUser { prepared, password, is_verified: true };
            admin::user::create(app, &Superuser::try_from(caller)?, new).await?;
            Ok(Outcome::Flash("user-made"))
        }
        NewcomerForm::ResendInvitation(Chosen { id, .. }) => {
            admin::invitation::resend(app, &administrator.superuser()?, &id).await?;
            Ok(Outcome::Flash("invited"))
        }
        NewcomerForm::WithdrawInvitation(Chosen { id, .. }) => {
            admin::invitation::withdraw(app, &administrator.superuser()?, &id).await?;
            Ok(Outcome::Flash("invitation-withdrawn"))
        }
        NewcomerForm::ExportUsers { .. } | NewcomerForm::Unknown => {
            Err(Code::UnprocessableContent.into())
        }
    }
}

async fn table(administrator: &Administrator<'_>, filter: Filter) -> Result<UsersTable> {
    admin::user::table(&administrator.request.app, &administrator.superuser()?, filter).await
}
