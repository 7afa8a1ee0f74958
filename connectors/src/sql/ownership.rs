//! The row that says whose output it is and which batch it has; what follows from it.
//!
//! | the row | what it means | what happens |
//! |---|---|---|
//! | none, output unknown to the newest checkpoint | a new output, or a first run | it begins |
//! | none, though the output has run before | another database, or a lost one | an error |
//! | of another log | it belongs to another program | an error |
//! | of a log whose place this one has taken | it goes on | the row is given this log's id |
//! | a batch that the log has not made, or made at another time | the log is an older copy | an error |
//! | a batch before the last that the log has committed | the database is an older copy | an error |
//! | the batch itself, or a later one | it ran before, and the crash came before `committed` | nothing |
//! | the batch that this run has written last | the next one | it is written |

use highwater_engine::{Batch, BoxError, OutputOwner, SinkContext, SinkError};

/// Makes the table.
pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS highwater_outputs (
    output TEXT PRIMARY KEY NOT NULL,
    log TEXT NOT NULL,
    application TEXT NOT NULL,
    batch BIGINT NOT NULL,
    time_ms BIGINT NOT NULL
)";

/// Reads the row of an output.
pub(super) const SELECT: &str =
    "SELECT log, batch, time_ms FROM highwater_outputs WHERE output = $1";

/// Writes the row of an output.
pub(super) const UPSERT: &str =
    "INSERT INTO highwater_outputs (output, log, application, batch, time_ms)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (output) DO UPDATE SET batch = excluded.batch, time_ms = excluded.time_ms
    WHERE highwater_outputs.log = excluded.log";

/// Gives the row of an output to another log.
pub(super) const TAKE_OVER: &str =
    "UPDATE highwater_outputs SET log = $3 WHERE output = $1 AND log = $2";

/// What the database says of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) log: String,
    pub(super) batch: i64,
    pub(super) time_ms: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Write,
    /// The database has it.
    Skip,
}

/// An output that is open, and what it expects of its row.
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    /// For messages.
    pub(super) database: String,
    pub(super) owner: OutputOwner,
    /// The batch of the row, as far as this run knows.
    expected: Option<i64>,
}

impl Ownership {
    /// Takes the output, after its row was read.
    ///
    /// # Errors
    /// If the database is not the one that this log has written.
    pub(super) fn take(
        database: String,
        row: Option<&Row>,
        context: &SinkContext,
    ) -> Result<Self, BoxError> {
        let taken = Self {
            database,
            owner: context.owner.clone(),
            expected: row.map(|row| row.batch),
        };
        let Some(row) = row else {
            return match context.known {
                false => Ok(taken),
                true => Err(taken.refusal(
                    "has no row of it in the table highwater_outputs, though the output has run before: the database is another \
                     one, or was made anew. Put the right one back. If the output is to begin anew there, give it another name",
                )),
            };
        };
        taken.check_owner(row)?;
        let newest = context.batches.last();
        let is_known = context.batches.iter().find(|b| number(b.id) == row.batch);
        if newest.is_none_or(|newest| row.batch > number(newest.id))
            || is_known.is_some_and(|batch| number(batch.time_ms) != row.time_ms)
        {
            let at = newest.map_or(0, |newest| newest.id);
            return Err(taken.refusal(&format!(
                "has batch {} (time {} ms), which this log has not made: it is at batch {at}. The log is an older copy, whose \
                 batches would be taken for those that are there. Go on with the log that wrote the database, or with the \
                 database of that time",
                row.batch, row.time_ms
            )));
        }
        if let Some(called) = context.called
            && row.batch < number(called)
        {
            return Err(taken.refusal(&format!(
                "has batch {}, and the log has committed batch {}: the database is an older copy, and the batches between the two \
                 are gone from it. Put the newer one back. If they are to be left out, set batch in its row of \
                 highwater_outputs to {called}",
                row.batch, called
            )));
        }
        Ok(taken)
    }

