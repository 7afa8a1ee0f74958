//! What takes records in, and ends batches: put together from what was found on disk.

use crate::dead_letters::outlet::DEAD_LETTERS;
use crate::ingest::admission::Admission;
use crate::ingest::rate_gate::RateGate;
use crate::ingest::source_context::SourceContext;
use crate::ingest::source_writer::SourceWriter;
use crate::plan::program::Plan;
use crate::rates::source_rate::SourceRate;
use crate::recovery::recover::Recovered;
use crate::scheduler::clock::BatchClock;
use crate::scheduler::cutter::{Cutter, GoneBefore, OpenTick};
use crate::settings::Settings;
use std::sync::Arc;

/// The way into the log of each source.
pub(super) fn sources(
    settings: &Settings,
    plan: &Plan,
    recovered: &Recovered,
    admission: &Arc<Admission>,
) -> Vec<SourceContext> {
    let streams = recovered.streams.clone();
    let sources = plan.sources.iter().zip(streams).map(|(source, stream)| {
        let ledger = recovered.ledger(stream.id);
        let rate = rate_gate(settings, plan, &source.name, admission);
        let (admission, check) = (Arc::clone(admission), source.check_on_append());
        let writer = SourceWriter::new(&source.name, stream.id, admission, ledger, check, rate);
        SourceContext::new(Arc::new(writer))
    });
    sources.collect()
}

/// What bounds the rate of a source, if anything does. Dead letters that are replayed come from a
/// thread that nothing may keep waiting.
fn rate_gate(
    settings: &Settings,
    plan: &Plan,
    source: &str,
    admission: &Arc<Admission>,
) -> Option<RateGate> {
    let mut sources = plan.sources.iter().enumerate();
    let (index, info) = sources.find(|(_, info)| info.name == source)?;
    if info.kind == DEAD_LETTERS || !settings.bounds_rates {
        return None;
    }
    let own = plan.max_rates.get(&index).copied();
    let (max_rate, interval) = (own.or(settings.max_rate), settings.batch_interval);
    let rate = SourceRate::new(max_rate, &settings.back_pressure, interval)?;
    Some(RateGate::new(source, admission, rate))
}

/// What ends batches.
pub(super) fn cutter(
    settings: &Settings,
    plan: &Plan,
    recovered: &Recovered,
    admission: &Arc<Admission>,
) -> Cutter {
    let last = recovered.last();
    let last_ms = last.map(|last| last.tick.time_ms);
    let before = GoneBefore {
        last_id: last.map_or(0, |last| last.batch.id),
        last_ms: last_ms.filter(|_| !settings.reset_batch_clock),
        open: last
            .filter(|last| !last.tick.is_last_part)
            .map(|last| OpenTick {
                time_ms: last.tick.time_ms,
                part: last.tick.part.saturating_add(1),
            }),
        zero_ms: recovered.zero_ms,
        slides_ms: plan.slides_ms(),
        last_cut: recovered.last_cut(),
    };
    let clock = Arc::clone(&settings.clock);
    let times = BatchClock::start(clock, settings.interval_ms(), before.last_ms.unwrap_or(0));
    Cutter::new(
        settings.dir.clone(),
        Arc::clone(admission),
        times,
        settings.max_batch_bytes,
        settings.faults,
        before,
    )
}
