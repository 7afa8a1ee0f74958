//! A checkpoint that is being written.

use crate::catalog::Catalog;
use crate::chains::{Chains, Placed, read_deltas, read_whole};
use crate::error::{CheckpointError, Result};
use crate::format::FORMAT_VERSION;
use crate::manifest::document::{BlockKind, Manifest, StateEntry};
use crate::merge::{self, Payload};
use crate::options::{Layout, Options};
use crate::state_file::block::{BlockInfo, PackedBlock, Packing};
use crate::store::names::StateName;
use crate::writing::compaction::{
    Budget, alive, files_to_empty, first_to_merge, is_overdue, kind_of,
};
use crate::writing::meta::{GroupBlock, Meta, Published, StateMeta};
use crate::writing::packer::Packer;
use crate::writing::publication::publish_manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A checkpoint that is being written; see [`Checkpoints::begin`](crate::Checkpoints::begin).
/// Dropping it abandons the attempt. A later [`Checkpoints::retire`](crate::Checkpoints::retire) or
/// [`Checkpoints::open`](crate::Checkpoints::open) removes what it has written.
#[derive(Debug)]
pub struct CheckpointWriter<'a> {
    catalog: &'a mut Catalog,
    manifest: Manifest,
    /// What the checkpoint has of its parent.
    parent: Option<(Arc<Manifest>, Chains)>,
    /// The states that are written anew.
    anew: BTreeSet<u32>,
    added: BTreeSet<(u32, u32)>,
    /// How many keys the states have, where that was said.
    keys: BTreeMap<u32, u64>,
    packer: Packer,
    layout: Layout,
}

