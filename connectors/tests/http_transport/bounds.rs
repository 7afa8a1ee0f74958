//! Bounds of connections: how many, and how long a client may let the server wait.

use crate::client::{Client, World, connect, patient};
use crate::frames::{DATA, Http2, Outcome};
use highwater_connectors::HttpOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_hours(1);

const HEAD: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n";
const GET: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client whose request is being worked on: it lacks the last two bytes.
fn busy(addr: SocketAddr) -> Client<TcpStream> {
    let mut client = Client::connect(addr);
    let head = HEAD.replace("Host", "Expect: 100-continue\r\nHost");
    client.send(head);
    assert_eq!(client.answer().unwrap().status, 100, "it reads the body");
    client.send("ha");
    client
}

/// Connections that rest, or that never begin, keep no place from one that has something to say.
#[test]
fn the_connection_that_has_rested_for_longest_makes_room() {
    let world = World::new();
    let options = HttpOptions::new().max_connections(3).head_timeout(LONG);
    let (context, addr) = world.serve(options);
    let mut busy = busy(addr);
    let mut first = Client::connect(addr);
    first.store("first");
    let mut second = Client::connect(addr);
    second.store("second");
    first.store("first again");
    // `second` has rested for longer now.
    let mut third = Client::connect(addr);
    third.store("third");
    second.wait_for_end();
    first.store("first is there");
    third.store("third is there");
    // Silent ones go too: the older one first.
    let mut silent = Client::connect(addr);
    first.wait_for_end();
    let mut fourth = Client::connect(addr);
    fourth.store("fourth");
    third.wait_for_end();
    fourth.store("fourth is there");
    let mut fifth = Client::connect(addr);
    fifth.store("fifth");
    silent.wait_for_end();
    // The one with a request under way was there all the time.
    busy.send("lf");
    assert_eq!(busy.answer().unwrap().status, 200);
    context.run_batch().unwrap();
    assert!(world.collected.lines().contains(&"half".to_owned()));
}

/// While all have a request under way a new client waits, and is served when one is done.
#[test]
fn a_client_waits_while_all_are_busy() {
    let world = World::new();
    let (_context, addr) = world.serve(HttpOptions::new().max_connections(2).head_timeout(LONG));
    let mut busy = [busy(addr), busy(addr)];
    let mut waiting = Client::connect(addr);
    waiting.send(GET);
    busy[0].send("lf");
    assert_eq!(busy[0].answer().unwrap().status, 200);
    assert_eq!(waiting.answer().unwrap().status, 200);
    busy[0].wait_for_end(); // it made room
    busy[1].send("lf");
    assert_eq!(busy[1].answer().unwrap().status, 200);
}

/// More connections from one address than it may have shed none of another one.
#[test]
fn an_address_with_too_many_connections_sheds_none() {
    let world = World::new();
    let options = HttpOptions::new()
        .max_connections(2)
        .max_connections_per_address(2)
        .head_timeout(LONG);
    let (_context, addr) = world.serve(options);
    let mut two = [Client::connect(addr), Client::connect(addr)];
    for client in &mut two {
        client.store("in");
    }
    for _ in 0..5 {
        Client::connect(addr).wait_for_end();
    }
    for client in &mut two {
        client.store("still in");
    }
}

/// A client that asks and asks and reads no answer is cut off.
#[test]
fn a_client_that_takes_no_answers_is_cut_off() {
    let world = World::new();
    let options = HttpOptions::new().write_timeout(SHORT).head_timeout(LONG);
    let (_context, addr) = world.serve(options);
    let mut stream = connect(addr);
    let requests = GET.repeat(1000);
    while patient(stream.write_all(requests.as_bytes())).is_ok() {}
    Client::connect(addr).store("good");

    // With HTTP/2 it need not stop reading: it grants no byte of an answer.
    let mut client = Http2::with_settings(connect(addr), &[(4, 0)]);
    let numbers: Vec<u32> = (0..10).map(|_| client.begin("localhost", &[])).collect();
    for number in numbers {
        client.send(DATA, 1, number, b"in");
    }
    client.end();
    Client::connect(addr).store("good");
}

/// The deadline of the whole body is far: it is the rate that ends this one.
#[test]
fn a_body_that_trickles_is_given_up() {
    let world = World::new();
    let options = HttpOptions::new()
        .body_timeout(LONG)
        .min_body_rate(1 << 20, SHORT);
    let (context, addr) = world.serve(options);
    let mut client = Client::connect(addr);
    client.send(format!("{HEAD}ha"));
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    let reason = answer.body["reason"].as_str().unwrap();
    assert!(reason.contains("1048576 bytes a second"), "{reason}");
    client.wait_for_end();
    let mut client = Http2::on(connect(addr));
    let number = client.begin("localhost", &[]);
    client.send(DATA, 0, number, b"ha");
    let outcome = client.outcome(number);
    assert_eq!(outcome.status(), 408, "{outcome:?}");
    assert!(matches!(client.post("in"), Outcome::Answer(200, _)));
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["in"]);
}

/// A thousand clients that say nothing, and a thousand that say half a head.
#[test]
fn a_good_client_is_served_beside_two_thousand_others() {
    // Each takes two descriptors of this process.
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let world = World::new();
    let options = HttpOptions::new()
        .max_connections_per_address(5000)
        .head_timeout(LONG);
    let (context, addr) = world.serve(options);
    let mut others = Vec::new();
    for count in 0..2000 {
        let mut other = Client::connect(addr);
        if count % 2 == 0 {
            other.send("POST / HTTP/1.1\r\nHost: local");
        }
        others.push(other);
        if count % 500 == 0 {
            Client::connect(addr).store("good");
        }
    }
    let mut good = Client::connect(addr);
    good.store("good");
    // Those that rested are served when they say something.
    for other in others.iter_mut().skip(1).step_by(200) {
        other.store("good");
    }
    others[0].send("host\r\n\r\n");
    assert_eq!(others[0].answer().unwrap().status, 400, "no record");
    drop(others);
    good.store("good");
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines(), ["good"; 16]);
}
