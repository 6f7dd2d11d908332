//! Adds the tables of the provider: clients with their secrets, resources, consents, grants, codes and refusals.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The tables that are made here, each after those that it refers to.
const TABLES: [&str; 7] = [
    "client",
    "client_secret",
    "resource",
    "consent",
    "oauth_grant",
    "authorization_code",
    "refusal",
];

/// The indexes that are not unique.
const INDEXES: [(&str, &[&str]); 12] = [
    ("client_secret", &["client_id"]),
    ("consent", &["client_id"]),
    ("oauth_grant", &["user_id", "client_id"]),
    ("oauth_grant", &["client_id"]),
    ("oauth_grant", &["session_id"]),
    ("oauth_grant", &["expires_at"]),
    ("authorization_code", &["user_id"]),
    ("authorization_code", &["client_id"]),
    ("authorization_code", &["grant_id"]),
    ("authorization_code", &["kept_until"]),
    ("refusal", &["client_id", "last_at"]),
    ("refusal", &["reference"]),
];

fn id(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).string_len(36).to_owned()
}

fn time(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().to_owned()
}

/// A time that may never come.
fn time_or_none(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().to_owned()
}

fn refers(
    table: &'static str,
    column: &'static str,
    to: &'static str,
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{to}"))
        .from(table, column)
        .to(to, "id")
        .on_delete(on_delete)
        .to_owned()
}

fn client() -> TableCreateStatement {
    Table::create()
        .table("client")
        .col(id("id").not_null().primary_key())
        .col(ColumnDef::new("client_id").string_len(255).not_null().unique_key())
        .col(ColumnDef::new("name").string_len(100).not_null())
        .col(ColumnDef::new("origin").string_len(16).not_null())
        .col(ColumnDef::new("application_type").string_len(16).not_null())
        .col(ColumnDef::new("auth_method").string_len(32).not_null())
        .col(ColumnDef::new("redirect_uris").text().not_null())
        .col(ColumnDef::new("post_logout_uris").text().not_null())
        .col(ColumnDef::new("grant_types").string_len(255).not_null())
        .col(ColumnDef::new("scopes").string_len(4096).not_null())
        .col(ColumnDef::new("settings").text().not_null())
        .col(id("own_grant"))
        .col(ColumnDef::new("is_active").boolean().not_null())
        .col(time("created_at"))
        .col(time("updated_at"))
        .to_owned()
}

fn client_secret() -> TableCreateStatement {
    let cascade = ForeignKeyAction::Cascade;
    Table::create()
        .table("client_secret")
        .col(id("id").not_null().primary_key())
        .col(id("client_id").not_null())
        .col(ColumnDef::new("prefix").string_len(16).not_null())
        .col(ColumnDef::new("digest").string_len(64).not_null().unique_key())
        .col(time("created_at"))
        .col(time_or_none("expires_at"))
        .col(time_or_none("last_used_at"))
        .foreign_key(&mut refers("client_secret", "client_id", "client", cascade))
        .to_owned()
}

fn resource() -> TableCreateStatement {
    Table::create()
        .table("resource")
        .col(id("id").not_null().primary_key())
        .col(ColumnDef::new("uri").string_len(255).not_null().unique_key())
        .col(ColumnDef::new("name").string_len(100).not_null())
        .col(ColumnDef::new("origin").string_len(16).not_null())
        .col(ColumnDef::new("scopes").string_len(4096).not_null())
        .col(ColumnDef::new("is_open").boolean().not_null())
        .col(ColumnDef::new("is_active").boolean().not_null())
        .col(time("created_at"))
        .to_owned()
}

fn consent() -> TableCreateStatement {
    let cascade = ForeignKeyAction::Cascade;
    Table::create()
        .table("consent")
        .col(id("user_id").not_null())
        .col(id("client_id").not_null())
        .col(ColumnDef::new("scopes").string_len(4096).not_null())
        .col(ColumnDef::new("resources").text().not_null())
        .col(time("created_at"))
        .col(time("updated_at"))
        .primary_key(Index::create().col("user_id").col("client_id"))
        .foreign_key(&mut refers("consent", "user_id", "user", cascade))
        .foreign_key(&mut refers("consent", "client_id", "client", cascade))
        .to_owned()
}

