//! What streams are, in the simplest words: every stream has a copy of everything in it.

use highwater_streams::{Append, NewStream, Position, Producer, Refusal, Source, Then};
use std::collections::BTreeMap;

/// Names that programs use.
pub(crate) const NAMES: [&str; 4] = ["a", "b", "a/b", "the longest of the names"];
/// Producers that programs use.
pub(crate) const PRODUCERS: [&str; 2] = ["till", "web"];

/// What a program does. Names, producers and places are chosen by number.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create {
        name: usize,
        json: bool,
        messages: Vec<usize>,
        then: Then,
    },
    Fork {
        name: usize,
        source: usize,
        /// Per cent of the source; over 100 is beyond its end.
        at: u64,
    },
    Append {
        name: usize,
        json: bool,
        messages: Vec<usize>,
        then: Then,
        /// Producer, what is added to its epoch, and to its next sequence.
        producer: Option<(usize, u64, i64)>,
        sequence: Option<u8>,
    },
    Delete {
        name: usize,
    },
    Read {
        name: usize,
        from: u64,
        limit: usize,
    },
    Look {
        name: usize,
    },
    Tend,
    Checkpoint,
    Reopen,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Created {
        is_new: bool,
        end: u64,
    },
    Appended {
        is_duplicate: bool,
        end: u64,
        is_closed: bool,
        sequence: Option<u64>,
    },
    Deleted,
    Seen {
        end: u64,
        is_closed: bool,
    },
    Read {
        data: Vec<u8>,
        next: u64,
        is_up_to_date: bool,
    },
    Refused(Refusal),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    json: bool,
    /// Bytes, each a message, of a stream that is not JSON.
    content: Vec<Vec<u8>>,
    is_closed: bool,
    producers: BTreeMap<usize, (u64, u64)>,
    sequence: Option<u8>,
    /// Identity of the stream that it is a fork of, and where.
    parent: Option<(u64, u64)>,
    id: u64,
    is_deleted: bool,
}

/// All streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    streams: BTreeMap<usize, Stream>,
    /// Streams without a name that forks need: as deep as they are needed.
    next_id: u64,
    /// Parents of streams that are deleted and needed.
    pub(crate) ops: u64,
}

fn type_of(json: bool) -> &'static str {
    if json {
        "application/json"
    } else {
        "text/plain"
    }
}

/// The message of so many bytes that op `n` sends as its `i`th.
pub(crate) fn message(n: u64, i: usize, len: usize, json: bool) -> Vec<u8> {
    let text = format!("{n}.{i}");
    match json {
        true => format!("\"{text:0>len$}\"").into_bytes(),
        false => format!("{text:0>len$}").into_bytes(),
    }
}

/// The messages of an op as they are sent.
pub(crate) fn messages(n: u64, lens: &[usize], json: bool) -> Vec<Vec<u8>> {
    let all = lens
        .iter()
        .enumerate()
        .map(|(i, len)| message(n, i, *len, json));
    match json {
        true => all.collect(),
        // One body, if any.
        false => all.take(1).collect(),
    }
}

/// What a producer sends: its id, epoch and sequence.
pub(crate) type Sends = (usize, u64, u64);

impl Model {
    fn units(json: bool, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        match json {
            true => messages.to_vec(),
            false => messages.iter().flatten().map(|byte| vec![*byte]).collect(),
        }
    }

    fn has_forks(&self, id: u64) -> bool {
        self.streams
            .values()
            .any(|stream| stream.parent.is_some_and(|(parent, _)| parent == id))
    }

    /// Removes what is deleted and not needed.
    fn sweep(&mut self) {
        loop {
            let gone = self
                .streams
                .iter()
                .find(|(_, s)| s.is_deleted && !self.has_forks(s.id));
            let Some(name) = gone.map(|(name, _)| *name) else {
                return;
            };
            self.streams.remove(&name);
        }
    }

    fn find(&self, name: usize) -> Result<&Stream, Refusal> {
        match self.streams.get(&name) {
            None => Err(Refusal::NotFound),
            Some(stream) if stream.is_deleted => Err(Refusal::Gone),
            Some(stream) => Ok(stream),
        }
    }

