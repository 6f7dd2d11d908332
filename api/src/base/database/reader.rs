//! Connections for reading.

use sea_orm::prelude::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement,
};

use super::begin_behind_pooler;

/// A pool of connections, each of which runs single statements.
///
/// A pooler in transaction mode can run the two parts of a statement, preparing and executing, on different connections.
/// So behind one, each statement gets a transaction of its own.
#[derive(Debug, Clone)]
pub struct Reader {
    connection: DatabaseConnection,
    behind_pooler: bool,
}

impl Reader {
    pub(super) fn new(connection: DatabaseConnection, behind_pooler: bool) -> Self {
        Self { connection, behind_pooler }
    }

    pub(super) fn pool(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Begins a transaction if statements need one.
    async fn begin(&self) -> Result<Option<DatabaseTransaction>, DbErr> {
        match self.behind_pooler {
            true => begin_behind_pooler(&self.connection).await.map(Some),
            false => Ok(None),
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let Some(transaction) = self.begin().await? else {
            return self.connection.execute_raw(statement).await;
        };
        let done = transaction.execute_raw(statement).await?;
        transaction.commit().await?;
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.connection.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let Some(transaction) = self.begin().await? else {
            return self.connection.query_one_raw(statement).await;
        };
        let row = transaction.query_one_raw(statement).await?;
        transaction.commit().await?;
        Ok(row)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Some(transaction) = self.begin().await? else {
            return self.connection.query_all_raw(statement).await;
        };
        let rows = transaction.query_all_raw(statement).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}
