//! Several streams in one, in the order of the log.
//!
//! All inputs are made of the same chunks of the log. What is made of one of them stays on the
//! worker that has it. So each worker waits until every input has handed over its records of a
//! chunk of the log, and merges them by their positions.

use crate::batch::chunk::{Chunk, ChunkData, SequenceKey};
use crate::exec::stream::Stream;
use crate::exec::worker_context::WorkerContext;
use crate::plan::node::MergeFn;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Capability, Concatenate};

/// A chunk and the input through which it came.
type Ranked = (u64, Chunk);

/// What has come of one batch: by chunk of the log, by input.
type ByLogChunk = BTreeMap<u64, BTreeMap<u64, Box<dyn ChunkData>>>;

/// Builds the operator. `expected` is the number of inputs that hand over something for every
/// chunk of the log.
pub(super) fn union<'s>(
    scope: Scope<'s, u64>,
    inputs: Vec<Stream<'s>>,
    expected: usize,
    context: &Rc<WorkerContext>,
    index: usize,
    merge: MergeFn,
) -> Stream<'s> {
    let ranked = inputs.into_iter().zip(0_u64..).map(|(stream, rank)| {
        stream.unary::<CapacityContainerBuilder<Vec<Ranked>>, _, _, _>(
            Pipeline,
            "Rank",
            move |_, _| {
                move |input, output| {
                    input.for_each(|time, chunks| {
                        let ranked = chunks.drain(..).map(|chunk| (rank, chunk));
                        output.session(&time).give_iterator(ranked);
                    });
                }
            },
        )
    });
    let ranked = scope.concatenate(ranked.collect::<Vec<_>>());
    let context = Rc::clone(context);
    ranked.unary_frontier::<CapacityContainerBuilder<Vec<Chunk>>, _, _, _>(
        Pipeline,
        "Union",
        move |_, _| {
            let mut pending = BTreeMap::<u64, (Capability<u64>, ByLogChunk)>::new();
            move |(input, frontier), output| {
                input.for_each(|time, chunks| {
                    let epoch = *time.time();
                    let (capability, log_chunks) = pending
                        .entry(epoch)
                        .or_insert_with(|| (time.retain(0), ByLogChunk::new()));
                    let mut out = Vec::new();
                    for (rank, chunk) in chunks.drain(..) {
                        out.extend(arrive(log_chunks, expected, index, &merge, rank, chunk));
                    }
                    output.session(capability).give_iterator(out.into_iter());
                });
                // A batch that failed leaves log_chunks without all of their inputs.
                while let Some(first) = pending.first_entry()
                    && !frontier.less_equal(first.key())
                {
                    let epoch = *first.key();
                    let (capability, log_chunks) = first.remove();
                    debug_assert!(
                        // Branches that lead to no output may still run when the batch is over.
                        log_chunks.is_empty()
                            || context.failed(epoch)
                            || context.work(epoch).is_none(),
                        "every input hands over every chunk of the log"
                    );
                    let rest = log_chunks
                        .into_iter()
                        .map(|(number, inputs)| merged(number, inputs, index, &merge));
                    output.session(&capability).give_iterator(rest);
                }
            }
        },
    )
}

/// Takes in a chunk; gives back what is complete by it.
fn arrive(
    log_chunks: &mut ByLogChunk,
    expected: usize,
    index: usize,
    merge: &MergeFn,
    rank: u64,
    chunk: Chunk,
) -> Option<Chunk> {
    let number = match chunk.sequence {
        SequenceKey::Log(number) => number,
        of_batch @ SequenceKey::Batch(_) => {
            return Some(Chunk {
                sequence: of_batch.through_union(rank),
                ..chunk
            });
        }
    };
    let inputs = log_chunks.entry(number).or_default();
    let twice = inputs.insert(rank, chunk.data);
    assert!(
        twice.is_none(),
        "an input hands over a chunk of the log once"
    );
    if inputs.len() < expected {
        return None;
    }
    let inputs = log_chunks.remove(&number)?;
    Some(merged(number, inputs, index, merge))
}

fn merged(
    number: u64,
    inputs: BTreeMap<u64, Box<dyn ChunkData>>,
    index: usize,
    merge: &MergeFn,
) -> Chunk {
    Chunk {
        sequence: SequenceKey::Log(number),
        target: index,
        data: merge(inputs.into_values().collect()),
    }
}
