//! The operator graph while the user's code builds it. At the end it is checked and becomes a
//! [`Plan`].
//!
//! The logical graph (every operator, for messages and manifests) is kept beside the physical one
//! (what runs).

use crate::datasets::declared::DatasetList;
use crate::error::{GraphError, GraphErrors};
use crate::plan::flatten::flatten_unions;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{MergeFn, Node, NodeWork};
use crate::plan::program::{OperatorInfo, OutputInfo, Plan, SourceInfo, StateInfo};
use crate::plan::refused_counts::{Counts, REFUSED, REFUSED_RECORDS};
use crate::plan::refusing::{Described, Refusing};
use crate::plan::slide::{Slide, Slides};
use crate::plan::source_stream::StreamTable;
use crate::refused::policy::ErrorPolicy;
use crate::state::encoded::EncodedTypes;
use crate::variables::declared::Variables;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The graph while the user's code builds it.
pub(crate) struct Graph {
    operators: Vec<OperatorInfo>,
    /// Of each operator.
    slides: Vec<Slides>,
    /// The batch interval, in milliseconds.
    interval_ms: u64,
    nodes: Vec<Node>,
    /// Whether each node emits something for every chunk of the log, or only for whole batches.
    emits_log_chunks: Vec<bool>,
    sources: Vec<SourceInfo>,
    /// The sources whose streams the program has, by operator.
    source_streams: BTreeMap<OperatorId, usize>,
    /// Records per second of sources that have a bound of their own.
    max_rates: BTreeMap<usize, u64>,
    states: Vec<StateInfo>,
    panes: BTreeMap<String, u64>,
    outputs: Vec<OutputInfo>,
    /// How many taps there are.
    taps: usize,
    variables: Variables,
    datasets: DatasetList,
    refusing: Refusing,
    /// How often results of streams go into checkpoints, in milliseconds.
    checkpointed: BTreeMap<OperatorId, u64>,
    names: BTreeMap<String, String>,
    errors: Vec<GraphError>,
    streams: Arc<StreamTable>,
}

/// A handle on the graph that streams share while it is built.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

impl Graph {
    pub(crate) fn new() -> Self {
        Self {
            operators: Vec::new(),
            slides: Vec::new(),
            interval_ms: 1,
            nodes: vec![Node {
                inputs: Vec::new(),
                work: NodeWork::Log,
            }],
            emits_log_chunks: vec![true],
            sources: Vec::new(),
            source_streams: BTreeMap::new(),
            max_rates: BTreeMap::new(),
            states: Vec::new(),
            panes: BTreeMap::new(),
            outputs: Vec::new(),
            taps: 0,
            variables: Variables::default(),
            datasets: DatasetList::default(),
            refusing: Refusing::default(),
            checkpointed: BTreeMap::new(),
            names: BTreeMap::new(),
            errors: Vec::new(),
            streams: Arc::default(),
        }
    }

    /// Sets the batch interval; before the first operator.
    pub(crate) fn set_interval(&mut self, interval_ms: u64) {
        self.interval_ms = interval_ms.max(1);
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
        let slide = self.slide_of_inputs(kind, inputs, &defined_at);
        self.slides.push(Slides {
            input: slide,
            output: slide,
        });
        self.operators.push(OperatorInfo {
            kind: kind.to_owned(),
            name: name.map(str::to_owned),
            inputs: inputs.iter().map(|i| i.0).collect(),
            defined_at,
        });
        OperatorId(self.operators.len() - 1)
    }

    /// The slide that all `inputs` have. Streams that have records in different batches cannot be
    /// combined.
    fn slide_of_inputs(&mut self, kind: &str, inputs: &[OperatorId], at: &str) -> Slide {
        let mut slides = inputs.iter().map(|input| self.slide(*input));
        let Some(mut slide) = slides.next() else {
            return Slide::EveryBatch;
        };
        let mut error = None;
        for other in slides {
            match slide.combined(other, self.interval_ms) {
                Some(both) => slide = both,
                None => {
                    error.get_or_insert_with(|| GraphError::DifferentSlides {
                        operator: format!("{kind} at {at}"),
                        first_ms: slide.millis(self.interval_ms),
                        second_ms: other.millis(self.interval_ms),
                    });
                }
            }
        }
        self.errors.extend(error);
        slide
    }

    /// The batch interval, in milliseconds.
    pub(crate) fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// When the stream of `operator` has records.
    pub(crate) fn slide(&self, operator: OperatorId) -> Slide {
        self.slides
            .get(operator.0)
            .map_or(Slide::EveryBatch, |slides| slides.output)
    }

    /// The time between two batches in which the stream of `operator` has records, in milliseconds.
    pub(crate) fn step_ms(&self, operator: OperatorId) -> u64 {
        self.slide(operator).millis(self.interval_ms)
    }

