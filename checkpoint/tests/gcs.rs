//! Checkpoints in Google Cloud Storage, on a small double of its protocol: no emulator knows how to
//! create a file only once. What the double does is what the protocol's description says, no more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../../tests/support/proxy.rs"]
mod proxy;

use common::contract::{holds_files, one_of_eight_writers_wins};
use common::{check, options, publish};
use highwater_checkpoint::{Checkpoints, open_url};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A server with the bucket `bucket`, for as long as the process lives.
fn serve(listener: TcpListener) {
    let files = Files::default();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let files = Arc::clone(&files);
            std::thread::spawn(move || answer_all(&client.unwrap(), &files));
        }
    });
}

fn answer_all(client: &TcpStream, files: &Files) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    let mut writer = client;
    while let Some((head, body)) = proxy::message(&mut reader)? {
        let (status, headers, answer) = answer(&head, body, files);
        let len = answer.len();
        let mut text = format!("HTTP/1.1 {status} Words\r\n{headers}");
        // Of a HEAD the length is that of the file.
        if !headers.contains("Content-Length") {
            write!(text, "Content-Length: {len}\r\n").unwrap();
        }
        writer.write_all(format!("{text}\r\n").as_bytes())?;
        writer.write_all(&answer)?;
    }
    Ok(())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|f| f.0.eq_ignore_ascii_case(name)).map(|f| f.1)
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}

/// Status, headers and body of an answer.
fn answer(head: &str, body: Vec<u8>, files: &Files) -> (u16, String, Vec<u8>) {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let refused = |status: u16, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>Why.</Message></Error>");
        (status, String::new(), body.into_bytes())
    };
    let Some(name) = path.strip_prefix("/bucket") else {
        return refused(404, "NoSuchBucket");
    };
    let name = decode(name.trim_start_matches('/'));
    let mut files = files.lock().unwrap();
    let stamps = "ETag: \"tag\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n".to_owned();
    if query.contains("list-type=2") {
        assert_eq!(method, "GET");
        let prefix = query
            .split('&')
            .find_map(|field| field.strip_prefix("prefix="));
        let prefix = decode(prefix.unwrap_or_default());
        let mut xml = "<ListBucketResult>".to_owned();
        for (name, bytes) in files.iter().filter(|f| f.0.starts_with(&prefix)) {
            let size = bytes.len();
            write!(
                xml,
                "<Contents><Key>{name}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            )
            .unwrap();
        }
        return (
            200,
            String::new(),
            (xml + "</ListBucketResult>").into_bytes(),
        );
    }
    let bytes = files.get(&name).cloned();
    match (method, bytes) {
        ("PUT", Some(_)) if header(head, "x-goog-if-generation-match") == Some("0") => {
            refused(412, "PreconditionFailed")
        }
        ("PUT", _) => {
            files.insert(name, body);
            (200, format!("{stamps}x-goog-generation: 1\r\n"), Vec::new())
        }
        (_, None) => refused(404, "NoSuchKey"),
        ("DELETE", _) => {
            files.remove(&name);
            (204, String::new(), Vec::new())
        }
        ("HEAD", Some(bytes)) => {
            let len = bytes.len();
            (
                200,
                format!("{stamps}Content-Length: {len}\r\n"),
                Vec::new(),
            )
        }
        ("GET", Some(bytes)) => match header(head, "range") {
            None => (200, stamps, bytes),
            Some(range) => {
                let (from, to) = range
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                if from >= bytes.len() {
                    return refused(416, "InvalidRange");
                }
                let to = to.min(bytes.len() - 1);
                let range = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
                (206, stamps + &range, bytes[from..=to].to_vec())
            }
        },
        (method, _) => panic!("{method} {target}"),
    }
}

const PLACE: &str = "HIGHWATER_GCS_PLACE";

/// Runs a test in a process that knows the double as Google's.
fn with_double(test: &str, run: impl FnOnce(&str)) {
    if let Ok(place) = std::env::var(PLACE) {
        return run(&place);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener);
    let account = format!(
        r#"{{"gcs_base_url":"http://127.0.0.1:{port}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]);
    again.env(PLACE, "gs://bucket/word-count");
    again.env("GOOGLE_SERVICE_ACCOUNT_KEY", account);
    again.env("GOOGLE_ALLOW_HTTP", "true");
    let ran = again.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let failed = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && told.contains("1 passed"),
        "{told}{failed}"
    );
}

#[test]
fn a_bucket_holds_files_created_once() {
    with_double("a_bucket_holds_files_created_once", |url| {
        holds_files(&*open_url(url).unwrap());
        one_of_eight_writers_wins(5, || open_url(url).unwrap());
    });
}

#[test]
fn checkpoints_outlive_their_process() {
    with_double("checkpoints_outlive_their_process", |url| {
        for n in 1..=4 {
            let mut checkpoints = Checkpoints::open(open_url(url).unwrap(), options(n)).unwrap();
            if let Some(newest) = checkpoints.newest().unwrap() {
                check(&newest, n - 1);
            }
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        let missing = open_url("gs://not-there/word-count").unwrap().prepare();
        let told = missing.unwrap_err().to_string();
        assert!(
            told.contains("NoSuchBucket") && told.contains("GOOGLE_"),
            "{told}"
        );
    });
}
