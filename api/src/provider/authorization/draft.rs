//! A request with everything that its checks need to know, and what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use entity::{SessionId, consent};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::claims_request::ClaimsRequest;
use super::parameters::{Hint, Parameters};
use super::store;
use crate::access::session::browser::SignedIn;
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::base::scope::{Scope, Scopes};
use crate::identity::factor::{class_of, classes};
use crate::identity::user::User;
use crate::provider::client::{self, Checked, Client, Resource, resource};

/// The way in which an answer is sent to the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the query of its redirect URI.
    #[default]
    Query,
    /// In a form that the browser posts to its redirect URI.
    FormPost,
}

impl Mode {
    /// The names of all modes, for the discovery document.
    pub const NAMES: [&str; 2] = ["query", "form_post"];
}

/// A page that a request requires or forbids.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Prompt {
    /// No page.
    None,
    /// A proof of identity, even if somebody is signed in.
    Login,
    /// The question for consent, even if it was answered before.
    Consent,
    /// The choice of an account. There is one at a time, so the user signs in again.
    SelectAccount,
    /// The page for registration.
    Create,
}

/// The page on which somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// The sign-in page.
    First,
    /// The sign-in page, although somebody is signed in.
    Again,
    /// The page for registration.
    Register,
}

/// The session of the browser.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: Arc<User>,
    /// The time when the session began.
    pub began: Timestamp,
    /// The time when the user last proved who they are; the epoch if their provider does not say it.
    pub auth_time: Timestamp,
    /// The class of that proof, in `acr`.
    pub class: &'static str,
}

impl From<&SignedIn> for Proof {
    fn from(signed_in: &SignedIn) -> Self {
        let SignedIn { session, user, began, auth_time, amr, .. } = signed_in;
        let (user, class) = (Arc::clone(user), class_of(amr));
        Self { session: *session, user, began: *began, auth_time: *auth_time, class }
    }
}

/// The scopes that are about the user, not about an API.
pub(super) const OF_USERS: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// The scopes and resources that a user has permitted a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Permitted {
    /// The scopes about the user, and those that were permitted without a resource.
    pub(super) scopes: Scopes,
    /// The scopes that were permitted for each resource, by its URI.
    pub(super) resources: BTreeMap<String, Scopes>,
}

impl From<&consent::Model> for Permitted {
    fn from(row: &consent::Model) -> Self {
        let resources: BTreeMap<String, String> =
            serde_json::from_str(&row.resources).unwrap_or_default();
        let parsed = |(uri, scopes): (String, String)| (uri, Scopes::parse(&scopes));
        Self {
            scopes: Scopes::parse(&row.scopes),
            resources: resources.into_iter().map(parsed).collect(),
        }
    }
}

impl Permitted {
    /// Adds scopes for some resources.
    pub(super) fn add(&mut self, scopes: &Scopes, uris: &[String]) {
        let (of_user, of_apis): (Vec<_>, Vec<_>) =
            scopes.iter().cloned().partition(|scope| OF_USERS.contains(&scope.as_str()));
        let join = |known: &Scopes, more: &[Scope]| known.iter().chain(more).cloned().collect();
        self.scopes = join(&self.scopes, &of_user);
        if uris.is_empty() {
            self.scopes = join(&self.scopes, &of_apis);
        }
        for uri in uris {
            let known = self.resources.entry(uri.clone()).or_default();
            *known = join(known, &of_apis);
        }
    }

    /// The scopes and resources that were not permitted yet.
    fn lacks(&self, scopes: &Scopes, uris: &[String]) -> Vec<String> {
        let is_permitted = |word: &str| match uris {
            [_, ..] if !OF_USERS.contains(&word) => uris.iter().all(|uri| {
                self.resources.get(uri).is_some_and(|permitted| permitted.contains(word))
            }),
            _ => self.scopes.contains(word),
        };
        let words = scopes.words().into_iter().filter(|word| !is_permitted(word));
        words.chain(uris.iter().filter(|uri| !self.resources.contains_key(*uri)).cloned()).collect()
    }
}

