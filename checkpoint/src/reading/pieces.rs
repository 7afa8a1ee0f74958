//! The files of a checkpoint, read in large pieces that are kept for a while.
//!
//! A checkpoint is read twice: every byte when it is verified, then every block when the state is
//! loaded, key group by key group. In each file, the blocks stand in the order in which they are
//! asked for. So of each file one piece after the other is needed, of many files at a time.
//!
//! The smallest files are kept as a whole from the first time on, as many as fit. Of the others
//! those pieces are held that were used last: at least two of each file.

use crate::error::{CheckpointError, Result};
use crate::manifest::document::FileEntry;
use crate::reading::in_order::in_order;
use crate::state_file::index::lost;
use crate::store::error::StoreError;
use crate::store::reading::Reading;
use crate::store::{Store, StoredFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The store of a checkpoint, to read its files from.
#[derive(Debug)]
pub(crate) struct Pieces {
    store: Arc<dyn Store>,
    reading: Reading,
    files: BTreeMap<String, Divided>,
    held: Mutex<Held>,
}

/// How a file is divided.
#[derive(Debug, Clone, Copy)]
struct Divided {
    size: u64,
    /// Length of its pieces, in bytes; 0 if none are held.
    piece: u64,
    /// Its pieces stay until the checkpoint is dropped.
    stays: bool,
}

/// A file, and the number of a piece in it.
type Place = (String, u64);

/// One thread at a time asks the store for a piece.
type Piece = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// The pieces that are held.
#[derive(Debug, Default)]
struct Held {
    pieces: BTreeMap<Place, (Piece, u64)>,
    /// How often a piece was asked for: the time of last use.
    uses: u64,
}

/// What is asked of the store when a file is verified: its length, or a part of it.
struct Question<'a> {
    file: &'a FileEntry,
    part: Option<(u64, u64)>,
    is_last: bool,
}

/// What is asked about a file, in order.
fn questions(file: &FileEntry, request: u64) -> impl Iterator<Item = Question<'_>> {
    let parts = file.size.div_ceil(request);
    let part = move |part: u64| {
        let offset = part * request;
        (offset, request.min(file.size - offset))
    };
    (0..=parts).map(move |at| Question {
        file,
        part: at.checked_sub(1).map(part),
        is_last: at == parts,
    })
}

impl Question<'_> {
    /// The bytes of the part; none for the length, if that is right.
    fn ask(&self, store: &dyn Store) -> Result<Vec<u8>> {
        let (name, size) = (self.file.name.as_str(), self.file.size);
        if let Some((offset, len)) = self.part {
            let bytes = store.get_range(name, offset, len);
            return bytes.map_err(|e| lost(name, offset, e));
        }
        let found = store.len(name).map_err(|e| lost(name, 0, e))?;
        if found == size {
            return Ok(Vec::new());
        }
        let what = format!("it has {found} bytes, {size} were written");
        Err(CheckpointError::damaged(name, None, what))
    }
}

fn ahead(reading: Reading) -> u64 {
    let at_once = u64::try_from(reading.at_once).unwrap_or(u64::MAX);
    reading.request.saturating_mul(at_once).saturating_mul(2)
}

