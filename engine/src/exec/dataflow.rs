//! Turns a plan into a timely dataflow.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::batch::work::{Purpose, Snapshot, Work};
use crate::exec::arrivals::{Arrivals, EndOfLogChunk};
use crate::exec::attempt::FIRST_EPOCH;
use crate::exec::report::Report;
use crate::exec::stream::Stream;
use crate::exec::union::union;
use crate::exec::worker_context::WorkerContext;
use crate::observe::states::KeyCounts;
use crate::plan::failed::Remedy;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, LocalFn, Node, NodeWork, ends_log_chunks};
use crate::plan::operator_context::OperatorContext;
use crate::state::key_group::WorkerSlot;
use crate::state::table::block::RestoredState;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Capability, Concatenate, Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope};
use timely::worker::Worker;

/// The driver's ends of a built dataflow.
pub(super) struct Running {
    pub(super) input: InputHandle<u64, CapacityContainerBuilder<Vec<Chunk>>>,
    /// Passes an epoch when every operator of every worker is done with it.
    pub(super) done: ProbeHandle<u64>,
    /// Passes an epoch when every snapshot of it was handed over.
    pub(super) acked: ProbeHandle<u64>,
}

/// Builds the plan on this worker; every worker builds the same graph in the same order.
pub(super) fn build(
    worker: &mut Worker,
    context: &Rc<WorkerContext>,
    restored: &mut BTreeMap<usize, RestoredState>,
) -> Running {
    let slot = WorkerSlot {
        index: worker.index(),
        peers: worker.peers(),
        groups: context.groups,
    };
    let mut input = InputHandle::new();
    let (done, acked) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let log: Stream<'_> = scope.input_from(&mut input);
        let mut streams: Vec<Stream<'_>> = Vec::new();
        let mut acks: Vec<Stream<'_>> = Vec::new();
        // A batch is complete when every branch is, also one that leads to no output: it may fail,
        // and count.
        let read = inputs_of(&context.plan.nodes);
        let ends = ends_log_chunks(&context.plan.nodes);
        for ((number, node), ends_log_chunks) in context.plan.nodes.iter().enumerate().zip(ends) {
            let inputs = of_nodes(&streams, &node.inputs);
            let stream = match &node.work {
                NodeWork::Log => log.clone(),
                NodeWork::Local { first, run } => {
                    let unit = LocalWork {
                        slot,
                        first: *first,
                        run: Arc::clone(run),
                        ends_log_chunks,
                    };
                    local(concatenated(scope, inputs), context, unit)
                }
                NodeWork::Union {
                    log_chunk_inputs,
                    merge,
                } => {
                    let merge = Arc::clone(merge);
                    union(scope, inputs, *log_chunk_inputs, context, slot.index, merge)
                }
                NodeWork::Output { output } => {
                    deliver(concatenated(scope, inputs), context, *output)
                }
                NodeWork::Tap { tap: index } => tap(concatenated(scope, inputs), context, *index),
                NodeWork::Batch {
                    operator,
                    make,
                    state,
                } => {
                    let restored = restored.entry(state.unwrap_or(usize::MAX)).or_default();
                    let unit = BatchWork::new(*operator, *state, make(&slot, restored));
                    let (stream, ack) = batch(scope, inputs, context, unit);
                    acks.push(ack);
                    stream.probe_with(&done)
                }
            };
            let is_read = read.contains(&NodeId(number));
            streams.push(if is_read {
                stream
            } else {
                stream.probe_with(&done)
            });
        }
        acks.push(log.container::<Vec<_>>());
        scope.concatenate(acks).probe_with(&acked);
    });
    input.advance_to(FIRST_EPOCH);
    Running { input, done, acked }
}

/// The streams that `nodes` emit.
fn of_nodes<'s>(streams: &[Stream<'s>], nodes: &[NodeId]) -> Vec<Stream<'s>> {
    let of = |id: &NodeId| streams.get(id.0).cloned();
    let of = |id| of(id).expect("inputs precede their readers");
    nodes.iter().map(of).collect()
}

