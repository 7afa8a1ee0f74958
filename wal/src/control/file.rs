//! The control file `LOG`: the identity of the log, where it starts, how far it was durable, and
//! what its marks say. And `LOCK`, which names the holder of the lock.

use crate::control::features::Features;
use crate::error::{Finding, Result, WalError};
use crate::facade::tracing;
use crate::format::layout::{
    FORMAT_VERSION, LOCK_NAME, MAX_META_SIZE, META_NAME, META_SIZE, META_TMP_NAME,
    SEGMENT_HEADER_SIZE, to_usize,
};
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crc32c::crc32c;
use highwater_disk::{Access, Disk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The contents of `LOG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlFile {
    pub(crate) log_id: u128,
    /// Base of the oldest segment that counts: everything below is truncated.
    pub(crate) first_lsn: u64,
    /// Everything below was durable when the file was written. This proof is apart from the frames,
    /// so that damage to the very last ones is not taken for a torn write.
    pub(crate) attested_lsn: u64,
    /// How far after the end of the log, in bytes, the process that has it open may have left
    /// frames that were never acknowledged; 0 if anywhere.
    pub(crate) reach: u64,
    /// Whether the log was closed: then a close frame ends at `attested_lsn`.
    pub(crate) end: LogEnd,
    /// What a version must know to open the log.
    pub(crate) features: Features,
    /// The log's time when the file was written, in milliseconds since the Unix epoch; 0 if it has
    /// none.
    pub(crate) time_ms: u64,
    /// What all marks below `attested_lsn` say. A later one may be in it, if it is durable.
    pub(crate) marks: Marks,
}

/// How the log was left, according to `LOG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogEnd {
    #[default]
    Open,
    Closed,
}

impl LogEnd {
    /// The usual case is not written out.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde wants"
    )]
    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format_version: u32,
    log_id: String,
    first_lsn: u64,
    attested_lsn: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    reach_bytes: u64,
    #[serde(default, skip_serializing_if = "LogEnd::is_open")]
    end: LogEnd,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    time_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voids: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cursors: BTreeMap<String, u64>,
    /// CRC-32C of the fields above, as [`Self::expected_checksum`] writes them, in hexadecimal.
    checksum: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The one field that every version has.
#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

impl OnDisk {
    fn expected_checksum(&self) -> String {
        let Self {
            format_version,
            log_id,
            first_lsn,
            attested_lsn,
            reach_bytes,
            end,
            features,
            time_ms,
            voids,
            cursors,
            checksum: _,
        } = self;
        let mut fields = format!("{format_version}:{log_id}:{first_lsn}:{attested_lsn}");
        if *reach_bytes != 0 {
            fields.push_str(&format!(":{reach_bytes}"));
        }
        if *end == LogEnd::Closed {
            fields.push_str(":closed");
        }
        if *format_version > 1 {
            let added = serde_json::to_string(&(features, time_ms, voids, cursors));
            fields.push(':');
            fields.push_str(&added.expect("numbers and strings are JSON"));
        }
        format!("{:08x}", crc32c(fields.as_bytes()))
    }
}

/// An identity for a new log: random, unless a seed is given.
pub(crate) fn fresh_log_id(seed: Option<u64>) -> u128 {
    let half = |salt: u64| match seed {
        Some(seed) => seed.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        // The standard library's hash keys come from the operating system's random source.
        None => RandomState::new().hash_one(salt),
    };
    (u128::from(half(1)) << 64) | u128::from(half(2))
}

