//! SQLite: each batch once, also when the process is killed at any moment; wrong databases are
//! refused; a database that is locked delays.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "SQLite knows no other disk than that of the system"
)]

mod common;

use highwater_connectors::Outputs;
use highwater_connectors::rusqlite::{self, Connection, Transaction};
use highwater_engine::wal::disk::ManualClock;
use highwater_engine::{
    Batch, BatchMode, CheckpointPolicy, ContextState, OutputRetry, Records, Result, SinkError,
    StopMode, StreamingContext, wal,
};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Set for the process that is killed.
const CHILD: &str = "HIGHWATER_SQLITE_CHILD";
const LINES: u64 = 400;

fn prepare(db: &Path) {
    let db = Connection::open(db).unwrap();
    // With a rollback journal, a test that looks again and again would keep the writer out.
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    // A line that is counted twice shows: no constraint hides it.
    db.execute(
        "CREATE TABLE IF NOT EXISTS lines (line TEXT, batch INTEGER)",
        (),
    )
    .unwrap();
}

fn insert(
    tx: &Transaction<'_>,
    batch: &Batch,
    lines: &Records<'_, String>,
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare("INSERT INTO lines VALUES (?1, ?2)")?;
    for line in lines {
        insert.execute((line, batch.id as i64))?;
    }
    Ok(())
}

fn lines(db: &Path) -> Vec<String> {
    let db = Connection::open(db).unwrap();
    let mut select = db.prepare("SELECT line FROM lines ORDER BY rowid").unwrap();
    let lines = select.query_map((), |row| row.get(0)).unwrap();
    lines.map(|line| line.unwrap()).collect()
}

fn by_hand(dir: &Path, db: &Path) -> Result<StreamingContext> {
    let context = StreamingContext::builder(dir)
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(wal::Options::new().segment_size(64 << 10))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(3))
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_to_sqlite("db", db, insert);
            Ok(())
        })?;
    context.start()?;
    Ok(context)
}

fn send(context: &StreamingContext, line: &str) {
    let input = context.input::<String>("lines").unwrap();
    input.send(&line.to_owned()).unwrap().wait().unwrap();
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

/// The program that is killed: a context that runs by the clock, and sends itself numbered lines.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Path::new(&dir);
    let context = StreamingContext::builder(dir.join("app"))
        .log(wal::Options::new().segment_size(64 << 10))
        .batch_interval(Duration::from_millis(3))
        .checkpoint(CheckpointPolicy::every_batches(7))
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_to_sqlite("db", dir.join("lines.db"), insert);
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<String>("lines").unwrap();
    for number in 0..LINES {
        let line = format!("line {number}");
        input
            .send_once("child", number, &line)
            .unwrap()
            .wait()
            .unwrap();
    }
    context.stop(StopMode::Graceful).unwrap();
}

/// Kills the process at moments that the progress of the database decides, until one lives to its
/// end.
#[test]
fn each_line_is_there_once_whenever_the_process_is_killed() {
    let scratch = scratch();
    let db = scratch.path().join("lines.db");
    prepare(&db);
    let mut kills = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, scratch.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = lines(&db).len();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            // Each life may bring some more lines.
            if kills < 12 && lines(&db).len() >= before + 5 + kills * 3 {
                child.kill().unwrap();
            }
            std::thread::yield_now();
        };
        if status.success() {
            break;
        }
        kills += 1;
        assert!(kills < 100, "it gets nowhere");
    }
    assert!(kills >= 5, "killed only {kills} times");
    let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    assert_eq!(lines(&db), expected, "after {kills} kills");
}

/// F78: the batch is in the database, and the crash came before the log said that it is committed.
#[test]
fn a_batch_in_doubt_is_not_written_again() {
    let scratch = scratch();
    let (dir, db) = (scratch.path().join("app"), scratch.path().join("lines.db"));
    prepare(&db);
    let context = by_hand(&dir, &db).unwrap();
    let outputs = context.outputs();
    assert_eq!(outputs[0].to_string(), "save_to_sqlite \"db\" (idempotent)");
    for line in ["a", "b"] {
        send(&context, line);
        context.run_batch().unwrap();
    }
    send(&context, "c");
    // A program that dies after the commit of the database.
    let died = Connection::open(&db).unwrap();
    let batch = context.progress().last_batch.unwrap() + 1;
    died.execute("INSERT INTO lines VALUES ('c', ?1)", [batch as i64])
        .unwrap();
    died.execute(
        "UPDATE highwater_outputs SET batch = ?1, time_ms = time_ms + 1000",
        [batch as i64],
    )
    .unwrap();
    context.run_batch().unwrap();
    assert_eq!(lines(&db), ["a", "b", "c"]);
    send(&context, "d");
    context.run_batch().unwrap();
    drop(context);
    let context = by_hand(&dir, &db).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(lines(&db), ["a", "b", "c", "d"]);
}

