//! Reading from the newest record to the oldest.

use crate::saved_seeds;
use highwater_wal::disk::SimDisk;
use highwater_wal::{Background, Lsn, Options, ReadPath, StreamId, Wal, WalError, WritePath};
use proptest::prelude::*;
use std::sync::Arc;

fn options(sim: &SimDisk) -> Options {
    Options::new()
        .segment_size(1 << 20)
        .min_segment_size(16 << 10)
        .write_path(WritePath::PageCache)
        .background(Background::Inline)
        .log_id_seed(5)
        .disk(Arc::new(sim.clone()))
}

#[derive(Debug, Clone)]
enum Op {
    Append { stream: u16, size: usize },
    Batch { stream: u16, sizes: Vec<usize> },
    Void { back: usize },
    Sync,
    Truncate,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![9 => 0..2_000_usize, 1 => 50_000..300_000_usize];
    prop_oneof![
        8 => (0..3_u16, size).prop_map(|(stream, size)| Op::Append { stream, size }),
        3 => (0..3_u16, proptest::collection::vec(0..900_usize, 0..5))
            .prop_map(|(stream, sizes)| Op::Batch { stream, sizes }),
        1 => (1..20_usize).prop_map(|back| Op::Void { back }),
        2 => Just(Op::Sync),
        1 => Just(Op::Truncate),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(saved_seeds::config(48, env!("CARGO_MANIFEST_DIR"), "backwards"))]

    /// It is what a reader shows, turned round: of all streams and of one, from any place.
    #[test]
    fn backwards_is_forwards_turned_round(program in proptest::collection::vec(op(), 1..80), copied in any::<bool>()) {
        let sim = SimDisk::new();
        let path = if copied { ReadPath::Copy } else { ReadPath::Mapped };
        let options = options(&sim).read_path(path).progress_interval(100_000);
        let mut log = Wal::open_with("/log", options.clone()).unwrap();
        let mut lsns = vec![log.end_lsn()];
        for op in program {
            match op {
                Op::Append { stream, size } => {
                    lsns.push(log.append_to(StreamId(stream), vec![1; size]).unwrap());
                }
                Op::Batch { stream, sizes } => {
                    let records = sizes.iter().map(|size| vec![2; *size]);
                    lsns.push(log.append_batch_to(StreamId(stream), records).unwrap().first);
                }
                Op::Void { back } => {
                    let from = lsns[lsns.len().saturating_sub(back)];
                    if from < log.end_lsn() && from >= log.first_lsn() {
                        let _lsn = log.void(from, log.end_lsn()).unwrap();
                    }
                }
                Op::Sync => log.sync().unwrap(),
                Op::Truncate => log.truncate_before(lsns[lsns.len() / 2]).unwrap(),
                Op::Reopen => {
                    drop(log);
                    log = Wal::open_with("/log", options.clone()).unwrap();
                }
            }
        }
        log.sync().unwrap();
        let place = |record: &highwater_wal::Record| (record.lsn, record.index, record.payload.to_vec());
        let durable = log.durable_lsn();
        let ends = lsns.iter().copied().filter(|lsn| *lsn >= log.first_lsn()).chain([durable]);
        for before in ends.collect::<Vec<_>>() {
            for stream in [None, Some(StreamId(1))] {
                let (mut forwards, mut backwards) =
                    (log.read_range(Lsn::ZERO, before).unwrap(), log.read_backwards(before).unwrap());
                if let Some(stream) = stream {
                    (forwards, backwards) = (forwards.only(stream), backwards.only(stream));
                }
                let mut forwards: Vec<_> = forwards.map(|r| place(&r.unwrap())).collect();
                forwards.reverse();
                let backwards: Vec<_> = backwards.map(|r| place(&r.unwrap())).collect();
                prop_assert!(forwards == backwards, "before {before}, of {stream:?}");
            }
        }
        let last = log.last().unwrap().map(|record| place(&record));
        let newest = log.read_from(Lsn::ZERO).unwrap().last().map(|r| place(&r.unwrap()));
        prop_assert!(last == newest);
    }
}

#[test]
fn it_keeps_the_log_and_refuses_what_is_not_there() {
    let sim = SimDisk::new();
    let options = options(&sim)
        .segment_size(16 << 10)
        .min_segment_size(16 << 10);
    let log = Wal::open_with("/log", options).unwrap();
    assert!(log.last().unwrap().is_none());
    let first = log.append([0; 900]).unwrap();
    for _ in 0..100 {
        let _lsn = log.append([0; 900]).unwrap();
    }
    let error = log.read_backwards(log.end_lsn()).unwrap_err();
    assert!(matches!(error, WalError::NotDurable { .. }), "{error}");
    log.sync().unwrap();
    let reader = log
        .read_backwards(log.durable_lsn())
        .unwrap()
        .named("the latest");
    log.truncate_before(log.durable_lsn()).unwrap();
    assert_eq!(
        (log.first_lsn(), &*log.holds()[0].name),
        (Lsn::ZERO, "the latest")
    );
    assert_eq!(reader.count(), 101);
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = log.read_backwards(first).unwrap_err();
    assert!(matches!(error, WalError::Truncated { .. }), "{error}");
}
