//! What process 0 does with the store: it reads the newest manifest, and creates the next one.

use super::config::Bug;
use super::member;
use super::state::{Lead, Life, PROCESSES, Word};
use super::step::Step;
use crate::event::{Manifest, Member, What};
use std::sync::Arc;

/// All members wait for a generation, and process 0 has not looked into the store yet.
pub(super) fn may_read(step: &Step<'_>, who: usize) -> bool {
    let waits = |m: usize| {
        let actor = step.actor(m);
        let told = !step.state.down[m].is_empty();
        let joins = actor.joins || step.acts(m) && !told;
        actor.generation == 0 && (m == 0 || joins)
    };
    let actor = step.actor(who);
    let idle = step.acts(who) && step.index(who) == 0 && actor.generation == 0;
    let ended = has_ended(step) && !step.bug(Bug::EndByMessage);
    idle && !ended && !step.is_ghost(who) && actor.lead.read == 0 && step.state.members().all(waits)
}

/// The store says that the program has ended, in the present run.
pub(super) fn has_ended(step: &Step<'_>) -> bool {
    let newest = step.world().newest();
    newest.is_some_and(|m| m.ended && m.run == u64::from(step.state.run))
}

/// It reads the newest manifest, and holds the members that have joined against it.
pub(super) fn read(step: &mut Step<'_>, who: usize) {
    if let Some(why) = refusal(step) {
        step.change(who).life = Life::Refused;
        return step.emit(who, What::Refused { why });
    }
    let number = step.world().newest().map_or(0, |m| m.number) as u8;
    let mut joined = [0; PROCESSES];
    for (log, joined) in step.world().logs.iter().zip(&mut joined) {
        *joined = log.id as u8;
    }
    let lead = &mut step.change(who).lead;
    (lead.read, lead.joined) = (number + 1, joined);
}

/// Why no generation may begin.
fn refusal(step: &Step<'_>) -> Option<String> {
    let newest = step.world().newest()?;
    let committed = step.world().logs[0].committed;
    for index in step.state.members() {
        let log = &step.world().logs[index];
        match newest.member(index) {
            _ if step.bug(Bug::TakeAnyLog) => {}
            Some(named) if named.log != log.id => {
                return Some(format!("process {index} has lost its log"));
            }
            Some(_) if log.last_cut() < committed => {
                return Some(format!("the log of {index} is an older one"));
            }
            None if !log.cuts.is_empty() => {
                return Some(format!("process {index} brings a used log"));
            }
            _ => {}
        }
    }
    let same = newest
        .members
        .iter()
        .map(|m| m.process)
        .eq(step.state.members());
    let may_change = newest.ended && newest.drained || step.bug(Bug::RescaleAnyTime);
    (!same && !may_change).then(|| "other processes than before, and work is open".to_owned())
}

/// The manifest that process 0 would create now.
pub(super) fn candidate(step: &Step<'_>, who: usize) -> Option<Manifest> {
    let actor = step.actor(who);
    if !step.acts(who)
        || step.index(who) != 0
        || actor.lead.unknown.is_some()
        || actor.lead.read == 0
    {
        return None;
    }
    if actor.generation == 0 {
        Some(start(step, who))
    } else {
        checkpoint(step, who)
    }
}

/// The same checkpoint, under a new generation.
fn start(step: &Step<'_>, who: usize) -> Manifest {
    let lead = &step.actor(who).lead;
    let old = step
        .world()
        .manifests
        .iter()
        .find(|m| m.number + 1 == u64::from(lead.read));
    let member = |process: usize| {
        let position = old
            .and_then(|m| m.member(process))
            .map_or(0, |m| m.position);
        Member {
            process,
            log: lead.joined[process].into(),
            position,
        }
    };
    let number = lead.read.into();
    Manifest {
        number,
        generation: old.map_or(0, |m| m.generation) + 1,
        writer: lead.writer.into(),
        oldest: oldest(step, number, old.map_or(0, |m| m.batch)),
        start: true,
        batch: old.map_or(0, |m| m.batch),
        files: old.map_or(0, |m| m.files),
        run: step.actor(who).run.into(),
        ended: false,
        drained: false,
        members: step.members(who).map(member).collect(),
    }
}

/// A checkpoint at the newest batch that all have published and saved. IS_CUT has told the
/// positions of its cuts.
fn checkpoint(step: &Step<'_>, who: usize) -> Option<Manifest> {
    let lead = &step.actor(who).lead;
    let published = if step.bug(Bug::ManifestBeforePublished) {
        lead.committed
    } else {
        step.least(who, lead.published)
    };
    let saved = if step.bug(Bug::ManifestBeforeFiles) {
        lead.committed
    } else {
        step.least(who, lead.saved)
    };
    let batch = published.min(saved);
    let ended = batch == last_batch(step, who) && lead.cut == batch;
    let member = |process: usize| {
        let position = step
            .world()
            .inputs
            .get(&(batch.into(), process))
            .map_or(0, |range| range.1);
        Member {
            process,
            log: lead.joined[process].into(),
            position,
        }
    };
    let number = lead.read.into();
    (batch > lead.checkpoint).then(|| Manifest {
        number,
        generation: step.actor(who).generation.into(),
        writer: lead.writer.into(),
        oldest: oldest(step, number, batch.into()),
        start: false,
        batch: batch.into(),
        files: step.actor(who).generation.into(),
        run: step.actor(who).run.into(),
        ended,
        drained: ended && lead.last == batch,
        members: step.members(who).map(member).collect(),
    })
}

