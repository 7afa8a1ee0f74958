//! Programs on real streams, on a simulated disk.

use crate::model::{Model, NAMES, Op, Told, append, limit_of, messages, new_fork, new_stream};
use highwater_disk::{Disk, ManualClock};
use highwater_streams::{Decision, From, Options, Position, Result, Streams, Then};
use highwater_wal::Options as LogOptions;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn options(disk: Arc<dyn Disk>) -> Options {
    Options::new()
        .disk(disk)
        .clock(Arc::new(ManualClock::new(1_000_000)))
        .without_threads()
        .segment_bytes(16 << 10)
        .checkpoint_every(4 << 10, Duration::from_secs(3600))
        .move_below_percent(100)
        .log(LogOptions::new().log_id_seed(1))
}

pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Streams> {
    Streams::open("/streams", options(disk))
}

/// A decision that is not waited for yet.
pub(crate) struct Asked(Box<dyn FnOnce() -> Result<Told>>);

impl Asked {
    fn of<T: 'static>(decision: Decision<T>, told: impl FnOnce(T) -> Told + 'static) -> Self {
        Self(Box::new(move || {
            Ok(decision.wait()?.map_or_else(Told::Refused, told))
        }))
    }

    pub(crate) fn wait(self) -> Result<Told> {
        (self.0)()
    }
}

/// Does an op; `before` is the model before it.
pub(crate) fn ask(streams: &Streams, before: &Model, op: &Op) -> Result<Asked> {
    let n = before.ops;
    Ok(match op {
        Op::Create {
            name,
            json,
            messages: lens,
            then,
        } => {
            let all = messages(n, lens, *json);
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            let made = streams.create(NAMES[*name], &new_stream(*json, &all, *then))?;
            Asked::of(made, |made| Told::Created {
                is_new: made.is_new,
                end: made.stream.end.get(),
            })
        }
        Op::Fork { name, source, at } => {
            // By the model: what is durable may be less.
            let end = match before.clone().apply(&Op::Look { name: *source }) {
                Told::Seen { end, .. } => end,
                _ => 0,
            };
            let made = streams.create(NAMES[*name], &new_fork(*source, end * at / 100))?;
            Asked::of(made, |made| Told::Created {
                is_new: made.is_new,
                end: made.stream.end.get(),
            })
        }
        Op::Append {
            name,
            json,
            messages: lens,
            then,
            producer,
            sequence,
        } => {
            let all = messages(n, lens, *json);
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            let sends = before.sends(*name, *producer);
            let sequence = sequence.map(|s| [s]);
            let request = append(*json, &all, *then, sends, &sequence);
            Asked::of(streams.append(NAMES[*name], &request)?, |appended| {
                Told::Appended {
                    is_duplicate: appended.is_duplicate,
                    end: appended.end.get(),
                    is_closed: appended.is_closed,
                    sequence: appended.sequence,
                }
            })
        }
        Op::Delete { name } => Asked::of(streams.delete(NAMES[*name])?, |()| Told::Deleted),
        Op::Look { name } => Asked::of(streams.look(NAMES[*name])?, |info| Told::Seen {
            end: info.end.get(),
            is_closed: info.is_closed,
        }),
        Op::Read { name, from, limit } => {
            let from = From::Position(Position::new(*from));
            Asked::of(
                streams.read(NAMES[*name], from, limit_of(*limit))?,
                |page| Told::Read {
                    data: page.data,
                    next: page.next.get(),
                    is_up_to_date: page.is_up_to_date,
                },
            )
        }
        Op::Tend | Op::Checkpoint | Op::Reopen => Asked(Box::new(|| Ok(Told::Nothing))),
    })
}

/// Everything that can be seen of the streams, in the order of [`NAMES`].
pub(crate) fn seen(streams: &Streams) -> Result<Vec<(Told, Told)>> {
    let all = NAMES.iter().map(|name| {
        let looked = streams
            .look(name)?
            .wait()?
            .map_or_else(Told::Refused, |info| Told::Seen {
                end: info.end.get(),
                is_closed: info.is_closed,
            });
        let read = streams.read(name, From::Start, 1 << 20)?;
        let read = read.wait()?.map_or_else(Told::Refused, |page| Told::Read {
            data: page.data,
            next: page.next.get(),
            is_up_to_date: page.is_up_to_date,
        });
        Ok((looked, read))
    });
    all.collect()
}

/// What is to be seen.
pub(crate) fn expected(model: &Model) -> Vec<(Told, Told)> {
    let mut model = model.clone();
    let all = (0..NAMES.len()).map(|name| {
        let looked = model.apply(&Op::Look { name });
        let read = model.apply(&Op::Read {
            name,
            from: 0,
            limit: 1 << 20,
        });
        (looked, read)
    });
    all.collect()
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![6 => Just(Then::Open), 1 => Just(Then::Closed)]
}

fn lens() -> impl Strategy<Value = Vec<usize>> {
    let len = prop_oneof![8 => 1..40_usize, 2 => 40..900_usize, 1 => 900..3000_usize];
    proptest::collection::vec(len, 1..4)
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES.len();
    let producer = proptest::option::of((
        0..2_usize,
        prop_oneof![6 => Just(0_u64), 1 => 0..5_u64],
        prop_oneof![6 => Just(0_i64), 1 => -2..3_i64],
    ));
    let create = (name.clone(), any::<bool>(), lens(), 0..3_u8, then());
    let create = create.prop_map(|(name, json, messages, with_data, then)| Op::Create {
        name,
        json,
        messages: if with_data == 0 { messages } else { Vec::new() },
        then,
    });
    let append = (
        name.clone(),
        any::<bool>(),
        lens(),
        then(),
        producer,
        proptest::option::weighted(0.2, any::<u8>()),
    );
    let append = append.prop_map(
        |(name, json, messages, then, producer, sequence)| Op::Append {
            name,
            // Mostly what the first create of a short program made.
            json,
            messages: if then == Then::Closed && messages.len() == 1 {
                Vec::new()
            } else {
                messages
            },
            then,
            producer,
            sequence,
        },
    );
    prop_oneof![
        3 => create,
        2 => (name.clone(), name.clone(), 0..110_u64).prop_map(|(name, source, at)| Op::Fork { name, source, at }),
        10 => append,
        1 => name.clone().prop_map(|name| Op::Delete { name }),
        2 => (name.clone(), 0..60_u64, 0..3000_usize).prop_map(|(name, from, limit)| Op::Read { name, from, limit }),
        1 => name.prop_map(|name| Op::Look { name }),
        3 => Just(Op::Tend),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ]
}

/// A program that begins with streams of both kinds, so that most of it is accepted.
pub(crate) fn program(len: usize) -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..len).prop_map(|rest| {
        let create = |name, json| Op::Create {
            name,
            json,
            messages: vec![],
            then: Then::Open,
        };
        let mut program = vec![create(0, true), create(1, false)];
        program.extend(rest.into_iter().map(|op| match op {
            Op::Append {
                name: 0,
                messages,
                then,
                producer,
                sequence,
                ..
            } => Op::Append {
                name: 0,
                json: true,
                messages,
                then,
                producer,
                sequence,
            },
            Op::Append {
                name: 1,
                messages,
                then,
                producer,
                sequence,
                ..
            } => Op::Append {
                name: 1,
                json: false,
                messages,
                then,
                producer,
                sequence,
            },
            op => op,
        }));
        program
    })
}
