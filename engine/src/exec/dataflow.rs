//! Turns a plan into a timely dataflow.

use crate::batch::chunk::Parcel;
use crate::batch::work::{Purpose, Snapshot, Work};
use crate::exec::shared::Shared;
use crate::exec::stream::Stream;
use crate::exec::union::union;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, LocalFn, Node};
use crate::plan::operator_context::Site;
use crate::state::key_group::WorkerSlot;
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Capability, Concatenate, Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// The driver's ends of a built dataflow.
pub(super) struct Running {
    pub(super) input: InputHandle<u64, CapacityContainerBuilder<Vec<Parcel>>>,
    /// Passes an epoch when every operator of every worker is done with it.
    pub(super) done: ProbeHandle<u64>,
    /// Passes an epoch when every snapshot of it was handed over.
    pub(super) acked: ProbeHandle<u64>,
}

/// Builds the plan on this worker; every worker builds the same graph in the same order.
pub(super) fn build(worker: &mut Worker, shared: &Arc<Shared>) -> Running {
    let slot = WorkerSlot {
        index: worker.index(),
        peers: worker.peers(),
        groups: shared.plan.groups,
    };
    let mut input = InputHandle::new();
    let (done, acked) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let log: Stream<'_> = scope.input_from(&mut input);
        let mut streams: Vec<Stream<'_>> = Vec::new();
        let mut acks: Vec<Stream<'_>> = Vec::new();
        for node in &shared.plan.nodes {
            let of = |id: &NodeId| {
                streams
                    .get(id.0)
                    .expect("inputs precede their readers")
                    .clone()
            };
            let stream = match node {
                Node::Log => log.clone(),
                Node::Local { input, first, run } => {
                    local(of(input), shared, slot, *first, Arc::clone(run))
                }
                Node::Union {
                    inputs,
                    pieces,
                    merge,
                } => {
                    let inputs = inputs.iter().map(of).collect();
                    union(
                        scope,
                        inputs,
                        *pieces,
                        shared,
                        slot.index,
                        Arc::clone(merge),
                    )
                }
                Node::Output { input, output } => {
                    deliver(of(input), shared, *output).probe_with(&done)
                }
                Node::Batch {
                    input,
                    operator,
                    make,
                    state,
                } => {
                    let restored = &mut *shared.restored.lock();
                    let restored = restored.entry(state.unwrap_or(usize::MAX)).or_default();
                    let unit = Unit {
                        operator: *operator,
                        state: *state,
                        work: make(&slot, restored),
                    };
                    let (stream, ack) = batch(of(input), shared, unit);
                    acks.push(ack);
                    stream.probe_with(&done)
                }
            };
            streams.push(stream);
        }
        acks.push(log.container::<Vec<_>>());
        scope.concatenate(acks).probe_with(&acked);
    });
    input.advance_to(shared.first);
    Running { input, done, acked }
}

/// Runs `work` at a site of the epoch, unless the batch has failed already; its failure goes to the
/// driver.
fn at_site(shared: &Shared, epoch: u64, operator: OperatorId, work: impl FnOnce(&Site)) {
    let Some(Work { batch, .. }) = shared.work(epoch) else {
        return;
    };
    if shared.failed() {
        return;
    }
    let site = Site::new(batch, operator);
    site.guard(|| work(&site));
    if let Some(failure) = site.into_failure(|id| shared.plan.operator_name(id)) {
        shared.fail(failure);
    }
}

fn local<'s>(
    stream: Stream<'s>,
    shared: &Arc<Shared>,
    slot: WorkerSlot,
    first: OperatorId,
    run: LocalFn,
) -> Stream<'s> {
    let shared = Arc::clone(shared);
    stream.unary::<CapacityContainerBuilder<Vec<Parcel>>, _, _, _>(
        Pipeline,
        "Local",
        move |_, _| {
            move |input, output| {
                input.for_each(|time, parcels| {
                    let mut out = Vec::new();
                    for parcel in parcels.drain(..) {
                        at_site(&shared, *time.time(), first, |site| {
                            run(&slot, site, parcel, &mut out)
                        });
                    }
                    output.session(&time).give_iterator(out.into_iter());
                });
            }
        },
    )
}

