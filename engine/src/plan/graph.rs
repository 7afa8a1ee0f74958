//! The operator graph: what the user's code described, checked, and then shared read-only by all
//! workers.
//!
//! Stateless operators are not nodes of their own: they are fused into the function of the node
//! behind them. The logical graph (every operator, for messages and manifests) is kept beside the
//! physical one (what runs).

use crate::batch::chunk::{Parcel, ParcelData};
use crate::error::{GraphError, GraphErrors};
use crate::plan::site::Site;
use crate::recovery::changes::Migration;
use crate::state::key_group::KeyGroups;
use crate::state::table::Block;
use bytes::Bytes;
use highwater_wal::{Lsn, StreamId};
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// Index of an operator in the logical graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperatorId(pub(crate) usize);

/// Index of a node in the physical graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

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

/// A state that an operator declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateInfo {
    pub(crate) name: String,
    /// The operator's kind: another kind would misread the state.
    pub(crate) kind: &'static str,
    /// Rust names of key and state type, for messages.
    pub(crate) types: String,
}

/// What a worker needs to know to build its operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerSlot {
    pub(crate) index: usize,
    pub(crate) peers: usize,
    pub(crate) groups: KeyGroups,
}

/// A function from one parcel to some: the fused stateless operators and what prepares the exchange
/// behind them.
pub(crate) type LocalFn = Arc<dyn Fn(&WorkerSlot, &Site, Parcel, &mut Vec<Parcel>) + Send + Sync>;

/// Merges the records that the inputs of a union have of one piece of the log.
pub(crate) type MergeFn =
    Arc<dyn Fn(Vec<Box<dyn ParcelData>>) -> Box<dyn ParcelData> + Send + Sync>;

/// An operator that acts once a batch, when all its input has arrived.
pub(crate) trait BatchOperator {
    /// Processes the whole input of a batch (in no particular order) and emits.
    fn apply(&mut self, site: &Site, input: Vec<Parcel>, out: &mut Vec<Parcel>);
    /// Encodes the state; stateless ones have none.
    fn snapshot(&self) -> Result<Vec<Block>, String> {
        Ok(Vec::new())
    }
}

/// Makes a worker's instance of a batch operator, taking the restored state that belongs to it.
pub(crate) type BatchOperatorFactory =
    Arc<dyn Fn(&WorkerSlot, &mut RestoredState) -> Box<dyn BatchOperator> + Send + Sync>;

/// What recovery and checkpoints need to know of a state's types.
pub(crate) trait StateTypes: Send + Sync {
    /// Begins to take in what a checkpoint holds.
    fn restore(&self, groups: KeyGroups) -> Box<dyn Restore>;
    /// Reads back every entry of an encoded key group and counts them; an error names the key.
    fn read_back(&self, bytes: &[u8]) -> Result<u64, String>;
}

/// Takes in the state of a checkpoint, key group by key group.
pub(crate) trait Restore {
    /// Decodes the entries of a key group as the checkpoint has it, and returns how many there are.
    fn add(&mut self, group: u32, bytes: &[u8]) -> Result<u64, RestoreError>;
    /// Ends.
    fn finish(self: Box<Self>) -> Restored;
}

/// Why an entry of a checkpoint cannot be taken in.
#[derive(Debug)]
pub(crate) enum RestoreError {
    /// It does not decode.
    Undecodable(String),
    /// A key is there already, from another entry.
    SameKey(String),
}

/// The state of one operator, as a checkpoint had it.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) groups: RestoredState,
    pub(crate) keys: u64,
    /// Keys whose key group is another one now: their type has changed.
    pub(crate) moved: u64,
    /// Paths of fields that the checkpoint has and the program's types have not; a few of them.
    pub(crate) ignored: BTreeSet<String>,
}

/// One decoded key group, with the type erased.
pub(crate) type RestoredGroup = Box<dyn Any + Send>;

/// Decoded key groups that wait for the worker that owns them.
pub(crate) type RestoredState = BTreeMap<u32, RestoredGroup>;

