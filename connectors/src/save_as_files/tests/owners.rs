//! Names that belong to another log, output or program.

use super::*;

#[test]
fn leftovers_of_other_sinks_are_left_alone() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/out/deep")).unwrap();
    let others = [
        ".words-1000-0000000001.staged",
        ".words-more-1000-0000000001.txt.staged",
        ".words-1-1000-0000000001.txt.staged",
        ".words-1000-0000000001.txt",
        ".words-1000-1.txt.staged",
        "words-1000-0000000001.txt.staged",
    ];
    others
        .iter()
        .for_each(|name| disk.put_file(format!("/out/deep/{name}"), "theirs"));
    disk.put_file("/out/deep/.words-1000-0000000001.txt.staged", "ours");
    open(&disk, &Log::at(1, 0)).unwrap();
    assert_eq!(disk.files().len(), others.len() + 1, "and the marker");
    assert!(disk.read_file(MARKER).is_some());
}

/// Format 1 of the marker, byte for byte.
#[test]
fn the_marker_stays_readable() {
    const GOLDEN: &str = concat!(
        r#"{"format":1,"note":"The files beside this one are written by the Highwater log named here, and by no other.","#,
        r#""log":"00000000000000000000000000000007","application":"app","output":"words"}"#,
        "\n"
    );
    let disk = SimDisk::new();
    open(&disk, &EMPTY).unwrap();
    assert_eq!(disk.read_file(MARKER).unwrap(), GOLDEN.as_bytes());
    let of_a_later_release = GOLDEN.replace("\"note\"", "\"more\":1,\"nota\"");
    disk.put_file(MARKER, of_a_later_release);
    open(&disk, &EMPTY).unwrap();
    refused(&disk, &Log { id: 8, ..EMPTY });
}

#[test]
fn a_draft_that_a_crash_left_beside_its_marker_goes() {
    let disk = SimDisk::new();
    open(&disk, &EMPTY).unwrap();
    disk.put_file(
        format!("/out/deep/.highwater-{:032x}.tmp", EMPTY.id),
        "draft",
    );
    open(&disk, &EMPTY).unwrap();
    assert_eq!(disk.files(), [Path::new(MARKER)]);
}

const MARKER: &str = "/out/deep/.words.txt.highwater";

