//! PostgreSQL, on a real server that the test starts: each batch once, also when the server
//! crashes.
//!
//! Where no server is installed the tests say so and pass; with `HIGHWATER_REQUIRE_POSTGRES` set
//! they fail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a server knows no other disk than that of the system"
)]

use highwater_connectors::Outputs;
use highwater_connectors::postgres::{self, Client, NoTls, Transaction};
use highwater_engine::wal::disk::ManualClock;
use highwater_engine::{
    Batch, BatchMode, CheckpointPolicy, OutputRetry, Records, Result, StopMode, StreamingContext,
};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A server on a socket in a directory of its own.
struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
    /// The server does not run as root.
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

fn installed() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")?;
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = debian.flatten().map(|version| version.path().join("bin"));
    let mut all = debian.chain(std::env::split_paths(&on_path));
    all.find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
}

fn number(args: &[&str]) -> u32 {
    let out = Command::new("id").args(args).output().unwrap();
    String::from_utf8(out.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

impl Server {
    /// Makes a database cluster and starts it; `None` if there is no server on this machine.
    fn start() -> Option<Self> {
        let Some(bin) = installed() else {
            assert!(
                std::env::var_os("HIGHWATER_REQUIRE_POSTGRES").is_none(),
                "no initdb and postgres on this machine"
            );
            println!("skipped: no initdb and postgres on this machine");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let user = (number(&["-u"]) == 0)
            .then(|| (number(&["-u", "postgres"]), number(&["-g", "postgres"])));
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self {
            dir,
            bin,
            user,
            child: None,
        };
        let data = server.dir.path().join("data");
        let mut initdb = server.command("initdb");
        let initdb = initdb.arg("-D").arg(data);
        let initdb = initdb.args(["-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        let out = initdb.output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        server.run();
        Some(server)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(self.dir.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server and waits until it answers.
    fn run(&mut self) {
        loop {
            let mut server = self.command("postgres");
            let server = server.arg("-D").arg(self.dir.path().join("data"));
            let server = server.arg("-k").arg(self.dir.path());
            let server = server.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
            let server = server.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = server.spawn().unwrap();
            // What is left of a server that crashed may be in the way for a moment.
            while child.try_wait().unwrap().is_none() {
                if Client::connect(&self.config(), NoTls).is_ok() {
                    self.child = Some(child);
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    /// Ends the server as a crash would: what it has not written is recovered from its log.
    fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let mut stop = self.command("pg_ctl");
            let stop = stop.arg("-D").arg(self.dir.path().join("data"));
            let stop = stop.args(["stop", "-m", "immediate"]);
            let stopped = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !stopped.is_ok_and(|status| status.success()) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }

    fn config(&self) -> String {
        let dir = self.dir.path().display();
        format!("host={dir} user=test dbname=postgres")
    }

    fn client(&self) -> Client {
        Client::connect(&self.config(), NoTls).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let select = "SELECT line FROM lines ORDER BY number";
        let rows = self.client().query(select, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn prepare(&self) {
        // A line that is counted twice shows: no constraint hides it.
        let create = "CREATE TABLE lines (number BIGSERIAL, line TEXT, batch BIGINT)";
        self.client().batch_execute(create).unwrap();
    }
}

fn insert(
    tx: &mut Transaction<'_>,
    batch: &Batch,
    lines: &Records<'_, String>,
) -> Result<(), postgres::Error> {
    for line in lines {
        let values = "INSERT INTO lines (line, batch) VALUES ($1, $2)";
        tx.execute(values, &[line, &(batch.id as i64)])?;
    }
    Ok(())
}

fn send(context: &StreamingContext, line: &str) {
    let input = context.input::<String>("lines").unwrap();
    input.send(&line.to_owned()).unwrap().wait().unwrap();
}

#[test]
fn a_server_that_crashes_again_and_again_gets_each_line_once() {
    let Some(mut server) = Server::start() else {
        return;
    };
    server.prepare();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let context = StreamingContext::builder(dir.path())
        .batch_interval(Duration::from_millis(5))
        .checkpoint(CheckpointPolicy::every_batches(7))
        .output_retry(
            OutputRetry::forever().waits(Duration::from_millis(1), Duration::from_millis(50)),
        )
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_to_postgres("db", &server.config(), insert);
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        for n in 0..30 {
            expected.push(format!("round {round} line {n}"));
            send(&context, expected.last().unwrap());
            if n == 15 {
                server.crash();
            }
        }
        while context
            .outputs()
            .iter()
            .all(|output| output.delay.is_none())
        {
            std::thread::yield_now();
        }
        server.run();
    }
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(server.lines(), expected);
}

fn by_hand(dir: &Path, server: &Server, ends: bool) -> Result<StreamingContext> {
    let context = StreamingContext::builder(dir)
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.save_to_postgres("db", &server.config(), move |tx, batch, lines| {
                insert(tx, batch, lines)?;
                match ends {
                    true => tx.batch_execute("COMMIT"),
                    false => Ok(()),
                }
            });
            Ok(())
        })?;
    context.start()?;
    Ok(context)
}

#[test]
fn batches_in_doubt_and_wrong_databases_are_recognised() {
    let Some(server) = Server::start() else {
        return;
    };
    server.prepare();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let context = by_hand(&at("a"), &server, false).unwrap();
    for line in ["a", "b"] {
        send(&context, line);
        context.run_batch().unwrap();
    }
    // The answer to a commit was lost: the batch is there.
    let advance = "UPDATE highwater_outputs SET batch = batch + 1, time_ms = time_ms + 1000;
        INSERT INTO lines (line, batch) VALUES ('c', 3)";
    server.client().batch_execute(advance).unwrap();
    send(&context, "c");
    context.run_batch().unwrap();
    assert_eq!(server.lines(), ["a", "b", "c"]);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let error = by_hand(&at("b"), &server, false).unwrap_err().to_string();
    assert!(error.contains("another log"), "{error}");
    let back = "UPDATE highwater_outputs SET batch = 1, time_ms = 1700000000000";
    server.client().batch_execute(back).unwrap();
    let error = by_hand(&at("a"), &server, false).unwrap_err().to_string();
    assert!(error.contains("the database is an older copy"), "{error}");
    // The table that the batch needs is not there: not a matter of time.
    let client = &mut server.client();
    client
        .batch_execute("DELETE FROM highwater_outputs; ALTER TABLE lines RENAME TO gone")
        .unwrap();
    let context = by_hand(&at("c"), &server, false).unwrap();
    send(&context, "x");
    let error = context.run_batch().unwrap_err().to_string();
    assert!(
        error.contains("relation \"lines\" does not exist"),
        "{error}"
    );
    drop(context);
    client
        .batch_execute("ALTER TABLE gone RENAME TO lines")
        .unwrap();
    let context = by_hand(&at("c"), &server, true);
    let error = context.unwrap_err().to_string();
    assert!(error.contains("has ended the transaction"), "{error}");
}
