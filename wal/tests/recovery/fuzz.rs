//! The fuzz targets of `fuzz/` on fixed inputs: the inputs that a fuzzer found to reach most, those
//! that once failed, and random ones.

use crate::saved_seeds;
use crate::targets;
use highwater_wal::disk::sim::Rng;

fn random_inputs(target: fn(&[u8]), count: u64) {
    for seed in saved_seeds::seeds(0..count) {
        let mut rng = Rng::new(seed);
        let len = usize::try_from(rng.below(400)).unwrap();
        let data: Vec<u8> = (0..len).map(|_| rng.below(256).to_le_bytes()[0]).collect();
        let outcome = std::panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "random input {seed}: {data:?}");
    }
}

/// Seeds are lines of hexadecimal digits.
fn seeds(target: fn(&[u8]), lines: &str) {
    let inputs: Vec<_> = lines.lines().collect();
    assert!(inputs.len() > 100, "{}", inputs.len());
    for line in inputs {
        let digits: Vec<u32> = line.chars().map(|c| c.to_digit(16).unwrap()).collect();
        let bytes = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]);
        let data: Vec<u8> = bytes.map(|byte| byte.to_le_bytes()[0]).collect();
        let outcome = std::panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "seed {line}");
    }
}

/// P9, F41, F49: frames with right checksums and any content.
#[test]
fn frames() {
    seeds(
        targets::frames,
        include_str!("../../../fuzz/seeds/frames.hex"),
    );
    random_inputs(targets::frames, 500);
}

/// F33, F34, F39, F40: a killed log whose one segment was written over.
#[test]
fn segments() {
    seeds(
        targets::segment,
        include_str!("../../../fuzz/seeds/segment.hex"),
    );
    random_inputs(targets::segment, 500);
}

/// F33-F38: a closed log whose files were edited, cut, mixed up and taken away.
#[test]
fn directories() {
    seeds(
        targets::directory,
        include_str!("../../../fuzz/seeds/directory.hex"),
    );
    random_inputs(targets::directory, 500);
}

type Found = (fn(&[u8]), &'static [u8]);

/// What fuzzers once found: each made a target fail until the log was mended.
const FOUND: [Found; 5] = [
    // A file named 18446744073709551615.wal: positions in it overflowed.
    (targets::directory, b"\x22\x00\x18\x00\x00\x18"),
    // A forged frame that ends eight bytes before its segment: no seal fits behind it, and the next
    // rotation overflowed.
    (
        targets::segment,
        b"\xcb\x07\x50\xff\xff\xff\xff\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
        \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xb7\xff\x07\x21\x0d\x07\x33\x2f\x23\x00\x2c",
    ),
    // A stray file far behind the end: salvage made a segment as large as the gap before it.
    (
        targets::directory,
        b"\x60\x60\x10\x03\xf9\x60\x60\x60\x60\x10\x03\xf9\xa8\x74\x67\xa8\x60\x60\x10\x60\xf7",
    ),
    // A header damaged, its file made longer, and the next segment gone: repair took the gap for a
    // part of the former, and passed over what was missing.
    (
        targets::directory,
        b"\x43\x32\x4c\x32\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\
        \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x43",
    ),
    // The same with no header left that tells a size: its seal was taken for the end of all up to
    // the next file.
    (
        targets::directory,
        b"\x43\x48\x4c\x31\x43\x4d\x00\x00\x0d\x20\x20\x20\x20\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2f\x6c\x6f\x67\x2f\x30\x30\x30\x30\x30\x30\
        \x30\x30\x30\x30\x30\x30\x30\x30\x30\x30\x30\x30\x30\x30\x2e\x77\x61\x6c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x20\x20\x20\x20\x20\x20\x20\x20\x00\x00\x35\x0a",
    ),
];

#[test]
fn what_was_found_stays_mended() {
    for (target, data) in FOUND {
        target(data);
    }
}
