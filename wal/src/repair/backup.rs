//! A copy of a log that may be in use, under its name only when it is whole.

use crate::error::{Result, WalError};
use crate::format::layout::{Name, classify};
use crate::inspect::log::{Log, Progress};
use crate::inspect::verify::Report;
use crate::lsn::Lsn;
use crate::repair::copy::CopiedLog;
use crate::repair::repair::places;
use highwater_disk::{DirLock, Disk};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// How often copying begins again because the log was truncated meanwhile.
const MAX_TRIES: u32 = 16;

/// What [`Log::backup`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Identity of both logs.
    pub log_id: u128,
    /// Where the copy starts.
    pub first_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// Everything below this was proven durable when copying began; the copy has it.
    pub proven_lsn: Lsn,
    /// Frames in the copy, those of the log itself included.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Size of the copy's segments in bytes.
    pub bytes: u64,
    /// How often copying was begun: more than once if the log was truncated meanwhile.
    pub tries: u32,
}

impl Log {
    /// Writes a copy of the log into the new directory `to`, with the same identity and LSNs. The
    /// log may be in use, also in another process: this changes nothing of it, and takes no lock.
    ///
    /// The copy is a prefix of what was appended, from the start of the log on. It has everything
    /// that was proven durable when this began, and perhaps more, also records that were not
    /// acknowledged yet. If the log is truncated meanwhile past the place that is being read,
    /// copying begins again at its new start, up to 16 times.
    ///
    /// The copy is written into a directory beside `to`, synced, read again and checked, and only
    /// then renamed: after a crash or an error there is no `to`. What a crash leaves beside it, in
    /// `.NAME.backup`, the next backup to the same place removes.
    ///
    /// Both logs have the same identity. Go on with one of them only. `progress` is called now and
    /// then.
    ///
    /// ```
    /// use highwater_wal::{Wal, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// let wal = Wal::open_with(dir.path().join("log"), small)?; // it stays in use
    /// let lsn = wal.append("hello")?;
    /// wal.sync_to(lsn)?;
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path().join("log"))?;
    /// let backup = log.backup(dir.path().join("backup"), |_| ())?;
    /// assert_eq!(backup.records, 1);
    /// assert!(backup.end_lsn >= backup.proven_lsn);
    /// let copy = Wal::open(dir.path().join("backup"))?;
    /// assert_eq!(&*copy.read_from(lsn)?.next().expect("it was copied")?.payload, b"hello");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::BadDirectory`] if `to` exists, has no parent directory, lies inside this log, or
    /// another backup writes it; [`WalError::Corrupt`] if the log is damaged: repair it instead;
    /// [`WalError::Io`], also if the disk is full, or if the log was truncated again and again.
    /// After an error nothing is left behind, as far as it can be removed.
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Backup> {
        self.must_be_whole()?;
        let (_, to) = places(&*self.disk, &self.dir, to.as_ref())?;
        let place = Place::find(&*self.disk, to)?;
        let proven = self.proven()?;
        place.clear()?;
        let made = self
            .copy_again_and_again(&place, &mut progress)
            .and_then(|(copied, tries)| {
                // So that another backup to the same place does not take it for what a crash left.
                let lock = place.lock()?;
                let report = check(self, &place.beside, &copied, proven)?;
                place.publish()?;
                drop(lock);
                Ok(Backup {
                    log_id: self.log_id(),
                    first_lsn: copied.first_lsn,
                    end_lsn: copied.end_lsn,
                    proven_lsn: Lsn::new(proven),
                    frames: report.frames,
                    records: report.records,
                    bytes: report.bytes,
                    tries,
                })
            });
        if made.is_err() {
            // The error is the one that matters. What stays is removed by the next backup.
            let _ = place.clear();
        }
        made
    }

    fn copy_again_and_again(
        &self,
        place: &Place<'_>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(CopiedLog, u32)> {
        for tries in 1..=MAX_TRIES {
            let log = Self::open(self.disk.clone(), &self.dir)?;
            if log.log_id() != self.log_id() {
                let what = "another log has taken the place of the one that was to be copied";
                return Err(WalError::no_log(&self.dir, what));
            }
            let error = match log.copy_with(Lsn::ZERO, &place.beside, progress) {
                Ok(copied) => return Ok((copied, tries)),
                Err(error) => error,
            };
            let now = Self::open(self.disk.clone(), &self.dir)?;
            let truncated =
                matches!(error, WalError::Truncated { .. }) || now.first_lsn() > log.first_lsn();
            if !truncated {
                return Err(error);
            }
            place.clear()?;
        }
        let what = format!(
            "it was truncated {MAX_TRIES} times while it was copied; keep it meanwhile with `Wal::retain_as`, or try again"
        );
        let source = io::Error::new(io::ErrorKind::ResourceBusy, what);
        Err(WalError::io("backing up", &self.dir, source))
    }
}

