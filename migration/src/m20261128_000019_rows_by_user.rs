//! Adds indexes that return the rows of a user in order, so that they can be read page by page.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Each table, with the column that identifies the user and the columns that give the order.
const INDEXES: [(&str, &str, &[&str]); 3] = [
    ("audit", "subject", &["seq"]),
    ("audit", "actor", &["seq"]),
    ("session", "user_id", &["created_at", "id"]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, order) in INDEXES {
            drop(manager, table, &[column]).await?;
            create(manager, table, &[&[column], order].concat()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, order) in INDEXES {
            drop(manager, table, &[&[column], order].concat()).await?;
            create(manager, table, &[column]).await?;
        }
        Ok(())
    }
}

fn name(table: &str, columns: &[&str]) -> String {
    format!("ix_{table}_{}", columns.join("_"))
}

async fn drop(
    manager: &SchemaManager<'_>,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let index = Index::drop().name(name(table, columns)).table(table).to_owned();
    manager.drop_index(index).await
}

async fn create(
    manager: &SchemaManager<'_>,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create().name(name(table, columns)).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}
