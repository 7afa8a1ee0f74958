//! A state file that is being filled.

use crate::format::FORMAT_VERSION;
use crate::state_file::block::PackedBlock;
use crate::state_file::header::file_header;
use crate::state_file::index::{self, IndexEntry};
use crate::store::names::StateName;

/// A state file that is being filled in memory.
#[derive(Debug)]
pub(crate) struct StateFile {
    log_id: u128,
    name: StateName,
    bytes: Vec<u8>,
    index: Vec<IndexEntry>,
}

impl StateFile {
    pub(crate) fn new(log_id: u128, name: StateName) -> Self {
        Self {
            log_id,
            name,
            bytes: file_header(FORMAT_VERSION, log_id, name),
            index: Vec::new(),
        }
    }

    /// Appends a block.
    pub(crate) fn push(&mut self, PackedBlock { info, stored }: &PackedBlock) {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(stored);
        self.index.push(IndexEntry {
            info: *info,
            offset,
            crc32c: info.crc(self.log_id, self.name, offset, stored),
        });
    }

    /// How long the file would be with a block of so many bytes more.
    pub(crate) fn len_with(&self, more: u64) -> u64 {
        const PER_BLOCK: u64 = 80;
        let index = (self.index.len() as u64 + 1) * PER_BLOCK;
        self.bytes.len() as u64 + more + index
    }

    /// The whole file, and what is in it.
    pub(crate) fn finish(mut self) -> (StateName, Vec<u8>, Vec<IndexEntry>) {
        let end = self.bytes.len() as u64;
        let index = index::encode(self.log_id, self.name, end, &self.index);
        self.bytes.extend_from_slice(&index);
        (self.name, self.bytes, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::document::BlockKind;
    use crate::merge::Payload;
    use crate::options::Layout;
    use crate::state_file::block::{BlockInfo, Packing};
    use crate::store::error::StoreError;
    use crate::store::{Store, StoredFile};
    use std::io;

    /// One file.
    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl Store for Bytes {
        fn place(&self) -> String {
            "memory".to_owned()
        }
        fn prepare(&self) -> io::Result<()> {
            Ok(())
        }
        fn put_new(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn len(&self, _: &str) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn get_range(&self, _: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
            let (from, len) = (
                usize::try_from(offset).unwrap(),
                usize::try_from(len).unwrap(),
            );
            let bytes = self.0.get(from..from + len);
            bytes
                .map(<[u8]>::to_vec)
                .ok_or(io::ErrorKind::UnexpectedEof.into())
        }
        fn list(&self) -> io::Result<Vec<StoredFile>> {
            Ok(Vec::new())
        }
        fn delete(&self, _: &[String]) -> Result<(), StoreError> {
            Ok(())
        }
    }

    const NAME: StateName = StateName {
        number: 3,
        attempt: 9,
        part: 0,
    };

    fn block(key_group: u32) -> PackedBlock {
        let info = BlockInfo {
            state: 1,
            key_group,
            kind: BlockKind::Delta,
            packing: Packing::Plain,
            after: 1,
            upto: 3,
            len: 0,
            raw_len: 0,
            removed: 0,
            entries: 0,
        };
        let payload = Payload {
            removed: 1,
            entries: 2,
            bytes: format!("payload of {key_group}").into_bytes(),
        };
        PackedBlock::new(info, &payload, Layout::Rows)
    }

    fn file(blocks: u32) -> (Vec<u8>, Vec<IndexEntry>) {
        let mut file = StateFile::new(5, NAME);
        (0..blocks).for_each(|group| file.push(&block(group)));
        let (_, bytes, index) = file.finish();
        (bytes, index)
    }

    /// Also one whose index is longer than what is read at first.
    #[test]
    fn the_index_of_a_file_is_found() {
        for blocks in [0, 1, 5, 3000] {
            let (bytes, index) = file(blocks);
            let size = bytes.len() as u64;
            let found = index::read(&Bytes(bytes), 5, NAME, size).unwrap();
            assert_eq!(found, index);
        }
    }

    /// F33, F38, F39: a flipped bit, or a whole file of another log, checkpoint or place.
    #[test]
    fn an_index_opens_nowhere_else() {
        let (bytes, index) = file(3);
        let size = bytes.len() as u64;
        let begin = index.last().map(|e| e.offset + e.info.len).unwrap();
        let begin = usize::try_from(begin).unwrap();
        for bit in begin * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = index::read(&Bytes(flipped), 5, NAME, size);
            assert!(read.is_err(), "bit {bit}");
        }
        let read = |log, name| index::read(&Bytes(bytes.clone()), log, name, size);
        assert!(read(5, NAME).is_ok());
        assert!(read(6, NAME).is_err());
        assert!(read(5, StateName { number: 4, ..NAME }).is_err());
        assert!(read(5, StateName { attempt: 8, ..NAME }).is_err());
        assert!(read(5, StateName { part: 1, ..NAME }).is_err());
        for cut in 0..bytes.len() {
            let cut = bytes[..cut].to_vec();
            let size = cut.len() as u64;
            assert!(index::read(&Bytes(cut), 5, NAME, size).is_err());
        }
    }

    #[test]
    fn the_checksum_of_a_block_covers_its_place_and_fields() {
        let PackedBlock { info, stored } = block(1);
        let crc = info.crc(5, NAME, 64, &stored);
        assert_ne!(info.crc(5, NAME, 65, &stored), crc);
        assert_ne!(info.crc(6, NAME, 64, &stored), crc);
        let others = [
            BlockInfo { state: 2, ..info },
            BlockInfo {
                key_group: 2,
                ..info
            },
            BlockInfo {
                kind: BlockKind::Base,
                ..info
            },
            BlockInfo {
                packing: Packing::Zstd,
                ..info
            },
            BlockInfo { after: 2, ..info },
            BlockInfo { upto: 4, ..info },
            BlockInfo { raw_len: 1, ..info },
            BlockInfo { removed: 2, ..info },
            BlockInfo { entries: 1, ..info },
        ];
        for other in others {
            assert_ne!(other.crc(5, NAME, 64, &stored), crc, "{other:?}");
        }
    }
}
