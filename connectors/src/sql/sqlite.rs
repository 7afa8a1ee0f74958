//! SQLite.

use super::ownership::{CREATE, Ownership, Row, SELECT, Step, TAKE_OVER, UPSERT, number};
use crate::paths::resolve;
use highwater_engine::{
    Batch, BoxError, Guarantee, Part, Records, SinkContext, SinkError, StagedPart, StagedSink,
};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a writer waits for another one by itself; then the batch waits and is tried again.
const BUSY: Duration = Duration::from_secs(1);

/// The sink.
pub(crate) struct SqliteSink<F> {
    /// If there is none, the error is reported when the sink opens.
    path: Result<PathBuf, String>,
    write: F,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    connection: Connection,
    ownership: Ownership,
}

impl<F> fmt::Debug for SqliteSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = &mut f.debug_struct("SqliteSink");
        sink.field("path", &self.path).finish_non_exhaustive()
    }
}

impl<F> SqliteSink<F> {
    /// Resolves `path` now.
    pub(crate) fn new(path: &Path, write: F) -> Self {
        Self {
            path: resolve(path),
            write,
            opened: Mutex::new(None),
        }
    }
}

fn read_row(connection: &Connection, output: &str) -> rusqlite::Result<Option<Row>> {
    let row = connection.query_row(SELECT, [output], |row| {
        Ok(Row {
            log: row.get(0)?,
            batch: row.get(1)?,
            time_ms: row.get(2)?,
        })
    });
    row.optional()
}

impl Opened {
    fn new(path: &Path, context: &SinkContext) -> Result<Self, BoxError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        // What is staged must survive a power cut that comes after `committed`: also the removal of
        // the rollback journal is synced.
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        connection.execute(CREATE, [])?;
        let row = read_row(&connection, &context.owner.output)?;
        let database = format!("SQLite database {}", path.display());
        let ownership = Ownership::take(database, row.as_ref(), context)?;
        if let Some(values) = ownership.takes_over(row.as_ref()) {
            connection.execute(TAKE_OVER, values)?;
        }
        Ok(Self {
            connection,
            ownership,
        })
    }

    /// Does `write` and notes the batch, in one transaction, unless the database has the batch.
    fn write(
        &mut self,
        batch: &Batch,
        write: impl FnOnce(&Transaction<'_>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let ownership = &mut self.ownership;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let owner = &ownership.owner;
        let row = read_row(&transaction, &owner.output)?;
        if ownership.step(row.as_ref(), batch)? == Step::Write {
            write(&transaction)?;
            if transaction.is_autocommit() {
                return Err(Ownership::transaction_was_ended());
            }
            let values = (
                &owner.output,
                ownership.log(),
                &owner.application,
                number(batch.id),
                number(batch.time_ms),
            );
            let written = transaction.execute(UPSERT, values)?;
            ownership.check_written(written as u64)?;
            transaction.commit()?;
        }
        ownership.has(batch);
        Ok(())
    }
}

/// What another attempt will not cure is permanent.
fn classified(error: BoxError) -> BoxError {
    use ErrorCode::{
        ApiMisuse, ConstraintViolation, DatabaseCorrupt, NotADatabase, ParameterOutOfRange, TooBig,
        TypeMismatch, Unknown,
    };
    let passes = match error.downcast_ref::<rusqlite::Error>() {
        Some(rusqlite::Error::SqliteFailure(failure, _)) => !matches!(
            failure.code,
            ApiMisuse
                | ConstraintViolation
                | DatabaseCorrupt
                | NotADatabase
                | ParameterOutOfRange
                | TooBig
                | TypeMismatch
                | Unknown
        ),
        Some(_) => false,
        None => true,
    };
    match passes {
        true => error,
        false => SinkError::permanent(error).into(),
    }
}

impl<T, E, F> StagedSink<T> for SqliteSink<F>
where
    T: 'static,
    E: Into<BoxError>,
    F: Fn(&Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E> + Send + Sync + 'static,
{
    fn guarantee(&self) -> Guarantee {
        Guarantee::Idempotent
    }

    /// One transaction.
    fn max_parts(&self) -> usize {
        1
    }

    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        let path = self.path.clone()?;
        *self.opened.lock() = Some(Opened::new(&path, context)?);
        Ok(())
    }

    fn stage(
        &self,
        batch: &Batch,
        _: Part,
        records: &Records<'_, T>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        let mut opened = self.opened.lock();
        let opened = opened.as_mut().ok_or("the sink was not opened")?;
        let write = |transaction: &Transaction<'_>| {
            (self.write)(transaction, batch, records).map_err(Into::into)
        };
        opened.write(batch, write).map_err(classified)?;
        Ok(None)
    }

    fn publish(&self, _: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
        Ok(())
    }
}