/// What runs.
pub(crate) enum Node {
    /// Pieces of the log; every source reads the same ones and takes its own records.
    Log,
    /// A function from parcel to parcels.
    Local {
        input: NodeId,
        first: OperatorId,
        run: LocalFn,
    },
    /// A batch operator behind an exchange.
    Batch {
        input: NodeId,
        operator: OperatorId,
        make: BatchOperatorFactory,
        state: Option<usize>,
    },
    /// Several streams in one, in the order of the log. Its inputs emit
    /// [`Placed`](crate::batch::chunk::Placed) records; so many of them emit something for every
    /// piece of the log, and not only for whole batches.
    Union {
        inputs: Vec<NodeId>,
        pieces: usize,
        merge: MergeFn,
    },
    /// The end of a stream: what arrives is handed to the driver.
    Output { input: NodeId, output: usize },
}

/// A source as declared.
pub(crate) struct SourceInfo {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Rust name of the record type.
    pub(crate) record: &'static str,
    /// Set for inputs, whose records come from the program (`context.input::<T>`).
    pub(crate) input_type: Option<TypeId>,
    /// Whether a record decodes.
    pub(crate) check: RecordCheck,
    pub(crate) receiver: Option<crate::ingest::source::ReceiverFactory>,
}

/// A state as declared.
pub(crate) struct StateSlot {
    pub(crate) info: StateInfo,
    pub(crate) types: Arc<dyn StateTypes>,
}

/// The checked program.
pub(crate) struct Plan {
    pub(crate) operators: Vec<OperatorInfo>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Vec<SourceInfo>,
    pub(crate) states: Vec<StateSlot>,
    pub(crate) outputs: Vec<crate::sink::output::OutputSlot>,
    pub(crate) groups: KeyGroups,
    /// Stream id of each source, assigned when the log is known.
    pub(crate) streams: Arc<StreamTable>,
}

/// Whether the bytes of a record decode as what its source carries.
pub(crate) type RecordCheck = Arc<dyn Fn(Bytes) -> Result<(), String> + Send + Sync>;

/// Where the records of a source are in the log, and how old ones become those of today.
#[derive(Clone)]
pub(crate) struct SourceStream {
    pub(crate) id: StreamId,
    /// In the order in which they are applied.
    pub(crate) upgrades: Vec<Upgrade>,
}

/// A conversion of encoded records that were written before it was.
#[derive(Clone)]
pub(crate) struct Upgrade {
    /// Records of frames below this position need it.
    pub(crate) below: Lsn,
    pub(crate) convert: Migration,
}

/// The streams by source, filled in once the log has been read.
pub(crate) type StreamTable = std::sync::OnceLock<Vec<SourceStream>>;

impl fmt::Debug for SourceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceStream")
            .field("id", &self.id)
            .field("upgrades", &self.upgrades.len())
            .finish()
    }
}

impl SourceStream {
    /// Whether records of the frame at `lsn` are as the program writes them today.
    pub(crate) fn is_current(&self, lsn: Lsn) -> bool {
        self.upgrades.iter().all(|upgrade| lsn >= upgrade.below)
    }

    /// A record of the frame at `lsn` as the program would write it today.
    pub(crate) fn upgrade(&self, lsn: Lsn, record: Bytes) -> Result<Bytes, String> {
        let mut pending = self.upgrades.iter().filter(|upgrade| lsn < upgrade.below);
        pending.try_fold(record, |record, upgrade| {
            (upgrade.convert)(&record).map(Bytes::from)
        })
    }
}

impl Plan {
    /// How messages name an operator.
    pub(crate) fn operator_name(&self, id: OperatorId) -> String {
        match self.operators.get(id.0) {
            Some(OperatorInfo {
                kind,
                name: Some(name),
                ..
            }) => format!("{kind} \"{name}\""),
            Some(OperatorInfo {
                kind, defined_at, ..
            }) => format!("{kind} ({defined_at})"),
            None => format!("operator {}", id.0),
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("operators", &self.operators)
            .finish_non_exhaustive()
    }
}

/// The graph while the user's code builds it.
pub(crate) struct Graph {
    operators: Vec<OperatorInfo>,
    nodes: Vec<Node>,
    /// Whether each node emits something for every piece of the log, or only for whole batches.
    emits_pieces: Vec<bool>,
    sources: Vec<SourceInfo>,
    states: Vec<StateSlot>,
    outputs: Vec<crate::sink::output::OutputSlot>,
    names: BTreeMap<String, String>,
    errors: Vec<GraphError>,
    groups: KeyGroups,
    streams: Arc<StreamTable>,
}

/// A handle on the graph that streams share while it is built.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

impl Graph {
    pub(crate) fn new(groups: KeyGroups) -> Self {
        Self {
            operators: Vec::new(),
            nodes: vec![Node::Log],
            emits_pieces: vec![true],
            sources: Vec::new(),
            states: Vec::new(),
            outputs: Vec::new(),
            names: BTreeMap::new(),
            errors: Vec::new(),
            groups,
            streams: Arc::default(),
        }
    }

