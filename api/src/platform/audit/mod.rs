//! The audit: a table that records who did what to whom, from which IP address and when.
//!
//! An entry is written in the transaction of the action that it records, so neither exists without the other. Sealing
//! (`jobs.rs`) later gives it a number and a digest of itself and of the row before. To alter a row without a trace,
//! somebody would have to alter all rows after it. The audit contains no secret, no password and no address.

pub mod chain;
pub(crate) mod jobs;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use entity::audit::Model as Row;
use entity::{UserId, audit_pending};
use sea_orm::{ConnectionTrait, NotSet, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{IntoStaticStr, VariantArray};
use tokio::sync::Notify;

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::database::{Database, Insert};
use crate::base::error::Result;
use crate::base::listing::{Limit, Page};
use crate::base::request_context::{self, RequestContext};

/// An action that the audit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Act {
    /// A user registered, or an operator made a user.
    Register,
    /// Somebody tried to register an address that belongs to a user.
    RegisterRefused,
    /// A user signed in.
    Login,
    /// Somebody gave a wrong password, or no user has the given name.
    LoginRefused,
    /// A user gave their password again.
    Freshen,
    /// A refresh token was used again after it had been exchanged. Its session ended.
    RefreshReuse,
    /// A user signed out.
    Logout,
    /// A user signed out everywhere.
    LogoutAll,
    /// Sessions were ended.
    SessionEnd,
    /// A token was revoked by its holder.
    Revoke,
    /// A superuser revoked something.
    AdminRevoke,
    /// A superuser lifted a revocation.
    AdminLift,
    /// Somebody gave a wrong code.
    CodeRefused,
    /// A password was changed.
    PasswordChange,
    /// A password was set with a link or code from a mail.
    PasswordReset,
    /// A mail to set a password was sent.
    PasswordResetMail,
    /// An address was changed.
    EmailChange,
    /// A user asked for a new address, which is not confirmed yet.
    EmailChangeAsk,
    /// A new address that was not confirmed yet was cancelled.
    EmailChangeCancel,
    /// The link by which the owner of a previous address takes the account back was cancelled.
    EmailRestoreCancel,
    /// The owner of a previous address took the account back.
    EmailRestore,
    /// An address was verified with a link or code from a mail.
    EmailVerify,
    /// Flags were changed.
    FlagsChange,
    /// Scopes were changed.
    ScopesChange,
    /// A waiting mail was discarded.
    MailDrop,
    /// A superuser created a user.
    UserCreate,
    /// A superuser invited somebody.
    Invite,
    /// An invitation was sent again.
    InviteAgain,
    /// An invitation was withdrawn.
    InviteWithdraw,
    /// An invited person made their account.
    InviteAccept,
    /// A superuser exported the list of users.
    UsersExport,
    /// A user was deleted.
    UserDelete,
    /// Somebody exported a user's data.
    UserExport,
    /// A user was imported.
    UserImport,
    /// An API token was made, or an existing one was made again.
    TokenCreate,
    /// API tokens were deleted.
    TokenDelete,
    /// A service was made.
    ServiceCreate,
    /// A service was deleted.
    ServiceDelete,
    /// The revocation feed began a new epoch.
    FeedReset,
    /// A backup was restored.
    Restore,
    /// A client was made.
    ClientCreate,
    /// A client was changed.
    ClientUpdate,
    /// A client got another secret.
    ClientSecretRotate,
    /// A client was deleted.
    ClientDelete,
    /// A resource was made.
    ResourceCreate,
    /// A resource was changed.
    ResourceUpdate,
    /// A resource was deleted.
    ResourceDelete,
    /// A user allowed an application to use the account.
    ConsentGive,
    /// A user ended the access of an application.
    ConsentEnd,
    /// An application got a grant for a code.
    GrantOpen,
    /// A grant of an application was ended.
    GrantEnd,
    /// A code of an application was used again after it had been exchanged. Its grant ended.
    CodeReuse,
    /// An identity at another provider was linked.
    IdentityLink,
    /// An identity at another provider was unlinked.
    IdentityUnlink,
    /// A sign-in with another provider was refused.
    UpstreamRefused,
    /// A signing key was made.
    KeyCreate,
    /// A signing key was retired.
    KeyRetire,
    /// Signing keys were encrypted with the current secret.
    KeyReseal,
}

impl Act {
    /// Every action.
    pub const ALL: &[Act] = Act::VARIANTS;

    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The actor of an action, as the table names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor(String);

impl Actor {
    /// Returns the actor for callers who have proved nothing, or who have only used the link or code of a mail.
    pub fn anybody() -> Self {
        Self("anybody".to_owned())
    }

