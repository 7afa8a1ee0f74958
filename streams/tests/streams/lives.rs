//! Streams that end by themselves.

use crate::world::options;
use highwater_disk::{ManualClock, SimDisk};
use highwater_streams::{Append, From, Lifetime, NewStream, Options, Refusal, Streams};
use std::sync::Arc;
use std::time::Duration;

fn world() -> (Arc<SimDisk>, Arc<ManualClock>, Options) {
    let disk = Arc::new(SimDisk::new());
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = options(disk.clone()).clock(clock.clone());
    (disk, clock, options)
}

fn create(streams: &Streams, name: &str, lifetime: Lifetime) {
    let new = NewStream {
        lifetime: Some(lifetime),
        ..NewStream::default()
    };
    assert!(
        streams
            .create(name, &new)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap()
            .is_new
    );
}

fn is_there(streams: &Streams, name: &str) -> bool {
    match streams.look(name).unwrap().wait().unwrap() {
        Ok(_) => true,
        Err(Refusal::NotFound) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_stream_lives_on_while_it_is_used_and_a_look_is_no_use() {
    let (_, clock, options) = world();
    let streams = Streams::open("/streams", options).unwrap();
    for name in ["read", "written", "looked at"] {
        create(&streams, name, Lifetime::IdleSeconds(10));
    }
    let request = Append {
        content_type: Some("application/octet-stream"),
        messages: &[b"x"],
        ..Append::default()
    };
    for _ in 0..3 {
        clock.advance(Duration::from_millis(9_999));
        streams
            .read("read", From::Start, 1)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        streams
            .append("written", &request)
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        let _ = is_there(&streams, "looked at");
    }
    assert!(is_there(&streams, "read") && is_there(&streams, "written"));
    assert!(!is_there(&streams, "looked at"));
    clock.advance(Duration::from_secs(10));
    assert!(!is_there(&streams, "read") && !is_there(&streams, "written"));
    assert_eq!(streams.stats().expired, 3);
    assert_eq!(streams.stats().streams, 0);
    create(&streams, "read", Lifetime::Unlimited);
}

#[test]
fn what_has_ended_stays_so_and_what_has_not_begins_anew_after_a_restart() {
    let (_, clock, options) = world();
    let streams = Streams::open("/streams", options.clone()).unwrap();
    create(&streams, "over", Lifetime::IdleSeconds(10));
    clock.advance(Duration::from_secs(10));
    assert!(!is_there(&streams, "over"));
    create(&streams, "idle", Lifetime::IdleSeconds(10));
    let text = "1970-01-01T00:20:00Z".to_owned();
    create(
        &streams,
        "until",
        Lifetime::Until {
            at_ms: 1_200_000,
            text,
        },
    );
    clock.advance(Duration::from_secs(9));
    drop(streams);
    let streams = Streams::open("/streams", options).unwrap();
    clock.advance(Duration::from_secs(9));
    assert!(!is_there(&streams, "over"));
    assert!(is_there(&streams, "idle"), "late, never early");
    assert!(is_there(&streams, "until"));
    clock.set_wall_ms(1_200_000);
    assert!(!is_there(&streams, "until"));
}

#[test]
fn a_fork_has_the_lifetime_of_its_source_unless_it_says_so() {
    let (_, clock, options) = world();
    let streams = Streams::open("/streams", options).unwrap();
    create(&streams, "a", Lifetime::IdleSeconds(10));
    let fork = |lifetime| NewStream {
        lifetime,
        fork: Some(highwater_streams::Source {
            name: "a",
            offset: None,
            sub_offset: 0,
        }),
        ..NewStream::default()
    };
    streams
        .create("same", &fork(None))
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    streams
        .create("longer", &fork(Some(Lifetime::IdleSeconds(20))))
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    clock.advance(Duration::from_secs(10));
    assert!(!is_there(&streams, "same") && is_there(&streams, "longer"));
    assert_eq!(
        streams.look("a").unwrap().wait().unwrap(),
        Err(Refusal::Gone)
    );
    clock.advance(Duration::from_secs(10));
    assert!(!is_there(&streams, "longer"));
    assert!(!is_there(&streams, "a"), "freed with its last fork");
    assert_eq!(streams.stats().streams, 0);
}
