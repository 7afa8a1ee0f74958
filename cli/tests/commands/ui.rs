//! `highwater ui`: a directory in a browser, whether a program uses it or not.
#![allow(
    clippy::disallowed_methods,
    reason = "test code, with files of its own"
)]

use crate::program::{START_MS, build, engine, open, run};
use highwater::{StopMode, StreamingContext};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The command, while it runs.
struct Shown {
    child: Child,
    addr: String,
}

impl Shown {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["ui", "--listen", "127.0.0.1:0"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("http://");
        let addr = addr
            .unwrap_or_else(|| panic!("it said {line:?}"))
            .to_owned();
        Self { child, addr }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        body.to_owned()
    }

    fn all(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/all")).unwrap()
    }

    fn interrupt(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_directory_is_shown_as_its_tools_see_it() {
    let (_tmp, dir) = engine(7);
    let shown = Shown::start(&dir);
    let all = shown.all();
    assert_eq!(all["status"]["phase"], "at_rest");
    assert_eq!(all["status"]["application"], "shapes");
    let numbers: Vec<u64> = (all["checkpoints"]["checkpoints"].as_array().unwrap().iter())
        .map(|checkpoint| checkpoint["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(all["checkpoints"]["newest"], 2);
    // 4 + 3 + 3 records, all of them in the checkpoint of the stop.
    let source = &all["sources"]["sources"][0];
    assert_eq!(
        (&source["name"], &source["stored"]),
        (&json!("in"), &json!(10))
    );
    assert_eq!(
        (&source["lag_records"], &source["lag_ms"]),
        (&json!(0), &json!(null))
    );
    assert_eq!(all["lineage"]["batches"], 0);
    let counts = all["graph"]["states"].as_array().unwrap();
    let counts = counts
        .iter()
        .find(|state| state["name"] == "counts")
        .unwrap();
    assert_eq!(counts["keys"], 6);
    assert_eq!(all["errors"], json!([]));
    assert_eq!(all["config"]["workers"], "1");
    let page = shown.get("/");
    assert!(
        page.contains("A start would begin with checkpoint 2 and replay 0 batches."),
        "{page}"
    );
    // While it is shown, a program writes on: what is new is shown, without a lock in its way.
    let context = open(&dir, 7, true).unwrap();
    context.start().unwrap();
    send_and_run(&context, 5);
    let all = shown.all();
    assert_eq!(all["lineage"]["batches"], 5);
    let source = &all["sources"]["sources"][0];
    assert_eq!(
        (&source["stored"], &source["lag_records"]),
        (&json!(15), &json!(5))
    );
    assert_eq!(source["lag_bytes"], 5 * 7);
    assert!(
        source["lag_ms"].as_u64().unwrap() > 0,
        "received at {START_MS}"
    );
    send_and_run(&context, 2);
    assert_eq!(shown.all()["sources"]["sources"][0]["lag_records"], 7);
    context.stop(StopMode::Graceful).unwrap();
    let all = shown.all();
    assert_eq!(
        (&all["checkpoints"]["newest"], &all["lineage"]["batches"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(all["sources"]["sources"][0]["stored"], 17);
    shown.interrupt();
}

fn send_and_run(context: &StreamingContext, batches: u64) {
    let input = context.input::<(String, i64)>("in").unwrap();
    for _ in 0..batches {
        input.send(&("word".to_owned(), 1)).unwrap().wait().unwrap();
        context.run_batch().unwrap();
    }
}

/// At 3 a.m.: the newest checkpoint is damaged, and so is the log behind it.
#[test]
fn damage_is_shown_where_it_is() {
    let (_tmp, dir) = engine(7);
    let newest = dir.join("checkpoints/manifest-0000000002.json");
    let text = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &text[..text.len() / 2]).unwrap();
    let shown = Shown::start(&dir);
    let all = shown.all();
    assert_eq!(all["checkpoints"]["newest"], 1, "a start would fall back");
    let errors = all["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["place"]),
        (1, &json!("checkpoint 2"))
    );
    let page = shown.get("/");
    let message = errors[0]["message"].as_str().unwrap();
    assert!(page.contains("This is wrong with it."), "{page}");
    assert!(
        !message.is_empty() && page.contains("checkpoint 2"),
        "{message}"
    );
}

#[test]
fn a_directory_without_checkpoints_is_shown_too() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("app");
    let context = build(StreamingContext::builder(&dir), 7, false).unwrap();
    context.start().unwrap();
    send_and_run(&context, 3);
    let shown = Shown::start(&dir);
    let all = shown.all();
    assert_eq!(
        (&all["lineage"]["batches"], &all["checkpoints"]["newest"]),
        (&json!(3), &json!(null))
    );
    assert!(
        shown
            .get("/")
            .contains("There is no checkpoint: a start would read the whole log.")
    );
    drop(context);
}

#[test]
fn what_cannot_be_shown_is_said_at_once() {
    let tmp = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        let output = command
            .arg("ui")
            .arg(tmp.path())
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = refused(&[]);
    assert!(code == Some(3) && said.contains("log"), "{code:?} {said}");
    run(
        &open(&tmp.path().join("app"), 7, false).unwrap(),
        &[&[("a", 1)]],
    );
    let app = tmp.path().join("app");
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let output = command
        .arg("ui")
        .arg(app)
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("can be reached from other machines") && said.contains("--insecure"),
        "{said}"
    );
    assert!(!said.contains("UiOptions"), "{said}");
}

/// What an engine would do with the streams of `highwater serve` was shown, as if they were its.
#[test]
fn a_directory_of_streams_is_not_taken_for_an_engines() {
    let tmp = tempfile::tempdir().unwrap();
    for dir in ["log", "table"] {
        std::fs::create_dir(tmp.path().join(dir)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let output = command.arg("ui").arg(tmp.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("named streams") && said.contains("log list"),
        "{said}"
    );
}
