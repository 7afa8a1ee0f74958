//! The manifest: what a checkpoint consists of. It is written last and makes the checkpoint exist.

use crate::error::{CheckpointError, Result};
use crate::format::{BLOCK_HEADER_LEN, FILE_HEADER_LEN, FORMAT_VERSION, MAX_MANIFEST_BYTES};
use crate::hex::{hex32, hex64, hex128};
use crate::store::names::{MAX_NUMBER, StateName, manifest_name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The bytes around the manifest, the same in every version. So every version can check the
/// checksum of any manifest before it reads which version wrote it.
const PREFIX: &[u8] = b"{\"checksum\":\"blake3:";
const MIDDLE: &[u8] = b"\",\"manifest\":";
const SUFFIX: &[u8] = b"}\n";
const CHECKSUM_LEN: usize = 64;

/// One checkpoint: what it was taken of, and where everything is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of this manifest and its state files.
    pub format_version: u32,
    /// Number of the checkpoint. They ascend by one; a number is published once.
    pub number: u64,
    /// The checkpoint before this one, usable or not, if there was one.
    pub previous: Option<u64>,
    /// The process that wrote it.
    #[serde(with = "hex64")]
    pub writer: u64,
    /// How many processes have written into this store, this one included.
    pub generation: u64,
    /// Which attempt at writing a checkpoint this was; the names of its state files carry it.
    #[serde(with = "hex64")]
    pub attempt: u64,
    /// The log that `lsn` is a position in.
    #[serde(with = "hex128")]
    pub log_id: u128,
    /// Name of the application.
    pub application: String,
    /// When the checkpoint was taken, in milliseconds since the Unix epoch. For people only.
    pub created_ms: u64,
    /// The last batch whose effects are in it.
    pub batch: Batch,
    /// Where replay begins: everything below is in the checkpoint.
    pub lsn: u64,
    /// The checkpoints whose files are named, ascending; this one is the last.
    pub chain: Vec<u64>,
    /// What the engine wants to remember: configuration, operators, source offsets, incomplete
    /// batches.
    pub metadata: serde_json::Value,
    /// The state files, in the order in which they were written. Those of earlier checkpoints are
    /// among them: what has not changed since is not written again.
    pub files: Vec<FileEntry>,
    /// The id of the next state that is new. Ids are not used again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub next_state_id: u32,
    /// The states.
    pub states: Vec<StateEntry>,
}

/// A batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Its id.
    pub id: u64,
    /// Its time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// A state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the store.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The hash of all its bytes, in hexadecimal.
    pub blake3: String,
}

/// A named state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateEntry {
    /// What its blocks call it. A state that is written anew gets a new one, so that its old blocks
    /// do not count any more.
    #[serde(default)]
    pub id: u32,
    /// Its name, unique in the checkpoint.
    pub name: String,
    /// What kind of state it is, in the engine's words.
    pub kind: String,
    /// How its entries are encoded, in the engine's words.
    pub codec: String,
    /// What its keys and values are, in the engine's words (type names).
    pub fingerprint: String,
    /// How many entries it has.
    pub entries: u64,
    /// In format 1, where its key groups are, ascending by key group. A group without entries may
    /// be missing. Since format 2 the index of each file says it:
    /// [`Checkpoint::groups`](crate::Checkpoint::groups) serves both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockEntry>,
}

/// The state of one key group, in format 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockEntry {
    /// The key group.
    pub key_group: u32,
    /// Whether this is all of it, or what has changed.
    pub kind: BlockKind,
    /// The state file: an index into [`Manifest::files`].
    pub file: u32,
    /// Where the block's header is in it, in bytes.
    pub offset: u64,
    /// Length of the payload after the header, in bytes.
    pub len: u64,
    /// How many entries it holds.
    pub entries: u64,
    /// Checksum of the block: place, header and payload.
    #[serde(with = "hex32")]
    pub crc32c: u32,
}

