//! What a producer is told about records that it sends with numbers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    BoxError, Error, Receipt, Receiver, Sender, SourceContext, StopMode, StreamingContext,
};
use std::sync::{Arc, Mutex};

fn start(disk: &SimDisk) -> (StreamingContext, Sender<String>) {
    let context = builder(disk, 1)
        .get_or_create(|ssc| {
            ssc.input::<String>("in")
                .for_each_batch("out", |_, _: Vec<String>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input("in").unwrap();
    (context, input)
}

/// A sensor that counted from one again after its restart was acknowledged, its records were
/// dropped, and nothing told it.
#[test]
fn a_producer_that_begins_its_numbers_again_is_told() {
    let disk = SimDisk::new();
    let mut lsns = Vec::new();
    for life in 0..2 {
        let (context, input) = start(&disk);
        for sequence in 1..=3 {
            let ack = input
                .send_once("sensor", sequence, &format!("{life} {sequence}"))
                .unwrap();
            assert_eq!(ack.is_duplicate(), life == 1);
            let shown = format!("{ack:?}");
            assert!(
                shown.contains(&format!("is_duplicate: {}", life == 1)),
                "{shown}"
            );
            lsns.push(ack.lsn());
            ack.wait().unwrap();
        }
        let plain = input.send(&"without a number".to_owned()).unwrap();
        assert!(!plain.is_duplicate());
        plain.wait().unwrap();
        let stats = context.sources()[0].1;
        assert_eq!((stats.stored, stats.duplicates), [(4, 0), (1, 3)][life]);
        context.run_batch().unwrap();
        context.stop(StopMode::Immediate).unwrap();
    }
    assert!(lsns[..3].is_sorted());
    assert_eq!(lsns[3..], [lsns[2]; 3], "the place of the newest record");
}

#[test]
fn the_acknowledgement_of_a_duplicate_holds_through_a_power_cut() {
    let disk = SimDisk::new();
    let (_context, input) = start(&disk);
    let stored = input.send_once("p", 1, &"x".to_owned()).unwrap();
    drop(stored); // nothing has waited for it
    let again = input.send_once("p", 1, &"x".to_owned()).unwrap();
    assert!(again.is_duplicate());
    again.wait().unwrap();
    disk.cut_power_now();
    let (_context, input) = start(&disk.restart_after_power_cut(1));
    assert!(
        input
            .send_once("p", 1, &"x".to_owned())
            .unwrap()
            .is_duplicate()
    );
}

/// Offers records in one call and hands out the receipts.
struct Offers(Arc<Mutex<Vec<Receipt>>>);

impl Receiver for Offers {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let mut receipts = self.0.lock().unwrap();
        for numbers in [&[1, 2][..], &[2, 3, 1, 3, 4], &[4, 0], &[]] {
            let records: Vec<(u64, &[u8])> = numbers.iter().map(|n| (*n, &b"x"[..])).collect();
            let appended = source.append_once("p", &records)?;
            assert_eq!(appended.receipts.len(), numbers.len());
            let duplicates = appended.receipts.iter().filter(|r| r.is_duplicate());
            assert_eq!(appended.duplicates, duplicates.count());
            let newest = appended.receipts.iter().map(|r| r.lsn()).max();
            assert_eq!(appended.lsn, newest, "what to wait for covers all");
            receipts.extend(appended.receipts);
        }
        Ok(())
    }

    fn run(&mut self, _: &SourceContext) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn each_record_of_several_has_its_receipt() {
    let receipts = Arc::new(Mutex::new(Vec::new()));
    let offers = Offers(Arc::clone(&receipts));
    let context = builder(&SimDisk::new(), 1)
        .get_or_create(|ssc| {
            let decode = Arc::new(|bytes: bytes::Bytes| Ok(bytes.len()));
            ssc.source("offers", "offers", decode, offers)
                .for_each_batch("out", |_, _: Vec<usize>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let receipts = receipts.lock().unwrap();
    let (first, second) = (receipts[0].lsn(), receipts[3].lsn());
    use Receipt::{Duplicate, Stored};
    assert!(first < second);
    assert_eq!(
        receipts[..],
        [
            Stored(first),
            Stored(first),
            Duplicate(first),
            Stored(second),
            Duplicate(first),
            Duplicate(second),
            Stored(second),
            Duplicate(second),
            Duplicate(second),
        ]
    );
}

/// A producer's lives: a higher epoch begins its numbers again and fences the lower ones, across
/// restarts with and without a checkpoint.
#[test]
fn a_higher_epoch_begins_its_numbers_again_and_fences_lower_ones() {
    let disk = SimDisk::new();
    let (context, input) = start(&disk);
    let send = |input: &Sender<String>, epoch, sequence| {
        let ack = input.send_once_as("p", epoch, sequence, &format!("{epoch} {sequence}"))?;
        let receipt = (ack.is_duplicate(), ack.lsn());
        ack.wait()?;
        Ok::<_, Error>(receipt)
    };
    let (is_duplicate, first) = send(&input, 0, 7).unwrap();
    assert!(!is_duplicate);
    assert!(
        input
            .send_once("p", 7, &"again".to_owned())
            .unwrap()
            .is_duplicate()
    );
    let (is_duplicate, second) = send(&input, 2, 0).unwrap();
    assert!(!is_duplicate && second > first, "the numbers begin again");
    assert_eq!(send(&input, 2, 0).unwrap(), (true, second));
    drop((context, input));
    for stop in [StopMode::Immediate, StopMode::Graceful, StopMode::Graceful] {
        let (context, input) = start(&disk);
        for epoch in [0, 1] {
            let error = send(&input, epoch, 100).unwrap_err();
            assert!(
                matches!(&error, Error::Fenced { current: 2, lsn, .. } if *lsn == second),
                "{error}"
            );
            let shown = error.to_string();
            assert!(
                shown.contains("\"p\"") && shown.contains("above 2"),
                "{shown}"
            );
        }
        assert!(input.send_once("p", 100, &"0".to_owned()).is_err());
        assert_eq!(send(&input, 2, 0).unwrap(), (true, second));
        // Others are not affected.
        input
            .send_once("q", 1, &"q".to_owned())
            .unwrap()
            .wait()
            .unwrap();
        context.run_batch().unwrap();
        context.stop(stop).unwrap();
    }
}
