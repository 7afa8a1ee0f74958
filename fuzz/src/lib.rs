//! What the fuzz targets do with their bytes. The tests of `highwater-wal` run the same functions
//! on fixed inputs, so that they cannot rot.
//!
//! All of them go through the public interface on the simulated disk. A checksum that is never
//! right would keep a fuzzer out of everything behind it, so some edits are followed by putting the
//! checksums right: what follows from such damage cannot be told from data, and only "no panic, no
//! hang, bounded memory" is demanded. Of all other damage the log must give back exactly what was
//! written, or an error.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a target fails by panicking; the tests include this file as a module"
)]

mod repair;

use crc32c::crc32c;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::layout::{
    META_NAME, SEGMENT_HEADER_SIZE, frame_header, frame_size, kind, segment_header, segment_name,
};
use highwater_wal::{Background, FrameKind, Lsn, Options, StreamId, Wal, WalError, inspect};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

const DIR: &str = "/log";
const SEGMENT_SIZE: u64 = 8 << 10;
const FIRST_FRAME: usize = SEGMENT_HEADER_SIZE as usize;

/// Takes values off the front of the fuzzer's bytes; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self, size: usize) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.bytes(size);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    fn below(&mut self, bound: usize) -> usize {
        let size = if bound > 256 { 2 } else { 1 };
        self.number(size) as usize % bound.max(1)
    }

    /// Small numbers, huge ones, and those around the powers of two.
    fn awkward(&mut self) -> u64 {
        let (shift, delta) = (self.number(1) % 65, self.number(1));
        let power = if shift == 64 { 0 } else { 1_u64 << shift };
        power.wrapping_add(delta).wrapping_sub(128)
    }
}

fn options(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new()
        .segment_size(SEGMENT_SIZE)
        .background(Background::Inline)
        .log_id_seed(1)
        .disk(disk)
}

/// A log, and the records in it.
struct Example {
    sim: SimDisk,
    log_id: u128,
    /// Frames that hold records: where they start, and the records.
    frames: Vec<(Lsn, Vec<Vec<u8>>)>,
}

impl Example {
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().flat_map(|(_, r)| r).map(Vec::as_slice)
    }
}

/// How an example was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Closed: everything is attested.
    Closed,
    /// Killed, with a tail that nothing attests.
    Killed,
}

fn example(left: Left, rounds: u8) -> Example {
    let sim = SimDisk::new();
    let log = Wal::open_with(DIR, options(&sim)).unwrap();
    let log_id = log.log_id();
    let mut frames = Vec::new();
    for n in 0..rounds {
        let one = vec![n; 40 + usize::from(n % 7) * 30];
        let batch = vec![vec![n; 5], Vec::new(), vec![n; 90]];
        frames.push((log.append(&one).unwrap(), vec![one]));
        frames.push((log.append_batch(&batch).unwrap().first, batch));
        let control = log.append_control(StreamId(3), [n; 9]).unwrap();
        frames.push((control, vec![vec![n; 9]]));
        if n % 3 == 0 {
            log.sync().unwrap();
        }
    }
    let sim = match left {
        Left::Closed => {
            log.close().unwrap();
            sim
        }
        Left::Killed => {
            let next = sim.kill_process();
            drop(log);
            next
        }
    };
    Example {
        sim,
        log_id,
        frames,
    }
}

/// What became of a damaged log.
enum Outcome {
    /// It opened and could be read; the records, and how many of them are attested at least.
    Shown(Vec<Vec<u8>>),
    Refused(WalError),
}

