//! The arguments of `replay`.

use clap::Args;
use highwater::ReplayFrom;
use highwater_log::args::number::{ANY, between};
use std::ffi::OsString;
use std::path::PathBuf;

/// What to replay, where, and with which program.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Directory of an engine. Where the program keeps its checkpoints elsewhere, it reads them
    /// there
    pub(crate) dir: PathBuf,
    /// Where to begin: the number of a checkpoint, lsn:N, the URL of a savepoint, or oldest
    #[arg(long, value_name = "PLACE", default_value = "oldest")]
    pub(crate) from: ReplayFrom,
    /// Directory for the replay, which must not exist or be empty
    #[arg(long, value_name = "NEW")]
    pub(crate) into: PathBuf,
    /// The program
    #[arg(long, value_name = "EXE")]
    pub(crate) program: PathBuf,
    /// Its arguments
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<OsString>,
    /// How long the program may take until it has answered, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = between::<u64>(1..=2_592_000))]
    pub(crate) timeout: u64,
    /// Print at most N keys of each state, those of the lowest key groups
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = between::<u64>(ANY))]
    pub(crate) limit: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
