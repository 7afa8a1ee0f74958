//! What every process does: it receives, cuts, runs, stages, publishes, saves; it joins and leaves.

use super::config::Bug;
use super::state::{BATCHES, GHOST, Lead, Life, PROCESSES, Process, Word};
use super::step::Step;
use crate::event::{Manifest, What};

/// A record of a sender may come: the log is named by a manifest, and not closed by a last cut.
pub(super) fn may_receive(step: &Step<'_>, who: usize) -> bool {
    let log = &step.world().logs[who];
    let named = log.named || step.bug(Bug::AckBeforeNamed) && log.id > 0;
    let open = !log.last || step.bug(Bug::AckAfterLastCut);
    let more = step.state.sent[who] < step.config.records[who];
    step.acts(who) && named && open && more && step.actor(who).unsynced == 0
}

/// A record is appended, and not durable yet.
pub(super) fn append(step: &mut Step<'_>, who: usize) {
    step.state.sent[who] += 1;
    step.change(who).tail += 1;
    if step.bug(Bug::AckBeforeDurable) {
        let end = step.world().logs[who].end + u64::from(step.actor(who).tail);
        step.emit(who, What::Acknowledged { end });
    }
}

/// What is appended becomes durable, and is acknowledged.
pub(super) fn sync(step: &mut Step<'_>, who: usize) {
    let end = step.world().logs[who].end + u64::from(step.actor(who).tail);
    let unsynced = u64::from(step.actor(who).unsynced);
    (step.change(who).tail, step.change(who).unsynced) = (0, 0);
    if unsynced > 0 {
        step.emit(
            who,
            What::Cut {
                batch: unsynced,
                end,
                last: false,
            },
        );
    } else {
        step.emit(who, What::Durable { end });
    }
    if end > step.world().logs[who].acknowledged {
        step.emit(who, What::Acknowledged { end });
    }
}

/// CUT: the log is cut where it ends, once for each batch. What was appended before is durable
/// with it.
pub(super) fn cut(step: &mut Step<'_>, who: usize, batch: u8, last: bool) {
    let index = step.index(who);
    let log = &step.world().logs[index];
    let again = step.bug(Bug::CutAgain) && u64::from(batch) > log.committed;
    if log.last_cut() >= u64::from(batch) && !again {
        return is_cut(step, who, batch);
    }
    if step.is_ghost(who) {
        return die(step, who);
    }
    if step.actor(who).unsynced > 0 {
        sync(step, who);
    }
    if step.bug(Bug::CutBeforeDurable) {
        step.change(who).unsynced = batch;
        return is_cut(step, who, batch);
    }
    let end = step.world().logs[index].end + u64::from(step.actor(who).tail);
    step.change(who).tail = 0;
    step.emit(
        who,
        What::Cut {
            batch: batch.into(),
            end,
            last,
        },
    );
    if end > step.world().logs[index].acknowledged {
        step.emit(who, What::Acknowledged { end });
    }
    is_cut(step, who, batch);
}

fn is_cut(step: &mut Step<'_>, who: usize, batch: u8) {
    match step.index(who) {
        0 => step.change(who).lead.is_cut[0] = batch,
        _ => step.tell_leader(who, Word::IsCut, batch),
    }
}

/// Where process `index` has cut a batch, as `who` reads it.
fn position(step: &Step<'_>, index: usize, batch: u8) -> u8 {
    let log = &step.world().logs[index];
    let believed = log.end + u64::from(step.actor(index).tail);
    log.cut(batch.into()).unwrap_or(believed) as u8
}

/// OPEN: its range of a batch goes into the exchange, to all that take part and can be reached.
pub(super) fn feed(step: &mut Step<'_>, who: usize, batch: u8) {
    let (index, generation) = (step.index(who), step.actor(who).generation);
    let log = &step.world().logs[index];
    let gone = log.id != u64::from(step.actor(who).log) || log.truncated >= u64::from(batch);
    if gone && step.is_ghost(who) {
        return die(step, who); // its log is another's now, and what it wants to read is not there
    }
    let (from, to) = (
        position(step, index, batch - 1),
        position(step, index, batch),
    );
    step.change(who).fed = batch;
    step.emit(
        who,
        What::Fed {
            batch: batch.into(),
            from: from.into(),
            to: to.into(),
        },
    );
    for peer in step.members(who) {
        let reached = peer == index || step.carries(index, peer);
        if let Some(there) = step.part_of(peer, generation).filter(|_| reached) {
            step.change(there).heard[batch as usize][index] = (from << 4 | to) + 1;
        }
    }
}

