//! What is broken on purpose must be found, each by the invariant that it breaks.
//! `HIGHWATER_CLUSTER_MODEL=explain` shows how, with `--nocapture`.

use highwater_cluster_model::Property::{self, *};
use highwater_cluster_model::model::{Bug, Config, Fault, check, explain};

/// Two processes, one record each, one batch, no fault.
fn small(bug: Bug) -> Config {
    Config {
        processes: 2,
        members: vec![0, 1],
        rescale: None,
        records: vec![1, 1],
        batches: 1,
        in_flight: 1,
        retain: 2,
        late_files: false,
        faults: 0,
        allowed: vec![],
        bug: Some(bug),
    }
}

fn with(bug: Bug, allowed: &[Fault]) -> Config {
    let (faults, allowed) = (allowed.len() as u8, allowed.to_vec());
    Config {
        faults,
        allowed,
        ..small(bug)
    }
}

fn down(bug: Bug, allowed: &[Fault]) -> Config {
    let rescale = Some(vec![0]);
    Config {
        rescale,
        batches: 2,
        ..with(bug, allowed)
    }
}

/// The bug is found, as this invariant; the same without the bug is not.
fn is_found(config: &Config, property: Property) {
    let outcome = check(config, Some(property));
    let Some((_, path)) = outcome.found else {
        panic!("{:?} is not found in {} states", config.bug, outcome.states)
    };
    if std::env::var("HIGHWATER_CLUSTER_MODEL").is_ok_and(|value| value == "explain") {
        println!("{}", explain(config, &path));
    }
    println!(
        "{:?}: {} steps, {} states",
        config.bug,
        path.len(),
        outcome.states
    );
    let clean = check(
        &Config {
            bug: None,
            ..config.clone()
        },
        None,
    );
    assert_eq!(clean.found, None, "without {:?}", config.bug);
}

macro_rules! found {
    ($($test:ident: $config:expr => $property:expr;)*) => {
        $(#[test] fn $test() { is_found(&$config, $property); })*
    };
}

found! {
    ack_before_durable: with(Bug::AckBeforeDurable, &[Fault::Crash]) => NothingIsLost;
    ack_before_named: with(Bug::AckBeforeNamed, &[Fault::LogLoss]) => NothingIsLost;
    take_any_log: with(Bug::TakeAnyLog, &[Fault::LogLoss]) => NothingIsLost;
    ack_after_last_cut: down(Bug::AckAfterLastCut, &[]) => NothingIsLost;
    last_cut_again: down(Bug::LastCutAgain, &[Fault::Crash]) => NothingIsLost;
    rescale_any_time: down(Bug::RescaleAnyTime, &[Fault::Rescale]) => NothingIsLost;
    keep_state: with(Bug::KeepState, &[Fault::Crash]) => NothingIsCountedTwice;
    save_late: Config { batches: 2, in_flight: 2, late_files: true, ..small(Bug::SaveLate) } => StateFilesAreThere;
    publish_before_commit: small(Bug::PublishBeforeCommit) => PublishedIsCommitted;
    commit_before_staged: small(Bug::CommitBeforeStaged) => CommittedIsStaged;
    stage_before_exchange: with(Bug::StageBeforeExchange, &[Fault::Crash]) => PartsAreTheSame;
    manifest_before_published: small(Bug::ManifestBeforePublished) => ManifestIsPublished;
    manifest_before_files: Config { late_files: true, ..small(Bug::ManifestBeforeFiles) } => StateFilesAreThere;
    take_old_messages: Config { late_files: true, ..with(Bug::TakeOldMessages, &[Fault::Crash]) } => StateFilesAreThere;
    truncate_to_newest: small(Bug::TruncateToNewest) => LogIsKept;
    truncate_before_answer: with(Bug::TruncateBeforeAnswer, &[Fault::Answer]) => LogIsKept;
    no_fence: with(Bug::NoFence, &[Fault::Replace]) => OneGenerationCommits;
    any_manifest_is_ours: with(Bug::AnyManifestIsOurs, &[Fault::Replace, Fault::Answer]) => NothingIsLost;
    count_all: Config { batches: 2, records: vec![0, 0], retain: 1, ..with(Bug::CountAll, &[Fault::Answer]) } => OneGenerationCommits;
    cut_before_durable: with(Bug::CutBeforeDurable, &[Fault::Crash]) => SameCuts;
    cut_again: with(Bug::CutAgain, &[Fault::Crash]) => SameCuts;
    staged_once: with(Bug::StagedOnce, &[Fault::Crash]) => Progress;
    published_once: with(Bug::PublishedOnce, &[Fault::Crash]) => Progress;
    end_by_message: with(Bug::EndByMessage, &[Fault::Crash]) => Progress;
    joins_for_ever: with(Bug::JoinsForEver, &[Fault::Pause]) => FewGenerations;
    no_second_look: with(Bug::NoSecondLook, &[Fault::Replace, Fault::Answer]) => OneGenerationCommits;
}

/// Two processes that cannot reach each other are not seen by process 0: they have to notice it
/// themselves.
#[test]
fn notice_leader_only() {
    let base = with(Bug::NoticeLeaderOnly, &[Fault::Link]);
    let config = Config {
        processes: 3,
        members: vec![0, 1, 2],
        records: vec![1, 0, 0],
        ..base
    };
    is_found(&config, Progress);
}

/// OPEN need not wait for the cuts of all: a batch is not run before the data of all has come,
/// and none feeds what it has not cut. The model finds nothing, so this is a choice and not a
/// rule.
#[test]
fn open_early_breaks_nothing() {
    let config = Config {
        batches: 2,
        in_flight: 2,
        ..with(Bug::OpenEarly, &[Fault::Crash])
    };
    let outcome = check(&config, None);
    println!("{} states", outcome.states);
    assert_eq!(outcome.found, None);
}
