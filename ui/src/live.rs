//! A program that runs, as a page shows it.

use crate::snapshot::{
    Batch, Batches, Checkpoint, Checkpoints, DeadLetters, ErrorRow, Failure, Graph, Hold, Lineage,
    LineagePoint, Log, Observed, Operator, Output, Phase, Receiver, Recovery, Refused, Segment,
    Snapshot, SourceRow, Sources, State, Status, Step,
};
use highwater::{
    ContextObserver, ContextState, Error, OutputStatus, ReceiverState, Recent, RecentBatch,
    RecentCheckpoint, SourceLag,
};
use std::time::Duration;

/// How much longer than two intervals a batch, or a record, may wait before batches are behind:
/// what a busy machine does now and then is no news.
const SLACK_MS: u64 = 1000;

impl Observed for ContextObserver {
    fn snapshot(&self) -> Result<Snapshot, String> {
        let (recent, outputs, lags) = (self.recent(), self.outputs(), self.lags());
        let now_ms = self.clock().wall_ms();
        Ok(Snapshot {
            status: status(self, &recent, &outputs, &lags, now_ms),
            sources: sources(self, &lags, now_ms),
            batches: Batches {
                interval_ms: self.batch_interval().map(ms),
                batches: recent.batches.iter().rev().map(batch).collect(),
            },
            checkpoints: checkpoints(self, &recent, now_ms),
            lineage: lineage(self, &recent),
            log: log(self),
            receivers: receivers(&recent),
            dead_letters: DeadLetters {
                open: self.dead_letters() as u64,
                operators: refused(self),
            },
            graph: graph(self, &outputs),
            errors: errors(&recent),
            config: self.settings(),
        })
    }
}

/// In milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn status(
    context: &ContextObserver,
    recent: &Recent,
    outputs: &[OutputStatus],
    lags: &[(String, SourceLag)],
    now_ms: u64,
) -> Status {
    let progress = context.progress();
    let recovery = recovery(context, recent);
    let oldest = lags
        .iter()
        .filter_map(|(_, lag)| lag.oldest_received_ms)
        .min();
    let lag_ms = oldest.map(|oldest| now_ms.saturating_sub(oldest));
    let error = context.error();
    let failure = error.as_deref().map(failure);
    let (phase, sentence) = match (context.context_state(), &failure) {
        (ContextState::Stopped, Some(failure)) => (Phase::Failed, failure.message.clone()),
        (ContextState::Stopped, None) => {
            let stopped = "The program was stopped. Its next start goes on from here.";
            (Phase::Stopped, stopped.to_owned())
        }
        (ContextState::Initialized, _) => {
            let waiting = "Sources may store already; batches run when the program calls `start`.";
            (Phase::NotStarted, waiting.to_owned())
        }
        (ContextState::Active, _) => match recovery {
            Some(recovery) => (Phase::Recovering, recovering(recovery)),
            None => running(context, recent, outputs, lag_ms),
        },
    };
    Status {
        application: context.application().to_owned(),
        dir: context.dir().display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: now_ms,
        phase,
        sentence,
        recovery,
        failure,
        last_batch: progress.last_batch,
        batches: progress.batches,
        failed_attempts: progress.failed_attempts,
    }
}

/// How far the recovery is, until it is over.
fn recovery(context: &ContextObserver, recent: &Recent) -> Option<Recovery> {
    let of = context.recovered().batches_to_replay;
    let done = recent.recovery.map_or(0, |recovery| recovery.done);
    if done >= of || context.context_state() != ContextState::Active {
        return None;
    }
    let left = of - done;
    let eta = match recent.recovery {
        Some(recovery) if done > 0 => {
            let one = recovery.took.as_secs_f64() / done as f64;
            Some(Duration::from_secs_f64(one * left as f64))
        }
        _ => context.lineage().estimated_recovery,
    };
    Some(Recovery {
        done,
        of,
        eta_ms: eta.map(whole_ms),
    })
}

fn recovering(recovery: Recovery) -> String {
    let Recovery { done, of, eta_ms } = recovery;
    let eta = match eta_ms {
        Some(eta_ms) => format!(", about {:.1} s are left", eta_ms as f64 / 1e3),
        None => String::new(),
    };
    format!("{done} of {of} batches that were cut before the start are replayed{eta}.")
}

