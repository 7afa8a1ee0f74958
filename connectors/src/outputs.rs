//! `Outputs`: where a program sends its results.

use crate::console::Console;
use crate::save_as_files::{FileFormat, FileSink, Files, Text, TextRecord};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use highwater_engine::{Batch, BoxError, Records};
use highwater_engine::{DStream, Record};
use std::fmt::Debug;
use std::path::Path;

/// The sinks of this crate, as methods of [`DStream`].
pub trait Outputs<T> {
    /// Prints the first ten records of every batch: [`Self::print_n`] of 10.
    #[track_caller]
    fn print(&self)
    where
        T: Debug,
    {
        self.print_n(10);
    }

    /// Prints the first `n` records of every batch to the standard output, under a header with its
    /// time, as Spark does; `...` stands for more records. Records are shown by their `Debug`, so
    /// that tuples need nothing.
    ///
    /// At least once: a batch in doubt is printed again after a crash. If the output cannot be
    /// written (a closed pipe), that is logged once and the program goes on. It needs no name,
    /// because it has nothing to recover.
    #[track_caller]
    fn print_n(&self, n: usize)
    where
        T: Debug;

    /// Writes every batch to a file of its own, `<prefix>-<time in ms>-<batch id, ten digits>`, one
    /// record per line by its `Display`: [`Self::save_as_text_files_with_suffix`] without a suffix.
    #[track_caller]
    fn save_as_text_files(&self, name: &str, prefix: impl AsRef<Path>)
    where
        T: TextRecord,
    {
        self.save_as_text_files_with_suffix(name, prefix, "");
    }

    /// Writes every batch to a file of its own, `<prefix>-<time in ms>-<batch id, ten
    /// digits>.<suffix>`, one record per line by its `Display`. `prefix` is a path: its directory
    /// is created, its last part begins the file names. A relative path is resolved here and now.
    ///
    /// **Exactly once**: a file appears complete and durable, or not at all, and a batch that runs
    /// again after a crash makes the same file. While a batch is in doubt its file has the name
    /// `.<name>.staged`; the next start publishes or deletes it. So keep `prefix` and `suffix` as
    /// they are while a program is down after a crash, and give each output its own.
    ///
    /// **Nothing is replaced, nothing is forgotten.** The log lists the file of a committed batch.
    /// If it is neither staged nor published, the next start fails and names it. A marker beside
    /// the files, `.<prefix>.highwater`, names the log and output that they belong to.
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails, with what to
    /// do, if they belong to another one, or if there is a file that this log has not made. A name
    /// that is taken when a batch is published ends the context with an error; the batch's records
    /// wait beside it.
    ///
    /// A batch without records writes no file. (Spark writes an empty directory for it.)
    #[track_caller]
    fn save_as_text_files_with_suffix(&self, name: &str, prefix: impl AsRef<Path>, suffix: &str)
    where
        T: TextRecord;

    /// Writes every batch to files in `format`: [`Ndjson`](crate::Ndjson), [`Csv`](crate::Csv),
    /// [`Text`](crate::Text), or one of your own. `files` is a path, or says more
    /// ([`Files`](crate::Files)).
    ///
    /// Exactly once, with the names and in the way of
    /// [`Self::save_as_text_files_with_suffix`]. A record that the format cannot hold stops the
    /// context: the same batch would fail again.
    ///
    /// ```no_run
    /// use highwater_connectors::engine::StreamingContext;
    /// use highwater_connectors::{Csv, Files, Ndjson, Outputs};
    ///
    /// # fn main() -> highwater_connectors::engine::Result<()> {
    /// StreamingContext::builder("app").get_or_create(|ssc| {
    ///     let orders = ssc.input::<(u64, String)>("orders");
    ///     orders.save_as_files("json", "out/orders", Ndjson);
    ///     orders.save_as_files("csv", Files::new("out/orders").parts_per_worker(), Csv::new());
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    fn save_as_files(&self, name: &str, files: impl Into<Files>, format: impl FileFormat<T>);

