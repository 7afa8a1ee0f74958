//! The same random calls on the real disk and on the simulated one. They must agree on every
//! answer: a test on a simulator that behaves otherwise proves nothing.
#![cfg(not(miri))]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it, like the test itself"
)]

#[path = "../../tests/support/saved_seeds.rs"]
mod saved_seeds;

use highwater_disk::{Access, Disk, DiskFile, EntryKind, OsDisk, Reserver, SimDisk};
use proptest::prelude::*;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    CreateDir(PathBuf),
    List(PathBuf),
    Create(PathBuf),
    Open(PathBuf, Access),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    SyncDir(PathBuf),
    Close,
    Write(u64, Vec<u8>),
    Read(u64, usize),
    SetLen(u64),
    Allocate(u64),
    Sync,
    MapAppend(u64, Vec<u8>),
    MapRead,
    ReadBack(PathBuf),
}

/// Few names, some of which lie below others, so that calls meet. (No `..`: the simulator resolves
/// it in the text.)
fn any_path() -> impl Strategy<Value = PathBuf> {
    prop::sample::select(vec!["a", "b", "c", "a/a", "a/b", "b/a", "a/b/c", "c/x/y"])
        .prop_map(PathBuf::from)
}

fn any_dir() -> impl Strategy<Value = PathBuf> {
    prop_oneof![4 => any_path(), 1 => Just(PathBuf::new())]
}

fn any_step() -> impl Strategy<Value = Step> {
    let bytes = || (any::<u8>(), 0..1500_usize).prop_map(|(byte, len)| vec![byte; len]);
    let access = prop::sample::select(vec![Access::Read, Access::ReadWrite]);
    prop_oneof![
        2 => any_dir().prop_map(Step::CreateDir),
        1 => any_dir().prop_map(Step::List),
        4 => any_path().prop_map(Step::Create),
        3 => (any_path(), access).prop_map(|(path, access)| Step::Open(path, access)),
        3 => (any_path(), any_path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Step::Link(from, to)),
        2 => any_path().prop_map(Step::Remove),
        1 => any_dir().prop_map(Step::RemoveDir),
        1 => any_dir().prop_map(Step::SyncDir),
        1 => Just(Step::Close),
        4 => (0..3000_u64, bytes()).prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
        2 => (0..3000_u64, 0..3000_usize).prop_map(|(offset, len)| Step::Read(offset, len)),
        2 => (0..3000_u64).prop_map(Step::SetLen),
        1 => (1..3000_u64).prop_map(Step::Allocate),
        1 => Just(Step::Sync),
        2 => (0..3000_u64, bytes()).prop_map(|(start, bytes)| Step::MapAppend(start, bytes)),
        1 => Just(Step::MapRead),
        2 => any_path().prop_map(Step::ReadBack),
    ]
}

/// A disk, and the file that was opened last.
struct Runner<'a> {
    disk: &'a dyn Disk,
    root: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
}

impl Runner<'_> {
    /// What one step answers: the bytes or names that it shows, or the kind of its error.
    fn step(&mut self, step: &Step) -> Result<String, io::ErrorKind> {
        self.try_step(step).map_err(|error| error.kind())
    }

    fn try_step(&mut self, step: &Step) -> io::Result<String> {
        let at = |path: &Path| self.root.join(path);
        let shown = |bytes: &[u8]| format!("{bytes:?}");
        match step {
            Step::CreateDir(path) => self.disk.create_dir_all(&at(path))?,
            Step::List(path) => {
                let entries = self.disk.list(&at(path))?;
                let shown = entries
                    .iter()
                    .map(|e| format!("{:?} {:?} {}", e.name, e.kind, e.len));
                return Ok(shown.collect::<Vec<_>>().join(", "));
            }
            Step::Create(path) => self.file = Some(self.disk.create_new(&at(path))?),
            Step::Open(path, access) => self.file = Some(self.disk.open(&at(path), *access)?),
            Step::Rename(from, to) => self.disk.rename(&at(from), &at(to))?,
            Step::Link(from, to) => self.disk.hard_link(&at(from), &at(to))?,
            Step::Remove(path) => self.disk.remove_file(&at(path))?,
            Step::RemoveDir(path) => self.disk.remove_dir(&at(path))?,
            Step::SyncDir(path) => self.disk.sync_dir(&at(path))?,
            Step::Close => self.file = None,
            Step::ReadBack(path) => {
                let file = self.disk.open(&at(path), Access::Read)?;
                let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
                file.read_exact_at(&mut bytes, 0)?;
                return Ok(shown(&bytes));
            }
            on_file => match &self.file {
                Some(file) => return step_on_file(&**file, on_file),
                None => return Ok("no file is open".into()),
            },
        }
        Ok("done".into())
    }
}

