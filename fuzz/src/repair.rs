//! What `repair` and `salvage` make of a closed log whose files were edited without forging a
//! checksum.

use super::{DIR, Example, options};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::{Log, repair, salvage};
use highwater_wal::layout::META_NAME;
use highwater_wal::{Lsn, Wal};
use std::path::PathBuf;
use std::sync::Arc;

/// Nothing wrong is rescued, nothing in another order; where `LOG` still says how far the log went,
/// what is missing is told. The log itself stays as it is.
pub fn repair_and_salvage(sim: &SimDisk, closed: &Example) {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let meta = PathBuf::from(DIR).join(META_NAME);
    let said = sim.read_file(&meta) == closed.sim.read_file(&meta);
    let expected: Vec<&[u8]> = closed.records().collect();

    if let Ok(repaired) = repair(&disk, DIR, "/repaired", |_| ()) {
        let kept = records(sim, "/repaired");
        // Without `LOG` nothing tells where the log started.
        let kept_as = slices(&kept);
        let mut from = (0..=expected.len()).filter(|start| !said || *start == 0);
        assert!(
            from.any(|start| expected[start..].starts_with(&kept_as)),
            "repair shows what was not there"
        );
        assert_eq!(repaired.records, kept.len() as u64);
        let told = !repaired.lost.is_empty();
        assert!(
            told || !said || kept.len() == expected.len(),
            "repair does not tell what is lost"
        );
        let log = Wal::open_with("/repaired", options(sim)).unwrap();
        assert_eq!(log.recovery().end_lsn, repaired.end_lsn);
    }
    if let Ok(salvaged) = salvage(&disk, DIR, "/salvaged", |_| Ok(()), |_| ()) {
        let saved = records(sim, "/salvaged");
        let mut rest = expected.iter();
        let in_order = saved.iter().all(|record| rest.any(|known| known == record));
        assert!(in_order, "salvage shows what was not there");
        assert_eq!(salvaged.records, saved.len() as u64);
        let told = !salvaged.lost.is_empty();
        assert!(
            told || !said || saved.len() == expected.len(),
            "salvage does not tell what is lost"
        );
    }
}

fn records(sim: &SimDisk, dir: &str) -> Vec<Vec<u8>> {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let log = Log::open(disk, dir).unwrap();
    let frames = log.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
    frames
        .flat_map(|frame| {
            frame
                .records()
                .iter()
                .map(|record| record.to_vec())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn slices(records: &[Vec<u8>]) -> Vec<&[u8]> {
    records.iter().map(Vec::as_slice).collect()
}