/// Whether batches of a program that runs keep up.
fn running(
    context: &ContextObserver,
    recent: &Recent,
    outputs: &[OutputStatus],
    lag_ms: Option<u64>,
) -> (Phase, String) {
    if let Some(delay) = outputs.iter().find_map(|output| output.delay.as_ref()) {
        let output = outputs.iter().find(|output| output.delay.is_some());
        let output = output.map_or("", |output| &output.output);
        let sentence = format!(
            "{} waits for output {output}, which has failed {} times: {}. It is tried again; nothing is lost.",
            delay.batch, delay.attempts, delay.last_error
        );
        return (Phase::Waiting, sentence);
    }
    if let Some(attempt) = context.failed_attempt() {
        return (Phase::Waiting, format!("{attempt}."));
    }
    let interval = context.batch_interval();
    let (waited, took) = recent
        .batches
        .last()
        .map_or_else(Default::default, |last| (last.scheduling_delay, last.took));
    let slack = Duration::from_millis(SLACK_MS);
    let allowed = interval.map(|interval| 2 * interval + slack);
    let age = lag_ms.map(Duration::from_millis);
    let is_old = (age.zip(allowed)).is_some_and(|(age, allowed)| age > allowed + took);
    let has_waited = allowed.is_some_and(|allowed| waited > allowed);
    if is_old || has_waited {
        let age = lag_ms.unwrap_or(0) as f64 / 1e3;
        let waited = waited.as_secs_f64();
        let sentence = format!(
            "The oldest record that no batch has is {age:.1} s old; the last batch has waited {waited:.1} s for its turn."
        );
        return (Phase::CatchingUp, sentence);
    }
    let sentence = match interval {
        Some(_) => "Batches keep up with what comes in.",
        None => "Batches are run by hand.",
    };
    (Phase::Steady, sentence.to_owned())
}

fn failure(error: &Error) -> Failure {
    let of_batch = match error {
        Error::Ended(inner) => return failure(inner),
        Error::Batch(failure) => Some((&failure.operator, failure.lsn, failure.batch.id)),
        Error::Output { output, batch, .. } => Some((output, None, batch.id)),
        _ => None,
    };
    Failure {
        message: error.to_string(),
        operator: of_batch.map(|(operator, ..)| operator.clone()),
        lsn: of_batch.and_then(|(_, lsn, _)| lsn).map(|lsn| lsn.get()),
        batch: of_batch.map(|(.., batch)| batch),
    }
}

fn sources(context: &ContextObserver, lags: &[(String, SourceLag)], now_ms: u64) -> Sources {
    let rates = context.rates();
    let rows = context.sources().into_iter().zip(lags);
    let rows = rows.map(|((name, stats), (_, lag))| SourceRow {
        rate_limit: (rates.iter())
            .find(|rate| rate.source == name)
            .and_then(|rate| rate.limit),
        name,
        stored: stats.stored,
        duplicates: Some(stats.duplicates),
        skipped: Some(stats.skipped),
        forgotten: Some(stats.forgotten),
        lag_records: lag.records,
        lag_bytes: lag.bytes,
        lag_ms: lag.oldest_received_ms.map(|at| now_ms.saturating_sub(at)),
    });
    Sources {
        sources: rows.collect(),
    }
}

fn batch(noted: &RecentBatch) -> Batch {
    let steps = noted.steps.all().into_iter().map(|(step, took)| Step {
        step: step.to_owned(),
        took_ms: ms(took),
    });
    Batch {
        id: noted.batch.id,
        at_ms: noted.at_ms,
        from: noted.batch.from.get(),
        to: noted.batch.to.get(),
        records: noted.records,
        waited_ms: ms(noted.scheduling_delay),
        took_ms: ms(noted.took),
        steps: steps.collect(),
        replayed: noted.replayed,
    }
}

fn checkpoints(context: &ContextObserver, recent: &Recent, now_ms: u64) -> Checkpoints {
    let (stats, lineage) = (context.checkpoints(), context.lineage());
    let time_ms = lineage.checkpoint_time_ms;
    Checkpoints {
        published: stats.published,
        failed: stats.failed,
        newest: lineage.checkpoint.map(|(number, _)| number),
        newest_batch: lineage.checkpoint.map(|(_, batch)| batch),
        age_ms: time_ms.map(|time_ms| now_ms.saturating_sub(time_ms)),
        longest_pause_ms: ms(stats.longest_pause),
        checkpoints: recent.checkpoints.iter().rev().map(checkpoint).collect(),
    }
}

