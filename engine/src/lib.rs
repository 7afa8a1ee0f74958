#![doc = include_str!("../README.md")]

mod batch;
mod context;
mod error;
mod exec;
mod faults;
mod ingest;
mod mismatch;
mod observe;
mod operators;
mod plan;
mod recovery;
mod sink;
mod state;

pub use batch::Batch;
pub use batch::checkpointer::{CheckpointPolicy, CheckpointStats};
pub use context::builder::{BatchMode, Builder};
pub use context::streaming_context::{ContextState, StopMode, StreamingContext};
pub use error::{BatchFailure, BoxError, Error, GraphError, GraphErrors, Mismatch, Result};
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use faults::Cheat;
pub use highwater_checkpoint as checkpoint;
pub use highwater_wal as wal;
pub use ingest::admission::{Appended, Receipt};
pub use ingest::input::{Ack, Sender};
pub use ingest::source::{Decoder, Receiver, SourceContext, SourceStats, StreamScope};
pub use observe::lineage::Lineage;
pub use observe::status::Progress;
pub use operators::dstream::{DStream, Emitter};
pub use operators::stateful::KeyState;
pub use plan::graph::OperatorInfo;
pub use plan::record::{Key, Record, State, Value};
pub use recovery::report::{RecoveryReport, StateReport};
pub use sink::output::{Guarantee, Outcome, OutputOwner, Sink, SinkContext, Wants};
pub use sink::patience::Patience;
#[doc(hidden)]
pub use state::key_group::key_group;
