//! The space of the log: what is given up is freed, what is needed survives that.

use crate::world::options;
use highwater_disk::{CrashTest, Disk, ManualClock, SimDisk};
use highwater_streams::{
    Append, Error, From, NewStream, Options, Position, Refusal, Retention, Source, Streams,
};
use std::sync::Arc;
use std::time::Duration;

const TEXT: Option<&str> = Some("text/plain");

/// Small segments; a checkpoint in each turn in which anything has changed.
fn small(disk: Arc<dyn Disk>) -> Options {
    let options = options(disk).segment_bytes(8 << 10);
    options.checkpoint_every(1, Duration::from_secs(3600))
}

fn create(streams: &Streams, name: &str, retention: Option<Retention>) {
    let new = NewStream {
        content_type: TEXT,
        retention,
        ..NewStream::default()
    };
    streams.create(name, &new).unwrap().wait().unwrap().unwrap();
}

fn say(streams: &Streams, name: &str, text: &str) -> Result<u64, Error> {
    let messages = [text.as_bytes()];
    let request = Append {
        content_type: TEXT,
        messages: &messages,
        ..Append::default()
    };
    Ok(streams.append(name, &request)?.wait()?.unwrap().end.get())
}

fn read(streams: &Streams, name: &str, from: u64) -> Result<String, Refusal> {
    let from = From::Position(Position::new(from));
    let page = streams.read(name, from, 1 << 20).unwrap().wait().unwrap()?;
    Ok(String::from_utf8(page.data).unwrap())
}

/// A stream that is written and deleted again and again, beside ones that stay and hardly change.
#[test]
fn few_old_messages_do_not_keep_the_log() {
    let disk = Arc::new(SimDisk::new());
    let mut streams = Streams::open("/streams", small(disk.clone())).unwrap();
    let quiet: Vec<String> = (0..5).map(|n| format!("quiet {n}")).collect();
    let mut expected = vec![String::new(); quiet.len()];
    for name in &quiet {
        create(&streams, name, None);
    }
    let (mut longest, mut moved) = (0, 0);
    for round in 0..120 {
        create(&streams, "busy", None);
        for n in 0..3 {
            say(
                &streams,
                "busy",
                &format!("{round} {n} {}", "x".repeat(1000)),
            )
            .unwrap();
        }
        let which = round % quiet.len();
        let text = format!("[{round}]");
        say(&streams, &quiet[which], &text).unwrap();
        expected[which] += &text;
        streams.delete("busy").unwrap().wait().unwrap().unwrap();
        streams.tend().unwrap();
        longest = longest.max(streams.stats().log_bytes);
        moved = moved.max(streams.stats().moved_bytes);
        if round % 40 == 39 {
            drop(streams);
            streams = Streams::open("/streams", small(disk.clone())).unwrap();
        }
        for (name, expected) in quiet.iter().zip(&expected) {
            assert_eq!(
                read(&streams, name, 0).as_ref(),
                Ok(expected),
                "round {round}"
            );
        }
    }
    assert!(
        longest < 200 << 10,
        "{longest} bytes, where 400 KB were written"
    );
    assert!(moved > 0);
    // Every position is the same as ever.
    for (name, expected) in quiet.iter().zip(&expected) {
        for from in 0..=expected.len() {
            assert_eq!(read(&streams, name, from as u64).unwrap(), expected[from..]);
        }
    }
}

