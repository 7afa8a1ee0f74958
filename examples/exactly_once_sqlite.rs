//! Counts words into a SQLite database, each line once, also when the program is killed.
//!
//! Run `cargo run --example exactly_once_sqlite --features sqlite`, kill it at any moment, and run
//! it again: it goes on, and the counts are those of a run that nothing interrupted.

use highwater::prelude::*;
use highwater::rusqlite::{Connection, Error, Transaction};
use highwater::{Records, Result};
use std::path::{Path, PathBuf};

const LINES: u64 = 1000;

fn add(tx: &Transaction<'_>, _: &Batch, counts: &Records<'_, (String, i64)>) -> Result<(), Error> {
    let mut upsert = tx.prepare(
        "INSERT INTO counts VALUES (?1, ?2) ON CONFLICT (word) DO UPDATE SET n = n + excluded.n",
    )?;
    for (word, n) in counts {
        upsert.execute((word, n))?;
    }
    Ok(())
}

fn open(dir: &Path, db: PathBuf) -> Result<StreamingContext> {
    StreamingContext::builder(dir.join("app")).get_or_create(|ssc| {
        ssc.input::<String>("lines")
            .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .map(|word| (word, 1_i64))
            .reduce_by_key(|a, b| a + b)
            .save_to_sqlite("counts", db, add);
        Ok(())
    })
}

fn main() -> std::result::Result<(), BoxError> {
    let dir = std::env::temp_dir().join("highwater-exactly-once");
    let context = open(&dir, dir.join("counts.db"))?;
    let db = Connection::open(dir.join("counts.db"))?;
    db.execute(
        "CREATE TABLE IF NOT EXISTS counts (word TEXT PRIMARY KEY, n INTEGER)",
        (),
    )?;
    context.start()?;
    let input = context.input::<String>("lines")?;
    for number in 0..LINES {
        // A line that was sent by a run before this one is recognised by its number.
        input
            .send_once("example", number, &format!("to be or not {}", number % 10))?
            .wait()?;
    }
    context.stop(StopMode::Graceful)?;

    let mut select = db.prepare("SELECT word, n FROM counts ORDER BY n DESC, word")?;
    for row in select.query_map((), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })? {
        let (word, n) = row?;
        println!("{word} {n}");
    }
    Ok(())
}
