//! A state of the cluster: what lasts, what each process believes, and what is under way.

use super::config::Config;
use crate::event::Manifest;
use crate::world::World;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Most processes.
pub(super) const PROCESSES: usize = 3;
/// Most batches, and one for the beginning.
pub(super) const BATCHES: usize = 4;
/// The actor that stands for a process whose place another one has taken.
pub(super) const GHOST: usize = PROCESSES;

/// A state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What lasts.
    pub world: Arc<World>,
    /// The processes, and last the one whose place was taken.
    pub(super) actors: [Process; PROCESSES + 1],
    /// Messages from process 0 to each other one; and back, if a bug makes the difference.
    pub(super) down: [Queue; PROCESSES],
    pub(super) up: [Queue; PROCESSES],
    /// Directed links that lose everything, as bits.
    pub(super) links: u16,
    /// A write that has left process 0 and not reached the store.
    pub(super) late: Option<Arc<Manifest>>,
    /// Who takes part in the present run, and its number.
    pub(super) members: u8,
    pub(super) run: u8,
    /// Records that were sent to each process.
    pub(super) sent: [u8; PROCESSES],
    /// Incarnations of process 0.
    pub(super) writers: u8,
    /// Faults so far.
    pub(super) faults: u8,
    /// Invariants that were broken, as bits.
    pub(super) broken: u16,
}

/// How a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Life {
    #[default]
    Down,
    Up,
    Paused,
    Refused,
    Done,
}

/// What a process knows, and loses when it dies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) life: Life,
    /// Its index; only of the ghost it is not its place.
    pub(super) index: u8,
    /// The generation it takes part in; 0 while it waits for one.
    pub(super) generation: u8,
    /// The run for which it was started.
    pub(super) run: u8,
    /// The log that it has opened.
    pub(super) log: u8,
    /// It stopped after its JOIN, which process 0 has not answered yet.
    pub(super) joins: bool,
    /// Records appended and not durable.
    pub(super) tail: u8,
    /// A cut that is not durable, though told; of a bug only.
    pub(super) unsynced: u8,
    /// The newest batch it has fed, run, published, saved.
    pub(super) fed: u8,
    pub(super) ran: u8,
    pub(super) published: u8,
    pub(super) saved: u8,
    /// What came over the exchange, by batch and process: a range, plus one.
    pub(super) heard: [[u8; PROCESSES]; BATCHES],
    /// How far each log is counted in the state, and was at the end of batches not yet saved.
    pub(super) counted: [u8; PROCESSES],
    pub(super) kept: [[u8; PROCESSES]; BATCHES],
    /// As process 0.
    pub(super) lead: Lead,
}

/// What process 0 knows as the leader of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lead {
    pub(super) writer: u8,
    /// The number of the newest manifest it has read, plus one; 0 if it has to read.
    pub(super) read: u8,
    /// The logs of those that have joined.
    pub(super) joined: [u8; PROCESSES],
    /// Its manifest of unknown fate.
    pub(super) unknown: Option<Arc<Manifest>>,
    /// Up to which batch each process is known to have come.
    pub(super) is_cut: [u8; PROCESSES],
    pub(super) staged: [u8; PROCESSES],
    pub(super) published: [u8; PROCESSES],
    pub(super) saved: [u8; PROCESSES],
    /// Up to which batch it has told the others.
    pub(super) cut: u8,
    pub(super) opened: u8,
    pub(super) told: u8,
    pub(super) committed: u8,
    /// The batch of its newest checkpoint, and whether truncation is still to be told.
    pub(super) checkpoint: u8,
    pub(super) untold: bool,
    /// The batch that is the last one, if it has decided so.
    pub(super) last: u8,
    pub(super) ended: bool,
}

/// What processes tell each other; each names a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Word {
    #[default]
    Start,
    Cut,
    LastCut,
    IsCut,
    Open,
    Staged,
    Publish,
    Published,
    Saved,
    Truncate,
    Bye,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) word: Word,
    pub(super) generation: u8,
    pub(super) batch: u8,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} of {}", self.word, self.batch, self.generation)
    }
}

/// The messages of one direction, in order, as a connection keeps them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queue {
    length: u8,
    items: [Message; 10],
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(&self.items[..self.length as usize])
            .finish()
    }
}

/// Most queues are empty: what is not in use is not hashed.
impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.length);
        for m in &self.items[..self.length as usize] {
            let parts = [m.word as u8, m.generation, m.batch, 0];
            state.write_u32(u32::from_le_bytes(parts));
        }
    }
}

impl Queue {
    pub(super) fn front(&self) -> Option<Message> {
        (self.length > 0).then_some(self.items[0])
    }

    pub(super) fn push(&mut self, message: Message) {
        assert!(
            (self.length as usize) < self.items.len(),
            "a longer queue: {self:?}"
        );
        self.items[self.length as usize] = message;
        self.length += 1;
    }

    pub(super) fn pop(&mut self) {
        self.items.copy_within(1.., 0);
        self.length -= 1;
        self.items[self.length as usize] = Message::default();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Connections are closed, but for those of the generations that `stays` names.
    pub(super) fn close(&mut self, stays: impl Fn(u8) -> bool) {
        let old = std::mem::take(self);
        let kept = old.items[..old.length as usize]
            .iter()
            .filter(|m| stays(m.generation));
        kept.for_each(|message| self.push(*message));
    }

    /// A START is under way, of this generation.
    pub(super) fn starts(&self, generation: u8) -> bool {
        let items = &self.items[..self.length as usize];
        items
            .iter()
            .any(|m| m.word == Word::Start && m.generation == generation)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Lead {
    /// A process has come so far.
    pub(super) fn hear(&mut self, from: usize, word: Word, batch: u8) {
        let known = match word {
            Word::IsCut => &mut self.is_cut,
            Word::Staged => &mut self.staged,
            Word::Published => &mut self.published,
            _ => &mut self.saved,
        };
        known[from] = known[from].max(batch);
    }
}

impl State {
    /// Nothing has started.
    pub(super) fn first(config: &Config) -> Self {
        let mut actors: [Process; PROCESSES + 1] = Default::default();
        for (index, actor) in actors.iter_mut().enumerate() {
            let takes_part = config.members.contains(&index) || index == GHOST;
            actor.life = if takes_part { Life::Down } else { Life::Done };
            actor.index = index as u8;
        }
        let mut world = World::default();
        world.log(config.processes - 1);
        Self {
            world: Arc::new(world),
            actors,
            down: Default::default(),
            up: Default::default(),
            links: 0,
            late: None,
            members: config.members.iter().map(|m| 1 << m).sum(),
            run: 1,
            sent: [0; PROCESSES],
            writers: 0,
            faults: 0,
            broken: 0,
        }
    }

    /// Who takes part in the present run.
    pub(super) fn members(&self) -> impl Iterator<Item = usize> + use<> {
        let members = self.members;
        (0..PROCESSES).filter(move |m| members & 1 << m != 0)
    }
}
