//! Files that change, vanish or come back after they were read, also while the program was down;
//! and what editors put before the text.

use crate::captured::{capture, warnings};
use crate::common::{Client, Collected, PATIENCE, open, stats};
use highwater_connectors::{BoundAddress, ListenOptions, Sources};
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_engine::{BatchMode, SourceStats, StopMode, StreamingContext};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A directory that is watched, of a name of its own.
struct Watched {
    disk: SimDisk,
    dir: &'static str,
    collected: Collected,
}

impl Watched {
    fn new(dir: &'static str) -> Self {
        capture();
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new(dir)).unwrap();
        Self {
            disk,
            dir,
            collected: Collected::default(),
        }
    }

    fn start(&self) -> StreamingContext {
        let disk = Arc::new(self.disk.clone());
        let context = open(disk, BatchMode::Clock, &self.collected, |ssc| {
            ssc.text_file_stream("files", self.dir)
        });
        let context = context.unwrap();
        context.start().unwrap();
        context
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// The file is there with this content, last changed at this time.
    fn put(&self, name: &str, content: impl Into<Vec<u8>>, at_ms: u64) {
        self.disk.set_time_ms(at_ms);
        self.disk.put_file("/moving", content);
        let to = self.path(name);
        self.disk
            .rename(Path::new("/moving"), Path::new(&to))
            .unwrap();
        self.disk.sync_dir(Path::new(self.dir)).unwrap();
    }

    fn remove(&self, name: &str) {
        self.disk.remove_file(Path::new(&self.path(name))).unwrap();
        self.disk.sync_dir(Path::new(self.dir)).unwrap();
    }

    fn warnings(&self) -> Vec<String> {
        warnings(self.dir)
    }
}

/// Waits until the source has done something.
fn until(context: &StreamingContext, done: impl Fn(SourceStats) -> bool) {
    let mut waited = Duration::ZERO;
    while !done(stats(context)) {
        let step = Duration::from_millis(10);
        assert!(!context.await_termination_or_timeout(step).unwrap());
        waited += step;
        assert!(waited < PATIENCE, "{:?}", stats(context));
    }
}

fn finish(context: StreamingContext) {
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
}

/// A change: its name, the new content, its time, and what the warning says.
const CHANGES: [(&str, &str, u64, &str); 4] = [
    (
        "touched",
        "a1\na2\n",
        2000,
        "last changed at 2000 ms instead of 1000 ms",
    ),
    (
        "appended",
        "a1\na2\na3\n",
        3000,
        "it grew from 6 to 9 bytes",
    ),
    ("replaced", "b\n", 4000, "it shrank from 9 to 2 bytes"),
    (
        "restored",
        "c\n",
        500,
        "last changed at 500 ms instead of 4000 ms",
    ),
];

fn check_warning(watched: &Watched, count: usize, says: &str) {
    let warnings = watched.warnings();
    assert_eq!(warnings.len(), count, "{warnings:?}");
    let last = warnings.last().unwrap();
    for part in ["/a.log", says, "read again", "files"] {
        assert!(last.contains(part), "{part} in {last}");
    }
}

#[test]
fn a_file_that_changes_is_read_again_with_one_warning_that_says_what_changed() {
    let watched = Watched::new("/changes-while-running");
    watched.put("a.log", "a1\na2\n", 1000);
    let context = watched.start();
    let mut lines = watched.collected.wait_for(2).len();
    for (i, (change, content, at_ms, says)) in CHANGES.into_iter().enumerate() {
        watched.put("a.log", content, at_ms);
        lines += content.lines().count();
        watched.collected.wait_for(lines);
        assert_eq!(stats(&context).read_again, i as u64 + 1, "{change}");
        check_warning(&watched, i + 1, says);
    }
    finish(context);
    assert_eq!(watched.collected.lines().len(), lines);
}

