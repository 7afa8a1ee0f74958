//! Requests whose sender names them: a retry counts once.

use crate::client::{Answer, Client, serve};
use crate::common::{Collected, open};
use highwater_connectors::{HttpOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{BatchMode, StopMode};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

/// F67: a request whose sender names it counts once, as a whole, whatever a retry carries: on a new
/// connection, after a crash, after a checkpoint.
#[test]
fn a_request_with_a_number_counts_once() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let (lsn, records, duplicates) = client.numbered("p", 0, "a\nb").accepted();
    assert_eq!((records, duplicates), (2, 0));
    assert_eq!(client.numbered("p", 0, "a\nb").accepted(), (lsn, 2, 2));
    assert_eq!(
        client.numbered("p", 0, "a\nb\nc").accepted(),
        (lsn, 3, 3),
        "not by parts"
    );
    assert_eq!(client.numbered("p", 0, "a").accepted(), (lsn, 1, 1));
    assert_eq!(
        client.numbered("q", 0, "x").accepted().2,
        0,
        "another producer"
    );
    let (newer, ..) = client.numbered("p", 7, "d").accepted();
    assert_eq!(client.numbered("p", 3, "late").accepted(), (newer, 1, 1));
    disk.cut_power_now();
    drop(context);

    let disk = disk.restart_after_power_cut(1);
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    assert_eq!(client.numbered("p", 7, "d").accepted(), (newer, 1, 1));
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);

    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    assert_eq!(client.numbered("p", 7, "d").accepted().2, 1);
    assert_eq!(client.numbered("p", 8, "e").accepted().2, 0);
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["a", "b", "x", "d", "e"]);
}

/// A producer that counts its lives numbers its requests without a gap. A sender that has lost its
/// place is told which number is the next one.
#[test]
fn the_numbers_of_an_epoch_follow_each_other() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let refused = |answer: &Answer, status, reason: &str| {
        let said = answer.body["reason"].as_str().unwrap();
        assert!(
            answer.status == status && said.contains(reason),
            "{answer:?}"
        );
        assert_eq!(answer.body["stored"], false);
    };
    refused(&client.in_epoch("p", (1, 1), "x"), 409, "0 is the next");
    assert_eq!(client.in_epoch("p", (1, 0), "a").accepted().2, 0);
    refused(&client.in_epoch("p", (1, 2), "x"), 409, "1 is the next");
    refused(&client.in_epoch("p", (2, 1), "x"), 409, "0 is the next");
    assert_eq!(client.in_epoch("p", (1, 1), "b\nc").accepted().1, 2);
    assert_eq!(client.in_epoch("p", (2, 0), "d").accepted().2, 0);
    disk.cut_power_now();
    drop(context);

    let (context, addr) = serve(
        &disk.restart_after_power_cut(3),
        &collected,
        HttpOptions::new(),
    );
    let mut client = Client::connect(addr);
    refused(&client.in_epoch("p", (1, 2), "x"), 403, "epoch 2");
    assert_eq!(client.in_epoch("p", (2, 0), "d").accepted().2, 1);
    refused(&client.in_epoch("p", (2, 7), "x"), 409, "1 is the next");
    assert_eq!(client.in_epoch("p", (2, 1), "e").accepted().2, 0);
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["a", "b", "c", "d", "e"]);
}

