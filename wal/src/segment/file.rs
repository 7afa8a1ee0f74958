//! One segment file: made, recycled, mapped.

use crate::error::{Finding, Result, WalError};
use crate::facade::tracing;
use crate::faults::Faults;
use crate::format::frame::{LogKey, SegmentHeader};
use crate::format::layout::{SEGMENT_HEADER_SIZE, TMP_SUFFIX, frame_size, segment_name};
use crate::lsn::Lsn;
use crate::options::choices::WritePath;
use crate::segment::header::SegmentFile;
use highwater_disk::{Access, AppendMap, Disk, DiskFile, ReadMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Zeros are written and synced in pieces, so that a commit that comes in between waits for one
/// piece at most.
const PIECE_SIZE: u64 = 1 << 20;

/// How zeroing a new segment goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZeroAhead {
    /// By a piece of so many bytes, whole pages.
    Piece(u64),
    /// Not at all: the segment is needed.
    Stop,
}

/// Makes segments, and opens them for appending.
#[derive(Debug, Clone)]
pub(crate) struct SegmentMaker {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) key: LogKey,
    pub(crate) segment_size: u64,
    pub(crate) write_path: WritePath,
    pub(crate) longest_write: u64,
    pub(crate) faults: Faults,
}

impl SegmentMaker {
    fn path(&self, base: u64) -> PathBuf {
        self.dir.join(segment_name(Lsn::new(base)))
    }

    /// From now on segments are written as the first one could be.
    pub(crate) fn keep_to(&mut self, writes: WritesVia) {
        self.write_path = match writes {
            WritesVia::PageCache => WritePath::PageCache,
            WritesVia::Direct => WritePath::Direct,
        };
    }

    /// How far after the end of the log a power cut can leave frames that were not acknowledged; 0
    /// if anywhere.
    ///
    /// With direct writes everything before a write is durable when it begins. So such frames lie
    /// in the one write that was under way. It ends at most this far after the frame in which it
    /// began.
    pub(crate) fn reach(&self, max_record: usize) -> u64 {
        let right = self.longest_write + frame_size(max_record as u64);
        match self.write_path {
            WritePath::Direct => self.faults.reach().unwrap_or(right),
            WritePath::Auto | WritePath::PageCache => 0,
        }
    }

    /// Gives `file` the size of a segment, with blocks that were really written. Nothing is left to
    /// allocate later.
    fn fill_zeros(&self, file: &dyn DiskFile) -> io::Result<()> {
        let size = self.segment_size;
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE_SIZE);
            self.write_zeros(file, at..end)?;
            if end < size {
                file.sync()?; // the last piece is synced with the header
            }
            at = end;
        }
        Ok(())
    }

    fn write_zeros(&self, file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        if self.write_path != WritePath::PageCache {
            match file.write_zeros_direct(range.clone()) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                written => return written,
            }
        }
        file.write_zeros(range)
    }

    /// Gives `file` the size of a segment and its blocks, without writing them if that is enough: a
    /// direct write into such a block can fail, but not raise a signal.
    fn allocate(&self, file: &dyn DiskFile) -> io::Result<Blocks> {
        if self.write_path == WritePath::Direct {
            match file.allocate(self.segment_size) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                allocated => return allocated.map(|()| Blocks::Allocated),
            }
        }
        self.fill_zeros(file).map(|()| Blocks::Written)
    }

    /// Maps `file` for appending after `start`, as the write path demands or the disk can.
    fn map(&self, file: &dyn DiskFile, start: u64) -> io::Result<(AppendMap, WritesVia)> {
        if self.write_path != WritePath::PageCache {
            match file.map_append_direct(start) {
                Err(e)
                    if e.kind() == io::ErrorKind::Unsupported
                        && self.write_path == WritePath::Auto =>
                {
                    tracing::debug!(path = %file.path().display(), "no direct I/O here: writing through the page cache");
                }
                staged => return Ok((staged?, WritesVia::Direct)),
            }
        }
        Ok((file.map_append(start)?, WritesVia::PageCache))
    }
}

/// How far the blocks of a new segment are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    Allocated,
    Written,
}

/// Where appended frames are until they are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritesVia {
    /// In the page cache, through a shared map of the file.
    PageCache,
    /// In memory of this process.
    Direct,
}