/// How a block relates to earlier checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// The whole key group.
    Base,
    /// What has changed since an earlier checkpoint. Format 1 has none.
    Delta,
}

impl Manifest {
    /// The bytes of the manifest file.
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] if it could not be read back (metadata nested too deeply, names
    /// not unique).
    pub fn encode(&self) -> Result<Vec<u8>> {
        let misuse = |what: String| CheckpointError::Misuse {
            number: self.number,
            what,
        };
        let inner = serde_json::to_string_pretty(self).map_err(|e| misuse(e.to_string()))?;
        let mut bytes = Vec::with_capacity(inner.len() + 128);
        bytes.extend_from_slice(PREFIX);
        bytes.extend_from_slice(blake3::hash(inner.as_bytes()).to_hex().as_bytes());
        bytes.extend_from_slice(MIDDLE);
        bytes.extend_from_slice(inner.as_bytes());
        bytes.extend_from_slice(SUFFIX);
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(misuse(format!(
                "its manifest would have {} bytes",
                bytes.len()
            )));
        }
        // Everything written can be read: no checkpoint is better than one that cannot be opened.
        match Self::decode(self.number, &bytes) {
            Ok(read) if read == *self => Ok(bytes),
            Ok(_) => Err(misuse(
                "its manifest would read back differently".to_owned(),
            )),
            Err(e) => Err(misuse(format!("its manifest could not be read back: {e}"))),
        }
    }

    /// Reads the bytes of the manifest file of checkpoint `number`, and checks them and their
    /// meaning.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`]; [`CheckpointError::NewerFormat`] if the checksum is right but
    /// a newer version wrote it.
    pub fn decode(number: u64, bytes: &[u8]) -> Result<Self> {
        let file = manifest_name(number);
        let damaged = |what: String| CheckpointError::damaged(&file, None, what);
        let inner = open_envelope(bytes).map_err(|what| damaged(what.to_owned()))?;
        let version: Version = serde_json::from_slice(inner)
            .map_err(|e| damaged(format!("the manifest has no format version: {e}")))?;
        if version.format_version > FORMAT_VERSION {
            let what = format!("it has format {}", version.format_version);
            return Err(CheckpointError::NewerFormat { file, what });
        }
        let mut manifest: Self = serde_json::from_slice(inner)
            .map_err(|e| damaged(format!("the manifest makes no sense: {e}")))?;
        if manifest.format_version == 1 {
            manifest.check_version_1(&file)?;
            for (id, state) in (0..).zip(&mut manifest.states) {
                state.id = id;
            }
        }
        manifest.check(number).map_err(damaged)?;
        Ok(manifest)
    }

    /// The state `name`.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<&StateEntry> {
        self.states.iter().find(|s| s.name == name)
    }

    /// Together, how many bytes the state files have, those of earlier checkpoints included.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, f| sum.saturating_add(f.size))
    }

    /// Refuses what format 1 reserves for incremental checkpoints.
    fn check_version_1(&self, file: &str) -> Result<()> {
        let mut blocks = self.states.iter().flat_map(|s| &s.blocks);
        if blocks.all(|b| b.kind == BlockKind::Base) && self.chain.len() == 1 {
            return Ok(());
        }
        let what = format!("it is incremental, on top of {:?}", self.chain);
        Err(CheckpointError::NewerFormat {
            file: file.to_owned(),
            what,
        })
    }

    fn check(&self, number: u64) -> Result<(), String> {
        if self.format_version == 0 {
            return Err("format version 0".to_owned());
        }
        if self.number != number || number == 0 || number > MAX_NUMBER {
            return Err(format!("it is the manifest of checkpoint {}", self.number));
        }
        self.check_files()?;
        let named = self.files.iter().map(|file| StateName::parse(&file.name));
        let mut named: BTreeSet<u64> = named.flatten().map(|name| name.number).collect();
        named.insert(number);
        if self.previous.is_some_and(|p| p >= number) || !named.iter().eq(&self.chain) {
            return Err(format!(
                "previous {:?}, chain {:?}",
                self.previous, self.chain
            ));
        }
        let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for state in &self.states {
            if state.name.is_empty() || !names.insert(state.name.as_str()) {
                return Err(format!(
                    "state {:?} occurs twice or has no name",
                    state.name
                ));
            }
            self.check_state(state, &mut ids)
                .map_err(|what| format!("state {:?}: {what}", state.name))?;
        }
        Ok(())
    }

    fn check_state(&self, state: &StateEntry, ids: &mut BTreeSet<u32>) -> Result<(), String> {
        if self.format_version == 1 {
            return self.check_blocks(state);
        }
        if !ids.insert(state.id) || state.id >= self.next_state_id {
            return Err(format!("its id {} is used twice or too high", state.id));
        }
        match state.blocks.is_empty() {
            true => Ok(()),
            false => Err("its blocks stand in the manifest".to_owned()),
        }
    }

    /// A manifest cannot point out of its place: each name is that of a state file. In format 1
    /// they follow from number and attempt; later ones are of this checkpoint or an earlier one.
    fn check_files(&self) -> Result<(), String> {
        let mut before = None;
        for (part, entry) in (0u32..).zip(&self.files) {
            let expected = StateName {
                number: self.number,
                attempt: self.attempt,
                part,
            };
            let parsed = StateName::parse(&entry.name);
            let found = parsed.filter(|name| {
                let own = name.number == self.number;
                let ascends = before < Some((name.number, name.part));
                let is_named_after_its_writer = !own || name.attempt == self.attempt;
                match self.format_version {
                    1 => *name == expected,
                    _ => name.number <= self.number && ascends && is_named_after_its_writer,
                }
            });
            let Some(name) = found else {
                return Err(format!(
                    "{:?} is listed where {expected} belongs, or an earlier one",
                    entry.name
                ));
            };
            before = Some((name.number, name.part));
            let hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
            if entry.blake3.len() != CHECKSUM_LEN || !entry.blake3.bytes().all(hex) {
                return Err(format!("{name} has no hash"));
            }
            if entry.size < FILE_HEADER_LEN {
                return Err(format!("{name} is listed with {} bytes", entry.size));
            }
        }
        Ok(())
    }

    fn check_blocks(&self, state: &StateEntry) -> Result<(), String> {
        let mut before = None;
        let mut entries = 0u64;
        for block in &state.blocks {
            let group = block.key_group;
            if before >= Some(group) {
                return Err(format!("key group {group} occurs twice or out of order"));
            }
            before = Some(group);
            entries = entries.saturating_add(block.entries);
            let file = usize::try_from(block.file)
                .ok()
                .and_then(|i| self.files.get(i));
            let size = file
                .map(|f| f.size)
                .ok_or(format!("key group {group}: no such file"))?;
            let end = block
                .offset
                .checked_add(BLOCK_HEADER_LEN)
                .and_then(|o| o.checked_add(block.len));
            if block.offset < FILE_HEADER_LEN || end.is_none_or(|end| end > size) {
                return Err(format!("key group {group} lies outside of its file"));
            }
        }
        if entries != state.entries {
            return Err(format!(
                "{} entries are announced, {entries} listed",
                state.entries
            ));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// The bytes of the manifest proper, if the checksum is theirs.
fn open_envelope(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let rest = bytes
        .strip_prefix(PREFIX)
        .ok_or("it does not begin as a manifest")?;
    let (checksum, rest) = rest
        .split_at_checked(CHECKSUM_LEN)
        .ok_or("it ends too soon")?;
    let rest = rest
        .strip_prefix(MIDDLE)
        .ok_or("it does not begin as a manifest")?;
    let inner = rest.strip_suffix(SUFFIX).ok_or("its end is missing")?;
    if blake3::hash(inner).to_hex().as_bytes() == checksum {
        Ok(inner)
    } else {
        Err("its checksum does not match")
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
