//! Many revocations in few texts, for a server that starts. This is several times as fast as a row for each of them.

use entity::revocation::{KEY, LIFT, SESSION, TOKEN, USER};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};
use tessera_verify::Revocation;
use uuid::Uuid;

use crate::base::clock::Timestamp;

/// The number of bytes of an id in the table.
const ID: usize = 36;

/// Returns the revocations of the rows from `first` to `last` in the sequence that cover tokens until an instant or later.
/// They get the latest `until` of these rows, or of those of their kind, so memory can keep some for a little longer than
/// needed. This logs how many rows it ignored, because their kinds are unknown or their ids are invalid.
pub(super) async fn read(
    connection: &impl ConnectionTrait,
    (first, last): (i64, i64),
    until: i64,
) -> Result<Vec<Revocation>, DbErr> {
    let values = [first.into(), last.into(), until.into()];
    // SQLite would sort the rows by their kinds.
    if connection.get_database_backend() == DbBackend::Postgres {
        let kinds = OfKind::read(connection, values.clone()).await?;
        let entries = kinds.iter().map(OfKind::entries).collect::<Option<Vec<_>>>();
        if let Some(entries) = entries {
            return Ok(entries.into_iter().flatten().collect());
        }
    }
    let packed = Packed::read(connection, values).await?;
    Ok(packed.map(|packed| packed.entries()).unwrap_or_default())
}

/// The rows of one kind. The database needs half of the time for them, because each row has fewer conditions.
#[derive(FromQueryResult)]
struct OfKind {
    kind: String,
    /// `true` if each row has an id of the right length.
    have_ids: bool,
    /// The ids.
    subjects: String,
    /// The ids of users, each with the instant of the cut-off behind it, separated by commas.
    users: Option<String>,
    /// The latest `until` of the rows.
    until: i64,
}

impl OfKind {
    async fn read(
        connection: &impl ConnectionTrait,
        values: [Value; 3],
    ) -> Result<Vec<Self>, DbErr> {
        let sql = format!(
            "select kind, bool_and(octet_length(subject) = {ID}) as have_ids, string_agg(subject, '') as subjects, \
             string_agg(subject || at, ',') filter (where kind = '{USER}') as users, \
             max(until) as until \
             from revocation where seq between $1 and $2 and until >= $3 group by kind"
        );
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        Self::find_by_statement(statement).all(connection).await
    }

    /// The entries; `None` if some row has none.
    fn entries(&self) -> Option<Vec<Revocation>> {
        let until = seconds(self.until);
        match self.kind.as_str() {
            LIFT | KEY => Some(Vec::new()),
            _ if !self.have_ids => None,
            TOKEN => ids(&self.subjects).map(|id| Some(Revocation::token(id?, until))).collect(),
            SESSION => {
                ids(&self.subjects).map(|id| Some(Revocation::session(id?, until))).collect()
            }
            USER => users(self.users.as_deref()).map(|user| of_user(user, until)).collect(),
            _ => None,
        }
    }
}

/// The rows of all kinds, with only those ids that have the right length.
#[derive(FromQueryResult)]
struct Packed {
    /// The ids of tokens.
    tokens: Option<String>,
    /// The ids of sessions.
    sessions: Option<String>,
    /// The ids of users, each with the instant of the cut-off behind it, separated by commas.
    users: Option<String>,
    /// The latest `until` of the rows.
    until: Option<i64>,
    /// The number of rows that are of another kind, or whose ids have another length.
    others: i64,
}

impl Packed {
    async fn read(
        connection: &impl ConnectionTrait,
        values: [Value; 3],
    ) -> Result<Option<Self>, DbErr> {
        let backend = connection.get_database_backend();
        let joined = if backend == DbBackend::Postgres { "string_agg" } else { "group_concat" };
        // In bytes: a text of as many characters would move all ids behind it.
        let is_id = format!("octet_length(subject) = {ID}");
        let sql = format!(
            "select {joined}(subject, '') filter (where kind = '{TOKEN}' and {is_id}) as tokens, \
             {joined}(subject, '') filter (where kind = '{SESSION}' and {is_id}) as sessions, \
             {joined}(subject || at, ',') filter (where kind = '{USER}' and {is_id}) as users, \
             max(until) filter (where kind in ('{TOKEN}', '{SESSION}', '{USER}')) as until, \
             count(*) filter (where kind not in ('{LIFT}', '{KEY}') and \
             not (kind in ('{TOKEN}', '{SESSION}', '{USER}') and {is_id})) as others \
             from revocation where seq between $1 and $2 and until >= $3"
        );
        Self::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
            .one(connection)
            .await
    }

    /// The entries. It logs how many rows have none.
    fn entries(&self) -> Vec<Revocation> {
        let until = seconds(self.until.unwrap_or_default());
        let tokens = ids(self.tokens.as_deref().unwrap_or_default());
        let sessions = ids(self.sessions.as_deref().unwrap_or_default());
        let all: Vec<_> = tokens
            .map(|id| Some(Revocation::token(id?, until)))
            .chain(sessions.map(|id| Some(Revocation::session(id?, until))))
            .chain(users(self.users.as_deref()).map(|user| of_user(user, until)))
            .collect();
        let invalid = all.iter().filter(|entry| entry.is_none()).count();
        let ignored = usize::try_from(self.others).unwrap_or(usize::MAX).saturating_add(invalid);
        if ignored > 0 {
            tracing::error!(
                revocations = ignored,
                "revocations are ignored, because their kinds are unknown or their ids are invalid"
            );
        }
        all.into_iter().flatten().collect()
    }
}

fn seconds(millis: i64) -> u64 {
    Timestamp::from_millis(millis).seconds()
}

/// The ids in a text, one behind the other. One that is invalid is `None`.
fn ids(text: &str) -> impl Iterator<Item = Option<Uuid>> {
    text.as_bytes().chunks(ID).map(|id| Uuid::try_parse_ascii(id).ok())
}

fn users(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').filter(|user| !user.is_empty())
}

/// The revocation of a user's tokens before an instant, which follows their id.
fn of_user(text: &str, until: u64) -> Option<Revocation> {
    let (sub, at) = text.split_at_checked(ID)?;
    let at = at.parse::<i64>().ok()?.max(0).unsigned_abs();
    Some(Revocation::user(Uuid::try_parse(sub).ok()?, at, until))
}
