//! Entries of the audit that are not sealed yet, numbers of revocations and notices that are given inside the commit,
//! and the number of times that a session's access tokens were cut off.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The tables whose rows are numbered in the order of the commits.
const NUMBERED: [&str; 2] = ["revocation", "notice"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("audit_pending")
                    .col(
                        ColumnDef::new("id")
                            .big_integer()
                            .not_null()
                            .auto_increment()
                            .primary_key(),
                    )
                    .col(ColumnDef::new("at").big_integer().not_null())
                    .col(ColumnDef::new("act").string_len(32).not_null())
                    .col(ColumnDef::new("actor").string_len(64).not_null())
                    .col(ColumnDef::new("subject").string_len(160))
                    .col(ColumnDef::new("ip").string_len(45))
                    .col(ColumnDef::new("request").string_len(64))
                    .col(ColumnDef::new("detail").text().not_null())
                    .to_owned(),
            )
            .await?;
        let cuts = ColumnDef::new("cuts").big_integer().not_null().default(0).to_owned();
        manager.alter_table(Table::alter().table("session").add_column(cuts).to_owned()).await?;
        if manager.get_database_backend() != DbBackend::Postgres {
            // SQLite has one writer at a time: its numbers are in the order of the commits.
            return Ok(());
        }
        let connection = manager.get_connection();
        connection.execute_unprepared(NUMBER_AT_COMMIT).await?;
        for table in NUMBERED {
            connection.execute_unprepared(&numbered(table)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            for table in NUMBERED {
                let sql = format!(
                    "drop trigger number_at_commit on {table};
                     alter table {table} alter column seq set increment by 1
                     set minvalue 1 set maxvalue 9223372036854775807
                     set start with 1 restart with 1;
                     select setval(pg_get_serial_sequence('{table}', 'seq'), nextval('{table}_place'));
                     drop sequence {table}_place"
                );
                manager.get_connection().execute_unprepared(&sql).await?;
            }
            let sql = "drop function number_at_commit()";
            manager.get_connection().execute_unprepared(sql).await?;
        }
        manager.alter_table(Table::alter().table("session").drop_column("cuts").to_owned()).await?;
        manager.drop_table(Table::drop().table("audit_pending").to_owned()).await
    }
}

/// The deferred trigger runs inside the commit: it takes the lock, which PostgreSQL releases after the commit is visible,
/// and gives the row the next number. So the numbers are in the order of the commits, and the lock is held over no round
/// trip. If the sequence is behind the table, as after a partial restore, it is moved on first: a replica would never look
/// for a number below its place.
///
/// It runs with the rights of its owner, so that a role which may only change rows needs no right on the sequence. So all
/// names are found in the schema of the table, on no search path.
const NUMBER_AT_COMMIT: &str = "
    create function number_at_commit() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp as $$
    declare
        place regclass := format('%I.%I', tg_table_schema, tg_argv[0])::regclass;
        number bigint;
        highest bigint;
    begin
        perform pg_advisory_xact_lock(127979077435394);
        number := nextval(place);
        execute format('select max(seq) from %s', tg_relid::regclass) into highest;
        if highest >= number then
            number := setval(place, highest + 1);
        end if;
        execute format('update %s set seq = $1 where seq = $2', tg_relid::regclass)
        using number, new.seq;
        return null;
    end
    $$";

/// An insert gives a row a negative number that nobody else sees. The trigger replaces it.
fn numbered(table: &str) -> String {
    format!(
        "create sequence {table}_place owned by {table}.seq;
         select setval('{table}_place', (select coalesce(max(seq), 0) + 1 from {table}), false);
         alter table {table} alter column seq set increment by -1
         set minvalue -9223372036854775808 set maxvalue -1 set start with -1 restart with -1;
         create constraint trigger number_at_commit after insert on {table}
         deferrable initially deferred for each row when (new.seq < 0)
         execute function number_at_commit('{table}_place')"
    )
}
