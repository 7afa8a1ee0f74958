//! Who reads the events of a context, in which order, and what they are told at the start.

use crate::checkpointing::policy::CheckpointPolicy;
use crate::context::meters::Meters;
use crate::datasets::slot::DATASET;
use crate::ingest::source_context::SourceContext;
use crate::observe::advice::{Advisor, Measured, Rhythm};
use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::event::{ContextListener, Events, LogEvents};
use crate::observe::exported::metrics::MetricsListener;
use crate::observe::recent::RecentEvents;
use crate::observe::recovering::lineage::LineageReader;
use crate::observe::recovering::pace::PaceMeter;
use crate::observe::states::StateCounts;
use crate::observe::status::Status;
use crate::plan::program::Plan;
use crate::plan::refused_counts::REFUSED;
use crate::recovery::recover::Recovered;
use crate::settings::Settings;
use crate::sink::status::OutputDelays;
use crate::variables::declared::{BROADCAST, COUNTER};
use std::sync::Arc;

/// What tells the lineage. It knows from which checkpoint the run starts.
pub(super) fn lineage(settings: &Settings, recovered: &Recovered) -> LineageReader {
    let (checkpoints, status) = <(Arc<CheckpointStatus>, Arc<Status>)>::default();
    if let Some((number, at)) = recovered.checkpoint {
        let mut manifests = recovered.checkpoints.manifests();
        let manifest = manifests.find(|manifest| manifest.number == number);
        let bytes = manifest.map_or(0, |m| m.files.iter().map(|file| file.size).sum());
        checkpoints.recovered((number, at.batch), (recovered.report.loaded_in, bytes));
        status.recovered(at.batch);
    }
    LineageReader {
        checkpoints,
        status,
        pace: Arc::new(PaceMeter::new(Arc::clone(&settings.clock))),
        wal: Arc::clone(&recovered.wal),
        replay_from: recovered.replay_from(),
        found: recovered.last().map(|last| last.batch),
        target: settings.policy.target(),
    }
}

/// How many keys the states have as restored.
pub(super) fn restored_states(recovered: &Recovered) -> Arc<StateCounts> {
    let states = Arc::new(StateCounts::default());
    for (state, keys) in &recovered.keys {
        states.restored(*state, *keys);
    }
    states
}

/// The stream of events. The program's log reads it, and what is measured and shown to others. The
/// program's own listeners find that those know. What the context's state is comes last: what
/// waits for it finds that all others know.
pub(super) fn events(
    settings: &Settings,
    plan: &Plan,
    recovered: &Recovered,
    (lineage, output_delays): (&Arc<LineageReader>, &Arc<OutputDelays>),
    (sources, counts): (&[SourceContext], &Arc<StateCounts>),
    recent: &Arc<RecentEvents>,
) -> Arc<Events> {
    let clock = Arc::clone(&settings.clock);
    let metrics = MetricsListener::new(
        &settings.application,
        Arc::clone(lineage),
        Arc::clone(&clock),
    );
    let events = Arc::new(Events::default());
    let states = plan.states.iter().enumerate();
    let states = states.filter(|(_, state)| has_keys(state.kind));
    let states = states.map(|(number, state)| (number, &*state.name));
    let meters = Meters::new(&settings.application, sources, states, counts, clock);
    let own: [Arc<dyn ContextListener>; 7] = [
        Arc::new(LogEvents),
        Arc::<CheckpointStatus>::clone(&lineage.checkpoints),
        Arc::<PaceMeter>::clone(&lineage.pace),
        Arc::new(advisor(settings, plan, recovered, lineage)),
        Arc::new(metrics),
        Arc::new(meters),
        Arc::<RecentEvents>::clone(recent),
    ];
    own.into_iter().for_each(|one| events.add_listener(one));
    for listener in &settings.listeners {
        events.add_listener(Arc::new(listener.clone()));
    }
    events.add_listener(Arc::<OutputDelays>::clone(output_delays));
    events.add_listener(Arc::<Status>::clone(&lineage.status));
    events
}

/// Whether a state of this kind has keys: those that the driver keeps for itself have none.
pub(super) fn has_keys(kind: &str) -> bool {
    ![COUNTER, BROADCAST, DATASET, REFUSED].contains(&kind)
}

/// What warns of checkpoints that do not fit the program.
fn advisor(
    settings: &Settings,
    plan: &Plan,
    recovered: &Recovered,
    lineage: &LineageReader,
) -> Advisor {
    let rhythm = Rhythm {
        clock: Arc::clone(&settings.clock),
        every: settings.checkpoint_every(),
        is_chosen: matches!(settings.policy, CheckpointPolicy::Every(_)),
        target: settings.policy.target(),
        batch_interval: settings.batch_interval,
        max_lineage: settings.max_unprocessed_bytes,
        has_state: plan.states.iter().any(|state| has_keys(state.kind)),
    };
    let measured = Measured {
        checkpoints: Arc::clone(&lineage.checkpoints),
        pace: Arc::clone(&lineage.pace),
    };
    let covered = recovered.checkpoint.map_or(0, |(_, at)| at.batch.id);
    Advisor::new(rhythm, measured, (covered, recovered.replay_from()))
}
