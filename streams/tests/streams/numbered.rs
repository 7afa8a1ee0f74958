//! Producers that number their messages, against a model: whatever they send, and wherever the
//! power is cut.

use crate::saved_seeds;
use crate::world::{open, options};
use highwater_disk::{CrashTest, Disk, SimDisk};
use highwater_streams::{
    Append, Batch, From, NewStream, Options, RECORDS, RecordRef, Refusal, Result, Streams,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

type BoxError = Box<dyn Error + Send + Sync>;

const NAME: &str = "orders/0";
const NUMBERS: u64 = 1 << 31;

#[derive(Debug, Clone)]
enum Op {
    /// Producer, what is added to its epoch and to its next number, and how many messages.
    Send(u64, u16, i64, u64),
    /// The same as one that was accepted so many batches of the producer ago.
    Again(u64, usize),
    Tend,
    Checkpoint,
    Reopen,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    At { first: u64, is_duplicate: bool },
    Refused(Refusal),
    Nothing,
}

/// Everything that was accepted of a producer: epoch, first number, how many, where.
type Accepted = (u16, u64, u64, u64);

#[derive(Debug, Clone, Default)]
struct Model {
    messages: Vec<Vec<u8>>,
    producers: BTreeMap<u64, Vec<Accepted>>,
    ops: u64,
}

impl Model {
    /// What an op sends: producer, epoch, first number, how many.
    fn sends(&self, op: &Op) -> Option<(u64, u16, u64, u64)> {
        match *op {
            Op::Send(producer, epoch_more, number_more, count) => {
                let last = self.producers.get(&producer).and_then(|all| all.last());
                let (epoch, next) = match last {
                    // It may begin anywhere: here where numbers are about to begin anew.
                    None => (1, NUMBERS - 4),
                    Some((epoch, first, count, _)) if epoch_more == 0 => (*epoch, first + count),
                    Some((epoch, ..)) => ((epoch + epoch_more).saturating_sub(2), 0),
                };
                let first = (next + NUMBERS).saturating_add_signed(number_more) % NUMBERS;
                Some((producer, epoch, first, count))
            }
            Op::Again(producer, ago) => {
                let all = self.producers.get(&producer)?;
                let (epoch, first, count, _) = all.iter().rev().nth(ago)?;
                Some((producer, *epoch, *first, *count))
            }
            _ => None,
        }
    }

    fn body(&self, op: &Op) -> Vec<Vec<u8>> {
        let count = self.sends(op).map_or(0, |(.., count)| count);
        let text = |i| format!("{}.{i}.{}", self.ops, "x".repeat(200));
        let message = |i| {
            let text: String = text(i);
            let record = RecordRef {
                value: Some(text.as_bytes()),
                ..RecordRef::default()
            };
            record.encode()
        };
        (0..count).map(message).collect()
    }

    fn apply(&mut self, op: &Op) -> Told {
        let body = self.body(op);
        let sends = self.sends(op);
        self.ops += 1;
        let Some((producer, epoch, received, count)) = sends else {
            return Told::Nothing;
        };
        let all = self.producers.entry(producer).or_default();
        if let Some((current, last_first, last_count, _)) = all.last().copied() {
            if epoch < current {
                let current = current.into();
                return Told::Refused(Refusal::StaleEpoch { current });
            }
            let of_epoch = all.iter().filter(|(of, ..)| *of == epoch);
            let of_epoch: Vec<_> = of_epoch.collect();
            let newest = of_epoch.iter().rev().take(5);
            let same = |one: &&&Accepted| (one.1, one.2) == (received, count);
            if let Some((.., first)) = newest.clone().find(same) {
                let (first, is_duplicate) = (*first, true);
                return Told::At {
                    first,
                    is_duplicate,
                };
            }
            let expected = match epoch == current {
                true => (last_first + last_count) % NUMBERS,
                false => 0,
            };
            // Everything of the epoch, number by number.
            let numbers = of_epoch.iter().flat_map(|(_, first, count, _)| {
                (*first..first + count).map(|number| number % NUMBERS)
            });
            let accepted: BTreeSet<u64> = numbers.collect();
            let mut wanted = (received..received + count).map(|number| number % NUMBERS);
            if received != expected {
                return Told::Refused(match wanted.all(|number| accepted.contains(&number)) {
                    true => Refusal::OldRetry { expected, received },
                    false => Refusal::Gap { expected, received },
                });
            }
        }
        let first = self.messages.len() as u64;
        all.push((epoch, received, count, first));
        self.messages.extend(body);
        let is_duplicate = false;
        Told::At {
            first,
            is_duplicate,
        }
    }
}

fn settings(disk: Arc<dyn Disk>) -> Options {
    options(disk).max_producers(1024)
}

fn start(disk: Arc<dyn Disk>) -> Result<Streams> {
    let streams = Streams::open("/streams", settings(disk))?;
    let content_type = Some(RECORDS);
    let new = NewStream {
        content_type,
        ..NewStream::default()
    };
    streams
        .create(NAME, &new)?
        .wait()?
        .expect("it is new, or the same");
    Ok(streams)
}

fn ask(streams: &Streams, before: &Model, op: &Op) -> Result<Told> {
    match op {
        Op::Tend => streams.tend()?,
        Op::Checkpoint => streams.checkpoint()?,
        _ => {}
    }
    let Some((producer, epoch, first, _)) = before.sends(op) else {
        return Ok(Told::Nothing);
    };
    let body = before.body(op);
    let messages: Vec<&[u8]> = body.iter().map(Vec::as_slice).collect();
    let request = Append {
        content_type: Some(RECORDS),
        messages: &messages,
        batch: Some(Batch {
            producer,
            epoch,
            first: u32::try_from(first).unwrap(),
        }),
        ..Append::default()
    };
    let told = streams.append(NAME, &request)?.wait()?;
    Ok(told.map_or_else(Told::Refused, |appended| Told::At {
        first: appended.first.unwrap().get(),
        is_duplicate: appended.is_duplicate,
    }))
}

fn messages(streams: &Streams) -> Result<Vec<Vec<u8>>> {
    let page = streams.read(NAME, From::Start, 1 << 20)?.wait()?.unwrap();
    assert!(page.stream.counts_messages && !page.stream.is_json);
    Ok(page.pieces().map(<[u8]>::to_vec).collect())
}

fn program(len: usize) -> impl Strategy<Value = Vec<Op>> {
    let send = (
        1..4_u64,
        prop_oneof![8 => Just(0_u16), 1 => 1..5_u16],
        prop_oneof![8 => Just(0_i64), 1 => -6..4_i64],
        1..4_u64,
    );
    let op = prop_oneof![
        12 => send.prop_map(|(producer, epoch, number, count)| Op::Send(producer, epoch, number, count)),
        4 => (1..4_u64, 0..8_usize).prop_map(|(producer, ago)| Op::Again(producer, ago)),
        2 => Just(Op::Tend),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ];
    proptest::collection::vec(op, 1..len)
}

fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(usual, |n| n.parse().unwrap())
}

