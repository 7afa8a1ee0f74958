//! Who may ask.

use crate::client::Client;
use crate::program::{World, run};
use highwater_connectors::{ServeStates, StateDoorOptions, Tls};
use highwater_engine::wal::disk::Disk;
use std::path::Path;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../http_transport/certificates/", $name)).as_slice()
    };
}

#[test]
fn only_clients_that_know_a_token_are_answered() {
    let options = StateDoorOptions::new()
        .token("one", "a-secret-of-one-client")
        .token("other", "a-secret-of-the-other");
    let world = World::new().serve(options);
    for header in [
        "",
        "Authorization: Bearer a-secret-of-one-clienT\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Basic a-secret-of-one-client\r\n",
        "Authorization: a-secret-of-one-client\r\n",
    ] {
        for target in ["/state", "/state/sums/a", "/changes/sums", "/nothing"] {
            let mut client = Client::connect(world.addr());
            let answer = client.with(target, header);
            assert_eq!(answer.refusal(), (401, "unauthorized"), "{header}");
            assert_eq!(answer.header("www-authenticate"), Some("bearer"));
            assert!(!answer.reason().contains("secret") && client.rest().is_empty());
        }
    }
    for secret in ["a-secret-of-one-client", "a-secret-of-the-other"] {
        let header = format!("Authorization: Bearer {secret}\r\n");
        let answer = Client::connect(world.addr()).with("/state", &header);
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn what_other_machines_reach_is_encrypted_and_asks_who_they_are() {
    let world = World::new();
    world.disk.create_dir_all(Path::new("/tls")).unwrap();
    world.disk.put_file("/tls/chain.pem", file!("first.pem"));
    world.disk.put_file("/tls/key.pem", file!("first.key"));
    let context = world.open();
    let tls = || Tls::files("/tls/chain.pem", "/tls/key.pem");
    let (new, token) = (StateDoorOptions::new, "a-secret-of-one-client");
    for (options, why) in [
        (new(), "is not encrypted"),
        (new().token("one", token), "is not encrypted"),
        (new().tls(tls()), "every program there may use it"),
        (
            new().token("one", "short"),
            "the token of \"one\" is shorter",
        ),
        (
            new().tls(Tls::files("/tls/none.pem", "/tls/key.pem")),
            "/tls/none.pem",
        ),
        (
            new().tls(Tls::files("/tls/key.pem", "/tls/key.pem")),
            "no certificate",
        ),
    ] {
        let error = context
            .serve_states("0.0.0.0:0", options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(why) && !error.contains(token), "{error}");
    }
    let fine = [
        new().insecure(),
        new().token("one", token).tls(tls()),
        new().tls(tls()).insecure(),
    ];
    for options in fine {
        context.serve_states("0.0.0.0:0", options).unwrap().stop();
    }
    let server = context.serve_states("127.0.0.1:0", new()).unwrap();
    let taken = server.local_addr().to_string();
    let error = context.serve_states(&taken, new()).unwrap_err().to_string();
    assert!(error.contains("cannot listen on"), "{error}");
}

#[test]
fn on_this_machine_pages_of_other_sites_are_not_answered() {
    let world = run();
    let ask = |head: &str| {
        let mut client = Client::connect(world.addr());
        std::io::Write::write_all(
            &mut client.stream,
            format!("GET /state HTTP/1.1\r\n{head}\r\n").as_bytes(),
        )
        .unwrap();
        client.answer()
    };
    for head in [
        "Host: attacker.example\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        "",
    ] {
        assert_eq!(ask(head).refusal(), (403, "forbidden"), "{head}");
    }
    for head in [
        "Host: 127.0.0.1:1\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n",
    ] {
        assert_eq!(ask(head).status, 200, "{head}");
    }
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut client = Client::connect(world.addr());
    client.send("GET", "/state", &many);
    assert!(client.head().starts_with("http/1.1 431 "));
}

#[test]
fn connections_are_bounded_and_feeds_keep_theirs() {
    let options = StateDoorOptions::new().max_connections(2);
    let world = World::new().serve(options);
    let mut feed = crate::client::Feed::follow(world.addr(), "sums", "");
    assert_eq!(feed.next().name, "from");
    let mut rests = Client::connect(world.addr());
    assert_eq!(rests.get("/state").status, 200);
    let mut third = Client::connect(world.addr());
    assert_eq!(third.get("/state").status, 200);
    assert_eq!(rests.rest(), b"");
    let batch = world.batch();
    assert_eq!(feed.next().id, Some(batch));
}
