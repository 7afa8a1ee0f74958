//! The checked program. All workers share it, read-only.

use crate::batch::tick::Tick;
use crate::datasets::declared::DatasetList;
use crate::ingest::decoder::RecordCheck;
use crate::ingest::receiver::ReceiverFactory;
use crate::ingest::source::Source;
use crate::ingest::stream_queue::Queued;
use crate::plan::ids::OperatorId;
use crate::plan::node::Node;
use crate::plan::refusing::Refusing;
use crate::plan::slide::{Slide, Slides};
use crate::plan::source_stream::StreamTable;
use crate::queries::json_state::MakeJsonState;
use crate::sink::erased::SinkSlot;
use crate::state::restore::StateTypes;
use crate::variables::declared::Variables;
use serde::{Deserialize, Serialize};
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// One operator of the program, as manifests and messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorInfo {
    /// What it does: `map`, `update_state_by_key`, `socket_text`, ...
    pub kind: String,
    /// The name given by the user; sources, stateful operators and sinks have one.
    pub name: Option<String>,
    /// Places of its inputs in the list of operators.
    pub inputs: Vec<usize>,
    /// Where the program defined it (`file:line`).
    pub defined_at: String,
}

impl OperatorInfo {
    /// How messages name it.
    pub(crate) fn title(&self) -> String {
        let Self {
            kind, defined_at, ..
        } = self;
        match &self.name {
            Some(name) => format!("{kind} \"{name}\""),
            None => format!("{kind} ({defined_at})"),
        }
    }
}

/// Where the records of a source come from.
pub(crate) enum Origin {
    /// The program or the engine appends them.
    Program,
    Receiver(ReceiverFactory),
    /// A queue of the program: each cut takes something out of it.
    Queue(Arc<dyn Queued>),
    /// They stay where they are.
    ByOffset(Arc<dyn Source>),
}

/// A source as declared.
pub(crate) struct SourceInfo {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Rust name of the record type.
    pub(crate) record: &'static str,
    /// Set for inputs, whose records come from the program (`context.input::<T>`).
    pub(crate) input_type: Option<TypeId>,
    /// Whether records can be read back.
    pub(crate) check: RecordCheck,
    pub(crate) origin: Origin,
}

impl SourceInfo {
    /// A source of records of type `T` that come from elsewhere than the program's inputs.
    pub(crate) fn of<T>(
        kind: &'static str,
        name: &str,
        check: RecordCheck,
        origin: Origin,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            record: std::any::type_name::<T>(),
            input_type: None,
            check,
            origin,
        }
    }

    pub(crate) fn receiver(&self) -> Option<&ReceiverFactory> {
        match &self.origin {
            Origin::Receiver(receiver) => Some(receiver),
            _ => None,
        }
    }

    pub(crate) fn by_offset(&self) -> Option<&Arc<dyn Source>> {
        match &self.origin {
            Origin::ByOffset(source) => Some(source),
            _ => None,
        }
    }

    pub(crate) fn queue(&self) -> Option<&Arc<dyn Queued>> {
        match &self.origin {
            Origin::Queue(queue) => Some(queue),
            _ => None,
        }
    }

    /// The check that an append needs: the program's own inputs have made sure already that what
    /// they send decodes.
    pub(crate) fn check_on_append(&self) -> Option<RecordCheck> {
        self.input_type.is_none().then(|| self.check.clone())
    }
}

/// An output as declared.
pub(crate) struct OutputInfo {
    pub(crate) operator: OperatorId,
    pub(crate) sink: SinkSlot,
}

/// How keys of a state are asked for.
pub(crate) struct Readable {
    /// The types of key and state.
    pub(crate) types: (TypeId, TypeId),
    pub(crate) json: MakeJsonState,
}

/// A state as declared.
pub(crate) struct StateInfo {
    pub(crate) name: String,
    /// The operator's kind: another kind would misread the state.
    pub(crate) kind: &'static str,
    /// Rust names of key and state type, for messages.
    pub(crate) type_names: String,
    pub(crate) types: Arc<dyn StateTypes>,
    /// How keys of it are asked for, if they can be.
    pub(crate) readable: Option<Readable>,
    /// How many ask for it.
    pub(crate) readers: Arc<AtomicUsize>,
}

/// The checked program.
pub(crate) struct Plan {
    pub(crate) operators: Vec<OperatorInfo>,
    /// Of each operator.
    pub(crate) slides: Vec<Slides>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Vec<SourceInfo>,
    /// By index, records per second of sources that have a bound of their own.
    pub(crate) max_rates: BTreeMap<usize, u64>,
    pub(crate) states: Vec<StateInfo>,
    /// Lengths of the panes of windows, in milliseconds, by the names of their states.
    pub(crate) panes: BTreeMap<String, u64>,
    pub(crate) outputs: Vec<OutputInfo>,
    pub(crate) variables: Variables,
    pub(crate) datasets: DatasetList,
    pub(crate) refusing: Refusing,
    /// Stream id of each source, assigned when the log is known.
    pub(crate) streams: Arc<StreamTable>,
}

impl Plan {
    /// Whether an operator acts in a batch: whether what it reads has records there.
    pub(crate) fn acts(&self, operator: OperatorId, tick: &Tick) -> bool {
        self.slides
            .get(operator.0)
            .is_none_or(|slides| slides.input.ends_in(tick))
    }

    /// How often windows end: each slide of the program, in milliseconds.
    pub(crate) fn slides_ms(&self) -> Vec<u64> {
        let slides = self.slides.iter().map(|slides| slides.output);
        let ends = slides.filter_map(|slide| match slide {
            Slide::EveryBatch => None,
            Slide::Millis(slide_ms) => Some(slide_ms.max(1)),
        });
        let distinct: BTreeSet<u64> = ends.collect();
        distinct.into_iter().collect()
    }

    /// The first operator of the program whose windows are aligned.
    pub(crate) fn first_window(&self) -> Option<OperatorId> {
        let at = self
            .slides
            .iter()
            .position(|slides| slides.output != Slide::EveryBatch);
        at.map(OperatorId)
    }

    /// The name of an output, by which its parts are known in the log.
    pub(crate) fn output_name(&self, id: OperatorId) -> String {
        let name = self.operators.get(id.0).and_then(|info| info.name.clone());
        name.unwrap_or_else(|| self.operator_name(id))
    }

    /// How messages name an operator.
    pub(crate) fn operator_name(&self, id: OperatorId) -> String {
        let info = self.operators.get(id.0);
        info.map_or_else(|| format!("operator {}", id.0), OperatorInfo::title)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("operators", &self.operators)
            .finish_non_exhaustive()
    }
}
