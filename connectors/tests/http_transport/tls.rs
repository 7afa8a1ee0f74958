//! Encryption: who gets in, and which certificate is shown.

use crate::client::{
    AUTHORITY, CLIENT, Client, Encryption, FIRST, LOCKED_KEY, OTHERS, SECOND, STRANGER, World,
    shows,
};
use crate::common::{open, stats};
use crate::frames::Http2;
use highwater_connectors::{HttpOptions, Sources, Tls};
use highwater_engine::BatchMode;
use highwater_http::tokio_rustls::rustls::SupportedProtocolVersion;
use highwater_http::tokio_rustls::rustls::version::{TLS12, TLS13};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Each of them, alone.
static VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// The certificate that is shown to a new client.
fn shown(addr: SocketAddr, certificate: [&[u8]; 2]) -> bool {
    shows(&Encryption::default().connect(addr).unwrap(), certificate)
}

/// What the context says when it does not start on `addr`.
fn start(world: &World, addr: &str, options: HttpOptions) -> Result<(), String> {
    let context = open(
        Arc::new(world.disk.clone()),
        BatchMode::Manual,
        &world.collected,
        |ssc| ssc.http_with("events", addr, options),
    );
    let context = context.unwrap();
    context.start().map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn both_versions_and_both_protocols_are_spoken() {
    let world = World::new();
    let (context, addr) = world.serve(HttpOptions::new().tls(World::tls()));
    for versions in VERSIONS {
        for protocols in [&[][..], HTTP1] {
            let encryption = Encryption {
                versions,
                protocols,
                own: None,
            };
            let stream = encryption.connect(addr).unwrap();
            assert_eq!(stream.conn.alpn_protocol(), protocols.first().copied());
            let mut client = Client::on(stream);
            client.store("one");
            client.store("two");
        }
        let encryption = Encryption {
            versions,
            protocols: &[b"h2", b"http/1.1"],
            own: None,
        };
        let stream = encryption.connect(addr).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(b"h2".as_slice()));
        let mut client = Http2::on(stream);
        assert_eq!(client.post("three").status(), 200);
    }
    context.run_batch().unwrap();
    assert_eq!(world.collected.lines().len(), 10);
}

/// Files that have changed are seen by the receiver itself when a client comes; open connections go
/// on.
#[test]
fn a_new_certificate_is_taken_up_while_connections_are_open() {
    let world = World::new();
    let tls = World::tls().check_every(Duration::ZERO);
    let (context, addr) = world.serve(HttpOptions::new().tls(tls));
    let stream = Encryption::default().connect(addr).unwrap();
    assert!(shows(&stream, FIRST));
    let mut before = Client::on(stream);
    before.store("before");
    world.put(SECOND);
    assert!(shown(addr, SECOND));
    before.store("after");
    // Of no use: half a file, a key of another certificate, no file. The last good one stays.
    for (chain, key) in [(&SECOND[0][..100], SECOND[1]), (FIRST[0], SECOND[1])] {
        let errors = stats(&context).errors;
        world.put([chain, key]);
        assert!(shown(addr, SECOND));
        assert!(shown(addr, SECOND));
        assert_eq!(stats(&context).errors, errors + 1, "it is reported once");
    }
    world.disk.delete_file("/tls/key.pem");
    assert!(shown(addr, SECOND));
    assert_eq!(stats(&context).errors, 3);
    world.put(FIRST);
    assert!(shown(addr, FIRST));
    before.store("at the end");
}

#[test]
fn a_program_says_when_to_read_the_certificate_again() {
    let world = World::new();
    let tls = World::tls().check_every(Duration::MAX);
    tls.reload().unwrap(); // nothing is there yet, and nothing is wrong
    let (_context, addr) = world.serve(HttpOptions::new().tls(tls.clone()));
    world.put(SECOND);
    assert!(shown(addr, FIRST), "it was not asked");
    tls.reload().unwrap();
    assert!(shown(addr, SECOND));
    world.put([FIRST[0], SECOND[1]]);
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("does not belong"), "{error}");
    assert!(error.contains("/tls/key.pem") && error.contains("/tls/chain.pem"));
    assert!(shown(addr, SECOND));
}

