//! What is published is what the log lists.

use super::*;

/// A disk on which batch 2 is staged, and a log that has committed it.
fn in_doubt(parts: Parts) -> (SimDisk, Log) {
    let disk = SimDisk::new();
    let sink = open_in(&EMPTY.context(&disk), parts).unwrap();
    let staged = stage(&sink, &batch(2), &records(2), parts).unwrap();
    assert_eq!(staged.len(), parts.unwrap_or(1));
    let log = Log {
        cut: 2,
        committed: 2,
        listed: Some(staged),
        ..EMPTY
    };
    (disk, log)
}

fn staged_files(disk: &SimDisk) -> Vec<std::path::PathBuf> {
    let staged = |p: &std::path::PathBuf| p.to_string_lossy().ends_with(".staged");
    let mut files: Vec<_> = disk.files().into_iter().filter(staged).collect();
    files.sort();
    files
}

/// Publishing what lies in the directory would show the others without a word.
#[test]
fn a_part_that_is_missing_or_changed_is_an_error_that_names_it() {
    for parts in [None, Some(3)] {
        for at in 0..parts.unwrap_or(1) {
            for damage in [None, Some(""), Some("other records\n")] {
                let (disk, log) = in_doubt(parts);
                let lost = staged_files(&disk).remove(at);
                disk.remove_file(&lost).unwrap();
                if let Some(text) = damage {
                    disk.put_file(&lost, text);
                }
                let error = open_in(&log.context(&disk), parts).unwrap_err();
                let says = match damage {
                    None => "is missing",
                    Some(_) => "does not hold what was staged",
                };
                let text = error.to_string();
                assert!(text.contains(says), "{text}");
                assert!(text.contains(lost.to_str().unwrap()), "{text}");
                assert!(SinkError::is_permanent(&error));
            }
        }
    }
}

/// A staged file of the same batch that no list names: of an attempt with other parts.
#[test]
fn what_the_log_does_not_list_is_not_published() {
    for parts in [None, Some(2)] {
        let (disk, log) = in_doubt(parts);
        let stray = "/out/deep/.words-2000-0000000002-part-00007.txt.staged";
        disk.put_file(stray, "stray\n");
        open_in(&log.context(&disk), parts).unwrap();
        check_parts(&disk, 2, parts);
        assert_eq!(disk.read_file(stray).unwrap(), b"stray\n");
        // Of a batch that was not committed, it goes: that batch runs again.
        let uncommitted = "/out/deep/.words-3000-0000000003-part-00000.txt.staged";
        disk.put_file(uncommitted, "early\n");
        let later = Log {
            cut: 3,
            published: 2,
            ..log
        };
        open_in(&later.context(&disk), parts).unwrap();
        assert_eq!(disk.read_file(uncommitted), None);
        check_parts(&disk, 2, parts);
    }
}

/// The recovery is cut between two parts, or what it published is gone after the log said so.
#[test]
fn parts_that_are_published_already_are_not_missing() {
    let (disk, log) = in_doubt(Some(3));
    let first = staged_files(&disk).remove(0);
    let name = first.file_name().unwrap().to_str().unwrap();
    let name = name.trim_start_matches('.').trim_end_matches(".staged");
    let published = Path::new("/out/deep").join(name);
    disk.rename_new(&first, &published).unwrap();
    open_in(&log.context(&disk), Some(1)).unwrap();
    check_parts(&disk, 2, Some(3));
    disk.remove_file(&published).unwrap();
    let later = Log {
        published: 2,
        ..log.clone()
    };
    open_in(&later.context(&disk), Some(1)).unwrap();
    let error = open_in(&log.context(&disk), Some(1)).unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
}

#[test]
fn a_program_with_another_prefix_is_told_what_is_staged() {
    let (disk, log) = in_doubt(None);
    let context = log.context(&disk);
    let sink = FileSink::new(&Files::new("/out/deep/letters"), "txt", Text);
    StagedSink::<String>::open(&sink, &context).unwrap();
    let error = publish(&sink, &batch(2), log.listed.as_deref().unwrap()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("words-2000-0000000002.txt is staged") && error.contains("letters"),
        "{error}"
    );
}
