//! `highwater serve` as a process: killed, and ended by a signal.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code, with files of its own"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command
            .arg("serve")
            .arg(dir)
            .args(["--listen", "127.0.0.1:0"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let addr = line.split("://").nth(1).unwrap().split('/').next().unwrap();
        let addr = addr.to_owned();
        Self { child, addr }
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

/// The status and the rest of an answer; `None` if the server has gone.
fn ask(addr: &str, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(addr).ok()?;
    let len = body.len();
    let request = format!(
        "{head}\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, rest) = answer.split_once("\r\n\r\n")?;
    Some((status, rest.to_owned()))
}

/// Several clients append while the server is killed, again and again. Each repeats what was not
/// answered. In the end each message is there once, in the order of its client.
#[test]
fn what_was_answered_is_there_once_after_every_kill() {
    const CLIENTS: usize = 4;
    const MESSAGES: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let text = "content-type: text/plain";
    for client in 0..CLIENTS {
        let head = format!("PUT /v1/stream/{client} HTTP/1.1\r\n{text}");
        assert_eq!(ask(&server.addr, &head, "").unwrap().0, 201);
    }
    let done = AtomicU64::new(0);
    let mut kills = 0;
    let mut next = [0_u64; CLIENTS];
    while next.iter().any(|next| *next < MESSAGES) {
        let addr = server.addr.clone();
        let goal = done.load(Ordering::Relaxed) + 97;
        let (send, killed) = std::sync::mpsc::channel::<()>();
        thread::scope(|threads| {
            for (client, next) in next.iter_mut().enumerate() {
                let (addr, done, send) = (&addr, &done, send.clone());
                threads.spawn(move || {
                    while *next < MESSAGES {
                        let head = format!(
                            "POST /v1/stream/{client} HTTP/1.1\r\n{text}\r\nproducer-id: p\r\nproducer-epoch: 0\r\nproducer-seq: {next}"
                        );
                        match ask(addr, &head, &format!("{next};")) {
                            Some((200 | 204, _)) => *next += 1,
                            Some((status, rest)) => panic!("{status} {rest}"),
                            None => return,
                        }
                        if done.fetch_add(1, Ordering::Relaxed) + 1 == goal {
                            let _ = send.send(());
                        }
                    }
                });
            }
            drop(send);
            if killed.recv().is_ok() {
                server.child.kill().unwrap();
                kills += 1;
            }
        });
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        server = Server::start(dir.path(), &[]);
    }
    assert!(kills >= 3, "{kills}");
    let expected: String = (0..MESSAGES).map(|n| format!("{n};")).collect();
    for client in 0..CLIENTS {
        let head = format!("GET /v1/stream/{client}?offset=-1 HTTP/1.1");
        assert_eq!(
            ask(&server.addr, &head, "").unwrap(),
            (200, expected.clone())
        );
    }
    assert_eq!(server.end("-TERM"), Some(0));
}

#[test]
fn clients_without_a_token_are_refused_and_a_signal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "# clients\ntill 0123456789abcdef\n").unwrap();
    let path = tokens.display().to_string();
    let server = Server::start(&dir.path().join("streams"), &["--tokens", &path]);
    let put = "PUT /v1/stream/a HTTP/1.1";
    assert_eq!(ask(&server.addr, put, "").unwrap().0, 401);
    let known = format!("{put}\r\nauthorization: Bearer 0123456789abcdef");
    assert_eq!(ask(&server.addr, &known, "").unwrap().0, 201);
    assert_eq!(server.end("-INT"), Some(0));
    let again = Server::start(&dir.path().join("streams"), &["--tokens", &path]);
    let get = known.replace("PUT", "GET");
    assert_eq!(ask(&again.addr, &get, "").unwrap(), (200, String::new()));
    assert_eq!(again.end("-TERM"), Some(0));
}

#[test]
fn wrong_usage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ended = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        let out = command
            .arg("serve")
            .arg(dir.path().join("s"))
            .args(arguments)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, said) = ended(&["--listen", "0.0.0.0:0"]);
    assert!(
        code == Some(2) && said.contains("not encrypted"),
        "{code:?} {said}"
    );
    let (code, said) = ended(&["--tokens", "/no/such/file"]);
    assert!(
        code == Some(3) && said.contains("/no/such/file"),
        "{code:?} {said}"
    );
    let short = dir.path().join("short");
    std::fs::write(&short, "till secret\n").unwrap();
    let (code, said) = ended(&["--tokens", &short.display().to_string()]);
    assert!(
        code == Some(2) && said.contains("shorter than 16"),
        "{code:?} {said}"
    );
    let (code, _) = ended(&["--long-poll", "-1"]);
    assert_eq!(code, Some(2));
}

/// The second line says where Kafka clients find the streams; what cannot be a topic is wrong
/// usage.
#[cfg(feature = "kafka")]
#[test]
fn topics_are_served_beside_and_a_wrong_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let start = |topic: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.arg("serve").arg(dir.path());
        command.args(["--listen", "127.0.0.1:0", "--kafka", "127.0.0.1:0"]);
        command.args(["--kafka-topic", topic]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut child = start("sales:3");
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("3 streams at "), "{first}");
    let second = lines.next().unwrap().unwrap();
    let addr = second.strip_prefix("topics at ").unwrap();
    let addr = addr.strip_suffix(" (Kafka)").unwrap();
    TcpStream::connect(addr).unwrap();
    let addr = first
        .split("://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    for (name, status) in [("sales", 200), ("sales/2", 200), ("sales/3", 404)] {
        let head = format!("HEAD /v1/stream/{name} HTTP/1.1");
        assert_eq!(ask(addr, &head, "").unwrap().0, status, "{name}");
    }
    drop(lines);
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for (topic, said) in [
        ("a b", "no name of a topic"),
        ("sales:2", "has 3 partitions already"),
    ] {
        let output = start(topic).wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
