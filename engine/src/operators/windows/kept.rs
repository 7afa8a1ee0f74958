//! The operator of all windows of pairs: keeps something for each key, and emits when a window
//! ends.

use crate::batch::chunk::{Chunk, SequenceKey, open};
use crate::codec::round_trip;
use crate::operators::pairs::first_touch::Keyed;
use crate::operators::pairs::intake::{Intake, is_worth_waiting};
use crate::operators::windows::span::{Ending, Span};
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, BatchOperatorFactory, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::plan::program::StateInfo;
use crate::record::{Key, Record, Value};
use crate::state::access::StateGuard;
use crate::state::restore::Types;
use crate::state::table::states::{KeptState, StateTable};
use crate::state::table::visits::visit::Visited;
use std::sync::Arc;

/// What a window keeps of each key. `A` is what a batch brings for a key.
pub(crate) trait Kept<K, A>: Send + Sync + 'static {
    /// The state of a key.
    type State: Value + Default;
    /// What is emitted.
    type Out: Record;

    /// Adds what another chunk of the batch brings for the same key.
    fn merge(&self, before: &mut A, more: A);

    /// A batch has brought something, into the pane that ends at `pane`.
    fn add(&self, state: &mut Self::State, pane: u64, value: A);

    /// A window ends. What it has of the key is emitted, and what no later window has is removed.
    fn close(
        &self,
        key: &K,
        state: &mut StateGuard<Self::State>,
        ending: Ending,
    ) -> Option<Self::Out>;

    /// Whether what was put into the state last can be written as it is.
    fn check(state: &Self::State) -> Result<(), String>;
}

/// A window as the program declares it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared<'a> {
    pub(crate) name: &'a str,
    /// What wrote a state, and alone can read it.
    pub(crate) kind: &'static str,
    pub(crate) span: Span,
    pub(crate) operator: OperatorId,
}

impl Declared<'_> {
    /// Declares the state and adds the node of the operator that keeps it, made by `make` from each
    /// worker's share of it.
    pub(crate) fn node<K: Key, A: Send + 'static, S: Value>(
        self,
        graph: &SharedGraph,
        input: NodeId,
        value_type: &str,
        make: impl Fn(StateTable<K, A, S>) -> Box<dyn BatchOperator> + Send + Sync + 'static,
    ) -> NodeId {
        let info = StateInfo {
            name: self.name.to_owned(),
            kind: self.kind,
            type_names: format!("{} -> {value_type}", std::any::type_name::<K>()),
            types: Arc::new(Types::<K, S>::new(Vec::new())),
            readable: None,
            readers: Arc::default(),
        };
        let make: BatchOperatorFactory =
            Arc::new(move |slot, restored| make(StateTable::restore(restored, slot, None)));
        let mut graph = graph.borrow_mut();
        graph.panes(self.name, self.span.pane_ms());
        let state = graph.state(info);
        graph.node(
            vec![input],
            NodeWork::Batch {
                operator: self.operator,
                make,
                state: Some(state),
            },
        )
    }
}

/// Where a batch is in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The end of its pane.
    pub(crate) pane: u64,
    /// Whether any window has it.
    pub(crate) is_in_a_window: bool,
    /// The window that ends with it.
    pub(crate) ending: Option<Ending>,
}

impl Place {
    pub(crate) fn of(ctx: &OperatorContext, span: Span) -> Self {
        let tick = ctx.tick();
        let pane = span.pane(tick.time_ms, tick.zero_ms);
        Self {
            pane,
            is_in_a_window: span.has(pane, tick.zero_ms),
            ending: tick
                .ends_slide(span.slide_ms())
                .then(|| span.ending(tick.time_ms)),
        }
    }
}

/// Fails the batch if something cannot be written into a checkpoint as it is.
pub(crate) fn check<K: Key>(ctx: &OperatorContext, key: &K, checked: Result<(), String>) {
    if let Err(what) = checked {
        let key = round_trip::show_value(key);
        ctx.refuse(format!(
            "the window of the key {key} cannot be kept: {what}"
        ));
    }
}

/// A window of pairs after the exchange.
struct Windowed<K, A, W: Kept<K, A>, E> {
    operator: OperatorId,
    span: Span,
    table: StateTable<K, A, W::State>,
    intake: Intake<Keyed<K, A>>,
    kept: Arc<W>,
    emit: Arc<E>,
}

