//! Questions that wait: for a record, for the end of a replay; and what ends them.

use crate::client::{Client, Feed};
use crate::program::{Gate, World, run, wait_until_asked};
use highwater_connectors::{ServeStates, StateDoorOptions};
use highwater_engine::BatchMode;
use serde_json::json;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::{io::Write, net::TcpStream};

#[test]
fn an_answer_has_the_record_that_was_acknowledged() {
    let world = run();
    let mut waits: Vec<Client> = (0..6).map(|_| Client::connect(world.addr())).collect();
    let mut client = Client::connect(world.addr());
    for sum in 1..9 {
        let lsn = world.add("a", 1);
        let targets = [
            "/state/sums/a?",
            "/state/sums?key=%22a%22&",
            "/state/sums?",
            "/state?",
        ];
        for (wait, target) in waits.iter_mut().zip(targets) {
            wait.send("GET", &format!("{target}min_lsn={lsn}"), "");
        }
        let late = client.get(&format!("/state/sums/a?min_lsn={lsn}&wait_ms=0"));
        assert_eq!(late.refusal(), (504, "not_there_yet"));
        assert!(late.body["lsn"].as_u64().unwrap() <= lsn && late.body["batch"] != sum);
        let batch = world.batch();
        for (wait, target) in waits.iter_mut().zip(targets) {
            let answer = wait.answer();
            assert_eq!(
                (answer.status, &answer.body["batch"]),
                (200, &json!(batch)),
                "{target}"
            );
            assert!(answer.body["lsn"].as_u64().unwrap() > lsn);
            let value = match target {
                "/state?" => continue,
                "/state/sums?" => &answer.body["entries"][0]["value"],
                _ => &answer.body["value"],
            };
            assert_eq!(value, sum, "{target}");
        }
        let again = client.get(&format!("/state/sums/a?min_lsn={lsn}&wait_ms=0"));
        assert_eq!(again.body["value"], sum);
    }
    // A key that is none waits for nothing.
    let none = client.get("/state/numbers/x?min_lsn=18446744073709551615");
    assert_eq!(none.refusal(), (400, "no_key"));
}

#[test]
fn the_position_may_be_that_of_the_receiver() {
    let world = World::new();
    let running = world.serve(StateDoorOptions::new());
    let mut receiver = Client::connect(world.events.get().unwrap());
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nab";
    let mut client = Client::connect(running.addr());
    for count in 1..5 {
        receiver.stream.write_all(post.as_bytes()).unwrap();
        let lsn = receiver.answer().body["lsn"].as_u64().unwrap();
        client.send("GET", &format!("/state/lines/ab?min_lsn={lsn}"), "");
        running.batch();
        assert_eq!(client.answer().body["value"], count);
    }
}