#[test]
fn databases_of_other_logs_and_other_times_are_refused() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let db = at("lines.db");
    prepare(&db);
    let run = |dir: &str, line: &str| {
        let context = by_hand(&at(dir), &db)?;
        send(&context, line);
        context.run_batch()?;
        Ok::<_, highwater_engine::Error>(())
    };
    let refused = |dir: &str, says: &str| {
        let error = by_hand(&at(dir), &db).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("lines.db"),
            "{error}"
        );
    };
    run("a", "one").unwrap();
    refused("b", "another log");
    let older = at("older.db");
    copy(&db, &older);
    run("a", "two").unwrap();
    run("a", "three").unwrap();
    let newest = at("newest.db");
    copy(&db, &newest);
    copy(&older, &db);
    refused("a", "the database is an older copy");
    // One that was made anew, after a checkpoint that knows the output.
    std::fs::rename(&db, at("away.db")).unwrap();
    prepare(&db);
    refused("a", "has run before");
    copy(&newest, &db);
    run("a", "four").unwrap();
    assert_eq!(lines(&db), ["one", "two", "three", "four"]);
    // It is put back under a running program.
    let context = by_hand(&at("a"), &db).unwrap();
    let meddler = Connection::open(&db).unwrap();
    meddler
        .execute("UPDATE highwater_outputs SET batch = 1", ())
        .unwrap();
    send(&context, "five");
    let error = context.run_batch().unwrap_err().to_string();
    assert!(error.contains("has lost"), "{error}");
}

/// F80: nothing is there of a batch whose rows were written in part.
#[test]
fn nothing_of_a_batch_is_there_if_its_closure_fails() {
    let scratch = scratch();
    let db = scratch.path().join("lines.db");
    prepare(&db);
    for (name, says) in [
        ("error", "no such table"),
        ("panic", "panicked: on purpose"),
        ("commit", "has ended the transaction"),
        ("own", "my own"),
    ] {
        let context = StreamingContext::builder(scratch.path().join(name))
            .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
            .batches(BatchMode::Manual)
            .get_or_create(|ssc| {
                let lines = ssc.input::<String>("lines");
                lines.save_to_sqlite(name, &db, move |tx, batch, records| {
                    if name == "commit" {
                        tx.execute_batch("COMMIT")?;
                        return Ok::<(), highwater_engine::BoxError>(());
                    }
                    insert(tx, batch, records)?;
                    match name {
                        "error" => drop(tx.execute("INSERT INTO nowhere VALUES (1)", ())?),
                        "panic" => panic!("on purpose"),
                        _ => return Err(SinkError::permanent("my own").into()),
                    }
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        send(&context, "a line");
        let error = context.run_batch().unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("batch 1"),
            "{name}: {error}"
        );
        assert_eq!(lines(&db), Vec::<String>::new(), "{name}");
    }
}

/// An error in the SQL ends the context; a lock does not.
#[test]
fn a_locked_database_delays_its_batches() {
    let scratch = scratch();
    let (dir, db) = (scratch.path().join("app"), scratch.path().join("lines.db"));
    prepare(&db);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let context = StreamingContext::builder(&dir)
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .batches(BatchMode::Manual)
        .output_retry(OutputRetry::forever().waits(Duration::ZERO, Duration::ZERO))
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_to_sqlite("db", &db, move |tx, batch, lines| {
                counted.fetch_add(1, Ordering::Relaxed);
                insert(tx, batch, lines)
            });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let other = Connection::open(&db).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    send(&context, "a");
    let running = context.clone();
    let batch = std::thread::spawn(move || running.run_batch());
    while context.outputs()[0].delay.is_none() {
        std::thread::yield_now();
    }
    let shown = context.outputs()[0].to_string();
    assert!(shown.contains("locked"), "{shown}");
    assert_eq!(context.context_state(), ContextState::Active);
    other.execute_batch("ROLLBACK").unwrap();
    batch.join().unwrap().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(lines(&db), ["a"]);
    // Once for the line, and once for the empty batch of the stop.
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