impl ControlFile {
    /// Padded with spaces to a size that seldom changes, so that replacing it needs no space beyond
    /// the prepared file.
    fn encode(&self) -> Vec<u8> {
        let Marks { voids, cursors } = &self.marks;
        let mut on_disk = OnDisk {
            format_version: match self.features.is_empty() {
                true => 1,
                false => FORMAT_VERSION,
            },
            log_id: format!("{:032x}", self.log_id),
            first_lsn: self.first_lsn,
            attested_lsn: self.attested_lsn,
            reach_bytes: self.reach,
            end: self.end,
            features: self.features.names(),
            time_ms: self.time_ms,
            voids: voids.iter().map(|(a, b)| (a.get(), b.get())).collect(),
            cursors: cursors
                .iter()
                .map(|(name, position)| (name.to_string(), *position))
                .collect(),
            checksum: String::new(),
        };
        on_disk.checksum = on_disk.expected_checksum();
        let mut bytes = serde_json::to_vec(&on_disk).expect("numbers and strings are JSON");
        let size = (bytes.len() + 1).next_multiple_of(META_SIZE);
        bytes.resize(size - 1, b' ');
        bytes.push(b'\n');
        bytes
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |what: String| WalError::Corrupt {
            finding: Finding::DamagedControlFile,
            file: path.to_owned(),
            offset: 0,
            lsn: Lsn::ZERO,
            what: format!("{what}; restore the file from a backup"),
        };
        let unparsed = |error: serde_json::Error| {
            damaged(match bytes {
                [] => "LOG is empty".to_owned(),
                _ => format!("LOG is not the JSON it should be ({error})"),
            })
        };
        let version: VersionOnly = serde_json::from_slice(bytes).map_err(unparsed)?;
        if version.format_version > FORMAT_VERSION {
            return Err(WalError::NewerFormat {
                file: path.to_owned(),
                found: version.format_version,
                supported: FORMAT_VERSION,
            });
        }
        let on_disk: OnDisk = serde_json::from_slice(bytes).map_err(unparsed)?;
        let expected = on_disk.expected_checksum();
        if on_disk.checksum != expected || on_disk.format_version == 0 {
            return Err(damaged(format!(
                "its checksum {} is not {expected}",
                on_disk.checksum
            )));
        }
        let log_id = u128::from_str_radix(&on_disk.log_id, 16)
            .map_err(|e| damaged(format!("log_id: {e}")))?;
        let features =
            Features::of_names(&on_disk.features).map_err(|name| WalError::Corrupt {
                finding: Finding::UnknownFeature,
                file: path.to_owned(),
                offset: 0,
                lsn: Lsn::ZERO,
                what: format!(
                    "the log uses the feature `{name}`, which this version does not know; use the one that wrote the log"
                ),
            })?;
        let mut marks = Marks::default();
        for (from, to) in on_disk.voids {
            Arc::make_mut(&mut marks.voids).add(from, to);
        }
        let cursors = on_disk.cursors.into_iter();
        marks.cursors = cursors.map(|(name, at)| (Arc::from(name), at)).collect();
        Ok(Self {
            log_id,
            first_lsn: on_disk.first_lsn,
            attested_lsn: on_disk.attested_lsn,
            reach: on_disk.reach_bytes,
            end: on_disk.end,
            features,
            time_ms: on_disk.time_ms,
            marks,
        })
    }

    /// Reads `LOG`; `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(META_NAME);
        let file = match disk.open(&path, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(WalError::io("opening", &path, e)),
        };
        let reading = |e| WalError::io("reading", &path, e);
        let len = file.len().map_err(reading)?.min(MAX_META_SIZE as u64);
        let mut bytes = vec![0; to_usize(len)];
        let len = file.read_up_to(&mut bytes, 0).map_err(reading)?;
        bytes.truncate(len);
        Self::decode(&bytes, &path).map(Some)
    }

    /// Replaces `LOG` atomically and durably. Uses the prepared file if there is one, so works on a
    /// full disk.
    pub(crate) fn replace(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let (path, tmp) = (dir.join(META_NAME), dir.join(META_TMP_NAME));
        let file = match disk.open(&tmp, Access::ReadWrite) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk
                .create_new(&tmp)
                .map_err(|e| WalError::io("creating", &tmp, e))?,
            Err(e) => return Err(WalError::io("opening", &tmp, e)),
        };
        let bytes = self.encode();
        let resized = file.len().and_then(|len| {
            if len > bytes.len() as u64 {
                file.set_len(bytes.len() as u64)
            } else {
                Ok(())
            }
        });
        resized
            .and_then(|()| file.write_all_at(&bytes, 0))
            .map_err(|e| WalError::io("writing", &tmp, e))?;
        file.sync().map_err(|e| WalError::io("syncing", &tmp, e))?;
        disk.rename(&tmp, &path)
            .map_err(|e| WalError::io("renaming to", &path, e))?;
        disk.sync_dir(dir)
            .map_err(|e| WalError::io("syncing the directory", dir, e))
    }
}

/// Prepares the file that the next [`ControlFile::replace`] will use, with as many bytes as
/// `contents` take. Without it a full disk delays truncation, nothing else.
pub(crate) fn prepare_spare(disk: &dyn Disk, dir: &Path, contents: &ControlFile) {
    let tmp = dir.join(META_TMP_NAME);
    let made = match disk.create_new(&tmp) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return,
        Err(e) => Err(e),
        Ok(file) => file
            .write_all_at(&vec![b' '; contents.encode().len()], 0)
            .and_then(|()| file.sync()),
    };
    if let Err(error) = made {
        tracing::debug!(path = %tmp.display(), %error, "no spare for LOG: truncating a full disk may fail");
        // A half-made spare is useless; it is made again after the next use.
        let _ = disk.remove_file(&tmp);
    }
}