/// Two programs with one prefix replaced each other's files within a batch interval.
#[test]
fn another_log_or_output_is_refused_and_told_who_owns_the_names() {
    let disk = SimDisk::new();
    run(&disk, &mut new_log()).unwrap();
    let other_log = Log { id: 8, ..EMPTY };
    let error = refused(&disk, &other_log);
    for part in [
        "output words of application \"app\"",
        MARKER,
        "choose another prefix",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let other_output = Log {
        output: "more",
        ..Log::at(4, 4)
    };
    let error = refused(&disk, &other_output);
    assert!(
        error.contains("two outputs cannot share a prefix"),
        "{error}"
    );
    check(&disk, BATCHES);
    open(&disk, &Log::at(4, 4)).unwrap();
}

/// A log that has taken the place of one that is gone goes on with its files, also if the power
/// goes off meanwhile. What the lost batches have staged was never seen, and goes. What they have
/// published is not replaced.
#[test]
fn a_log_that_takes_the_place_of_another_one_takes_its_files() {
    let filled = || {
        let disk = SimDisk::new();
        run(&disk, &mut new_log()).unwrap();
        disk
    };
    let successor = |at| Log {
        id: 8,
        predecessors: vec![3, 7],
        checkpoint: at,
        ..Log::at(at, at)
    };
    let disk = filled();
    let before = disk.read_file(MARKER);
    assert!(refused(&disk, &successor(2)).contains("has not made it"));
    assert_eq!(disk.read_file(MARKER), before);
    check(&disk, BATCHES);
    for cut in 0.. {
        let disk = filled();
        let staged = "/out/deep/.words-9000-0000000009.txt.staged";
        disk.put_file(staged, "of a lost batch");
        disk.cut_power_before(disk.mutations() + cut);
        let opened = open(&disk, &successor(4)).is_ok();
        let done = disk.power_cut_at().is_none();
        disk.cut_power_now();
        let disk = disk.restart_after_power_cut(cut);
        open(&disk, &successor(4)).unwrap();
        assert_eq!(disk.read_file(staged), None);
        check(&disk, BATCHES);
        // It is at home now, and the other one is not.
        open(
            &disk,
            &Log {
                predecessors: Vec::new(),
                ..successor(4)
            },
        )
        .unwrap();
        refused(&disk, &Log::at(4, 4));
        assert!(opened || !done);
        if done {
            break;
        }
    }
}

/// The power goes off before every mutation of one program's first start; then another one
/// tries, then the first again.
#[test]
fn a_crash_in_the_first_start_locks_nobody_out_and_lets_nobody_in() {
    let mut outcomes = std::collections::BTreeSet::new();
    for cut in 0.. {
        let disk = SimDisk::new();
        disk.cut_power_before(cut);
        let first = open(&disk, &EMPTY);
        disk.cut_power_now();
        for seed in 0..8 {
            let disk = disk.restart_after_power_cut(seed);
            let (mut ours, mut theirs) = (EMPTY, Log { id: 8, ..EMPTY });
            if seed % 2 == 0 {
                run(&disk, &mut ours).unwrap();
                refused(&disk, &theirs);
            } else if run(&disk, &mut theirs).is_ok() {
                refused(&disk, &ours);
            } else {
                run(&disk, &mut ours).unwrap();
            }
            check(&disk, BATCHES);
            outcomes.insert((seed % 2, theirs.committed));
        }
        if first.is_ok() {
            break;
        }
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

#[test]
fn of_two_programs_that_start_at_once_one_gets_the_names() {
    for _ in 0..50 {
        let disk = SimDisk::new();
        let start = std::sync::Barrier::new(2);
        let outcomes: Vec<Result<_, _>> = std::thread::scope(|scope| {
            let opening = [7, 8].map(|id| {
                let (disk, start) = (&disk, &start);
                scope.spawn(move || {
                    start.wait();
                    open(disk, &Log { id, ..EMPTY }).map_err(|e| e.to_string())
                })
            });
            opening.into_iter().map(|o| o.join().unwrap()).collect()
        });
        assert_eq!(
            outcomes.iter().filter(|o| o.is_ok()).count(),
            1,
            "{outcomes:?}"
        );
        let owner = if outcomes[0].is_ok() { 7 } else { 8 };
        open(&disk, &Log { id: owner, ..EMPTY }).unwrap();
    }
}

#[test]
fn an_unfinished_marker_locks_nobody_out_and_a_foreign_file_in_its_place_is_told() {
    for torn in ["", "{\"format\":1,\"lo", "\0\0\0"] {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/out/deep")).unwrap();
        disk.put_file(MARKER, torn);
        run(&disk, &mut new_log()).unwrap();
        refused(&disk, &Log { id: 8, ..EMPTY });
        check(&disk, BATCHES);
    }
    for (foreign, says) in [
        ("hello\n", "is no marker"),
        ("{\"format\":2,\"new\":1}\n", "later version"),
        ("{\"format\":1}\n", "is no marker"),
    ] {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/out/deep")).unwrap();
        disk.put_file(MARKER, foreign);
        let error = refused(&disk, &EMPTY);
        assert!(error.contains(says) && error.contains(MARKER), "{error}");
        assert_eq!(disk.read_file(MARKER).unwrap(), foreign.as_bytes());
    }
}

/// What the version before left: files of the log's batches and no marker.
#[test]
fn files_without_a_marker_are_taken_up_by_their_log_and_by_no_other() {
    let made = || {
        let disk = SimDisk::new();
        run(&disk, &mut new_log()).unwrap();
        disk.remove_file(Path::new(MARKER)).unwrap();
        disk
    };
    let with_checkpoint = Log {
        checkpoint: 4,
        ..Log::at(4, 4)
    };
    for own in [Log::at(4, 4), with_checkpoint] {
        open(&made(), &own).unwrap();
    }
    for other in [EMPTY, Log::at(2, 2), Log { id: 8, ..EMPTY }] {
        let disk = made();
        let error = refused(&disk, &other);
        assert!(
            error.contains("/out/deep/words-") && error.contains("not made it"),
            "{error}"
        );
        assert_eq!(disk.read_file(MARKER), None, "nothing was claimed");
        check(&disk, BATCHES);
    }
    // A batch in doubt of another program, which is down, is not thrown away.
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/out/deep")).unwrap();
    let staged = "/out/deep/.words-1001-0000000001.txt.staged";
    disk.put_file(staged, "theirs");
    for other in [
        EMPTY,
        Log::at(1, 1),
        Log {
            checkpoint: 3,
            ..Log::at(4, 4)
        },
    ] {
        assert!(refused(&disk, &other).contains(staged));
    }
}

/// A log that was put back from an older copy makes other batches of the same numbers.
#[test]
fn a_file_of_a_batch_that_the_log_has_not_made_is_an_error_at_the_start() {
    let disk = SimDisk::new();
    run(&disk, &mut new_log()).unwrap();
    let error = refused(&disk, &Log::at(2, 2));
    assert!(
        error.contains(&path(3)) || error.contains(&path(2)),
        "{error}"
    );
}

#[test]
fn a_name_that_is_taken_is_never_replaced() {
    let disk = SimDisk::new();
    let sink = open(&disk, &EMPTY).unwrap();
    disk.put_file(path(1), "theirs");
    let staged = stage(&sink, &batch(1), &["a".to_owned()], None).unwrap();
    let error = publish(&sink, &batch(1), &staged).unwrap_err();
    assert!(SinkError::is_permanent(&error));
    let error = error.to_string();
    assert!(
        error.contains(&path(1)) && error.contains("move"),
        "{error}"
    );
    assert_eq!(disk.read_file(path(1)).unwrap(), b"theirs");
    // The next start reports it too, and publishes once the file is gone.
    let committed = Log {
        listed: Some(staged),
        ..Log::at(1, 1)
    };
    assert!(refused(&disk, &committed).contains(&path(1)));
    assert_eq!(disk.read_file(path(1)).unwrap(), b"theirs");
    disk.remove_file(Path::new(&path(1))).unwrap();
    open(&disk, &committed).unwrap();
    assert_eq!(disk.read_file(path(1)).unwrap(), b"a\n");
    // A directory is in the way as well.
    disk.create_dir_all(Path::new(&path(2))).unwrap();
    let sink = open(&disk, &Log::at(2, 1)).unwrap();
    let staged = stage(&sink, &batch(2), &["b".to_owned()], None).unwrap();
    let error = publish(&sink, &batch(2), &staged).unwrap_err();
    assert!(error.to_string().contains(&path(2)), "{error}");
}

/// On file systems without a rename that replaces nothing, a crash may leave both names of a
/// file.
#[test]
fn a_batch_that_is_published_already_is_not_an_error() {
    let disk = SimDisk::new();
    run(&disk, &mut new_log()).unwrap();
    let staged = format!("/out/deep/.{}.staged", path(4).rsplit_once('/').unwrap().1);
    disk.put_file(&staged, content(4));
    open(&disk, &Log::at(4, 4)).unwrap();
    check(&disk, BATCHES);
    assert_eq!(disk.read_file(&staged), None);
}

#[test]
fn a_staged_file_that_this_program_has_not_made_is_left_alone() {
    let disk = SimDisk::new();
    let sink = open(&disk, &EMPTY).unwrap();
    disk.put_file("/out/deep/.words-1000-0000000001.txt.staged", "theirs");
    let error = stage(&sink, &batch(1), &["b".to_owned()], None).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(".staged") && error.contains("not replaced"),
        "{error}"
    );
}

#[test]
fn staging_a_batch_again_replaces_what_this_run_staged() {
    let disk = SimDisk::new();
    let sink = open(&disk, &EMPTY).unwrap();
    disk.fail(Fault::new(Call::Sync, FaultKind::Eio).on(".staged"));
    let stage = |text: &str| stage(&sink, &batch(1), &[text.to_owned()], None);
    assert!(stage("a").is_err());
    stage("a again").unwrap();
    let staged = stage("and again").unwrap();
    publish(&sink, &batch(1), &staged).unwrap();
    assert_eq!(disk.read_file(path(1)).unwrap(), b"and again\n");
}

/// A file name has 255 bytes at most; the marker and its draft are no longer than what is
/// staged.
#[test]
fn the_longest_prefix_that_can_be_staged_can_be_owned() {
    let real = tempfile::tempdir().unwrap();
    let fixed = ".-1000-0000000001.staged".len();
    let prefix = real.path().join("x".repeat(255 - fixed));
    let sink = FileSink::new(&Files::new(&prefix), "", Text);
    let disk = Arc::new(highwater_engine::wal::disk::OsDisk::new());
    StagedSink::<String>::open(&sink, &EMPTY.context_on(disk)).unwrap();
    let staged = stage(&sink, &batch(1), &["a".to_owned()], None).unwrap();
    publish(&sink, &batch(1), &staged).unwrap();
}

#[test]
fn a_prefix_without_a_file_name_is_refused() {
    let sink = FileSink::new(&Files::new("/out/"), "txt", Text);
    let opened = StagedSink::<String>::open(&sink, &EMPTY.context(&SimDisk::new()));
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("prefix"), "{error}");
}
