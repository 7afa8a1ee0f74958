//! The medium with a volatile cache: what was written and flushed, in which order, and what a power
//! cut at any moment leaves.

use highwater_disk::SECTOR_SIZE;
use highwater_wal::disk::sim::Rng;
use std::collections::{BTreeMap, HashMap};

const SECTOR: usize = SECTOR_SIZE as usize;

/// A request's number, in the order in which the requests arrived.
pub(crate) type Id = u64;

/// What happened, in this order.
#[derive(Debug)]
pub(crate) enum Event {
    /// A write arrived.
    Write {
        id: Id,
        at: usize,
        bytes: Vec<u8>,
        /// It is durable when it is answered (FUA); otherwise when a flush is that arrived after
        /// its answer.
        through: bool,
    },
    /// A flush arrived.
    Flush { id: Id },
    /// The request is about to be answered.
    Answer { id: Id },
    /// The program above learned or decided something.
    Note(Note),
}

/// What the program above tells about its log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Note {
    /// The log was opened and has shown its records: they stay.
    Opened,
    /// Everything up to the frame at this LSN was acknowledged.
    Acked(u64),
    /// The log is about to be truncated below this LSN.
    Truncating(u64),
    /// The log was truncated and starts here.
    Truncated(u64),
}

/// What the device writes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 512 bytes, the least that the log relies on.
    Sector,
    /// 4 KiB, what ext4 relies on for its superblock and the commit blocks of its journal.
    Block,
}

/// What becomes of the writes that no flush has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// Any subset of the units, chosen by the seed.
    Torn {
        seed: u64,
        unit: Unit,
    },
}

/// The device's bytes as a reader sees them, a way back, and the events since the last
/// [`Medium::settle`].
#[derive(Debug)]
pub(crate) struct Medium {
    bytes: Vec<u8>,
    undo: Vec<(usize, Vec<u8>)>,
    events: Vec<Event>,
    next_id: Id,
}

/// How far to go back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl Medium {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            undo: Vec::new(),
            events: Vec::new(),
            next_id: 0,
        }
    }

    pub(crate) fn read(&self, at: usize, len: usize) -> &[u8] {
        &self.bytes[at..at + len]
    }

    pub(crate) fn write(&mut self, at: usize, bytes: Vec<u8>, through: bool) -> Id {
        self.next_id += 1;
        self.put(at, &bytes);
        self.events.push(Event::Write {
            id: self.next_id,
            at,
            bytes,
            through,
        });
        self.next_id
    }

    pub(crate) fn flush(&mut self) -> Id {
        self.next_id += 1;
        self.events.push(Event::Flush { id: self.next_id });
        self.next_id
    }

    pub(crate) fn answer(&mut self, id: Id) {
        self.events.push(Event::Answer { id });
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.events.push(Event::Note(note));
    }

    /// Everything so far is durable; there is no way back before this.
    pub(crate) fn settle(&mut self) {
        self.undo.clear();
        self.events.clear();
    }

    /// The present, to come back to. Events are recorded anew from here.
    pub(crate) fn mark(&mut self) -> Mark {
        self.events.clear();
        Mark(self.undo.len())
    }

    /// Back to what the device held then, with the events since.
    pub(crate) fn rewind(&mut self, mark: Mark) -> Vec<Event> {
        while self.undo.len() > mark.0
            && let Some((at, old)) = self.undo.pop()
        {
            self.bytes[at..at + old.len()].copy_from_slice(&old);
        }
        std::mem::take(&mut self.events)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let place = &mut self.bytes[at..at + bytes.len()];
        self.undo.push((at, place.to_vec()));
        place.copy_from_slice(bytes);
    }
}

/// Whether the device keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Honest,
    /// It answers flushes and does nothing.
    IgnoresFlushes,
}

/// Goes through recorded events. The medium is at every moment what is certainly durable.
#[derive(Debug)]
pub(crate) struct Replay {
    events: Vec<Event>,
    next: usize,
    device: Device,
    /// Writes that are not certainly durable, by index of their events; whether they were answered.
    pending: BTreeMap<usize, bool>,
    /// Requests on their way: what their answer makes durable or answered.
    under_way: HashMap<Id, Request>,
    /// The last durable write of each sector, by index of its event.
    newest: HashMap<usize, usize>,
}