/// The lowest number that counts beside a new manifest: as many checkpoints are retained as the
/// settings say.
fn oldest(step: &Step<'_>, number: u64, batch: u64) -> u64 {
    if step.bug(Bug::CountAll) {
        return 0;
    }
    let manifests = step.world().retained().filter(|m| m.number < number);
    let mut batches: Vec<u64> = manifests.clone().map(|m| m.batch).chain([batch]).collect();
    batches.dedup();
    let from = batches[batches.len().saturating_sub(step.config.retain)];
    manifests
        .filter(|m| m.batch >= from)
        .map(|m| m.number)
        .min()
        .unwrap_or(number)
}

/// The batch after which the program ends.
pub(super) fn last_batch(step: &Step<'_>, who: usize) -> u8 {
    match step.actor(who).lead.last {
        0 => step.config.batches,
        last => last,
    }
}

/// It creates a manifest, and hears whether it has.
pub(super) fn put(step: &mut Step<'_>, who: usize, manifest: &Manifest) {
    if create(step, manifest) {
        ours(step, who, manifest)
    } else {
        fenced(step, who)
    }
}

/// Create-only: `false` if the number is taken.
fn create(step: &mut Step<'_>, manifest: &Manifest) -> bool {
    if step
        .world()
        .manifests
        .iter()
        .any(|m| m.number == manifest.number)
        && !step.bug(Bug::NoFence)
    {
        return false;
    }
    let what = if manifest.start {
        What::Started
    } else {
        What::Checkpointed
    };
    step.emit_as(0, manifest.generation, what(manifest.clone()));
    true
}

/// Its answer is lost. The manifest is there, or still under way.
pub(super) fn put_unheard(step: &mut Step<'_>, who: usize, manifest: &Manifest, landed: bool) {
    step.change(who).lead.unknown = Some(Arc::new(manifest.clone()));
    if landed {
        create(step, manifest);
    } else {
        step.state.late = Some(Arc::new(manifest.clone()));
    }
    if step.bug(Bug::TruncateBeforeAnswer) && !manifest.start {
        step.change(who).lead.untold = true;
    }
}

/// A late write reaches the store.
pub(super) fn land(step: &mut Step<'_>) {
    if let Some(manifest) = step.state.late.take() {
        create(step, &manifest);
    }
}

/// It looks what has become of a manifest of unknown fate: the very same, byte for byte, or none,
/// or another's.
pub(super) fn resolve(step: &mut Step<'_>, who: usize) {
    let Some(manifest) = step.change(who).lead.unknown.take() else {
        return;
    };
    let there = step
        .world()
        .manifests
        .iter()
        .find(|m| m.number == manifest.number);
    let same = there == Some(&*manifest) || there.is_some() && step.bug(Bug::AnyManifestIsOurs);
    if same {
        ours(step, who, &manifest)
    } else {
        put(step, who, &manifest)
    }
}

/// Another one has the number: a start reads again, everything else ends.
fn fenced(step: &mut Step<'_>, who: usize) {
    member::leave(step, who);
}

/// The manifest is known to be there. If it is not the newest one it came too late, into the
/// place of one that was removed, or others have gone on.
fn ours(step: &mut Step<'_>, who: usize, manifest: &Manifest) {
    let newest = step.world().newest().map(|m| m.number) == Some(manifest.number);
    if !newest && !step.bug(Bug::NoSecondLook) {
        return fenced(step, who);
    }
    if manifest.start {
        return begin(step, who, manifest);
    }
    let lead = &mut step.change(who).lead;
    lead.read += 1;
    lead.checkpoint = manifest.batch as u8;
    lead.untold = true;
    lead.ended = manifest.ended;
}

/// A generation begins: START to all.
fn begin(step: &mut Step<'_>, who: usize, manifest: &Manifest) {
    let generation = manifest.generation as u8;
    let committed = step.world().logs[0].committed as u8;
    let checkpoint = manifest.batch as u8;
    step.state.links = 0;
    let old = step.bug(Bug::TakeOldMessages);
    for process in 1..PROCESSES {
        if step.actor(process).generation == 0 {
            step.state.down[process].close(|_| false);
            if !old {
                step.state.up[process].close(|_| false);
            }
        }
    }
    let old = &step.actor(who).lead;
    let lead = Lead {
        writer: old.writer,
        read: old.read + 1,
        joined: old.joined,
        is_cut: [committed; PROCESSES],
        staged: [committed; PROCESSES],
        published: [checkpoint; PROCESSES],
        saved: [checkpoint; PROCESSES],
        cut: committed,
        opened: committed,
        told: committed,
        committed,
        checkpoint,
        ..Lead::default()
    };
    step.change(who).lead = lead;
    if !step.bug(Bug::JoinsForEver) {
        step.state
            .actors
            .iter_mut()
            .for_each(|actor| actor.joins = false);
    }
    step.change(who).generation = generation;
    step.tell_all(who, Word::Start, committed);
    step.change(who).generation = 0;
    member::join(step, who, generation, committed);
    if step.actor(who).generation == 0 {
        step.change(who).lead.read = 0;
    }
}
