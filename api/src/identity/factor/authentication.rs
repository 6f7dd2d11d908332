//! What every proof comes to: who someone is, by which methods, and since when.

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

/// A way to prove who one is, as the claim `amr` names it (RFC 8176).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The account's password.
    Password,
}

/// By its name in RFC 8176.
impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password => "pwd",
        })
    }
}

/// Someone has proved who they are. Only this feature makes one, and a session opens for nothing else.
///
/// A proof may be overtaken before it is used: while a password was hashed, its owner may have set another to shut out
/// everybody who knows the old one. So an act never relies on the proof alone. It locks the user and asks
/// `holds_for` in its own transaction; what was proved is a private field of this type.
#[derive(Debug, Clone)]
pub struct Authentication {
    user: UserId,
    methods: Vec<Method>,
    at: Timestamp,
    password_check: PasswordCheck,
}

impl Authentication {
    /// By a password that was just checked.
    pub(super) fn by_password(user: UserId, password_check: PasswordCheck) -> Self {
        Self { user, methods: vec![Method::Password], at: clock::now(), password_check }
    }

    /// The user.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The methods, in the order in which they were used.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The names of the methods, separated by spaces.
    pub fn amr(&self) -> String {
        self.methods.iter().map(Method::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The instant of the last proof.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether this is a proof of the user whom the transaction has locked, and nothing that it rests on has changed.
    pub(crate) fn holds_for(&self, locked: &Credentials) -> bool {
        self.user == locked.user.id && self.password_check.was_against(&locked.hash)
    }

    /// Proves the same against what a transaction found in the meantime. That transaction has ended: a hash takes long.
    ///
    /// # Errors
    ///
    /// [`Code::LoginBadCredentials`] if it is not proved any more; [`Code::ServiceBusy`].
    pub(crate) async fn renew(self, app: &App, found: Credentials) -> Result<Self> {
        let user = found.user.id;
        Ok(Self::by_password(user, self.password_check.repeat(app, found).await?))
    }
}

/// Refuses an attempt, records that in the audit, and logs it; of an unknown user at the same cost.
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

/// Logs that an attempt to prove who one is was refused: one line, whose form programs that block addresses rely on.
pub(super) fn log_refusal(code: Code) {
    let RequestContext { ip, request_id } = request_context::current();
    tracing::warn!(
        client.address = ip.map(display),
        refusal.reason = code.name(),
        request.id = request_id,
        "a sign-in was refused"
    );
}
