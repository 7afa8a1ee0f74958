//! Calls of the disk that fail.

use crate::world::{open, options};
use highwater_disk::SimDisk;
use highwater_disk::sim::{Call, Fault, FaultKind};
use highwater_streams::{Append, Error, From, NewStream, Streams};
use highwater_wal::WalError;
use std::sync::Arc;

fn create(streams: &Streams, name: &str) {
    let made = streams.create(name, &NewStream::default()).unwrap();
    made.wait().unwrap().unwrap();
}

fn say(streams: &Streams, text: &str) -> Result<u64, Error> {
    let request = Append {
        content_type: Some("application/octet-stream"),
        messages: &[text.as_bytes()],
        ..Append::default()
    };
    Ok(streams.append("a", &request)?.wait()?.unwrap().end.get())
}

fn text(streams: &Streams) -> String {
    let page = streams.read("a", From::Start, 1 << 20).unwrap();
    String::from_utf8(page.wait().unwrap().unwrap().data).unwrap()
}

/// Nothing is told after a sync that failed; what was told before is there, also after a restart.
#[test]
fn after_a_failed_sync_nothing_more_is_told() {
    let disk = Arc::new(SimDisk::new());
    let streams = open(disk.clone()).unwrap();
    create(&streams, "a");
    assert_eq!(say(&streams, "one").unwrap(), 3);
    for call in [Call::SyncMap, Call::Sync, Call::Write] {
        disk.fail(Fault::new(call, FaultKind::Eio).on(".wal").forever());
    }
    let poisoned = |result| matches!(result, Err(Error::Log(WalError::Poisoned { .. })));
    assert!(poisoned(say(&streams, "two")));
    assert!(poisoned(say(&streams, "three")));
    assert!(poisoned(
        streams.delete("a").and_then(|d| d.wait()).map(|_| 0)
    ));
    assert_eq!(text(&streams), "one", "what is durable is read on");
    assert!(streams.checkpoint().is_err());
    drop(streams);
    disk.clear_faults();
    let streams = open(disk).unwrap();
    let left = text(&streams);
    assert!(["one", "onetwo"].contains(&&*left), "{left}");
    say(&streams, "!").unwrap();
    assert_eq!(text(&streams), format!("{left}!"));
}

/// A checkpoint that cannot be written costs nothing: the next one has everything.
#[test]
fn a_checkpoint_that_fails_is_made_up_for() {
    let disk = Arc::new(SimDisk::new());
    let streams = open(disk.clone()).unwrap();
    create(&streams, "a");
    streams.checkpoint().unwrap();
    for n in 0..40 {
        let text = n.to_string();
        say(&streams, &text).unwrap();
        if n % 2 == 0 {
            disk.fail(Fault::new(Call::Create, FaultKind::Enospc).on("table/"));
            assert!(streams.checkpoint().is_err(), "{n}");
            disk.clear_faults();
        }
        if n % 3 == 0 {
            streams.checkpoint().unwrap();
        }
    }
    streams.checkpoint().unwrap();
    let expected: String = (0..40).map(|n: u32| n.to_string()).collect();
    drop(streams);
    // Without the log's own frames the table would still have to know all of it.
    let streams = Streams::open("/streams", options(disk)).unwrap();
    assert_eq!(text(&streams), expected);
}
