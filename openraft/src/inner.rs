//! What store and readers share: the log, and what is known of it.

use crate::current::{Current, Place};
use crate::error::StoreError;
use crate::record::{ENTRIES, STATE, State, decode, encode};
use highwater_wal::{Lsn, Reader, Wal};
use openraft::{LogId, RaftLogId, RaftTypeConfig};
use parking_lot::Mutex;
use std::sync::Arc;

/// An open log and what is known of it.
#[derive(Debug)]
pub(crate) struct Inner<C: RaftTypeConfig> {
    pub(crate) wal: Arc<Wal>,
    pub(crate) current: Mutex<Current<C::NodeId>>,
    /// So many bytes of entries wait at most in memory until they are durable.
    pub(crate) max_pending: usize,
    /// So many bytes of entries are read at most for one message.
    pub(crate) max_read: usize,
}

impl<C: RaftTypeConfig> Inner<C> {
    /// Appends entries. Tells where the last one is; it is not durable yet.
    pub(crate) async fn append(
        &self,
        entries: impl Iterator<Item = C::Entry>,
    ) -> Result<Option<Lsn>, StoreError> {
        let mut newest = None;
        for entry in entries {
            let id = entry.get_log_id().clone();
            if self.current.lock().is_purged(id.index) {
                continue;
            }
            let bytes: Arc<[u8]> = encode(&entry)?.into();
            self.current.lock().check_next(id.index)?;
            while let Some(oldest) = self.in_the_way(bytes.len()) {
                self.wal.durable(oldest).await?;
            }
            let lsn = self.wal.append_async(Arc::clone(&bytes)).await?;
            self.current.lock().push(id, lsn, bytes);
            newest = Some(lsn);
        }
        Ok(newest)
    }

    fn in_the_way(&self, more: usize) -> Option<Lsn> {
        let mut current = self.current.lock();
        current.pending.drop_below(self.wal.durable_lsn());
        current.pending.in_the_way(more, self.max_pending)
    }

    /// Writes the state anew. Tells where it is; it is not durable yet.
    pub(crate) fn write_state(
        &self,
        change: impl FnOnce(&mut State<C::NodeId>),
    ) -> Result<Lsn, StoreError> {
        let mut state = self.current.lock().state.clone();
        change(&mut state);
        // It may use the reserve of a log with a bound: what frees space must go on.
        let lsn = self.wal.append_control(STATE, encode(&state)?)?;
        self.current.lock().state = state;
        Ok(lsn)
    }