/// It has what it needs to run its next batch: the data of all, or, as a bug, its own.
pub(super) fn may_run(step: &Step<'_>, who: usize) -> bool {
    let actor = step.actor(who);
    let heard = actor.heard[usize::from(actor.ran + 1) % BATCHES];
    let early = step.bug(Bug::StageBeforeExchange);
    let all = step.members(who).all(|m| heard[m] > 0 || early);
    step.runs(who) && actor.ran < actor.fed && all
}

/// It runs a batch, and stages its outputs.
pub(super) fn run(step: &mut Step<'_>, who: usize) {
    let actor = step.change(who);
    let batch = actor.ran + 1;
    let heard = std::mem::take(&mut actor.heard[batch as usize]);
    let before = actor.counted;
    for (counted, range) in actor.counted.iter_mut().zip(heard) {
        let range = range.max(1) - 1;
        *counted += (range & 15) - (range >> 4);
    }
    actor.ran = batch;
    actor.kept[batch as usize] = actor.counted;
    let bytes = [batch].into_iter().chain(before).chain(heard);
    let part = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let batch64 = u64::from(batch);
    let repeated = step.world().parts.contains_key(&(step.index(who), batch64));
    let counted = before[..step.config.processes]
        .iter()
        .map(|c| u64::from(*c))
        .collect();
    step.emit(
        who,
        What::Staged {
            batch: batch64,
            part,
            counted,
        },
    );
    if !(repeated && step.bug(Bug::StagedOnce)) {
        match step.index(who) {
            0 => step.change(who).lead.staged[0] = batch,
            _ => step.tell_leader(who, Word::Staged, batch),
        }
    }
    if !step.config.late_files {
        save(step, who);
    }
}

/// Its state at the end of the next batch goes into the store, under its generation.
pub(super) fn save(step: &mut Step<'_>, who: usize) {
    let late = step.bug(Bug::SaveLate);
    let actor = step.change(who);
    actor.saved += 1;
    let (batch, kept) = (
        actor.saved,
        std::mem::take(&mut actor.kept[actor.saved as usize]),
    );
    let state = if late { actor.counted } else { kept };
    let counted = state[..step.config.processes]
        .iter()
        .map(|c| u64::from(*c))
        .collect();
    step.emit(
        who,
        What::Saved {
            batch: batch.into(),
            counted,
        },
    );
    match step.index(who) {
        0 => step.change(who).lead.saved[0] = batch,
        _ => step.tell_leader(who, Word::Saved, batch),
    }
}

/// PUBLISH: its outputs up to a batch become visible, if they are not.
pub(super) fn publish(step: &mut Step<'_>, who: usize, to: u8, tell: bool) {
    let index = step.index(who);
    let from = std::mem::replace(&mut step.change(who).published, to);
    for batch in u64::from(from) + 1..=u64::from(to) {
        if let Some(part) = step.world().parts.get(&(index, batch)).copied() {
            step.emit(
                who,
                What::Published {
                    batch,
                    part: part.digest,
                },
            );
        }
    }
    match index {
        _ if !tell => {}
        0 => step.change(who).lead.published[0] = to,
        _ => step.tell_leader(who, Word::Published, to),
    }
}

/// TRUNCATE: its log is needed from this batch on.
pub(super) fn truncate(step: &mut Step<'_>, who: usize, batch: u64) {
    if batch > step.world().logs[step.index(who)].truncated && !step.is_ghost(who) {
        step.emit(who, What::Truncated { batch });
    }
}

/// START: it takes the state of the newest checkpoint, and rebuilds that of the newest committed
/// batch.
pub(super) fn join(step: &mut Step<'_>, who: usize, generation: u8, committed: u8) {
    let index = step.index(who);
    let Some(newest) = step.world().newest().cloned() else {
        return;
    };
    let log = step.world().logs[index].id;
    let named = newest.member(index).is_some_and(|m| m.log == log) || step.bug(Bug::TakeAnyLog);
    let current = newest.generation == u64::from(generation) || step.bug(Bug::NoSecondLook);
    if !(named && current) || newest.ended {
        // It closes the connection, and waits on.
        step.state.down[index].close(|_| false);
        return;
    }
    let checkpoint = newest.batch as u8;
    let kept = step.actor(who).ran;
    let keeps = step.bug(Bug::KeepState) && kept > checkpoint;
    let counted = if keeps {
        step.actor(who).counted
    } else {
        restored(step, index, &newest)
    };
    let actor = step.change(who);
    let old = std::mem::take(actor);
    let (life, index, log, tail, lead) = (old.life, old.index, old.log, old.tail, old.lead);
    *actor = Process {
        life,
        index,
        run: old.run,
        log,
        generation,
        tail,
        lead,
        counted,
        fed: checkpoint,
        ran: checkpoint,
        published: checkpoint,
        saved: checkpoint,
        ..Process::default()
    };
    step.emit(
        who,
        What::Joined {
            restored: if keeps { kept } else { checkpoint }.into(),
        },
    );
    for batch in checkpoint + 1..=committed {
        rebuild(step, who, batch);
    }
    let oldest = step.world().retained().map(|m| m.batch).min().unwrap_or(0);
    truncate(step, who, oldest);
    if committed > checkpoint {
        let tell = !step.bug(Bug::PublishedOnce);
        publish(step, who, committed, tell);
    }
}

