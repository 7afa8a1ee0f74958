//! The source that reads files where they are.

use super::cutting::{self, WINDOW};
use super::item::{Item, is_wanted};
use super::reading;
use crate::paths::resolve;
use bytes::Bytes;
use highwater_engine::wal::disk::{Access, Disk, DiskFile};
use highwater_engine::{
    Advance, AdvanceLimit, BoxError, OffsetContext, OffsetRange, ReadError, Source,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Files in the directory that were read, at most ...
const MAX_DONE_FILES: usize = 32_768;
/// ... and files that are read between two refreshes of the positions of those that are there. So
/// the position of a file that is there is never among those that are forgotten.
const REFRESH_FILES: usize = 8192;

const _: () = assert!(MAX_DONE_FILES + 2 * REFRESH_FILES <= OffsetContext::ITEMS);

/// Files in a directory.
pub(crate) struct FilesByOffset {
    dir: PathBuf,
    /// Why `dir` is not absolute.
    unresolved: Option<String>,
    context: OnceLock<OffsetContext>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest version of each file of which something was taken, by name.
    known: BTreeMap<String, Item>,
    /// Files that were begun since the last refresh.
    since_refresh: usize,
    /// Files whose positions are to be written again.
    refreshing: Vec<Item>,
}

impl FilesByOffset {
    /// Resolves `dir` now.
    pub(crate) fn new(dir: &Path) -> Self {
        let resolved = resolve(dir);
        Self {
            unresolved: resolved.as_ref().err().cloned(),
            dir: resolved.unwrap_or_else(|_| dir.to_owned()),
            context: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    fn path(&self, item: &Item) -> PathBuf {
        self.dir.join(&item.name)
    }

    /// The files that are there, in the order in which they are read.
    fn files(&self, source: &OffsetContext) -> Result<Vec<Item>, BoxError> {
        let mut files = Vec::new();
        for entry in source.disk().list(&self.dir)? {
            if !is_wanted(&entry) {
                continue;
            }
            match Item::of(&entry) {
                Some(item) => files.push(item),
                None => source.report_error(
                    &format!(
                        "{} is not read: its name is not UTF-8; rename it",
                        self.dir.join(&entry.name).display()
                    )
                    .into(),
                ),
            }
        }
        files.sort();
        Ok(files)
    }

    /// Ranges of one file that no batch has, as far as there is room. False if that is not all.
    fn ranges(
        &self,
        disk: &dyn Disk,
        item: &Item,
        position: u64,
        room: &mut Room,
    ) -> io::Result<bool> {
        let file = disk.open(&self.path(item), Access::Read)?;
        let now = file.len()?;
        if now != item.len {
            let was = item.len;
            return Err(io::Error::other(format!(
                "it is changing: it had {was} bytes and has {now}; it is looked at again later"
            )));
        }
        let mut from = position;
        if item.len == 0 && room.takes(0) {
            room.ranges.push(OffsetRange::new(item.encode(), 0, 0)); // it was read to its end
        }
        while from < item.len {
            if !room.takes(WINDOW as u64) {
                return Ok(false);
            }
            let piece = cutting::next(&*file, (from, item.len), room.records, &mut room.buffer)?;
            let range = OffsetRange::new(item.encode(), piece.from, piece.to);
            let range = range.identity(piece.identity()).records(piece.lines);
            room.ranges.push(range);
            room.records = room.records.saturating_sub(piece.lines);
            room.bytes = room.bytes.saturating_sub(piece.to - piece.from);
            from = piece.to;
        }
        Ok(true)
    }

    /// Warns if another version of the file was read before, and notes this one.
    fn begin(&self, source: &OffsetContext, state: &mut State, item: &Item) {
        let before = state.known.insert(item.name.clone(), item.clone());
        if let Some(before) = before.filter(|before| before != item) {
            source.read_again(&format!(
                "{} has changed since it was read (from {} bytes, changed at {} ms, to {} bytes, changed at {} ms). It counts as a \
                 new file and is read from its beginning; what was taken from it before stays and may count twice. Move \
                 files in when they are complete, and do not change them",
                self.path(item).display(),
                before.len,
                before.modified_ms,
                item.len,
                item.modified_ms
            ));
        }
        state.since_refresh += 1;
    }

    /// Reports files of which batches have a part, and that are gone, once in a run.
    fn report_vanished(&self, source: &OffsetContext, state: &mut State, files: &[Item]) {
        let there: BTreeSet<&str> = files.iter().map(|item| &*item.name).collect();
        state.known.retain(|name, item| {
            let stays = there.contains(&**name);
            let position = source.position(&item.encode()).unwrap_or(0);
            if !stays && position < item.len {
                source.vanished(&format!(
                    "{} is gone, and batches have it up to byte {position} of {}. If it comes back unchanged, reading goes on there",
                    self.path(item).display(),
                    item.len
                ));
            }
            stays
        });
    }

    /// Writes positions again, if it is time to: files that were read long ago and are still there
    /// must not be forgotten.
    fn refresh(
        &self,
        source: &OffsetContext,
        state: &mut State,
        (files, limit): (&[Item], &AdvanceLimit),
    ) -> Option<Advance> {
        if state.refreshing.is_empty() && state.since_refresh >= REFRESH_FILES {
            state.since_refresh = 0;
            state.refreshing = files.to_vec();
        }
        let ranges = state
            .refreshing
            .iter()
            .take(AdvanceLimit::RANGES)
            .map(|item| {
                let item = item.encode();
                let position = source.position(&item);
                OffsetRange::new(item, position.unwrap_or(0), position.unwrap_or(0))
            });
        let mut ranges: Vec<OffsetRange> = ranges.collect();
        ranges.truncate(limit.fits(&ranges));
        drop(state.refreshing.drain(..ranges.len()));
        ranges.retain(|range| range.to > 0); // nothing was taken of the others
        (!ranges.is_empty()).then(|| Advance::new(ranges).has_more(true))
    }
}

/// How much a batch may still have.
struct Room {
    bytes: u64,
    records: u64,
    ranges: Vec<OffsetRange>,
    buffer: Vec<u8>,
}

impl Room {
    /// Whether a range of so many bytes has room. The first one always has.
    fn takes(&self, bytes: u64) -> bool {
        let fits = bytes <= self.bytes && self.records > 0;
        self.ranges.len() < AdvanceLimit::RANGES && (fits || self.ranges.is_empty())
    }
}

impl Source for FilesByOffset {
    fn open(&self, source: &OffsetContext) -> Result<(), BoxError> {
        if let Some(why) = &self.unresolved {
            return Err(why.clone().into());
        }
        source.disk().list(&self.dir)?;
        let mut state = self.state.lock();
        for (item, position) in source.positions() {
            let Some(item) = Item::decode(&item).filter(|_| position > 0) else {
                continue;
            };
            let newest = state
                .known
                .entry(item.name.clone())
                .or_insert_with(|| item.clone());
            if newest.modified_ms < item.modified_ms {
                *newest = item;
            }
        }
        // When earlier runs did that is not known. It is early enough as long as there are few.
        state.since_refresh = source.positions().len().saturating_sub(MAX_DONE_FILES);
        drop(state);
        let _first = self.context.set(source.clone());
        Ok(())
    }

    fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError> {
        let files = self.files(source)?;
        let mut state = self.state.lock();
        if let Some(refreshed) = self.refresh(source, &mut state, (&files, limit)) {
            return Ok(refreshed);
        }
        self.report_vanished(source, &mut state, &files);
        let disk = source.disk();
        let mut room = Room {
            bytes: limit.bytes,
            records: limit.records.unwrap_or(u64::MAX),
            ranges: Vec::new(),
            buffer: Vec::new(),
        };
        let begun = |item: &&Item| source.position(&item.encode()).is_some();
        if files.iter().filter(begun).count() >= MAX_DONE_FILES {
            return Err(format!(
                "{} holds {MAX_DONE_FILES} files that were read, and the progress of no more than that can be remembered: move or \
                 delete some of them that a checkpoint covers; reading goes on then",
                self.dir.display()
            )
            .into());
        }
        let mut has_more = false;
        for item in &files {
            let position = source.position(&item.encode());
            if position == Some(item.len) {
                continue;
            }
            if !room.takes(0) || state.since_refresh >= REFRESH_FILES {
                has_more = true;
                break;
            }
            let before = room.ranges.len();
            match self.ranges(&*disk, item, position.unwrap_or(0), &mut room) {
                Ok(is_whole) => has_more |= !is_whole,
                Err(error) => {
                    let path = self.path(item);
                    source.report_error(&format!("{}: {error}", path.display()).into());
                }
            }
            if position.is_none() && room.ranges.len() > before {
                self.begin(source, &mut state, item);
            }
        }
        Ok(Advance::new(room.ranges).has_more(has_more))
    }

    fn read(&self, range: &OffsetRange, emit: &mut dyn FnMut(u64, Bytes)) -> Result<(), ReadError> {
        let Some(source) = self.context.get() else {
            return Err(ReadError::Unavailable("it was not opened".into()));
        };
        if range.from == range.to {
            return Ok(());
        }
        let of_range = |what: &str| ReadError::Gone(format!("{}: {what}", range.item).into());
        let item = Item::decode(&range.item).ok_or_else(|| of_range("it names no file"))?;
        let path = self.path(&item);
        let gone = |what: String| {
            ReadError::Gone(
                format!(
                    "{}: {what}. A file that is read where it is must stay as it is until a checkpoint covers it: put it back",
                    path.display()
                )
                .into(),
            )
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => gone("it is gone".to_owned()),
            io::ErrorKind::UnexpectedEof => gone(format!("it was cut short: {error}")),
            _ => ReadError::Unavailable(format!("{}: {error}", path.display()).into()),
        };
        let disk = source.disk();
        let file: Arc<dyn DiskFile> = disk.open(&path, Access::Read).map_err(failed)?;
        let len = usize::try_from(range.to - range.from).map_err(|_| of_range("it is too long"))?;
        if len > WINDOW {
            return Err(of_range("it is longer than a range can be"));
        }
        let mut bytes = vec![0; len];
        cutting::read_exact(&*file, &mut bytes, range.from).map_err(failed)?;
        let begins = cutting::check(&range.identity, &bytes).ok_or_else(|| {
            let (from, to) = (range.from, range.to);
            gone(format!("the bytes from {from} to {to} have changed"))
        })?;
        let mut skip = |at: u64, why: String| {
            source.skip(&format!("line at byte {at} of {}: {why}", path.display()));
        };
        reading::lines(&Bytes::from(bytes), (range.from, begins), emit, &mut skip);
        Ok(())
    }
}
