//! What was found on disk beside what the program is, for people.

use crate::checkpointing::metadata::PRODUCERS;
use crate::datasets::slot::DATASET;
use crate::engine_log::cut::Cut;
use crate::plan::program::{OperatorInfo, Plan};
use crate::plan::refused_counts::REFUSED;
use crate::recovery::found::Found;
use crate::recovery::report::{
    ChangedSetting, IncompleteBatch, RecoveryReport, SourceReport, StateReport,
};
use crate::settings::Settings;
use crate::variables::declared::{BROADCAST, COUNTER};
use highwater_checkpoint::Checkpoint;
use std::collections::{BTreeMap, BTreeSet};

/// What a start from this has restored, or would.
pub(super) fn report(
    settings: &Settings,
    plan: &Plan,
    found: &Found,
    checkpoint: Option<&Checkpoint>,
) -> RecoveryReport {
    let cuts = &found.replay.cuts;
    let last = cuts.last().map(|cut| cut.last);
    let last = last.or(found.checkpoint.map(|(_, at)| at));
    let mut report = RecoveryReport {
        checkpoint: found.checkpoint.map(|(number, at)| (number, at.batch.id)),
        states: states(plan, found),
        batches_to_replay: cuts.iter().map(Cut::count).sum(),
        bytes_to_replay: found.bytes_to_replay,
        committed: found.committed,
        incomplete: incomplete(cuts, found.committed),
        record_versions: found.replay.versions,
        last_tick_ms: last.map(|last| last.tick.time_ms),
        zero_ms: found.zero_ms,
        ..RecoveryReport::default()
    };
    if let Some(before) = &found.before {
        report.sources = sources(plan, found, &before.sources);
        report.dropped_sources = dropped_sources(found, &before.sources);
    } else {
        report.sources = sources(plan, found, &BTreeMap::new());
    }
    if let Some(checkpoint) = checkpoint {
        report.dropped_states = dropped_states(found, checkpoint);
        report.new_states = new_states(plan, found);
        let (then, now) = (&found.metadata.operators, &plan.operators);
        report.new_operators = titles_without(now, then);
        report.gone_operators = titles_without(then, now);
        report.changed_settings = changed_settings(settings, found);
    }
    report
}

fn states(plan: &Plan, found: &Found) -> Vec<StateReport> {
    let states = found.states.iter();
    let named = states.filter_map(|(index, restored)| Some((plan.states.get(*index)?, restored)));
    let reports = named.map(|(slot, restored)| StateReport {
        name: slot.name.clone(),
        keys: restored.keys,
        moved_keys: restored.moved,
        ignored_fields: restored.ignored.iter().cloned().collect(),
        defaulted_fields: restored.defaulted.iter().cloned().collect(),
        renamed_from: Some(restored.origin.clone()).filter(|name| *name != slot.name),
        conversions: restored.conversions,
    });
    reports.collect()
}

fn dropped_states(found: &Found, checkpoint: &Checkpoint) -> Vec<(String, u64)> {
    let kept: BTreeSet<&str> = found.states.values().map(|s| s.origin.as_str()).collect();
    let states = checkpoint.states().iter();
    let dropped = states.filter(|state| {
        ![PRODUCERS, DATASET, REFUSED].contains(&state.kind.as_str())
            && !kept.contains(state.name.as_str())
    });
    dropped
        .map(|state| (state.name.clone(), state.entries))
        .collect()
}

fn new_states(plan: &Plan, found: &Found) -> Vec<String> {
    let own = |kind: &str| ![COUNTER, BROADCAST, DATASET, REFUSED].contains(&kind);
    let states = plan.states.iter().enumerate();
    let new = states.filter(|(index, slot)| own(slot.kind) && !found.states.contains_key(index));
    new.map(|(_, slot)| slot.name.clone()).collect()
}

/// `before`: the streams of the directory's sources.
fn sources(plan: &Plan, found: &Found, before: &BTreeMap<String, u16>) -> Vec<SourceReport> {
    let sources = plan.sources.iter().zip(&found.streams);
    let reports = sources.map(|(source, stream)| {
        let mut names = before.iter().filter(|(_, id)| **id == stream.id.0);
        let name = names.next().map(|(name, _)| name.clone());
        SourceReport {
            name: source.name.clone(),
            is_new: name.is_none(),
            renamed_from: name.filter(|name| *name != source.name),
            records_to_replay: records(found, stream.id.0),
        }
    });
    reports.collect()
}

fn dropped_sources(found: &Found, before: &BTreeMap<String, u16>) -> Vec<(String, u64)> {
    let after = &found.program.sources;
    let dropped = before
        .iter()
        .filter(|(_, id)| after.values().all(|other| other != *id));
    dropped
        .map(|(name, id)| (name.clone(), records(found, *id)))
        .collect()
}

fn records(found: &Found, stream: u16) -> u64 {
    let records = found.replay.records.get(&highwater_wal::StreamId(stream));
    records.copied().unwrap_or(0)
}

/// Named operators of `these` whose kind and name `others` do not have.
fn titles_without(these: &[OperatorInfo], others: &[OperatorInfo]) -> Vec<String> {
    let named = |all: &[OperatorInfo]| -> BTreeSet<String> {
        let named = all.iter().filter(|operator| operator.name.is_some());
        named.map(OperatorInfo::title).collect()
    };
    let others = named(others);
    let these = named(these).into_iter();
    these.filter(|title| !others.contains(title)).collect()
}

fn changed_settings(settings: &Settings, found: &Found) -> Vec<ChangedSetting> {
    let then = &found.metadata.settings;
    let now = settings.shown().into_iter();
    let changed = now.filter_map(|(name, now)| {
        let then = then.get(&name).filter(|then| **then != now)?.clone();
        Some(ChangedSetting { name, then, now })
    });
    changed.collect()
}

/// The cuts whose last batch was not committed, with the part of their batches that was not.
fn incomplete(cuts: &[Cut], committed: Option<u64>) -> Vec<IncompleteBatch> {
    let open = cuts
        .iter()
        .filter(|cut| committed.is_none_or(|newest| cut.last.batch.id > newest));
    open.map(|cut| {
        let newest = committed.map_or(0, |newest| newest + 1);
        IncompleteBatch {
            first_id: cut.first_id().max(newest),
            batch: cut.last.batch,
            part: cut.last.tick.part,
            is_last_part: cut.last.tick.is_last_part,
        }
    })
    .collect()
}
