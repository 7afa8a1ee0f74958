//! Named streams of the same process as a source: every message once, whatever happens to the
//! program and to the streams.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use highwater_connectors::{Line, Served, ServedRecord, Sources};
use highwater_engine::{BatchMode, Error, Result, StopMode, StreamingContext};
use highwater_streams::{
    Append, NewStream, Options, RECORDS, RecordRef, Retention, Streams, json_messages,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const JSON: Option<&str> = Some("application/json");

/// What each batch had: a batch that runs again has the same.
type Seen = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

fn context(dir: &Path, served: Served, seen: &Seen) -> Result<StreamingContext> {
    let seen = Arc::clone(seen);
    let builder = StreamingContext::builder(dir).batches(BatchMode::Manual);
    let context = builder.get_or_create(move |ssc| {
        let messages = ssc.served("orders", served.clone());
        let texts = messages.map(|message: Line| message.to_string());
        texts.for_each_batch("out", move |batch, texts: Vec<String>| {
            let before = seen.lock().insert(batch.id, texts.clone());
            assert!(before.is_none_or(|before| before == texts), "{batch}");
        });
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

fn all(seen: &Seen) -> Vec<String> {
    seen.lock().values().flatten().cloned().collect()
}

fn create(streams: &Streams, name: &str, retention: Option<Retention>) {
    let new = NewStream {
        content_type: JSON,
        retention,
        ..NewStream::default()
    };
    streams.create(name, &new).unwrap().wait().unwrap().unwrap();
}

fn send(streams: &Streams, name: &str, body: &str) {
    let messages = json_messages(body.as_bytes()).unwrap();
    let request = Append {
        content_type: JSON,
        messages: &messages,
        ..Append::default()
    };
    streams
        .append(name, &request)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
}

#[test]
fn every_message_is_in_one_batch_over_restarts_of_both() {
    let dir = tempfile::tempdir().unwrap();
    let (of_streams, of_context) = (dir.path().join("streams"), dir.path().join("app"));
    let seen = Seen::default();
    let mut expected = Vec::new();
    for life in 0..4 {
        let streams = Arc::new(Streams::open(&of_streams, Options::new()).unwrap());
        let served = Served::new(&streams, ["/a", "/b"]).max_records(4);
        let context = context(&of_context, served, &seen).unwrap();
        if life == 0 {
            context.run_batch().unwrap(); // there is no stream yet
            create(&streams, "/a", None);
        }
        if life == 1 {
            create(&streams, "/b", None);
        }
        send(
            &streams,
            "/a",
            &format!("[{life}, \"x\", {{\"n\": {life}}}]"),
        );
        expected.extend([
            life.to_string(),
            "\"x\"".to_owned(),
            format!("{{\"n\": {life}}}"),
        ]);
        if life > 0 {
            send(&streams, "/b", &format!("\"b {life}\""));
            expected.push(format!("\"b {life}\""));
        }
        for _ in 0..4 {
            context.run_batch().unwrap();
        }
        if life == 2 {
            send(&streams, "/a", "\"before the reader is back\"");
            expected.push("\"before the reader is back\"".to_owned());
        }
        context.stop(StopMode::Graceful).unwrap();
        drop(context);
        streams.close().unwrap();
    }
    let mut found = all(&seen);
    let in_order: Vec<_> = found
        .iter()
        .filter(|text| text.contains("\"n\""))
        .cloned()
        .collect();
    assert_eq!(
        in_order,
        ["{\"n\": 0}", "{\"n\": 1}", "{\"n\": 2}", "{\"n\": 3}"]
    );
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_stream_that_is_made_again_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path().join("streams"), Options::new()).unwrap());
    let seen = Seen::default();
    create(&streams, "/a", None);
    send(&streams, "/a", "[1, 2]");
    let served = Served::new(&streams, ["/a"]);
    let context = context(&dir.path().join("app"), served, &seen).unwrap();
    context.run_batch().unwrap();
    streams.delete("/a").unwrap().wait().unwrap().unwrap();
    context.run_batch().unwrap();
    create(&streams, "/a", None);
    send(&streams, "/a", "3");
    context.run_batch().unwrap();
    assert_eq!(all(&seen), ["1", "2", "3"]);
    context.stop(StopMode::Graceful).unwrap();
}

/// Nothing is passed over without a word.
#[test]
fn messages_that_were_given_up_too_early_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path().join("streams"), Options::new()).unwrap());
    let seen = Seen::default();
    let positions = Some(2);
    create(
        &streams,
        "/a",
        Some(Retention {
            positions,
            ..Retention::default()
        }),
    );
    send(&streams, "/a", "1");
    let served = Served::new(&streams, ["/a"]);
    let context = context(&dir.path().join("app"), served, &seen).unwrap();
    context.run_batch().unwrap();
    for n in 2..20 {
        send(&streams, "/a", &n.to_string());
    }
    while streams.stats().trimmed == 0 {
        streams.tend().unwrap(); // a share of the streams at a time
    }
    context.run_batch().unwrap();
    assert_eq!(all(&seen), ["1"]);
    assert_eq!(context.sources()[0].1.errors, 1);
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path().join("streams"), Options::new()).unwrap());
    let none = Served::new(&streams, [""; 0]);
    let error = context(&dir.path().join("none"), none, &Seen::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Source { .. }) || error.to_string().contains("no streams"),
        "{error}"
    );
    streams
        .create("/text", &NewStream::default())
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    let seen = Seen::default();
    let text = Served::new(&streams, ["/text"]);
    let context = context(&dir.path().join("text"), text, &seen).unwrap();
    context.run_batch().unwrap();
    assert_eq!(context.sources()[0].1.errors, 1, "batches have messages");
    context.stop(StopMode::Graceful).unwrap();
}