/// A grant is deleted with its user and with its client. It outlives the row of its session.
fn oauth_grant() -> TableCreateStatement {
    let (cascade, set_null) = (ForeignKeyAction::Cascade, ForeignKeyAction::SetNull);
    Table::create()
        .table("oauth_grant")
        .col(id("id").not_null().primary_key())
        .col(id("user_id").not_null())
        .col(id("client_id").not_null())
        .col(id("session_id"))
        .col(ColumnDef::new("scopes").string_len(4096).not_null())
        .col(ColumnDef::new("resources").text().not_null())
        .col(ColumnDef::new("claims").text())
        .col(time("auth_time"))
        .col(ColumnDef::new("amr").string_len(64).not_null())
        .col(ColumnDef::new("sid").string_len(64).not_null())
        .col(ColumnDef::new("jkt").string_len(64))
        .col(ColumnDef::new("is_offline").boolean().not_null())
        .col(time("created_at"))
        .col(time("last_used_at"))
        .col(time("generation"))
        .col(time("rotated_at"))
        .col(time("issued_at"))
        .col(ColumnDef::new("secret").binary().not_null())
        .col(time("expires_at"))
        .col(time_or_none("ended_at"))
        .col(ColumnDef::new("ended_why").string_len(32))
        .foreign_key(&mut refers("oauth_grant", "user_id", "user", cascade))
        .foreign_key(&mut refers("oauth_grant", "client_id", "client", cascade))
        .foreign_key(&mut refers("oauth_grant", "session_id", "session", set_null))
        .to_owned()
}

fn authorization_code() -> TableCreateStatement {
    let (cascade, set_null) = (ForeignKeyAction::Cascade, ForeignKeyAction::SetNull);
    Table::create()
        .table("authorization_code")
        .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
        .col(id("user_id").not_null())
        .col(id("client_id").not_null())
        .col(id("session_id"))
        .col(ColumnDef::new("redirect_uri").text().not_null())
        .col(ColumnDef::new("code_challenge").string_len(128))
        .col(ColumnDef::new("nonce").text())
        .col(ColumnDef::new("scopes").string_len(4096).not_null())
        .col(ColumnDef::new("resources").text().not_null())
        .col(ColumnDef::new("claims").text())
        .col(time("auth_time"))
        .col(ColumnDef::new("amr").string_len(64).not_null())
        .col(ColumnDef::new("jkt").string_len(64))
        .col(time("created_at"))
        .col(time("expires_at"))
        .col(time("kept_until"))
        .col(time_or_none("spent_at"))
        .col(id("grant_id"))
        .foreign_key(&mut refers("authorization_code", "user_id", "user", cascade))
        .foreign_key(&mut refers("authorization_code", "client_id", "client", cascade))
        .foreign_key(&mut refers("authorization_code", "session_id", "session", set_null))
        .foreign_key(&mut refers("authorization_code", "grant_id", "oauth_grant", set_null))
        .to_owned()
}

fn refusal() -> TableCreateStatement {
    let cascade = ForeignKeyAction::Cascade;
    Table::create()
        .table("refusal")
        .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
        .col(id("client_id"))
        .col(ColumnDef::new("check_name").string_len(64).not_null())
        .col(ColumnDef::new("error").string_len(64).not_null())
        .col(ColumnDef::new("endpoint").string_len(32).not_null())
        .col(ColumnDef::new("expected").text())
        .col(ColumnDef::new("came").text())
        .col(ColumnDef::new("remedy").text().not_null())
        .col(ColumnDef::new("reference").string_len(64).not_null())
        .col(time("count"))
        .col(time("first_at"))
        .col(time("last_at"))
        .foreign_key(&mut refers("refusal", "client_id", "client", cascade))
        .to_owned()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            client(),
            client_secret(),
            resource(),
            consent(),
            oauth_grant(),
            authorization_code(),
            refusal(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for (table, columns) in INDEXES {
            let name = format!("ix_{table}_{}", columns.join("_"));
            let mut index = Index::create().name(name).table(table).to_owned();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