/// Reads the copy, and compares it with what was written and with what was durable.
fn check(log: &Log, beside: &Path, copied: &CopiedLog, proven: u64) -> Result<Report> {
    let copy = Log::open(log.disk.clone(), beside)?;
    let report = copy.verify(|_| ())?;
    let wrong = |what: String| {
        let source = io::Error::new(io::ErrorKind::InvalidData, what);
        Err(WalError::io("checking the copy in", beside, source))
    };
    if report.frames != copied.frames || report.end_lsn != Some(copied.end_lsn) {
        return wrong(format!(
            "{} frames up to {:?} are there, {} up to LSN {} were written",
            report.frames, report.end_lsn, copied.frames, copied.end_lsn
        ));
    }
    if copied.end_lsn.get() < proven {
        return wrong(format!(
            "it ends at LSN {}, but everything below {proven} was durable",
            copied.end_lsn
        ));
    }
    report.findings.into_iter().next().map_or(
        Ok(Report {
            findings: Vec::new(),
            ..report
        }),
        Err,
    )
}

/// Where the copy is written, and where it goes.
#[derive(Debug)]
struct Place<'a> {
    disk: &'a dyn Disk,
    to: PathBuf,
    parent: PathBuf,
    beside: PathBuf,
}

impl<'a> Place<'a> {
    fn find(disk: &'a dyn Disk, to: PathBuf) -> Result<Self> {
        let bad = |source| WalError::BadDirectory {
            dir: to.clone(),
            source,
        };
        let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(bad(io::ErrorKind::InvalidInput.into()));
        };
        let entries = disk.list(parent).map_err(bad)?;
        if entries.iter().any(|entry| entry.name == name) {
            let what = "it is there already: name a new directory";
            return Err(bad(io::Error::new(io::ErrorKind::AlreadyExists, what)));
        }
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".backup");
        Ok(Self {
            disk,
            parent: parent.to_owned(),
            beside: parent.join(hidden),
            to,
        })
    }

    /// Removes what an earlier try or a crash left.
    fn clear(&self) -> Result<()> {
        let bad = |source| WalError::BadDirectory {
            dir: self.beside.clone(),
            source,
        };
        let entries = match self.disk.list(&self.beside) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(bad(e)),
        };
        let _lock = self.lock()?;
        for entry in entries {
            if entry.name.to_str().map_or(Name::Unknown, classify) == Name::Unknown {
                let what = format!("{:?} in it is not a file of a log: remove it", entry.name);
                return Err(bad(io::Error::new(io::ErrorKind::DirectoryNotEmpty, what)));
            }
            let file = self.beside.join(entry.name);
            self.disk
                .remove_file(&file)
                .map_err(|e| WalError::io("removing", &file, e))?;
        }
        self.disk
            .remove_dir(&self.beside)
            .map_err(|e| WalError::io("removing", &self.beside, e))
    }

    fn lock(&self) -> Result<DirLock> {
        self.disk.lock_dir(&self.beside).map_err(|e| {
            let what = match e.kind() {
                io::ErrorKind::WouldBlock => "another backup is written there".to_owned(),
                _ => e.to_string(),
            };
            WalError::BadDirectory {
                dir: self.beside.clone(),
                source: io::Error::new(e.kind(), what),
            }
        })
    }

    /// Gives the copy its name.
    fn publish(&self) -> Result<()> {
        self.disk
            .rename_new(&self.beside, &self.to)
            .map_err(|e| WalError::io("renaming to", &self.to, e))?;
        self.disk
            .sync_dir(&self.parent)
            .map_err(|e| WalError::io("syncing the directory", &self.parent, e))
    }
}