#[derive(Debug)]
enum Request {
    Write(usize),
    Through(usize),
    Flush(Vec<usize>),
}

impl Replay {
    /// The medium must be as it was when the recording began.
    pub(crate) fn new(events: Vec<Event>, device: Device) -> Self {
        Self {
            events,
            next: 0,
            device,
            pending: BTreeMap::new(),
            under_way: HashMap::new(),
            newest: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// Whether the next event makes something durable.
    pub(crate) fn is_at_flush(&self) -> bool {
        match self.events.get(self.next) {
            Some(Event::Answer { id }) => matches!(
                self.under_way.get(id),
                Some(Request::Through(_) | Request::Flush(_))
            ),
            _ => false,
        }
    }

    /// Lets the next event happen. Tells what the program above noted, if it is that.
    pub(crate) fn step(&mut self, medium: &mut Medium) -> Option<Note> {
        let index = self.next;
        self.next += 1;
        match &self.events[index] {
            Event::Note(note) => return Some(*note),
            Event::Write { id, through, .. } => {
                self.pending.insert(index, false);
                let request = match through {
                    true => Request::Through(index),
                    false => Request::Write(index),
                };
                self.under_way.insert(*id, request);
            }
            Event::Flush { id } => {
                let answered = self.pending.iter().filter(|(_, answered)| **answered);
                let covered = answered.map(|(index, _)| *index).collect();
                self.under_way.insert(*id, Request::Flush(covered));
            }
            Event::Answer { id } => match self.under_way.remove(id) {
                Some(Request::Write(index)) => {
                    self.pending.entry(index).and_modify(|done| *done = true);
                }
                Some(Request::Through(index)) => self.harden(index, medium),
                Some(Request::Flush(covered)) if self.device == Device::Honest => {
                    covered.into_iter().for_each(|i| self.harden(i, medium));
                }
                Some(Request::Flush(_)) | None => {}
            },
        }
        None
    }

    /// A write becomes durable, where no later one has already.
    fn harden(&mut self, index: usize, medium: &mut Medium) {
        if self.pending.remove(&index).is_none() {
            return;
        }
        for (at, bytes) in self.sectors(index) {
            let newest = self.newest.get(&at).copied();
            if newest.is_none_or(|newest| newest < index) {
                medium.put(at, &bytes);
                self.newest.insert(at, index);
            }
        }
    }

    /// The power goes now: adds to the medium what survives of the writes that are not certainly
    /// durable.
    pub(crate) fn cut(&self, medium: &mut Medium, survival: Survival) {
        let (seed, unit) = match survival {
            Survival::Nothing => return,
            Survival::Everything => (0, SECTOR),
            Survival::Torn { seed, unit } => match unit {
                Unit::Sector => (seed, SECTOR),
                Unit::Block => (seed, 8 * SECTOR),
            },
        };
        let everything = survival == Survival::Everything;
        let mut rng = Rng::new(seed);
        // Nearly nothing, nearly everything, and what lies between.
        let likely = [50, 300, 500, 700, 950][rng.below(5) as usize];
        for index in self.pending.keys() {
            let whole = everything || rng.chance(250);
            let mut kept = whole;
            for (n, (at, bytes)) in self.sectors(*index).into_iter().enumerate() {
                if n == 0 || at.is_multiple_of(unit) {
                    kept = whole || rng.chance(likely);
                }
                let newer = self.newest.get(&at).is_none_or(|newest| newest < index);
                if newer && kept {
                    medium.put(at, &bytes);
                }
            }
        }
    }

    fn sectors(&self, index: usize) -> Vec<(usize, Vec<u8>)> {
        let Event::Write { at, bytes, .. } = &self.events[index] else {
            return Vec::new();
        };
        let sectors = bytes.chunks(SECTOR).enumerate();
        sectors
            .map(|(n, sector)| (at + n * SECTOR, sector.to_vec()))
            .collect()
    }
}
