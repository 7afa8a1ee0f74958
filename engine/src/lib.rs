#![doc = include_str!("../README.md")]

mod batch;
mod batch_clock;
mod changes;
#[cfg(feature = "deliberate-faults")]
mod cheat;
mod checkpointer;
mod codec;
mod context;
mod cutter;
mod driver;
mod error;
mod exec;
mod faithful;
mod graph;
mod history;
#[cfg(not(feature = "deliberate-faults"))]
mod honest;
mod input;
mod inside;
mod intake;
mod journal;
mod latch;
mod lineage;
mod mismatch;
mod output;
mod pairs;
mod parcel;
mod partition;
mod patience;
mod producers;
mod record;
mod recovery;
mod report;
mod restore;
mod running;
mod settings;
mod site;
mod source;
mod source_recovery;
mod state;
mod state_recovery;
mod stateful;
mod status;
mod stopping;
mod stream;
mod throttle;
mod twins;
mod walk;

pub use batch::Batch;
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use cheat::Cheat;
#[cfg(feature = "deliberate-faults")]
use cheat::Faults;
pub use checkpointer::{CheckpointPolicy, CheckpointStats};
pub use context::{ContextState, StopMode, StreamingContext};
pub use error::{BatchFailure, BoxError, Error, GraphError, GraphErrors, Mismatch, Result};
pub use graph::OperatorInfo;
pub use highwater_checkpoint as checkpoint;
pub use highwater_wal as wal;
#[cfg(not(feature = "deliberate-faults"))]
use honest::Faults;
pub use input::{Ack, Sender};
pub use intake::{Appended, Receipt};
pub use lineage::Lineage;
pub use output::{Guarantee, Outcome, OutputOwner, Sink, SinkContext, Wants};
#[doc(hidden)]
pub use partition::key_group;
pub use patience::Patience;
pub use record::{Key, Record, State, Value};
pub use report::{RecoveryReport, StateReport};
pub use settings::{BatchMode, Builder};
pub use source::{Decoder, Receiver, SourceContext, SourceStats, StreamScope};
pub use stateful::KeyState;
pub use status::Progress;
pub use stream::{DStream, Emitter};
