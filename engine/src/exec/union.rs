//! Several streams in one, in the order of the log.
//!
//! All inputs are made of the same pieces of the log, and what is made of one piece stays on the
//! worker that has it. So each worker waits until every input has handed over its records of a
//! piece, and merges them by their places.

use crate::batch::chunk::{Order, Parcel, ParcelData};
use crate::exec::shared::Shared;
use crate::exec::stream::Stream;
use crate::plan::node::MergeFn;
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Capability, Concatenate};

/// A parcel and the input through which it came.
type Ranked = (u64, Parcel);

/// What has come of one batch: by piece, by input.
type Pieces = BTreeMap<u64, BTreeMap<u64, Box<dyn ParcelData>>>;

/// Builds the operator. `expected` is the number of inputs that hand over something for every
/// piece.
pub(super) fn union<'s>(
    scope: Scope<'s, u64>,
    inputs: Vec<Stream<'s>>,
    expected: usize,
    shared: &Arc<Shared>,
    index: usize,
    merge: MergeFn,
) -> Stream<'s> {
    let ranked = inputs.into_iter().zip(0_u64..).map(|(stream, rank)| {
        stream.unary::<CapacityContainerBuilder<Vec<Ranked>>, _, _, _>(
            Pipeline,
            "Rank",
            move |_, _| {
                move |input, output| {
                    input.for_each(|time, parcels| {
                        let ranked = parcels.drain(..).map(|parcel| (rank, parcel));
                        output.session(&time).give_iterator(ranked);
                    });
                }
            },
        )
    });
    let ranked = scope.concatenate(ranked.collect::<Vec<_>>());
    let shared = Arc::clone(shared);
    ranked.unary_frontier::<CapacityContainerBuilder<Vec<Parcel>>, _, _, _>(
        Pipeline,
        "Union",
        move |_, _| {
            let mut pending = BTreeMap::<u64, (Capability<u64>, Pieces)>::new();
            move |(input, frontier), output| {
                input.for_each(|time, parcels| {
                    let epoch = *time.time();
                    let (capability, pieces) = pending
                        .entry(epoch)
                        .or_insert_with(|| (time.retain(0), Pieces::new()));
                    let mut out = Vec::new();
                    for (rank, parcel) in parcels.drain(..) {
                        out.extend(arrive(pieces, expected, index, &merge, rank, parcel));
                    }
                    output.session(capability).give_iterator(out.into_iter());
                });
                // A batch that failed leaves pieces without all of their inputs.
                while let Some(first) = pending.first_entry()
                    && !frontier.less_equal(first.key())
                {
                    let epoch = *first.key();
                    let (capability, pieces) = first.remove();
                    debug_assert!(
                        // Branches that lead to no output may still run when the batch is over.
                        pieces.is_empty() || shared.failed() || shared.work(epoch).is_none(),
                        "every input hands over every piece"
                    );
                    let rest = pieces
                        .into_iter()
                        .map(|(number, inputs)| merged(number, inputs, index, &merge));
                    output.session(&capability).give_iterator(rest);
                }
            }
        },
    )
}

/// Takes in a parcel; gives back what is complete by it.
fn arrive(
    pieces: &mut Pieces,
    expected: usize,
    index: usize,
    merge: &MergeFn,
    rank: u64,
    parcel: Parcel,
) -> Option<Parcel> {
    let number = match parcel.order {
        Order::Piece(number) => number,
        whole @ Order::Whole(_) => {
            return Some(Parcel {
                order: whole.through(rank),
                ..parcel
            });
        }
    };
    let inputs = pieces.entry(number).or_default();
    let twice = inputs.insert(rank, parcel.data);
    assert!(twice.is_none(), "an input hands over a piece once");
    if inputs.len() < expected {
        return None;
    }
    let inputs = pieces.remove(&number)?;
    Some(merged(number, inputs, index, merge))
}

fn merged(
    number: u64,
    inputs: BTreeMap<u64, Box<dyn ParcelData>>,
    index: usize,
    merge: &MergeFn,
) -> Parcel {
    Parcel {
        order: Order::Piece(number),
        target: index,
        data: merge(inputs.into_values().collect()),
    }
}