    /// Returns the actor for a user.
    pub fn user(id: UserId) -> Self {
        Self(format!("user:{id}"))
    }

    /// Returns the actor for a caller, in the caller's own notation.
    pub fn of(caller: &impl fmt::Display) -> Self {
        Self(caller.to_string())
    }
}

/// An entry that will be written.
#[derive(Debug, Clone)]
pub struct Entry {
    act: Act,
    actor: Actor,
    subject: Option<String>,
    detail: Value,
}

impl Entry {
    /// Creates an entry of an action by somebody, without a subject.
    pub fn new(act: Act, actor: Actor) -> Self {
        Self { act, actor, subject: None, detail: json!({}) }
    }

    /// Creates an entry of a user's action on their own account.
    pub fn own(act: Act, user: UserId) -> Self {
        Self::new(act, Actor::user(user)).on_user(user)
    }

    /// Sets the subject to a user.
    pub fn on_user(self, user: UserId) -> Self {
        self.on("user", user)
    }

    /// Sets the subject to something else.
    pub fn on(self, kind: &str, id: impl fmt::Display) -> Self {
        Self { subject: Some(format!("{kind}:{id}")), ..self }
    }

    /// Adds a detail. It must not be a secret, nor something that a stranger typed.
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
    /// Notified after an action wrote entries.
    written: Notify,
    is_behind: AtomicBool,
    /// The number of passes of sealing that have begun.
    begun: AtomicU64,
    /// The number of the last pass that was completed. A caller holds it while it seals.
    completed: tokio::sync::Mutex<u64>,
}

impl State {
    /// Wakes the work that seals entries.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }

    /// Returns true if entries have waited for more than five seconds to be sealed.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    fn note_lag(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }
}

/// Writes entries in the transaction of their actions. They are sealed soon after the commit.
///
/// # Errors
///
/// If the database refuses.
pub(super) async fn write(connection: &impl ConnectionTrait, entries: Vec<Entry>) -> Result<()> {
    Ok(store::insert_pending(connection, pending(entries)).await?)
}

/// Writes the entry of an action that changes nothing else, in one statement.
///
/// # Errors
///
/// If the database refuses.
pub(super) async fn write_alone(database: &Database, entry: Entry) -> Result<()> {
    let statement = store::statement(database.backend(), pending(vec![entry]));
    Ok(database.run(statement).await.map(drop)?)
}

/// The row of an entry, for a statement that writes others too.
pub(super) fn insert_of(entry: Entry) -> Insert {
    Insert::of(&pending_row(&request_context::current(), clock::now().millis(), entry))
}

/// The rows of entries, as of now and of the request that is served.
fn pending(entries: Vec<Entry>) -> Vec<audit_pending::ActiveModel> {
    let (context, at) = (request_context::current(), clock::now().millis());
    entries.into_iter().map(|entry| pending_row(&context, at, entry)).collect()
}

fn pending_row(context: &RequestContext, at: i64, entry: Entry) -> audit_pending::ActiveModel {
    let Entry { act, actor, subject, detail } = entry;
    audit_pending::ActiveModel {
        id: NotSet,
        at: Set(at),
        act: Set(act.name().to_owned()),
        actor: Set(actor.0),
        subject: Set(subject),
        ip: Set(context.ip.map(|ip| ip.to_string())),
        request: Set(context.request_id.clone()),
        detail: Set(detail.to_string()),
    }
}

/// The age of the oldest pending entry, in milliseconds; 0 if none is pending.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn lag(app: &App) -> Result<u64> {
    let oldest = store::oldest_pending(app.database.reader()).await?;
    let age = |at: i64| clock::now().millis().saturating_sub(at).max(0).unsigned_abs();
    Ok(oldest.map_or(0, age))
}

/// Seals the pending entries, so that a reader sees every action that was committed before. If that fails, for example
/// on a read-only database, the reader sees the entries that are sealed already.
pub(crate) async fn catch_up(app: &App) {
    if let Err(error) = jobs::seal(app).await {
        tracing::warn!(error.cause = %error, "the audit is read without its latest entries");
    }
}

/// The rows to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only rows of this action.
    pub act: Option<String>,
    /// Only rows with this actor, such as `user:…`.
    pub actor: Option<String>,
    /// Only rows with this subject, such as `user:…`.
    pub subject: Option<String>,
    /// Only rows at this instant or after it, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Only rows before this instant.
    pub before: Option<i64>,
    /// `true` to list the oldest rows first.
    pub oldest_first: bool,
    /// The number of the last row that the caller already has.
    pub after: Option<i64>,
    /// The maximum number of rows: 1 to 1000.
    pub limit: u64,
}

