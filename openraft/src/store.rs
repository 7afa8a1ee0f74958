//! The storage as openraft calls it.

use crate::cleaner::Cleaner;
use crate::error::{OpenError, StoreError, writing, writing_vote};
use crate::inner::Inner;
use crate::opening::{self, Settings};
use crate::reader::LogReader;
use crate::suffix;
use highwater_wal::{Lsn, Wal};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{
    AsyncRuntime, LogId, OptionalSend, RaftLogReader, RaftTypeConfig, StorageError, Vote,
};
use std::fmt::{self, Debug};
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

/// The log of one Raft node on a [`Wal`]: votes and entries.
///
/// | call | when it returns |
/// |---|---|
/// | `append` | the entries can be read; the callback comes when they are durable |
/// | `save_vote`, `truncate`, `purge` | it is durable |
/// | `save_committed` | it is written, and durable with the next thing that is |
///
/// An entry at an index that is purged is not written again: it was committed. Any other must
/// come right after the last one; the first of all may have any index.
///
/// It writes in the order of the calls, and needs no other locks: openraft calls it from one task.
/// After the first error of the disk every call fails, and so does the node.
pub struct LogStore<C: RaftTypeConfig> {
    reader: LogReader<C>,
    cleaner: Cleaner,
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// Opens the log in `dir`, or makes one there.
    ///
    /// ```no_run
    /// # use std::io::Cursor;
    /// # openraft::declare_raft_types!(pub Types: D = String, R = ());
    /// let store = highwater_openraft::LogStore::<Types>::open("node-1.d/log")?;
    /// # Ok::<_, highwater_openraft::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(dir, Settings::new())
    }

    /// Opens it with settings.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # openraft::declare_raft_types!(pub Types: D = String, R = ());
    /// use highwater_openraft::{LogStore, Settings};
    /// # let dir = tempfile::tempdir()?;
    /// let small = highwater_wal::Options::new().segment_size(1 << 20);
    /// let store = LogStore::<Types>::open_with(dir.path(), Settings::new().log(small))?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Wal::open_with`]; [`OpenError::Foreign`] if the log has records of another
    /// program; [`OpenError::Record`] if a record cannot be decoded; [`OpenError::Hole`] if entries
    /// are missing.
    pub fn open_with(dir: impl AsRef<Path>, settings: Settings) -> Result<Self, OpenError> {
        let (inner, cleaner) = opening::open(dir.as_ref(), settings)?;
        let reader = LogReader { inner };
        Ok(Self { reader, cleaner })
    }

    /// The log, for its statistics.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # openraft::declare_raft_types!(pub Types: D = String, R = ());
    /// # let dir = tempfile::tempdir()?;
    /// let store = highwater_openraft::LogStore::<Types>::open(dir.path())?;
    /// println!("{} bytes on disk", store.wal().stats().disk_bytes);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wal(&self) -> &Wal {
        &self.inner().wal
    }

    /// How many bytes of entries are in memory because they are not durable yet.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # openraft::declare_raft_types!(pub Types: D = String, R = ());
    /// # let dir = tempfile::tempdir()?;
    /// let store = highwater_openraft::LogStore::<Types>::open(dir.path())?;
    /// assert_eq!(store.pending_bytes(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        let mut current = self.inner().current.lock();
        current.pending.drop_below(self.inner().wal.durable_lsn());
        current.pending.bytes()
    }

    fn inner(&self) -> &Arc<Inner<C>> {
        &self.reader.inner
    }

    async fn vote(&self, vote: &Vote<C::NodeId>) -> Result<(), StoreError> {
        let lsn = self
            .inner()
            .write_state(|state| state.vote = Some(vote.clone()))?;
        Ok(self.inner().wal.durable(lsn).await?)
    }

    async fn give_up_suffix(&self, index: u64) -> Result<(), StoreError> {
        let inner = self.inner();
        let kept = inner.current.lock().index.range();
        let index = index.max(kept.start);
        let Some(from) = inner.current.lock().index.get(index) else {
            return Ok(()); // there is no such entry
        };
        let last = match index.checked_sub(1).filter(|before| *before >= kept.start) {
            Some(before) => inner.log_id_at(before)?,
            None => inner.current.lock().state.purged.clone(),
        };
        let to = inner.wal.end_lsn();
        // The newest state may be among the records that are given up.
        let _state = inner.write_state(|_| ())?;
        let frame = suffix::give_up(&inner.wal, from, to)?;
        inner.wal.durable(frame).await?;
        let mut current = inner.current.lock();
        current.index.truncate(index);
        current.pending.truncate(from);
        current.last = last;
        current.changes += 1;
        Ok(())
    }

    async fn give_up_prefix(&self, upto: LogId<C::NodeId>) -> Result<(), StoreError> {
        let inner = self.inner();
        let (start, known) = {
            let current = inner.current.lock();
            let kept = current.index.get(upto.index + 1);
            let known = current.state.purged.as_ref();
            let known = known.is_some_and(|purged| purged.index >= upto.index);
            (kept.unwrap_or_else(|| inner.wal.end_lsn()), known)
        };
        if known {
            return Ok(());
        }
        // The state is written anew behind what is freed.
        let state = inner.write_state(|state| {
            state.purged = Some(upto.clone());
            state.start = start.get();
        })?;
        inner.wal.durable(state).await?;
        {
            let mut current = inner.current.lock();
            current.index.purge(upto.index);
            if current
                .last
                .as_ref()
                .is_none_or(|last| last.index < upto.index)
            {
                current.last = Some(upto);
            }
            current.changes += 1;
        }
        self.cleaner.truncate_before(start)
    }
}

impl<C: RaftTypeConfig> Drop for LogStore<C> {
    fn drop(&mut self) {
        self.cleaner.finish();
    }
}

impl<C: RaftTypeConfig> Debug for LogStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("dir", &self.wal().dir())
            .finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogStore<C> {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.reader.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, StorageError<C::NodeId>> {
        let current = self.inner().current.lock();
        Ok(LogState {
            last_purged_log_id: current.state.purged.clone(),
            last_log_id: current.last.clone(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let saved = self.vote(vote).await;
        saved.map_err(|error| writing_vote(&error))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, StorageError<C::NodeId>> {
        Ok(self.inner().current.lock().state.vote.clone())
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<C::NodeId>>,
    ) -> Result<(), StorageError<C::NodeId>> {
        let written = self
            .inner()
            .write_state(|state| state.committed = committed);
        let _lsn: Lsn = written.map_err(|error| writing(&error))?;
        Ok(())
    }

    async fn read_committed(
        &mut self,
    ) -> Result<Option<LogId<C::NodeId>>, StorageError<C::NodeId>> {
        Ok(self.inner().current.lock().state.committed.clone())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<C>,
    ) -> Result<(), StorageError<C::NodeId>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let appended = self.inner().append(entries.into_iter()).await;
        let newest = appended.map_err(|error| writing(&error))?;
        let Some(newest) = newest else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        let durable = self.inner().wal.durable(newest);
        let _task = C::AsyncRuntime::spawn(async move {
            let outcome = durable.await;
            callback.log_io_completed(outcome.map_err(std::io::Error::from));
        });
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let truncated = self.give_up_suffix(log_id.index).await;
        truncated.map_err(|error| writing(&error))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let purged = self.give_up_prefix(log_id).await;
        purged.map_err(|error| writing(&error))
    }
}