    /// What to do with `batch`, after its row was read in the transaction that is to write it.
    ///
    /// # Errors
    /// If the database is not the one that this run has written.
    pub(super) fn step(&self, row: Option<&Row>, batch: &Batch) -> Result<Step, BoxError> {
        if let Some(row) = row {
            self.check_owner(row)?;
        }
        let (found, id) = (row.map(|row| row.batch), number(batch.id));
        if found < self.expected {
            return Err(self.refusal(&format!(
                "has lost what this run has written there: it had batch {}, and has {}. It was replaced by an older copy, or its \
                 row of highwater_outputs was changed",
                shown(self.expected),
                shown(found)
            )));
        }
        match row {
            Some(row) if row.batch == id && row.time_ms != number(batch.time_ms) => {
                Err(self.refusal(&format!(
                    "has a batch {id} of time {} ms, and that of this log is of {} ms: one of the two is a copy of another time",
                    row.time_ms, batch.time_ms
                )))
            }
            Some(row) if row.batch >= id => Ok(Step::Skip),
            _ if found == self.expected => Ok(Step::Write),
            _ => Err(self.refusal(&format!(
                "has batch {}, which this run has not written: another program writes there with the same log",
                shown(found)
            ))),
        }
    }

    /// `batch` is in the database.
    pub(super) fn has(&mut self, batch: &Batch) {
        self.expected = self.expected.max(Some(number(batch.id)));
    }

    /// Identity of the log, as the row has it.
    pub(super) fn log(&self) -> String {
        format!("{:032x}", self.owner.log_id)
    }

    /// Checks how many rows [`UPSERT`] has written: none, if another log was faster to make it.
    pub(super) fn check_written(&self, rows: u64) -> Result<(), BoxError> {
        match rows {
            1 => Ok(()),
            _ => Err(self.refusal(
                "was taken by another log at this moment: give one of the two another name",
            )),
        }
    }

    /// The error of a closure that has ended the transaction of its batch.
    pub(super) fn transaction_was_ended() -> BoxError {
        SinkError::permanent(
            "the closure has ended the transaction that it was given: what it wrote is there without the number of its batch. It \
             must not call COMMIT or ROLLBACK",
        )
        .into()
    }

    fn is_predecessors(&self, row: &Row) -> bool {
        let mut logs = self.owner.predecessors.iter();
        logs.any(|id| format!("{id:032x}") == row.log)
    }

    /// The values of [`TAKE_OVER`], if the row is that of a log whose place this one has taken.
    pub(super) fn takes_over(&self, row: Option<&Row>) -> Option<(String, String, String)> {
        let row = row.filter(|row| self.is_predecessors(row))?;
        Some((self.owner.output.clone(), row.log.clone(), self.log()))
    }

    fn check_owner(&self, row: &Row) -> Result<(), BoxError> {
        if row.log == self.log() || self.is_predecessors(row) {
            return Ok(());
        }
        Err(self.refusal(&format!(
            "belongs to an output of this name of another log, {}; this program's is {}. Give the output another name, or use \
             another database. If that log is gone for good, delete the row from highwater_outputs, and what it wrote",
            row.log,
            self.log()
        )))
    }

    fn refusal(&self, why: &str) -> BoxError {
        let (database, output) = (&self.database, &self.owner.output);
        SinkError::permanent(format!("{database}, output \"{output}\": it {why}")).into()
    }
}

fn shown(batch: Option<i64>) -> String {
    batch.map_or_else(|| "none".to_owned(), |batch| batch.to_string())
}

