//! The result of every proof of identity: the user, the methods, and the time.

use std::fmt;

use entity::{FederatedIdentityId, UserId};

use super::federated::Federated;
use super::password_check::PasswordCheck;

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::Config;
use crate::base::error::{Code, Error, Result};
use crate::base::request_context::{self, RequestContext};
use crate::identity::user::{Credentials, PasswordHash};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::unit_of_work;

/// A method to prove an identity, as the claim `amr` names it (RFC 8176).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The account's password.
    Password,
    /// Another provider. RFC 8176 has no name for it.
    Federated,
    /// Several factors.
    Several,
}

/// Writes the name of the method in RFC 8176.
impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password => "pwd",
            Self::Federated => "fed",
            Self::Several => "mfa",
        })
    }
}

const BY_PASSWORD: &str = "urn:tessera:acr:password";
const BY_PROVIDER: &str = "urn:tessera:acr:federated";
const BY_SEVERAL: &str = "urn:tessera:acr:mfa";

/// The classes that proofs can have with these settings, in `acr`.
pub fn classes(config: &Config) -> Vec<&'static str> {
    let upstreams = &config.federation.upstreams;
    let by_provider = (!upstreams.is_empty()).then_some(BY_PROVIDER);
    let trusted = upstreams.iter().any(|upstream| !upstream.second.is_empty());
    let by_several = trusted.then_some(BY_SEVERAL);
    std::iter::once(BY_PASSWORD).chain(by_provider).chain(by_several).collect()
}

/// The class of a proof by these methods, which are separated by spaces.
pub fn class_of(amr: &str) -> &'static str {
    let has = |method: Method| amr.split(' ').any(|name| name == method.to_string());
    match () {
        () if has(Method::Several) => BY_SEVERAL,
        () if has(Method::Federated) => BY_PROVIDER,
        () => BY_PASSWORD,
    }
}

/// The basis of a proof.
#[derive(Debug, Clone)]
pub(super) enum Evidence {
    /// A password, with the hash that it was checked against.
    Password(PasswordCheck),
    /// Another provider.
    Federated(Federated),
    /// A session whose user proved a moment ago who they are, with the hash of the password that they had since.
    Standing(PasswordHash),
}

/// A user's proof of their identity. Only this feature makes one, and no session opens without one.
///
/// A proof can become outdated before it is used. For example, while a password is hashed, its owner may set another
/// one to shut out everybody who knows the old one. So an operation never relies on the proof alone. It locks the user
/// and calls `holds_for` in its own transaction. The checked password is in a private field of this type.
#[derive(Debug, Clone)]
pub struct Authentication {
    user: UserId,
    methods: Vec<Method>,
    at: Timestamp,
    made: Timestamp,
    evidence: Evidence,
}

impl Authentication {
    /// Creates a proof by a password that was just checked.
    pub(super) fn by_password(user: UserId, password_check: PasswordCheck) -> Self {
        let evidence = Evidence::Password(password_check);
        let now = clock::now();
        Self { user, methods: vec![Method::Password], at: now, made: now, evidence }
    }

    /// Returns the proof of a user whose session noted one a moment ago. It ends with the password that the user has now:
    /// with another one, it proves nothing.
    pub(crate) fn standing(found: &Credentials, at: Timestamp) -> Self {
        let method = if found.hash.is_none() { Method::Federated } else { Method::Password };
        Self::new(found.user.id, vec![method], at, Evidence::Standing(found.hash.clone()))
    }

    pub(super) fn new(
        user: UserId,
        methods: Vec<Method>,
        at: Timestamp,
        evidence: Evidence,
    ) -> Self {
        Self { user, methods, at, made: clock::now().max(at), evidence }
    }

    /// Returns the user.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Returns the methods, in the order in which they were used.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Returns true if the user gave their password.
    pub(crate) fn is_by_password(&self) -> bool {
        self.methods.contains(&Method::Password)
    }

    /// Returns the names of the methods, separated by spaces.
    pub fn amr(&self) -> String {
        self.methods.iter().map(Method::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Returns the instant of the last proof. A person may have signed in at a provider long ago.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the instant at which it was accepted here.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// Returns the identity that proved it, if another provider did.
    pub fn identity(&self) -> Option<FederatedIdentityId> {
        self.of_provider().map(|proof| proof.identity)
    }

    /// Returns what another provider proved.
    pub fn of_provider(&self) -> Option<&Federated> {
        match &self.evidence {
            Evidence::Federated(proof) => Some(proof),
            _ => None,
        }
    }

    /// Returns true if this is a proof of the locked user's identity, and what it rests on has not changed: the password
    /// hash that it was checked against, or that there is no password. Whether an identity at another provider is still
    /// linked, [`Self::is_linked`] says.
    pub(crate) fn holds_for(&self, locked: &Credentials) -> bool {
        let holds = match &self.evidence {
            Evidence::Password(check) => check.was_against(&locked.hash),
            Evidence::Federated(_) => true,
            Evidence::Standing(hash) if hash.is_none() => locked.hash.is_none(),
            Evidence::Standing(hash) => *hash == locked.hash,
        };
        self.user == locked.user.id && holds
    }

    /// Repeats the proof against the state that a transaction found in the meantime. That transaction must have ended,
    /// because a hash takes long.
    ///
    /// # Errors
    ///
    /// [`Code::LoginBadCredentials`] if the password does not match any more; [`Code::ServiceBusy`].
    pub(crate) async fn renew(self, app: &App, found: Credentials) -> Result<Self> {
        let user = found.user.id;
        match self.evidence {
            Evidence::Password(check) => {
                Ok(Self::by_password(user, check.repeat(app, found).await?))
            }
            _ => Err(Code::LoginBadCredentials.into()),
        }
    }
}

/// Refuses a sign-in attempt, records that in the audit, and logs it. It costs the same if the user is unknown.
pub(crate) async fn refuse(app: &App, known: Option<UserId>, code: Code) -> Error {
    log_refusal(app, code);
    let entry = Entry::new(Act::LoginRefused, Actor::anybody()).with("code", code.name());
    let entry = match known {
        Some(id) => entry.on_user(id),
        None => entry,
    };
    match unit_of_work::record(app, entry).await {
        Ok(()) => code.into(),
        Err(error) => error,
    }
}

/// Logs a refused sign-in attempt as one line, and counts it. Programs that block addresses rely on the form of this line.
pub(super) fn log_refusal(app: &App, code: Code) {
    app.factor.count_refused(code);
    let RequestContext { ip, request_id } = request_context::current();
    tracing::warn!(
        client.address = ip.map(display),
        refusal.reason = code.name(),
        request.id = request_id,
        "a sign-in was refused"
    );
}