    /// Calls `write` with every batch, in a transaction of the SQLite database at `path`. The
    /// number of the batch is written in the same transaction, into the table `highwater_outputs`.
    ///
    /// **Effectively once** ([idempotent](highwater_engine::Guarantee::Idempotent)): a batch that
    /// comes again after a crash is found there, and `write` is not called. A database of another
    /// log, an older copy, or one that was made anew is refused with what to do.
    ///
    /// `write` must not end the transaction. If it fails, nothing of the batch is there. A database
    /// that is locked or full delays the batch. An error in the SQL or a constraint that is
    /// violated stops the context, because the same batch would fail again. An error of another
    /// type delays the batch, unless it is [permanent](highwater_engine::SinkError). The database
    /// is no part of the disk of the context ([`disk`](highwater_engine::Builder::disk)).
    ///
    /// ```no_run
    /// use highwater_connectors::Outputs;
    /// use highwater_connectors::engine::StreamingContext;
    ///
    /// # fn main() -> highwater_connectors::engine::Result<()> {
    /// StreamingContext::builder("app").get_or_create(|ssc| {
    ///     let words = ssc.input::<String>("words");
    ///     words.save_to_sqlite("words", "words.db", |tx, _, words| {
    ///         let mut insert = tx.prepare("INSERT INTO words VALUES (?1)")?;
    ///         for word in words {
    ///             insert.execute([word])?;
    ///         }
    ///         Ok::<_, highwater_connectors::rusqlite::Error>(())
    ///     });
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "sqlite")]
    #[track_caller]
    fn save_to_sqlite<E: Into<BoxError>>(
        &self,
        name: &str,
        path: impl AsRef<Path>,
        write: impl Fn(&rusqlite::Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E>
        + Send
        + Sync
        + 'static,
    );

    /// Calls `write` with every batch, in a transaction of a PostgreSQL database. `config` is a
    /// connection string (`host=.. user=.. dbname=..`) or URL, as `libpq` has them; connections are
    /// not encrypted.
    ///
    /// **Effectively once** ([idempotent](highwater_engine::Guarantee::Idempotent)), in the way of
    /// `save_to_sqlite`: the number of the batch is written in the same transaction, into the table
    /// `highwater_outputs`. A server that is down, or that does not answer within ten seconds,
    /// delays the batch.
    ///
    /// ```no_run
    /// use highwater_connectors::Outputs;
    /// use highwater_connectors::engine::StreamingContext;
    ///
    /// # fn main() -> highwater_connectors::engine::Result<()> {
    /// StreamingContext::builder("app").get_or_create(|ssc| {
    ///     let words = ssc.input::<String>("words");
    ///     words.save_to_postgres("words", "host=localhost user=app", |tx, _, words| {
    ///         for word in words {
    ///             tx.execute("INSERT INTO words VALUES ($1)", &[word])?;
    ///         }
    ///         Ok::<_, highwater_connectors::postgres::Error>(())
    ///     });
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "postgres")]
    #[track_caller]
    fn save_to_postgres<E: Into<BoxError>>(
        &self,
        name: &str,
        config: &str,
        write: impl Fn(&mut postgres::Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E>
        + Send
        + Sync
        + 'static,
    );
}

impl<T: Record> Outputs<T> for DStream<T> {
    #[track_caller]
    fn print_n(&self, n: usize)
    where
        T: Debug,
    {
        self.sink_of_kind("print", None, Console::stdout(n));
    }

    #[track_caller]
    fn save_as_text_files_with_suffix(&self, name: &str, prefix: impl AsRef<Path>, suffix: &str)
    where
        T: TextRecord,
    {
        let files = Files::new(prefix).suffix(suffix);
        let sink = FileSink::new(&files, suffix, Text);
        self.staged_sink_of_kind("save_as_text_files", name, sink);
    }

    #[track_caller]
    fn save_as_files(&self, name: &str, files: impl Into<Files>, format: impl FileFormat<T>) {
        let suffix = format.suffix().to_owned();
        let sink = FileSink::new(&files.into(), &suffix, format);
        self.staged_sink_of_kind("save_as_files", name, sink);
    }

    #[cfg(feature = "sqlite")]
    #[track_caller]
    fn save_to_sqlite<E: Into<BoxError>>(
        &self,
        name: &str,
        path: impl AsRef<Path>,
        write: impl Fn(&rusqlite::Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E>
        + Send
        + Sync
        + 'static,
    ) {
        let sink = crate::sql::SqliteSink::new(path.as_ref(), write);
        self.staged_sink_of_kind("save_to_sqlite", name, sink);
    }

    #[cfg(feature = "postgres")]
    #[track_caller]
    fn save_to_postgres<E: Into<BoxError>>(
        &self,
        name: &str,
        config: &str,
        write: impl Fn(&mut postgres::Transaction<'_>, &Batch, &Records<'_, T>) -> Result<(), E>
        + Send
        + Sync
        + 'static,
    ) {
        let sink = crate::sql::PostgresSink::new(config, write);
        self.staged_sink_of_kind("save_to_postgres", name, sink);
    }
}