/// A segment of the log. Its bytes stay readable while it is held, even after its file is removed.
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) path: PathBuf,
    pub(crate) origin: Origin,
    pub(crate) log_id: u128,
    pub(crate) disk: Arc<dyn Disk>,
    /// Mapped when first needed: opening a long log must not map all of it.
    pub(crate) view: OnceLock<View>,
    /// One for each segment that shows the file; see [`Self::without_memory`].
    shown: Arc<()>,
}

/// Who made the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This instance: no bytes of it were shown by an earlier one, so it may be recycled once it is
    /// not held any more.
    Made,
    /// An earlier instance, whose readers may still look at its bytes (in this process or in
    /// another).
    Found,
}

#[expect(
    clippy::large_enum_variant,
    reason = "appends go through it, without one more indirection; there is one for each segment of 64 MiB"
)]
pub(crate) enum View {
    Append {
        map: AppendMap,
        stores: WritesVia,
        /// The description that wrote: errors of write-back are reported to it.
        _file: Arc<dyn DiskFile>,
    },
    Read(ReadMap),
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Makes a segment: with all its blocks, synced, named, its name synced. Until the last step it
    /// does not count, and a file under the final name is always whole. Then zeros are written for
    /// the speed of commits. `ahead` is called before each piece, with the offset at which it
    /// starts, and decides how that goes on.
    pub(crate) fn create(
        maker: &SegmentMaker,
        base: u64,
        ahead: &mut dyn FnMut(u64) -> ZeroAhead,
    ) -> Result<Self> {
        let (disk, tmp) = (&*maker.disk, tmp_path(&maker.path(base)));
        let at_tmp = |op: &'static str| {
            let tmp = tmp.clone();
            move |e| WalError::io(op, &tmp, e)
        };
        let made = match disk.create_new(&tmp) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove_file(&tmp).and_then(|()| disk.create_new(&tmp))
            }
            other => other,
        }
        .map_err(at_tmp("creating the next segment"))
        .and_then(|file| {
            let blocks = maker
                .allocate(&*file)
                .map_err(at_tmp("writing the next segment"))?;
            let made = Self::publish(maker, base, maker.segment_size, &file, &tmp)?;
            Ok((file, blocks, made))
        });
        let (file, blocks, made) = made.inspect_err(|_| {
            let _ = disk.remove_file(&tmp);
        })?;
        let readied = made.ready_ahead(&*file, blocks, ahead);
        readied.map_err(|e| {
            let error = WalError::io("writing the next segment", &made.path, e);
            let _ = disk.remove_file(&made.path);
            error
        })?;
        Ok(made)
    }

    /// Zeros in blocks that were only allocated: the first write to such a block takes longer than
    /// the next ones (measured: 124 instead of 81 µs for a commit of one page).
    fn ready_ahead(
        &self,
        file: &dyn DiskFile,
        blocks: Blocks,
        ahead: &mut dyn FnMut(u64) -> ZeroAhead,
    ) -> io::Result<()> {
        let mut at = SEGMENT_HEADER_SIZE;
        while blocks == Blocks::Allocated && at < self.size {
            let ZeroAhead::Piece(size) = ahead(at) else {
                break;
            };
            let end = self.size.min(at + size);
            self.map().write_zeros(at..end)?;
            at = end;
        }
        // Otherwise the commits would pay for noting that the blocks are written.
        if at > SEGMENT_HEADER_SIZE {
            file.sync()
        } else {
            Ok(())
        }
    }

    /// The segment, if nothing else shows its file: neither this one nor the one that held it in
    /// memory, parts of which may show the file by now. Otherwise the file must not be written
    /// again, and its path is returned.
    pub(crate) fn alone(this: Arc<Self>) -> std::result::Result<Self, PathBuf> {
        let mut segment = Arc::try_unwrap(this).map_err(|held| held.path.clone())?;
        match Arc::get_mut(&mut segment.shown) {
            Some(()) => Ok(segment),
            None => Err(segment.path),
        }
    }

    /// Makes the file of a truncated segment into the segment that starts at `base`. Its old frames
    /// cannot pass for new ones: their checksums cover their LSN. The old name is below the log's
    /// start, so no frame under it counts.
    pub(crate) fn recycle(self, maker: &SegmentMaker, base: u64) -> Result<Self> {
        let Self {
            size,
            path: old,
            view,
            ..
        } = self;
        drop(view); // it may show the file that is about to change
        let file = maker
            .disk
            .open(&old, Access::ReadWrite)
            .map_err(|e| WalError::io("opening the segment to recycle", &old, e));
        file.and_then(|file| Self::publish(maker, base, size, &file, &old))
            .inspect_err(|_| {
                let _ = maker.disk.remove_file(&old);
            })
    }

    fn publish(
        maker: &SegmentMaker,
        base: u64,
        size: u64,
        file: &Arc<dyn DiskFile>,
        from: &Path,
    ) -> Result<Self> {
        let SegmentMaker { disk, dir, key, .. } = maker;
        let path = maker.path(base);
        let header = SegmentHeader {
            log_id: key.id,
            base,
            size,
        };
        file.write_all_at(&header.encode(), 0)
            .map_err(|e| WalError::io("writing the header of", from, e))?;
        file.sync().map_err(|e| WalError::io("syncing", from, e))?;
        let (map, stores) = maker
            .map(&**file, SEGMENT_HEADER_SIZE)
            .map_err(|e| WalError::io("preparing to append to", from, e))?;
        disk.rename(from, &path)
            .map_err(|e| WalError::io("renaming to", &path, e))?;
        disk.sync_dir(dir)
            .map_err(|e| WalError::io("syncing the directory", dir, e))?;
        let view = OnceLock::from(View::Append {
            map,
            stores,
            _file: Arc::clone(file),
        });
        Ok(Self {
            base,
            size,
            path,
            origin: Origin::Made,
            log_id: key.id,
            disk: Arc::clone(disk),
            view,
            shown: Arc::default(),
        })
    }

    /// A segment that recovery found. Its header is checked when it is mapped for reading, if not
    /// before.
    pub(crate) fn found(disk: &Arc<dyn Disk>, file: SegmentFile, log_id: u128) -> Self {
        let SegmentFile { path, base, size } = file;
        Self {
            base,
            size,
            path,
            origin: Origin::Found,
            log_id,
            disk: Arc::clone(disk),
            view: OnceLock::new(),
            shown: Arc::default(),
        }
    }

    /// Maps a found segment for appending after `start`, an offset in bytes.
    pub(crate) fn open_append(&self, maker: &SegmentMaker, start: u64) -> Result<()> {
        let failed = |op: &'static str| move |e| WalError::io(op, &self.path, e);
        let file = self.disk.open(&self.path, Access::ReadWrite);
        let file = file.map_err(failed("opening"))?;
        let mapped = maker.map(&*file, start);
        let (map, stores) = mapped.map_err(failed("preparing to append to"))?;
        let view = View::Append {
            map,
            stores,
            _file: file,
        };
        let fresh = self.view.set(view).is_ok();
        assert!(fresh, "recovery maps a segment before it is read");
        Ok(())
    }

    /// The map to append to. Only for segments that were made or opened for appending.
    pub(crate) fn map(&self) -> &AppendMap {
        match self.view.get() {
            Some(View::Append { map, .. }) => map,
            _ => unreachable_view(),
        }
    }

    /// Where appended frames are until they are synced.
    pub(crate) fn writes_via(&self) -> WritesVia {
        match self.view.get() {
            Some(View::Append { stores, .. }) => *stores,
            _ => WritesVia::PageCache,
        }
    }

    /// The same segment read from its file, if this one is mapped for appending: without memory of
    /// the process, and without the file held open. For segments that are sealed and durable: they
    /// are not written any more, and no error of theirs is to come.
    pub(crate) fn without_memory(&self) -> Option<Self> {
        self.is_in_memory().then(|| Self {
            base: self.base,
            size: self.size,
            path: self.path.clone(),
            origin: self.origin,
            log_id: self.log_id,
            disk: Arc::clone(&self.disk),
            view: OnceLock::new(),
            shown: Arc::clone(&self.shown),
        })
    }

    /// Whether the segment is mapped for appending.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.view.get(), Some(View::Append { .. }))
    }

    /// End of the segment: the base of the next.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.size
    }

    /// An error about a place in this segment.
    pub(crate) fn corrupt(
        &self,
        finding: Finding,
        offset: u64,
        what: impl Into<String>,
    ) -> WalError {
        WalError::Corrupt {
            finding,
            file: self.path.clone(),
            offset,
            lsn: Lsn::new(self.base + offset),
            what: what.into(),
        }
    }
}

#[expect(
    clippy::panic,
    reason = "a programmer error inside this crate: appending to a segment that is not the tail"
)]
fn unreachable_view() -> ! {
    panic!("only a segment mapped for appending becomes the current one")
}

/// Where a segment file is made before it gets its name.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TMP_SUFFIX);
    PathBuf::from(name)
}
