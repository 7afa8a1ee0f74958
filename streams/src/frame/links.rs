//! Links: how a frame of a stream is found without an index.
//!
//! Each frame of a stream names earlier ones by their LSN: the one before it, and the newest one
//! whose number is a multiple of 16. A frame whose own number is such a multiple names the newest
//! multiples of 256 as well, and so on. From the newest frame any other is reached in at most 15
//! steps per power of 16. Frame 0 is a multiple of all, so it ends every chain of links.

use crate::frame::codec::{Bytes, put_number};

/// Links of a frame at most: with 4 billion frames the farthest ones begin to take more steps.
pub(crate) const LEVELS: usize = 9;

const BITS: u32 = 4;

/// LSNs of earlier frames: the one before, then by ascending power of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Links {
    lsns: [u64; LEVELS],
    len: usize,
}

impl Links {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.len as u64);
        for lsn in self.as_slice() {
            put_number(out, *lsn);
        }
    }

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut links = Self::default();
        let len = usize::try_from(bytes.number()?).ok()?;
        if len > LEVELS {
            return None;
        }
        for _ in 0..len {
            links.push(bytes.number()?);
        }
        Some(links)
    }

    /// The frame before, then frames ever farther back.
    pub(crate) fn as_slice(&self) -> &[u64] {
        self.lsns.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, lsn: u64) {
        if let Some(place) = self.lsns.get_mut(self.len) {
            *place = lsn;
            self.len += 1;
        }
    }
}

/// What is known of the frames of a stream, for the links of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How many there are: never 0.
    pub(crate) frames: u64,
    /// LSN of the newest.
    pub(crate) newest: u64,
    /// LSN of frame 0.
    pub(crate) oldest: u64,
    /// LSN of the newest frame whose number is a multiple of 16, of 256, and so on, as far as it is
    /// not frame 0. Boxed, since most streams are short.
    ups: Option<Box<Ups>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ups {
    lsns: [u64; LEVELS - 1],
    len: usize,
}

impl Chain {
    /// The chain of one frame.
    pub(crate) fn begin(lsn: u64) -> Self {
        Self {
            frames: 1,
            newest: lsn,
            oldest: lsn,
            ups: None,
        }
    }

    fn ups(&self) -> &[u64] {
        let of = |ups: &Ups| ups.len;
        let len = self.ups.as_deref().map_or(0, of);
        let ups = self.ups.as_deref().and_then(|ups| ups.lsns.get(..len));
        ups.unwrap_or_default()
    }

    /// The links of the next frame.
    pub(crate) fn links(&self) -> Links {
        let mut links = Links::default();
        links.push(self.newest);
        // One more level than its own number is a multiple of.
        let levels = 1 + (self.frames.trailing_zeros() / BITS) as usize;
        let known = self.ups();
        for level in 0..levels {
            let Some(lsn) = known.get(level) else {
                links.push(self.oldest);
                break;
            };
            links.push(*lsn);
        }
        links
    }

    /// The next frame is at `lsn`.
    pub(crate) fn push(&mut self, lsn: u64) {
        let levels = (self.frames.trailing_zeros() / BITS) as usize;
        if levels > 0 {
            let ups = self.ups.get_or_insert_default();
            for place in ups.lsns.iter_mut().take(levels) {
                *place = lsn;
            }
            ups.len = ups.len.max(levels.min(LEVELS - 1));
        }
        self.frames += 1;
        self.newest = lsn;
    }

    /// Bytes in memory, apart from its own.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.ups.as_deref().map_or(0, size_of_val)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.frames);
        put_number(out, self.newest);
        put_number(out, self.oldest);
        put_number(out, self.ups().len() as u64);
        for lsn in self.ups() {
            put_number(out, *lsn);
        }
    }

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (frames, newest, oldest) = (bytes.number()?, bytes.number()?, bytes.number()?);
        let len = usize::try_from(bytes.number()?).ok()?;
        if frames == 0 || len > LEVELS - 1 {
            return None;
        }
        let mut ups = Ups {
            len,
            ..Ups::default()
        };
        for place in ups.lsns.iter_mut().take(len) {
            *place = bytes.number()?;
        }
        Some(Self {
            frames,
            newest,
            oldest,
            ups: (len > 0).then(|| Box::new(ups)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Frame n is at LSN 8 n + 800.
    fn chain_of(frames: u64) -> (Chain, Vec<Links>) {
        let mut chain = Chain::begin(800);
        let mut all = vec![Links::default()];
        for n in 1..frames {
            all.push(chain.links());
            chain.push(8 * n + 800);
        }
        (chain, all)
    }

    #[test]
    fn every_frame_is_reached_in_few_steps() {
        let (chain, all) = chain_of(10_000);
        let number = |lsn: u64| (lsn - 800) / 8;
        let mut most = 0;
        for wanted in 0..10_000 {
            let (mut at, mut steps) = (number(chain.newest), 0);
            while at != wanted {
                let links = all[usize::try_from(at).unwrap()];
                let farthest = links.as_slice().iter().map(|lsn| number(*lsn));
                at = farthest.filter(|n| *n >= wanted).min().unwrap();
                steps += 1;
            }
            most = most.max(steps);
        }
        assert!(most <= 4 * 15, "{most}");
        let sizes: HashMap<usize, usize> = all.iter().fold(HashMap::new(), |mut sizes, links| {
            *sizes.entry(links.as_slice().len()).or_default() += 1;
            sizes
        });
        assert!(sizes[&2] > 9_000, "most frames have two links: {sizes:?}");
    }

    #[test]
    fn chains_come_back_and_go_on_the_same() {
        for frames in [1, 2, 16, 17, 255, 256, 257, 4097, 70_000] {
            let (mut chain, _) = chain_of(frames);
            let mut bytes = Vec::new();
            chain.encode(&mut bytes);
            let mut read = Bytes(&bytes);
            let mut back = Chain::decode(&mut read).unwrap();
            assert!(read.is_empty());
            assert_eq!(back, chain);
            chain.push(u64::MAX);
            back.push(u64::MAX);
            assert_eq!(back.links(), chain.links());
            for len in 0..bytes.len() {
                assert_eq!(Chain::decode(&mut Bytes(&bytes[..len])), None);
            }
        }
    }
}
