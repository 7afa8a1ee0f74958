//! A stream as an entry of a checkpoint.

use crate::frame::codec::{Bytes, put_bytes, put_number};
use crate::frame::config::Config;
use crate::frame::envelope::Place;
use crate::frame::links::Chain;
use crate::shared::core::Core;
use crate::state::batches::Batches;
use crate::state::producers::Producers;
use crate::state::stream::{Block, Extra, Stream, Terms};

/// The version that is written, and the only one there is.
const VERSION: u8 = 1;

const CLOSED: u8 = 1;
const DELETED: u8 = 2;
const HAS_SEQUENCE: u8 = 4;
const HAS_BATCHES: u8 = 8;
const KNOWN: u8 = 15;

fn put_place(out: &mut Vec<u8>, place: Place) {
    put_number(out, place.position);
    put_number(out, place.weight);
}

fn place(bytes: &mut Bytes<'_>) -> Option<Place> {
    Some(Place {
        position: bytes.number()?,
        weight: bytes.number()?,
    })
}

/// What is known of a stream, without its number.
pub(crate) fn encode(stream: &Stream, out: &mut Vec<u8>) {
    let none = Extra::default();
    let extra = stream.extra.as_deref().unwrap_or(&none);
    let flag = |is_there, flag| if is_there { flag } else { 0 };
    out.push(VERSION);
    out.push(
        flag(stream.is_closed, CLOSED)
            | flag(stream.is_deleted, DELETED)
            | flag(extra.stream_sequence.is_some(), HAS_SEQUENCE)
            | flag(extra.batches.is_some(), HAS_BATCHES),
    );
    let config = Config {
        name: &stream.name,
        content_type: &stream.content_type,
        lifetime: stream.lifetime().clone(),
        fork: stream.fork(),
        retention: stream.retention(),
    };
    config.encode(out);
    put_place(out, stream.start);
    put_place(out, stream.tail);
    stream.chain.encode(out);
    extra.producers.encode(out);
    if let Some(sequence) = &extra.stream_sequence {
        put_bytes(out, sequence);
    }
    if let Some(batches) = &extra.batches {
        batches.encode(out);
    }
    put_number(out, extra.moved.len() as u64);
    for block in &extra.moved {
        put_place(out, block.first);
        put_place(out, block.length);
        put_number(out, block.lsn);
    }
}

/// The stream of a number; `None` if the bytes are not what [`encode`] writes.
pub(crate) fn decode(core: &Core, number: u64, bytes: &[u8]) -> Option<Stream> {
    let mut bytes = Bytes(bytes);
    if bytes.byte()? != VERSION {
        return None;
    }
    let flags = bytes.byte()?;
    if flags & !KNOWN != 0 {
        return None;
    }
    let config = Config::decode(&mut bytes)?;
    let (start, tail) = (place(&mut bytes)?, place(&mut bytes)?);
    let chain = Chain::decode(&mut bytes)?;
    let producers = Producers::decode(&mut bytes)?;
    let stream_sequence = match flags & HAS_SEQUENCE {
        0 => None,
        _ => Some(bytes.bytes()?.into()),
    };
    let batches = match flags & HAS_BATCHES {
        0 => None,
        _ => Some(Box::new(Batches::decode(&mut bytes)?)),
    };
    let mut moved = Vec::new();
    for _ in 0..bytes.number()? {
        moved.push(Block {
            first: place(&mut bytes)?,
            length: place(&mut bytes)?,
            lsn: bytes.number()?,
        });
    }
    let extra = Extra {
        producers,
        stream_sequence,
        batches,
        terms: Terms::of(&config),
        moved,
    };
    let mut stream = Stream::of_parts(
        number,
        &config,
        &core.content_type(config.content_type),
        chain,
    );
    stream.is_closed = flags & CLOSED != 0;
    stream.is_deleted = flags & DELETED != 0;
    (stream.start, stream.tail) = (start, tail);
    stream.extra = (extra != Extra::default()).then(|| Box::new(extra));
    bytes.is_empty().then_some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::envelope::{Envelope, Kind, Mark};
    use crate::options::Options;
    use highwater_disk::SimDisk;
    use highwater_wal::Wal;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn core() -> Core {
        let options = Options::new()
            .disk(Arc::new(SimDisk::new()))
            .without_threads();
        let log = options
            .clone()
            .segment_bytes(64 << 10)
            .log_options()
            .unwrap();
        Core::new(Wal::open_with("/log", log).unwrap(), options)
    }

    /// A stream with everything.
    fn full(core: &Core) -> Stream {
        let config = Config {
            name: "a",
            content_type: "application/json",
            lifetime: crate::frame::config::Lifetime::Unlimited,
            fork: None,
            retention: crate::frame::config::Retention::default(),
        };
        let types = core.content_type(config.content_type);
        let mut stream = Stream::of_parts(0x107, &config, &types, Chain::begin(64));
        for index in 1..20 {
            let envelope = Envelope {
                kind: Kind::Data,
                stream: 0x107,
                index,
                first: stream.tail,
                length: Place {
                    position: 1,
                    weight: 2,
                },
                received_ms: 0,
                links: stream.chain.links(),
                closes: index == 19,
                mark: Some(Mark {
                    producer: "p",
                    epoch: 0,
                    sequence: index,
                }),
                batch: None,
                stream_sequence: Some(b"s"),
                config: None,
                start: None,
            };
            stream.apply(&envelope, 64 + 8 * index, 9).unwrap();
        }
        let moved = moved(&stream);
        stream.apply(&moved, 512, 9).unwrap();
        stream
    }

    fn moved(stream: &Stream) -> Envelope<'static> {
        Envelope {
            kind: Kind::Moved,
            stream: 0x107,
            index: 0,
            first: Place::default(),
            length: stream.tail,
            received_ms: 0,
            links: crate::frame::links::Links::default(),
            closes: false,
            mark: None,
            batch: None,
            stream_sequence: None,
            config: None,
            start: None,
        }
    }

    #[test]
    fn a_stream_with_everything_comes_back_and_its_bytes_are_frozen() {
        let core = core();
        let stream = full(&core);
        let mut bytes = Vec::new();
        encode(&stream, &mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0105000161106170706c69636174696f6e2f6a736f6e0000132614d8014001c0010101700013d801017301000013268004"
        );
        assert_eq!(decode(&core, 0x107, &bytes), Some(stream));
        for len in 0..bytes.len() {
            assert_eq!(decode(&core, 0x107, &bytes[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_are_refused_or_another_stream(at in 0..60_usize, byte: u8) {
            let core = core();
            let mut bytes = Vec::new();
            encode(&full(&core), &mut bytes);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&core, 0x107, &bytes);
        }
    }
}