/// The promised warning came only while the program ran: what happened while it was down was
/// counted twice in silence.
#[test]
fn a_file_that_changed_while_the_program_was_down_is_read_again_with_the_same_warning() {
    let watched = Watched::new("/changes-while-down");
    watched.put("a.log", "a1\na2\n", 1000);
    finish_after(&watched, 2, 0);
    let mut lines = 2;
    for (i, (_, content, at_ms, says)) in CHANGES.into_iter().enumerate() {
        watched.put("a.log", content, at_ms);
        lines += content.lines().count();
        finish_after(&watched, lines, 1);
        check_warning(&watched, i + 1, says);
        // Once per change: a start after which nothing changed says nothing, and neither does a new
        // file.
        watched.put(&format!("new {i}"), "new\n", at_ms);
        lines += 1;
        finish_after(&watched, lines, 0);
        assert_eq!(watched.warnings().len(), i + 1);
    }
    // Put back as it was when it was read: it is known.
    watched.put("a.log", "a1\na2\n", 1000);
    watched.put("last", "last\n", 1000);
    finish_after(&watched, lines + 1, 0);
}

/// One run, until so many lines were collected in all.
fn finish_after(watched: &Watched, lines: usize, read_again: u64) {
    let context = watched.start();
    watched.collected.wait_for(lines);
    assert_eq!(stats(&context).read_again, read_again);
    finish(context);
    assert_eq!(watched.collected.lines().len(), lines);
}

/// A file that went away and a later one of its name are two files, and nothing to warn of.
#[test]
fn a_name_that_is_used_again_after_its_file_was_moved_away_is_a_new_file() {
    let watched = Watched::new("/rotated");
    let context = watched.start();
    let reuse = |at_ms: u64, count: usize| {
        watched.put("a.log", "x\n", at_ms);
        watched.collected.wait_for(count);
        watched.remove("a.log");
        // Another file is read only after the directory was looked at again.
        watched.put(&format!("b {at_ms}"), "y\n", at_ms);
        watched.collected.wait_for(count + 1);
    };
    reuse(1000, 1);
    reuse(2000, 3);
    finish(context);
    let context = watched.start();
    watched.put("c", "z\n", 1);
    watched.collected.wait_for(5);
    reuse(3000, 6);
    finish(context);
    assert_eq!(watched.warnings(), [""; 0]);
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("line {i}")).collect()
}

/// Reads a part of `name` and fails from then on; returns the lines that were taken.
fn read_half(context: &StreamingContext) -> usize {
    until(context, |stats| stats.errors > 0);
    let taken = stats(context).stored;
    assert!(taken > 100, "{taken} lines were taken before the error");
    usize::try_from(taken).unwrap()
}

fn fail_later_reads(watched: &Watched, name: &str) {
    let fault = Fault::new(Call::Read, FaultKind::Eio).nth(2).forever();
    watched.disk.fail(fault.on(watched.path(name)));
}

/// A file that was gone before it was read to its end was not mentioned at all.
#[test]
fn a_half_read_file_that_vanishes_is_told_with_the_lines_that_were_taken() {
    let watched = Watched::new("/vanishes-while-running");
    let lines = numbered(20_000);
    watched.put("a.log", lines.join("\n"), 1000);
    fail_later_reads(&watched, "a.log");
    let context = watched.start();
    let taken = read_half(&context);
    watched.remove("a.log");
    until(&context, |stats| stats.vanished == 1);
    let told = watched
        .warnings()
        .into_iter()
        .filter(|w| w.contains("is gone"));
    let told: Vec<String> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let part = format!("({taken} lines)");
    assert!(
        told[0].contains(&part) && told[0].contains("/a.log"),
        "{}",
        told[0]
    );
    assert_eq!(stats(&context).read_again, 0);
    finish(context);
    assert_eq!(watched.collected.lines(), lines[..taken]);
}