impl Pieces {
    pub(crate) fn new(store: Arc<dyn Store>, files: &[FileEntry]) -> Self {
        let reading = store.reading();
        let mut by_size: Vec<&FileEntry> = files.iter().collect();
        by_size.sort_by_key(|file| file.size);
        let mut room = reading.keep;
        let stay = by_size.iter().take_while(|file| {
            let rest = room.checked_sub(file.size);
            room = rest.unwrap_or(room);
            rest.is_some()
        });
        let stay = stay.count();
        let others = (by_size.len() - stay) as u64;
        let piece = ahead(reading) / others.saturating_mul(2).max(1);
        let piece = match reading.keep {
            0 => 0,
            _ => piece.min(reading.request),
        };
        let divided = by_size.iter().enumerate().map(|(at, file)| {
            let stays = at < stay;
            let divided = Divided {
                size: file.size,
                piece: if stays { reading.request } else { piece },
                stays,
            };
            (file.name.clone(), divided)
        });
        let divided = match reading.keep {
            0 => BTreeMap::new(),
            _ => divided.collect(),
        };
        Self {
            files: divided,
            store,
            reading,
            held: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Reads files once, in bounded memory, and compares lengths and hashes.
    pub(crate) fn verify(&self, files: &[FileEntry]) -> Result<()> {
        let request = self.reading.request.max(1);
        // One by one: what a manifest says of the length of a file is no reason to allocate.
        let questions = files.iter().flat_map(|file| questions(file, request));
        let mut hasher = blake3::Hasher::new();
        let take = |question: Question<'_>, answer: Result<Vec<u8>>| {
            let (file, bytes) = (question.file, answer?);
            hasher.update(&bytes);
            if let Some((offset, _)) = question.part {
                self.keep(&file.name, offset, bytes);
            }
            match question.is_last {
                true => compare(file, &std::mem::take(&mut hasher)),
                false => Ok(()),
            }
        };
        let ask = |question: &Question<'_>| question.ask(&*self.store);
        in_order(questions, self.reading.at_once, ask, take)
    }

    /// Keeps a part of a file that was verified, if the file is one of those that stay.
    fn keep(&self, name: &str, offset: u64, bytes: Vec<u8>) {
        let Some(file) = self.files.get(name).filter(|file| file.stays) else {
            return;
        };
        let place = (name.to_owned(), offset / file.piece.max(1));
        let (piece, _) = self.held().piece(place);
        *unpoisoned(&piece) = Some(Arc::new(bytes));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        unpoisoned(&self.held)
    }

    /// Lets go of everything that is held.
    pub(crate) fn forget(&self) {
        self.held().pieces.clear();
    }

    /// A block is read from the pieces that it lies in. One that is longer than a piece is asked
    /// for by itself, and so is the end of a file: what is there is asked for once.
    fn read(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let alone = || self.store.get_range(name, offset, len);
        let end = offset.saturating_add(len);
        let file = self.files.get(name).filter(|file| {
            let alone = !file.stays && (len > file.piece || end == file.size) && len > 0;
            !alone && file.piece > 0 && end <= file.size
        });
        let Some(file) = file else {
            return alone();
        };
        let mut bytes = Vec::new();
        if len == 0 {
            return Ok(bytes);
        }
        for number in offset / file.piece..end.div_ceil(file.piece) {
            let piece = match self.piece(name, *file, number) {
                // What the block needs of it may be there.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return alone(),
                piece => piece?,
            };
            let begin = number * file.piece;
            let from = usize::try_from(offset.saturating_sub(begin));
            let to = usize::try_from(end - begin).map(|to| to.min(piece.len()));
            let part = from.ok().zip(to.ok());
            let part = part.and_then(|(from, to)| piece.get(from..to));
            bytes.extend_from_slice(part.ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(bytes)
    }

    fn piece(&self, name: &str, file: Divided, number: u64) -> io::Result<Arc<Vec<u8>>> {
        let place = (name.to_owned(), number);
        let (piece, is_new) = self.held().piece(place);
        if is_new && !file.stays {
            self.make_room();
        }
        let mut piece = unpoisoned(&piece);
        if let Some(bytes) = &*piece {
            return Ok(Arc::clone(bytes));
        }
        let begin = number * file.piece;
        let len = file.piece.min(file.size - begin);
        let bytes = Arc::new(self.store.get_range(name, begin, len)?);
        *piece = Some(Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Lets go of the pieces that were not used for the longest time.
    fn make_room(&self) {
        let mut held = self.held();
        let passing = |place: &Place| self.files.get(&place.0).filter(|file| !file.stays);
        loop {
            let pieces = held.pieces.iter();
            let pieces = pieces.filter_map(|(place, (_, used))| {
                passing(place).map(|file| (*used, file.piece, place))
            });
            let pieces: Vec<(u64, u64, &Place)> = pieces.collect();
            let bytes: u64 = pieces.iter().map(|(_, len, _)| len).sum();
            let oldest = pieces.iter().min().map(|(_, _, place)| (*place).clone());
            match oldest {
                Some(oldest) if bytes > ahead(self.reading) => {
                    held.pieces.remove(&oldest);
                }
                _ => return,
            }
        }
    }
}

impl Held {
    /// The piece at a place, and whether this is the first time that it is asked for.
    fn piece(&mut self, place: Place) -> (Piece, bool) {
        self.uses += 1;
        let mut is_new = false;
        let (piece, used) = self.pieces.entry(place).or_insert_with(|| {
            is_new = true;
            (Piece::default(), 0)
        });
        *used = self.uses;
        (Arc::clone(piece), is_new)
    }
}

fn unpoisoned<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half changed.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn compare(file: &FileEntry, hasher: &blake3::Hasher) -> Result<()> {
    if hasher.finalize().to_hex().as_str() == file.blake3 {
        return Ok(());
    }
    let what = "its content has changed (the hash does not match)";
    Err(CheckpointError::damaged(&file.name, None, what))
}

/// The blocks are read from the pieces, everything else is the store's.
impl Store for Pieces {
    fn place(&self) -> String {
        self.store.place()
    }

    fn prepare(&self) -> io::Result<()> {
        self.store.prepare()
    }

    fn remake(&self) -> io::Result<()> {
        self.store.remake()
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put_new(name, bytes)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.store.len(name)
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.read(name, offset, len)
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        self.store.list()
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        self.store.delete(names)
    }

    fn reading(&self) -> Reading {
        self.store.reading()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryStore;

    /// A store of files with the bytes of a counter.
    #[derive(Debug)]
    struct Far(MemoryStore, Reading);

    impl Store for Far {
        fn place(&self) -> String {
            self.0.place()
        }
        fn prepare(&self) -> io::Result<()> {
            self.0.prepare()
        }
        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.0.put_new(name, bytes)
        }
        fn len(&self, name: &str) -> io::Result<u64> {
            self.0.len(name)
        }
        fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
            self.0.get_range(name, offset, len)
        }
        fn list(&self) -> io::Result<Vec<StoredFile>> {
            self.0.list()
        }
        fn delete(&self, names: &[String]) -> Result<(), StoreError> {
            self.0.delete(names)
        }
        fn reading(&self) -> Reading {
            self.1
        }
    }

    fn bytes_of(seed: usize, len: usize) -> Vec<u8> {
        (0..len)
            .map(|at| u8::try_from((at * 7 + seed) % 251).unwrap())
            .collect()
    }

    fn pieces(sizes: &[usize], reading: Reading) -> (Pieces, Vec<FileEntry>) {
        let store = MemoryStore::new();
        let files = sizes.iter().enumerate().map(|(at, size)| {
            let (name, bytes) = (format!("file-{at}"), bytes_of(at, *size));
            store.put_new(&name, &bytes).unwrap();
            FileEntry {
                name,
                size: *size as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            }
        });
        let files: Vec<FileEntry> = files.collect();
        (Pieces::new(Arc::new(Far(store, reading)), &files), files)
    }

    impl Pieces {
        fn bytes_held(&self) -> u64 {
            let held = self.held();
            let bytes = held.pieces.values().map(|(piece, _)| {
                let piece = unpoisoned(piece);
                piece.as_ref().map_or(0, |bytes| bytes.len() as u64)
            });
            bytes.sum()
        }
    }

    /// In whatever order it is read, the bytes are right and so many are held.
    #[test]
    fn what_is_held_has_a_bound() {
        let sizes = [0, 3000, 10, 700, 9000, 100, 9001, 1000];
        for keep in [0, 1, 110, 800, 2500, 6000, 100_000] {
            let reading = Reading {
                request: 100,
                at_once: 2,
                keep,
            };
            let (pieces, files) = pieces(&sizes, reading);
            for verifies in [false, true] {
                if verifies {
                    pieces.verify(&files).unwrap();
                    assert!(pieces.bytes_held() <= keep + 400);
                }
                let mut random = 7_usize;
                for _ in 0..3000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let file = (random >> 33) % sizes.len();
                    let from = (random >> 40) % (sizes[file] + 1);
                    let len = ((random >> 20) % 150).min(sizes[file] - from);
                    let name = &files[file].name;
                    let read = pieces.get_range(name, from as u64, len as u64).unwrap();
                    assert_eq!(read, &bytes_of(file, sizes[file])[from..from + len]);
                    assert!(pieces.bytes_held() <= keep + 400);
                    assert!(keep > 0 || pieces.bytes_held() == 0);
                }
            }
        }
    }

    /// A file that has become shorter since: what is there is read, what is not is an error.
    #[test]
    fn what_is_there_of_a_short_file_is_read() {
        let reading = Reading {
            request: 100,
            at_once: 2,
            keep: 1000,
        };
        for keep in [1, 1000] {
            let (pieces, files) = pieces(&[500], Reading { keep, ..reading });
            let name = &files[0].name;
            pieces.store.delete(std::slice::from_ref(name)).unwrap();
            pieces.store.put_new(name, &bytes_of(0, 450)).unwrap();
            assert_eq!(
                pieces.read(name, 410, 40).unwrap(),
                &bytes_of(0, 450)[410..]
            );
            let error = pieces.read(name, 410, 41).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(pieces.read(name, 490, 20).is_err());
            assert!(pieces.read(name, u64::MAX, 1).is_err());
        }
    }
}
