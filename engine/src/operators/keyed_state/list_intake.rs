//! Lists of values on their way to the states of their keys.

use crate::batch::chunk::{Chunk, open};
use crate::operators::dstream::FusedFn;
use crate::operators::pairs::first_touch::Keyed;
use crate::operators::pairs::intake::{Intake, group_mut, is_worth_waiting};
use crate::operators::pairs::lists::{ChunkLists, List, Lists, values_of};
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, State, Value};
use crate::state::key_group::WorkerSlot;
use crate::state::table::slots::Stamp;
use crate::state::table::states::StateTable;
use std::sync::Arc;

/// So many keys are looked for together.
const BLOCK: usize = 64;

/// What a batch has brought so far for the keys of a state: lists of values, by key group.
pub(crate) struct ListIntake<K, V> {
    /// Keys with the number of their values, not brought to the table yet.
    waiting: Intake<Keyed<K, u32>>,
    /// The values of all groups, also of keys that wait.
    lists: Vec<Lists<V>>,
    /// The next keys that are brought to the table, with their groups.
    block: Vec<(u32, Keyed<K, u32>)>,
    operator: OperatorId,
    /// What makes pairs of the chunks that come, if nothing was exchanged.
    pairs: Option<FusedFn<(K, V)>>,
}

impl<K: Key, V: Value> ListIntake<K, V> {
    /// Of `operator`, whose input was [gathered](crate::DStream::gather) from `pairs`.
    pub(crate) fn new(operator: OperatorId, slot: &WorkerSlot, pairs: &FusedFn<(K, V)>) -> Self {
        Self {
            waiting: Intake::default(),
            lists: Vec::new(),
            block: Vec::with_capacity(BLOCK),
            operator,
            pairs: (slot.peers == 1).then(|| Arc::clone(pairs)),
        }
    }

    /// What a batch that has failed has brought is dropped.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.lists.clear();
        self.block.clear();
    }

    /// Takes in a chunk.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept.
    pub(crate) fn take_in<S: State, T: Stamp>(
        &mut self,
        ctx: &OperatorContext,
        table: &mut StateTable<K, List, S, T>,
        chunk: Chunk,
    ) -> Result<(), String> {
        let waits = is_worth_waiting(table.keys());
        // Keys get more during a batch, never fewer. So no item overtakes one that waits.
        assert!(waits || self.waiting.is_empty(), "items keep their order");
        match self.pairs.clone() {
            Some(pairs) => {
                let groups = table.key_groups();
                pairs(ctx, chunk.data, &mut |(key, value)| {
                    ctx.enter(self.operator);
                    let added = groups.hash(&key).map_err(|e| e.to_string());
                    let added = added.and_then(|hash| {
                        let item = Keyed {
                            hash,
                            key,
                            value: 1,
                        };
                        self.add(table, waits, item, std::iter::once(value))
                    });
                    if let Err(what) = added {
                        ctx.fail(what);
                    }
                });
                ctx.enter(self.operator);
            }
            None => {
                for ChunkLists { keys, values } in open::<Vec<ChunkLists<K, V>>>(chunk.data) {
                    let mut values = values.into_iter();
                    for item in keys {
                        let of_item = item.value;
                        self.add(table, waits, item, values_of(of_item, &mut values))?;
                    }
                }
            }
        }
        bring(table, &mut self.lists, &mut self.block)?;
        match self.waiting.chunk_is_in() {
            true => self.bring(table),
            false => Ok(()),
        }
    }

    /// Adds a key with its values.
    #[inline]
    fn add<S: State, T: Stamp>(
        &mut self,
        table: &mut StateTable<K, List, S, T>,
        waits: bool,
        item: Keyed<K, u32>,
        values: impl Iterator<Item = V>,
    ) -> Result<(), String> {
        let group = table.group(item.hash);
        group_mut(&mut self.lists, group).extend(values);
        if waits {
            self.waiting.add(group, item);
            return Ok(());
        }
        self.block.push((group, item));
        match self.block.len() {
            BLOCK => bring(table, &mut self.lists, &mut self.block),
            _ => Ok(()),
        }
    }

    /// Nothing more comes: brings the rest.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept.
    pub(crate) fn finish<S: State, T: Stamp>(
        &mut self,
        table: &mut StateTable<K, List, S, T>,
    ) -> Result<(), String> {
        self.bring(table)?;
        self.waiting.clear();
        Ok(())
    }

    /// Hands over the lists of a group.
    pub(crate) fn lists(&mut self, group: u32) -> Lists<V> {
        let at = usize::try_from(group).expect("groups fit the address space");
        let lists = self.lists.get_mut(at).map(std::mem::take);
        let mut lists = lists.unwrap_or_default();
        lists.arrange();
        lists
    }

    /// Brings all keys that wait to the table.
    fn bring<S: State, T: Stamp>(
        &mut self,
        table: &mut StateTable<K, List, S, T>,
    ) -> Result<(), String> {
        let (lists, block) = (&mut self.lists, &mut self.block);
        self.waiting.bring(|group, item| {
            block.push((group, item));
            match block.len() {
                BLOCK => bring(table, lists, block),
                _ => Ok(()),
            }
        })?;
        bring(table, lists, block)
    }
}

/// Brings a block of keys to the table. Their values are the next ones of their groups.
fn bring<K: Key, V: Value, S: State, T: Stamp>(
    table: &mut StateTable<K, List, S, T>,
    lists: &mut Vec<Lists<V>>,
    block: &mut Vec<(u32, Keyed<K, u32>)>,
) -> Result<(), String> {
    let mut guesses = [None; BLOCK];
    for (guess, (group, item)) in guesses.iter_mut().zip(&*block) {
        *guess = table.guess(*group, item.hash);
    }
    for (guess, (group, Keyed { hash, key, value })) in guesses.into_iter().zip(block.drain(..)) {
        let place = table.touch((group, guess), (hash, &key), List::of_place)?;
        group_mut(lists, group).assign(List::of_place(place), value);
    }
    Ok(())
}