/// The nodes that other nodes read.
fn inputs_of(nodes: &[Node]) -> BTreeSet<NodeId> {
    let inputs = nodes.iter().flat_map(|node| &node.inputs);
    inputs.copied().collect()
}

/// All inputs as one stream; a single one as it is.
fn concatenated<'s>(scope: Scope<'s, u64>, mut inputs: Vec<Stream<'s>>) -> Stream<'s> {
    match (inputs.len(), inputs.pop()) {
        (1, Some(only)) => only,
        (_, last) => scope.concatenate(inputs.into_iter().chain(last)),
    }
}

/// Runs `work` in a context of the epoch, unless the batch has failed already; its failure goes to
/// the driver.
fn in_context(
    context: &WorkerContext,
    epoch: u64,
    operator: OperatorId,
    work: impl FnOnce(&OperatorContext),
) {
    let Some(Work { batch, tick, .. }) = context.work(epoch) else {
        return;
    };
    if context.failed(epoch) {
        return;
    }
    let ctx = OperatorContext::new(batch, tick, context.scope(), operator);
    context.counting(|| ctx.guard(|| work(&ctx)));
    context.refused(ctx.take_noted());
    if let Some(hot) = ctx.take_hot_key(|| context.plan.operator_name(operator)) {
        context.report(Report::HotKey(hot));
    }
    if let Some(failed) = ctx.into_failure(|id| context.plan.operator_name(id)) {
        context.fail(epoch, failed);
    }
}

/// A function from chunk to chunks, and where it runs.
struct LocalWork {
    slot: WorkerSlot,
    first: OperatorId,
    run: LocalFn,
    /// Whether it tells its readers, which are batch operators, when nothing more comes of a chunk
    /// of the log.
    ends_log_chunks: bool,
}

impl LocalWork {
    fn run(&self, context: &WorkerContext, epoch: u64, chunk: Chunk, out: &mut Vec<Chunk>) {
        let end = match chunk.sequence {
            SequenceKey::Log(number) if self.ends_log_chunks => Some(number),
            _ => None,
        };
        in_context(context, epoch, self.first, |ctx| {
            ctx.set_chunk(chunk.sequence.clone());
            (self.run)(&self.slot, ctx, chunk, out);
        });
        out.extend(
            end.into_iter()
                .flat_map(|number| EndOfLogChunk::of(number, self.slot.peers)),
        );
    }
}

fn local<'s>(stream: Stream<'s>, context: &Rc<WorkerContext>, unit: LocalWork) -> Stream<'s> {
    let context = Rc::clone(context);
    stream.unary::<CapacityContainerBuilder<Vec<Chunk>>, _, _, _>(Pipeline, "Local", move |_, _| {
        move |input, output| {
            input.for_each(|time, chunks| {
                let mut out = Vec::new();
                for chunk in chunks.drain(..) {
                    unit.run(&context, *time.time(), chunk, &mut out);
                }
                output.session(&time).give_iterator(out.into_iter());
            });
        }
    })
}

fn deliver<'s>(stream: Stream<'s>, context: &Rc<WorkerContext>, output: usize) -> Stream<'s> {
    let context = Rc::clone(context);
    stream.unary::<CapacityContainerBuilder<Vec<Chunk>>, _, _, _>(
        Pipeline,
        "Output",
        move |_, _| {
            move |input, _| {
                input.for_each(|time, chunks| match context.work(*time.time()) {
                    Some(Work {
                        purpose: Purpose::Run,
                        ..
                    }) if !context.failed(*time.time()) => {
                        context.deliver(output, std::mem::take(chunks));
                    }
                    _ => chunks.clear(),
                });
            }
        },
    )
}

fn tap<'s>(stream: Stream<'s>, context: &Rc<WorkerContext>, tap: usize) -> Stream<'s> {
    let context = Rc::clone(context);
    stream.unary::<CapacityContainerBuilder<Vec<Chunk>>, _, _, _>(Pipeline, "Tap", move |_, _| {
        move |input, _| {
            input.for_each(|_, chunks| context.tapped(tap, std::mem::take(chunks)));
        }
    })
}