/// Does everything with a log that can be done with it, whatever state it is in. Nothing may panic;
/// what it shows once it shows for ever.
fn use_it(sim: &SimDisk) -> Outcome {
    look_into(sim);
    let log = match Wal::open_with(DIR, options(sim)) {
        Ok(log) => log,
        Err(error) => return Outcome::Refused(error),
    };
    let shown = match read(&log) {
        Ok(shown) => shown,
        Err(error) => {
            drop(log);
            return Outcome::Refused(error);
        }
    };
    let lsn = log.append("one more").unwrap();
    log.sync_to(lsn).unwrap();
    let _ = log.read_from(lsn).map(Iterator::count);
    drop(log);
    let log = Wal::open_with(DIR, options(sim)).unwrap();
    let again = read(&log).unwrap();
    assert_eq!(again.last().map(Vec::as_slice), Some(&b"one more"[..]));
    assert!(again[..again.len() - 1] == shown, "what was shown stays");
    log.truncate_before(log.durable_lsn()).unwrap();
    log.close().unwrap();
    Outcome::Shown(shown)
}

/// Reads the records in every way that there is.
fn read(log: &Wal) -> Result<Vec<Vec<u8>>, WalError> {
    let (from, to) = (log.first_lsn(), log.durable_lsn());
    if let Ok(headers) = log.scan_headers(from, to) {
        let _ = headers.map_while(Result::ok).count();
    }
    if let Ok(chunks) = log.chunks(from, to, 1000) {
        let frames = chunks.iter().flat_map(|chunk| chunk.frames());
        let records = frames.map_while(Result::ok).map(|f| f.records().count());
        let _ = records.sum::<usize>();
    }
    let records = log.read_from(Lsn::ZERO)?;
    records.map(|r| r.map(|r| r.payload.to_vec())).collect()
}

fn look_into(sim: &SimDisk) {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    for file in sim.files() {
        let Ok(segment) = inspect::Log::open_segment(Arc::clone(&disk), file) else {
            continue;
        };
        let _ = segment.frames(Lsn::ZERO).map(Iterator::count);
        let _ = segment.verify(|_| ()).map(|report| report.is_ok());
        let _ = segment.stats(Lsn::ZERO, |_| ());
        let _ = segment.last_records(3, None);
    }
    let Ok(log) = inspect::Log::open(disk, DIR) else {
        return;
    };
    let _ = log.segments().map(|s| s.len());
    let _ = log.verify(|_| ()).map(|report| report.is_ok());
    let _ = log.last_records(3, None);
    for from in [Lsn::ZERO, log.first_lsn(), Lsn::new(4096)] {
        if let Ok(frames) = log.frames(from) {
            for frame in frames.map_while(Result::ok) {
                let _ = (frame.records().len(), frame.durable_lsn());
            }
        }
    }
}

fn place(log_id: u128, lsn: u64, header: &[u8]) -> Vec<u8> {
    let fields = [
        &header[..4],
        &header[frame_header::KIND..frame_header::HEADER_CRC],
    ];
    [
        &log_id.to_le_bytes()[..],
        &lsn.to_le_bytes(),
        &fields.concat(),
    ]
    .concat()
}