/// A request, what was loaded for its checks, and what the checks found.
pub struct Draft {
    /// The parameters.
    pub(super) asked: Parameters,
    /// The outcome of reading them.
    pub(super) readable: Checked,
    /// The time when the request began.
    pub(super) began: Timestamp,
    /// The client that the request names, if it exists.
    pub(super) client: Option<Arc<Client>>,
    /// The resources that the request names, as far as they exist.
    pub(super) resources: Vec<Arc<Resource>>,
    /// The session of the browser, if somebody is signed in.
    pub(super) proof: Option<Proof>,
    /// The consent that the user gave the client before.
    consented: Option<Permitted>,
    /// The classes of proofs that this server has, in `acr`.
    pub(super) classes: Vec<&'static str>,
    /// `true` if the user has just accepted.
    pub(super) decided: bool,

    /// The way of the answer.
    pub(super) mode: Mode,
    /// The scopes that the client can get.
    pub(super) scopes: Scopes,
    /// The words that were dropped, because the client cannot ask for them.
    pub(super) dropped: Vec<String>,
    /// The pages that the request requires or forbids.
    pub(super) prompts: BTreeSet<Prompt>,
    /// The maximum age of the proof, in seconds.
    pub(super) max_age: Option<u64>,
    /// The claims that the client asks for one by one.
    pub(super) claims: Option<ClaimsRequest>,
}

impl Draft {
    /// Loads what the checks of a request need.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(super) async fn load(
        app: &App,
        (mut asked, readable): (Parameters, Checked),
        began: Timestamp,
        proof: Option<Proof>,
    ) -> Result<Self> {
        let client = match &asked.client_id {
            Some(id) => client::find(app, id).await?,
            None => None,
        };
        // A request costs no query about what its client cannot ask for, so that strangers cannot make any.
        let mut resources = Vec::new();
        if let Some(client) = &client {
            let named = asked.resource.iter().filter(|uri| client.names(uri));
            for uri in named.take(MAX_RESOURCES) {
                resources.extend(resource::find(app, uri).await?);
            }
        }
        let consented = match (&proof, &client) {
            (Some(proof), Some(client)) => {
                store::consent(app.database.reader(), proof.user.id, client.id).await?
            }
            _ => None,
        };
        if let (Some(token), Some(client)) = (&asked.id_token_hint, &client) {
            asked.hint = hint_of(app, token, &client.client_id);
        }
        Ok(Self {
            asked,
            readable,
            began,
            client,
            resources,
            proof,
            consented: consented.as_ref().map(Permitted::from),
            classes: classes(&app.config),
            decided: false,
            mode: Mode::default(),
            scopes: Scopes::default(),
            dropped: Vec::new(),
            prompts: BTreeSet::new(),
            max_age: None,
            claims: None,
        })
    }

    /// The client, after the check `client`.
    pub(super) fn client(&self) -> Result<Arc<Client>, super::checks::Stop> {
        let missing = || super::checks::Stop::from(super::unknown_client());
        self.client.clone().ok_or_else(missing)
    }

    /// The scopes and resources that the user has not permitted yet.
    pub(super) fn missing_consent(&self) -> Vec<String> {
        match &self.consented {
            Some(permitted) => permitted.lacks(&self.scopes, &self.asked.resource),
            None => vec![String::new()],
        }
    }

    /// The parameters as they are sealed. An ID token is long, so only what it says is kept.
    pub(super) fn sealed(&self) -> Result<Value> {
        let asked = Parameters { id_token_hint: None, ..self.asked.clone() };
        Ok(serde_json::to_value(asked).map_err(|_| Code::InternalServerError)?)
    }
}

/// The maximum number of resources that are looked up for one request. Later ones count as unknown.
const MAX_RESOURCES: usize = 8;

/// The contents of an ID token, if this server issued it to this client. It may have expired.
fn hint_of(app: &App, token: &str, client_id: &str) -> Option<Hint> {
    let claims = app.key.clients.verifier.keys().read_id_token(token).ok()?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_ours = text("iss") == Some(app.config.public_url.as_str());
    let is_for_client = text("aud") == Some(client_id);
    let hint = Hint { sub: text("sub")?.to_owned(), sid: text("sid").map(ToOwned::to_owned) };
    (is_ours && is_for_client).then_some(hint)
}
