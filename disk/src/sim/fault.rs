//! Calls that fail on purpose.

use crate::call::Call;
use crate::error::errno;
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// How an injected fault shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The device failed.
    Eio,
    /// The file system is full ([`io::ErrorKind::StorageFull`]).
    Enospc,
    /// A signal came ([`io::ErrorKind::Interrupted`]).
    Eintr,
    /// The process has too many open files.
    Emfile,
    /// The machine has too many open files.
    Enfile,
    /// Not allowed ([`io::ErrorKind::PermissionDenied`]).
    Eacces,
    /// The file system is read-only ([`io::ErrorKind::ReadOnlyFilesystem`]).
    Erofs,
    /// No memory, or too many maps ([`io::ErrorKind::OutOfMemory`]).
    Enomem,
    /// The file would be too large ([`io::ErrorKind::FileTooLarge`]).
    Efbig,
    /// The quota is used up ([`io::ErrorKind::QuotaExceeded`]).
    Edquot,
    /// The file is gone from the server ([`io::ErrorKind::StaleNetworkFileHandle`]).
    Estale,
    /// Only half of the bytes are read or written (at least one), without an error; only for
    /// [`Call::Read`] and [`Call::Write`].
    Short,
}

impl FaultKind {
    /// The error that the call returns; `None` for [`Self::Short`].
    pub(super) fn error(self) -> Option<io::Error> {
        let code = match self {
            Self::Eio => Errno::IO,
            Self::Enospc => Errno::NOSPC,
            Self::Eintr => Errno::INTR,
            Self::Emfile => Errno::MFILE,
            Self::Enfile => Errno::NFILE,
            Self::Eacces => Errno::ACCESS,
            Self::Erofs => Errno::ROFS,
            Self::Enomem => Errno::NOMEM,
            Self::Efbig => Errno::FBIG,
            Self::Edquot => Errno::DQUOT,
            Self::Estale => Errno::STALE,
            Self::Short => return None,
        };
        Some(errno(code))
    }
}

/// How often a fault strikes once it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// One time.
    Once,
    /// So many times in a row.
    Times(u64),
    /// From then on.
    Forever,
}

/// What a failed sync leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailedSync {
    /// As Linux: the dirty state is dropped, a later sync succeeds and has saved nothing.
    Clean,
    /// The dirty state stays: a later sync saves it.
    Dirty,
}

/// A call that will fail; see [`SimDisk::fail`](super::SimDisk::fail).
///
/// ```
/// use highwater_disk::sim::{Call, Fault, FaultKind};
/// // The third sync from now of a file whose path contains "000001" fails, and all later ones.
/// let fault = Fault::new(Call::Sync, FaultKind::Eio).nth(2).forever().on("000001");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The call that fails. [`Call::SyncMap`] and [`Call::MapAppend`] include those of direct maps
    /// ([`Call::WriteDirect`], [`Call::MapAppendDirect`]).
    pub call: Call,
    /// How it fails.
    pub kind: FaultKind,
    /// How many matching calls succeed first, counted from the injection.
    pub nth: u64,
    /// How many fail then.
    pub times: Repeat,
    /// Only calls match of which a path contains this text.
    pub path: Option<String>,
    /// What a failed sync leaves.
    pub after_sync: AfterFailedSync,
}

impl Fault {
    /// The next `call` fails with `kind`, once, whatever its path.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// let fault = Fault::new(Call::Sync, FaultKind::Eio); // the next sync, of any file, once
    /// assert_eq!((fault.nth, fault.path.is_none()), (0, true));
    /// ```
    #[must_use]
    pub fn new(call: Call, kind: FaultKind) -> Self {
        Self {
            call,
            kind,
            nth: 0,
            times: Repeat::Once,
            path: None,
            after_sync: AfterFailedSync::Clean,
        }
    }