    /// The node that hands out the log.
    pub(crate) const LOG: NodeId = NodeId(0);

    pub(crate) fn streams(&self) -> Arc<StreamTable> {
        Arc::clone(&self.streams)
    }

    pub(crate) fn operator(
        &mut self,
        kind: &str,
        name: Option<&str>,
        inputs: &[OperatorId],
        at: &Location<'_>,
    ) -> OperatorId {
        let defined_at = format!("{}:{}", at.file(), at.line());
        if let Some(name) = name {
            self.claim(name, kind, &defined_at);
        }
        self.operators.push(OperatorInfo {
            kind: kind.to_owned(),
            name: name.map(str::to_owned),
            inputs: inputs.iter().map(|i| i.0).collect(),
            defined_at,
        });
        OperatorId(self.operators.len() - 1)
    }

    fn claim(&mut self, name: &str, kind: &str, at: &str) {
        let what = format!("{kind} at {at}");
        if name.is_empty() || name.len() > 200 || name.contains(char::is_control) {
            self.errors.push(GraphError::BadName {
                name: name.to_owned(),
                operator: what,
            });
        } else if let Some(first) = self.names.get(name) {
            self.errors.push(GraphError::DuplicateName {
                name: name.to_owned(),
                first: first.clone(),
                second: what,
            });
        } else {
            self.names.insert(name.to_owned(), what);
        }
    }

    pub(crate) fn error(&mut self, error: GraphError) {
        self.errors.push(error);
    }

    pub(crate) fn node(&mut self, node: Node) -> NodeId {
        let emits_pieces = match &node {
            Node::Log => true,
            Node::Local { input, .. } => self.emits_pieces(*input),
            Node::Union { pieces, .. } => *pieces > 0,
            Node::Batch { .. } | Node::Output { .. } => false,
        };
        self.nodes.push(node);
        self.emits_pieces.push(emits_pieces);
        NodeId(self.nodes.len() - 1)
    }

    fn emits_pieces(&self, node: NodeId) -> bool {
        self.emits_pieces.get(node.0).copied().unwrap_or(false)
    }

    /// A union of nodes that emit [`Placed`](crate::batch::chunk::Placed) records.
    pub(crate) fn union(&mut self, inputs: Vec<NodeId>, merge: MergeFn) -> NodeId {
        let pieces = inputs.iter().filter(|id| self.emits_pieces(**id)).count();
        self.node(Node::Union {
            inputs,
            pieces,
            merge,
        })
    }

    pub(crate) fn source(&mut self, source: SourceInfo) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    pub(crate) fn state(&mut self, slot: StateSlot) -> usize {
        self.states.push(slot);
        self.states.len() - 1
    }

    pub(crate) fn output(&mut self, slot: crate::sink::output::OutputSlot) -> usize {
        self.outputs.push(slot);
        self.outputs.len() - 1
    }

    /// Ends building: everything that is wrong with the program comes back at once.
    pub(crate) fn finish(&mut self) -> Result<Plan, GraphErrors> {
        let mut errors = std::mem::take(&mut self.errors);
        if self.outputs.is_empty() {
            errors.push(GraphError::NoOutput);
        }
        if !errors.is_empty() {
            return Err(GraphErrors(errors));
        }
        Ok(Plan {
            operators: std::mem::take(&mut self.operators),
            nodes: std::mem::take(&mut self.nodes),
            sources: std::mem::take(&mut self.sources),
            states: std::mem::take(&mut self.states),
            outputs: std::mem::take(&mut self.outputs),
            groups: self.groups,
            streams: Arc::clone(&self.streams),
        })
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("operators", &self.operators)
            .finish_non_exhaustive()
    }
}
