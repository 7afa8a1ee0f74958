//! Which steps are possible in a state, and what they do.

use super::config::{Bug, Config, Fault};
use super::state::{GHOST, Life, PROCESSES, State};
use super::step::Step;
use super::{fault, lead, manifests, member};
use crate::event::Event;

/// One step. `usize` is a process, or the ghost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A supervisor starts it.
    Boot(usize),
    /// It goes on after it was stopped.
    Resume(usize),
    /// A record of a sender is appended.
    Append(usize),
    /// What was appended becomes durable.
    Sync(usize),
    /// The next word of process 0 arrives.
    Deliver(usize),
    /// It runs and stages a batch.
    Run(usize),
    /// A state file is durable.
    Save(usize),
    /// It notices that a peer is lost, and leaves the generation.
    Leave(usize),
    /// The store says that the program has ended.
    Finish(usize),
    /// Process 0 hears the next word of another one.
    Hear(usize, usize),
    /// Process 0 reads the newest manifest.
    Read(usize),
    /// Process 0 creates a manifest.
    Put(usize),
    /// Process 0 looks what became of a manifest.
    Resolve(usize),
    /// Process 0 tells to cut; with `true` for the last time.
    Cut(usize, bool),
    /// Process 0 cuts its own log.
    CutOwn(usize),
    /// Process 0 tells to run a batch, and begins.
    Open(usize),
    /// Process 0 commits a batch.
    Commit(usize),
    /// Process 0 publishes its own outputs.
    PublishOwn(usize),
    /// Process 0 removes old checkpoints, and has the logs truncated.
    Retire(usize),
    /// Process 0 ends the program.
    End(usize),
    /// A late write reaches the store.
    Land,
    /// A late write is lost.
    Vanish,
    /// An operator starts a run with another number of processes, after the end.
    Rescale,
    /// The fault of this name.
    Fault(Fault, usize, usize),
}

/// The steps that need no fault.
pub(super) fn fair(config: &Config, state: &State) -> Vec<Action> {
    let step = Step::new(config, state);
    let mut found = Vec::new();
    for who in 0..=GHOST {
        if who < PROCESSES {
            alone(&step, who, &mut found);
        }
        if step.acts(who) {
            as_member(&step, who, &mut found);
            if step.index(who) == 0 {
                as_leader(&step, who, &mut found);
            }
        }
        let resumes = step.actor(who).life == Life::Paused;
        found.extend(resumes.then_some(Action::Resume(who)));
    }
    if state.late.is_some() {
        found.extend([Action::Land, Action::Vanish]);
    }
    let over = state.members().all(|m| step.actor(m).life == Life::Done) && state.late.is_none();
    let ghost = step.actor(GHOST).life != Life::Down;
    if over && !ghost && state.run == 1 && config.rescale.is_some() {
        found.push(Action::Rescale);
    }
    found
}

/// What a process does in whatever generation, and in none.
fn alone(step: &Step<'_>, who: usize, found: &mut Vec<Action>) {
    let actor = step.actor(who);
    if actor.life == Life::Down && step.state.members().any(|m| m == who) {
        found.push(Action::Boot(who));
    }
    if !step.acts(who) {
        return;
    }
    if member::may_receive(step, who) {
        found.push(Action::Append(who));
    }
    if actor.tail > 0 || actor.unsynced > 0 {
        found.push(Action::Sync(who));
    }
    if actor.generation == 0 && manifests::has_ended(step) && !step.bug(Bug::EndByMessage) {
        found.push(Action::Finish(who));
    }
}

fn as_member(step: &Step<'_>, who: usize, found: &mut Vec<Action>) {
    let actor = step.actor(who);
    let index = step.index(who);
    if lead::may_deliver(step, who) {
        found.push(Action::Deliver(who));
    }
    if member::may_run(step, who) {
        found.push(Action::Run(who));
    }
    if step.runs(who) && actor.saved < actor.ran && step.config.late_files {
        found.push(Action::Save(who));
    }
    let watched =
        |m: &usize| *m != index && (*m == 0 || index == 0 || !step.bug(Bug::NoticeLeaderOnly));
    if actor.generation > 0 && step.members(who).filter(watched).any(|m| step.lost(who, m)) {
        found.push(Action::Leave(who));
    }
}

fn as_leader(step: &Step<'_>, who: usize, found: &mut Vec<Action>) {
    let actor = step.actor(who);
    for from in 1..PROCESSES {
        let front = step.state.up[from].front();
        let old = step.bug(Bug::TakeOldMessages);
        if actor.generation > 0 && front.is_some_and(|m| m.generation == actor.generation || old) {
            found.push(Action::Hear(who, from));
        }
    }
    let steps = [
        (manifests::may_read(step, who), Action::Read(who)),
        (manifests::candidate(step, who).is_some(), Action::Put(who)),
        (actor.lead.unknown.is_some(), Action::Resolve(who)),
        (lead::may_cut(step, who), Action::Cut(who, false)),
        (may_cut_last(step, who), Action::Cut(who, true)),
        (lead::may_cut_own(step, who), Action::CutOwn(who)),
        (lead::may_open(step, who), Action::Open(who)),
        (lead::may_commit(step, who), Action::Commit(who)),
        (lead::may_publish_own(step, who), Action::PublishOwn(who)),
        (actor.lead.untold, Action::Retire(who)),
        (lead::may_end(step, who), Action::End(who)),
    ];
    found.extend(steps.into_iter().filter(|step| step.0).map(|step| step.1));
}