#[test]
fn what_forks_share_is_moved_for_them() {
    let disk = Arc::new(SimDisk::new());
    let streams = Streams::open("/streams", small(disk).move_below_percent(100)).unwrap();
    create(&streams, "a", None);
    say(&streams, "a", "shared ").unwrap();
    let fork = NewStream {
        fork: Some(Source {
            name: "a",
            offset: None,
            sub_offset: 0,
        }),
        ..NewStream::default()
    };
    streams.create("b", &fork).unwrap().wait().unwrap().unwrap();
    say(&streams, "b", "own").unwrap();
    streams.delete("a").unwrap().wait().unwrap().unwrap();
    create(
        &streams,
        "busy",
        Some(Retention {
            bytes: Some(2000),
            ..Retention::default()
        }),
    );
    for n in 0..100 {
        say(&streams, "busy", &format!("{n}{}", "x".repeat(700))).unwrap();
        streams.tend().unwrap();
    }
    assert!(streams.stats().moved_bytes > 0);
    assert!(
        streams.stats().log_bytes < 64 << 10,
        "{:?}",
        streams.stats()
    );
    assert_eq!(read(&streams, "b", 0).unwrap(), "shared own");
    // A sub-offset ends where its append ends, also when that was moved.
    let at = |sub_offset| NewStream {
        fork: Some(Source {
            name: "b",
            offset: Some(Position::new(2)),
            sub_offset,
        }),
        ..NewStream::default()
    };
    let refused = streams.create("c", &at(6)).unwrap().wait().unwrap();
    assert!(matches!(refused, Err(Refusal::BadFork(_))), "{refused:?}");
    let made = streams
        .create("c", &at(5))
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    assert_eq!(made.stream.end.get(), 7);
}

#[test]
fn a_stream_keeps_what_it_is_to_keep() {
    let disk = Arc::new(SimDisk::new());
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = small(disk).clock(clock.clone());
    let streams = Streams::open("/streams", options.clone()).unwrap();
    let keep = Retention::default();
    create(
        &streams,
        "bytes",
        Some(Retention {
            bytes: Some(1000),
            ..keep
        }),
    );
    create(
        &streams,
        "positions",
        Some(Retention {
            positions: Some(500),
            ..keep
        }),
    );
    create(
        &streams,
        "age",
        Some(Retention {
            age_ms: Some(60_000),
            ..keep
        }),
    );
    create(&streams, "all", None);
    for n in 0..200 {
        for name in ["bytes", "positions", "age", "all"] {
            say(&streams, name, &format!("{n:09};")).unwrap();
        }
        clock.advance(Duration::from_secs(1));
        streams.tend().unwrap();
    }
    clock.advance(Duration::from_secs(10));
    streams.tend().unwrap();
    let check = |streams: &Streams| {
        for (name, least, most) in [
            ("bytes", 1000, 1140),
            ("positions", 500, 580),
            ("age", 480, 640),
            ("all", 2000, 2000),
        ] {
            let info = streams.look(name).unwrap().wait().unwrap().unwrap();
            let has = info.end.get() - info.start.get();
            assert!((least..=most).contains(&has), "{name} has {has}");
            assert_eq!(info.end, Position::new(2000));
            let text = read(streams, name, info.start.get()).unwrap();
            let first: u64 = text[..9].parse().unwrap();
            assert_eq!(first * 10, info.start.get());
            assert_eq!(text.len() as u64, has);
            if has < 2000 {
                assert_eq!(
                    read(streams, name, 0),
                    Err(Refusal::Truncated { start: info.start })
                );
            }
        }
    };
    check(&streams);
    assert!(streams.stats().trimmed > 10);
    drop(streams);
    check(&Streams::open("/streams", options).unwrap());
}

#[test]
fn a_full_log_has_room_again_when_streams_are_deleted() {
    let options = small(Arc::new(SimDisk::new())).max_log_bytes(192 << 10);
    let streams = Streams::open("/streams", options).unwrap();
    for name in ["old", "kept", "new"] {
        create(&streams, name, None);
    }
    say(&streams, "kept", "still there").unwrap();
    let text = "x".repeat(2000);
    while say(&streams, "old", &text).is_ok() {}
    assert!(say(&streams, "new", &text).unwrap_err().is_log_full());
    streams.delete("old").unwrap().wait().unwrap().unwrap();
    for _ in 0..4 {
        streams.tend().unwrap();
    }
    for _ in 0..20 {
        say(&streams, "new", &text).unwrap();
    }
    assert_eq!(read(&streams, "kept", 0).unwrap(), "still there");
}

/// What was said and acknowledged, of streams that are moved and trimmed all the time.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    quiet: String,
    busy: u64,
}

