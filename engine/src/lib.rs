#![doc = include_str!("../README.md")]

mod ask_error;
mod batch;
mod checkpointing;
mod codec;
mod context;
mod datasets;
mod dead_letters;
mod engine_log;
mod error;
mod exec;
mod faults;
mod flag;
mod ingest;
mod life;
mod mismatch;
mod observe;
mod operators;
mod panics;
mod plan;
mod queries;
mod rates;
mod record;
mod recovery;
mod refused;
mod replay;
mod scheduler;
mod settings;
mod sink;
mod state;
mod thread_role;
mod variables;

pub use ask_error::AskError;
pub use batch::Batch;
#[doc(no_inline)]
pub use bytes::Bytes;
pub use checkpointing::policy::CheckpointPolicy;
pub use context::builder::build::Builder;
pub use context::observer::ContextObserver;
pub use context::queue::StopMode;
pub use context::savepoint::Savepoint;
pub use context::streaming_context::StreamingContext;
#[doc(hidden)]
pub use context::tried::asked_dry_run::DryRunAnswer;
pub use context::tried::asked_replay::ReplayAnswer;
pub use context::tried::beside::Replayed;
pub use datasets::handle::{Dataset, Datasets};
pub use datasets::lineage::DatasetLineage;
pub use dead_letters::reading::{DeadLetter, read_dead_letters, request_replay};
pub use dead_letters::request::DeadLetterFilter;
pub use engine_log::keys::KeyWindow;
pub use engine_log::received::SourceLag;
pub use error::{BatchFailure, BoxError, Error, GraphError, GraphErrors, Result};
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use faults::Cheat;
pub use highwater_checkpoint as checkpoint;
pub use highwater_wal as wal;
pub use ingest::decoder::Decoder;
pub use ingest::frame_id::{FrameId, StoredFrame};
pub use ingest::offset_context::OffsetContext;
pub use ingest::receiver::Receiver;
pub use ingest::sender::{Ack, Sender};
pub use ingest::source::{Advance, AdvanceLimit, OffsetRange, ReadError, Source};
pub use ingest::source_context::{SourceContext, SourceStats};
pub use ingest::source_writer::{Appended, Receipt};
pub use ingest::stream_queue::StreamQueue;
pub use life::supervise::{RestartPolicy, supervise};
pub use mismatch::{LogGone, Mismatch};
pub use observe::checkpoints::CheckpointStats;
pub use observe::event::{BatchSteps, ContextEvent, ContextState};
pub use observe::exported::metric_list::METRICS;
pub use observe::failed_attempt::FailedAttempt;
pub use observe::recent::{
    PublishedCheckpoint, ReceiverState, ReceiverStatus, Recent, RecentBatch, RecentCheckpoint,
    RecentError, RecoveryStatus,
};
pub use observe::recovering::lineage::Lineage;
pub use observe::refused::RefusedStats;
pub use observe::states::StateStats;
pub use observe::status::Progress;
pub use operators::borrowed::key_by_ref::{KeyedRef, Pairs};
pub use operators::borrowed::reduced::{Changes, Reduced};
pub use operators::dstream::DStream;
pub use operators::keyed_state::state_spec::{StateSpec, UpdateSpec};
pub use operators::keyed_state::state_stream::StateStream;
pub use operators::remember::Remembered;
pub use operators::scope::StreamScope;
pub use operators::single_records::Emitter;
pub use plan::program::OperatorInfo;
pub use queries::answer::Answer;
pub use queries::changes::StateChanges;
pub use queries::json_state::{JsonChanges, JsonEntry, JsonKey, JsonState};
pub use queries::reaches::Reaches;
pub use queries::snapshot::StateSnapshot;
pub use queries::state_reader::StateReader;
pub use rates::back_pressure::BackPressure;
pub use rates::pid::PidRateEstimator;
pub use rates::source_rate::RateStatus;
pub use record::{Key, Record, State, Value};
pub use recovery::beside::ReplayFrom;
pub use recovery::report::{
    ChangedSetting, IncompleteBatch, RecoveryReport, SourceReport, StateReport,
};
pub use refused::policy::ErrorPolicy;
pub use settings::{BatchMode, StateCodec};
pub use sink::backoff::Backoff;
pub use sink::batch_fn::IntoBatchResult;
pub use sink::output::{Guarantee, InDoubt, OutputOwner, Sink, SinkContext};
pub use sink::part::{MAX_TOKEN_BYTES, Part, Records, StagedPart};
pub use sink::retry::OutputRetry;
pub use sink::sink_error::SinkError;
pub use sink::staged::StagedSink;
pub use sink::status::{OutputDelay, OutputStatus};
pub use state::access::{KeyState, StateAccess, StateGuard};
pub use state::borrowed_key::BorrowedKey;
#[doc(hidden)]
pub use state::key_group::key_group;
pub use variables::broadcast::Broadcast;
pub use variables::counter::Counter;