/// The state at a checkpoint, from a file of the store.
fn restored(step: &Step<'_>, index: usize, manifest: &Manifest) -> [u8; PROCESSES] {
    let files = &step.world().files;
    let own = files.get(&(manifest.files, manifest.batch, index));
    let file = own.or_else(|| {
        files
            .iter()
            .find(|(at, _)| (at.0, at.1) == (manifest.files, manifest.batch))
            .map(|f| f.1)
    });
    let mut counted = [0; PROCESSES];
    for (to, from) in counted.iter_mut().zip(file.into_iter().flatten()) {
        *to = *from as u8;
    }
    counted
}

/// A committed batch once more, for its state only. Its cuts are final, so no other process can
/// see it half done: the exchange is not modelled again.
fn rebuild(step: &mut Step<'_>, who: usize, batch: u8) {
    let index = step.index(who);
    for peer in step.members(who) {
        let (from, to) = (position(step, peer, batch - 1), position(step, peer, batch));
        if peer == index {
            step.emit(
                who,
                What::Fed {
                    batch: batch.into(),
                    from: from.into(),
                    to: to.into(),
                },
            );
        }
        step.change(who).counted[peer] += to.saturating_sub(from);
    }
    let actor = step.change(who);
    (actor.fed, actor.ran) = (batch, batch);
    actor.kept[batch as usize] = actor.counted;
    if !step.config.late_files {
        save(step, who);
    }
}

/// It leaves its generation, and waits for the next one. A ghost has nothing to wait for.
pub(super) fn leave(step: &mut Step<'_>, who: usize) {
    if step.is_ghost(who) {
        return die(step, who);
    }
    if step.actor(who).generation > 0 {
        step.emit(who, What::Left);
    }
    close(step, who);
    let keeps = step.bug(Bug::KeepState);
    let old = std::mem::take(step.change(who));
    let lead = Lead {
        writer: old.lead.writer,
        ..Lead::default()
    };
    let (life, index, log) = (old.life, old.index, old.log);
    let (tail, unsynced) = (old.tail, old.unsynced);
    let (ran, counted) = if keeps {
        (old.ran, old.counted)
    } else {
        Default::default()
    };
    *step.change(who) = Process {
        life,
        index,
        run: old.run,
        log,
        tail,
        unsynced,
        ran,
        counted,
        lead,
        ..Process::default()
    };
}

/// It has ended as it should.
pub(super) fn done(step: &mut Step<'_>, who: usize) {
    if step.is_ghost(who) {
        return die(step, who);
    }
    step.emit(who, What::Done);
    close(step, who);
    let index = step.actor(who).index;
    *step.change(who) = Process {
        life: Life::Done,
        index,
        ..Process::default()
    };
}

/// It is dead. What it has sent may still arrive, what was sent to it does not.
pub(super) fn die(step: &mut Step<'_>, who: usize) {
    step.emit(who, What::Crashed);
    if who == 0 {
        step.state
            .actors
            .iter_mut()
            .for_each(|actor| actor.joins = false);
    }
    let index = step.actor(who).index;
    let ghost = step.is_ghost(who);
    close(step, who);
    *step.change(who) = Process {
        life: Life::Down,
        index: if ghost { 0 } else { index },
        ..Process::default()
    };
}

/// The ends of its connections: what is under way to it is lost, also a START. Those of a ghost
/// are another's.
fn close(step: &mut Step<'_>, who: usize) {
    let (index, generation) = (step.index(who), step.actor(who).generation);
    let other = if step.is_ghost(who) { index } else { GHOST };
    let other = step.actor(other);
    let kept = if usize::from(other.index) == index {
        other.generation
    } else {
        0
    };
    let stays = |g: u8| {
        if step.is_ghost(who) {
            g != generation
        } else {
            g == kept
        }
    };
    if index > 0 {
        let mut queue = step.state.down[index];
        queue.close(stays);
        step.state.down[index] = queue;
    } else if !step.bug(Bug::TakeOldMessages) {
        let mut queues = step.state.up;
        queues.iter_mut().for_each(|queue| queue.close(stays));
        step.state.up = queues;
    }
}