impl<'a> CheckpointWriter<'a> {
    pub(crate) fn new(
        catalog: &'a mut Catalog,
        options: &Options,
        generation: u64,
        (number, attempt): (u64, u64),
        meta: Meta,
    ) -> Result<Self> {
        let parent = match meta.parent {
            Some(parent) => Some(catalog.to_continue(number, parent).inspect_err(|error| {
                if let Some(reason) = error.damage() {
                    catalog.mark_unusable(parent, reason);
                }
            })?),
            None => None,
        };
        let before = parent.as_ref().map(|(manifest, _)| &**manifest);
        let mut next_state_id = before.map_or(0, |manifest| manifest.next_state_id);
        let (states, anew) = states(meta.states, before, &mut next_state_id);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            number,
            previous: catalog.last_number(),
            writer: options.writer,
            generation,
            attempt,
            log_id: meta.log_id,
            application: meta.application,
            created_ms: meta.created_ms,
            batch: meta.batch,
            lsn: meta.lsn,
            chain: vec![number],
            metadata: meta.metadata,
            files: Vec::new(),
            next_state_id,
            states,
        };
        // Finds duplicate names and unreadable metadata before anything is written.
        manifest.encode()?;
        let parent = parent.map(|(before, chains)| {
            let mut chains = (*chains).clone();
            chains.retain_states(|id| manifest.states.iter().any(|state| state.id == id));
            (before, chains)
        });
        let name = StateName {
            number,
            attempt,
            part: 0,
        };
        Ok(Self {
            catalog,
            parent,
            anew,
            added: BTreeSet::new(),
            keys: BTreeMap::new(),
            packer: Packer::new(manifest.log_id, name, options.state_file_bytes),
            layout: options.layout,
            manifest,
        })
    }

    /// The number that the checkpoint will have.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.manifest.number
    }

    /// Adds all of the state of one key group. Key groups come in any order, each once; of a state
    /// that is written anew empty ones may be left out. When a state file is full it is written, so
    /// this may take a while.
    ///
    /// # Errors
    /// Those of [`Self::add`].
    pub fn add_block(
        &mut self,
        state: &str,
        key_group: u32,
        entries: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let block = GroupBlock {
            kind: BlockKind::Base,
            removed: 0,
            entries,
            bytes: bytes.to_vec(),
        };
        self.add(state, key_group, block)
    }

    /// Adds what the checkpoint says of one key group. Key groups come in any order, each at most
    /// once. What is not added is as the parent has it.
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] for a state that [`Meta::states`] lacks, a key group that was
    /// added before, or changes of a state that is written anew; [`CheckpointError::Io`], after
    /// which this writer is of no further use.
    pub fn add(&mut self, state: &str, key_group: u32, block: GroupBlock) -> Result<()> {
        if self.packer.failed() {
            return Err(self.misuse("one of its state files could not be written"));
        }
        let Some(StateEntry { id, .. }) = self.manifest.state(state) else {
            return Err(self.misuse(&format!("state {state:?} was not announced")));
        };
        let id = (*id, key_group);
        if block.kind == BlockKind::Delta && self.anew.contains(&id.0) {
            return Err(self.misuse(&format!(
                "state {state:?} is written anew, but of key group {key_group} there are only changes"
            )));
        }
        if !self.added.insert(id) {
            return Err(self.misuse(&format!(
                "state {state:?} has key group {key_group} already"
            )));
        }
        let block = self.packed(id, block)?;
        if let Some(block) = block {
            let store = Arc::clone(self.catalog.store());
            self.packer.add(&*store, block)?;
        }
        Ok(())
    }

    /// Says how many keys a state has. It need not be said of one that is written anew.
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] for a state that [`Meta::states`] lacks.
    pub fn set_keys(&mut self, state: &str, keys: u64) -> Result<()> {
        let Some(StateEntry { id, .. }) = self.manifest.state(state) else {
            return Err(self.misuse(&format!("state {state:?} was not announced")));
        };
        self.keys.insert(*id, keys);
        Ok(())
    }

    /// The block as it is stored; `None` if it says nothing.
    fn packed(&self, id: (u32, u32), block: GroupBlock) -> Result<Option<PackedBlock>> {
        let payload = Payload {
            removed: block.removed,
            entries: block.entries,
            bytes: block.bytes,
        };
        let is_known = self
            .parent
            .as_ref()
            .is_some_and(|(_, chains)| !chains.get(id).is_empty());
        let (payload, after) = match (block.kind, &self.parent) {
            (BlockKind::Delta, Some((parent, _))) if is_known => {
                if payload.removed == 0 && payload.entries == 0 {
                    return Ok(None);
                }
                (payload, Some(parent.number))
            }
            // The parent has nothing of it, so this is all of it.
            (BlockKind::Delta, _) => {
                let base = merge::base(Payload::default(), &[payload]);
                let base = base.map_err(|what| self.misuse(&what))?;
                if base.entries == 0 {
                    return Ok(None);
                }
                (base, None)
            }
            (BlockKind::Base, _) => (payload, None),
        };
        Ok(Some(PackedBlock::new(
            self.info(id, after),
            &payload,
            self.layout,
        )))
    }

    fn info(&self, (state, key_group): (u32, u32), after: Option<u64>) -> BlockInfo {
        BlockInfo {
            state,
            key_group,
            kind: match after {
                Some(_) => BlockKind::Delta,
                None => BlockKind::Base,
            },
            packing: Packing::Plain,
            after: after.unwrap_or(0),
            upto: self.manifest.number,
            len: 0,
            raw_len: 0,
            removed: 0,
            entries: 0,
        }
    }

    /// Puts blocks together that have become many, within bounds, writes what is left, and then the
    /// manifest. When this returns `Ok`, the checkpoint survives a power cut.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] if another writer has published this number: stop.
    /// [`CheckpointError::Damaged`] if blocks of the parent cannot be read: write all states anew.
    /// [`CheckpointError::Io`]: every earlier checkpoint is as it was; begin again, later.
    pub fn publish(mut self) -> Result<Published> {
        if self.packer.failed() {
            return Err(self.misuse("one of its state files could not be written"));
        }
        self.count_keys()?;
        let mut budget = Budget::for_new_bytes(self.packer.bytes());
        let packed = self.shorten_chains(&mut budget);
        let packed = packed.and_then(|()| self.empty_files(&mut budget));
        if let Err(error) = packed {
            self.parent_is_damaged(&error);
            return Err(error);
        }
        let store = Arc::clone(self.catalog.store());
        self.packer.write(&*store)?;
        let chains = self.chains_in_files()?;
        let Self {
            catalog,
            mut manifest,
            parent,
            packer,
            ..
        } = self;
        let needed: BTreeSet<String> = chains
            .iter()
            .flat_map(|(_, chain)| chain)
            .map(|placed| placed.file.to_string())
            .collect();
        let new_files = packer.into_files();
        let written: u64 = new_files.iter().map(|file| file.size).sum();
        let new_count = new_files.len();
        let older = parent.iter().flat_map(|(before, _)| &before.files);
        let older = older.filter(|file| needed.contains(&file.name)).cloned();
        manifest.files = older.chain(new_files).collect();
        let named = manifest.files.iter().map(|f| StateName::parse(&f.name));
        let named = named.flatten().map(|name| name.number);
        let named: BTreeSet<u64> = named.chain([manifest.number]).collect();
        manifest.chain = named.into_iter().collect();
        let len = publish_manifest(catalog, &manifest)?;
        let published = Published {
            number: manifest.number,
            lsn: manifest.lsn,
            bytes: written.saturating_add(len),
            files: new_count + 1,
            total_bytes: manifest.state_bytes().saturating_add(len),
            total_files: manifest.files.len() + 1,
        };
        catalog.published(manifest, chains);
        tracing::info!(
            number = published.number,
            lsn = published.lsn,
            bytes = published.bytes,
            total_bytes = published.total_bytes,
            "checkpoint published"
        );
        Ok(published)
    }

    /// Blocks of the parent could not be read: nothing builds upon it any more.
    fn parent_is_damaged(&mut self, error: &CheckpointError) {
        if let (Some(reason), Some((parent, _))) = (error.damage(), &self.parent) {
            self.catalog.mark_unusable(parent.number, reason);
        }
    }

    /// What each state has, and that it was said.
    fn count_keys(&mut self) -> Result<()> {
        let mut bases = BTreeMap::<u32, u64>::new();
        let waiting: Vec<Placed> = self.packer.waiting_places().collect();
        for placed in self.packer.placed().iter().chain(&waiting) {
            let info = placed.block.info;
            let sum = bases.entry(info.state).or_default();
            *sum = sum.saturating_add(info.entries);
        }
        let mut unsaid = None;
        for state in &mut self.manifest.states {
            let sum = bases.get(&state.id).copied().unwrap_or(0);
            match (self.keys.get(&state.id), self.anew.contains(&state.id)) {
                (Some(keys), false) => state.entries = *keys,
                (Some(keys), true) if *keys == sum => state.entries = sum,
                (None, true) => state.entries = sum,
                (Some(keys), true) => {
                    let name = &state.name;
                    unsaid = Some(format!("state {name:?} has {sum} entries, and not {keys}"));
                }
                (None, false) => {
                    let name = &state.name;
                    unsaid = Some(format!("how many keys state {name:?} has was not said"));
                }
            }
        }
        unsaid.map_or(Ok(()), |what| Err(self.misuse(&what)))
    }

    /// What the checkpoint will have, as far as that is known.
    fn planned(&self) -> Chains {
        let before = self.parent.as_ref().map(|(_, chains)| chains.clone());
        let mut all = before.unwrap_or_default();
        let waiting = self.packer.waiting_places();
        for placed in self.packer.placed().iter().copied().chain(waiting) {
            all.push(placed);
        }
        all
    }

    /// Puts blocks together where a chain has become long, or its deltas larger than its base: the
    /// longest first.
    fn shorten_chains(&mut self, budget: &mut Budget) -> Result<()> {
        if self.parent.is_none() {
            return Ok(());
        }
        let all = self.planned();
        let mut long: Vec<(usize, (u32, u32), usize)> = all
            .iter()
            .filter_map(|(id, chain)| Some((chain.len(), id, first_to_merge(chain)?)))
            .collect();
        long.sort_by_key(|(len, id, _)| (std::cmp::Reverse(*len), *id));
        for (_, id, first) in long {
            let chain = all.get(id);
            let part = chain.get(first..).unwrap_or_default();
            let cost = part.iter().map(Placed::cost).sum();
            if budget.take(cost, is_overdue(chain)) {
                let merged = self.merged(id, chain, first)?;
                let store = Arc::clone(self.catalog.store());
                self.packer.replace(&*store, merged)?;
            }
        }
        Ok(())
    }

    /// The blocks of a chain from number `first` on, as one.
    fn merged(&self, id: (u32, u32), chain: &[Placed], first: usize) -> Result<PackedBlock> {
        let (store, log_id) = (&**self.catalog.store(), self.manifest.log_id);
        let part = chain.get(first..).unwrap_or_default();
        // Where this checkpoint's own block is may have changed since the chain was planned: each
        // merge may fill a file.
        let own = |placed: &&Placed| placed.block.info.upto == self.manifest.number;
        let waiting = self.packer.waiting(id);
        let mut stored: Vec<Placed> = part.iter().filter(|p| !own(p)).copied().collect();
        if waiting.is_none() && part.iter().any(|p| own(&p)) {
            stored.extend(self.packer.written(id));
        }
        let newest = waiting.map(PackedBlock::unpack).transpose();
        let newest = newest.map_err(|what| self.misuse(&what))?;
        let damaged = |what: String| self.misuse(&what);
        let payload = match kind_of(chain, first) {
            BlockKind::Base => {
                let base = read_whole(store, log_id, &stored)?;
                let newest: Vec<Payload> = newest.into_iter().collect();
                merge::base(base.unwrap_or_default(), &newest).map_err(damaged)?
            }
            BlockKind::Delta => {
                let older = read_deltas(store, log_id, &stored)?;
                let all: Vec<Payload> = [older].into_iter().chain(newest).collect();
                merge::deltas(&all).map_err(damaged)?
            }
        };
        let after = match kind_of(chain, first) {
            BlockKind::Base => None,
            BlockKind::Delta => part.first().map(|placed| placed.block.info.after),
        };
        Ok(PackedBlock::new(
            self.info(id, after),
            &payload,
            self.layout,
        ))
    }

    /// Moves what still counts out of files that are mostly dead, or of the smallest if there are
    /// too many.
    fn empty_files(&mut self, budget: &mut Budget) -> Result<()> {
        let Some((before, _)) = &self.parent else {
            return Ok(());
        };
        let planned = self.planned();
        let alive = alive(planned.iter().map(|(_, chain)| chain));
        let before = Arc::clone(before);
        let store = Arc::clone(self.catalog.store());
        for (name, must) in files_to_empty(&before.files, &alive) {
            let Some(file) = alive.get(&name) else {
                continue;
            };
            if !budget.take(file.bytes, must) {
                continue;
            }
            for placed in &file.blocks {
                let block = placed.read(&*store, self.manifest.log_id)?;
                self.packer.add(&*store, block)?;
            }
        }
        Ok(())
    }

    /// The chains as a reader will find them.
    fn chains_in_files(&self) -> Result<Chains> {
        let before = self.parent.iter().flat_map(|(_, chains)| chains.iter());
        let before = before.flat_map(|(_, chain)| chain.iter().copied());
        let all = before.chain(self.packer.placed().iter().copied()).collect();
        let states = self.manifest.states.iter().map(|state| state.id).collect();
        Chains::choose(all, &states).map_err(|what| self.misuse(&what))
    }

    fn misuse(&self, what: &str) -> CheckpointError {
        CheckpointError::Misuse {
            number: self.manifest.number,
            what: what.to_owned(),
        }
    }
}

/// The states of a checkpoint on top of `before`, and the ids of those that are written anew.
fn states(
    announced: Vec<StateMeta>,
    before: Option<&Manifest>,
    next_id: &mut u32,
) -> (Vec<StateEntry>, BTreeSet<u32>) {
    let mut anew = BTreeSet::new();
    let states = announced.into_iter().map(|s| {
        let known = before.and_then(|manifest| manifest.state(&s.name));
        let id = known.filter(|_| !s.anew).map(|state| state.id);
        let id = id.unwrap_or_else(|| {
            anew.insert(*next_id);
            *next_id += 1;
            *next_id - 1
        });
        StateEntry {
            id,
            name: s.name,
            kind: s.kind,
            codec: s.codec,
            fingerprint: s.fingerprint,
            entries: 0,
            blocks: Vec::new(),
        }
    });
    (states.collect(), anew)
}
