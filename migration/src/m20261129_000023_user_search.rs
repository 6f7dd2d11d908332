//! Adds a table with the text of each user that a search finds, an index of its parts of three characters, and indexes
//! for the flags of users.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The flags that users are listed by.
const FLAGS: [&str; 3] = ["is_active", "is_superuser", "is_verified"];

/// The number of users that are read at once.
const BATCH: u64 = 1000;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let (statements, folded) = match manager.get_database_backend() {
            DbBackend::Postgres => (&POSTGRES[..], r#"lower(email collate "C")"#),
            _ => (&SQLITE[..], "lower(email)"),
        };
        for statement in statements {
            connection.execute_unprepared(statement).await?;
        }
        for flag in FLAGS {
            let sql = format!(r#"create index ix_user_{flag}_email on "user" ({flag}, {folded})"#);
            connection.execute_unprepared(&sql).await?;
        }
        fold_others(connection).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for flag in FLAGS {
            connection.execute_unprepared(&format!("drop index ix_user_{flag}_email")).await?;
        }
        let statements = match manager.get_database_backend() {
            DbBackend::Postgres => &DOWN_POSTGRES[..],
            _ => &DOWN_SQLITE[..],
        };
        for statement in statements {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// The triggers fold only ASCII letters. This folds the letters of the users who have others.
async fn fold_others(connection: &SchemaManagerConnection<'_>) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    let has_others = match backend {
        DbBackend::Postgres => "text ~ '[^[:ascii:]]'",
        // A text has more bytes than characters if some are not ASCII.
        _ => "length(cast(text as blob)) > length(text)",
    };
    let mut after = String::new();
    loop {
        let sql = format!(
            "select user_id, text from user_search where user_id > $1 and {has_others} \
             order by user_id limit {BATCH}"
        );
        let query = Statement::from_sql_and_values(backend, sql, [after.clone().into()]);
        let rows = connection.query_all_raw(query).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let (id, text): (String, String) =
                (row.try_get("", "user_id")?, row.try_get("", "text")?);
            let folded: String =
                text.chars().flat_map(char::to_lowercase).collect::<String>().replace('ς', "σ");
            after.clone_from(&id);
            if folded != text {
                let sql = "update user_search set text = $1 where user_id = $2";
                let values = [folded.into(), id.into()];
                let update = Statement::from_sql_and_values(backend, sql, values);
                connection.execute_raw(update).await?;
            }
        }
    }
}

/// SQLite has an index of this kind: a full-text index of parts of three characters (FTS5). It refers to rows by number,
/// and its triggers are those that its documentation gives.
const SQLITE: [&str; 13] = [
    "create table user_search (
        number integer primary key,
        user_id varchar(36) not null unique references \"user\" (id) on delete cascade,
        text text not null
    )",
    "create virtual table user_search_index using fts5(
        text, content = 'user_search', content_rowid = 'number',
        tokenize = 'trigram case_sensitive 1', detail = 'none'
    )",
    "create trigger user_search_inserted after insert on user_search begin
        insert into user_search_index (rowid, text) values (new.number, new.text);
    end",
    "create trigger user_search_deleted after delete on user_search begin
        insert into user_search_index (user_search_index, rowid, text)
        values ('delete', old.number, old.text);
    end",
    "create trigger user_search_updated after update on user_search begin
        insert into user_search_index (user_search_index, rowid, text)
        values ('delete', old.number, old.text);
        insert into user_search_index (rowid, text) values (new.number, new.text);
    end",
    "create view user_search_text as
        select \"user\".id as user_id,
        lower(email || char(10) || coalesce(name, '') || char(10) || coalesce(surname, '')) as text
        from \"user\" left join profile on profile.user_id = \"user\".id",
    "insert into user_search (user_id, text) select user_id, text from user_search_text",
    "create trigger user_inserted after insert on \"user\" begin
        insert into user_search (user_id, text)
        select user_id, text from user_search_text where user_id = new.id;
    end",
    "create trigger user_updated after update of email on \"user\" when old.email <> new.email begin
        update user_search set text = (select text from user_search_text where user_id = new.id)
        where user_id = new.id;
    end",
    "create trigger profile_inserted after insert on profile begin
        update user_search set text = (select text from user_search_text where user_id = new.user_id)
        where user_id = new.user_id;
    end",
    "create trigger profile_updated after update of name, surname on profile
    when old.name is not new.name or old.surname is not new.surname begin
        update user_search set text = (select text from user_search_text where user_id = new.user_id)
        where user_id = new.user_id;
    end",
    "create trigger profile_deleted after delete on profile
    when exists (select 1 from \"user\" where id = old.user_id) begin
        update user_search set text = (select text from user_search_text where user_id = old.user_id)
        where user_id = old.user_id;
    end",
    // Without foreign keys, as in the command of SQLite, the row of a deleted user would stay.
    "create trigger user_deleted after delete on \"user\" begin
        delete from user_search where user_id = old.id;
    end",
];

const DOWN_SQLITE: [&str; 9] = [
    "drop trigger user_deleted",
    "drop trigger profile_deleted",
    "drop trigger profile_updated",
    "drop trigger profile_inserted",
    "drop trigger user_updated",
    "drop trigger user_inserted",
    "drop view user_search_text",
    "drop table user_search_index",
    "drop table user_search",
];

/// PostgreSQL has such an index without an extension: an inverted index of a list, which a function makes of the text.
/// Its entries are written at once, so that a search does not read a list of those that wait.
const POSTGRES: [&str; 9] = [
    "create table user_search (
        user_id varchar(36) primary key references \"user\" (id) on delete cascade,
        text text not null
    )",
    "create view user_search_text as
        select \"user\".id as user_id,
        lower((email || chr(10) || coalesce(name, '') || chr(10) || coalesce(surname, '')) collate \"C\")
        as text from \"user\" left join profile on profile.user_id = \"user\".id",
    "insert into user_search (user_id, text) select user_id, text from user_search_text",
    "create function search_parts(value text) returns text[]
    language sql immutable strict parallel safe as $$
        select coalesce(array_agg(distinct substr(value, place, 3)), '{}')
        from generate_series(1, length(value) - 2) as place
    $$",
    "create index ix_user_search_parts on user_search using gin (search_parts(text))
    with (fastupdate = off)",
    "create function write_user_search() returns trigger language plpgsql as $$
    begin
        execute format(
            'insert into %1$I.user_search (user_id, text)
             select user_id, text from %1$I.user_search_text where user_id = $1
             on conflict (user_id) do update set text = excluded.text',
            tg_table_schema
        ) using case tg_op
            when 'DELETE' then to_jsonb(old) ->> tg_argv[0]
            else to_jsonb(new) ->> tg_argv[0]
        end;
        return null;
    end
    $$",
    "create trigger write_search_of_new after insert on \"user\"
    for each row execute function write_user_search('id')",
    "create trigger write_search after update of email on \"user\"
    for each row when (old.email is distinct from new.email)
    execute function write_user_search('id')",
    "create trigger write_search after insert or delete or update of name, surname on profile
    for each row execute function write_user_search('user_id')",
];

const DOWN_POSTGRES: [&str; 7] = [
    "drop trigger write_search on profile",
    "drop trigger write_search on \"user\"",
    "drop trigger write_search_of_new on \"user\"",
    "drop function write_user_search()",
    "drop view user_search_text",
    "drop table user_search",
    "drop function search_parts(text)",
];