/// The node of a window of pairs; `emit` makes a record of what the window has of a key.
pub(crate) fn windowed<K, A, W, U>(
    graph: &SharedGraph,
    declared: Declared<'_>,
    input: NodeId,
    value_type: &str,
    kept: W,
    emit: impl Fn(&K, W::Out) -> U + Send + Sync + 'static,
) -> NodeId
where
    K: Key,
    A: Record,
    W: Kept<K, A>,
    U: Record,
{
    let Declared { operator, span, .. } = declared;
    let (kept, emit) = (Arc::new(kept), Arc::new(emit));
    declared.node(graph, input, value_type, move |table| {
        Box::new(Windowed {
            operator,
            span,
            table,
            intake: Intake::default(),
            kept: Arc::clone(&kept),
            emit: Arc::clone(&emit),
        })
    })
}

impl<K: Key, A: Record, W: Kept<K, A>, E> Windowed<K, A, W, E> {
    /// Takes in a chunk of [`Keyed`] items.
    fn take_in(&mut self, ctx: &OperatorContext, chunk: Chunk) -> Result<(), String> {
        let waits = is_worth_waiting(self.table.keys());
        // Keys get more during a batch, never fewer. So no item overtakes one that waits.
        assert!(waits || self.intake.is_empty(), "items keep their order");
        for item in open::<Vec<Keyed<K, A>>>(chunk.data) {
            let group = self.table.group(item.hash);
            match waits {
                true => self.intake.add(group, item),
                false => bring(ctx, &mut self.table, &*self.kept, group, item)?,
            }
        }
        match self.intake.chunk_is_in() {
            true => self.bring(ctx),
            false => Ok(()),
        }
    }

    /// Brings what waits to the keys.
    fn bring(&mut self, ctx: &OperatorContext) -> Result<(), String> {
        let (kept, table) = (&self.kept, &mut self.table);
        self.intake
            .bring(|group, item| bring(ctx, table, &**kept, group, item))
    }
}

fn bring<K: Key, A: Record, W: Kept<K, A>>(
    ctx: &OperatorContext,
    table: &mut StateTable<K, A, W::State>,
    kept: &W,
    group: u32,
    Keyed { hash, key, value }: Keyed<K, A>,
) -> Result<(), String> {
    let merge = |before: &mut A, more| ctx.at_key(&key, || kept.merge(before, more));
    table.bring((group, None), (hash, &key, value), merge)
}

impl<K, A, W, E, U> BatchOperator for Windowed<K, A, W, E>
where
    K: Key,
    A: Record,
    W: Kept<K, A>,
    U: Record,
    E: Fn(&K, W::Out) -> U,
{
    fn begin(&mut self) {
        self.intake.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if Place::of(ctx, self.span).is_in_a_window
            && let Err(what) = self.take_in(ctx, chunk)
        {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if let Err(what) = self.bring(ctx) {
            return ctx.refuse(what);
        }
        self.intake.clear();
        let Place { pane, ending, .. } = Place::of(ctx, self.span);
        let (kept, emit, now) = (&self.kept, &self.emit, ctx.batch().time_ms);
        self.table.visit(now, |visiting, number, group| {
            let mut records = Vec::new();
            let mut visit = |key: &K, value: Option<A>, state: &mut StateGuard<W::State>| {
                ctx.at_key(key, || {
                    if let Some(value) = value {
                        kept.add(state.get_or_insert_with(W::State::default), pane, value);
                    }
                    if let Some(ending) = ending {
                        let result = kept.close(key, state, ending);
                        records.extend(result.map(|result| emit(key, result)));
                    }
                });
            };
            let mut after = |visited: Visited<'_, K, W::State>| {
                if let Some(state) = visited.state.filter(|_| visited.changed) {
                    check(ctx, visited.key, W::check(state));
                }
            };
            match ending {
                // What a window has is emitted: that is every key.
                Some(_) => group.visit_every(visiting, &mut visit, &mut after),
                None => group.visit_touched(visiting, &mut visit, &mut after),
            }
            if !records.is_empty() {
                let sequence = SequenceKey::batch(u64::from(number));
                out.push(Chunk::new(sequence, 0, records));
            }
        });
    }

    fn state(&mut self) -> Option<&mut dyn KeptState> {
        Some(&mut self.table)
    }
}
