//! The order of things: every run goes through all engines cell by cell, so that drift hits all
//! alike.

use crate::appends::{self, Span};
use crate::engines::{self, Engine, Purpose, Role, Store};
use crate::machine::Machine;
use crate::results::{DurableCell, EngineFacts, ReplayCell, Results, WithoutSyncCell};
use crate::{Part, Settings, replays, report, targets, trace};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What is replayed and opened after a crash.
const REPLAY_SIZE: usize = 1024;
const WITHOUT_SYNC_THREADS: [u64; 2] = [1, 2];

/// Measures and reports.
///
/// # Errors
/// If the settings make no sense here; an engine that fails ends the run with its own panic.
pub fn everything(settings: &Settings) -> Result<(), String> {
    let engines = selected(&settings.only)?;
    let base = base_dir(settings)?;
    let run = Run {
        settings,
        machine: Machine::of(base.path())?,
        engines,
        base: base.path(),
    };
    println!("# highwater-wal beside its rivals\n");
    run.machine.print();
    println!(
        "- {} runs, {} s per cell; median (least-most)",
        settings.runs, settings.seconds
    );
    let results = run.measure();
    report::print(&results);
    targets::print(&results);
    if let Some(path) = &settings.json {
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::to_writer_pretty(file, &results)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// The engine of this name.
///
/// # Errors
/// If there is none, with those there are.
pub fn find(name: &str) -> Result<Box<dyn Engine>, String> {
    let all = engines::all();
    let names: Vec<&str> = all.iter().map(|e| e.name()).collect();
    let message = format!(
        "no engine \"{name}\" in this build; there are: {}",
        names.join(", ")
    );
    all.into_iter().find(|e| e.name() == name).ok_or(message)
}

fn selected(only: &[String]) -> Result<Vec<Box<dyn Engine>>, String> {
    if only.is_empty() {
        return Ok(engines::all());
    }
    only.iter().map(|name| find(name)).collect()
}

fn base_dir(settings: &Settings) -> Result<TempDir, String> {
    let parent = settings
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/data"));
    std::fs::create_dir_all(&parent)
        .and_then(|()| {
            tempfile::Builder::new()
                .prefix("compare-")
                .tempdir_in(&parent)
        })
        .map_err(|e| format!("{}: {e}", parent.display()))
}

struct Run<'a> {
    settings: &'a Settings,
    machine: Machine,
    engines: Vec<Box<dyn Engine>>,
    base: &'a Path,
}

impl Run<'_> {
    fn measure(self) -> Results {
        let mut results = Results {
            engines: self.facts(),
            durable: self.durable_cells(),
            without_sync: self.without_sync_cells(),
            replay: self.replay_cells(),
            machine: self.machine.clone(),
        };
        for run in 0..self.settings.runs {
            eprintln!("run {} of {}", run + 1, self.settings.runs);
            self.run_durable(run, &mut results.durable);
            self.run_without_sync(run, &mut results.without_sync);
            self.run_replay(run, &mut results.replay);
        }
        results
    }

    fn has(&self, part: Part) -> bool {
        self.settings.parts.contains(&part)
    }

    fn facts(&self) -> Vec<EngineFacts> {
        let traced = self.has(Part::Trace) && trace::available();
        let calls = |engine: &dyn Engine| {
            eprintln!("trace {}", engine.name());
            trace::watch(engine, self.base, REPLAY_SIZE)
                .unwrap_or_else(|e| panic!("strace of {}: {e}", engine.name()))
        };
        self.engines
            .iter()
            .map(|engine| EngineFacts {
                name: engine.name(),
                role: engine.role(),
                setting: engine.setting(),
                replays: engine.replays(),
                calls: traced.then(|| calls(&**engine)),
            })
            .collect()
    }

    fn engine(&self, name: &str) -> &dyn Engine {
        let found = self.engines.iter().find(|e| e.name() == name);
        &**found.expect("cells are made of these engines")
    }

    fn durable_cells(&self) -> Vec<DurableCell> {
        let mut cells = Vec::new();
        for (&size, &threads) in pairs(&self.settings.sizes, &self.settings.threads) {
            for engine in self.engines.iter().filter(|_| self.has(Part::Durable)) {
                cells.push(DurableCell {
                    engine: engine.name(),
                    size,
                    threads,
                    runs: Vec::new(),
                });
            }
        }
        cells
    }

    fn run_durable(&self, run: u64, cells: &mut [DurableCell]) {
        for group in cells.chunk_by_mut(|a, b| (a.size, a.threads) == (b.size, b.threads)) {
            rotate(group, run);
            for cell in group.iter_mut() {
                eprintln!("durable {} B x {} {}", cell.size, cell.threads, cell.engine);
                let figure = self.in_store(cell.engine, |store| {
                    appends::durable(store, &self.machine, cell.threads, cell.size, self.span())
                });
                cell.runs.push(figure);
            }
            rotate_back(group, run);
        }
    }

    fn without_sync_cells(&self) -> Vec<WithoutSyncCell> {
        let mut cells = Vec::new();
        for (&size, &threads) in pairs(&self.settings.sizes, &WITHOUT_SYNC_THREADS) {
            let engines = self.engines.iter().filter(|e| e.appends_without_sync());
            for engine in engines.filter(|_| self.has(Part::Unsynced)) {
                cells.push(WithoutSyncCell {
                    engine: engine.name(),
                    size,
                    threads,
                    runs: Vec::new(),
                });
            }
        }
        cells
    }

    fn run_without_sync(&self, run: u64, cells: &mut [WithoutSyncCell]) {
        for group in cells.chunk_by_mut(|a, b| (a.size, a.threads) == (b.size, b.threads)) {
            rotate(group, run);
            for cell in group.iter_mut() {
                eprintln!(
                    "unsynced {} B x {} {}",
                    cell.size, cell.threads, cell.engine
                );
                let figure = self.in_store(cell.engine, |store| {
                    appends::without_sync(store, cell.threads, cell.size, self.span())
                });
                cell.runs.push(figure);
            }
            rotate_back(group, run);
        }
    }

    fn replay_cells(&self) -> Vec<ReplayCell> {
        let engines = self.engines.iter().filter(|e| e.replays().is_some());
        let cell = |engine: &dyn Engine, bytes| ReplayCell {
            engine: engine.name(),
            size: REPLAY_SIZE,
            bytes,
            runs: Vec::new(),
        };
        let mut cells: Vec<ReplayCell> = engines
            .filter(|_| self.has(Part::Replay))
            .map(|engine| cell(&**engine, self.settings.replay_mib << 20))
            .collect();
        if let Some(gib) = self.settings.open_long.filter(|_| self.has(Part::Replay)) {
            let ours = self.engines.iter().filter(|e| e.role() == Role::Ours);
            cells.extend(ours.map(|engine| cell(&**engine, gib << 30)));
        }
        cells
    }

    fn run_replay(&self, run: u64, cells: &mut [ReplayCell]) {
        rotate(cells, run);
        for cell in cells.iter_mut() {
            eprintln!("replay {} MiB {}", cell.bytes >> 20, cell.engine);
            let dir = self.cell_dir();
            cell.runs.push(replays::crash_and_replay(
                self.engine(cell.engine),
                dir.path(),
                cell.size,
                cell.bytes / cell.size as u64,
            ));
        }
        rotate_back(cells, run);
    }

    fn span(&self) -> Span {
        Span {
            seconds: self.settings.seconds,
            max_bytes: self.settings.max_mib << 20,
        }
    }

    /// Waits until the disk has written whatever was left over, opens a new store, measures, and
    /// removes it.
    ///
    /// Not the other way round: to write back the pages that a mapped store has just faulted in
    /// protects them again.
    fn in_store<T>(&self, engine: &str, measure: impl FnOnce(&dyn Store) -> T) -> T {
        let dir = self.cell_dir();
        sync_file_system(dir.path());
        let store = self.engine(engine).open(dir.path(), Purpose::Append);
        measure(&*store)
    }

    fn cell_dir(&self) -> TempDir {
        tempfile::tempdir_in(self.base).unwrap()
    }
}

/// Waits until everything written to the file system of `dir` is on the disk.
pub fn sync_file_system(dir: &Path) {
    rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
}

fn pairs<'a, A, B>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (a, b)))
}

/// Another engine begins in every run: to be first after the change of cell is neither a gain nor a
/// loss.
fn rotate<T>(cells: &mut [T], run: u64) {
    if !cells.is_empty() {
        cells.rotate_left(usize::try_from(run).unwrap() % cells.len());
    }
}

fn rotate_back<T>(cells: &mut [T], run: u64) {
    if !cells.is_empty() {
        cells.rotate_right(usize::try_from(run).unwrap() % cells.len());
    }
}