/// A webhook that is delivered again, perhaps while the first delivery still waits for the disk:
/// after a crash, after a checkpoint, on another connection.
#[test]
fn a_request_with_a_key_counts_once() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let options = || {
        HttpOptions::new()
            .key_header("X-GitHub-Delivery")
            .require_id()
    };
    let (context, addr) = serve(&disk, &collected, options());
    let mut client = Client::connect(addr);
    let (lsn, records, duplicates) = client.keyed("k1", "a\nb").accepted();
    assert_eq!((records, duplicates), (2, 0));
    assert_eq!(client.keyed("k1", "a\nb").accepted(), (lsn, 2, 2));
    let other = client.keyed("k1", "a\nc");
    assert_eq!(
        (other.status, &other.body["stored"]),
        (422, &false.into()),
        "{other:?}"
    );
    let delivery = |client: &mut Client| client.post(&[("x-github-delivery", "k2")], "c");
    assert_eq!(delivery(&mut client).accepted().2, 0);
    // It is one name space: the header says only where the key stands.
    assert_eq!(
        client.post(&[("idempotency-key", "k2")], "c").accepted().2,
        1
    );
    let nameless = client.lines("x");
    assert!(
        nameless.status == 400
            && nameless.body["reason"]
                .as_str()
                .unwrap()
                .contains("Idempotency-Key")
    );
    let mut twice = Client::connect(addr);
    let both = [
        ("Idempotency-Key", "k3"),
        ("Producer-Id", "p"),
        ("Producer-Seq", "1"),
    ];
    assert_eq!(twice.post(&both, "x").status, 400);

    // Twins: each is answered, and one of them is stored.
    let twins = thread::scope(|scope| {
        let send = || scope.spawn(|| Client::connect(addr).keyed("twin", "t").accepted());
        let all: Vec<_> = (0..8).map(|_| send()).collect();
        let all: Vec<_> = all.into_iter().map(|twin| twin.join().unwrap()).collect();
        all
    });
    assert_eq!(twins.iter().filter(|twin| twin.2 == 0).count(), 1);
    assert!(twins.iter().all(|twin| twin.0 == twins[0].0));
    disk.cut_power_now();
    drop(context);

    let disk = disk.restart_after_power_cut(1);
    for life in 0..2 {
        let (context, addr) = serve(&disk, &collected, options());
        let mut client = Client::connect(addr);
        assert_eq!(client.keyed("k1", "a\nb").accepted(), (lsn, 2, 2));
        assert_eq!(client.keyed("k1", "b\na").status, 422);
        assert_eq!(delivery(&mut client).accepted().2, 1);
        assert_eq!(client.keyed("k4", "d").accepted().2, life);
        context.run_batch().unwrap();
        context.stop(StopMode::Graceful).unwrap(); // with a checkpoint
    }
    assert_eq!(collected.lines(), ["a", "b", "c", "t", "d"]);
}

#[test]
fn a_header_that_cannot_hold_a_key_is_refused_at_the_start() {
    for name in ["Host", "producer-id", "with space", ""] {
        let context = open(
            Arc::new(SimDisk::new()),
            BatchMode::Manual,
            &Collected::default(),
            |ssc| ssc.http_with("events", "127.0.0.1:0", HttpOptions::new().key_header(name)),
        );
        let error = context.unwrap().start().unwrap_err().to_string();
        assert!(error.contains(&format!("key_header({name:?})")), "{error}");
    }
}

/// F67, F69: many producers that send again until they are answered, while the power fails now and
/// then: nothing that was answered is lost, and nothing counts twice.
#[test]
fn producers_that_retry_lose_and_double_nothing() {
    const PRODUCERS: usize = 24;
    // So many that they need more flushes than the first three lives have.
    const REQUESTS: u64 = 60;
    let (mut disk, collected) = (SimDisk::new(), Collected::default());
    let mut answered = vec![0_u64; PRODUCERS];
    let mut lives = 0;
    while answered.iter().any(|count| *count < REQUESTS) {
        lives += 1;
        let (context, addr) = serve(&disk, &collected, HttpOptions::new());
        // The power fails after so many changes of the disk, a little later each time.
        disk.cut_power_before(disk.mutations() + 4 + 4 * lives);
        answered = thread::scope(|scope| {
            let send = |(id, first): (usize, u64)| {
                scope.spawn(move || {
                    let mut client = Client::connect(addr);
                    for number in first..REQUESTS {
                        let text = format!("{id}-{number}\n{id}-{number}+");
                        let sequence = number.to_string();
                        let headers = [
                            ("Content-Type", "text/plain"),
                            ("Producer-Id", &*id.to_string()),
                            ("Producer-Seq", &sequence),
                        ];
                        client.send(&headers, text.as_bytes());
                        match client.try_answer() {
                            Some(answer) if answer.status == 200 => {}
                            _ => return number,
                        }
                    }
                    REQUESTS
                })
            };
            let running: Vec<_> = answered.iter().copied().enumerate().map(send).collect();
            running
                .into_iter()
                .map(|sender| sender.join().unwrap())
                .collect()
        });
        disk.cut_power_now();
        drop(context);
        disk = disk.restart_after_power_cut(lives);
    }
    assert!(lives > 3, "{lives} lives");
    let (context, _) = serve(&disk, &collected, HttpOptions::new());
    context.run_batch().unwrap();
    let lines = collected.lines();
    let distinct: BTreeSet<&String> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len(), "something counts twice");
    let all = (0..PRODUCERS).flat_map(|id| (0..REQUESTS).map(move |n| format!("{id}-{n}")));
    for text in all {
        let second = format!("{text}+");
        assert!(
            distinct.contains(&text) && distinct.contains(&second),
            "{text} is lost"
        );
    }
    assert_eq!(lines.len() as u64, 2 * REQUESTS * PRODUCERS as u64);
}