fn deliver<'s>(stream: Stream<'s>, shared: &Arc<Shared>, output: usize) -> Stream<'s> {
    let shared = Arc::clone(shared);
    stream.unary::<CapacityContainerBuilder<Vec<Parcel>>, _, _, _>(
        Pipeline,
        "Output",
        move |_, _| {
            move |input, _| {
                input.for_each(|time, parcels| match shared.work(*time.time()) {
                    Some(Work {
                        purpose: Purpose::Run,
                        ..
                    }) => shared.deliver(output, parcels),
                    _ => parcels.clear(),
                });
            }
        },
    )
}

/// A batch operator and its place in the plan.
struct Unit {
    operator: OperatorId,
    state: Option<usize>,
    work: Box<dyn BatchOperator>,
}

impl Unit {
    /// Applies the operator to a complete epoch and hands over its snapshot if one is wanted.
    fn run(&mut self, shared: &Shared, epoch: u64, input: Vec<Parcel>) -> Vec<Parcel> {
        let mut out = Vec::new();
        at_site(shared, epoch, self.operator, |site| {
            self.work.apply(site, input, &mut out)
        });
        out
    }

    fn snapshot(&self, shared: &Shared, epoch: u64) {
        let wanted = shared
            .work(epoch)
            .is_some_and(|w| w.snapshot == Snapshot::Take);
        let (true, Some(state)) = (wanted, self.state) else {
            return;
        };
        at_site(shared, epoch, self.operator, |site| {
            match self.work.snapshot() {
                Ok(blocks) => shared.hand_over(state, blocks),
                Err(message) => site.fail(message),
            }
        });
    }
}

/// A batch operator behind an exchange: collects an epoch's parcels and acts once, when none can
/// come any more. It keeps a capability for the next epoch at all times, so it acts in every epoch,
/// also in an empty one.
fn batch<'s>(stream: Stream<'s>, shared: &Arc<Shared>, mut unit: Unit) -> (Stream<'s>, Stream<'s>) {
    let shared = Arc::clone(shared);
    let mut builder = OperatorBuilder::new("Batch".to_owned(), stream.scope());
    let exchange = Exchange::new(|p: &Parcel| p.target as u64);
    let mut input = builder.new_input(stream, exchange);
    let (output, results) = builder.new_output::<Vec<Parcel>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Parcel>>>::from(output);
    let (_, acks) = builder.new_output::<Vec<Parcel>>();
    builder.build(move |mut capabilities| {
        let mut held = hold(&mut capabilities, shared.first);
        let mut pending = BTreeMap::<u64, Vec<Parcel>>::new();
        move |frontiers| {
            input.for_each(|time, parcels| {
                pending.entry(*time.time()).or_default().append(parcels);
            });
            let mut output = output.activate();
            while let Some((result, ack)) = &mut held {
                let epoch = *result.time();
                if frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    return; // more may come for this epoch
                }
                if shared.work(epoch).is_none() {
                    held = None; // the input ended: there is no such batch
                    return;
                }
                let arrived = pending.remove(&epoch).unwrap_or_default();
                let out = unit.run(&shared, epoch, arrived);
                output.session(&*result).give_iterator(out.into_iter());
                result.downgrade(&(epoch + 1));
                unit.snapshot(&shared, epoch);
                ack.downgrade(&(epoch + 1));
            }
        }
    });
    (results, acks)
}

/// The capabilities of both outputs, moved to the first epoch.
fn hold(
    capabilities: &mut Vec<Capability<u64>>,
    first: u64,
) -> Option<(Capability<u64>, Capability<u64>)> {
    let (mut ack, mut result) = (capabilities.pop()?, capabilities.pop()?);
    result.downgrade(&first);
    ack.downgrade(&first);
    Some((result, ack))
}
