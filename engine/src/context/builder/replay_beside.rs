//! New code over the log of a directory, into a new one: what would its states be?

use crate::context::builder::build::Builder;
use crate::context::tried::beside::{Replayed, replay_beside};
use crate::error::{BoxError, Result};
use crate::operators::scope::StreamScope;
use crate::recovery::beside::ReplayFrom;
use std::path::Path;

impl Builder {
    /// Runs this program over what the directory still has of its past, into the directory `into`,
    /// which must not exist or be empty, to see what its states would be. The directory is only
    /// read, and not locked: the program before may run on it.
    ///
    /// `into` gets a copy of the checkpoint that `from` chooses, and of the log from there on.
    /// States are restored as in a start: renamed, converted, dropped as this builder says. Then
    /// all batches run again, up to that of the directory's newest checkpoint, and a checkpoint is
    /// taken. Beside it, in `into/before`, is a copy of the one of the directory, of the same
    /// batch. With the same code both have the same states;
    /// [`Comparison`](highwater_checkpoint::Comparison) tells what differs with other code.
    ///
    /// No output is opened, staged or published, no receiver is started, no dead letter is put
    /// aside. A source that keeps its own data is opened, and read, if one of the batches has some
    /// of it; it is never told to forget anything. Closures of operators run, with all that they
    /// do. Records that batches have refused ([`DStream::on_error`](crate::DStream::on_error)) are
    /// left out again where the operator has the same name.
    ///
    /// `highwater replay DIR --into NEW --program EXE` asks a whole program for it, without a
    /// change of its code, and compares: its `get_or_create` then answers, and returns
    /// [`Error::Replayed`](crate::Error::Replayed).
    ///
    /// # Errors
    /// [`Error::Replay`](crate::Error::Replay) if the replay cannot begin where `from` says, or
    /// `into` is not empty; those of [`Self::get_or_create`], and those of a batch that fails.
    /// While another process writes, what is read may be retired meanwhile: an error then, and
    /// another try will do. After an error `into` may hold some files.
    ///
    /// ```
    /// # use highwater_engine::{BatchMode, Builder, BoxError, ReplayFrom, StopMode, StreamScope, StreamingContext};
    /// # let dir = tempfile::tempdir()?;
    /// # let (shop, beside) = (dir.path().join("shop.d"), dir.path().join("beside.d"));
    /// fn program(ssc: &StreamScope) -> Result<(), BoxError> {
    ///     let sales = ssc.input::<(String, u64)>("sales");
    ///     sales.update_state_by_key("totals", |_, new: &[u64], total: &mut Option<u64>| {
    ///         *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
    ///     }).for_each_batch("out", |_, _| ());
    ///     Ok(())
    /// }
    /// # let builder = || StreamingContext::builder(&shop).batches(BatchMode::Manual);
    /// # let context = builder().get_or_create(program)?;
    /// # context.start()?;
    /// # context.input::<(String, u64)>("sales")?.send(&("pen".to_owned(), 3))?.wait()?;
    /// # context.stop(StopMode::Graceful)?;
    /// let replayed = StreamingContext::builder(&shop).replay_beside(&beside, &ReplayFrom::Lsn(0), program)?;
    /// assert_eq!(replayed.before.1, replayed.after.1); // checkpoints of the same batch
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_beside(
        self,
        into: impl AsRef<Path>,
        from: &ReplayFrom,
        program: impl FnOnce(&StreamScope) -> std::result::Result<(), BoxError>,
    ) -> Result<Replayed> {
        let (settings, plan) = self.build(program)?;
        replay_beside(settings, plan, into.as_ref(), from)
    }
}
