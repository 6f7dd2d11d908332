//! The page of revocations.

use std::collections::HashMap;

use minijinja::{Value, context};
use poem::{Response, handler};
use serde::{Deserialize, Serialize};

use super::form::{Posted, Reason};
use super::{Administrator, Outcome, ROWS, RowsQuery, after, next, page};
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::admin::revocation::Target;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::form::{Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::user;
use crate::platform::revocation;
use crate::self_service::registration::pages::invalid;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/admin/revoked", show_revocations, change_revocations)]
}

#[handler]
async fn show_revocations(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/revocations.html", revocations_values(&request, rows)).await
}

async fn revocations_values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let before = rows.after.as_deref().and_then(|after| after.parse().ok());
    let entries = revocation::list(&request.app, Some(&revocation::COVERING), before, ROWS).await?;
    let last = entries.next(|last| last.seq.to_string());
    let entries = entries.items;
    let is_user = |entry: &&revocation::Entry| entry.kind == "sub";
    let ids =
        entries.iter().filter(is_user).filter_map(|entry| entry.subject.parse().ok()).collect();
    let emails: HashMap<_, _> = user::emails(&request.app.database, ids)
        .await?
        .into_iter()
        .map(|(id, email)| (id.to_string(), email))
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            context! {
                email => emails.get(&entry.subject),
                seq => entry.seq,
                kind => &entry.kind,
                subject => &entry.subject,
                why => &entry.why,
                at => entry.at,
                until => entry.until,
            }
        })
        .collect();
    Ok(context! { entries, from => rows.query(), next => next(last, &[]) })
}

/// A form of the page of revocations.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum RevocationForm {
    Revoke(NewRevocation),
    Lift {
        /// The number of the revocation.
        #[serde(default)]
        id: Field<i64>,
    },
    Explain {
        #[serde(default, skip_serializing)]
        token: String,
    },
    #[serde(other)]
    Unknown,
}

/// The form that revokes a token, a session, or everything of a user.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct NewRevocation {
    kind: String,
    subject: String,
    why: Field<Reason>,
}

impl NewRevocation {
    fn target(&self) -> Result<Target> {
        let wrong = |_| invalid("subject", "id-wrong", "This is not an id");
        let id = self.subject.trim().parse().map_err(wrong)?;
        Ok(Target::of(&self.kind, id).ok_or(Code::UnprocessableContent)?)
    }
}

impl PageForm for RevocationForm {
    fn placement(&self) -> Placement {
        match self {
            RevocationForm::Revoke(_) => placed("revoke", "revoke", &["subject", "why"]),
            RevocationForm::Lift { .. } => placed("lift", "", &[]),
            RevocationForm::Explain { .. } => placed("explain", "explain", &[]),
            RevocationForm::Unknown => Placement::default(),
        }
    }
}

#[handler]
async fn change_revocations(
    peer: PeerAddress,
    PageQuery(rows): PageQuery<RowsQuery>,
    posted: CheckedForm<Posted<RevocationForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = revocations_changed(&administrator, form).await;
    let values = revocations_values(&request, rows);
    Ok(after(&request, &filled, outcome, "admin/revocations.html", values).await)
}

async fn revocations_changed(
    administrator: &Administrator<'_>,
    form: RevocationForm,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    match form {
        RevocationForm::Revoke(new) => {
            let (target, superuser) = (new.target()?, administrator.superuser()?);
            admin::revocation::revoke(app, &superuser, target, new.why.value?.0).await?;
            Ok(Outcome::Flash("revoked"))
        }
        RevocationForm::Lift { id } => {
            let seq = id.value.map_err(|_| Code::NotFound)?;
            admin::revocation::lift(app, &administrator.superuser()?, seq).await?;
            Ok(Outcome::Flash("lifted"))
        }
        RevocationForm::Explain { token } => {
            Ok(Outcome::Answer(admin::revocation::explain(app, token.trim()).await?.sentence))
        }
        RevocationForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}