#[test]
fn a_half_read_file_that_vanished_while_the_program_was_down_is_told_once_and_goes_on_if_it_comes_back()
 {
    let watched = Watched::new("/vanishes-while-down");
    let lines = numbered(20_000);
    watched.put("a.log", lines.join("\n"), 1000);
    fail_later_reads(&watched, "a.log");
    let context = watched.start();
    let taken = read_half(&context);
    finish(context);
    watched.remove("a.log");
    watched.disk.clear_faults();
    for (vanished, other) in [(1, "b"), (0, "c")] {
        watched.put(other, "other\n", 1);
        let context = watched.start();
        until(&context, |stats| stats.stored == 1);
        assert_eq!(stats(&context).vanished, vanished);
        finish(context);
    }
    let told = watched
        .warnings()
        .into_iter()
        .filter(|w| w.contains("is gone"));
    assert_eq!(told.count(), 1);
    watched.put("a.log", lines.join("\n"), 1000);
    let context = watched.start();
    watched.collected.wait_for(lines.len() + 2);
    assert_eq!(stats(&context).stored, (lines.len() - taken) as u64);
    assert_eq!(stats(&context).read_again, 0);
    finish(context);
    let mut all = watched.collected.lines();
    all.retain(|line| line != "other");
    assert!(all == lines, "every line once, in order");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line_and_utf16_is_skipped_with_the_reason() {
    let watched = Watched::new("/marks");
    watched.put("a", "\u{feff}one\n\u{feff}two\n", 1000);
    watched.put("b", "\u{feff}", 2000);
    watched.put("c", b"\xff\xfea\0\n\0b\0\n\0".to_vec(), 3000);
    watched.put("d", b"\xfe\xff\0a\0\n".to_vec(), 4000);
    watched.put("e", "three", 5000);
    let context = watched.start();
    let expected = ["one", "\u{feff}two", "three"];
    assert_eq!(watched.collected.wait_for(3), expected);
    assert_eq!(stats(&context).skipped, 2);
    for name in ["/c is skipped", "/d is skipped"] {
        let told = warnings(name);
        assert!(told.len() == 1 && told[0].contains("UTF-16"), "{told:?}");
    }
    finish(context);
    let context = watched.start();
    watched.put("f", "four", 6000);
    watched.collected.wait_for(4);
    assert_eq!(stats(&context).skipped, 0, "they are known to be done");
    finish(context);
}

/// With numbered lines a mark made the producer another one on each connection, and a retry counted
/// twice.
#[test]
fn a_byte_order_mark_on_a_connection_is_no_part_of_its_first_line() {
    let (bound, collected) = (BoundAddress::new(), Collected::default());
    let options = ListenOptions::new().dedup().report_to(&bound);
    let disk = Arc::new(SimDisk::new());
    let context = open(disk, BatchMode::Manual, &collected, |ssc| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    });
    let context = context.unwrap();
    context.start().unwrap();
    let mut client = Client::connect(bound.get().unwrap());
    client.send("p 1 a\n");
    client.ok();
    let mut client = Client::connect(bound.get().unwrap());
    client.send("\u{feff}p 1 a\np 2 b\n");
    client.duplicate();
    client.ok();
    let mut client = Client::connect(bound.get().unwrap());
    client.send(b"\xff\xfep\0 \x003\0 \0x\0\n\0");
    assert_eq!(client.answer(), "err utf-16: this source takes UTF-8");
    assert_eq!(client.answer(), "", "and the connection is closed");
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["a", "b"]);
}

#[test]
fn a_server_that_sends_utf16_is_an_error_and_one_with_a_mark_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let collected = Collected::default();
    let disk = Arc::new(SimDisk::new());
    let context = open(disk, BatchMode::Clock, &collected, |ssc| {
        ssc.socket_text("lines", &addr)
    });
    let context = context.unwrap();
    context.start().unwrap();
    let (mut first, _) = listener.accept().unwrap();
    first.write_all(b"\xfe\xff\0a\0\n").unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0, "it hangs up");
    let (mut second, _) = listener.accept().unwrap();
    second
        .write_all("\u{feff}one\n\u{feff}two\n".as_bytes())
        .unwrap();
    assert_eq!(collected.wait_for(2), ["one", "\u{feff}two"]);
    assert_eq!(stats(&context).errors, 1);
    finish(context);
}
