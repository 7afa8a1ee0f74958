//! A start that is only tried: what it would find, restore, drop and refuse.

use crate::context::builder::build::Builder;
use crate::error::{BoxError, Result};
use crate::operators::scope::StreamScope;
use crate::recovery::dry_run::dry_run;
use crate::recovery::report::RecoveryReport;

impl Builder {
    /// What [`Self::get_or_create`] would do with this program and what is in the directory: which
    /// states it would restore, rename, convert, fill with defaults, drop; what of the log it would
    /// replay; or the error with which it would refuse. Nothing is written and no lock is taken, so
    /// the program before may still run on the directory. All states are read and decoded, and all
    /// records after the checkpoint.
    ///
    /// `highwater checkpoint check DIR --program EXE` asks a whole program for it, without a change
    /// of its code: its `get_or_create` then answers, and returns
    /// [`Error::DryRun`](crate::Error::DryRun).
    ///
    /// # Errors
    /// Those of [`Self::get_or_create`]. While another process writes, what is read may be retired
    /// meanwhile: an I/O error then, and another try will do.
    ///
    /// ```
    /// # use highwater_engine::{Builder, StreamingContext, StreamScope, BoxError};
    /// # let dir = tempfile::tempdir()?;
    /// fn program(ssc: &StreamScope) -> Result<(), BoxError> {
    ///     let sales = ssc.input::<(String, u64)>("sales");
    ///     sales.reduce_by_key(|a, b| a + b).for_each_batch("totals", |_, _| ());
    ///     Ok(())
    /// }
    /// let report = StreamingContext::builder(dir.path()).dry_run(program)?;
    /// println!("{report}");
    /// assert_eq!((report.checkpoint, report.batches_to_replay), (None, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn dry_run(
        self,
        program: impl FnOnce(&StreamScope) -> std::result::Result<(), BoxError>,
    ) -> Result<RecoveryReport> {
        let (settings, plan) = self.build(program)?;
        dry_run(&settings, &plan)
    }
}
