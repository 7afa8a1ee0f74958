#![doc = include_str!("../README.md")]

mod batch;
mod checkpointing;
mod codec;
mod context;
mod datasets;
mod engine_log;
mod error;
mod exec;
mod faults;
mod flag;
mod ingest;
mod mismatch;
mod observe;
mod operators;
mod panics;
mod plan;
mod record;
mod recovery;
mod replay;
mod scheduler;
mod settings;
mod sink;
mod state;
mod thread_role;
mod variables;

pub use batch::Batch;
pub use checkpointing::checkpointer::CheckpointPolicy;
pub use context::builder::Builder;
pub use context::queue::StopMode;
pub use context::streaming_context::StreamingContext;
pub use datasets::handle::{Dataset, Datasets};
pub use datasets::lineage::DatasetLineage;
pub use error::{BatchFailure, BoxError, Error, GraphError, GraphErrors, Result};
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use faults::Cheat;
pub use highwater_checkpoint as checkpoint;
pub use highwater_wal as wal;
pub use ingest::decoder::Decoder;
pub use ingest::receiver::Receiver;
pub use ingest::sender::{Ack, Sender};
pub use ingest::source_context::{SourceContext, SourceStats};
pub use ingest::source_writer::{Appended, Receipt};
pub use mismatch::Mismatch;
pub use observe::checkpoints::CheckpointStats;
pub use observe::event::ContextState;
pub use observe::lineage::Lineage;
pub use observe::states::StateStats;
pub use observe::status::Progress;
pub use operators::dstream::{DStream, Emitter};
pub use operators::remember::Remembered;
pub use operators::scope::StreamScope;
pub use operators::state_spec::{StateSpec, UpdateSpec};
pub use operators::state_stream::StateStream;
pub use plan::program::OperatorInfo;
pub use record::{Key, Record, State, Value};
pub use recovery::report::{IncompleteBatch, RecoveryReport, StateReport};
pub use settings::BatchMode;
pub use sink::backoff::Backoff;
pub use sink::batch_fn::IntoBatchResult;
pub use sink::output::{Guarantee, OutputOwner, Sink, SinkContext};
pub use state::access::{KeyState, StateAccess, StateGuard};
#[doc(hidden)]
pub use state::key_group::key_group;
pub use variables::broadcast::Broadcast;
pub use variables::counter::Counter;
