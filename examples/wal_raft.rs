//! The log of a consensus node on the plain log: entries by number, a conflict, an opening.
//! `cargo run --example wal_raft`. For openraft there is the package `highwater-openraft`.
use highwater::wal::{EntryIndex, Result, StreamId, Wal};

/// An entry is a record: its term, a colon, a command. The first one is number 0.
struct RaftLog {
    wal: Wal,
    index: EntryIndex,
}

impl RaftLog {
    /// Finds the entries by the headers of their frames.
    fn open(dir: &str) -> Result<Self> {
        let wal = Wal::open(dir)?;
        let index = EntryIndex::rebuild(&wal, StreamId::DEFAULT, 0)?;
        Ok(Self { wal, index })
    }

    fn entry(&self, number: u64) -> Result<Option<String>> {
        let Some(place) = self.index.get(number) else {
            return Ok(None);
        };
        let record = self.wal.read_from(place)?.next().transpose()?;
        Ok(record.map(|record| String::from_utf8_lossy(&record.payload).into_owned()))
    }

    /// What a leader sends: entries from `first` on. From the first that differs on, its own count.
    /// When it returns they are durable, so the leader may be answered.
    fn accept(&mut self, first: u64, entries: &[&str]) -> Result<()> {
        for (number, entry) in (first..).zip(entries) {
            if self.entry(number)?.as_deref() == Some(entry) {
                continue; // it is there
            }
            if let Some(conflict) = self.index.get(number) {
                let _ = self.wal.void(conflict, self.wal.end_lsn())?; // and all that follow
                self.index.truncate(number);
            }
            self.index.push(self.wal.append(entry)?);
        }
        self.wal.sync()
    }
}

fn main() -> Result<()> {
    let dir = "target/wal_raft.d";
    RaftLog::open(dir)?.accept(0, &["1:a", "1:b", "1:c", "1:d"])?;
    RaftLog::open(dir)?.accept(1, &["1:b", "2:x"])?; // the leader of term 2 knows no c
    let log = RaftLog::open(dir)?;
    for number in log.index.range() {
        println!("{number}: {:?}", log.entry(number)?);
    }
    assert_eq!(log.entry(2)?.as_deref(), Some("2:x"));
    Ok(())
}
