//! The audit: who did what to whom, from where and when.
//!
//! Rows are appended in the transaction of the act they tell of, so that neither is there without the
//! other, and each holds a digest of itself and of the row before: who alters one would have to alter
//! all that follow. No secret, no password and no address is in it.

pub mod chain;
pub(crate) mod jobs;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

pub use entity::audit::Model as Row;
use entity::{UserId, audit_pending};
use sea_orm::{ConnectionTrait, NotSet, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{IntoStaticStr, VariantArray};
use tokio::sync::Notify;

use crate::app::App;
use crate::base::clock;
use crate::base::database::Database;
use crate::base::error::Result;
use crate::base::listing::{Limit, Page};
use crate::base::request_context::{self, RequestContext};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Act {
    /// Somebody registered, or an operator made a user.
    Register,
    /// Somebody wanted to register an address that is a user's.
    RegisterRefused,
    /// Somebody signed in.
    Login,
    /// Somebody gave a wrong password, or is nobody.
    LoginRefused,
    /// Somebody gave their password again.
    Freshen,
    /// A spent refresh token was used: its session ended.
    RefreshReuse,
    /// Somebody signed out.
    Logout,
    /// Somebody signed out everywhere.
    LogoutAll,
    /// Sessions were ended.
    SessionEnd,
    /// A token was given up.
    Revoke,
    /// A superuser revoked something.
    AdminRevoke,
    /// A superuser took a revocation back.
    AdminLift,
    /// Somebody gave a wrong code of a mail.
    CodeRefused,
    /// A password was changed.
    PasswordChange,
    /// A password was set by a mail.
    PasswordReset,
    /// A mail was sent, with which to set a password.
    PasswordResetMail,
    /// An address was changed.
    EmailChange,
    /// Somebody asked for a new address, which waits to be proved.
    EmailChangeAsk,
    /// A new address that waited to be proved was cancelled.
    EmailChangeCancel,
    /// The link by which a previous address takes an account back was cancelled.
    EmailRestoreCancel,
    /// An address was taken back.
    EmailRestore,
    /// An address was verified by a mail.
    EmailVerify,
    /// Flags were changed.
    FlagsChange,
    /// Scopes were changed.
    ScopesChange,
    /// A mail that waited was thrown away.
    MailDrop,
    /// A user was deleted.
    UserDelete,
    /// Somebody read everything that is kept of a user.
    UserExport,
    /// A user was imported.
    UserImport,
    /// An API token was made, or a known one made anew.
    TokenCreate,
    /// API tokens were deleted.
    TokenDelete,
    /// A service was made.
    ServiceCreate,
    /// A service was deleted.
    ServiceDelete,
    /// A signing key was made.
    KeyCreate,
    /// A signing key was retired.
    KeyRetire,
    /// Signing keys were sealed anew.
    KeyReseal,
}

impl Act {
    /// Every act.
    pub const ALL: &[Act] = Act::VARIANTS;

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Who does something, as the table says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor(String);

impl Actor {
    /// Whoever has something that was sent to a user, or is one without having shown it.
    pub fn anybody() -> Self {
        Self("anybody".to_owned())
    }

    /// A user.
    pub fn user(id: UserId) -> Self {
        Self(format!("user:{id}"))
    }

    /// A caller, as they are written.
    pub fn of(who: &impl fmt::Display) -> Self {
        Self(who.to_string())
    }
}

/// An act that is to be told.
#[derive(Debug, Clone)]
pub struct Entry {
    act: Act,
    actor: Actor,
    subject: Option<String>,
    detail: Value,
}

impl Entry {
    /// By somebody, on nobody in particular.
    pub fn new(act: Act, actor: Actor) -> Self {
        Self { act, actor, subject: None, detail: json!({}) }
    }

    /// By a user, on themself.
    pub fn own(act: Act, user: UserId) -> Self {
        Self::new(act, Actor::user(user)).on_user(user)
    }

    /// On a user.
    pub fn on_user(self, user: UserId) -> Self {
        self.on("user", user)
    }

    /// On something else.
    pub fn on(self, kind: &str, id: impl fmt::Display) -> Self {
        Self { subject: Some(format!("{kind}:{id}")), ..self }
    }

    /// With more to say: no secret, and nothing a stranger typed.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail[name] = value.into();
        self
    }
}

/// The most entries that one transaction seals.
const PENDING_AT_ONCE: u64 = 1000;

/// The state of sealing on this replica.
#[derive(Debug, Default)]
pub struct State {
    /// Rung after an act wrote entries.
    written: Notify,
    is_behind: AtomicBool,
}

impl State {
    /// Wakes the work that seals entries.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }

    /// Whether entries have waited for more than five seconds to be sealed.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    fn note_lag(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }
}

/// Writes entries in the transaction of their acts. They are sealed soon after the commit.
///
/// # Errors
///
/// If the database refuses.
pub(super) async fn write(connection: &impl ConnectionTrait, entries: Vec<Entry>) -> Result<()> {
    Ok(store::insert_pending(connection, pending(entries)).await?)
}

/// Writes the entry of an act that changes nothing else, in one statement.
///
/// # Errors
///
/// If the database refuses.
pub(super) async fn write_alone(database: &Database, entry: Entry) -> Result<()> {
    let statement = store::statement(database.backend(), pending(vec![entry]));
    Ok(database.run(statement).await.map(drop)?)
}

/// The rows of entries, as of now and of the request that is served.
fn pending(entries: Vec<Entry>) -> Vec<audit_pending::ActiveModel> {
    let RequestContext { ip, request_id } = request_context::current();
    let at = clock::now().millis();
    let row = |Entry { act, actor, subject, detail }| audit_pending::ActiveModel {
        id: NotSet,
        at: Set(at),
        act: Set(act.name().to_owned()),
        actor: Set(actor.0),
        subject: Set(subject),
        ip: Set(ip.map(|ip| ip.to_string())),
        request: Set(request_id.clone()),
        detail: Set(detail.to_string()),
    };
    entries.into_iter().map(row).collect()
}

/// Seals what is pending, so that a reader sees every act that was committed before. If that fails, as on a database
/// that only reads, the reader sees what is sealed.
pub(crate) async fn catch_up(app: &App) {
    if let Err(error) = jobs::seal(app).await {
        tracing::warn!(error.cause = %error, "the audit is read without its latest entries");
    }
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of an act.
    pub act: Option<String>,
    /// Those by somebody, as `user:…`.
    pub actor: Option<String>,
    /// Those on somebody or something, as `user:…`.
    pub subject: Option<String>,
    /// Those at an instant or after it, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// The oldest first.
    pub oldest_first: bool,
    /// The place of the last one that is known.
    pub after: Option<i64>,
    /// At most so many: 1 to 1000.
    pub limit: u64,
}

/// A page of the rows, the newest first unless it is said otherwise.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(app: &App, filter: Filter) -> Result<Page<Row>> {
    let texts = [&filter.act, &filter.actor, &filter.subject];
    // Nothing is called that, and PostgreSQL would call it a fault.
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Page::empty());
    }
    let limit = Limit::new(filter.limit, 1000);
    catch_up(app).await;
    let rows = store::list(app.database.reader(), &filter, limit.rows()).await?;
    Ok(limit.page(rows))
}

