//! P11: a directory and its text output as the version wrote them that listed no parts of outputs
//! in the log. Batches 1 and 2 are published, batch 3 is committed and only staged, one more line
//! is in no batch. A name that was taken kept batch 3 from being published. Every later version
//! goes on.
#![expect(
    clippy::disallowed_methods,
    reason = "this test copies a directory of the source tree"
)]

use highwater::disk::ManualClock;
use highwater::prelude::*;
use highwater::{BatchMode, Result, wal};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text-output")
}

fn open(dir: &Path, workers: usize) -> Result<StreamingContext> {
    StreamingContext::builder(dir.join("app"))
        .application("golden")
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(
            wal::Options::new()
                .segment_size(16 << 10)
                .background(wal::Background::Inline),
        )
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .workers(NonZeroUsize::new(workers).unwrap())
        .key_groups(16)
        .get_or_create(|ssc| {
            ssc.input::<String>("lines").save_as_text_files_with_suffix(
                "files",
                dir.join("out/lines"),
                "txt",
            );
            Ok(())
        })
}

fn send(context: &StreamingContext, line: &str) {
    let input = context.input::<String>("lines").unwrap();
    input.send(&line.to_owned()).unwrap().wait().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// As the version wrote it that is read here: that of the commit before lists of parts. It is never
/// written again, because this version would list them.
#[test]
fn write() {
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN_OUTPUT").is_none() {
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path();
    let context = open(dir, 1).unwrap();
    context.start().unwrap();
    for number in 1..=3 {
        send(&context, &format!("line {number}"));
        if number < 3 {
            context.run_batch().unwrap();
        }
    }
    let taken = dir.join("out/lines-1700000002000-0000000003.txt");
    fs::write(&taken, "taken").unwrap();
    send(&context, "line 3 again");
    context.run_batch().unwrap_err();
    drop(context);
    let context = open(dir, 1).unwrap();
    send(&context, "line 4");
    drop(context);
    fs::remove_file(taken).unwrap();
    copy(dir, &golden());
}

/// Visible files by name, and how many there are that are staged.
fn written(dir: &Path) -> (Vec<(String, String)>, usize) {
    let (mut visible, mut staged) = (Vec::new(), 0);
    for entry in fs::read_dir(dir.join("out")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".staged") {
            staged += 1;
        } else if !name.starts_with('.') {
            visible.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    visible.sort();
    (visible, staged)
}

#[test]
fn text_output_of_the_version_without_lists_of_parts_goes_on() {
    for workers in [1, 3] {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = scratch.path();
        copy(&golden(), dir);
        assert_eq!(written(dir).1, 1, "batch 3 is in doubt");
        let context = open(dir, workers).unwrap();
        context.start().unwrap();
        context.run_batch().unwrap();
        drop(context);
        let file = |batch: u64, text: &str| {
            let time = 1_700_000_000_000 + (batch - 1) * 1000;
            (format!("lines-{time}-{batch:010}.txt"), text.to_owned())
        };
        let expected = vec![
            file(1, "line 1\n"),
            file(2, "line 2\n"),
            file(3, "line 3\nline 3 again\n"),
            file(4, "line 4\n"),
        ];
        assert_eq!(written(dir), (expected.clone(), 0), "{workers} workers");
        // Once more, with what this version wrote.
        let context = open(dir, 2).unwrap();
        context.start().unwrap();
        context.stop(StopMode::Graceful).unwrap();
        assert_eq!(written(dir), (expected, 0), "{workers} workers");
    }
}