    /// What the producer of an op sends.
    pub(crate) fn sends(&self, name: usize, producer: Option<(usize, u64, i64)>) -> Option<Sends> {
        let (producer, epoch_more, sequence_more) = producer?;
        let known = self
            .streams
            .get(&name)
            .and_then(|s| s.producers.get(&producer))
            .copied();
        let (epoch, next) = match (known, epoch_more) {
            (None, more) => (more, 0),
            (Some((epoch, last)), 0) => (epoch, last + 1),
            (Some((epoch, _)), more) => ((epoch + more).saturating_sub(2), 0),
        };
        Some((producer, epoch, next.saturating_add_signed(sequence_more)))
    }

    /// Does an op.
    pub(crate) fn apply(&mut self, op: &Op) -> Told {
        let n = self.ops;
        self.ops += 1;
        let told = self.decide(n, op);
        self.sweep();
        told.unwrap_or_else(Told::Refused)
    }

    fn decide(&mut self, n: u64, op: &Op) -> Result<Told, Refusal> {
        match op {
            Op::Create {
                name,
                json,
                messages: lens,
                then,
            } => {
                let units = Self::units(*json, &messages(n, lens, *json));
                self.create(*name, *json, units, *then, None)
            }
            Op::Fork { name, source, at } => {
                let from = match self.find(*source) {
                    Ok(from) => from,
                    Err(Refusal::Gone) => return Err(Refusal::SourceGone),
                    Err(_) => return Err(Refusal::SourceNotFound(NAMES[*source].to_owned())),
                };
                let base = from.content.len() as u64 * at / 100;
                let (json, parent) = (from.json, from.id);
                let shared = from.content.get(..usize::try_from(base).unwrap());
                let shared = shared
                    .ok_or(Refusal::BadFork("the source ends before it"))?
                    .to_vec();
                self.create(*name, json, shared, Then::Open, Some((parent, base)))
            }
            Op::Append {
                name,
                json,
                messages: lens,
                then,
                producer,
                sequence,
            } => {
                let sends = self.sends(*name, *producer);
                let units = Self::units(*json, &messages(n, lens, *json));
                self.find(*name)?;
                let stream = self.streams.get_mut(name).unwrap();
                stream.append(*json, units, *then, sends, *sequence)
            }
            Op::Delete { name } => {
                self.find(*name)?;
                self.streams.get_mut(name).unwrap().is_deleted = true;
                Ok(Told::Deleted)
            }
            Op::Look { name } => {
                let stream = self.find(*name)?;
                let (end, is_closed) = (stream.content.len() as u64, stream.is_closed);
                Ok(Told::Seen { end, is_closed })
            }
            Op::Read { name, from, limit } => self.find(*name)?.read(*from, *limit),
            Op::Tend | Op::Checkpoint | Op::Reopen => Ok(Told::Nothing),
        }
    }

    fn create(
        &mut self,
        name: usize,
        json: bool,
        content: Vec<Vec<u8>>,
        then: Then,
        parent: Option<(u64, u64)>,
    ) -> Result<Told, Refusal> {
        let is_closed = then == Then::Closed;
        match self.find(name) {
            Ok(old) => {
                let same = old.json == json && old.is_closed == is_closed && old.parent == parent;
                let end = old.content.len() as u64;
                return if same {
                    Ok(Told::Created { is_new: false, end })
                } else {
                    Err(Refusal::Exists)
                };
            }
            Err(Refusal::Gone) => return Err(Refusal::Gone),
            Err(_) => {}
        }
        let end = content.len() as u64;
        let id = self.next_id;
        self.next_id += 1;
        let stream = Stream {
            json,
            content,
            is_closed,
            producers: BTreeMap::new(),
            sequence: None,
            parent,
            id,
            is_deleted: false,
        };
        self.streams.insert(name, stream);
        Ok(Told::Created { is_new: true, end })
    }

    /// The newest accepted request of each producer of a stream.
    pub(crate) fn newest_requests(&self, name: usize) -> Vec<Sends> {
        let stream = self.streams.get(&name);
        let known = stream.iter().flat_map(|stream| &stream.producers);
        known
            .map(|(producer, (epoch, sequence))| (*producer, *epoch, *sequence))
            .collect()
    }

    pub(crate) fn is_json(&self, name: usize) -> bool {
        self.streams.get(&name).is_some_and(|stream| stream.json)
    }
}