    /// Lets `nth` matching calls succeed first.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio).nth(1));
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!(file.sync().is_ok());
    /// assert!(file.sync().is_err());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = nth;
        self
    }

    /// Fails so many times in a row.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio).times(2));
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!(file.sync().is_err() && file.sync().is_err());
    /// assert!(file.sync().is_ok());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Repeat::Times(times);
        self
    }

    /// Fails from then on.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Write, FaultKind::Enospc).forever());
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!((0..100).all(|_| file.write_at(b"hello", 0).is_err()));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.times = Repeat::Forever;
        self
    }

    /// Fails only calls of which a path contains `text`.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio).on("/b"));
    /// assert!(sim.create_new(Path::new("/a"))?.sync().is_ok());
    /// assert!(sim.create_new(Path::new("/b"))?.sync().is_err());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn on(mut self, text: impl Into<String>) -> Self {
        self.path = Some(text.into());
        self
    }

    /// The failed sync leaves the dirty state dirty, unlike Linux.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio).keeping_dirty());
    /// let file = sim.create_new(Path::new("/a"))?;
    /// sim.sync_dir(Path::new("/"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// assert!(file.sync().is_err());
    /// file.sync()?; // without `keeping_dirty` this would save nothing
    /// assert_eq!(sim.durable_file("/a"), Some(b"hello".to_vec()));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn keeping_dirty(mut self) -> Self {
        self.after_sync = AfterFailedSync::Dirty;
        self
    }

    fn matches(&self, call: Call, path: &Path, target: Option<&Path>) -> bool {
        let about = |path: &Path, text: &str| path.to_string_lossy().contains(text);
        self.strikes(call)
            && self.path.as_ref().is_none_or(|text| {
                about(path, text) || target.is_some_and(|target| about(target, text))
            })
    }
}

impl Fault {
    /// A fault of a map strikes both kinds of maps, a fault of a direct map only direct ones.
    fn strikes(&self, call: Call) -> bool {
        self.call == call
            || matches!(
                (self.call, call),
                (Call::SyncMap, Call::WriteDirect) | (Call::MapAppend, Call::MapAppendDirect)
            )
    }
}

/// The injected faults, and how far each is.
#[derive(Debug, Default)]
pub(super) struct Faults {
    active: Vec<(Fault, u64)>,
    /// How many calls were made to fail.
    pub(super) fired: u64,
}

/// A fault that strikes the current call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) kind: FaultKind,
    pub(super) after_sync: AfterFailedSync,
}

impl Hit {
    /// What a sync that this makes fail returns and leaves.
    pub(super) fn failed_sync(self) -> Option<(io::Error, AfterFailedSync)> {
        Some((self.kind.error()?, self.after_sync))
    }

    /// How many of `len` bytes a call transfers; `None` for all of them.
    pub(super) fn transferred(hit: Option<Self>, len: usize) -> io::Result<Option<usize>> {
        match hit {
            None => Ok(None),
            Some(hit) if hit.kind == FaultKind::Short => Ok(Some((len / 2).max(1).min(len))),
            Some(hit) => hit.kind.error().map_or(Ok(None), Err),
        }
    }
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        let can_be_short = matches!(fault.call, Call::Read | Call::Write);
        assert!(
            fault.kind != FaultKind::Short || can_be_short,
            "{:?} cannot be short",
            fault.call
        );
        self.active.push((fault, 0));
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    /// Counts the call for every fault that it matches; the oldest fault that is due strikes.
    pub(super) fn strike(&mut self, call: Call, path: &Path, target: Option<&Path>) -> Option<Hit> {
        let mut hit = None;
        for (fault, seen) in &mut self.active {
            if !fault.matches(call, path, target) {
                continue;
            }
            let end = match fault.times {
                Repeat::Once => fault.nth.saturating_add(1),
                Repeat::Times(times) => fault.nth.saturating_add(times),
                Repeat::Forever => u64::MAX,
            };
            if hit.is_none() && (fault.nth..end).contains(seen) {
                hit = Some(Hit {
                    kind: fault.kind,
                    after_sync: fault.after_sync,
                });
            }
            *seen += 1;
        }
        self.fired += u64::from(hit.is_some());
        hit
    }
}