    /// The entries from `start` on to before `end`, as far as there are such, of at most so many
    /// bytes; one at least.
    pub(crate) fn read(
        &self,
        start: u64,
        end: u64,
        most_bytes: usize,
    ) -> Result<Vec<C::Entry>, StoreError> {
        loop {
            let (changes, places, reader) = self.find(start, end)?;
            let read = decode_all(&places, reader, most_bytes);
            // What was taken away meanwhile may be gone, or be other entries by now.
            if self.current.lock().changes == changes {
                return read;
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "it has one caller")]
    fn find(
        &self,
        start: u64,
        end: u64,
    ) -> Result<(u64, Vec<(u64, Place)>, Option<Reader>), StoreError> {
        let mut current = self.current.lock();
        let places = current.places(start, end, self.wal.durable_lsn());
        let first = match places.first() {
            Some((_, Place::Log(lsn))) => Some(*lsn),
            _ => None,
        };
        // From now on it keeps what it is to read.
        let reader = first.map(|lsn| self.wal.read_from(lsn)).transpose()?;
        Ok((current.changes, places, reader))
    }

    /// The log id of the entry at `index`.
    pub(crate) fn log_id_at(&self, index: u64) -> Result<Option<LogId<C::NodeId>>, StoreError> {
        let entries = self.read(index, index + 1, 0)?;
        Ok(entries.first().map(|entry| entry.get_log_id().clone()))
    }
}

/// Reads what is at `places`, in their order.
fn decode_all<E: serde::de::DeserializeOwned>(
    places: &[(u64, Place)],
    reader: Option<Reader>,
    most_bytes: usize,
) -> Result<Vec<E>, StoreError> {
    let mut reader = reader.map(|reader| reader.only(ENTRIES));
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for (index, place) in places {
        let (size, entry) = match place {
            Place::Memory(lsn, entry) => (entry.len(), decode(entry, *lsn)?),
            Place::Log(lsn) => {
                let found = reader.as_mut().map(|reader| read_at(reader, *lsn));
                let found = found.transpose()?.flatten();
                found.ok_or_else(|| StoreError::Missing {
                    index: *index,
                    lsn: *lsn,
                    what: "the log goes on without it".to_owned(),
                })?
            }
        };
        bytes += size;
        if bytes > most_bytes && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The size of the record at `lsn`, and what it is, if the reader comes by it.
fn read_at<E: serde::de::DeserializeOwned>(
    reader: &mut Reader,
    lsn: Lsn,
) -> Result<Option<(usize, E)>, StoreError> {
    for record in reader {
        let record = record?;
        if record.lsn == lsn {
            let entry = decode(&record.payload, lsn)?;
            return Ok(Some((record.payload.len(), entry)));
        }
        if record.lsn > lsn {
            break;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::{Settings, open};
    use highwater_wal::disk::SimDisk;
    use highwater_wal::{Background, Options};
    use openraft::{CommittedLeaderId, Entry, EntryPayload};
    use std::io::Cursor;
    use std::path::Path;

    openraft::declare_raft_types!(
        Types:
            D = String,
            R = (),
    );

    fn entry(index: u64) -> Entry<Types> {
        let log_id = LogId::new(CommittedLeaderId::new(1, 0), index);
        let payload = EntryPayload::Normal("x".repeat(100));
        Entry { log_id, payload }
    }

    fn inner(disk: &SimDisk, settings: Settings) -> Arc<Inner<Types>> {
        let log = Options::new().disk(Arc::new(disk.clone()));
        let log = log.background(Background::Inline).segment_size(64 << 10);
        let opened = open(Path::new("/log"), settings.log(log).cleaner_thread(false));
        opened.expect("the disk is in order").0
    }

    fn run<R>(future: impl Future<Output = R>) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// An append waits for nothing; what it appended can be read, and is not durable.
    #[test]
    fn entries_are_read_before_they_are_durable() {
        let inner = inner(&SimDisk::new(), Settings::new());
        let lsn = run(inner.append((0..3).map(entry)));
        let lsn = lsn.expect("there is room").expect("the last one");
        assert!(inner.wal.durable_lsn() <= lsn, "nothing was synced");
        let found = inner.read(0, u64::MAX, usize::MAX);
        assert_eq!(found.expect("they are in memory"), [0, 1, 2].map(entry));
        assert!(inner.current.lock().pending.bytes() > 300);

        run(inner.wal.durable(lsn)).expect("the disk is in order");
        let found = inner.read(1, 3, usize::MAX);
        assert_eq!(found.expect("they are in the log"), [1, 2].map(entry));
        assert_eq!(inner.current.lock().pending.bytes(), 0);
    }

    /// Some are in the log, some in memory.
    #[test]
    fn a_read_goes_from_the_log_to_memory() {
        let inner = inner(&SimDisk::new(), Settings::new());
        let lsn = run(inner.append((0..2).map(entry)));
        let lsn = lsn.expect("there is room").expect("the last one");
        run(inner.wal.durable(lsn)).expect("the disk is in order");
        run(inner.append((2..5).map(entry))).expect("there is room");
        let found = inner.read(1, 4, usize::MAX);
        assert_eq!(found.expect("they are there"), [1, 2, 3].map(entry));
    }

    #[test]
    fn what_waits_in_memory_has_a_bound() {
        let inner = inner(&SimDisk::new(), Settings::new().max_pending_bytes(500));
        for index in 0..100 {
            run(inner.append([entry(index)].into_iter())).expect("there is room");
            assert!(inner.current.lock().pending.bytes() <= 500);
        }
        assert!(
            inner.wal.durable_lsn() > Lsn::ZERO,
            "it waited for the disk"
        );
        // One entry always fits.
        let mut large = entry(100);
        large.payload = EntryPayload::Normal("x".repeat(5000));
        run(inner.append([large].into_iter())).expect("there is room");
    }
}
