//! `Outputs`: where a program sends its results.

use crate::console::Console;
use crate::save_as_text_files::TextFileSink;
use highwater_engine::{DStream, Record};
use std::fmt::{Debug, Display};
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
        T: Display,
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
    /// **Nothing is replaced.** A marker beside the files, `.<prefix>.highwater`, names the log and
    /// output that they belong to.
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails, with what to
    /// do, if they belong to another one, or if there is a file that this log has not made. A name
    /// that is taken when a batch is published ends the context with an error; the batch's records
    /// wait beside it.
    ///
    /// A batch without records writes no file. (Spark writes an empty directory for it.)
    #[track_caller]
    fn save_as_text_files_with_suffix(&self, name: &str, prefix: impl AsRef<Path>, suffix: &str)
    where
        T: Display;
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
        T: Display,
    {
        self.sink_of_kind(
            "save_as_text_files",
            Some(name),
            TextFileSink::new(prefix.as_ref(), suffix),
        );
    }
}
