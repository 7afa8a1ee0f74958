//! Execution on timely dataflow: the only folder that knows it.
//!
//! | file | holds |
//! |---|---|
//! | `executor` | starts the worker threads, and runs batches on them |
//! | `worker` | one worker thread |
//! | `attempt` | the number under which a batch runs |
//! | `feed` | the input of a batch, on its way to the workers |
//! | `dataflow` | turns a plan into a timely dataflow |
//! | `batch_operators/` | batch operators on one worker |
//! | `union` | several streams in one, in the order of the log |
//! | `worker_context` | what the operators of one worker share |
//! | `report` | what a worker reports to the driver |
//! | `completed` | what a batch produced |
//! | `stream` | timely types with this engine's chunks in them |
//!
//! An attempt at a batch is an epoch. The driver hands chunks of the log to the workers and
//! advances their inputs. Timely's progress tracking says when the attempt is complete on every
//! worker: then nothing of it is on its way any more, whether it has failed or not.
//!
//! A checkpoint is asked for between two batches: commands come in one order to all workers, and
//! each worker takes over what it has changed before it begins the next batch. The copies follow
//! later.
//!
//! Nothing of the user's ever unwinds into timely: a panic there leaves the other workers waiting
//! for ever. Failures travel beside the data, and the driver finds them when the epoch is complete.

mod attempt;
mod batch_operators;
pub(crate) mod completed;
mod dataflow;
pub(crate) mod executor;
mod feed;
mod report;
mod stream;
mod union;
mod worker;
mod worker_context;
