//! The log of a consensus node on the plain log: entries by number, a conflict, an opening.
//! `cargo run --example wal_raft`. For openraft there is the package `highwater-openraft`.
use highwater::wal::{FrameKind, Lsn, Result, Wal};

/// Entry `n` is the record at `places[n]`: its term, a colon, a command.
struct RaftLog {
    wal: Wal,
    places: Vec<Lsn>,
}

impl RaftLog {
    /// Finds the entries by the headers of their frames: an entry's number is its place in order.
    fn open(dir: &str) -> Result<Self> {
        let wal = Wal::open(dir)?;
        let mut places = Vec::new();
        for frame in wal.scan_headers(wal.first_lsn(), wal.durable_lsn())? {
            let frame = frame?;
            if frame.kind == FrameKind::Data && !frame.is_void {
                places.push(frame.lsn);
            }
        }
        Ok(Self { wal, places })
    }

    fn entry(&self, number: usize) -> Result<Option<String>> {
        let Some(place) = self.places.get(number) else {
            return Ok(None);
        };
        let record = self.wal.read_from(*place)?.next().transpose()?;
        Ok(record.map(|record| String::from_utf8_lossy(&record.payload).into_owned()))
    }

    /// What a leader sends: entries from `first` on. From the first that differs on, its own count.
    /// When it returns they are durable, so the leader may be answered.
    fn accept(&mut self, first: usize, entries: &[&str]) -> Result<()> {
        for (number, entry) in (first..).zip(entries) {
            if self.entry(number)?.as_deref() == Some(entry) {
                continue; // it is there
            }
            if let Some(conflict) = self.places.get(number) {
                let _ = self.wal.void(*conflict, self.wal.end_lsn())?; // and all that follow
                self.places.truncate(number);
            }
            self.places.push(self.wal.append(entry)?);
        }
        self.wal.sync()
    }
}

fn main() -> Result<()> {
    let dir = "target/wal_raft.d";
    RaftLog::open(dir)?.accept(0, &["1:a", "1:b", "1:c", "1:d"])?;
    RaftLog::open(dir)?.accept(1, &["1:b", "2:x"])?; // the leader of term 2 knows no c
    let log = RaftLog::open(dir)?;
    for number in 0..log.places.len() {
        println!("{number}: {:?}", log.entry(number)?);
    }
    assert_eq!(log.entry(2)?.as_deref(), Some("2:x"));
    Ok(())
}
