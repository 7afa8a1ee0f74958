//! Traces: those of random walks through the model are accepted, others are refused.

use highwater_cluster_model::model::{Bug, Config, Fault, walk};
use highwater_cluster_model::{Event, Property, What, check_trace};

/// Everything that can happen, more of it than can be explored exhaustively.
fn large() -> Config {
    Config {
        processes: 3,
        members: vec![0, 1, 2],
        rescale: None,
        records: vec![4, 4, 4],
        batches: 3,
        in_flight: 2,
        retain: 1,
        late_files: true,
        faults: 5,
        allowed: vec![
            Fault::Crash,
            Fault::Pause,
            Fault::Replace,
            Fault::Link,
            Fault::Answer,
        ],
        bug: None,
    }
}

fn rescaled(to: &[usize]) -> Config {
    let members = (0..3 - to.len()).collect();
    let rescale = Some(to.to_vec());
    Config {
        members,
        rescale,
        processes: 2,
        records: vec![4, 4],
        faults: 2,
        ..large()
    }
}

#[test]
fn random_walks_are_accepted() {
    for config in [large(), rescaled(&[0]), rescaled(&[0, 1])] {
        let (mut events, mut ended) = (0, 0);
        for seed in 1..=2000 {
            let trace = walk(&config, seed);
            check_trace(&trace).unwrap_or_else(|v| panic!("seed {seed}: {v}\n{trace:#?}"));
            events += trace.len();
            ended += usize::from(trace.iter().any(|e| e.what == What::Done));
        }
        println!("{events} events, {ended} of 2000 walks came to an end");
        assert!(ended > 1000, "{ended} walks came to an end");
    }
}

/// What the program would write, line by line.
#[test]
fn a_trace_survives_being_written() {
    let trace = walk(&large(), 7);
    let lines: Vec<String> = trace
        .iter()
        .map(|e| serde_json::to_string(e).unwrap())
        .collect();
    let back: Vec<Event> = lines
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(back, trace);
    println!("{}", lines[..6].join("\n"));
}

/// Without this event a trace says something else.
fn counts(event: &Event) -> bool {
    matches!(
        event.what,
        What::Joined { .. }
            | What::Cut { .. }
            | What::Fed { .. }
            | What::Staged { .. }
            | What::Committed { .. }
            | What::Started(_)
    )
}

/// A run without faults: every event is needed by a later one.
#[test]
fn a_missing_event_is_refused() {
    let mut refused = 0;
    for seed in 1..=40 {
        let trace = walk(
            &Config {
                faults: 0,
                ..large()
            },
            seed,
        );
        for at in (0..trace.len()).filter(|at| counts(&trace[*at])) {
            let mut less = trace.clone();
            let gone = less.remove(at);
            assert!(
                check_trace(&less).is_err(),
                "seed {seed}: without event {at}, {gone:?}"
            );
            refused += 1;
        }
    }
    println!("{refused} traces were refused");
}

/// The one change that makes each of these wrong.
#[test]
fn changed_events_are_refused() {
    type Change = fn(&mut What) -> bool;
    let changes: [(&str, Property, Change); 8] = [
        ("another range", Property::SameCuts, |what| match what {
            What::Fed { to, .. } => {
                *to += 1;
                true
            }
            _ => false,
        }),
        (
            "a part of another batch",
            Property::PartsAreTheSame,
            |what| match what {
                What::Published { part, .. } => {
                    *part += 1;
                    true
                }
                _ => false,
            },
        ),
        (
            "publish too early",
            Property::PublishedIsCommitted,
            |what| match what {
                What::Published { batch, .. } => {
                    *batch += 1;
                    true
                }
                _ => false,
            },
        ),
        (
            "state that is ahead",
            Property::NothingIsCountedTwice,
            |what| match what {
                What::Joined { restored } => {
                    *restored += 1;
                    true
                }
                _ => false,
            },
        ),
        (
            "a log that is another one",
            Property::Order,
            |what| match what {
                What::Started(m) => {
                    m.members[1].log += 1;
                    true
                }
                _ => false,
            },
        ),
        (
            "a log that ends before what it acknowledged",
            Property::NothingIsLost,
            |what| match what {
                What::Booted { end, .. } if *end > 0 => {
                    *end = 0;
                    true
                }
                _ => false,
            },
        ),
        (
            "a manifest with a number of another",
            Property::OneGenerationCommits,
            |what| match what {
                What::Checkpointed(m) => {
                    m.number -= 1;
                    true
                }
                _ => false,
            },
        ),
        (
            "truncation of what is needed",
            Property::LogIsKept,
            |what| match what {
                What::Truncated { batch } => {
                    *batch += 1;
                    true
                }
                _ => false,
            },
        ),
    ];
    for (name, property, change) in changes {
        let mut seen = 0;
        for seed in 1..=300 {
            let mut trace = walk(&large(), seed);
            if !trace.iter_mut().any(|event| change(&mut event.what)) {
                continue;
            }
            // A process that dies at once does not miss what is wrong.
            let verdict = check_trace(&trace);
            seen += usize::from(verdict.is_err_and(|v| v.property == property));
        }
        assert!(seen > 10, "{name}: {seen} times as {property:?}");
    }
}

/// A program that is broken as a model can be is found by its traces, if they are many.
#[test]
fn traces_of_broken_models_are_refused() {
    let bugs = [
        Bug::AckBeforeNamed,
        Bug::KeepState,
        Bug::PublishBeforeCommit,
        Bug::CommitBeforeStaged,
        Bug::StageBeforeExchange,
        Bug::ManifestBeforePublished,
        Bug::ManifestBeforeFiles,
        Bug::CutAgain,
        Bug::SaveLate,
        Bug::OpenEarly,
    ];
    for bug in bugs {
        let config = Config {
            bug: Some(bug),
            ..large()
        };
        let refused = (1..=300)
            .filter(|seed| check_trace(&walk(&config, *seed)).is_err())
            .count();
        println!("{bug:?}: {refused} of 300 refused");
        assert!(refused > 3, "{bug:?}: {refused}");
    }
}

/// What the invariants are about does happen.
#[test]
fn walks_come_by_what_matters() {
    let allowed = [large().allowed, vec![Fault::LogLoss]].concat();
    let config = Config { allowed, ..large() };
    let [mut again, mut twice, mut refused, mut truncated] = [0; 4];
    for seed in 1..=1000 {
        let trace = walk(&config, seed);
        let count = |is: &dyn Fn(&What) -> bool| trace.iter().filter(|e| is(&e.what)).count();
        let differ = |is: fn(&What) -> Option<u64>| {
            let of = trace.iter().filter_map(|e| Some((e.process, is(&e.what)?)));
            of.collect::<std::collections::BTreeSet<_>>().len()
        };
        let staged = |what: &What| match what {
            What::Staged { batch, .. } => Some(*batch),
            _ => None,
        };
        let published = |what: &What| match what {
            What::Published { batch, .. } => Some(*batch),
            _ => None,
        };
        again += count(&|w| staged(w).is_some()) - differ(staged);
        twice += count(&|w| published(w).is_some()) - differ(published);
        refused += count(&|w| matches!(w, What::Refused { .. }));
        truncated += count(&|w| matches!(w, What::Truncated { .. }));
    }
    println!(
        "staged again {again}, published again {twice}, refused {refused}, truncated {truncated}"
    );
    assert!(again > 100 && twice > 100 && refused > 100 && truncated > 100);
}
