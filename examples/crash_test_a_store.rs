//! A key-value store on the log, and its crash test: the power is cut before every operation of
//! the disk. `cargo run --release --example crash_test_a_store`
use highwater::wal::disk::{Clock, Disk, OsClock, crash_test};
use highwater::wal::{Background, Lsn, Options, Result, Wal};
use std::{collections::BTreeMap, sync::Arc};

/// A map in memory, and the log from which it is rebuilt.
struct Store(Wal, BTreeMap<String, String>);

impl Store {
    fn open(disk: Arc<dyn Disk>) -> Result<Self> {
        let options = Options::new().disk(disk).background(Background::Inline);
        let log = Wal::open_with("/store", options.segment_size(8 << 10))?;
        let records = log.read_from(Lsn::ZERO)?.collect::<Result<Vec<_>>>()?;
        let texts = records.iter().map(|r| String::from_utf8_lossy(&r.payload));
        Ok(Self(log, texts.fold(BTreeMap::new(), |v, t| apply(v, &t))))
    }

    /// When it returns, the change is durable.
    fn change(&mut self, record: &str) -> Result<()> {
        self.0.sync_to(self.0.append(record)?)?;
        self.1 = apply(std::mem::take(&mut self.1), record);
        Ok(())
    }
}

/// A record is "key=value", or "key" alone for one that is deleted.
fn apply(mut values: BTreeMap<String, String>, record: &str) -> BTreeMap<String, String> {
    match record.split_once('=') {
        Some((key, value)) => values.insert(key.to_owned(), value.to_owned()),
        None => values.remove(record),
    };
    values
}

fn main() {
    let change = |n: u32| [format!("{}={n:0100}", n % 7), format!("{}", n % 5)];
    let changes: Vec<String> = (0..160).flat_map(change).collect();
    let first = |n| changes.iter().take(n);
    let after = |n| first(n).fold(BTreeMap::new(), |v, c| apply(v, c));
    let clock = OsClock::new();
    let report = crash_test(
        |disk, changed: &mut usize| {
            let mut store = Store::open(disk)?;
            for record in &changes {
                store.change(record)?;
                *changed += 1; // acknowledged
            }
            Ok(())
        },
        |disk, changed| {
            let found = Store::open(disk)?.1;
            // One change more may be there, which was not acknowledged.
            let there = (*changed..=*changed + 1).find(|n| after(*n) == found);
            *changed = there.ok_or("an acknowledged change is lost")?; // shown: it stays
            Ok(())
        },
    );
    println!("{report}, in {:.2?}", clock.now());
}
