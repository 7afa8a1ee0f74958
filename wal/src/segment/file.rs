//! One segment file: made, recycled, mapped.

use crate::error::{Finding, Result, WalError};
use crate::format::frame::SegmentHeader;
use crate::format::layout::{SEGMENT_HEADER_SIZE, TMP_SUFFIX};
use crate::lsn::Lsn;
use crate::segment::header::SegmentFile;
use crate::segment::maker::{SegmentMaker, WritesVia};
use highwater_disk::{Access, AppendMap, Disk, DiskFile, ReadMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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

    /// Makes the file of a truncated segment into the segment of `size` bytes that starts at
    /// `base`; it is no longer than the old one. Its old frames cannot pass for new ones: their
    /// checksums cover their LSN. The old name is below the log's start, so no frame under it
    /// counts. That is why the file may be cut short, durably, before it has its new header.
    pub(crate) fn recycle(self, maker: &SegmentMaker, base: u64, size: u64) -> Result<Self> {
        let Self {
            size: old_size,
            path: old,
            view,
            ..
        } = self;
        drop(view); // it may show the file that is about to change
        let file = maker
            .disk
            .open(&old, Access::ReadWrite)
            .map_err(|e| WalError::io("opening the segment to recycle", &old, e));
        let cut = file.and_then(|file| {
            if size < old_size {
                let cut = file.set_len(size).and_then(|()| file.sync());
                cut.map_err(|e| WalError::io("cutting the segment to recycle", &old, e))?;
            }
            Ok(file)
        });
        cut.and_then(|file| Self::publish(maker, base, size, &file, &old))
            .inspect_err(|_| {
                let _ = maker.disk.remove_file(&old);
            })
    }

    pub(crate) fn publish(
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

    /// The position where half of its room for frames is filled.
    pub(crate) fn middle(&self) -> u64 {
        self.base + SEGMENT_HEADER_SIZE.midpoint(self.size)
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
