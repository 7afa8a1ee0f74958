//! One step under way: it changes a state, and says what has happened.

use super::config::{Bug, Config};
use super::state::{GHOST, Life, Message, PROCESSES, Process, State, Word};
use crate::event::{Event, What};
use crate::world::{World, take};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(super) struct Step<'a> {
    pub(super) config: &'a Config,
    pub(super) state: Copied<'a>,
    /// What has happened.
    pub(super) events: Vec<Event>,
}

/// A state that is copied when it is first changed: to look which steps are possible changes
/// nothing.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Copied<'a> {
    Not(&'a State),
    Yes(State),
}

impl Deref for Copied<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match self {
            Self::Not(state) => state,
            Self::Yes(state) => state,
        }
    }
}

impl DerefMut for Copied<'_> {
    fn deref_mut(&mut self) -> &mut State {
        if let Self::Not(state) = self {
            *self = Self::Yes(state.clone());
        }
        match self {
            Self::Yes(state) => state,
            Self::Not(_) => unreachable!("it was copied"),
        }
    }
}

impl Copied<'_> {
    pub(super) fn into_state(self) -> State {
        match self {
            Self::Not(state) => state.clone(),
            Self::Yes(state) => state,
        }
    }
}

impl<'a> Step<'a> {
    pub(super) fn new(config: &'a Config, state: &'a State) -> Self {
        let (state, events) = (Copied::Not(state), Vec::new());
        Self {
            config,
            state,
            events,
        }
    }

    pub(super) fn bug(&self, bug: Bug) -> bool {
        self.config.bug == Some(bug)
    }

    pub(super) fn world(&self) -> &World {
        &self.state.world
    }

    pub(super) fn actor(&self, who: usize) -> &Process {
        &self.state.actors[who]
    }

    pub(super) fn change(&mut self, who: usize) -> &mut Process {
        &mut self.state.actors[who]
    }

    pub(super) fn index(&self, who: usize) -> usize {
        self.actor(who).index as usize
    }

    pub(super) fn is_ghost(&self, who: usize) -> bool {
        who == GHOST
    }

    /// It can do something.
    pub(super) fn acts(&self, who: usize) -> bool {
        self.actor(who).life == Life::Up
    }

    /// It can do something in a generation.
    pub(super) fn runs(&self, who: usize) -> bool {
        self.acts(who) && self.actor(who).generation > 0
    }

    /// It leads a generation.
    pub(super) fn leads(&self, who: usize) -> bool {
        self.runs(who) && self.index(who) == 0
    }

    /// Something lasting has happened at `who`.
    pub(super) fn emit(&mut self, who: usize, what: What) {
        let (process, generation) = (self.index(who), u64::from(self.actor(who).generation));
        self.emit_as(process, generation, what);
    }

    /// Something lasting has happened, also if the process is no longer there.
    pub(super) fn emit_as(&mut self, process: usize, generation: u64, what: What) {
        let event = Event {
            process,
            generation,
            what,
        };
        if let Err(violation) = take(Arc::make_mut(&mut self.state.world), &event) {
            self.state.broken |= violation.property.bit();
        }
        self.events.push(event);
    }

    /// The link from one process to another carries.
    pub(super) fn carries(&self, from: usize, to: usize) -> bool {
        self.state.links & 1 << (from * PROCESSES + to) == 0
    }

    /// The actor that takes part as process `index` in `generation`, also if it is stopped.
    pub(super) fn part_of(&self, index: usize, generation: u8) -> Option<usize> {
        [index, GHOST].into_iter().find(|who| {
            let actor = self.actor(*who);
            let here = matches!(actor.life, Life::Up | Life::Paused);
            here && usize::from(actor.index) == index && actor.generation == generation
        })
    }

    /// `who` can notice that `peer` is lost: it has died, left or stopped, or its link has.
    pub(super) fn lost(&self, who: usize, peer: usize) -> bool {
        let generation = self.actor(who).generation;
        if !self.carries(peer, self.index(who)) {
            return true;
        }
        match self.part_of(peer, generation) {
            Some(there) => self.actor(there).life == Life::Paused,
            None => !(self.acts(peer) && self.state.down[peer].starts(generation)),
        }
    }

    /// A word to process 0. What no connection takes is lost; what one takes is heard at once:
    /// process 0 does nothing the sooner for it, and may be lost before it does.
    pub(super) fn tell_leader(&mut self, who: usize, word: Word, batch: u8) {
        let (from, generation) = (self.index(who), self.actor(who).generation);
        let Some(leader) = self
            .part_of(0, generation)
            .filter(|_| self.carries(from, 0))
        else {
            return;
        };
        if self.bug(Bug::TakeOldMessages) {
            self.state.up[from].push(Message {
                word,
                generation,
                batch,
            });
        } else {
            self.change(leader).lead.hear(from, word, batch);
        }
    }

    /// A word of process 0 to all others.
    pub(super) fn tell_all(&mut self, who: usize, word: Word, batch: u8) {
        let generation = self.actor(who).generation;
        for peer in self.members(who).filter(|peer| *peer != 0) {
            let actor = self.actor(peer);
            let waits = matches!(actor.life, Life::Up | Life::Paused) && actor.generation == 0;
            let starting = word == Word::Start || self.state.down[peer].starts(generation);
            let there = self.part_of(peer, generation).is_some() || waits && starting;
            if there && self.carries(0, peer) {
                self.state.down[peer].push(Message {
                    word,
                    generation,
                    batch,
                });
            }
        }
    }

    /// Those that take part, as an actor knows it: a ghost may be of an earlier run.
    pub(super) fn members(&self, who: usize) -> impl Iterator<Item = usize> + use<> {
        let earlier = self.actor(who).run < self.state.run && self.is_ghost(who);
        let first = self.config.members.iter().map(|m| 1 << m).sum();
        let members: u8 = if earlier { first } else { self.state.members };
        (0..PROCESSES).filter(move |m| members & 1 << m != 0)
    }

    /// The least of what is known of all members.
    pub(super) fn least(&self, who: usize, known: [u8; PROCESSES]) -> u8 {
        self.members(who).map(|m| known[m]).min().unwrap_or(0)
    }
}
