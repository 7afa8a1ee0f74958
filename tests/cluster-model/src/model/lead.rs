//! What process 0 does as the leader of a generation.

use super::config::Bug;
use super::manifests::last_batch;
use super::member;
use super::state::{Life, Word};
use super::step::Step;
use crate::event::What;

/// A word from a process: it has come so far.
pub(super) fn hear(step: &mut Step<'_>, who: usize, from: usize) {
    let Some(message) = step.state.up[from].front() else {
        return;
    };
    step.state.up[from].pop();
    step.change(who)
        .lead
        .hear(from, message.word, message.batch);
}

/// It may cut the next batch.
pub(super) fn may_cut(step: &Step<'_>, who: usize) -> bool {
    let lead = &step.actor(who).lead;
    step.leads(who)
        && lead.cut < last_batch(step, who)
        && lead.cut < lead.committed + step.config.in_flight
}

/// CUT to all; `last` if the program is to end with it, to change the number of processes.
pub(super) fn cut(step: &mut Step<'_>, who: usize, last: bool) {
    let lead = &mut step.change(who).lead;
    lead.cut += 1;
    let batch = lead.cut;
    if last {
        lead.last = batch;
    }
    step.tell_all(who, if last { Word::LastCut } else { Word::Cut }, batch);
}

/// It has told to cut a batch that its own log has not cut.
pub(super) fn may_cut_own(step: &Step<'_>, who: usize) -> bool {
    let lead = &step.actor(who).lead;
    step.leads(who) && lead.is_cut[0] < lead.cut
}

pub(super) fn cut_own(step: &mut Step<'_>, who: usize) {
    let lead = &step.actor(who).lead;
    let (batch, last) = (lead.is_cut[0] + 1, lead.last);
    member::cut(step, who, batch, last == batch);
}

/// All have cut the next batch.
pub(super) fn may_open(step: &Step<'_>, who: usize) -> bool {
    let actor = step.actor(who);
    let lead = &actor.lead;
    let early = step.bug(Bug::OpenEarly)
        && step
            .members(who)
            .all(|m| step.part_of(m, actor.generation).is_some());
    let cut = if early {
        lead.is_cut[0]
    } else {
        step.least(who, lead.is_cut)
    };
    step.leads(who) && lead.opened < cut
}

/// OPEN to all.
pub(super) fn open(step: &mut Step<'_>, who: usize) {
    let lead = &mut step.change(who).lead;
    lead.opened += 1;
    let batch = lead.opened;
    step.tell_all(who, Word::Open, batch);
    member::feed(step, who, batch);
}

/// All have staged the next batch.
pub(super) fn may_commit(step: &Step<'_>, who: usize) -> bool {
    let lead = &step.actor(who).lead;
    let staged = if step.bug(Bug::CommitBeforeStaged) {
        lead.staged[0]
    } else {
        step.least(who, lead.staged)
    };
    step.leads(who) && lead.committed < staged
}

/// The commit becomes durable, then PUBLISH to all.
pub(super) fn commit(step: &mut Step<'_>, who: usize) {
    let (batch, told) = (
        step.actor(who).lead.committed + 1,
        step.actor(who).lead.told,
    );
    if step.bug(Bug::PublishBeforeCommit) && told < batch {
        step.change(who).lead.told = batch;
        return step.tell_all(who, Word::Publish, batch);
    }
    if step.is_ghost(who) {
        return member::die(step, who);
    }
    step.emit(
        who,
        What::Committed {
            batch: batch.into(),
        },
    );
    (step.change(who).lead.committed, step.change(who).lead.told) = (batch, batch);
    if told < batch {
        step.tell_all(who, Word::Publish, batch);
    }
}

/// Its own outputs of a committed batch are not visible yet.
pub(super) fn may_publish_own(step: &Step<'_>, who: usize) -> bool {
    step.leads(who) && step.actor(who).published < step.actor(who).lead.told
}

pub(super) fn publish_own(step: &mut Step<'_>, who: usize) {
    let told = step.actor(who).lead.told;
    member::publish(step, who, told, true);
}

/// Manifests that do not count any more go, then what only they needed of the logs.
pub(super) fn retire(step: &mut Step<'_>, who: usize) {
    step.change(who).lead.untold = false;
    let world = step.world();
    let newest = world.newest().map_or(0, |m| m.batch);
    let retained = world.retained().map(|m| m.batch).min().unwrap_or(0);
    let (below, oldest) = match step.config.retain {
        // The last one alone remains, whatever it says.
        1 if step.bug(Bug::CountAll) => (world.newest().map_or(0, |m| m.number), newest),
        _ => (world.newest().map_or(0, |m| m.oldest), retained),
    };
    if world.manifests.iter().any(|m| m.number < below) {
        step.emit(who, What::Retired { below });
    }
    let unknown = step.actor(who).lead.unknown.as_ref().map(|m| m.batch);
    let to = match unknown {
        Some(batch) if step.bug(Bug::TruncateBeforeAnswer) => batch,
        _ if step.bug(Bug::TruncateToNewest) => newest,
        _ => oldest,
    };
    if to > 0 {
        step.tell_all(who, Word::Truncate, to as u8);
        member::truncate(step, who, to);
    }
}

/// The end is in the store, so that all may go.
pub(super) fn may_end(step: &Step<'_>, who: usize) -> bool {
    let lead = &step.actor(who).lead;
    step.leads(who) && lead.ended && !lead.untold
}

/// BYE to all.
pub(super) fn end(step: &mut Step<'_>, who: usize) {
    let batch = step.actor(who).lead.cut;
    step.tell_all(who, Word::Bye, batch);
    member::done(step, who);
}

/// A word of process 0 to a member.
pub(super) fn deliver(step: &mut Step<'_>, who: usize) {
    let index = step.index(who);
    let Some(message) = step.state.down[index].front() else {
        return;
    };
    step.state.down[index].pop();
    let batch = message.batch;
    match message.word {
        Word::Start => member::join(step, who, message.generation, batch),
        Word::Cut => member::cut(step, who, batch, false),
        Word::LastCut => member::cut(step, who, batch, true),
        Word::Open => member::feed(step, who, batch),
        Word::Publish => member::publish(step, who, batch, true),
        Word::Truncate => member::truncate(step, who, batch.into()),
        Word::Bye => member::done(step, who),
        _ => {}
    }
}

/// The life of a process that may be told something by process 0.
pub(super) fn may_deliver(step: &Step<'_>, who: usize) -> bool {
    let actor = step.actor(who);
    let front = step.state.down[step.index(who)].front();
    actor.life == Life::Up
        && step.index(who) > 0
        && front.is_some_and(|m| {
            m.generation == actor.generation
                || m.word == Word::Start && actor.generation == 0 && !step.is_ghost(who)
        })
}
