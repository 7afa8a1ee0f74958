//! What a process that lives with the log tells the one that has the medium: lines of words over a
//! pipe.
//!
//! There are two, because a process must not serve the device on which it maps files. The kernel
//! may hold its address space while it waits for the device.

use crate::medium::{Medium, Note};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Stdout, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The numbers of the records in each frame, by its LSN.
pub(crate) type Frames = BTreeMap<u64, Vec<u64>>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a log showed when it was opened. Each record was as announced.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) first: u64,
    pub(crate) case: String,
    pub(crate) frames: Frames,
}

/// What a process told of its life with the log.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) openings: Vec<Opening>,
    pub(crate) appended: Frames,
    /// Told in passing.
    pub(crate) remark: Option<String>,
    /// Why it ended early.
    pub(crate) failure: Option<String>,
}

/// The telling end.
pub(crate) struct Wire(Mutex<BufWriter<Stdout>>);

impl Wire {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BufWriter::new(std::io::stdout())))
    }

    pub(crate) fn tell(&self, line: &str) {
        writeln!(lock(&self.0), "{line}").expect("the other process reads");
    }

    pub(crate) fn frame(&self, word: &str, lsn: u64, numbers: &[u64]) {
        let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
        self.tell(&format!("{word} {lsn} {}", numbers.join(" ")));
    }

    /// Returns when it stands among the device's events.
    pub(crate) fn note(&self, note: Note) {
        let mut out = lock(&self.0);
        match note {
            Note::Opened => writeln!(out, "opened 0"),
            Note::Acked(lsn) => writeln!(out, "acked {lsn}"),
            Note::Truncating(lsn) => writeln!(out, "truncating {lsn}"),
            Note::Truncated(lsn) => writeln!(out, "truncated {lsn}"),
        }
        .and_then(|()| out.flush())
        .and_then(|()| std::io::stdin().read_exact(&mut [0]))
        .expect("the other process reads");
    }

    pub(crate) fn end(&self) {
        lock(&self.0).flush().expect("the other process reads");
    }
}

/// Starts this program again to live with the log, and listens to it until it ends.
pub(crate) fn listen(arguments: &[String], medium: &Mutex<Medium>) -> Life {
    let mut process = Command::new("/init")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program");
    let mut heard = process.stdin.take().expect("piped");
    let told = BufReader::new(process.stdout.take().expect("piped"));
    let mut life = Life::default();
    for line in told.lines() {
        let line = line.expect("text");
        let (word, rest) = line.split_once(' ').expect("a word and more");
        if let Some(note) = note(word, rest) {
            lock(medium).note(note);
            heard.write_all(&[0]).expect("it waits for this");
        } else {
            life.hear(word, rest);
        }
    }
    let status = process.wait().expect("it ends");
    if !status.success() {
        let died = || format!("the process that had the log ended: {status}");
        life.failure.get_or_insert_with(died);
    }
    life
}

fn note(word: &str, rest: &str) -> Option<Note> {
    let lsn = rest.parse().ok()?;
    match word {
        "opened" => Some(Note::Opened),
        "acked" => Some(Note::Acked(lsn)),
        "truncating" => Some(Note::Truncating(lsn)),
        "truncated" => Some(Note::Truncated(lsn)),
        _ => None,
    }
}

impl Life {
    fn hear(&mut self, word: &str, rest: &str) {
        let mut words = rest.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let mut frame = || {
            (
                number().expect("an LSN"),
                std::iter::from_fn(&mut number).collect(),
            )
        };
        match word {
            "start" => self.openings.push(Opening {
                first: rest.parse().expect("an LSN"),
                ..Opening::default()
            }),
            "append" => self.appended.extend([frame()]),
            "remark" => self.remark = Some(rest.to_owned()),
            "failed" => self.failure = Some(rest.to_owned()),
            _ => {
                let opening = self.openings.last_mut().expect("it was opened");
                match word {
                    "case" => rest.clone_into(&mut opening.case),
                    "frame" => opening.frames.extend([frame()]),
                    _ => unreachable!("{word} {rest}"),
                }
            }
        }
    }
}