/// Databases have no unsigned numbers.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::wal::Lsn;
    use highwater_engine::wal::disk::SimDisk;
    use highwater_engine::{Backoff, InDoubt};
    use std::sync::Arc;

    fn batch(id: u64) -> Batch {
        Batch {
            id,
            time_ms: 1000 * id,
            from: Lsn::new(id),
            to: Lsn::new(id),
        }
    }

    /// A log that has cut and committed so many batches; the checkpoint is after batch `from`.
    fn log(from: u64, cut: u64, committed: u64) -> SinkContext {
        SinkContext {
            disk: Arc::new(SimDisk::new()),
            committed: (committed > 0).then_some(committed),
            backoff: Backoff::none(),
            owner: OutputOwner {
                log_id: 7,
                application: "app".to_owned(),
                output: "out".to_owned(),
                predecessors: vec![5],
            },
            batches: (from.max(1)..=cut).map(batch).collect(),
            called: (committed >= from.max(1)).then_some(committed),
            known: from > 0,
            in_doubt: InDoubt::Nothing,
        }
    }

    fn row(batch: i64) -> Row {
        Row {
            log: format!("{:032x}", 7),
            batch,
            time_ms: 1000 * batch,
        }
    }

    fn taken(row: Option<&Row>, context: &SinkContext) -> Result<Ownership, String> {
        let taken = Ownership::take("db".to_owned(), row, context);
        taken.map_err(|error| {
            assert!(SinkError::is_permanent(&error));
            error.to_string()
        })
    }

    #[test]
    fn the_right_database_is_taken_and_every_other_one_is_refused() {
        let of_predecessor = Row {
            log: format!("{:032x}", 5),
            ..row(5)
        };
        let owner = taken(None, &log(0, 0, 0)).unwrap();
        let takes_over = owner.takes_over(Some(&of_predecessor)).unwrap();
        assert_eq!(takes_over.1, of_predecessor.log);
        assert_eq!(owner.takes_over(Some(&row(5))), None);
        for (row, context) in [
            (None, log(0, 0, 0)),
            (None, log(0, 3, 2)),
            (Some(row(2)), log(0, 2, 2)),
            // The batch in doubt is there already.
            (Some(row(3)), log(0, 3, 2)),
            // Two batches whose `committed` was not flushed.
            (Some(row(4)), log(0, 4, 2)),
            (Some(row(5)), log(5, 9, 5)),
            (Some(of_predecessor), log(5, 9, 5)),
        ] {
            taken(row.as_ref(), &context).unwrap();
        }
        let of_another_log = Row {
            log: "1".to_owned(),
            ..row(2)
        };
        let of_another_time = Row {
            time_ms: 1,
            ..row(2)
        };
        for (row, context, says) in [
            (of_another_log, log(0, 2, 2), "another log"),
            (of_another_time, log(0, 2, 2), "older copy"),
            (row(3), log(0, 2, 2), "has not made"),
            (row(1), log(0, 0, 0), "has not made"),
            (row(1), log(0, 2, 2), "the database is an older copy"),
            (row(4), log(5, 9, 5), "the database is an older copy"),
        ] {
            let error = taken(Some(&row), &context).unwrap_err();
            assert!(
                error.contains(says) && error.contains("output \"out\""),
                "{error}"
            );
        }
        let error = taken(None, &log(5, 9, 5)).unwrap_err();
        assert!(error.contains("has run before"), "{error}");
    }

    #[test]
    fn a_batch_is_written_once_and_a_database_that_changes_under_the_run_is_refused() {
        let mut output = taken(Some(&row(2)), &log(0, 3, 2)).unwrap();
        assert_eq!(output.step(Some(&row(2)), &batch(3)).unwrap(), Step::Write);
        // The commit went through, but its answer was lost.
        assert_eq!(output.step(Some(&row(3)), &batch(3)).unwrap(), Step::Skip);
        output.has(&batch(3));
        // Of a window: not every batch comes.
        assert_eq!(output.step(Some(&row(3)), &batch(9)).unwrap(), Step::Write);
        output.has(&batch(9));
        for (found, says) in [
            (None, "has lost"),
            (Some(row(3)), "has lost"),
            (Some(row(10)), "another program"),
            (
                Some(Row {
                    log: "1".to_owned(),
                    ..row(9)
                }),
                "another log",
            ),
        ] {
            let error = output.step(found.as_ref(), &batch(11)).unwrap_err();
            assert!(SinkError::is_permanent(&error));
            assert!(error.to_string().contains(says), "{error}");
        }
        let other_time = Row {
            time_ms: 1,
            ..row(9)
        };
        let error = output.step(Some(&other_time), &batch(9)).unwrap_err();
        assert!(error.to_string().contains("another time"), "{error}");
        // A first batch.
        let new = taken(None, &log(0, 0, 0)).unwrap();
        assert_eq!(new.step(None, &batch(1)).unwrap(), Step::Write);
    }
}
