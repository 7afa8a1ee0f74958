//! `window`: the records of several batches, one by one.
//!
//! What a partition of a batch has is kept as one entry that is never changed, under the number of
//! the batch and the place of the partition in it. So entries are spread over key groups and move
//! with them, a checkpoint writes each once, and their keys are the order in which they come out.

use crate::batch::chunk::{Chunk, SequenceKey, open};
use crate::operators::dstream::{DStream, FusedFn};
use crate::operators::pairs::exchange::send_by_key;
use crate::operators::pairs::first_touch::Keyed;
use crate::operators::partitions::parts_of;
use crate::operators::windows::kept::{Declared, Place, check};
use crate::operators::windows::shared::Shared;
use crate::operators::windows::span::{Ending, Span};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, LocalFn};
use crate::plan::operator_context::OperatorContext;
use crate::record::Value;
use crate::state::access::StateGuard;
use crate::state::table::states::{KeptState, StateTable};
use crate::state::table::visits::visit::Visited;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The place of an entry: the number of its batch, and the place of its partition in the batch.
type PlaceInLog = (u64, Vec<u64>);

/// The place of a partition in a batch, as numbers that sort in the same way.
fn numbers(partition: SequenceKey) -> Vec<u64> {
    match partition.of_part() {
        SequenceKey::Log(number) => vec![number],
        SequenceKey::Batch(path) => path,
    }
}

/// The records of a partition.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Value", deserialize = "T: Value"))]
struct Entry<T> {
    /// The end of the pane in which they came.
    pane: u64,
    records: Shared<T>,
}

/// `window` after the exchange.
struct Window<T: Value> {
    operator: OperatorId,
    span: Span,
    table: StateTable<PlaceInLog, Vec<T>, Entry<T>>,
}

/// Adds the nodes of a window of `stream`.
pub(crate) fn window<T: Value>(stream: &DStream<T>, declared: Declared<'_>) -> NodeId {
    let Declared { operator, span, .. } = declared;
    let input = stream.local(by_place(operator, Arc::clone(&stream.fused)));
    let type_name = std::any::type_name::<T>();
    declared.node(&stream.graph, input, type_name, move |table| {
        Box::new(Window::<T> {
            operator,
            span,
            table,
        })
    })
}

/// The map side: what a chunk has of each partition goes to the worker that owns its entry.
fn by_place<T: Value>(operator: OperatorId, fused: FusedFn<T>) -> LocalFn {
    Arc::new(move |slot, ctx, chunk, out| {
        let sequence = chunk.sequence.clone();
        for (partition, value) in parts_of(&fused, ctx, chunk) {
            if value.is_empty() {
                continue;
            }
            ctx.enter(operator);
            let key: PlaceInLog = (ctx.batch().id, numbers(partition));
            match slot.groups.hash(&key) {
                Ok(hash) => send_by_key(slot, &sequence, vec![Keyed { hash, key, value }], out),
                Err(error) => ctx.refuse(error.to_string()),
            }
        }
    })
}

/// A window ends: emits an entry that is in it, and removes one that is in no later window.
fn close<T: Value>(
    key: &PlaceInLog,
    state: &mut StateGuard<Entry<T>>,
    ending: Ending,
    out: &mut Vec<Chunk>,
) {
    // The clock may have been set back.
    if state.get().is_some_and(|entry| entry.pane > ending.at_ms)
        && let Some(entry) = state.get_mut()
    {
        entry.pane = ending.at_ms;
    }
    let Some(entry) = state.get() else { return };
    if entry.pane > ending.outside_ms {
        let place = [key.0].into_iter().chain(key.1.iter().copied());
        let sequence = SequenceKey::Batch(place.collect());
        out.push(Chunk::new(sequence, 0, entry.records.to_vec()));
    }
    if entry.pane <= ending.outside_next_ms {
        state.remove();
    }
}

impl<T: Value> BatchOperator for Window<T> {
    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if Place::of(ctx, self.span).is_in_a_window {
            for Keyed { hash, key, value } in open::<Vec<Keyed<PlaceInLog, Vec<T>>>>(chunk.data) {
                let group = self.table.group(hash);
                let merge = |before: &mut Vec<T>, more| before.extend(more);
                let at = (group, None);
                if let Err(what) = self.table.bring(at, (hash, &key, value), merge) {
                    ctx.refuse(what);
                }
            }
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let Place { pane, ending, .. } = Place::of(ctx, self.span);
        let now = ctx.batch().time_ms;
        self.table.visit(now, |visiting, _, group| {
            let mut visit = |key: &PlaceInLog, value: Option<Vec<T>>, state: &mut StateGuard<_>| {
                if let Some(records) = value {
                    let records = Shared::new(records);
                    state.update(Entry { pane, records });
                }
                if let Some(ending) = ending {
                    close(key, state, ending, out);
                }
            };
            let mut after = |visited: Visited<'_, PlaceInLog, Entry<T>>| {
                if let Some(entry) = visited.state.filter(|_| visited.changed) {
                    check(ctx, visited.key, entry.records.check());
                }
            };
            match ending {
                Some(_) => group.visit_every(visiting, &mut visit, &mut after),
                None => group.visit_touched(visiting, &mut visit, &mut after),
            }
        });
    }

    fn state(&mut self) -> Option<&mut dyn KeptState> {
        Some(&mut self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_places_do() {
        let mut places = vec![
            SequenceKey::batch(3).through_union(1),
            SequenceKey::Log(300),
            SequenceKey::batch(0),
            SequenceKey::Log(2),
            SequenceKey::batch(7),
            SequenceKey::batch(9).through_union(0),
        ];
        let mut by_numbers = places.clone();
        places.sort();
        by_numbers.sort_by_key(|place| numbers(place.clone()));
        assert_eq!(places, by_numbers);
    }
}
