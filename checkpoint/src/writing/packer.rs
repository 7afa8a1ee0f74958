//! The blocks of a checkpoint that is being written, and the files that they are packed into.

use crate::chains::{GroupId, Placed};
use crate::error::{CheckpointError, Result};
use crate::manifest::document::FileEntry;
use crate::state_file::block::PackedBlock;
use crate::state_file::build::StateFile;
use crate::state_file::index::IndexEntry;
use crate::store::Store;
use crate::store::names::{MAX_PART, StateName};
use crate::writing::put::put_or_find;
use std::collections::BTreeMap;

/// In a file, blocks come by state, key group and age: the same content is the same bytes, whatever
/// order it came in.
type Order = (GroupId, u64, u64);

/// Packs blocks into files. Blocks wait in memory, until a file is full.
#[derive(Debug)]
pub(crate) struct Packer {
    log_id: u128,
    /// Of the next file.
    name: StateName,
    max_file_bytes: u64,
    waiting: BTreeMap<Order, PackedBlock>,
    waiting_bytes: u64,
    /// Bytes of all blocks.
    bytes: u64,
    files: Vec<FileEntry>,
    /// The blocks in these files.
    placed: Vec<Placed>,
    /// The newest of them of each key group.
    written: BTreeMap<GroupId, Placed>,
    /// A file could not be written: the checkpoint is incomplete for good.
    failed: bool,
}

impl Packer {
    pub(crate) fn new(log_id: u128, name: StateName, max_file_bytes: u64) -> Self {
        Self {
            log_id,
            name,
            max_file_bytes,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            bytes: 0,
            files: Vec::new(),
            placed: Vec::new(),
            written: BTreeMap::new(),
            failed: false,
        }
    }

    /// Whether a file could not be written.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// Bytes of all blocks that were added.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a block. When a file is full it is written.
    pub(crate) fn add(&mut self, store: &dyn Store, block: PackedBlock) -> Result<()> {
        let cost = block.info.len;
        let empty = StateFile::new(self.log_id, self.name);
        if self.waiting_bytes + empty.len_with(cost) > self.max_file_bytes
            && !self.waiting.is_empty()
        {
            self.write(store)?;
        }
        self.put(block);
        Ok(())
    }

    fn put(&mut self, block: PackedBlock) {
        let info = block.info;
        let order = ((info.state, info.key_group), info.upto, info.after);
        self.waiting_bytes += info.len;
        self.bytes += info.len;
        let before = self.waiting.insert(order, block);
        self.waiting_bytes -= before.map_or(0, |block| block.info.len);
    }

    /// The block of a key group that waits, if it has not been written yet.
    pub(crate) fn waiting(&self, id: GroupId) -> Option<&PackedBlock> {
        let all = (id, 0, 0)..=(id, u64::MAX, u64::MAX);
        self.waiting.range(all).next_back().map(|(_, block)| block)
    }

    /// The blocks that wait, as they will be: places are not known yet.
    pub(crate) fn waiting_places(&self) -> impl Iterator<Item = Placed> {
        let file = self.name;
        self.waiting.values().map(move |block| Placed {
            file,
            block: IndexEntry {
                info: block.info,
                offset: 0,
                crc32c: 0,
            },
            v1: None,
        })
    }

    /// Where the block of a key group was written, if it was.
    pub(crate) fn written(&self, id: GroupId) -> Option<Placed> {
        self.written.get(&id).copied()
    }

    /// Replaces what waits for a key group by `block`, which has it too.
    pub(crate) fn replace(&mut self, store: &dyn Store, block: PackedBlock) -> Result<()> {
        let id = (block.info.state, block.info.key_group);
        let all = (id, 0, 0)..=(id, u64::MAX, u64::MAX);
        let before: Vec<Order> = self.waiting.range(all).map(|(order, _)| *order).collect();
        for order in before {
            let len = self
                .waiting
                .remove(&order)
                .map_or(0, |block| block.info.len);
            self.waiting_bytes -= len;
        }
        self.add(store, block)
    }

    /// The blocks that are in files by now.
    pub(crate) fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// Makes a file of what waits, durable, and begins the next.
    pub(crate) fn write(&mut self, store: &dyn Store) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let name = self.name;
        if name.part >= MAX_PART {
            return Err(CheckpointError::Misuse {
                number: name.number,
                what: "too many state files; make them larger".to_owned(),
            });
        }
        let mut file = StateFile::new(self.log_id, name);
        for block in std::mem::take(&mut self.waiting).values() {
            file.push(block);
        }
        (self.waiting_bytes, self.failed) = (0, true);
        let (name, bytes, index) = file.finish();
        let text = name.to_string();
        put_or_find(store, &text, &bytes)
            .map_err(|e| CheckpointError::io("write", text.clone(), e))?;
        self.failed = false;
        self.name.part += 1;
        self.files.push(FileEntry {
            name: text,
            size: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        });
        let placed = index.into_iter().map(|block| Placed {
            file: name,
            block,
            v1: None,
        });
        for placed in placed {
            let info = placed.block.info;
            self.written.insert((info.state, info.key_group), placed);
            self.placed.push(placed);
        }
        Ok(())
    }

    /// The files that were written.
    pub(crate) fn into_files(self) -> Vec<FileEntry> {
        self.files
    }
}