proptest! {
    #![proptest_config(saved_seeds::config(cases(200), env!("CARGO_MANIFEST_DIR"), "numbered"))]

    #[test]
    fn every_answer_is_that_of_the_model(program in program(80)) {
        let disk = Arc::new(SimDisk::new());
        let mut streams = start(disk.clone()).unwrap();
        let mut model = Model::default();
        for op in &program {
            if matches!(op, Op::Reopen) {
                drop(streams);
                streams = start(disk.clone()).unwrap();
            }
            let told = ask(&streams, &model, op).unwrap();
            prop_assert_eq!(told, model.apply(op), "{:?}", op);
        }
        prop_assert_eq!(messages(&streams).unwrap(), model.messages);
    }
}

proptest! {
    #![proptest_config(saved_seeds::config(cases(25), env!("CARGO_MANIFEST_DIR"), "numbered-crash"))]

    /// Every answer is waited for: after a cut all of it is there, and perhaps the op that was
    /// under way. That one is sent again, as a client does: it is there once.
    #[test]
    fn a_batch_that_is_sent_again_after_a_cut_is_there_once(program in program(20), seed in 0..1000_u64) {
        let test = CrashTest::new(
            |disk, told: &mut usize| {
                *told = 0;
                let mut streams = Some(start(disk.clone())?);
                let mut model = Model::default();
                for op in &program {
                    if matches!(op, Op::Reopen) {
                        drop(streams.take());
                        streams = Some(start(disk.clone())?);
                    }
                    let open = streams.as_ref().ok_or("it is open")?;
                    let answer = ask(open, &model, op)?;
                    if answer != model.apply(op) {
                        return Err(format!("{op:?} is told {answer:?}").into());
                    }
                    *told += 1;
                }
                Ok::<(), BoxError>(())
            },
            |disk, told| {
                let streams = start(disk)?;
                let mut model = Model::default();
                for op in program.iter().take(*told) {
                    model.apply(op);
                }
                if let Some(op) = program.get(*told) {
                    let answer = ask(&streams, &model, op)?;
                    let expected = model.apply(op);
                    let same = match (&answer, &expected) {
                        // It was there already, or it is now.
                        (Told::At { first: a, .. }, Told::At { first: b, .. }) => a == b,
                        (a, b) => a == b,
                    };
                    if !same {
                        return Err(format!("{op:?} is told {answer:?}, not {expected:?}").into());
                    }
                }
                match messages(&streams)? == model.messages {
                    true => Ok(()),
                    false => Err("messages are missing, or are there twice".into()),
                }
            },
        );
        test.seeds(seed..seed + 1).run().map_err(|failure| TestCaseError::fail(failure.to_string()))?;
    }
}

