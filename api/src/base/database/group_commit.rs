//! Group commit on SQLite: writes that wait for the writer share one transaction.
//!
//! SQLite has one writer, and each commit waits for the disk. While one batch is written to the disk, further writes
//! wait in a queue. The next batch commits all of them together. No caller gets a result before the commit of its
//! batch. This also applies to a statement that changed nothing, because it may have read what the batch wrote.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, QueryResult, RuntimeErr,
    Statement, TransactionTrait,
};
use sea_orm::{SqliteTransactionMode, TransactionOptions};
use tokio::sync::{mpsc, oneshot};

use crate::base::error::away;

/// The maximum number of writes in one transaction.
const MAX_BATCH: usize = 256;

type Outcome = Result<Option<QueryResult>, DbErr>;

/// A statement that writes, with those that follow from it.
pub(super) struct Write {
    pub(super) statement: Statement,
    /// They run if the statement returns a row.
    pub(super) then: Vec<Statement>,
}

impl Write {
    async fn run(&self, transaction: &DatabaseTransaction) -> Outcome {
        let row = transaction.query_one_raw(self.statement.clone()).await?;
        if row.is_some() {
            for statement in &self.then {
                transaction.execute_raw(statement.clone()).await?;
            }
        }
        Ok(row)
    }
}

/// A write that waits, and the caller that waits for its result.
struct Waiting {
    write: Write,
    reply: oneshot::Sender<Outcome>,
}

/// The queue of writes that wait for the writer.
#[derive(Debug, Clone)]
pub(super) struct GroupCommit(mpsc::UnboundedSender<Waiting>);

impl GroupCommit {
    /// Starts the task that runs the batches. It ends when the last clone of this queue is dropped.
    pub(super) fn start(writer: DatabaseConnection) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(run(writer, waiting));
        Self(queue)
    }

    /// Runs a write in the next batch. Returns the first row of its first statement after the commit.
    ///
    /// # Errors
    ///
    /// If a statement or the commit of its batch fails: then nothing of the write remains.
    pub(super) async fn run(&self, write: Write) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let gone = || DbErr::Conn(RuntimeErr::Internal("the writer has stopped".to_owned()));
        self.0.send(Waiting { write, reply }).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

async fn run(writer: DatabaseConnection, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(first) = queue.recv().await {
        // Further writes gather while this waits for the writer.
        let begun = begin(&writer).await;
        let batch = gather(first, &mut queue);
        match begun {
            Ok(transaction) => run_batch(&writer, transaction, batch).await,
            Err(error) => refuse(batch, &error),
        }
    }
}

/// Takes the writes that are waiting now and whose callers still wait for them. A write of a caller who was answered
/// already must not run: the caller was told that nothing happened.
fn gather(first: Waiting, queue: &mut mpsc::UnboundedReceiver<Waiting>) -> Vec<Waiting> {
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH
        && let Ok(next) = queue.try_recv()
    {
        batch.push(next);
    }
    batch.retain(|waiting| !waiting.reply.is_closed());
    batch
}

fn refuse(batch: Vec<Waiting>, error: &DbErr) {
    away::note(error);
    for waiting in batch {
        let _ = waiting.reply.send(Err(copy(error)));
    }
}

/// Runs writes in one transaction.
///
/// SQLite undoes only the statement that fails, or the whole transaction, depending on the fault. So the batch is rolled
/// back if a statement fails, and each write runs again in a transaction of its own.
async fn run_batch(
    writer: &DatabaseConnection,
    transaction: DatabaseTransaction,
    batch: Vec<Waiting>,
) {
    let mut rows = Vec::with_capacity(batch.len());
    for waiting in &batch {
        match waiting.write.run(&transaction).await {
            Ok(row) => rows.push(row),
            Err(_) => break,
        }
    }
    if rows.len() == batch.len() {
        match transaction.commit().await {
            Ok(()) => batch.into_iter().zip(rows).for_each(|(waiting, row)| {
                let _ = waiting.reply.send(Ok(row));
            }),
            Err(error) => refuse(batch, &error),
        }
        return;
    }
    if let Err(error) = transaction.rollback().await {
        return refuse(batch, &error);
    }
    for Waiting { write, reply } in batch {
        if !reply.is_closed() {
            let _ = reply.send(run_alone(writer, &write).await);
        }
    }
}

async fn run_alone(writer: &DatabaseConnection, write: &Write) -> Outcome {
    let transaction = begin(writer).await?;
    let row = write.run(&transaction).await?;
    transaction.commit().await?;
    Ok(row)
}

/// Begins a transaction that can write. On SQLite, a deferred transaction that reads before it writes would fail at once
/// if another one writes.
pub(super) async fn begin(writer: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    writer.begin_with_options(options).await
}

/// An error for each caller of a batch. A commit fails because the database cannot write now.
fn copy(error: &DbErr) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(error.to_string()))
}
