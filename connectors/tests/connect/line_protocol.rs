//! Whatever a client of `socket_listen` sends, and however it is cut into packets: each line has
//! its own answer in its place, and what was acknowledged is what is there after a power cut.

use crate::common::{Client, Collected, by_hand};
use highwater_connectors::{BoundAddress, ListenOptions, Sources};
use highwater_engine::StreamingContext;
use highwater_engine::wal::disk::SimDisk;
use proptest::prelude::*;
use std::net::SocketAddr;

/// The longest line of these tests.
const MAX: usize = 40;

fn serve(
    disk: &SimDisk,
    collected: &Collected,
    is_numbered: bool,
) -> (StreamingContext, SocketAddr) {
    let bound = BoundAddress::new();
    let mut options = ListenOptions::new().max_line_bytes(MAX).report_to(&bound);
    if is_numbered {
        options = options.dedup();
    }
    let context = by_hand(disk, collected, |ssc| {
        ssc.socket_listen_with("lines", "127.0.0.1:0", options)
    });
    (context, bound.get().unwrap())
}

/// The content of a line, without its end.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Runs of good lines, so that many share a frame.
        12 => "[a-zä€𝄞 ]{0,9}".prop_map(String::into_bytes),
        // Around the limit, where the bytes of a character count.
        2 => (MAX - 2..MAX + 3).prop_map(|len| vec![b'x'; len]),
        1 => Just("ä".repeat(MAX / 2).into_bytes()),
        1 => (MAX..5 * MAX).prop_map(|len| vec![b'y'; len]),
        // Not UTF-8: a byte that begins nothing, and a character that is cut off by the line end.
        1 => Just(b"caf\xe9".to_vec()),
        1 => Just(b"\xe2\x82".to_vec()),
        // What could be taken for a line end.
        1 => Just(b"a\rb".to_vec()),
        1 => Just(b"\r".to_vec()),
    ]
}

#[derive(Debug, Clone)]
struct Sent {
    content: Vec<u8>,
    /// In the form for deduplication: the producer and its number.
    number: (u8, u64),
    has_return: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    (content(), (0..2_u8, 0..6_u64), any::<bool>()).prop_map(|(content, number, has_return)| Sent {
        content,
        number,
        has_return,
    })
}

/// What is to be answered.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Ok,
    Duplicate,
    Err(&'static str),
}

/// A server that sees one whole line after the other.
#[derive(Debug, Default)]
struct Model {
    newest: [Option<u64>; 2],
    stored: Vec<String>,
}

impl Model {
    /// The bytes of a line as they are sent, without `\n`, and its answer.
    fn take(&mut self, sent: &Sent, is_numbered: bool) -> (Vec<u8>, Expected) {
        let (producer, sequence) = (usize::from(sent.number.0), sent.number.1);
        let mut line = Vec::new();
        if is_numbered {
            line.extend(format!("p{producer} {sequence} ").into_bytes());
        }
        let head = line.len();
        line.extend(&sent.content);
        if sent.has_return {
            line.push(b'\r');
        }
        // A return before the line end belongs to it.
        let whole = line.strip_suffix(b"\r").unwrap_or(&line);
        let expected = match std::str::from_utf8(whole) {
            _ if whole.len() > MAX => Expected::Err("err too long: "),
            Err(_) => Expected::Err("err not utf-8: "),
            Ok(_) if is_numbered && self.newest[producer] >= Some(sequence) => Expected::Duplicate,
            Ok(text) => {
                self.newest[producer] = Some(sequence);
                self.stored.push(text[head..].to_owned());
                Expected::Ok
            }
        };
        (line, expected)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_line_is_answered_in_its_place_and_what_is_acknowledged_survives(
        lines in proptest::collection::vec(sent(), 1..60),
        packets in proptest::collection::vec(1..200_usize, 1..8),
        half in "[a-z]{0,5}",
        is_numbered in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut model = Model::default();
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for line in &lines {
            let (bytes, answer) = model.take(line, is_numbered);
            stream.extend(bytes);
            stream.push(b'\n');
            expected.push(answer);
        }
        stream.extend(half.as_bytes()); // never ends, so it is never stored
        let (disk, collected) = (SimDisk::new(), Collected::default());
        let (context, addr) = serve(&disk, &collected, is_numbered);
        let mut client = Client::connect(addr);
        client.stream.set_nodelay(true).unwrap();
        let mut rest = &stream[..];
        for packet in packets.iter().cycle() {
            let (now, later) = rest.split_at((*packet).min(rest.len()));
            client.send(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let mut newest = 0;
        for expected in &expected {
            let answer = client.answer();
            let (lsn, is_duplicate) = match answer.strip_prefix("ok ") {
                Some(lsn) => (lsn.strip_suffix(" duplicate").unwrap_or(lsn), lsn.ends_with('e')),
                None => ("", false),
            };
            match expected {
                Expected::Err(start) => {
                    prop_assert!(answer.starts_with(start), "{answer} for {start}");
                    continue;
                }
                Expected::Ok => prop_assert!(!is_duplicate, "{answer}"),
                Expected::Duplicate => prop_assert!(is_duplicate, "{answer}"),
            }
            let lsn: u64 = lsn.parse().unwrap();
            prop_assert!(lsn < context.log().durable_lsn().get(), "acknowledged before durable");
            if *expected == Expected::Ok {
                prop_assert!(lsn >= newest, "{lsn} after {newest}");
                newest = lsn;
            }
        }
        disk.cut_power_now();
        let (disk, collected) = (disk.restart_after_power_cut(seed), Collected::default());
        let (context, _) = serve(&disk, &collected, is_numbered);
        context.run_batch().unwrap();
        prop_assert_eq!(collected.lines(), model.stored);
    }

    /// The power is cut while lines arrive and are answered.
    #[test]
    fn a_power_cut_among_answers_takes_no_line_that_has_one(
        count in 1..4000_usize,
        cut in 0..60_u64,
        seed in any::<u64>(),
    ) {
        let (disk, collected) = (SimDisk::new(), Collected::default());
        let (context, addr) = serve(&disk, &collected, false);
        disk.cut_power_before(disk.mutations() + cut);
        let lines: Vec<String> = (0..count).map(|i| format!("line {i}")).collect();
        let mut client = Client::connect(addr);
        let text = lines.join("\n") + "\n";
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            // The server hangs up when its log has failed.
            let _ = std::io::Write::write_all(&mut sender, text.as_bytes());
        });
        let mut acknowledged = 0;
        while acknowledged < count && client.try_answer().is_some_and(|a| a.starts_with("ok ")) {
            acknowledged += 1;
        }
        drop(client);
        drop(context);
        sending.join().unwrap();
        disk.cut_power_now();
        let (disk, collected) = (disk.restart_after_power_cut(seed), Collected::default());
        let (context, _) = serve(&disk, &collected, false);
        context.run_batch().unwrap();
        let found = collected.lines();
        prop_assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
        prop_assert_eq!(&found[..], &lines[..found.len()], "in their order, without a hole");
    }
}