fn checkpoint(noted: &RecentCheckpoint) -> Checkpoint {
    let published = noted.result.as_ref().ok();
    Checkpoint {
        number: published.map(|it| it.number),
        batch: noted.batch.id,
        at_ms: noted.at_ms,
        took_ms: published.map(|it| ms(it.took)),
        size_bytes: published.map(|it| it.size_bytes),
        total_bytes: published.map(|it| it.total_bytes),
        files: published.map(|it| it.total_files as u64),
        error: noted.result.as_ref().err().cloned(),
    }
}

fn lineage(context: &ContextObserver, recent: &Recent) -> Lineage {
    let lineage = context.lineage();
    let points = recent.batches.iter().map(|noted| LineagePoint {
        at_ms: noted.at_ms,
        batches: noted.lineage_batches,
        bytes: noted.lineage_bytes,
    });
    Lineage {
        text: lineage.to_string(),
        batches: lineage.depth,
        bytes: lineage.bytes_to_replay,
        replay_from: lineage.replay_from.get(),
        recovery_ms: lineage.estimated_recovery.map(whole_ms),
        target_ms: lineage.target.map(whole_ms),
        points: points.collect(),
    }
}

fn log(context: &ContextObserver) -> Log {
    let (stats, segments) = (context.log_stats(), context.log_segments());
    let holds: Vec<Hold> = (context.log_holds().into_iter())
        .map(|hold| Hold {
            name: hold.name,
            lsn: hold.lsn.get(),
            bytes: hold.bytes,
        })
        .collect();
    let tail = segments.last().map(|segment| segment.base);
    let segments = segments.into_iter().map(|segment| Segment {
        base: segment.base.get(),
        end: segment.end.get(),
        is_tail: Some(segment.base) == tail,
        kept_by: kept_by(&holds, segment.end.get()),
    });
    let segments = segments.collect();
    let free_bytes = context.free_bytes().unwrap_or_else(|error| {
        tracing::debug!(%error, "the free bytes of the log's file system are not known");
        None
    });
    Log {
        first_lsn: stats.first_lsn.get(),
        durable_lsn: stats.durable_lsn.get(),
        end_lsn: stats.end_lsn.get(),
        disk_bytes: stats.disk_bytes,
        max_bytes: stats.max_bytes,
        free_bytes,
        segments,
        holds,
    }
}

/// Who needs something of a segment that ends there.
fn kept_by(holds: &[Hold], end: u64) -> Vec<String> {
    let mut names: Vec<String> = (holds.iter())
        .filter(|hold| hold.lsn < end)
        .map(|hold| hold.name.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn receivers(recent: &Recent) -> Vec<Receiver> {
    let receivers = recent.receivers.iter().map(|(source, status)| Receiver {
        source: source.clone(),
        state: match status.state {
            ReceiverState::Running => "running",
            ReceiverState::Waiting => "waiting",
            _ => "stopped",
        },
        failures: status.failures,
        last_error: status.last_error.as_ref().map(|(_, why)| why.clone()),
        last_error_ms: status.last_error.as_ref().map(|(at, _)| *at),
    });
    receivers.collect()
}

fn refused(context: &ContextObserver) -> Vec<Refused> {
    let refused = context.refused().into_iter().map(|stats| Refused {
        operator: stats.operator,
        skipped: stats.skipped,
        dead_letters: stats.dead_letters,
    });
    refused.collect()
}

fn graph(context: &ContextObserver, outputs: &[OutputStatus]) -> Graph {
    let operators = context.operators().iter().map(|operator| Operator {
        kind: operator.kind.clone(),
        name: operator.name.clone(),
        inputs: operator.inputs.clone(),
        defined_at: operator.defined_at.clone(),
    });
    let outputs = outputs.iter().map(|output| Output {
        output: output.output.clone(),
        guarantee: output.guarantee.to_string(),
        waits: output.delay.as_ref().map(|_| output.to_string()),
    });
    let states = context.states().into_iter().map(|state| State {
        name: state.name,
        keys: state.keys,
        changed_keys: state.changed_keys,
    });
    Graph {
        operators: operators.collect(),
        outputs: outputs.collect(),
        states: states.collect(),
    }
}

fn errors(recent: &Recent) -> Vec<ErrorRow> {
    let mut errors: Vec<ErrorRow> = (recent.errors.iter())
        .map(|error| ErrorRow {
            place: error.place.clone(),
            batch: error.batch.map(|batch| batch.id),
            message: error.message.clone(),
            since_ms: error.since_ms,
            at_ms: error.at_ms,
            times: error.times,
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.at_ms));
    errors
}