impl Stream {
    fn append(
        &mut self,
        json: bool,
        units: Vec<Vec<u8>>,
        then: Then,
        sends: Option<Sends>,
        sequence: Option<u8>,
    ) -> Result<Told, Refusal> {
        let is_close_only = units.is_empty();
        let end = self.content.len() as u64;
        let seen = sends.map(|(producer, epoch, sequence)| {
            let gap = |expected| {
                Err(Refusal::Gap {
                    expected,
                    received: sequence,
                })
            };
            match self.producers.get(&producer) {
                None if sequence == 0 => Ok(None),
                None => gap(0),
                Some((current, _)) if epoch < *current => {
                    Err(Refusal::StaleEpoch { current: *current })
                }
                Some((current, _)) if epoch > *current && sequence > 0 => Err(Refusal::EpochBegin),
                Some((current, _)) if epoch > *current => Ok(None),
                Some((_, last)) if sequence <= *last => Ok(Some(*last)),
                Some((_, last)) if sequence == last + 1 => Ok(None),
                Some((_, last)) => gap(last + 1),
            }
        });
        let duplicate = |stream: &Self, sequence| Told::Appended {
            is_duplicate: true,
            end,
            is_closed: stream.is_closed,
            sequence,
        };
        if self.is_closed {
            return match seen {
                Some(Ok(Some(last))) => Ok(duplicate(self, Some(last))),
                Some(Err(stale @ Refusal::StaleEpoch { .. })) => Err(stale),
                None if is_close_only => Ok(duplicate(self, None)),
                _ => Err(Refusal::Closed {
                    end: Position::new(end),
                }),
            };
        }
        if !is_close_only && json != self.json {
            return Err(Refusal::ContentType {
                expected: type_of(self.json).to_owned(),
            });
        }
        if let Some(last) = seen.transpose()?.flatten() {
            return Ok(duplicate(self, Some(last)));
        }
        if sequence.is_some() && sequence <= self.sequence {
            return Err(Refusal::StreamSequence);
        }
        self.sequence = sequence.or(self.sequence);
        if let Some((producer, epoch, sequence)) = sends {
            self.producers.insert(producer, (epoch, sequence));
        }
        self.content.extend(units);
        self.is_closed = then == Then::Closed;
        Ok(Told::Appended {
            is_duplicate: false,
            end: self.content.len() as u64,
            is_closed: self.is_closed,
            sequence: sends.map(|(_, _, sequence)| sequence),
        })
    }

    fn read(&self, from: u64, limit: usize) -> Result<Told, Refusal> {
        let end = self.content.len() as u64;
        let beyond = Refusal::BeyondEnd {
            end: Position::new(end),
        };
        let rest = self
            .content
            .get(usize::try_from(from).unwrap()..)
            .ok_or(beyond)?;
        let (mut data, mut next) = (Vec::new(), from);
        for unit in rest {
            if !data.is_empty() && data.len() + unit.len() > limit {
                break;
            }
            data.extend(unit);
            next += 1;
        }
        Ok(Told::Read {
            data,
            next,
            is_up_to_date: next == end,
        })
    }
}

/// A program asks for at least one byte.
pub(crate) fn limit_of(limit: usize) -> usize {
    limit.max(1)
}

/// An op as requests: what [`crate::world`] sends.
pub(crate) fn new_stream<'a>(json: bool, messages: &'a [&'a [u8]], then: Then) -> NewStream<'a> {
    NewStream {
        content_type: Some(type_of(json)),
        messages,
        then,
        ..NewStream::default()
    }
}

pub(crate) fn new_fork(source: usize, at: u64) -> NewStream<'static> {
    NewStream {
        fork: Some(Source {
            name: NAMES[source],
            offset: Some(Position::new(at)),
            sub_offset: 0,
        }),
        ..NewStream::default()
    }
}

pub(crate) fn append<'a>(
    json: bool,
    messages: &'a [&'a [u8]],
    then: Then,
    sends: Option<Sends>,
    sequence: &'a Option<[u8; 1]>,
) -> Append<'a> {
    Append {
        content_type: Some(type_of(json)),
        messages,
        then,
        producer: sends.map(|(producer, epoch, sequence)| Producer {
            id: PRODUCERS[producer],
            epoch,
            sequence,
        }),
        batch: None,
        stream_sequence: sequence.as_ref().map(|sequence| &sequence[..]),
    }
}
