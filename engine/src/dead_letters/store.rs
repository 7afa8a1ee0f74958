//! The store of dead letters: a log of its own in `dead-letters/log`, because letters outlive the
//! truncation of the engine's.

use crate::batch::Batch;
use crate::dead_letters::letter::{Letter, LetterId};
use crate::dead_letters::open_letters::{At, Header, LETTERS, Mark, OpenLetters, encode};
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::settings::Settings;
use highwater_wal::{Frame, Lsn, Wal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Letters of one frame have about so many bytes together, unless the first one has more.
const FRAME_BYTES: usize = 256 << 10;

/// What else is in a frame.
const FRAME_OVERHEAD: usize = 512;

/// The store, open.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    wal: Wal,
    open: OpenLetters,
    max_bytes: u64,
    faults: Faults,
}

/// Where the store of the engine's directory `dir` is.
pub(crate) fn place(dir: &Path) -> PathBuf {
    dir.join("dead-letters").join("log")
}

impl Store {
    /// Opens the store of a context, or creates it. Letters of batches above `committed` are void.
    pub(crate) fn open(settings: &Settings, committed: Option<u64>) -> Result<Self> {
        let dir = place(&settings.dir);
        let mut options = settings
            .log
            .clone()
            .disk(Arc::clone(&settings.disk))
            .clock(Arc::clone(&settings.clock))
            .max_bytes(u64::MAX); // its own bound is kept below
        if let Some(seed) = settings.seed {
            options = options.log_id_seed(!seed);
        }
        let wal = Wal::open_with(&dir, options)?;
        let mut open = OpenLetters::default();
        let mut frames = wal.read_from(wal.first_lsn())?;
        while let Some(frame) = frames.next_frame()? {
            note(&mut open, &dir, &frame)?;
        }
        drop(frames);
        let mut store = Self {
            dir,
            wal,
            open,
            max_bytes: settings.max_dead_letter_bytes,
            faults: settings.faults,
        };
        store.void_above(committed.unwrap_or(0))?;
        store.free()?;
        Ok(store)
    }

    /// Puts letters of `batch` aside; durable when this returns. If the batch runs again, what it
    /// has put aside before is void.
    pub(crate) fn put(&mut self, batch: &Batch, letters: &[Letter]) -> Result<()> {
        self.void_above(batch.id.saturating_sub(1))?;
        if letters.is_empty() {
            return Ok(());
        }
        let letters = letters.iter().map(Letter::encode);
        let letters: Vec<Vec<u8>> = letters.collect::<Result<_, _>>().map_err(|e| self.odd(e))?;
        let longest = self.wal.max_record_bytes().saturating_sub(FRAME_OVERHEAD);
        if let Some(letter) = letters.iter().find(|letter| letter.len() > longest) {
            return Err(self.odd(format!(
                "a record of {} bytes cannot be put aside: a frame of the log has room for {longest}. Set larger segments, or records, for the log",
                letter.len()
            )));
        }
        self.make_room(letters.iter().map(Vec::len).sum())?;
        let header = encode(&Header { batch: batch.id });
        let limit = FRAME_BYTES.min(self.wal.max_record_bytes() / 2);
        let mut rest = letters.as_slice();
        let mut last = Lsn::ZERO;
        while !rest.is_empty() {
            let mut bytes = 0_usize;
            let fits = rest.iter().take_while(|letter| {
                bytes = bytes.saturating_add(letter.len());
                bytes <= limit
            });
            let (frame, left) = rest.split_at(fits.count().clamp(1, rest.len()));
            let records = [header.as_slice()].into_iter();
            let records = records.chain(frame.iter().map(Vec::as_slice));
            let records: Vec<&[u8]> = records.collect();
            last = self.wal.append_batch_to(LETTERS, &records)?.first;
            self.noted(highwater_wal::FrameKind::Batch, last, &records)?;
            rest = left;
        }
        Ok(self.wal.sync_to(last)?)
    }

    /// Letters that were appended to the engine's log, in the frame at `lsn`, are not open any
    /// more; durable when this returns.
    pub(crate) fn replayed(&mut self, ids: &[LetterId], lsn: Lsn) -> Result<()> {
        if self.faults.forget_replays() {
            return Ok(());
        }
        let (mut rest, mut last) = (ids, None);
        let limit = FRAME_BYTES.min(self.wal.max_record_bytes() / 2);
        while !rest.is_empty() {
            // An identity has a name of 200 bytes at most, and a few numbers.
            let (some, left) = rest.split_at((limit / FRAME_OVERHEAD).clamp(1, rest.len()));
            let ids = some.to_vec();
            last = Some(self.mark(&Mark::Replayed { ids, lsn })?);
            rest = left;
        }
        match last {
            Some(last) => Ok(self.wal.sync_to(last)?),
            None => Ok(()),
        }
    }

