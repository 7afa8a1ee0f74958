//! No number of the interface panics, overflows or allocates what is not there; and every error has
//! its cause.

use crate::common;
use crate::common::{LOG, WRITER, check, meta, options, publish};
use highwater_checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, LocalStore, LogBounds, Options, Store,
};
use highwater_disk::SimDisk;
use highwater_disk::sim::{Call, Fault, FaultKind};
use std::error::Error;
use std::io;
use std::sync::Arc;

const NUMBERS: [u64; 8] = [0, 1, 2, 511, 1 << 31, 1 << 63, u64::MAX - 1, u64::MAX];

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"))
}

#[test]
fn every_setting_means_what_it_says() {
    for number in NUMBERS {
        let disk = SimDisk::new();
        let options = Options {
            writer: number,
            retain: usize::try_from(number).unwrap(),
            state_file_bytes: number,
            ..options(WRITER)
        };
        let mut checkpoints = Checkpoints::open(store(&disk), options).unwrap();
        for n in 1..=5 {
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        let kept = usize::try_from(number).unwrap().clamp(2, 5);
        assert_eq!(checkpoints.manifests().count(), kept, "{number}");
        check(&checkpoints.newest().unwrap().unwrap(), 5);
    }
}

#[test]
fn every_number_of_a_checkpoint_comes_back() {
    for number in NUMBERS {
        let disk = SimDisk::new();
        let mut checkpoints = Checkpoints::open(store(&disk), options(WRITER)).unwrap();
        let mut meta = meta(1);
        (meta.lsn, meta.created_ms) = (number, number);
        (meta.batch.id, meta.batch.time_ms) = (number, number);
        let group = u32::try_from(number).unwrap_or(u32::MAX);
        let mut writer = checkpoints.begin(meta.clone()).unwrap();
        writer
            .add_block("counts", group, number, b"entries")
            .unwrap();
        writer
            .add_block("counts", group ^ 1, number, b"more")
            .unwrap();
        writer.publish().unwrap();
        checkpoints.retire().unwrap();
        let found = Checkpoints::open(store(&disk), options(7))
            .unwrap()
            .newest()
            .unwrap()
            .unwrap();
        assert_eq!((found.lsn(), found.manifest().batch), (number, meta.batch));
        assert_eq!(common::read(&found, "counts", group).unwrap(), b"entries");
        assert_eq!(found.states()[0].entries, number.saturating_mul(2));
        for first_lsn in NUMBERS {
            for end_lsn in NUMBERS {
                let log = LogBounds {
                    log_id: LOG,
                    first_lsn,
                    end_lsn,
                };
                let fits = (first_lsn..=end_lsn).contains(&number);
                assert_eq!(found.check_log(&log).is_ok(), fits, "{log:?} {number}");
            }
        }
        // A manifest that was made by hand, with lengths that nothing has.
        let mut manifest = found.manifest().clone();
        manifest.files[0].size = number;
        let by_hand = Checkpoint::of_manifest(store(&disk), manifest);
        assert!(by_hand.read_group("counts", group).is_err(), "{number}");
    }
}

/// Down the chain of sources stands the error of the operating system.
#[test]
fn every_failed_call_of_the_store_is_the_cause_of_an_error() {
    let mut seen = 0;
    for call in Call::ALL {
        for nth in 0..20 {
            let disk = SimDisk::new();
            disk.fail(Fault::new(call, FaultKind::Eio).nth(nth).forever());
            let outcome = Checkpoints::open(store(&disk), options(WRITER)).and_then(|mut c| {
                publish(&mut c, 1)?;
                c.retire()?;
                c.newest().map(drop)
            });
            let Err(error) = outcome else { break };
            assert!(
                matches!(error, CheckpointError::Io { .. }),
                "{call:?} {nth}: {error}"
            );
            let mut last: &(dyn Error + 'static) = &error;
            let first = last.source().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(highwater_disk::raw_os_error(first), Some(5), "{error}");
            while let Some(next) = last.source() {
                last = next;
            }
            let last = last.downcast_ref::<io::Error>().unwrap();
            assert_eq!(last.raw_os_error(), Some(5), "{error}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
