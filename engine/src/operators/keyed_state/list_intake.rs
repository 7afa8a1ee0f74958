//! Lists of values on their way to the states of their keys.

use crate::batch::chunk::{Chunk, open};
use crate::operators::pairs::first_touch::{BLOCK, Keyed};
use crate::operators::pairs::intake::{Intake, group_mut, is_worth_waiting};
use crate::operators::pairs::lists::{Arranged, ChunkLists, List, Lists, values_of};
use crate::record::{Key, State, Value};
use crate::state::table::slots::Stamp;
use crate::state::table::states::StateTable;

/// What a batch has brought so far for the keys of a state: lists of values, by key group.
#[derive(Debug)]
pub(crate) struct ListIntake<K, V> {
    /// Keys with the number of their values, not brought to the table yet.
    waiting: Intake<Keyed<K, u32>>,
    /// The values of all groups, also of keys that wait.
    lists: Vec<Lists<V>>,
    /// The next keys that are brought to the table, with their groups.
    block: Vec<(u32, Keyed<K, u32>)>,
}

impl<K: Key, V: Value> ListIntake<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Intake::default(),
            lists: Vec::new(),
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// What a batch that has failed has brought is dropped.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.lists.clear();
        self.block.clear();
    }

    /// Takes in a chunk of [`ChunkLists`].
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept.
    pub(crate) fn take_in<S: State, T: Stamp>(
        &mut self,
        table: &mut StateTable<K, List, S, T>,
        chunk: Chunk,
    ) -> Result<(), String> {
        let waits = is_worth_waiting(table.keys());
        // Keys get more during a batch, never fewer. So no item overtakes one that waits.
        assert!(waits || self.waiting.is_empty(), "items keep their order");
        for ChunkLists { keys, values } in open::<Vec<ChunkLists<K, V>>>(chunk.data) {
            let mut values = values.into_iter();
            for item in keys {
                let group = table.group(item.hash);
                let lists = group_mut(&mut self.lists, group);
                lists.extend(values_of(item.value, &mut values));
                match waits {
                    true => self.waiting.add(group, item),
                    false => self.block.push((group, item)),
                }
                if self.block.len() == BLOCK {
                    bring(table, &mut self.lists, &mut self.block)?;
                }
            }
        }
        bring(table, &mut self.lists, &mut self.block)?;
        match self.waiting.chunk_is_in() {
            true => self.bring(table),
            false => Ok(()),
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
    pub(crate) fn lists(&mut self, group: u32) -> Arranged<V> {
        let at = usize::try_from(group).expect("groups fit the address space");
        let lists = self.lists.get_mut(at).map(std::mem::take);
        lists.unwrap_or_default().arrange()
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
    let mut found = [None; BLOCK];
    for (found, (group, item)) in found.iter_mut().zip(&*block) {
        *found = table.guess(*group, item.hash);
    }
    for (found, (group, item)) in found.iter_mut().zip(&*block) {
        *found = found.filter(|guess| table.is_at(*group, *guess, &item.key));
    }
    for (found, (group, Keyed { hash, key, value })) in found.into_iter().zip(block.drain(..)) {
        let place = table.touch((group, found), (hash, &key), List::of_place)?;
        group_mut(lists, group).assign(List::of_place(place), value);
    }
    Ok(())
}