    /// The open letters of which `wanted` is true, in order of their identity.
    pub(crate) fn wanted(
        &self,
        wanted: impl Fn(&LetterId, &StoredAt) -> bool,
    ) -> Vec<(LetterId, StoredAt)> {
        let letters = self.open.letters.iter();
        let letters = letters.map(|(id, at)| (id, StoredAt(*at)));
        let letters = letters.filter(|(id, at)| wanted(id, at));
        letters.map(|(id, at)| (id.clone(), at)).collect()
    }

    /// Whether a letter is open.
    pub(crate) fn is_open(&self, id: &LetterId) -> bool {
        self.open.letters.contains_key(id)
    }

    /// Closes it: nothing can be put aside any more.
    pub(crate) fn close(&self) -> Result<()> {
        Ok(self.wal.close()?)
    }

    /// How many letters are open.
    pub(crate) fn count(&self) -> usize {
        self.open.letters.len()
    }

    /// Where the store ends: letters that are put aside later are there or after it.
    pub(crate) fn end(&self) -> Lsn {
        self.wal.end_lsn()
    }

    /// The bytes of a letter.
    pub(crate) fn read(&self, StoredAt(at): StoredAt) -> Result<Vec<u8>> {
        let mut frames = self.wal.read_from(at.lsn)?;
        let frame = frames.next_frame()?;
        let record = frame.and_then(|frame| {
            let record = frame.records().nth(at.index)?;
            Some(record.bytes().to_vec())
        });
        record.ok_or_else(|| self.odd("a dead letter is not where it was put".to_owned()))
    }

    /// What of batches above this one was put aside is void. A batch of which letters are there has
    /// not been committed if it is to put letters aside.
    fn void_above(&mut self, above: u64) -> Result<()> {
        if self.open.newest.is_some_and(|newest| newest > above) {
            let lsn = self.mark(&Mark::Void { above })?;
            self.wal.sync_to(lsn)?;
        }
        Ok(())
    }

    fn mark(&mut self, mark: &Mark) -> Result<Lsn> {
        let bytes = encode(mark);
        let lsn = self.wal.append_control(LETTERS, &bytes)?;
        self.noted(highwater_wal::FrameKind::Control, lsn, &[&bytes])?;
        Ok(lsn)
    }

    fn noted(&mut self, kind: highwater_wal::FrameKind, lsn: Lsn, records: &[&[u8]]) -> Result<()> {
        let noted = self.open.note(kind, lsn, records.iter().copied());
        noted.map_err(|what| self.odd(what))
    }

    /// Frees what no open letter needs.
    fn free(&mut self) -> Result<()> {
        let needed = self.open.oldest().unwrap_or_else(|| self.wal.durable_lsn());
        if needed > self.wal.first_lsn() {
            self.wal.truncate_before(needed)?;
        }
        Ok(())
    }

    /// Room for so many bytes of letters, or an error that says what to do.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let used = |store: &Self| store.wal.end_lsn().bytes_since(store.wal.first_lsn());
        if used(self).saturating_add(bytes) <= self.max_bytes {
            return Ok(());
        }
        self.free()?;
        match used(self) {
            used if used.saturating_add(bytes) <= self.max_bytes => Ok(()),
            used => Err(Error::DeadLettersFull {
                open: self.open.letters.len(),
                used,
                bytes,
                max_dead_letter_bytes: self.max_bytes,
            }),
        }
    }

    fn odd(&self, what: String) -> Error {
        Error::EngineLog {
            dir: self.dir.clone(),
            lsn: self.wal.end_lsn(),
            what,
        }
    }
}

/// Where a letter is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredAt(At);

impl StoredAt {
    pub(crate) fn lsn(self) -> Lsn {
        self.0.lsn
    }
}

/// Takes in a frame of the store that is read.
fn note(open: &mut OpenLetters, dir: &Path, frame: &Frame<'_>) -> Result<()> {
    let noted = open.note(frame.kind, frame.lsn, frame.records().map(|r| r.bytes()));
    noted.map_err(|what| Error::EngineLog {
        dir: dir.to_owned(),
        lsn: frame.lsn,
        what,
    })
}
