//! Compressed bodies. What they become is bounded as other bodies are: a body of 16 KiB can be one
//! of 16 MiB, and ask for a window of gigabytes.

use crate::http::answer::Refusal;
use flate2::read::MultiGzDecoder;
use highwater_http::request_body::WholeBody;
use hyper::StatusCode;
use std::io::{self, Read};

/// The largest window of zstd, as a power of two: 8 MiB, what decoders must support by its
/// specification ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878), 3.1.1.1.2).
const MAX_ZSTD_WINDOW: u32 = 23;
/// Memory for the output is taken from the budget in steps.
const STEP_BYTES: usize = 64 << 10;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// By the header `content-encoding`. One layer: each could be a thousand times the one before.
    pub(super) fn of(header: Option<&str>) -> Result<Self, Refusal> {
        match header.map(str::to_ascii_lowercase).as_deref() {
            None | Some("identity") => Ok(Self::Identity),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            Some(other) => {
                let reason =
                    format!("content-encoding {other:?}: this source takes gzip, zstd, or none");
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).closing())
            }
        }
    }

    /// The body that `compressed` stands for, of at most `max` bytes.
    ///
    /// # Errors
    /// 413 if it is longer; 429 if the budget is used up; 400 if it is damaged.
    pub(super) fn decoded(self, compressed: WholeBody, max: usize) -> Result<WholeBody, Refusal> {
        let input = &*compressed.bytes;
        match self {
            Self::Identity => Ok(compressed),
            Self::Gzip => read_all(MultiGzDecoder::new(input), &compressed, max),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input);
                let decoder = decoder.and_then(|mut decoder| {
                    decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                    Ok(decoder)
                });
                read_all(decoder.map_err(|e| damaged(&e))?, &compressed, max)
            }
        }
    }
}

fn read_all(
    mut decoder: impl Read,
    compressed: &WholeBody,
    max: usize,
) -> Result<WholeBody, Refusal> {
    let mut body = compressed.another();
    let mut step = vec![0; STEP_BYTES];
    loop {
        match decoder.read(&mut step) {
            Ok(0) => return Ok(body),
            Ok(count) => body.push(step.get(..count).unwrap_or_default(), max)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(&error)),
        }
    }
}

fn damaged(error: &io::Error) -> Refusal {
    Refusal::bad(format!("the body cannot be decompressed: {error}"))
}