/// Writes our pid for the message that a second opener gets. Only a message: failing to write it
/// changes nothing.
pub(crate) fn write_holder(disk: &dyn Disk, dir: &Path) {
    let path = dir.join(LOCK_NAME);
    let pid = format!("{}\n", std::process::id());
    let written = disk
        .open(&path, Access::ReadWrite)
        .or_else(|_| disk.create_new(&path))
        .and_then(|file| {
            file.set_len(0)?;
            file.write_all_at(pid.as_bytes(), 0)
        });
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), %error, "the holder's pid could not be written");
    }
}

/// The pid in `LOCK`, if it can be read.
pub(crate) fn read_holder(disk: &dyn Disk, dir: &Path) -> Option<u32> {
    let file = disk.open(&dir.join(LOCK_NAME), Access::Read).ok()?;
    let mut bytes = [0; 16];
    let len = file.read_up_to(&mut bytes, 0).ok()?;
    std::str::from_utf8(bytes.get(..len)?)
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Where the first frame of a segment starts: after the header.
pub(crate) fn first_frame(base: u64) -> u64 {
    base + SEGMENT_HEADER_SIZE
}

/// The path of `LOG`.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(META_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::features::Feature;
    use crate::format::layout::{MAX_CURSOR_NAME, MAX_CURSORS, MAX_VOIDS};
    use crate::format::mark::Mark;

    fn contents() -> ControlFile {
        ControlFile {
            log_id: 77,
            first_lsn: 12_345,
            attested_lsn: 99_999,
            reach: 4_096,
            end: LogEnd::Closed,
            features: Features::default(),
            time_ms: 0,
            marks: Marks::default(),
        }
    }

    fn with_marks() -> ControlFile {
        let mut contents = contents();
        contents.features = contents.features.with(Feature::Void);
        contents.features = contents.features.with(Feature::Cursors);
        contents.features = contents.features.with(Feature::Time);
        contents.time_ms = 1_800_000_000_000;
        contents.marks.apply(&Mark::Void {
            from: 20_000,
            to: 30_000,
        });
        contents.marks.apply(&Mark::Cursor {
            name: Arc::from("a \"name\": {1}"),
            position: Some(40_000),
        });
        contents
    }

    /// F33: no byte of `LOG` can change its meaning unnoticed.
    #[test]
    fn damage_is_noticed() {
        let path = Path::new("LOG");
        for contents in [contents(), with_marks()] {
            let good = contents.encode();
            assert_eq!(ControlFile::decode(&good, path).unwrap(), contents);
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = ControlFile::decode(&bytes, path) {
                    assert_eq!(read, contents, "bit {bit}");
                }
            }
        }
    }

    /// A version that does not know a feature must not read the log as if it had it not.
    #[test]
    fn a_log_is_of_version_2_once_it_has_a_feature() {
        let version = |contents: &ControlFile| {
            let read: VersionOnly = serde_json::from_slice(&contents.encode()).unwrap();
            read.format_version
        };
        assert_eq!((version(&contents()), version(&with_marks())), (1, 2));
    }

    #[test]
    fn an_unknown_feature_is_refused() {
        let mut on_disk: OnDisk = serde_json::from_slice(&with_marks().encode()).unwrap();
        on_disk.features.push("telepathy".to_owned());
        on_disk.checksum = on_disk.expected_checksum();
        let bytes = serde_json::to_vec(&on_disk).unwrap();
        let error = ControlFile::decode(&bytes, Path::new("LOG")).unwrap_err();
        assert!(error.to_string().contains("`telepathy`"), "{error}");
    }

    /// The most that there can be fits.
    #[test]
    fn the_largest_control_file_is_within_its_bound() {
        let mut contents = with_marks();
        for n in 0..MAX_VOIDS as u64 {
            let from = u64::MAX - 3 * n - 2;
            contents.marks.apply(&Mark::Void { from, to: from + 1 });
        }
        for n in 0..MAX_CURSORS {
            let name = format!("{n:x>width$}", width = MAX_CURSOR_NAME).replace('x', "\"");
            contents.marks.apply(&Mark::Cursor {
                name: Arc::from(name),
                position: Some(u64::MAX - 1),
            });
        }
        let bytes = contents.encode();
        assert!(bytes.len() <= MAX_META_SIZE, "{} bytes", bytes.len());
        assert_eq!(
            ControlFile::decode(&bytes, Path::new("LOG")).unwrap(),
            contents
        );
    }
}
