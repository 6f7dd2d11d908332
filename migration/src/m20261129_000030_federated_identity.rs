//! Adds identities of users at other providers, what sessions were proven by, and what was spent once.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn identity() -> TableCreateStatement {
    Table::create()
        .table("federated_identity")
        .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
        .col(ColumnDef::new("user_id").string_len(36).not_null())
        .col(ColumnDef::new("upstream").string_len(32).not_null())
        .col(ColumnDef::new("subject").string_len(255).not_null())
        .col(ColumnDef::new("issuer").text().not_null())
        .col(ColumnDef::new("email").string_len(320))
        .col(ColumnDef::new("words").string_len(4096).not_null())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .col(ColumnDef::new("used_at").big_integer().not_null())
        .foreign_key(
            ForeignKey::create()
                .name("fk_federated_identity_user")
                .from("federated_identity", "user_id")
                .to("user", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn seen() -> TableCreateStatement {
    Table::create()
        .table("seen")
        .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
        .col(ColumnDef::new("expires_at").big_integer().not_null())
        .to_owned()
}

fn refusal() -> TableCreateStatement {
    Table::create()
        .table("upstream_refusal")
        .col(ColumnDef::new("reference").string_len(64).not_null().primary_key())
        .col(ColumnDef::new("upstream").string_len(32).not_null())
        .col(ColumnDef::new("check_name").string_len(64).not_null())
        .col(ColumnDef::new("sentence").text().not_null())
        .col(ColumnDef::new("expected").text())
        .col(ColumnDef::new("came").text())
        .col(ColumnDef::new("remedy").text().not_null())
        .col(ColumnDef::new("at").big_integer().not_null())
        .to_owned()
}

/// The columns that sessions gain. A server of the release before writes none of them.
fn columns() -> [ColumnDef; 5] {
    [
        ColumnDef::new("amr").string_len(64).not_null().default("pwd").to_owned(),
        ColumnDef::new("second_at").big_integer().to_owned(),
        ColumnDef::new("federated_identity_id").string_len(36).to_owned(),
        ColumnDef::new("upstream_sid").string_len(255).to_owned(),
        ColumnDef::new("ends_at").big_integer().to_owned(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [identity(), seen(), refusal()] {
            manager.create_table(table).await?;
        }
        for column in columns() {
            let alter = Table::alter().table("session").add_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        for statement in [
            "create unique index ux_federated_identity_upstream_subject \
             on federated_identity (upstream, subject)",
            "create index ix_federated_identity_user_id on federated_identity (user_id)",
            "create index ix_seen_expires_at on seen (expires_at)",
            "create index ix_upstream_refusal_upstream_at on upstream_refusal (upstream, at)",
            "create index ix_session_federated_identity_id on session (federated_identity_id) \
             where federated_identity_id is not null",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "drop index ix_session_federated_identity_id";
        manager.get_connection().execute_unprepared(drop).await?;
        for name in ["ends_at", "upstream_sid", "federated_identity_id", "second_at", "amr"] {
            let alter = Table::alter().table("session").drop_column(name).to_owned();
            manager.alter_table(alter).await?;
        }
        for table in ["upstream_refusal", "seen", "federated_identity"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
