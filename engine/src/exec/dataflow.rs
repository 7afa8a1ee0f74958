//! Turns a plan into a timely dataflow.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::batch::work::{Purpose, Work};
use crate::exec::attempt::FIRST_EPOCH;
use crate::exec::batch_operators::arrivals::EndOfLogChunk;
use crate::exec::batch_operators::batch_work::{BatchWork, Gathered};
use crate::exec::batch_operators::capturing::Units;
use crate::exec::batch_operators::in_context::in_context;
use crate::exec::stream::Stream;
use crate::exec::union::union;
use crate::exec::worker_context::WorkerContext;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{LocalFn, Node, NodeWork, ends_log_chunks};
use crate::state::key_group::WorkerSlot;
use crate::state::table::block::RestoredState;
use std::cell::RefCell;
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
    /// The batch operators of this worker.
    pub(super) units: Units,
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
    let (done, mut units) = (ProbeHandle::new(), Units::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let log: Stream<'_> = scope.input_from(&mut input);
        let mut streams: Vec<Stream<'_>> = Vec::new();
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
                    let unit = Rc::new(RefCell::new(unit));
                    units.push(Rc::clone(&unit));
                    batch(scope, inputs, context, unit).probe_with(&done)
                }
            };
            let is_read = read.contains(&NodeId(number));
            streams.push(if is_read {
                stream
            } else {
                stream.probe_with(&done)
            });
        }
    });
    input.advance_to(FIRST_EPOCH);
    Running { input, done, units }
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

/// A batch operator, each of its inputs after an exchange: gathers an epoch's chunks and acts
/// once, when none can come any more. It keeps a capability for the next epoch at all times, so it
/// acts in every epoch, also in an empty one.
fn batch<'s>(
    scope: Scope<'s, u64>,
    streams: Vec<Stream<'s>>,
    context: &Rc<WorkerContext>,
    unit: Rc<RefCell<BatchWork>>,
) -> Stream<'s> {
    let context = Rc::clone(context);
    let mut builder = OperatorBuilder::new("Batch".to_owned(), scope);
    let exchange = |stream| {
        let exchange = Exchange::new(|p: &Chunk| p.target as u64);
        builder.new_input(stream, exchange)
    };
    let mut inputs: Vec<_> = streams.into_iter().map(exchange).collect();
    let (output, results) = builder.new_output::<Vec<Chunk>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Chunk>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut held = first_epoch(&mut capabilities);
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
                    unit.borrow_mut().gather(&context, epoch, rank, arrived);
                });
            }
            let mut output = output.activate();
            while let Some(result) = &mut held {
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
                let out = unit.borrow_mut().run(&context, epoch, arrived);
                output.session(&*result).give_iterator(out.into_iter());
                result.downgrade(&(epoch + 1));
            }
        }
    });
    results
}

/// The capability of an operator's output, moved to the first epoch.
fn first_epoch(capabilities: &mut Vec<Capability<u64>>) -> Option<Capability<u64>> {
    let mut result = capabilities.pop()?;
    result.downgrade(&FIRST_EPOCH);
    Some(result)
}
