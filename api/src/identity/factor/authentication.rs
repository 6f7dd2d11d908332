//! The result of every proof of identity: the user, the methods, and the time.

use std::fmt;

use entity::UserId;

use super::password_check::PasswordCheck;

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::request_context::{self, RequestContext};
use crate::identity::user::Credentials;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::unit_of_work;

/// A method to prove an identity, as the claim `amr` names it (RFC 8176).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The account's password.
    Password,
}

/// Writes the name of the method in RFC 8176.
impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password => "pwd",
        })
    }
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
    password_check: PasswordCheck,
}

impl Authentication {
    /// Creates a proof by a password that was just checked.
    pub(super) fn by_password(user: UserId, password_check: PasswordCheck) -> Self {
        Self { user, methods: vec![Method::Password], at: clock::now(), password_check }
    }

    /// Returns the user.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Returns the methods, in the order in which they were used.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Returns the names of the methods, separated by spaces.
    pub fn amr(&self) -> String {
        self.methods.iter().map(Method::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Returns the instant of the last proof.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns true if this is a proof of the locked user's identity, and the password hash that it was checked against
    /// has not changed.
    pub(crate) fn holds_for(&self, locked: &Credentials) -> bool {
        self.user == locked.user.id && self.password_check.was_against(&locked.hash)
    }

    /// Repeats the proof against the state that a transaction found in the meantime. That transaction must have ended,
    /// because a hash takes long.
    ///
    /// # Errors
    ///
    /// [`Code::LoginBadCredentials`] if the password does not match any more; [`Code::ServiceBusy`].
    pub(crate) async fn renew(self, app: &App, found: Credentials) -> Result<Self> {
        let user = found.user.id;
        Ok(Self::by_password(user, self.password_check.repeat(app, found).await?))
    }
}

/// Refuses a sign-in attempt, records that in the audit, and logs it. It costs the same if the user is unknown.
pub(crate) async fn refuse(app: &App, known: Option<UserId>, code: Code) -> Error {
    log_refusal(code);
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

/// Logs a refused sign-in attempt as one line. Programs that block addresses rely on the form of this line.
pub(super) fn log_refusal(code: Code) {
    let RequestContext { ip, request_id } = request_context::current();
    tracing::warn!(
        client.address = ip.map(display),
        refusal.reason = code.name(),
        request.id = request_id,
        "a sign-in was refused"
    );
}
