//! The bound of mapped files: copy, and one `msync` of the group's range, on extents written and
//! faulted in before. Also the bound of replay: a mapped file of framed records, read in place with
//! their CRCs checked.

use super::group::{Group, GroupBuffer, Medium, RING_BYTES, Wait, create_ring};
use super::{Appender, Engine, Purpose, Role, Store};
use crate::record::{Digest, Records};
use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const PAGE: u64 = 4096;
/// `{length, crc32c}` before each record of the file that is replayed.
const HEADER: usize = 8;

pub struct BareMmap;

impl Engine for BareMmap {
    fn name(&self) -> &'static str {
        "bare-mmap"
    }

    fn role(&self) -> Role {
        Role::Bound
    }

    fn setting(&self) -> &'static str {
        "copy into a map + ranged msync per group, written extents, cohort wait of at most 40 µs"
    }

    fn replays(&self) -> Option<&'static str> {
        Some("CRC, in place")
    }

    fn open(&self, dir: &Path, purpose: Purpose) -> Box<dyn Store> {
        match purpose {
            Purpose::Append => {
                let file = create_ring(&dir.join("ring"));
                let map = MmapOptions::new()
                    .len(usize::try_from(RING_BYTES).unwrap())
                    .map_raw(&file)
                    .unwrap();
                map.advise(Advice::PopulateWrite).unwrap();
                Box::new(Group::new(Mapped(map), Wait::Cohort))
            }
            Purpose::Replay => Box::new(Frames::open(&dir.join("frames"))),
        }
    }

    fn fill(&self, dir: &Path, records: &mut Records) -> Box<dyn Store> {
        let path = dir.join("frames");
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(&path).unwrap());
        while let Some(batch) = records.next_batch() {
            for record in batch {
                let len = u32::try_from(record.len()).unwrap();
                out.write_all(&len.to_le_bytes()).unwrap();
                out.write_all(&crc32c::crc32c(record).to_le_bytes())
                    .unwrap();
                out.write_all(record).unwrap();
            }
        }
        out.into_inner().unwrap().sync_all().unwrap();
        Box::new(Frames::open(&path))
    }
}

struct Mapped(MmapRaw);

impl Medium for Mapped {
    fn alignment(&self) -> u64 {
        1
    }

    #[expect(unsafe_code, reason = "the bound of mapped files needs a map")]
    fn place(&self, offset: u64, bytes: &[u8], _group: &mut GroupBuffer) {
        let offset = usize::try_from(offset).unwrap();
        assert!(offset + bytes.len() <= self.0.len());
        // SAFETY: the range lies inside the map, as just asserted. The caller holds the lock of the
        // group, so no other thread writes; no thread reads through the map, the kernel writes the
        // pages back from the page cache.
        unsafe {
            self.0
                .as_mut_ptr()
                .add(offset)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    fn flush(&self, offset: u64, len: u64, _group: &[u8]) {
        let start = offset - offset % PAGE;
        let len = usize::try_from(offset + len - start).unwrap();
        self.0
            .flush_range(usize::try_from(start).unwrap(), len)
            .unwrap();
    }

    fn hand_over(&self, _offset: u64, _group: &[u8]) {}

    /// A page that was written back faults at its next store: it is faulted in ahead, by who trims.
    fn prepare(&self, offset: u64, len: u64) {
        let start = offset - offset % PAGE;
        let (start, len) = (
            usize::try_from(start).unwrap(),
            usize::try_from(len).unwrap(),
        );
        self.0
            .advise_range(Advice::PopulateWrite, start, len)
            .unwrap();
    }
}

/// Framed records in a file that does not change.
struct Frames(Mmap);

impl Frames {
    #[expect(unsafe_code, reason = "the bound of replay reads in place")]
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        // SAFETY: the file lies in the directory of this cell, which no other program uses, and is
        // not changed any more.
        Self(unsafe { Mmap::map(&file) }.unwrap())
    }
}

impl Store for Frames {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        unreachable!("what is replayed is not appended to");
    }

    fn replay(&self, digest: &mut Digest) {
        let mut bytes = &self.0[..];
        while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
            let len = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
            let crc = u32::from_le_bytes(header[4..].try_into().unwrap());
            let (record, rest) = rest.split_at(len);
            assert_eq!(crc32c::crc32c(record), crc, "a record is damaged");
            digest.add(record);
            bytes = rest;
        }
    }
}