#[test]
fn what_is_no_certificate_is_told_when_the_context_starts() {
    let world = World::new();
    for (name, content) in [
        ("empty.pem", &b""[..]),
        ("cut.pem", &FIRST[0][..100]),
        ("locked.key", LOCKED_KEY),
        ("other.key", SECOND[1]),
        ("long.pem", &[b'x'; (1 << 20) + 1]),
        (
            "bad.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        (
            "bad.key",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
    ] {
        world.disk.put_file(format!("/tls/{name}"), content);
    }
    for (chain, key, client_ca, file, reason) in [
        (
            "none.pem",
            "key.pem",
            None,
            "none.pem",
            "cannot read the certificate",
        ),
        (
            "chain.pem",
            "none.key",
            None,
            "none.key",
            "cannot read the private key",
        ),
        (
            "chain.pem",
            "key.pem",
            Some("none.pem"),
            "none.pem",
            "cannot read the client authority",
        ),
        (
            "long.pem",
            "key.pem",
            None,
            "long.pem",
            "more than 1048576 bytes",
        ),
        (
            "empty.pem",
            "key.pem",
            None,
            "empty.pem",
            "no certificate in it",
        ),
        (
            "key.pem",
            "key.pem",
            None,
            "key.pem",
            "no certificate in it",
        ),
        (
            "chain.pem",
            "key.pem",
            Some("empty.pem"),
            "empty.pem",
            "no certificate in it",
        ),
        ("cut.pem", "key.pem", None, "cut.pem", "no sound PEM"),
        ("bad.pem", "key.pem", None, "bad.pem", "cannot be used"),
        (
            "chain.pem",
            "key.pem",
            Some("bad.pem"),
            "bad.pem",
            "no authority",
        ),
        (
            "chain.pem",
            "chain.pem",
            None,
            "chain.pem",
            "no private key in it",
        ),
        (
            "chain.pem",
            "locked.key",
            None,
            "locked.key",
            "takes a password off",
        ),
        ("chain.pem", "bad.key", None, "bad.key", "cannot be used"),
        (
            "chain.pem",
            "other.key",
            None,
            "other.key",
            "does not belong",
        ),
    ] {
        let path = |name: &str| format!("/tls/{name}");
        let mut tls = Tls::files(path(chain), path(key));
        if let Some(name) = client_ca {
            tls = tls.client_ca(path(name));
        }
        let options = HttpOptions::new().tls(tls);
        let error = start(&world, "127.0.0.1:0", options).unwrap_err();
        assert!(error.contains(reason), "{chain}, {key}: {error}");
        assert!(error.contains(&path(file)), "{chain}, {key}: {error}");
    }
}

/// A client that has no certificate of the authority does not even begin a request.
#[test]
fn clients_may_be_asked_for_a_certificate() {
    let world = World::new();
    world.disk.put_file("/tls/senders.pem", AUTHORITY);
    let tls = World::tls()
        .client_ca("/tls/senders.pem")
        .check_every(Duration::MAX);
    let (context, addr) = world.serve(HttpOptions::new().tls(tls.clone()));
    let may_write = |versions, own, text: &str| {
        let encryption = Encryption {
            versions,
            protocols: &[],
            own,
        };
        // With TLS 1.3 a client knows only from what it reads that it is refused.
        let stream = encryption.connect(addr);
        let answer = stream.ok().and_then(|stream| Client::on(stream).post(text));
        answer.is_some_and(|answer| answer.status == 200)
    };
    for versions in VERSIONS {
        assert!(may_write(versions, Some(CLIENT), "client"));
        assert!(!may_write(versions, None, "without"));
        assert!(!may_write(versions, Some(STRANGER), "stranger"));
    }
    world.disk.put_file("/tls/senders.pem", OTHERS);
    tls.reload().unwrap();
    for versions in VERSIONS {
        assert!(!may_write(versions, Some(CLIENT), "client no more"));
        assert!(may_write(versions, Some(STRANGER), "stranger"));
    }
    context.run_batch().unwrap();
    let expected = ["client", "client", "stranger", "stranger"];
    assert_eq!(world.collected.lines(), expected);
}

#[test]
fn other_machines_reach_it_only_with_encryption_and_known_senders() {
    let world = World::new();
    world.disk.put_file("/tls/senders.pem", AUTHORITY);
    let start = |options| start(&world, "0.0.0.0:0", options);
    let (token, tls) = (
        HttpOptions::new().token("shop", "correct-horse-battery"),
        World::tls(),
    );
    let error = start(token.clone()).unwrap_err();
    assert!(error.contains("HttpOptions::tls"), "{error}");
    let error = start(HttpOptions::new().tls(tls.clone())).unwrap_err();
    assert!(error.contains("Tls::client_ca"), "{error}");
    start(token.clone().tls(tls.clone())).unwrap();
    start(HttpOptions::new().tls(tls.clone().client_ca("/tls/senders.pem"))).unwrap();
    start(HttpOptions::new().tls(tls).insecure()).unwrap();
    start(token.insecure()).unwrap();
}

/// A clone that was made before an authority was named must not take it away again.
#[test]
fn settings_of_a_clone_are_its_own() {
    let world = World::new();
    world.disk.put_file("/tls/senders.pem", AUTHORITY);
    let open = World::tls();
    let (_open_context, open_addr) = {
        let other = World::new();
        other.serve(HttpOptions::new().tls(open.clone()))
    };
    let closed = open.clone().client_ca("/tls/senders.pem");
    let (_context, addr) = world.serve(HttpOptions::new().tls(closed.check_every(Duration::MAX)));
    open.reload().unwrap();
    Client::on(Encryption::default().connect(open_addr).unwrap()).store("in");
    let stream = Encryption::default().connect(addr);
    let answer = stream
        .ok()
        .and_then(|stream| Client::on(stream).post("out"));
    assert!(answer.is_none(), "{answer:?}");
}

#[test]
fn nothing_of_a_key_is_in_what_is_printed() {
    let world = World::new();
    let tls = World::tls();
    let options = HttpOptions::new().tls(tls.clone());
    let (_context, _) = world.serve(options.clone());
    let key = std::str::from_utf8(FIRST[1]).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for printed in [format!("{tls:?}"), format!("{options:?}")] {
        assert!(printed.contains("/tls/key.pem"), "{printed}");
        assert!(!printed.contains(secret), "{printed}");
    }
    // A key that is damaged is not told either.
    let damaged = key.replace("-----END", "-?---END");
    world.put([FIRST[0], damaged.as_bytes()]);
    let error = tls.reload().unwrap_err().to_string();
    assert!(!error.contains(&secret[..20]), "{error}");
}
