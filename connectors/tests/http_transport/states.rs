//! The states of a program, encrypted and over HTTP/2: the same transport as the receiver's.

use crate::client::{Client, Encryption, World};
use crate::frames::{DATA, END_STREAM, Http2, Outcome};
use highwater_connectors::{ServeStates, StateDoorOptions, StateServer};
use highwater_engine::{BatchMode, StateGuard, StopMode, StreamingContext};
use std::sync::Arc;

fn serve(world: &World) -> (StreamingContext, StateServer) {
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(world.disk.clone()))
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.input::<(String, u64)>("visits")
                .update_state_by_key_changed("counts", |_, new, count: &mut StateGuard<u64>| {
                    *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
                })
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    let options = StateDoorOptions::new().tls(World::tls());
    let server = context.serve_states("127.0.0.1:0", options).unwrap();
    context.start().unwrap();
    (context, server)
}

/// The position of the record.
fn visit(context: &StreamingContext, page: &str) -> u64 {
    let visits = context.input::<(String, u64)>("visits").unwrap();
    let ack = visits.send(&(page.to_owned(), 1)).unwrap();
    let lsn = ack.lsn().get();
    ack.wait().unwrap();
    lsn
}

fn count(outcome: &Outcome) -> Option<u64> {
    let Outcome::Answer(200, body) = outcome else {
        return None;
    };
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["value"].as_u64()
}

#[test]
fn states_are_asked_for_over_http2_and_tls() {
    let world = World::new();
    let (context, server) = serve(&world);
    let stream = Encryption::http2().connect(server.local_addr()).unwrap();
    let mut client = Http2::on(stream);
    visit(&context, "home");
    context.run_batch().unwrap();
    let first = client.get("/state/counts/home");
    assert_eq!(count(&client.outcome(first)), Some(1));
    let none = client.get("/state/counts/nowhere");
    assert_eq!(client.outcome(none).status(), 404);
    // Of two questions on one connection the second one is answered while the first one waits.
    let lsn = visit(&context, "home");
    let waits = client.get(&format!("/state/counts/home?min_lsn={lsn}"));
    let early = client.get("/state/counts/home");
    assert_eq!(count(&client.outcome(early)), Some(1));
    context.run_batch().unwrap();
    assert_eq!(count(&client.outcome(waits)), Some(2));
    // Two feeds of one connection, and what a batch changes on both.
    let feeds = [client.get("/changes/counts"), client.get("/changes/counts")];
    let mut told = [String::new(), String::new()];
    let mut read_until = |client: &mut Http2<_>, text: &str, ends: bool| {
        let mut ended = [false; 2];
        while !told.iter().all(|told| told.contains(text)) || ends && ended != [true; 2] {
            let frame = client.frame().expect("both feeds go on");
            let Some(which) = feeds.iter().position(|feed| *feed == frame.stream) else {
                continue;
            };
            if frame.kind == DATA {
                told[which] += std::str::from_utf8(&frame.payload).unwrap();
                ended[which] |= frame.flags & END_STREAM != 0;
            }
        }
    };
    read_until(&mut client, "event: from", false);
    visit(&context, "about");
    context.run_batch().unwrap();
    let change = "event: change\ndata: {\"key\":\"about\",\"value\":1}\n\nevent: batch\n";
    read_until(&mut client, change, false);
    context.stop(StopMode::Graceful).unwrap();
    read_until(&mut client, change, true);
    server.stop();
}

#[test]
fn clients_without_encryption_are_told_nothing() {
    let world = World::new();
    let (context, server) = serve(&world);
    let mut plain = Client::connect(server.local_addr());
    plain.send("GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(plain.answer().is_none());
    let mut encrypted = Client::on(Encryption::default().connect(server.local_addr()).unwrap());
    encrypted.send("GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(encrypted.answer().unwrap().status, 200);
    context.stop(StopMode::Graceful).unwrap();
}
