//! What goes wrong, and how a process comes back.

use super::config::{Config, Fault};
use super::member;
use super::state::{GHOST, Life, PROCESSES, State};
use super::step::Step;
use crate::event::What;

/// A fault may still happen.
pub(super) fn may(config: &Config, state: &State, fault: Fault) -> bool {
    state.faults < config.faults && config.allowed.contains(&fault)
}

/// A supervisor starts a process, which opens its log.
pub(super) fn boot(step: &mut Step<'_>, who: usize) {
    let log = &step.world().logs[who];
    let (id, end) = ((who as u64 + 1) * 16 + log.losses, log.end);
    let run = step.state.run;
    let actor = step.change(who);
    (actor.life, actor.log, actor.run) = (Life::Up, id as u8, run);
    if who == 0 {
        step.state.writers += 1;
        step.change(who).lead.writer = step.state.writers;
    }
    step.emit(who, What::Booted { log: id, end });
}

/// It stops. If another one takes its place and its log, it goes on as a ghost.
pub(super) fn pause(step: &mut Step<'_>, who: usize, replaced: bool) {
    let joins = step.actor(who).generation == 0 && step.state.down[who].is_empty();
    let actor = step.change(who);
    (actor.life, actor.joins) = (Life::Paused, joins);
    if !replaced {
        return;
    }
    let old = std::mem::take(step.change(who));
    step.change(who).index = old.index;
    let creates = old.lead.read > 0 || old.lead.unknown.is_some();
    if old.generation > 0 || creates {
        step.state.actors[GHOST] = old;
        step.change(GHOST).tail = 0;
    } else {
        // A START that was on its way to the old one does not reach the new one.
        step.state.down[who].clear();
    }
}

/// It goes on.
pub(super) fn resume(step: &mut Step<'_>, who: usize) {
    let actor = step.change(who);
    (actor.life, actor.joins) = (Life::Up, false);
}

/// What is under way from one process to another is lost, and all that follows.
pub(super) fn cut_link(step: &mut Step<'_>, from: usize, to: usize) {
    step.state.links |= 1 << (from * PROCESSES + to);
    if from == 0 {
        step.state.down[to].clear();
    } else if to == 0 {
        step.state.up[from].clear();
    }
}

/// It is dead, and its log is gone.
pub(super) fn lose_log(step: &mut Step<'_>, who: usize) {
    if step.actor(who).life != Life::Down {
        member::die(step, who);
    }
    step.emit(who, What::LogLost);
}

/// An operator stops everything, and starts a run of other processes.
pub(super) fn rescale(step: &mut Step<'_>, members: &[usize]) {
    for who in 0..PROCESSES {
        if matches!(step.actor(who).life, Life::Up | Life::Paused) {
            member::die(step, who);
        }
        let life = if members.contains(&who) {
            Life::Down
        } else {
            Life::Done
        };
        step.change(who).life = life;
    }
    step.state.members = members.iter().map(|m| 1 << m).sum();
    step.state.run += 1;
}
