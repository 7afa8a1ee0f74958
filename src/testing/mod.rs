//! Tests of your own pipelines: given batches, collected outputs, a clock that a test moves, and
//! a machine that loses its power.
//!
//! A pipeline under test is the function that you give to `get_or_create`, with a [`Collector`]
//! beside the scope. Nothing of it is replaced: it runs on the engine as it will in production.
//! Only the disk is simulated, and so is time.
//!
//! [`crash_matrix`] is the test to begin with. It runs the pipeline undisturbed. Then it runs it
//! once for each operation of the disk, with the power cut there, and goes on after a restart.
//! State and committed outputs must come out equal, each batch exactly once.
//!
//! ```
//! use highwater::prelude::*;
//! use highwater::testing::{Collector, Input, crash_matrix, records};
//!
//! fn word_count(lines: &DStream<String>) -> DStream<(String, u64)> {
//!     let words = lines.flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
//!     words.map(|word| (word, 1)).update_state_by_key_changed(
//!         "counts",
//!         |_, ones: &[u64], total: &mut Option<u64>| *total.get_or_insert(0) += ones.iter().sum::<u64>(),
//!     )
//! }
//!
//! let pipeline = |ssc: &StreamScope, out: &Collector| {
//!     out.collect("counts", &word_count(&ssc.input::<String>("lines")));
//!     Ok(())
//! };
//! let input = Input::new()
//!     .batch([records::<String>("lines", ["a b", "a"])])
//!     .batch([])
//!     .batch([records::<String>("lines", ["b"])]);
//! let report = crash_matrix(pipeline, &input);
//! assert!(report.cuts > 50);
//! ```
//!
//! [`TestContext`] goes step by step: send, run a batch, look at the output, kill, restart.
//!
//! What it does not see: sources that receive for themselves (sockets, directories), so let a
//! function of yours take a [`DStream`](crate::DStream) and give it an input here; and effects of
//! closures outside of the program, which happen at least once.
//!
//! | file | holds |
//! |---|---|
//! | `input` | records for the sources, batch by batch |
//! | `collector` | outputs that survive a crash, as those of a database would |
//! | `pipeline` | a pipeline and its settings |
//! | `context` | a pipeline that lives, dies and starts again, step by step |
//! | `outcome` | what a run leaves, and how two runs differ |
//! | `crash_matrix` | a run with the power cut before every operation |
//! | `report` | what the matrix has tried, or what has failed |
//! | `saved_cuts` | cuts that have failed, which are tried first |

mod collector;
mod context;
mod crash_matrix;
mod input;
mod outcome;
mod pipeline;
mod report;
mod saved_cuts;

pub use collector::Collector;
pub use context::TestContext;
pub use crash_matrix::{CrashMatrix, crash_matrix};
pub use input::{Input, Records, records};
pub use pipeline::Pipeline;
pub use report::{CrashFailure, CrashReport};
