//! `save_to_sqlite`, `save_to_postgres`: a batch in one transaction, together with its number.
//!
//! | file | holds |
//! |---|---|
//! | `ownership` | the row that says whose output it is and which batch it has; what follows from it |
//! | `sqlite` | SQLite, with the feature `sqlite` |
//! | `postgres` | PostgreSQL, with the feature `postgres` |
//!
//! A database cannot prepare a transaction, die, and commit it later (SQLite not at all, servers
//! only if told to). So the sink acts when it stages: it is idempotent. The row is written in the
//! transaction of the batch's own changes. A batch that comes again finds its number there.
//!
//! The row also tells a wrong database from the right one: one of another log, an older copy, one
//! that is ahead because the log is an older copy. Each is an error that says what to do.

mod ownership;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub(crate) use self::postgres::PostgresSink;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::SqliteSink;