/// The power is cut before each operation while data is moved and the log is freed.
#[test]
fn moving_survives_every_cut() {
    let open = |disk: Arc<SimDisk>| Streams::open("/streams", small(disk).move_below_percent(100));
    let keep = Retention {
        bytes: Some(3000),
        ..Retention::default()
    };
    let test = CrashTest::new(
        |disk, said: &mut Said| {
            let streams = open(disk)?;
            let make = |name, retention| {
                let new = NewStream {
                    content_type: TEXT,
                    retention,
                    ..NewStream::default()
                };
                streams.create(name, &new)?.wait().map(drop)
            };
            make("quiet", None)?;
            make("busy", Some(keep))?;
            for n in 0..22 {
                if n % 4 == 0 {
                    let text = format!("[{n}]");
                    say(&streams, "quiet", &text)?;
                    said.quiet += &text;
                }
                said.busy = say(&streams, "busy", &format!("{n:05}{}", "x".repeat(995)))?;
                streams.tend()?;
            }
            assert!(streams.stats().moved_bytes > 0 && streams.stats().trimmed > 1);
            assert!(
                streams.stats().log_bytes < 40 << 10,
                "{:?}",
                streams.stats()
            );
            Ok(())
        },
        |disk, said| {
            let streams = open(disk)?;
            if said.busy == 0 {
                return Ok(());
            }
            let quiet = read(&streams, "quiet", 0).map_err(|e| e.to_string())?;
            assert!(
                quiet.starts_with(&said.quiet),
                "{quiet} is left of {said:?}"
            );
            let info = streams.look("busy")?.wait()?.map_err(|e| e.to_string())?;
            assert!(info.end.get() >= said.busy, "{info:?} is left of {said:?}");
            let mut at = info.start.get();
            assert!(info.end.get() - at >= 3000.min(said.busy), "{info:?}");
            let text = read(&streams, "busy", at).map_err(|e| e.to_string())?;
            for message in text.as_bytes().chunks(1000) {
                assert_eq!(message[..5], *format!("{:05}", at / 1000).as_bytes());
                at += 1000;
            }
            assert_eq!(at, info.end.get());
            // It goes on, and what was shown is there after the next cut.
            (said.quiet, said.busy) = (quiet, info.end.get());
            streams.tend()?;
            Ok(())
        },
    );
    let report = test
        .max_cuts(1000)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.cuts > 300, "{report}");
}

/// What a stream has given up is told when that lasts: a crash could give it back.
#[test]
fn that_data_was_given_up_is_told_when_it_lasts() {
    // No checkpoint syncs the log.
    let options =
        options(Arc::new(SimDisk::new())).checkpoint_every(1 << 30, Duration::from_secs(3600));
    let streams = Streams::open("/streams", options).unwrap();
    let retention = Retention {
        positions: Some(10),
        ..Retention::default()
    };
    create(&streams, "a", Some(retention));
    for n in 0..20 {
        say(&streams, "a", &format!("{n:03}")).unwrap();
    }
    streams.tend().unwrap();
    assert_eq!(streams.stats().trimmed, 1);
    let from = From::Position(Position::new(0));
    let refused = streams.read("a", from, 100).unwrap();
    assert!(refused.lsn().is_some(), "nothing has synced it");
    let start = streams.look("a").unwrap().wait().unwrap().unwrap().start;
    assert_eq!(refused.wait().unwrap(), Err(Refusal::Truncated { start }));
    let refused = streams.read("a", from, 100).unwrap();
    assert_eq!(refused.lsn(), None, "it is known to last");
}

/// Blocks were bounded by a length of their own alone. In a log of short segments one became longer
/// than a frame may be, and from then on nothing was freed.
#[test]
fn a_block_is_no_longer_than_a_frame_may_be() {
    let options = small(Arc::new(SimDisk::new()));
    let streams = Streams::open("/streams", options).unwrap();
    create(&streams, "a", None);
    for n in 0..200 {
        say(&streams, "a", &format!("{n:0>900}")).unwrap();
        streams.tend().unwrap();
    }
    assert!(streams.stats().moved_bytes > 0);
    let expected: String = (0..200).map(|n| format!("{n:0>900}")).collect();
    assert_eq!(read(&streams, "a", 0).unwrap(), expected);
}