#[test]
fn what_is_replayed_is_not_shown_unless_the_client_wants_it() {
    let mut world = World::new();
    {
        let running = world.serve(StateDoorOptions::new());
        running.add("slow", 1);
        running.batch();
        running.add("slow", 1);
        running.batch();
        world.disk = world.disk.kill_process();
    }
    let (arrived, arrives) = channel();
    let (leaves, leave) = channel();
    let (arrived, leave) = (Mutex::new(arrived), Mutex::new(leave));
    world.gate = Some(Arc::new(Gate { arrived, leave }));
    world.mode = BatchMode::Clock;
    let context = world.open();
    let server = context
        .serve_states("127.0.0.1:0", StateDoorOptions::new())
        .unwrap();
    let mut client = Client::connect(server.local_addr());
    let early = client.get("/state/sums/slow?recovering=true");
    assert_eq!(early.refusal(), (503, "not_started"));
    assert_eq!(early.header("retry-after"), Some("1"));
    context.start().unwrap();
    arrives.recv().unwrap();
    for target in [
        "/state/sums/slow",
        "/state/sums",
        "/state",
        "/changes/sums",
        "/state/sums/slow?min_lsn=18446744073709551615",
    ] {
        let answer = client.get(target);
        assert_eq!(answer.refusal(), (503, "recovering"), "{target}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.body["batch"], json!(null));
    }
    let early = client.get("/state/sums/slow?recovering=true");
    assert_eq!(early.refusal(), (404, "no_such_key"));
    leaves.send(()).unwrap();
    // The second batch stands at the gate, when the first one may be shown or is about to be.
    arrives.recv().unwrap();
    let early = loop {
        let early = client.get("/state/sums/slow?recovering=true");
        if early.status == 200 {
            break early;
        }
        assert_eq!(early.refusal(), (404, "no_such_key"));
    };
    assert_eq!(
        (&early.body["value"], &early.body["recovering"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        client.get("/state/sums/slow").refusal(),
        (503, "recovering")
    );
    leaves.send(()).unwrap();
    let answer = loop {
        let answer = client.get("/state/sums/slow");
        if answer.status == 200 {
            break answer;
        }
        assert_eq!(answer.refusal(), (503, "recovering"));
    };
    assert_eq!(
        (&answer.body["value"], &answer.body["recovering"]),
        (&json!(2), &json!(false))
    );
}

/// A server that begins while a batch runs: its states were not asked for until then.
#[test]
fn the_first_question_may_wait_for_the_batch_that_runs() {
    let mut world = World::new();
    let (arrived, arrives) = channel();
    let (leaves, leave) = channel();
    let (arrived, leave) = (Mutex::new(arrived), Mutex::new(leave));
    world.gate = Some(Arc::new(Gate { arrived, leave }));
    let context = world.open();
    context.start().unwrap();
    let added = context.input::<(String, i64)>("added").unwrap();
    added.send(&("a".to_owned(), 1)).unwrap().wait().unwrap();
    context.run_batch().unwrap();
    added.send(&("slow".to_owned(), 5)).unwrap().wait().unwrap();
    let runs = context.clone();
    let batch = std::thread::spawn(move || runs.run_batch().unwrap().id);
    arrives.recv().unwrap();
    let server = context
        .serve_states("127.0.0.1:0", StateDoorOptions::new())
        .unwrap();
    let mut clients: Vec<_> = (0..3)
        .map(|_| Client::connect(server.local_addr()))
        .collect();
    for (client, target) in
        clients
            .iter_mut()
            .zip(["/state/sums/a", "/state/sums", "/changes/sums"])
    {
        client.send("GET", target, "");
    }
    leaves.send(()).unwrap();
    let batch = batch.join().unwrap();
    let [get, list, feed] = &mut clients[..] else {
        panic!()
    };
    let (get, list) = (get.answer(), list.answer());
    assert_eq!((get.status, list.status), (200, 200), "{get:?} {list:?}");
    assert!(get.body["batch"].as_u64().unwrap() <= batch);
    assert!(feed.head().starts_with("http/1.1 200 "));
}

#[test]
fn a_stop_of_the_server_is_told_to_those_who_wait() {
    let world = run();
    let mut waits: Vec<_> = (0..5).map(|_| Client::connect(world.addr())).collect();
    for wait in &mut waits {
        wait.send("GET", "/state/watched/a?min_lsn=18446744073709551615", "");
    }
    wait_until_asked(waits.len());
    let mut feeds: Vec<_> = (0..5)
        .map(|_| Feed::follow(world.addr(), "sums", ""))
        .collect();
    for feed in &mut feeds {
        assert_eq!(feed.next().name, "from");
    }
    let addr = world.addr();
    world.server.stop();
    for mut wait in waits {
        let answer = wait.answer();
        assert_eq!(answer.refusal(), (503, "stopped"));
        assert_eq!(wait.rest(), b"");
    }
    assert!(feeds.iter_mut().all(Feed::is_at_its_end));
    TcpStream::connect(addr).unwrap_err();
    // The program goes on.
    world.context.run_batch().unwrap();
}

#[test]
fn a_stop_of_the_context_is_told_and_the_server_holds_it_not() {
    let world = run();
    let addr = world.addr();
    let mut wait = Client::connect(addr);
    let mut feed = Feed::follow(addr, "sums", "");
    assert_eq!(feed.next().name, "from");
    wait.send("GET", "/state/sums/a?min_lsn=18446744073709551615", "");
    world.stop();
    let answer = wait.answer();
    assert_eq!(answer.refusal(), (503, "stopped"));
    assert_eq!(wait.rest(), b"");
    // A graceful stop runs a last batch.
    while let Some(event) = feed.try_next() {
        assert_eq!(event.name, "batch");
    }
    for target in [
        "/state/sums/a?recovering=true",
        "/state",
        "/state/sums",
        "/changes/sums",
    ] {
        let mut client = Client::connect(addr);
        assert_eq!(client.get(target).refusal(), (503, "stopped"), "{target}");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn the_last_owner_of_a_context_ends_it_while_it_is_served() {
    let world = World::new();
    let running = world.serve(StateDoorOptions::new());
    let mut feed = Feed::follow(running.addr(), "sums", "");
    assert_eq!(feed.next().name, "from");
    let crate::program::Running { server, context } = running;
    drop(context);
    assert!(feed.is_at_its_end());
    // The directory is free: another context has it while the server is there.
    let again = world.serve(StateDoorOptions::new());
    again.batch();
    drop(server);
}

/// A wait takes no thread, but it has a place: of those there are 1,024.
#[test]
fn so_many_questions_may_wait() {
    let world = World::new();
    let options = StateDoorOptions::new()
        .max_connections(2000)
        .max_connections_per_address(2000);
    let running = world.serve(options);
    running.batch();
    let lsn = running.add("a", 1);
    let waits = format!("/state/sums/a?min_lsn={lsn}");
    let mut clients: Vec<Client> = (0..1024 + 30)
        .map(|_| {
            let mut client = Client::connect(running.addr());
            client.send("GET", &waits, "");
            client
        })
        .collect();
    // All but so many are told at once, whichever these are.
    let has_answer = |client: &Client| {
        client.stream.set_nonblocking(true).unwrap();
        let answered = client.stream.peek(&mut [0]).is_ok();
        client.stream.set_nonblocking(false).unwrap();
        answered
    };
    while clients.iter().filter(|client| has_answer(client)).count() < 30 {
        std::thread::yield_now();
    }
    let (mut refused, mut waiting): (Vec<_>, Vec<_>) = clients.drain(..).partition(has_answer);
    assert_eq!((refused.len(), waiting.len()), (30, 1024));
    for client in &mut refused {
        let answer = client.answer();
        assert_eq!(answer.refusal(), (503, "busy"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // What does not wait is answered all the same.
    assert_eq!(refused[0].get("/state").status, 200);
    running.batch();
    for client in &mut waiting {
        assert_eq!(client.answer().body["value"], 1);
    }
    let lsn = running.add("a", 1);
    let late = refused[0].get(&format!("/state/sums/a?min_lsn={lsn}&wait_ms=0"));
    assert_eq!(
        late.refusal(),
        (504, "not_there_yet"),
        "places are free again"
    );
}
