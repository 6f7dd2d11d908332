//! Adds services, and the API tokens of users and services.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("service")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("name").string_len(64).not_null().unique_key())
                    .col(ColumnDef::new("scopes").string_len(4096).not_null())
                    .col(ColumnDef::new("is_active").boolean().not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("api_token")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("user_id").string_len(36))
                    .col(ColumnDef::new("service_id").string_len(36))
                    .col(ColumnDef::new("name").string_len(64))
                    .col(ColumnDef::new("prefix").string_len(16).not_null())
                    .col(ColumnDef::new("digest").string_len(64).not_null().unique_key())
                    .col(ColumnDef::new("scopes").string_len(4096).not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer())
                    .col(ColumnDef::new("last_used_at").big_integer())
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_api_token_user")
                            .from("api_token", "user_id")
                            .to("user", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_api_token_service")
                            .from("api_token", "service_id")
                            .to("service", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .check(Expr::cust("(user_id is null) <> (service_id is null)"))
                    .to_owned(),
            )
            .await?;
        for column in ["user_id", "service_id", "expires_at"] {
            manager
                .create_index(
                    Index::create()
                        .name(format!("ix_api_token_{column}"))
                        .table("api_token")
                        .col(column)
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["api_token", "service"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
