//! `highwater-log salvage`: every intact frame, at new LSNs.

use crate::args::RecoverArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::Located;
use crate::commands::progress::Progress;
use crate::commands::recover::lost::{Lost, findings, names, places, print_findings};
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use crate::text;
use highwater_wal::disk::{Disk, DiskFile};
use highwater_wal::inspect::{self, Moved, Salvaged};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUFFER_SIZE: usize = 64 << 10;

/// What is printed.
#[derive(Debug, Serialize)]
struct Row {
    /// Whether nothing durable is lost.
    ok: bool,
    output: String,
    /// Tells the old LSN of each frame.
    map: String,
    old_log_id: String,
    new_log_id: String,
    first_lsn: u64,
    end_lsn: u64,
    frames: u64,
    records: u64,
    lost: Lost,
    /// Holes that a crash tore: never acknowledged.
    torn: Lost,
    findings: Vec<FoundDamage>,
    ignored: Vec<String>,
}

impl Row {
    fn new(salvaged: &Salvaged, to: &Path, map: &Path) -> Self {
        Self {
            ok: salvaged.lost.is_empty(),
            output: to.display().to_string(),
            map: map.display().to_string(),
            old_log_id: format!("{:032x}", salvaged.old_log_id),
            new_log_id: format!("{:032x}", salvaged.new_log_id),
            first_lsn: salvaged.first_lsn.get(),
            end_lsn: salvaged.end_lsn.get(),
            frames: salvaged.frames,
            records: salvaged.records,
            lost: Lost::new(&salvaged.lost),
            torn: Lost::new(&salvaged.torn),
            findings: findings(&salvaged.findings),
            ignored: names(&salvaged.ignored),
        }
    }
}

/// Runs the command.
pub(crate) fn salvage(args: &RecoverArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let (Located { disk, dir, .. }, to) = places(args)?;
    let mut map = Map::create(&*disk, &to)?;
    let bar = Progress::new();
    let mut unwritten = None;
    let salvaged = inspect::salvage(
        &disk,
        &dir,
        &to,
        |moved| {
            if unwritten.is_none() {
                unwritten = map.add(moved).err();
            }
            Ok(())
        },
        |progress| bar.show(progress),
    );
    drop(bar);
    let salvaged = match salvaged {
        Ok(salvaged) => salvaged,
        Err(error) => {
            map.discard(&*disk, program);
            return Err(error.into());
        }
    };
    let written = unwritten.map_or_else(|| map.finish(&*disk), Err);
    let path = map.path;
    written.map_err(|e| Failure::io("the log is salvaged, but cannot write", &path, &e))?;
    let row = Row::new(&salvaged, &to, &path);
    out.show(args.log.json, &row, print)?;
    Ok(Outcome::clean_if(row.ok))
}

fn print(row: &Row, out: &mut Output) -> Result<()> {
    print_findings(&row.findings, &row.ignored, out)?;
    row.lost.print("lost", out)?;
    row.torn.print("torn by a crash, never acknowledged", out)?;
    out.line(format!(
        "{}: {} records in {} frames saved, from LSN {} to {}",
        if row.ok { "ok" } else { "LOST RECORDS" },
        text::grouped(row.records),
        text::grouped(row.frames),
        row.first_lsn,
        row.end_lsn,
    ))?;
    out.line(format!(
        "new log in {} (log id {}: no checkpoint of the old one fits), old and new LSNs in {}; the old log is as it was",
        row.output, row.new_log_id, row.map
    ))
}

/// The file with the old LSN of each frame: a line per frame with old LSN, new LSN and records,
/// separated by tabs.
struct Map {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    at: u64,
}

impl Map {
    fn create(disk: &dyn Disk, log: &Path) -> Result<Self> {
        let mut name = log.as_os_str().to_owned();
        name.push(".map");
        let path = PathBuf::from(name);
        let file = disk.create_new(&path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::Usage(format!(
                "{} exists, perhaps from an interrupted salvage: remove it, or name another output",
                path.display()
            )),
            _ => Failure::Io(e.to_string()),
        })?;
        Ok(Self {
            path,
            file,
            buffer: b"old_lsn\tnew_lsn\trecords\n".to_vec(),
            at: 0,
        })
    }

    fn add(&mut self, moved: &Moved<'_>) -> io::Result<()> {
        let records = moved.frame.records().len();
        let line = format!("{}\t{}\t{records}\n", moved.frame.lsn, moved.new_lsn);
        self.buffer.extend_from_slice(line.as_bytes());
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.flush()?;
        self.file.sync()?;
        self.path
            .parent()
            .map_or(Ok(()), |parent| disk.sync_dir(parent))
    }

    /// Nothing was salvaged: there is nothing to tell.
    fn discard(&self, disk: &dyn Disk, program: &Program) {
        if let Err(error) = disk.remove_file(&self.path) {
            program.tell(error.to_string());
        }
    }
}
