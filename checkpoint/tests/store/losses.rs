//! Another program or an operator removes the directory of the checkpoints, or files of it, while
//! it is in use. The next checkpoint is whole, the log is kept as far as existing ones need it, and
//! numbers go on ascending.

use crate::common::{WRITER, check, lsn, options, publish};
use crate::saved_seeds;
use highwater_checkpoint::{CheckpointError, Checkpoints, LocalStore, Store, Validity};
use highwater_disk::SimDisk;
use highwater_disk::sim::{Call, Fault, FaultKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "/app/checkpoints";

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(Arc::new(disk.clone()), DIR))
}

fn open(disk: &SimDisk) -> Checkpoints {
    Checkpoints::open(store(disk), options(WRITER)).unwrap()
}

fn files(disk: &SimDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter();
    files.filter(|file| file.starts_with(DIR)).collect()
}

/// What is taken away.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Directory,
    Files,
    Manifests,
    StateFiles,
    /// The newest checkpoint's.
    OneStateFile,
    Parent,
}

const LOSSES: [Loss; 6] = [
    Loss::Directory,
    Loss::Files,
    Loss::Manifests,
    Loss::StateFiles,
    Loss::OneStateFile,
    Loss::Parent,
];

impl Loss {
    fn strike(self, disk: &SimDisk) {
        let named = |file: &Path, text: &str| file.to_string_lossy().contains(text);
        let mut files = files(disk).into_iter();
        match self {
            Self::Directory => disk.delete_dir(DIR),
            Self::Parent => disk.delete_dir("/app"),
            Self::Files => files.for_each(|file| disk.delete_file(file)),
            Self::Manifests => files
                .filter(|file| named(file, "manifest"))
                .for_each(|file| disk.delete_file(file)),
            Self::StateFiles => files
                .filter(|file| named(file, "state"))
                .for_each(|file| disk.delete_file(file)),
            Self::OneStateFile => files
                .rfind(|file| named(file, "state"))
                .into_iter()
                .for_each(|file| disk.delete_file(file)),
        }
    }
}