/// The place of the last row of an act, if there is one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn last(app: &App, act: Act) -> Result<Option<i64>> {
    catch_up(app).await;
    Ok(store::last_of(app.database.reader(), act.name()).await?)
}

/// How often something was done on each day from an instant on, in milliseconds since the epoch: the act,
/// the day since the epoch, and how often. Days on which nothing was done are left out.
///
/// # Errors
///
/// When the database does not answer.
pub async fn per_day(app: &App, acts: &[Act], since: i64) -> Result<Vec<(String, i64, i64)>> {
    catch_up(app).await;
    let acts = acts.iter().map(|act| act.name()).collect();
    Ok(store::per_day(app.database.reader(), acts, since).await?)
}

/// What was done on a user lately, the latest first, as they may see it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn latest_of(app: &App, user: UserId, max: usize) -> Result<Vec<Row>> {
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    let name = format!("user:{user}");
    catch_up(app).await;
    let rows = store::latest_about(app.database.reader(), &name, max).await?;
    Ok(rows.into_iter().map(|row| seen_by(&name, row)).collect())
}

/// Some of what was done by a user or on them, the oldest first, as they may see it: at most so many rows whose places
/// are after one and not beyond another.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn about(
    connection: &impl ConnectionTrait,
    user: UserId,
    after: i64,
    until: i64,
    max: usize,
) -> Result<Vec<Row>> {
    let name = format!("user:{user}");
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    // Most rows are both. Each is found by an index of its own, in order: no page reads more than it has to.
    let on = store::on(connection, &name, after, until, limit).await?;
    let by = store::by(connection, &name, after, until, limit).await?;
    let rows: BTreeMap<_, _> = on.into_iter().chain(by).map(|row| (row.seq, row)).collect();
    Ok(rows.into_values().take(max).map(|row| seen_by(&name, row)).collect())
}

/// The place of the last row; 0 if there is none.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn end(connection: &impl ConnectionTrait) -> Result<i64> {
    Ok(store::last(connection).await?.map_or(0, |row| row.seq))
}

/// What a row says in detail under a name, where that is a text.
pub fn detail(row: &Row, name: &str) -> Option<String> {
    let detail: Value = serde_json::from_str(&row.detail).ok()?;
    detail[name].as_str().map(ToOwned::to_owned)
}

/// Where others were who did something, and which superuser it was, is theirs.
fn seen_by(name: &str, row: Row) -> Row {
    if row.actor == name || row.actor == "anybody" {
        return row;
    }
    Row { actor: "somebody else".to_owned(), ip: None, request: None, ..row }
}

#[cfg(test)]
mod tests {
    use super::Act;
    use crate::http::page::text::EMBEDDED;

    #[test]
    fn every_act_has_a_text_in_every_language() {
        for (language, source) in EMBEDDED {
            for &act in Act::ALL {
                let text = format!("act-{} =", act.name());
                let found = source.lines().any(|line| line.starts_with(&text));
                assert!(found, "{language}: {}", act.name());
            }
        }
    }
}