/// Puts both checksums of the frame at `offset` right, if its payload fits the file.
fn right_checksums(file: &mut [u8], log_id: u128, base: u64, offset: usize) {
    let Some(header) = file.get(offset..offset + frame_header::END) else {
        return;
    };
    let place = place(log_id, base.wrapping_add(offset as u64), header);
    let len = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
    let payload = file[offset + frame_header::END..].get(..len);
    let crc = payload.map(|payload| crc32c(&[payload, &place].concat()));
    let header_crc = offset + frame_header::HEADER_CRC;
    file[header_crc..header_crc + 4].copy_from_slice(&crc32c(&place).to_le_bytes());
    if let Some(crc) = crc {
        let at = offset + frame_header::CRC;
        file[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The frame decoder: a segment of frames with right checksums and whatever inside.
pub fn frames(data: &[u8]) {
    static EMPTY: OnceLock<(Example, Vec<u8>)> = OnceLock::new();
    let path = PathBuf::from(DIR).join(segment_name(Lsn::ZERO));
    let (empty, blank) = EMPTY.get_or_init(|| {
        let empty = example(Left::Killed, 0);
        let blank = empty.sim.read_file(&path).unwrap();
        (empty, blank)
    });
    let mut input = Input(data);
    let mut file = blank.clone();
    let mut at = FIRST_FRAME;
    // Until something stands there that is no record, the log must show exactly these.
    let (mut expected, mut plain) = (Vec::new(), true);
    while !input.is_empty() && at + frame_header::END < file.len() {
        let head = input.number(1);
        let kind_byte = (head % 8) as u8;
        let odd = head / 8 % 8;
        let len = input.below(600);
        let payload = match kind_byte {
            kind::BATCH if odd % 2 == 0 => well_formed_batch(&mut input, len),
            _ => input.bytes(len).to_vec(),
        };
        let room = file.len() - at - 2 * frame_header::END;
        let payload = &payload[..payload.len().min(room)];
        let header = &mut file[at..at + frame_header::END];
        header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[frame_header::KIND] = kind_byte;
        header[frame_header::STREAM] = (head / 64) as u8;
        let records = records_of(kind_byte, payload);
        plain &= records.is_some() && odd < 6;
        if odd == 6 {
            header[frame_header::FLAGS] = input.number(1) as u8;
        } else if odd == 7 {
            let len = input.awkward() as u32;
            header[..4].copy_from_slice(&len.to_le_bytes());
        }
        let start = at + frame_header::END;
        file[start..start + payload.len()].copy_from_slice(payload);
        right_checksums(&mut file, empty.log_id, 0, at);
        if plain {
            expected.extend(records.into_iter().flatten());
        }
        at += frame_size(payload.len() as u64) as usize;
    }
    let sim = empty.sim.snapshot();
    sim.put_file(&path, file);
    match use_it(&sim) {
        Outcome::Shown(shown) => {
            let common = shown.len().min(expected.len());
            assert!(shown[..common] == expected[..common], "wrong records");
            assert!(!plain || shown.len() == expected.len(), "not all records");
        }
        Outcome::Refused(error) => assert!(!plain, "good frames are refused: {error}"),
    }
}

fn well_formed_batch(input: &mut Input<'_>, len: usize) -> Vec<u8> {
    let mut batch = vec![0; 4];
    let mut count = 0_u32;
    while batch.len() < len && !input.is_empty() {
        let size = input.below(100);
        let record = input.bytes(size);
        batch.extend_from_slice(&(record.len() as u32).to_le_bytes());
        batch.extend_from_slice(record);
        count += 1;
    }
    batch[..4].copy_from_slice(&count.to_le_bytes());
    batch
}

/// The records of a frame; `None` if it is not one that holds records and nothing but records.
fn records_of(kind_byte: u8, payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    match kind_byte {
        kind::DATA | kind::CONTROL => Some(vec![payload.to_vec()]),
        kind::BATCH => {
            let (count, mut rest) = payload.split_first_chunk::<4>()?;
            let mut records = Vec::new();
            for _ in 0..u32::from_le_bytes(*count) {
                let (len, behind) = rest.split_first_chunk::<4>()?;
                let len = u32::from_le_bytes(*len) as usize;
                let (record, behind) = behind.split_at_checked(len)?;
                records.push(record.to_vec());
                rest = behind;
            }
            rest.is_empty().then_some(records)
        }
        _ => None,
    }
}

/// Recovery of the last segment: a killed log of one segment with bytes written over it.
pub fn segment(data: &[u8]) {
    static KILLED: OnceLock<(Example, Vec<usize>)> = OnceLock::new();
    let path = PathBuf::from(DIR).join(segment_name(Lsn::ZERO));
    let (killed, starts) = KILLED.get_or_init(|| {
        let killed = example(Left::Killed, 8);
        let disk: Arc<dyn Disk> = Arc::new(killed.sim.clone());
        let log = inspect::Log::open(disk, DIR).unwrap();
        let starts = log.frames(Lsn::ZERO).unwrap();
        let starts = starts.map(|f| f.unwrap().offset as usize).collect();
        (killed, starts)
    });
    let mut file = killed.sim.read_file(&path).unwrap();
    let mut input = Input(data);
    let mut forged = false;
    while !input.is_empty() {
        let op = input.number(1);
        let start = starts[input.below(starts.len())];
        match op % 4 {
            0 => {
                let (at, len) = (input.below(file.len()), input.below(64));
                let bytes = input.bytes(len.min(file.len() - at));
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
            1 => {
                let (at, len) = (input.below(file.len()), input.below(2048));
                let end = (at + len).min(file.len());
                file[at..end].fill(if op & 4 == 0 { 0 } else { 0xFF });
            }
            2 => {
                let (from, to, len) = (start, input.below(file.len()), input.below(1024));
                let len = len.min(file.len() - from.max(to));
                file.copy_within(from..from + len, to);
            }
            _ => {
                forged = true;
                let at = start + input.below(frame_header::END);
                file[at] = input.number(1) as u8;
                right_checksums(&mut file, killed.log_id, 0, start);
            }
        }
    }
    let sim = killed.sim.snapshot();
    sim.edit(&path, |bytes| *bytes = file);
    let proven = proven_records(killed, &sim, &path);
    if let (Outcome::Shown(shown), false) = (use_it(&sim), forged) {
        let expected: Vec<_> = killed.records().collect();
        assert!(shown.len() <= expected.len() && shown == expected[..shown.len()]);
        assert!(
            shown.len() >= proven,
            "{} of {proven} attested records, and no error",
            shown.len()
        );
    }
}

/// How many records are proven to have been durable by a durable-LSN record that the damage left
/// intact.
fn proven_records(example: &Example, damaged: &SimDisk, path: &PathBuf) -> usize {
    let (before, after) = (example.sim.read_file(path), damaged.read_file(path));
    let (before, after) = (before.unwrap(), after.unwrap());
    let disk: Arc<dyn Disk> = Arc::new(example.sim.clone());
    let log = inspect::Log::open(disk, DIR).unwrap();
    let mut proven = Lsn::ZERO;
    for frame in log.frames(Lsn::ZERO).unwrap().map(Result::unwrap) {
        let bytes = frame.offset as usize..frame.offset as usize + 24;
        if let Some(attested) = frame.durable_lsn()
            && before[bytes.clone()] == after[bytes]
        {
            proven = proven.max(attested);
        }
    }
    let frames = example.frames.iter().filter(|(lsn, _)| *lsn < proven);
    frames.map(|(_, records)| records.len()).sum()
}

/// Opening a whole directory: a closed log of several segments whose files were edited, cut, mixed
/// up, taken away.
pub fn directory(data: &[u8]) {
    static CLOSED: OnceLock<Example> = OnceLock::new();
    let closed = CLOSED.get_or_init(|| example(Left::Closed, 40));
    let sim = closed.sim.snapshot();
    let mut input = Input(data);
    let mut forged = false;
    while !input.is_empty() {
        forged |= edit_directory(&sim, closed, &mut input);
    }
    let complete = sim.read_file(PathBuf::from(DIR).join(META_NAME)).is_some();
    let verified = verify(&sim);
    if !forged {
        repair::repair_and_salvage(&sim.snapshot(), closed);
    }
    match use_it(&sim) {
        Outcome::Shown(shown) if !forged && complete => {
            let expected: Vec<_> = closed.records().collect();
            assert!(shown == expected, "wrong or missing records, and no error");
            assert!(verified, "verify objects to what can be read");
        }
        Outcome::Refused(error) if !forged => {
            assert!(!verified, "verify sees nothing, opening says {error}");
            assert!(error.to_string().contains(DIR), "where? {error}");
        }
        Outcome::Shown(_) | Outcome::Refused(_) => {}
    }
}

fn verify(sim: &SimDisk) -> bool {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let report = inspect::Log::open(disk, DIR).and_then(|log| log.verify(|_| ()));
    report.is_ok_and(|report| report.is_ok())
}

/// One edit; tells whether it forged a checksum.
fn edit_directory(sim: &SimDisk, closed: &Example, input: &mut Input<'_>) -> bool {
    let files = sim.files();
    let op = input.number(1);
    let path = match files.get(input.below(files.len())) {
        Some(path) => path.clone(),
        None => PathBuf::from(DIR).join(META_NAME),
    };
    let len = sim.read_file(&path).map_or(0, |bytes| bytes.len());
    if len == 0 && op % 9 != 6 {
        return false;
    }
    match op % 9 {
        0 => {
            let (at, bit) = (input.number(4) as usize % len, input.number(1) % 8);
            sim.edit(&path, |bytes| bytes[at] ^= 1 << bit);
        }
        1 => {
            let (at, size) = (input.number(4) as usize % len, input.below(64));
            let new = input.bytes(size.min(len - at));
            sim.edit(&path, |bytes| {
                bytes[at..at + new.len()].copy_from_slice(new)
            });
        }
        2 => {
            let to = input.number(4) as usize % (len + 1);
            sim.edit(&path, |bytes| bytes.truncate(to));
        }
        3 => {
            let more = input.below(5000);
            sim.edit(&path, |bytes| bytes.resize(bytes.len() + more, op as u8));
        }
        4 => sim.delete_file(&path),
        5 => {
            let other = &files[input.below(files.len())];
            let (a, b) = (sim.read_file(&path), sim.read_file(other));
            sim.put_file(other, a.unwrap());
            if op & 16 == 0 {
                sim.put_file(&path, b.unwrap());
            }
        }
        6 => {
            let base = input.awkward();
            let name = PathBuf::from(DIR).join(segment_name(Lsn::new(base)));
            let content = sim.read_file(&path).unwrap_or_default();
            sim.put_file(name, content);
        }
        7 => return forge_header(sim, closed, &path, input),
        _ => return forge_meta(sim, closed, input),
    }
    false
}

/// A segment's header, or a frame's, with other numbers in it and right checksums.
fn forge_header(sim: &SimDisk, closed: &Example, path: &PathBuf, input: &mut Input<'_>) -> bool {
    let (field, value) = (input.below(6), input.awkward());
    sim.edit(path, |bytes| {
        if bytes.len() < FIRST_FRAME + frame_header::END + 8 {
            return;
        }
        let field = match field {
            0 => segment_header::BASE..segment_header::BASE + 8,
            1 => segment_header::SIZE..segment_header::SIZE + 8,
            2 => segment_header::VERSION..segment_header::VERSION + 4,
            3 => FIRST_FRAME..FIRST_FRAME + 4,
            4 => FIRST_FRAME + frame_header::KIND..FIRST_FRAME + frame_header::KIND + 2,
            _ => FIRST_FRAME + frame_header::END..FIRST_FRAME + frame_header::END + 8,
        };
        let size = field.len();
        bytes[field].copy_from_slice(&value.to_le_bytes()[..size]);
        let crc = crc32c(&bytes[..segment_header::CRC]);
        let end = segment_header::CRC + 4;
        bytes[segment_header::CRC..end].copy_from_slice(&crc.to_le_bytes());
        let base = &bytes[segment_header::BASE..segment_header::BASE + 8];
        let base = u64::from_le_bytes(base.try_into().unwrap());
        right_checksums(bytes, closed.log_id, base, FIRST_FRAME);
    });
    true
}

/// A file `LOG` with other numbers in it and a right checksum.
fn forge_meta(sim: &SimDisk, closed: &Example, input: &mut Input<'_>) -> bool {
    let id = format!("{:032x}", closed.log_id);
    let (version, first, attested) = (input.below(3), input.awkward(), input.awkward());
    let crc = crc32c(format!("{version}:{id}:{first}:{attested}").as_bytes());
    let json = format!(
        r#"{{"format_version":{version},"log_id":"{id}","first_lsn":{first},"attested_lsn":{attested},"checksum":"{crc:08x}"}}"#
    );
    sim.put_file(PathBuf::from(DIR).join(META_NAME), json.into_bytes());
    true
}

/// The kinds of frame are those that the targets know.
const _: fn(FrameKind) = |kind| match kind {
    FrameKind::Data
    | FrameKind::Batch
    | FrameKind::Control
    | FrameKind::DurableLsn
    | FrameKind::Seal
    | FrameKind::Close
    | FrameKind::Padding
    | FrameKind::DurableAt
    | FrameKind::Void
    | FrameKind::Cursor
    | _ => {}
};