/// A batch operator, and which one of the plan it is.
struct BatchWork {
    operator: OperatorId,
    state: Option<usize>,
    work: Box<dyn BatchOperator>,
    /// The newest epoch of which the operator has seen anything.
    ran: u64,
    /// The newest batch after which a checkpoint took the state.
    captured: Option<u64>,
    /// What the driver knows of the number of keys.
    reported: Option<KeyCounts>,
}

/// What has arrived at a batch operator in one epoch, of one input.
#[derive(Default)]
struct Gathered {
    arrivals: Arrivals,
    /// What the operator gave back.
    kept: Vec<Chunk>,
}

impl BatchWork {
    fn new(operator: OperatorId, state: Option<usize>, work: Box<dyn BatchOperator>) -> Self {
        Self {
            operator,
            state,
            work,
            ran: 0,
            captured: None,
            reported: None,
        }
    }

    /// Hands over a chunk that has its turn.
    fn arrive(
        &mut self,
        context: &WorkerContext,
        ctx: &OperatorContext,
        (epoch, rank): (u64, usize),
        chunk: Chunk,
        kept: &mut Vec<Chunk>,
    ) {
        self.begin(context, ctx, epoch);
        match context.plan.acts(self.operator, ctx.tick()) {
            _ if ctx.failed() => {}
            true => kept.extend(self.work.arrive(ctx, rank, chunk)),
            false => ctx.refuse("records have come between two slides of the stream"),
        }
    }

    /// Hands over the chunks of an input that have their turn. Other workers' may come before this
    /// worker has begun the batch: they wait.
    fn gather(&mut self, context: &WorkerContext, epoch: u64, rank: usize, input: &mut Gathered) {
        if context.work(epoch).is_none() {
            return;
        }
        let Gathered { arrivals, kept } = input;
        if let Some(first) = arrivals.next_ready() {
            in_context(context, epoch, self.operator, |ctx| {
                self.arrive(context, ctx, (epoch, rank), first, kept);
                while let Some(chunk) = arrivals.next_ready() {
                    self.arrive(context, ctx, (epoch, rank), chunk, kept);
                }
            });
        }
    }

    /// Applies the operator to a complete epoch.
    fn run(&mut self, context: &WorkerContext, epoch: u64, inputs: Vec<Gathered>) -> Vec<Chunk> {
        let mut out = Vec::new();
        in_context(context, epoch, self.operator, |ctx| {
            self.begin(context, ctx, epoch);
            let mut all = Vec::with_capacity(inputs.len());
            for (rank, Gathered { arrivals, mut kept }) in inputs.into_iter().enumerate() {
                for chunk in arrivals.rest() {
                    self.arrive(context, ctx, (epoch, rank), chunk, &mut kept);
                }
                all.push(kept);
            }
            if !ctx.failed() && context.plan.acts(self.operator, ctx.tick()) {
                self.work.apply(ctx, all, &mut out);
            }
        });
        self.report(context);
        out
    }

    /// At the first call for an attempt: what the one before has done is kept, or put back.
    ///
    /// A panic in here comes from a value that is dropped. Then a part may be put back and a part
    /// not, so all of it is built again.
    fn begin(&mut self, context: &WorkerContext, ctx: &OperatorContext, epoch: u64) {
        if self.ran == epoch {
            return;
        }
        let failed = !context.keeps(self.ran);
        self.ran = epoch;
        ctx.guard_with(Remedy::Rebuild, || self.settle(context, epoch, failed));
    }

    fn settle(&mut self, context: &WorkerContext, epoch: u64, failed: bool) {
        self.work.begin();
        if failed {
            self.reported = None; // the driver has thrown that away
        }
        let Some(state) = self.work.state() else {
            return;
        };
        state.begin(failed);
        let published = context.work(epoch).and_then(|work| work.published);
        if self.captured.is_some() && self.captured <= published {
            state.published();
            self.captured = None;
        }
    }

