//! Frames that are recognised when they are sent again: by a number, by the number of an epoch, by
//! a key.

use crate::common::builder;
use highwater_engine::wal::disk::{Clock as _, ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, BoxError, CheckpointPolicy, Error, FrameId, KeyWindow, Receiver, SourceContext,
    StopMode, StoredFrame, StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Hands its source to the test.
#[derive(Clone, Default)]
struct Lends(Arc<Mutex<Option<SourceContext>>>);

impl Receiver for Lends {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        *self.0.lock() = Some(source.clone());
        Ok(())
    }

    fn run(&mut self, _: &SourceContext) -> Result<(), BoxError> {
        Ok(())
    }
}

type Seen = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

struct Program {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    seen: Seen,
}

impl Program {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(),
            clock: Arc::new(ManualClock::new(1_700_000_000_000)),
            seen: Seen::default(),
        }
    }

    fn start(&self) -> Result<(StreamingContext, SourceContext), Error> {
        let (lends, seen) = (Lends::default(), Arc::clone(&self.seen));
        let receiver = lends.clone();
        let context = builder(&self.disk, 1)
            .clock(Arc::<ManualClock>::clone(&self.clock))
            .batches(BatchMode::Manual)
            .checkpoint(CheckpointPolicy::every_batches(2))
            .get_or_create(move |ssc| {
                let decode = Arc::new(|bytes: bytes::Bytes| Ok(text(&bytes)));
                let seen = Arc::clone(&seen);
                ssc.source("in", "frames", decode, receiver).for_each_batch(
                    "out",
                    move |batch, records| {
                        seen.lock().insert(batch.id, records);
                    },
                );
                Ok(())
            })?;
        context.start()?;
        let source = lends.0.lock().take().unwrap();
        Ok((context, source))
    }

    fn records(&self) -> Vec<String> {
        let mut all: Vec<String> = self.seen.lock().values().flatten().cloned().collect();
        all.sort_unstable();
        all
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn store(source: &SourceContext, id: FrameId<'_>, body: &str) -> Result<StoredFrame, Error> {
    let stored = source.try_append_frame(id, &[body.as_bytes()])?;
    source.sync_to(stored.lsn)?;
    Ok(stored)
}

/// Every way out of a life: `what` is asked in each, of what the first one has stored.
fn in_each_life(what: impl Fn(&SourceContext, usize)) {
    let program = Program::new();
    let (context, source) = program.start().unwrap();
    what(&source, 0);
    context.run_batch().unwrap();
    context.stop(StopMode::Immediate).unwrap(); // nothing has a checkpoint
    drop((context, source));
    let (context, source) = program.start().unwrap();
    what(&source, 1);
    context.run_batch().unwrap();
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap(); // all of it is in one
    drop((context, source));
    let (_context, source) = program.start().unwrap();
    what(&source, 2);
}

#[test]
fn a_number_that_is_not_above_the_last_one_is_a_retry() {
    in_each_life(|source, life| {
        let at = |sequence| FrameId::Sequence {
            producer: "p",
            sequence,
        };
        let first = store(source, at(3), "a").unwrap();
        let far = store(source, at(1000), "b").unwrap();
        assert_eq!([first, far].map(|at| at.is_duplicate), [life > 0; 2]);
        for old in [0, 3, 999, 1000] {
            // With another body too: it counts as a whole.
            let again = store(source, at(old), "other").unwrap();
            assert_eq!((again.lsn, again.is_duplicate), (far.lsn, true));
        }
        let stats = source.stats();
        let expected = [(2, 4), (0, 6), (0, 6)][life];
        assert_eq!((stats.stored, stats.duplicates), expected);
    });
}

#[test]
fn the_numbers_of_an_epoch_follow_each_other_from_0() {
    in_each_life(|source, life| {
        let at = |epoch, sequence| FrameId::EpochSequence {
            producer: "p",
            epoch,
            sequence,
        };
        let gap = |epoch, sequence| match store(source, at(epoch, sequence), "x") {
            Err(Error::SequenceGap { expected, lsn, .. }) => (expected, lsn),
            other => panic!("{other:?}"),
        };
        let fenced = |epoch, sequence| match store(source, at(epoch, sequence), "x") {
            Err(Error::Fenced { current, .. }) => current,
            other => panic!("{other:?}"),
        };
        if life == 0 {
            assert_eq!(gap(1, 1), (0, None), "it begins at 0");
            let zero = store(source, at(1, 0), "a").unwrap();
            assert_eq!(gap(1, 2), (1, Some(zero.lsn)), "1 is missing");
            assert!(!store(source, at(1, 1), "b").unwrap().is_duplicate);
            assert!(store(source, at(1, 0), "a").unwrap().is_duplicate);
            let (expected, lsn) = gap(2, 2);
            assert!(expected == 0 && lsn.is_some(), "a higher one does too");
            assert!(
                !store(source, at(1, 2), "c").unwrap().is_duplicate,
                "a gap fences nothing"
            );
            assert!(!store(source, at(7, 0), "d").unwrap().is_duplicate);
        }
        assert_eq!((fenced(1, 3), fenced(6, 0)), (7, 7));
        let unnumbered = FrameId::Sequence {
            producer: "p",
            sequence: 5000,
        };
        assert!(matches!(
            store(source, unnumbered, "x"),
            Err(Error::Fenced { .. })
        ));
        assert!(store(source, at(7, 0), "x").unwrap().is_duplicate);
        assert_eq!(gap(7, 2).0, 1);
        assert_eq!(gap(7, u64::MAX).0, 1);
    });
}

#[test]
fn a_key_is_found_with_its_body_and_refused_with_another_one() {
    in_each_life(|source, life| {
        let first = store(source, FrameId::IdempotencyKey(b"k1"), "a").unwrap();
        assert_eq!(first.is_duplicate, life > 0);
        let other = source
            .try_append_frame(FrameId::IdempotencyKey(b"k2"), &[b"a", b"b"])
            .unwrap();
        assert_eq!(other.is_duplicate, life > 0);
        for body in [
            &[b"ab".as_slice()][..],
            &[b"a"],
            &[b"b", b"a"],
            &[b"a", b"b", b""],
            &[],
        ] {
            let refused = source.try_append_frame(FrameId::IdempotencyKey(b"k2"), body);
            let Err(Error::KeyReused { lsn, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(lsn, other.lsn);
        }
        let again = store(source, FrameId::IdempotencyKey(b"k1"), "a").unwrap();
        assert_eq!((again.lsn, again.is_duplicate), (first.lsn, true));
        for key in [&b""[..], &[b'x'; 256]] {
            let refused = store(source, FrameId::IdempotencyKey(key), "a");
            assert!(matches!(refused, Err(Error::Record { .. })), "{refused:?}");
        }
        // What is refused leaves nothing behind.
        assert_eq!(source.stats().stored, [3, 0, 0][life]);
    });
}

#[test]
fn a_key_is_forgotten_when_it_is_too_old_or_there_are_too_many() {
    let program = Program::new();
    let (context, source) = program.start().unwrap();
    source.remember_keys(KeyWindow {
        keys: 1000,
        age: Duration::from_hours(1),
    });
    store(&source, FrameId::IdempotencyKey(b"old"), "a").unwrap();
    program.clock.advance(Duration::from_mins(59));
    assert!(
        store(&source, FrameId::IdempotencyKey(b"old"), "a")
            .unwrap()
            .is_duplicate
    );
    program.clock.advance(Duration::from_mins(1));
    assert!(
        !store(&source, FrameId::IdempotencyKey(b"old"), "a")
            .unwrap()
            .is_duplicate
    );
    context.run_batch().unwrap();
    for number in 0..5000_u32 {
        let key = FrameId::IdempotencyKey(&number.to_le_bytes());
        source.try_append_frame(key, &[b"x"]).map(drop).unwrap();
        if number % 1000 == 999 {
            context.run_batch().unwrap();
        }
    }
    let stats = source.stats();
    assert!(
        (1000..=4000).contains(&stats.forgotten),
        "{}",
        stats.forgotten
    );
    let is_known = |source: &SourceContext, number: u32| {
        store(source, FrameId::IdempotencyKey(&number.to_le_bytes()), "x")
            .unwrap()
            .is_duplicate
    };
    assert!((4000..5000).all(|number| is_known(&source, number)));
    assert!(!is_known(&source, 0));
    context.stop(StopMode::Graceful).unwrap();
    drop((context, source));
    let (_context, source) = program.start().unwrap();
    assert!((4001..5000).all(|number| is_known(&source, number)));
    assert_eq!(program.clock.wall_ms() % 1000, 0);
}

/// One sender of each kind. It sends its frames in order, each until it is acknowledged.
struct Client {
    kind: usize,
    /// How many frames were acknowledged.
    done: u64,
}

impl Client {
    const FRAMES: u64 = 6;

    fn body(&self, number: u64) -> String {
        format!("{} {number}", self.kind)
    }

    fn send(&self, source: &SourceContext, number: u64) -> Result<StoredFrame, Error> {
        let (name, body) = (format!("client {}", self.kind), self.body(number));
        let key = format!("{name} {number}");
        let id = match self.kind {
            0 => FrameId::Sequence {
                producer: &name,
                sequence: 10 * number,
            },
            1 => FrameId::EpochSequence {
                producer: &name,
                epoch: 3,
                sequence: number,
            },
            _ => FrameId::IdempotencyKey(key.as_bytes()),
        };
        store(source, id, &body)
    }
}

/// A run, until the power fails. A frame of before is sent again with each new one.
fn run(program: &Program, clients: &mut [Client]) -> Result<(), Error> {
    let (context, source) = program.start()?;
    while clients.iter().any(|client| client.done < Client::FRAMES) {
        for client in &mut *clients {
            if client.done < Client::FRAMES {
                client.send(&source, client.done)?;
                client.done += 1;
            }
            let again = client.send(&source, client.done / 2)?;
            assert!(again.is_duplicate, "acknowledged, and stored again");
        }
        context.run_batch()?;
    }
    context.run_batch()?;
    context.stop(StopMode::Graceful)
}

/// The power fails before each operation of the disk, in two lives; each client sends again what it
/// has no answer for, and now and then what it has one for. 0 lost, 0 doubled.
#[test]
fn whatever_is_sent_again_after_a_power_cut_counts_once() {
    let mut cuts = 0;
    for cut in 0.. {
        let mut program = Program::new();
        let mut clients = [0, 1, 2].map(|kind| Client { kind, done: 0 });
        let mut ended = false;
        for (life, seed) in [(0, cut), (1, cut + 7)] {
            let after = [cut, cut % 60][life];
            program
                .disk
                .cut_power_before(program.disk.mutations() + after);
            ended = run(&program, &mut clients).is_ok();
            if ended {
                break;
            }
            cuts += 1;
            program.disk = program.disk.restart_after_power_cut(seed);
        }
        if !ended {
            run(&program, &mut clients).unwrap();
        }
        let mut expected: Vec<String> = clients
            .iter()
            .flat_map(|client| (0..Client::FRAMES).map(|number| client.body(number)))
            .collect();
        expected.sort_unstable();
        assert_eq!(program.records(), expected, "cut before operation {cut}");
        if ended {
            break;
        }
    }
    assert!(cuts > 100, "{cuts}");
}
