//! Adds users, sessions and revocations.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("user")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("email").string_len(320).not_null())
                    .col(ColumnDef::new("hashed_password").string_len(1024).not_null())
                    .col(ColumnDef::new("is_active").boolean().not_null())
                    .col(ColumnDef::new("is_superuser").boolean().not_null())
                    .col(ColumnDef::new("is_verified").boolean().not_null())
                    .to_owned(),
            )
            .await?;
        // Upper and lower case are equal only for ASCII letters, as in SQLite's lower(). By the rules of Unicode, the
        // Kelvin sign would equal a k, and two people could have the same address.
        let folded = match manager.get_database_backend() {
            DbBackend::Postgres => r#"lower(email collate "C")"#,
            _ => "lower(email)",
        };
        manager
            .get_connection()
            .execute_unprepared(&format!(
                r#"create unique index ix_user_email on "user" ({folded})"#
            ))
            .await?;

        manager
            .create_table(
                Table::create()
                    .table("session")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("user_id").string_len(36).not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("auth_time").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .col(ColumnDef::new("generation").big_integer().not_null())
                    .col(ColumnDef::new("rotated_at").big_integer().not_null())
                    .col(ColumnDef::new("ended_at").big_integer())
                    .col(ColumnDef::new("ended_why").string_len(32))
                    .col(ColumnDef::new("last_used_at").big_integer().not_null())
                    .col(ColumnDef::new("ip").string_len(45))
                    .col(ColumnDef::new("user_agent").string_len(256))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_session_user")
                            .from("session", "user_id")
                            .to("user", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await?;
        for column in ["user_id", "expires_at"] {
            manager
                .create_index(
                    Index::create()
                        .name(format!("ix_session_{column}"))
                        .table("session")
                        .col(column)
                        .to_owned(),
                )
                .await?;
        }

        manager
            .create_table(
                Table::create()
                    .table("revocation")
                    .col(
                        ColumnDef::new("seq")
                            .big_integer()
                            .not_null()
                            .auto_increment()
                            .primary_key(),
                    )
                    .col(ColumnDef::new("kind").string_len(8).not_null())
                    .col(ColumnDef::new("subject").string_len(64).not_null())
                    .col(ColumnDef::new("until").big_integer().not_null())
                    .col(ColumnDef::new("why").string_len(32).not_null())
                    .col(ColumnDef::new("at").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("ix_revocation_until")
                    .table("revocation")
                    .col("until")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["revocation", "session", "user"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