/// Records keep their keys, headers and times, and each kind of stream has its own source.
#[test]
fn records_come_with_all_that_they_have() {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path().join("streams"), Options::new()).unwrap());
    let content_type = Some(RECORDS);
    let new = NewStream {
        content_type,
        ..NewStream::default()
    };
    streams
        .create("t/1", &new)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    create(&streams, "/json", None);
    let record = RecordRef {
        key: Some(b"k"),
        value: Some(b"v"),
        timestamp_ms: Some(-5),
        headers: vec![("h", None), ("h", Some(b"2"))],
    };
    let messages = [record.encode(), RecordRef::default().encode()];
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let request = Append {
        content_type,
        messages: &messages,
        ..Append::default()
    };
    for _ in 0..2 {
        streams
            .append("t/1", &request)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
    }
    let seen: Arc<Mutex<Vec<ServedRecord>>> = Arc::default();
    let collected = Arc::clone(&seen);
    let served = Served::new(&streams, ["t/1"]).max_records(3);
    let json = Served::new(&streams, ["/json"]);
    let builder = StreamingContext::builder(dir.path().join("app")).batches(BatchMode::Manual);
    let context = builder.get_or_create(move |ssc| {
        let collected = Arc::clone(&collected);
        let records = ssc.served_records("records", served.clone());
        records.for_each_batch("out", move |_, records: Vec<ServedRecord>| {
            collected.lock().extend(records);
        });
        let wrong = ssc.served_records("wrong", json);
        wrong.for_each_batch("none", |_, records: Vec<ServedRecord>| {
            assert!(records.is_empty())
        });
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    for _ in 0..2 {
        context.run_batch().unwrap();
    }
    let seen = seen.lock().clone();
    let offsets: Vec<u64> = seen.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    let (first, second) = (&seen[0], &seen[1]);
    assert_eq!(first.stream, "t/1");
    assert_eq!(first.timestamp_ms, Some(-5));
    assert_eq!(
        (first.key.as_deref(), first.text()),
        (Some(&b"k"[..]), Ok("v"))
    );
    let header = |value: Option<&[u8]>| ("h".to_owned(), value.map(<[u8]>::to_vec));
    assert_eq!(first.headers, [header(None), header(Some(b"2"))]);
    assert_eq!(
        (&second.key, &second.value, second.timestamp_ms),
        (&None, &None, None)
    );
    let errors: Vec<u64> = context
        .sources()
        .iter()
        .map(|(_, stats)| stats.errors)
        .collect();
    assert_eq!(errors, [0, 2], "the stream of JSON has no records");
    context.stop(StopMode::Graceful).unwrap();
}