/// Every checkpoint after the loss failed, or the log was truncated because of one that was gone.
#[test]
fn after_a_loss_the_next_checkpoint_is_whole_and_the_log_is_kept() {
    for loss in LOSSES {
        let disk = SimDisk::new();
        let mut checkpoints = open(&disk);
        for n in 1..=3 {
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        assert_eq!(checkpoints.oldest_needed_lsn(), Some(lsn(2)));
        loss.strike(&disk);
        let published = publish(&mut checkpoints, 4).unwrap();
        assert_eq!(published.number, 4, "{loss:?}: numbers ascend");
        let retired = checkpoints.retire().unwrap();
        let kept = match loss {
            // Of the two that are retained the older is whole.
            Loss::OneStateFile => Some(lsn(2)),
            _ => None,
        };
        assert_eq!(retired.oldest_needed_lsn, kept, "{loss:?}");
        publish(&mut checkpoints, 5).unwrap();
        let retired = checkpoints.retire().unwrap();
        assert_eq!(retired.oldest_needed_lsn, Some(lsn(4)), "{loss:?}");
        let found = Checkpoints::inspect(&store(&disk)).unwrap();
        let numbers: Vec<_> = found.iter().map(|i| i.number).collect();
        assert_eq!(numbers, [5, 4], "{loss:?}");
        assert!(
            found.iter().all(|i| i.validity == Validity::Valid),
            "{loss:?}"
        );
        check(&open(&disk).newest().unwrap().unwrap(), 5);
    }
}

/// A manifest must not appear in a place that lacks its files: not while the loss strikes between
/// any two of its steps.
#[test]
fn a_loss_in_the_midst_of_a_checkpoint_never_leaves_one_that_counts_and_is_not_whole() {
    for loss in LOSSES {
        let mut broken = 0;
        for step in 0.. {
            let disk = SimDisk::new();
            let mut checkpoints = open(&disk);
            for n in 1..=3 {
                publish(&mut checkpoints, n).unwrap();
                checkpoints.retire().unwrap();
            }
            let steps = Striking::new(&disk, step, loss);
            let mut checkpoints = Checkpoints::open(steps.clone(), options(WRITER)).unwrap();
            steps.arm();
            let outcome = publish(&mut checkpoints, 4);
            let struck = steps.has_struck();
            if let Err(error) = &outcome {
                assert!(struck, "{loss:?} {step}: {error}");
                assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
            }
            steps.disarm();
            if outcome.is_ok() && struck {
                let found = Checkpoints::inspect(&store(&disk)).unwrap();
                let newest = found.iter().find(|i| i.number == 4);
                broken += usize::from(newest.is_some_and(|i| i.validity != Validity::Valid));
            }
            if let Ok(retired) = checkpoints.retire()
                && let Some(needed) = retired.oldest_needed_lsn
            {
                let found = Checkpoints::inspect(&store(&disk)).unwrap();
                let whole = found.iter().filter(|i| i.validity == Validity::Valid);
                let lsns: Vec<_> = whole.map(|i| i.manifest.as_ref().unwrap().lsn).collect();
                assert!(lsns.len() >= 2, "{loss:?} {step}: {lsns:?}");
                assert!(
                    lsns.iter().all(|lsn| *lsn >= needed),
                    "{loss:?} {step}: {lsns:?} {needed}"
                );
            }
            for n in 5..=6 {
                publish(&mut checkpoints, n).unwrap();
                checkpoints.retire().unwrap();
            }
            assert_eq!(
                checkpoints.oldest_needed_lsn(),
                Some(lsn(5)),
                "{loss:?} {step}"
            );
            check(&open(&disk).newest().unwrap().unwrap(), 6);
            if !struck {
                assert!(step > 3, "the loop saw {step} steps only");
                break;
            }
        }
        // Only what strikes between the last look and the manifest is not noticed before it is
        // published.
        assert!(broken <= 1, "{loss:?}: {broken}");
    }
}

/// The power goes off at every point of the checkpoint that creates the directory again. The
/// checkpoint is whole or not there, and the log reaches back far enough without it.
#[test]
fn a_power_cut_while_the_directory_is_made_again_loses_nothing() {
    let base = SimDisk::new();
    let mut checkpoints = open(&base);
    for n in 1..=3 {
        publish(&mut checkpoints, n).unwrap();
        checkpoints.retire().unwrap();
    }
    for loss in [Loss::Directory, Loss::Files] {
        for cut in 0.. {
            let disk = base.snapshot();
            let mut checkpoints = open(&disk);
            loss.strike(&disk);
            disk.cut_power_before(disk.mutations() + cut);
            let outcome = publish(&mut checkpoints, 4).and_then(|_| checkpoints.retire());
            if let Ok(retired) = &outcome {
                assert_eq!(retired.oldest_needed_lsn, None);
            }
            disk.cut_power_now();
            for seed in saved_seeds::seeds(0..12) {
                let rebooted = disk.restart_after_power_cut(seed);
                let mut checkpoints = open(&rebooted);
                match checkpoints.newest().unwrap() {
                    Some(newest) => check(&newest, 4),
                    None => assert!(outcome.is_err(), "{loss:?} {cut}: it was confirmed"),
                }
                publish(&mut checkpoints, 5).unwrap();
                checkpoints.retire().unwrap();
                check(&checkpoints.newest().unwrap().unwrap(), 5);
            }
            if outcome.is_ok() {
                assert!(cut > 5, "the loop saw {cut} mutations only");
                break;
            }
        }
    }
}

/// A directory that cannot be made again is an error, and the next attempt tries again.
#[test]
fn a_directory_that_cannot_be_made_again_is_an_error() {
    let disk = SimDisk::new();
    let mut checkpoints = open(&disk);
    publish(&mut checkpoints, 1).unwrap();
    disk.delete_dir(DIR);
    disk.fail(Fault::new(Call::CreateDir, FaultKind::Eacces));
    let error = publish(&mut checkpoints, 2).unwrap_err().to_string();
    assert!(error.contains("make again /app/checkpoints"), "{error}");
    publish(&mut checkpoints, 2).unwrap();
    check(&open(&disk).newest().unwrap().unwrap(), 2);
}

mod striking {
    //! A store that is struck by a loss before its n-th call.

    use super::{Loss, store};
    use highwater_checkpoint::{Store, StoreError, StoredFile};
    use highwater_disk::SimDisk;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Debug)]
    pub(super) struct Striking {
        store: Arc<dyn Store>,
        disk: SimDisk,
        loss: Loss,
        step: i64,
        left: AtomicI64,
    }

    impl Striking {
        pub(super) fn new(disk: &SimDisk, step: i64, loss: Loss) -> Arc<Self> {
            Arc::new(Self {
                store: store(disk),
                disk: disk.clone(),
                loss,
                step,
                left: AtomicI64::new(i64::MAX),
            })
        }

        pub(super) fn arm(&self) {
            self.left.store(self.step, Ordering::Relaxed);
        }

        pub(super) fn disarm(&self) {
            self.left.store(i64::MAX, Ordering::Relaxed);
        }

        pub(super) fn has_struck(&self) -> bool {
            self.left.load(Ordering::Relaxed) < 0
        }

        fn step(&self) -> &dyn Store {
            if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
                self.loss.strike(&self.disk);
            }
            &*self.store
        }
    }

    impl Store for Striking {
        fn place(&self) -> String {
            self.store.place()
        }
        fn prepare(&self) -> io::Result<()> {
            self.step().prepare()
        }
        fn remake(&self) -> io::Result<()> {
            self.step().remake()
        }
        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.step().put_new(name, bytes)
        }
        fn len(&self, name: &str) -> io::Result<u64> {
            self.step().len(name)
        }
        fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
            self.step().get_range(name, offset, len)
        }
        fn list(&self) -> io::Result<Vec<StoredFile>> {
            self.step().list()
        }
        fn delete(&self, names: &[String]) -> Result<(), StoreError> {
            self.step().delete(names)
        }
    }
}

use striking::Striking;
