//! A program without state: it loses nothing over a kill, and its log stays bounded.

use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{BatchMode, Result, StreamingContext, wal};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

const SEGMENT: u64 = 8 << 10;
const RECORD: usize = 500;

/// What each batch had: the sink keeps it by the number of the batch.
type Seen = Arc<Mutex<BTreeMap<u64, Vec<u64>>>>;

/// All settings of the builder that decide what is kept are the defaults. Small segments show what
/// is truncated.
fn open(disk: &SimDisk, seen: &Seen) -> Result<StreamingContext> {
    let log = wal::Options::new()
        .segment_size(SEGMENT)
        .background(wal::Background::Inline);
    let seen = Arc::clone(seen);
    StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(log)
        .batches(BatchMode::Manual)
        .get_or_create(move |ssc| {
            ssc.input::<(u64, Vec<u8>)>("records")
                .map(|(number, _)| number)
                .for_each_batch("out", move |batch, numbers| {
                    let before = seen.lock().insert(batch.id, numbers.clone());
                    assert!(before.is_none_or(|before| before == numbers), "{batch}");
                });
            Ok(())
        })
}

/// Lives until the power goes, for six batches at most: fewer than a checkpoint needs. Returns how
/// many records are acknowledged.
fn live(disk: &SimDisk, seen: &Seen, mut acknowledged: u64, bound: u64) -> Result<u64> {
    let result = (|| {
        let context = open(disk, seen)?;
        context.start()?;
        let input = context.input::<(u64, Vec<u8>)>("records")?;
        for _ in 0..6 {
            for _ in 0..4 {
                let record = (acknowledged, vec![7; RECORD]);
                input.send_once("p", acknowledged, &record)?.wait()?;
                acknowledged += 1;
            }
            context.run_batch()?;
            let kept = context
                .log()
                .end_lsn()
                .bytes_since(context.log().first_lsn());
            assert!(kept <= bound, "{kept} bytes of log are kept");
        }
        disk.cut_power_now();
        Ok(())
    })();
    match result {
        Err(error) if !SimDisk::caused_by_power_cut(&error) => Err(error),
        _ => Ok(acknowledged),
    }
}

#[test]
fn a_stateless_program_loses_nothing_over_power_cuts_and_its_log_stays_bounded() {
    // Two checkpoints are kept, each ten batches apart, and what came since the newer one.
    let bound = 3 * 10 * 4 * (RECORD as u64 + 300) + 8 * SEGMENT;
    let (mut disk, seen, mut acknowledged) = (SimDisk::new(), Seen::default(), 0);
    for life in 0..60 {
        // Some lives end at an operation of the disk, the others after their last batch.
        if life % 2 == 1 {
            disk.cut_power_before(disk.mutations() + 20 + life * 3);
        }
        acknowledged = live(&disk, &seen, acknowledged, bound).unwrap();
        disk = disk.restart_after_power_cut(life);
    }
    let context = open(&disk, &seen).unwrap();
    context.start().unwrap();
    context.run_batch().unwrap();
    let numbers: Vec<u64> = seen.lock().values().flatten().copied().collect();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "each once, in order");
    assert!(
        numbers.len() as u64 >= acknowledged,
        "{acknowledged} were acknowledged"
    );
    let written = context.log().end_lsn().get();
    assert!(
        written > 3 * bound,
        "{written} bytes say little about {bound}"
    );
    assert!(
        disk.used_bytes() < 2 * bound,
        "{} bytes are used",
        disk.used_bytes()
    );
}