/// In a run after which the number of processes changes any batch may be the last one, but not
/// one that a log has cut before: behind that cut it may have acknowledged more. One batch is
/// left for the second run.
fn may_cut_last(step: &Step<'_>, who: usize) -> bool {
    let lead = &step.actor(who).lead;
    let new = |m: usize| {
        step.world().logs[m].last_cut() <= u64::from(lead.cut) || step.bug(Bug::LastCutAgain)
    };
    let early =
        step.config.rescale.is_some() && step.state.run == 1 && lead.cut + 1 < step.config.batches;
    early && lead::may_cut(step, who) && step.members(who).all(new)
}

/// The faults that may still happen.
pub(super) fn faults(config: &Config, state: &State) -> Vec<Action> {
    let may = |fault| fault::may(config, state, fault);
    let step = Step::new(config, state);
    let mut found = Vec::new();
    for who in state.members() {
        let life = step.actor(who).life;
        let lives = matches!(life, Life::Up | Life::Paused);
        let no_ghost = step.actor(GHOST).life == Life::Down;
        let log = life == Life::Down || lives;
        let each = [
            (Fault::Crash, lives),
            (Fault::Pause, life == Life::Up),
            (Fault::Replace, life == Life::Up && no_ghost),
            (Fault::LogLoss, log && step.world().logs[who].id > 0),
        ];
        found.extend(
            each.into_iter()
                .filter(|(f, on)| *on && may(*f))
                .map(|(f, _)| Action::Fault(f, who, 0)),
        );
        let runs = step.runs(who) || state.down[who].front().is_some();
        for peer in state
            .members()
            .filter(|peer| *peer != who && runs && may(Fault::Link))
        {
            found.push(Action::Fault(Fault::Link, peer, who));
        }
    }
    for who in [0, GHOST] {
        if may(Fault::Answer) && manifests::candidate(&step, who).is_some() && state.late.is_none()
        {
            found.extend([0, 1].map(|landed| Action::Fault(Fault::Answer, who, landed)));
        }
    }
    if may(Fault::Rescale) && state.run == 1 && step.world().newest().is_some() {
        found.push(Action::Fault(Fault::Rescale, 0, 0));
    }
    found
}

/// The state after a step, and what has happened in it.
pub(super) fn apply(config: &Config, state: &State, action: Action) -> (State, Vec<Event>) {
    let mut step = Step::new(config, state);
    let s = &mut step;
    match action {
        Action::Boot(who) => fault::boot(s, who),
        Action::Resume(who) => fault::resume(s, who),
        Action::Append(who) => member::append(s, who),
        Action::Sync(who) => member::sync(s, who),
        Action::Deliver(who) => lead::deliver(s, who),
        Action::Run(who) => member::run(s, who),
        Action::Save(who) => member::save(s, who),
        Action::Leave(who) => member::leave(s, who),
        Action::Finish(who) => member::done(s, who),
        Action::Hear(who, from) => lead::hear(s, who, from),
        Action::Read(who) => manifests::read(s, who),
        Action::Resolve(who) => manifests::resolve(s, who),
        Action::Cut(who, last) => lead::cut(s, who, last),
        Action::CutOwn(who) => lead::cut_own(s, who),
        Action::Open(who) => lead::open(s, who),
        Action::Commit(who) => lead::commit(s, who),
        Action::PublishOwn(who) => lead::publish_own(s, who),
        Action::Retire(who) => lead::retire(s, who),
        Action::End(who) => lead::end(s, who),
        Action::Land => manifests::land(s),
        Action::Vanish => s.state.late = None,
        Action::Rescale => fault::rescale(s, config.rescale.as_deref().unwrap_or_default()),
        Action::Put(who) => {
            if let Some(manifest) = manifests::candidate(s, who) {
                manifests::put(s, who, &manifest);
            }
        }
        Action::Fault(fault, a, b) => fail(s, fault, a, b),
    }
    (step.state.into_state(), step.events)
}

fn fail(step: &mut Step<'_>, fault: Fault, a: usize, b: usize) {
    step.state.faults += 1;
    match fault {
        Fault::Crash => member::die(step, a),
        Fault::Pause => fault::pause(step, a, false),
        Fault::Replace => fault::pause(step, a, true),
        Fault::Link => fault::cut_link(step, a, b),
        Fault::LogLoss => fault::lose_log(step, a),
        Fault::Rescale => fault::rescale(step, step.config.rescale.as_deref().unwrap_or_default()),
        Fault::Answer => {
            if let Some(manifest) = manifests::candidate(step, a) {
                manifests::put_unheard(step, a, &manifest, b == 1);
            }
        }
    }
}