fn step_on_file(file: &dyn DiskFile, step: &Step) -> io::Result<String> {
    match step {
        Step::Write(offset, bytes) => Ok(format!("{}", file.write_at(bytes, *offset)?)),
        Step::Read(offset, len) => {
            let mut bytes = vec![0; *len];
            let count = file.read_at(&mut bytes, *offset)?;
            bytes.truncate(count);
            Ok(format!("{bytes:?}"))
        }
        Step::SetLen(len) => file.set_len(*len).map(|()| "done".into()),
        Step::Allocate(len) => file.allocate(*len).map(|()| "done".into()),
        Step::Sync => file.sync().map(|()| "done".into()),
        Step::MapAppend(start, bytes) => {
            let map = file.map_append(start / 8 * 8)?;
            let len = bytes.len() / 8 * 8;
            if let Some(bytes) = bytes.get(..len).filter(|bytes| !bytes.is_empty())
                && let Ok(region) = map.reserve(len as u64, map.capacity(), Reserver::Appender)
            {
                region.fill(&[bytes]);
            }
            let end = map.complete_prefix().unwrap();
            map.sync(0..end)?;
            Ok(format!("{:?}", map.read(0..end)))
        }
        Step::MapRead => Ok(format!("{:?}", file.map_read()?.bytes())),
        _ => Ok(String::new()),
    }
}

proptest! {
    #![proptest_config(saved_seeds::config(256, env!("CARGO_MANIFEST_DIR"), "differential"))]

    #[test]
    fn the_simulated_disk_answers_as_the_real_one(steps in prop::collection::vec(any_step(), 1..60)) {
        // In memory where possible: what is compared here are answers, and hundreds of real syncs
        // take a minute.
        let memory = tempfile::tempdir_in("/dev/shm");
        let dir = memory.or_else(|_| tempfile::tempdir()).unwrap();
        // The portable disk allocates by writing alone.
        for (name, os, allocates) in [
            ("native", OsDisk::new(), cfg!(all(target_os = "linux", not(highwater_portable)))),
            ("portable", OsDisk::portable(), false),
        ] {
            let sim = SimDisk::new();
            sim.create_dir_all(Path::new("/root")).unwrap();
            let root = dir.path().join(name);
            os.create_dir_all(&root).unwrap();
            let mut real = Runner { disk: &os, root, file: None };
            let mut simulated = Runner { disk: &sim, root: PathBuf::from("/root"), file: None };
            for (index, step) in steps.iter().enumerate() {
                if allocates || !matches!(step, Step::Allocate(_)) {
                    prop_assert_eq!(simulated.step(step), real.step(step), "{} step {}: {:?}", name, index, step);
                }
            }
        }
    }

    #[test]
    fn once_everything_is_synced_a_power_cut_takes_nothing(
        steps in prop::collection::vec(any_step(), 1..60),
        seed in any::<u64>(),
    ) {
        let sim = SimDisk::new();
        let mut simulated = Runner { disk: &sim, root: PathBuf::from("/"), file: None };
        for step in &steps {
            let _ = simulated.step(step);
        }
        sync_below(&sim, Path::new("/"));
        sim.cut_power_now();
        let left = sim.restart_after_power_cut(seed);
        prop_assert_eq!(left.files(), sim.files());
        for file in sim.files() {
            prop_assert_eq!(left.read_file(&file), sim.read_file(&file), "{:?}", file);
        }
    }
}

fn sync_below(disk: &dyn Disk, dir: &Path) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(entry.name);
        match entry.kind {
            EntryKind::Directory => sync_below(disk, &path),
            _ => disk.open(&path, Access::Read).unwrap().sync().unwrap(),
        }
    }
    disk.sync_dir(dir).unwrap();
}
