//! Decompressing, within bounds: a few bytes can stand for gigabytes, or ask for a window of them.

use crate::batch::refused::Refused;
use crate::wire::error::Code;
use std::borrow::Cow;
use std::io::{self, Read};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The largest window of zstd, as a power of two: 8 MiB, what decoders must support by its
/// specification ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878), 3.1.1.1.2).
const MAX_ZSTD_WINDOW: u32 = 23;

/// How clients in Java begin what they compress with Snappy: in blocks, each after its length,
/// after 16 bytes (the last 8 are two versions). Others send one block as it is.
const SNAPPY_BLOCKS: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_HEAD: usize = 16;

impl Codec {
    /// By the number that a batch has.
    pub(crate) fn of(number: u16) -> Result<Self, Refused> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Refused::new(
                Code::UnsupportedCompressionType,
                format!("there is no compression {other}"),
            )),
        }
    }

    /// What `compressed` stands for, of at most `max` bytes.
    pub(crate) fn decompress(
        self,
        compressed: &[u8],
        max: usize,
    ) -> Result<Cow<'_, [u8]>, Refused> {
        let owned = |bytes| Ok(Cow::Owned(bytes));
        match self {
            Self::None if compressed.len() > max => Err(too_large(max)),
            Self::None => Ok(Cow::Borrowed(compressed)),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(compressed), max).and_then(owned),
            Self::Snappy => snappy(compressed, max).and_then(owned),
            Self::Lz4 => read(lz4_flex::frame::FrameDecoder::new(compressed), max).and_then(owned),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(compressed);
                let decoder = decoder.and_then(|mut decoder| {
                    decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                    Ok(decoder)
                });
                read(decoder.map_err(|e| damaged(&e))?, max).and_then(owned)
            }
        }
    }
}

fn too_large(max: usize) -> Refused {
    let reason = format!("the records of a batch may have {max} bytes");
    Refused::new(Code::MessageTooLarge, reason)
}

fn damaged(error: &io::Error) -> Refused {
    Refused::corrupt(format!("its records cannot be decompressed: {error}"))
}

fn read(decoder: impl Read, max: usize) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let one_more = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut decoder = decoder.take(one_more);
    decoder.read_to_end(&mut out).map_err(|e| damaged(&e))?;
    match out.len() > max {
        true => Err(too_large(max)),
        false => Ok(out),
    }
}

fn snappy(compressed: &[u8], max: usize) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    if !compressed.starts_with(SNAPPY_BLOCKS) {
        snappy_block(compressed, max, &mut out)?;
        return Ok(out);
    }
    let mut rest = compressed.get(SNAPPY_HEAD..).unwrap_or_default();
    while !rest.is_empty() {
        let cut = rest.split_first_chunk().and_then(|(len, rest)| {
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            rest.split_at_checked(len)
        });
        let (block, after) = cut.ok_or_else(|| Refused::corrupt("a block of Snappy is cut off"))?;
        snappy_block(block, max, &mut out)?;
        rest = after;
    }
    Ok(out)
}

fn snappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
    let damaged = |error: snap::Error| damaged(&io::Error::other(error));
    let len = snap::raw::decompress_len(block).map_err(damaged)?;
    let begin = out.len();
    if begin.saturating_add(len) > max {
        return Err(too_large(max));
    }
    out.resize(begin + len, 0);
    let place = out.get_mut(begin..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, place);
    match written.map_err(damaged)? == len {
        true => Ok(()),
        false => Err(Refused::corrupt(
            "a block of Snappy is shorter than it says",
        )),
    }
}
