//! The sign-in of a browser at another host: first a code, which works once, and then a cookie. Both are sealed, and both
//! are bound to that host. They say which session they belong to, and end with it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::SessionId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::session::browser::{self, SignedIn};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::Origin;
use crate::base::derived_key::{open_from_url, seal_for_url};
use crate::base::error::Result;
use crate::base::random;
use crate::platform::rate_limit;
use crate::platform::seen::{self, Purpose};
use crate::platform::unit_of_work::UnitOfWork;

/// The lifetime of a code, in seconds.
const EXPIRES: u64 = 60;

/// The length of the state that a browser keeps at the other host: 256 bits in letters and digits.
const STATE_LENGTH: usize = 43;

/// The names that the sealed texts are bound to.
const CODE: &str = "code";
const TICKET: &str = "ticket";

/// The content of a code.
#[derive(Serialize, Deserialize)]
struct Code {
    /// The ticket that it becomes.
    #[serde(rename = "t")]
    ticket: Ticket,
    /// The digest of the state that the browser keeps.
    #[serde(rename = "d")]
    state: String,
    /// The time from which it is refused, in milliseconds since the epoch.
    #[serde(rename = "e")]
    expires: i64,
    /// A random id, so that it works once.
    #[serde(rename = "n")]
    nonce: Uuid,
}

/// The content of a cookie.
#[derive(Serialize, Deserialize)]
struct Ticket {
    #[serde(rename = "s")]
    session: Uuid,
    /// The time of the proof when the code was made. A copy of the cookie does not become fresh with a later proof.
    #[serde(rename = "a")]
    proved: i64,
    /// The origin of the host.
    #[serde(rename = "o")]
    origin: String,
}

/// Makes a state, which a browser keeps at another host while its user signs in.
pub(super) fn new_state() -> String {
    random::letters_and_digits(STATE_LENGTH)
}

/// Returns true for a text that can be a state.
pub(super) fn is_state(text: &str) -> bool {
    text.len() == STATE_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The digest of a state, which the browser carries to this server.
pub(super) fn digest_of(state: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, state.as_bytes()))
}

/// Returns true for a text that can be the digest of a state.
pub(super) fn is_digest(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Makes the code for a browser that is signed in here. It works at one host, for the browser with this state. Each code
/// becomes a row when it is spent, so their number is limited for each user.
///
/// # Errors
///
/// [`TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub(super) fn code(
    app: &App,
    signed_in: &SignedIn,
    origin: &Origin,
    state: &str,
) -> Result<Option<String>> {
    rate_limit::lead_on(app, signed_in.user.id)?;
    let ticket = Ticket {
        session: signed_in.session.0,
        proved: signed_in.auth_time.millis(),
        origin: origin.as_str().to_owned(),
    };
    let expires = clock::now().plus_seconds(EXPIRES).millis();
    let code = Code { ticket, state: state.to_owned(), expires, nonce: random::id() };
    Ok(seal_for_url(&app.forward.seals, CODE, &code))
}

/// Spends a code at a host, for the browser with this state. Returns the cookie. A code that belongs elsewhere is not
/// spent.
///
/// # Errors
///
/// If the database does not answer.
pub(super) async fn spend(
    app: &App,
    code: &str,
    origin: &Origin,
    state: &str,
) -> Result<Option<String>> {
    let Some(code) = open_from_url::<Code>(&app.forward.seals, CODE, code) else {
        return Ok(None);
    };
    let now = clock::now();
    let is_bound = code.ticket.origin == origin.as_str() && code.state == digest_of(state);
    if !is_bound || now.millis() >= code.expires {
        return Ok(None);
    }
    if browser::of_session(app, SessionId(code.ticket.session)).await?.is_none() {
        return Ok(None);
    }
    let (work, until) = (UnitOfWork::begin(app).await?, Timestamp::from_millis(code.expires));
    let nonce = code.nonce.to_string();
    if !seen::spend(&work, Purpose::ForwardCode, &nonce, until).await? {
        return Ok(None);
    }
    work.commit().await?;
    Ok(seal_for_url(&app.forward.seals, TICKET, &code.ticket))
}

/// Returns the user of a cookie at a host, and the time of their proof, if the session goes on.
///
/// # Errors
///
/// If the database does not answer.
pub(super) async fn holder(
    app: &App,
    cookie: &str,
    origin: &Origin,
) -> Result<Option<(SignedIn, Timestamp)>> {
    let Some(ticket) = open_from_url::<Ticket>(&app.forward.seals, TICKET, cookie) else {
        return Ok(None);
    };
    if ticket.origin != origin.as_str() {
        return Ok(None);
    }
    let found = browser::of_session(app, SessionId(ticket.session)).await?;
    Ok(found.map(|signed_in| {
        let proved = signed_in.auth_time.min(Timestamp::from_millis(ticket.proved));
        (signed_in, proved)
    }))
}