/// An id that was told is not told again, also after the power was cut.
#[test]
fn ids_are_given_once() {
    let test = CrashTest::new(
        |disk, told: &mut BTreeSet<u64>| {
            told.clear();
            for _ in 0..3 {
                let streams = open(disk.clone())?;
                for _ in 0..4 {
                    let id = streams.new_producer_id()?.wait()??;
                    if !told.insert(id) {
                        return Err(format!("{id} is told twice").into());
                    }
                }
                streams.checkpoint()?;
            }
            Ok::<(), BoxError>(())
        },
        |disk, told| {
            let streams = open(disk)?;
            let id = streams.new_producer_id()?.wait()??;
            match told.contains(&id) {
                true => Err(format!("{id} is told again").into()),
                false => Ok(()),
            }
        },
    );
    assert!(test.seeds(0..3).run().unwrap().cuts > 20);
}

/// Bytes have no numbers: a batch in a stream of bytes could not be told from its retry.
#[test]
fn a_stream_of_bytes_takes_no_numbered_messages() {
    let streams = open(Arc::new(SimDisk::new())).unwrap();
    let content_type = Some("text/plain");
    let new = NewStream {
        content_type,
        ..NewStream::default()
    };
    streams.create("t", &new).unwrap().wait().unwrap().unwrap();
    let batch = Some(Batch {
        producer: 1,
        epoch: 0,
        first: 0,
    });
    for messages in [&[&b"a"[..]][..], &[]] {
        let request = Append {
            content_type,
            messages,
            batch,
            ..Append::default()
        };
        let told = streams.append("t", &request).unwrap().wait().unwrap();
        assert_eq!(told, Err(Refusal::NoMessages));
    }
}

/// A number that is none of a message was written into the log, and refused there at the next
/// start: the directory could not be opened any more.
#[test]
fn a_number_that_no_message_has_is_refused() {
    let disk = Arc::new(SimDisk::new());
    let streams = start(disk.clone()).unwrap();
    let send = |streams: &Streams, first| {
        let batch = Some(Batch {
            producer: 1,
            epoch: 0,
            first,
        });
        let request = Append {
            content_type: Some(RECORDS),
            messages: &[b"a"],
            batch,
            ..Append::default()
        };
        streams.append(NAME, &request).unwrap().wait().unwrap()
    };
    for first in [1 << 31, u32::MAX] {
        assert_eq!(send(&streams, first).map(drop), Err(Refusal::NoNumber));
    }
    let last = (1 << 31) - 1;
    assert!(!send(&streams, last).unwrap().is_duplicate);
    drop(streams);
    assert!(send(&start(disk).unwrap(), last).unwrap().is_duplicate);
}
