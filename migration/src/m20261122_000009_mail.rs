//! Adds jobs, the tokens and codes in mails, and the previous addresses of users.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn of_user(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_user"))
        .from(table, "user_id")
        .to("user", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("job")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("kind").string_len(16).not_null())
                    .col(ColumnDef::new("user_id").string_len(36))
                    .col(ColumnDef::new("sealed").text().not_null())
                    .col(ColumnDef::new("attempts").big_integer().not_null())
                    .col(ColumnDef::new("due_at").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .foreign_key(&mut of_user("job"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("confirmation")
                    .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
                    .col(ColumnDef::new("user_id").string_len(36).not_null())
                    .col(ColumnDef::new("purpose").string_len(16).not_null())
                    .col(ColumnDef::new("bound").string_len(64).not_null())
                    .col(ColumnDef::new("code").string_len(64).not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .col(ColumnDef::new("used_at").big_integer())
                    .foreign_key(&mut of_user("confirmation"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("former_email")
                    .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
                    .col(ColumnDef::new("user_id").string_len(36).not_null())
                    .col(ColumnDef::new("email").string_len(320).not_null())
                    .col(ColumnDef::new("verified").boolean().not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .foreign_key(&mut of_user("former_email"))
                    .to_owned(),
            )
            .await?;
        let indices: [(&str, &[&str], bool); 6] = [
            ("job", &["kind", "due_at"], false),
            ("job", &["user_id"], false),
            ("confirmation", &["user_id", "purpose"], true),
            ("confirmation", &["expires_at"], false),
            ("former_email", &["user_id"], false),
            ("former_email", &["expires_at"], false),
        ];
        for (table, columns, unique) in indices {
            let mut index = Index::create();
            index.name(format!("ix_{table}_{}", columns.join("_"))).table(table);
            for column in columns {
                index.col(*column);
            }
            if unique {
                index.unique();
            }
            manager.create_index(index.to_owned()).await?;
        }
        // Upper and lower case are equal as in the unique index of addresses.
        let folded = match manager.get_database_backend() {
            DbBackend::Postgres => r#"lower(email collate "C")"#,
            _ => "lower(email)",
        };
        let sql = format!("create index ix_former_email_email on former_email ({folded})");
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["former_email", "confirmation", "job"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