    /// From `operator` on, the stream has records only where a window of this slide ends.
    pub(crate) fn set_slide(&mut self, operator: OperatorId, slide: Slide) {
        if let Some(slides) = self.slides.get_mut(operator.0) {
            slides.output = slide;
        }
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

    /// Names an operator that has no name yet.
    pub(crate) fn name_operator(&mut self, operator: OperatorId, name: &str, at: &Location<'_>) {
        let Some(info) = self.operators.get_mut(operator.0) else {
            return;
        };
        if let Some(other) = &info.name {
            let operator = format!("named(\"{name}\") at {}:{}", at.file(), at.line());
            let what = format!("the stream is that of {}, called \"{other}\"", info.kind);
            return self.error(GraphError::BadSetting { operator, what });
        }
        info.name = Some(name.to_owned());
        let (kind, defined_at) = (info.kind.clone(), info.defined_at.clone());
        self.claim(name, &kind, &defined_at);
    }

    /// `operator` reads single records of a stream with this policy.
    pub(crate) fn may_refuse(&mut self, operator: OperatorId, policy: ErrorPolicy) {
        self.refusing.add(operator, policy);
    }

    /// Dead letters of `operator` come back from `source`, whose name follows from its own.
    pub(crate) fn replayed_from(&mut self, operator: OperatorId, source: usize) {
        self.refusing.replayed_from(operator, source);
    }

    /// Names the sources of replayed letters.
    fn name_replayed(&mut self, refusing: &Refusing) {
        for (operator, index) in refusing.keeping() {
            let name = format!("dead letters of {operator}");
            self.claim(&name, "the replay of dead letters", operator);
            if let Some(source) = self.sources.get_mut(index) {
                source.name = name;
            }
        }
    }

    /// Whether the program, once it is complete, may refuse records.
    pub(crate) fn refuses(&self) -> Arc<AtomicBool> {
        self.refusing.possible()
    }

    pub(crate) fn error(&mut self, error: GraphError) {
        self.errors.push(error);
    }

    /// Adds a node that reads `inputs`.
    pub(crate) fn node(&mut self, inputs: Vec<NodeId>, work: NodeWork) -> NodeId {
        let emits_log_chunks = match &work {
            NodeWork::Log => true,
            NodeWork::Local { .. } => inputs.iter().any(|id| self.emits_log_chunks(*id)),
            NodeWork::Union {
                log_chunk_inputs, ..
            } => *log_chunk_inputs > 0,
            NodeWork::Batch { .. } | NodeWork::Output { .. } | NodeWork::Tap { .. } => false,
        };
        self.nodes.push(Node { inputs, work });
        self.emits_log_chunks.push(emits_log_chunks);
        NodeId(self.nodes.len() - 1)
    }

    fn emits_log_chunks(&self, node: NodeId) -> bool {
        self.emits_log_chunks.get(node.0).copied().unwrap_or(false)
    }

    /// A union of nodes that emit [`Positioned`](crate::batch::positioned::Positioned) records.
    pub(crate) fn union(&mut self, inputs: Vec<NodeId>, merge: MergeFn) -> NodeId {
        let log_chunk_inputs = inputs
            .iter()
            .filter(|id| self.emits_log_chunks(**id))
            .count();
        let work = NodeWork::Union {
            log_chunk_inputs,
            merge,
        };
        self.node(inputs, work)
    }

    pub(crate) fn source(&mut self, source: SourceInfo) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// The stream of `operator` is that of a source.
    pub(crate) fn is_source(&mut self, operator: OperatorId, source: usize) {
        self.source_streams.insert(operator, source);
    }

    /// Bounds the rate of the source whose stream `operator` made.
    pub(crate) fn max_rate(&mut self, operator: OperatorId, rate: u64, at: &Location<'_>) {
        let wrong = match self.source_streams.get(&operator) {
            Some(_) if rate == 0 => {
                "the rate must be at least 1 record per second; without the call there is no bound"
                    .to_owned()
            }
            Some(source) => {
                self.max_rates.insert(*source, rate);
                return;
            }
            None => {
                let kind = self.operators.get(operator.0).map(|info| &*info.kind);
                format!(
                    "the stream is that of {}: call it on the stream of a source, before any operator",
                    kind.unwrap_or_default()
                )
            }
        };
        let operator = format!("max_rate({rate}) at {}:{}", at.file(), at.line());
        self.error(GraphError::BadSetting {
            operator,
            what: wrong,
        });
    }

    pub(crate) fn state(&mut self, slot: StateInfo) -> usize {
        self.states.push(slot);
        self.states.len() - 1
    }

    /// The state `name` is a window, which has panes of so many milliseconds.
    pub(crate) fn panes(&mut self, name: &str, pane_ms: u64) {
        self.panes.insert(name.to_owned(), pane_ms);
    }

    pub(crate) fn output(&mut self, slot: OutputInfo) -> usize {
        self.outputs.push(slot);
        self.outputs.len() - 1
    }

    /// A setting of `operator`; an error is noted.
    pub(crate) fn checked<T>(
        &mut self,
        operator: OperatorId,
        setting: Result<T, String>,
    ) -> Option<T> {
        let info = self.operators.get(operator.0);
        let operator = info.map_or_else(String::new, OperatorInfo::title);
        let failed = |what| self.error(GraphError::BadSetting { operator, what });
        setting.map_err(failed).ok()
    }

    /// A new tap.
    pub(crate) fn tap(&mut self) -> usize {
        self.taps += 1;
        self.taps - 1
    }

    pub(crate) fn variables(&mut self) -> &mut Variables {
        &mut self.variables
    }

    /// Results of the stream of `operator` go into checkpoints every `interval_ms`, which `call`
    /// asks for.
    pub(crate) fn checkpoint_results(
        &mut self,
        operator: OperatorId,
        interval_ms: u64,
        call: String,
    ) {
        let batch_ms = self.interval_ms;
        if interval_ms == 0 || !interval_ms.is_multiple_of(batch_ms) {
            self.error(GraphError::BadSetting {
                operator: call,
                what: format!(
                    "the interval of {interval_ms} ms is not a multiple of the batch interval of {batch_ms} ms"
                ),
            });
        }
        self.checkpointed.insert(operator, interval_ms);
    }

    /// How often results of the stream of `operator` go into checkpoints, if they do.
    pub(crate) fn checkpoint_interval(&self, operator: OperatorId) -> Option<u64> {
        self.checkpointed.get(&operator).copied()
    }

    pub(crate) fn datasets(&mut self) -> &mut DatasetList {
        &mut self.datasets
    }

    pub(crate) fn empty_union(&mut self, at: &Location<'_>) {
        self.error(GraphError::BadSetting {
            operator: format!("union at {}:{}", at.file(), at.line()),
            what: "there is no stream in it".to_owned(),
        });
    }

    pub(crate) fn foreign_stream(&mut self, operator: &str, at: &Location<'_>) {
        let operator = format!("{operator} at {}:{}", at.file(), at.line());
        self.error(GraphError::ForeignStream { operator });
    }

    /// The state of the counts of refused records.
    fn refused_state(&mut self) -> usize {
        self.state(StateInfo {
            name: REFUSED_RECORDS.to_owned(),
            kind: REFUSED,
            type_names: "operator -> refused records".to_owned(),
            types: Arc::new(EncodedTypes::<(), Counts>::new()),
            readable: None,
            readers: Arc::default(),
        })
    }

    /// Gives operators that may refuse records, and what belongs to that, their names.
    fn name_refusing(&mut self, refusing: &mut Refusing) -> Vec<GraphError> {
        let describe = |operator: OperatorId| {
            let info = self.operators.get(operator.0)?;
            Some(Described {
                kind: &info.kind,
                name: info.name.as_deref(),
                defined_at: &info.defined_at,
            })
        };
        let is_taken = |name: &str| self.names.contains_key(name);
        let unnamed = refusing.name_all(describe, is_taken);
        if refusing.is_possible() {
            self.claim(
                REFUSED_RECORDS,
                "the count of refused records",
                "the engine",
            );
            refusing.counts.state = Some(self.refused_state());
        }
        self.name_replayed(refusing);
        unnamed
    }

    /// Ends building: everything that is wrong with the program comes back at once.
    pub(crate) fn finish(&mut self) -> Result<Plan, GraphErrors> {
        let mut refusing = std::mem::take(&mut self.refusing);
        let unnamed = self.name_refusing(&mut refusing);
        let mut errors = std::mem::take(&mut self.errors);
        errors.extend(unnamed);
        if self.outputs.is_empty() && self.datasets.slots.is_empty() {
            errors.push(GraphError::NoOutput);
        }
        if !errors.is_empty() {
            return Err(GraphErrors(errors));
        }
        Ok(Plan {
            operators: std::mem::take(&mut self.operators),
            slides: std::mem::take(&mut self.slides),
            nodes: flatten_unions(std::mem::take(&mut self.nodes)),
            sources: std::mem::take(&mut self.sources),
            max_rates: std::mem::take(&mut self.max_rates),
            states: std::mem::take(&mut self.states),
            panes: std::mem::take(&mut self.panes),
            outputs: std::mem::take(&mut self.outputs),
            variables: std::mem::take(&mut self.variables),
            datasets: std::mem::take(&mut self.datasets),
            refusing,
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