/// Returns a page of the rows, the newest first unless `oldest_first` is set.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, filter: Filter) -> Result<Page<Row>> {
    let texts = [&filter.act, &filter.actor, &filter.subject];
    // No row contains this character, and PostgreSQL would answer with an error.
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Page::empty());
    }
    let limit = Limit::new(filter.limit, 1000);
    catch_up(app).await;
    let rows = store::list(app.database.reader(), &filter, limit.rows()).await?;
    Ok(limit.page(rows))
}

/// Returns the number of the last row of an action, if there is one.
///
/// # Errors
///
/// If the database does not answer.
pub async fn last(app: &App, act: Act) -> Result<Option<i64>> {
    catch_up(app).await;
    Ok(store::last_of(app.database.reader(), act.name()).await?)
}

/// Counts actions for each day from the instant `since` on, in milliseconds since the epoch. Returns the action, the
/// number of the day since the epoch, and the count. It leaves out days without such actions.
///
/// # Errors
///
/// If the database does not answer.
pub async fn per_day(app: &App, acts: &[Act], since: i64) -> Result<Vec<(String, i64, i64)>> {
    catch_up(app).await;
    let acts = acts.iter().map(|act| act.name()).collect();
    Ok(store::per_day(app.database.reader(), acts, since).await?)
}

/// The instants of a user's account that the audit knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dates {
    /// The instant when the account was made; `None` if that was before the audit began.
    pub created: Option<Timestamp>,
    /// The instant of the last sign-in; `None` if there was none.
    pub last_sign_in: Option<Timestamp>,
}

/// The actions that make an account.
const CREATION: [Act; 4] = [Act::Register, Act::UserCreate, Act::UserImport, Act::InviteAccept];

/// Returns the dates of some users. Users without any are left out.
///
/// # Errors
///
/// If the database does not answer.
pub async fn dates_of(app: &App, users: &[UserId]) -> Result<BTreeMap<String, Dates>> {
    catch_up(app).await;
    let acts = CREATION.iter().chain([&Act::Login]).map(|act| act.name()).collect();
    let subjects = users.iter().map(|user| format!("user:{user}")).collect();
    let mut dates: BTreeMap<String, Dates> = BTreeMap::new();
    for (subject, act, first, last) in store::spans(app.database.reader(), acts, subjects).await? {
        let id = subject.trim_start_matches("user:").to_owned();
        let known = dates.entry(id).or_default();
        if act == Act::Login.name() {
            known.last_sign_in = Some(Timestamp::from_millis(last));
        } else {
            let first = Timestamp::from_millis(first);
            known.created = Some(known.created.map_or(first, |created| created.min(first)));
        }
    }
    Ok(dates)
}

/// Returns the latest actions on a user, the latest first, as that user may see them.
///
/// # Errors
///
/// If the database does not answer.
pub async fn latest_of(app: &App, user: UserId, max: usize) -> Result<Vec<Row>> {
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    let name = format!("user:{user}");
    catch_up(app).await;
    let rows = store::latest_about(app.database.reader(), &name, max).await?;
    Ok(rows.into_iter().map(|row| seen_by(&name, row)).collect())
}

/// Returns some actions by a user or on them, the oldest first, as that user may see them. It returns at most `max`
/// rows, with numbers greater than `after` and up to `until`.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn about(
    connection: &impl ConnectionTrait,
    user: UserId,
    after: i64,
    until: i64,
    max: usize,
) -> Result<Vec<Row>> {
    let name = format!("user:{user}");
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    // Most rows are both. An index finds each in order, so no page reads more rows than it needs.
    let on = store::on(connection, &name, after, until, limit).await?;
    let by = store::by(connection, &name, after, until, limit).await?;
    let rows: BTreeMap<_, _> = on.into_iter().chain(by).map(|row| (row.seq, row)).collect();
    Ok(rows.into_values().take(max).map(|row| seen_by(&name, row)).collect())
}

/// Returns the number of the last row, or 0 if there is none.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn end(connection: &impl ConnectionTrait) -> Result<i64> {
    Ok(store::last(connection).await?.map_or(0, |row| row.seq))
}

/// Returns the detail of a row with this name, if it is a text.
pub fn detail(row: &Row, name: &str) -> Option<String> {
    let detail: Value = serde_json::from_str(&row.detail).ok()?;
    detail[name].as_str().map(ToOwned::to_owned)
}

/// Removes from a row of another actor what its subject may not see: the IP address, the request, and which superuser
/// it was.
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
    fn every_action_has_a_text_in_every_language() {
        for (language, source) in EMBEDDED {
            for &act in Act::ALL {
                let text = format!("act-{} =", act.name());
                let found = source.lines().any(|line| line.starts_with(&text));
                assert!(found, "{language}: {}", act.name());
            }
        }
    }
}