    /// Tells the driver how many keys there are.
    fn report(&mut self, context: &WorkerContext) {
        let counts = self.work.state().map(|state| state.counts());
        if let (Some(state), Some(counts)) = (self.state, counts)
            && self.reported != Some(counts)
        {
            self.reported = Some(counts);
            context.count_keys(state, counts);
        }
    }

    /// Hands over the state if that is wanted.
    fn snapshot(&mut self, context: &WorkerContext, epoch: u64) {
        let wanted = context
            .work(epoch)
            .is_some_and(|w| w.snapshot == Snapshot::Take);
        let (true, Some(index)) = (wanted, self.state) else {
            return;
        };
        in_context(context, epoch, self.operator, |ctx| {
            let blocks = self.work.state().map(|state| state.snapshot());
            match blocks.unwrap_or_else(|| Ok(Vec::new())) {
                Ok(blocks) => context.hand_over(index, blocks),
                Err(message) => ctx.fail(message),
            }
            self.captured = Some(ctx.batch().id);
        });
    }
}

/// A batch operator, each of its inputs after an exchange: gathers an epoch's chunks and acts
/// once, when none can come any more. It keeps a capability for the next epoch at all times, so it
/// acts in every epoch, also in an empty one.
fn batch<'s>(
    scope: Scope<'s, u64>,
    streams: Vec<Stream<'s>>,
    context: &Rc<WorkerContext>,
    mut unit: BatchWork,
) -> (Stream<'s>, Stream<'s>) {
    let context = Rc::clone(context);
    let mut builder = OperatorBuilder::new("Batch".to_owned(), scope);
    let exchange = |stream| {
        let exchange = Exchange::new(|p: &Chunk| p.target as u64);
        builder.new_input(stream, exchange)
    };
    let mut inputs: Vec<_> = streams.into_iter().map(exchange).collect();
    let (output, results) = builder.new_output::<Vec<Chunk>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Chunk>>>::from(output);
    let (_, acks) = builder.new_output::<Vec<Chunk>>();
    builder.build(move |mut capabilities| {
        let mut held = hold(&mut capabilities);
        let mut pending = BTreeMap::<u64, Vec<Gathered>>::new();
        move |frontiers| {
            let count = inputs.len();
            for (rank, input) in inputs.iter_mut().enumerate() {
                input.for_each(|time, chunks| {
                    let epoch = *time.time();
                    let arrived = pending.entry(epoch).or_default();
                    arrived.resize_with(count, Gathered::default);
                    let arrived = arrived.get_mut(rank).expect("every input has its place");
                    for chunk in chunks.drain(..) {
                        arrived.arrivals.add(chunk);
                    }
                    unit.gather(&context, epoch, rank, arrived);
                });
            }
            let mut output = output.activate();
            while let Some((result, ack)) = &mut held {
                let epoch = *result.time();
                if frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    return; // more may come for this epoch
                }
                if context.work(epoch).is_none() {
                    held = None; // the input ended: there is no such batch
                    return;
                }
                let mut arrived = pending.remove(&epoch).unwrap_or_default();
                arrived.resize_with(count, Gathered::default);
                let out = unit.run(&context, epoch, arrived);
                output.session(&*result).give_iterator(out.into_iter());
                result.downgrade(&(epoch + 1));
                unit.snapshot(&context, epoch);
                ack.downgrade(&(epoch + 1));
            }
        }
    });
    (results, acks)
}

/// The capabilities of both outputs, moved to the first epoch.
fn hold(capabilities: &mut Vec<Capability<u64>>) -> Option<(Capability<u64>, Capability<u64>)> {
    let (mut ack, mut result) = (capabilities.pop()?, capabilities.pop()?);
    result.downgrade(&FIRST_EPOCH);
    ack.downgrade(&FIRST_EPOCH);
    Some((result, ack))
}
