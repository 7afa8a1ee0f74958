//! What the simulated disk loses, keeps and pretends.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it, like the test itself"
)]

use highwater_disk::sim::{Call, Fault, FaultKind, Rng};
use highwater_disk::{
    Access, AppendMap, Disk, DiskError, DiskFile, Reserver, SimDisk, raw_os_error,
};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const SEEDS: u64 = if cfg!(miri) { 20 } else { 300 };

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A file whose name and `content` are durable.
fn durable(sim: &SimDisk, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
    let file = sim.create_new(path(name)).unwrap();
    file.write_all_at(content, 0).unwrap();
    file.sync().unwrap();
    sim.sync_dir(path("/")).unwrap();
    file
}

/// All that can be left of the file `name` after a power cut now.
fn outcomes(sim: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let sim = if sim.is_alive() {
        sim.snapshot()
    } else {
        sim.clone()
    };
    sim.cut_power_now();
    (0..SEEDS)
        .map(|seed| sim.restart_after_power_cut(seed).read_file(name))
        .collect()
}

fn some(content: &[u8]) -> Option<Vec<u8>> {
    Some(content.to_vec())
}

fn store(map: &AppendMap, bytes: &[u8]) {
    map.reserve(bytes.len() as u64, map.capacity(), Reserver::Appender)
        .unwrap()
        .fill(&[bytes]);
}

// ---- what a power cut leaves

#[test]
fn unsynced_content_may_vanish_and_may_stay_synced_content_never_changes() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"old");
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([some(b"old")]));
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(
        outcomes(&sim, "/a"),
        BTreeSet::from([some(b"old"), some(b"new")])
    );
    file.sync().unwrap();
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([some(b"new")]));
}

#[test]
fn the_length_is_the_old_or_the_new_one() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"12345678");
    file.write_all_at(b"9", 8).unwrap();
    let expected = [b"12345678".as_slice(), b"12345678\0", b"123456789"].map(some);
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from(expected));
    file.sync().unwrap();
    file.set_len(2).unwrap();
    assert_eq!(
        outcomes(&sim, "/a"),
        BTreeSet::from([some(b"12"), some(b"123456789")])
    );
    file.sync().unwrap();
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([some(b"12")]));
}

/// F4: tears happen between sectors and never inside one, and every subset of three sectors can be
/// left.
#[test]
fn a_write_tears_at_sectors_in_any_order() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 1536]);
    file.write_all_at(&[1; 1536], 0).unwrap();
    let mut subsets = BTreeSet::new();
    for content in outcomes(&sim, "/a") {
        let content = content.unwrap();
        let sectors: Vec<u8> = content.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            content
                .chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        subsets.insert(sectors);
    }
    assert_eq!(
        subsets.len(),
        if cfg!(miri) { subsets.len() } else { 8 },
        "{subsets:?}"
    );
}

#[test]
fn a_name_needs_a_sync_of_its_directory() {
    let sim = SimDisk::new();
    let file = sim.create_new(path("/a")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([None, some(b"x")]));
    sim.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([some(b"x")]));
}

#[test]
fn a_durable_name_does_not_make_the_content_durable() {
    let sim = SimDisk::new();
    let file = sim.create_new(path("/a")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    sim.sync_dir(path("/")).unwrap();
    let expected = [b"".as_slice(), b"\0", b"x"].map(some);
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from(expected));
    assert_eq!(sim.durable_file("/a"), some(b""));
}

/// F10: a removed file may come back, with its durable content.
#[test]
fn a_removed_name_comes_back_unless_the_directory_was_synced() {
    let sim = SimDisk::new();
    durable(&sim, "/a", b"x");
    sim.remove_file(path("/a")).unwrap();
    assert_eq!(sim.durable_file("/a"), some(b"x"));
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([None, some(b"x")]));
    sim.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([None]));
}

#[test]
fn a_rename_is_atomic() {
    let sim = SimDisk::new();
    durable(&sim, "/tmp", b"new");
    durable(&sim, "/final", b"old");
    sim.rename(path("/tmp"), path("/final")).unwrap();
    sim.cut_power_now();
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let left = sim.restart_after_power_cut(seed);
        seen.insert((left.read_file("/tmp"), left.read_file("/final")));
    }
    let expected = [(some(b"new"), some(b"old")), (None, some(b"new"))];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn a_rename_between_directories_is_durable_when_either_is_synced() {
    for dir in ["/from", "/to"] {
        let sim = SimDisk::new();
        sim.create_dir_all(path("/from")).unwrap();
        sim.create_dir_all(path("/to")).unwrap();
        sim.create_new(path("/from/a")).unwrap().sync().unwrap();
        sim.rename(path("/from/a"), path("/to/b")).unwrap();
        sim.sync_dir(path(dir)).unwrap();
        assert_eq!(outcomes(&sim, "/to/b"), BTreeSet::from([some(b"")]));
        assert_eq!(
            outcomes(&sim, "/from/a"),
            BTreeSet::from([None]),
            "not at both places"
        );
    }
}

#[test]
fn names_survive_in_order_or_in_any_subset_that_makes_sense() {
    let sim = SimDisk::new();
    for name in ["/a", "/b"] {
        sim.create_new(path(name)).unwrap();
    }
    sim.rename(path("/b"), path("/c")).unwrap();
    sim.cut_power_now();
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let files = sim.restart_after_power_cut(seed).files();
        seen.insert(
            files
                .iter()
                .map(|f| f.display().to_string())
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    let expected = ["", "/a", "/b", "/c", "/a /b", "/a /c"].map(String::from);
    assert!(
        seen.is_subset(&BTreeSet::from(expected.clone())),
        "{seen:?}"
    );
    assert!(cfg!(miri) || seen.len() == expected.len(), "{seen:?}");
}

#[test]
fn a_directory_is_durable_once_created_with_its_parents() {
    let sim = SimDisk::new();
    sim.create_dir_all(path("/x/y")).unwrap();
    sim.cut_power_now();
    for seed in 0..SEEDS {
        assert!(
            sim.restart_after_power_cut(seed)
                .list(path("/x/y"))
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_cut_in_the_creation_of_directories_leaves_any_part_of_the_path() {
    let sim = SimDisk::new();
    sim.cut_power_before(0);
    assert!(SimDisk::is_power_cut(
        &sim.create_dir_all(path("/x/y")).unwrap_err()
    ));
    let depth = |seed| {
        let left = sim.restart_after_power_cut(seed);
        usize::from(left.list(path("/x")).is_ok()) + usize::from(left.list(path("/x/y")).is_ok())
    };
    let seen: BTreeSet<usize> = (0..SEEDS).map(depth).collect();
    assert_eq!(seen, BTreeSet::from([0, 1, 2]));
}

#[test]
fn links_of_one_file_stay_one_file() {
    let sim = SimDisk::new();
    durable(&sim, "/a", b"x");
    sim.hard_link(path("/a"), path("/b")).unwrap();
    sim.sync_dir(path("/")).unwrap();
    sim.cut_power_now();
    let left = sim.restart_after_power_cut(0);
    left.open(path("/b"), Access::ReadWrite)
        .unwrap()
        .write_all_at(b"y", 0)
        .unwrap();
    assert_eq!(left.read_file("/a"), some(b"y"));
    left.remove_file(path("/a")).unwrap();
    assert_eq!(left.used_bytes(), 1, "still has a name");
    left.remove_file(path("/b")).unwrap();
    assert_eq!(left.used_bytes(), 0);
}

// ---- maps

#[test]
fn a_map_sync_makes_exactly_its_pages_durable() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 12288]);
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 12288]);
    map.sync(4096..4100).unwrap();
    let kept = sim.durable_file("/a").unwrap();
    assert_eq!(kept, [[0; 4096], [1; 4096], [0; 4096]].concat());
    map.sync(4095..4097).unwrap();
    assert_eq!(
        sim.durable_file("/a").unwrap(),
        [[1; 4096], [1; 4096], [0; 4096]].concat()
    );
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a").unwrap(), [1; 12288]);
}

#[test]
fn a_store_after_the_cut_goes_nowhere() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 64]);
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 8]);
    sim.cut_power_now();
    store(&map, &[2; 8]);
    assert!(SimDisk::is_power_cut(&map.sync(0..16).unwrap_err()));
    assert_eq!(
        map.complete_prefix(),
        Ok(16),
        "the memory of the dead process still works"
    );
    let mut before = vec![0; 64];
    let lost = some(&before);
    before[..8].fill(1);
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([lost, some(&before)]));
}

#[test]
fn a_mapped_file_cannot_change_its_length() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 64]);
    let map = file.map_append(0).unwrap();
    assert_eq!(
        file.set_len(128).unwrap_err().kind(),
        ErrorKind::ResourceBusy
    );
    assert_eq!(file.set_len(8).unwrap_err().kind(), ErrorKind::ResourceBusy);
    assert_eq!(
        file.write_at(&[1; 16], 56).unwrap_err().kind(),
        ErrorKind::ResourceBusy
    );
    file.set_len(64).unwrap();
    drop(map);
    file.set_len(8).unwrap();
}

#[test]
fn a_map_sync_makes_the_length_durable_that_its_bytes_need() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[1; 8]);
    file.set_len(64).unwrap();
    let map = file.map_append(8).unwrap();
    store(&map, &[2; 8]);
    map.sync(0..16).unwrap();
    assert_eq!(sim.durable_file("/a").unwrap().len(), 64);
}

/// The crash copies the files while threads append: under Miri this shows that there is no data
/// race.
#[test]
fn the_power_may_go_off_while_threads_append() {
    const RECORD: usize = 64;
    let sim = SimDisk::new();
    let records: usize = if cfg!(miri) { 30 } else { 4_000 };
    let file = durable(&sim, "/a", &vec![0; 4 * records * RECORD]);
    let map = file.map_append(0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..records {
                    store(&map, &[1; RECORD]);
                }
            });
        }
        scope.spawn(|| {
            while map.reserved() < map.capacity() / 2 {
                std::thread::yield_now();
            }
            map.sync(0..4096).unwrap();
            sim.cut_power_now();
        });
    });
    let left = sim.restart_after_power_cut(1).read_file("/a").unwrap();
    assert!(
        left.chunks(RECORD)
            .all(|r| r == [0; RECORD] || r == [1; RECORD]),
        "no torn record"
    );
}

// ---- cutting at a call

#[test]
fn a_cut_before_a_sync_means_that_it_did_not_happen() {
    for target in [Call::Sync, Call::SyncMap, Call::SyncDir] {
        let sim = SimDisk::new();
        let file = durable(&sim, "/a", &[0; 8]);
        let map = file.map_append(0).unwrap();
        store(&map, &[1; 8]);
        sim.create_new(path("/b")).unwrap();
        sim.cut_power_before(sim.mutations());
        let outcome = match target {
            Call::Sync => file.sync(),
            Call::SyncMap => map.sync(0..8),
            _ => sim.sync_dir(path("/")),
        };
        assert!(SimDisk::is_power_cut(&outcome.unwrap_err()));
        assert_eq!(
            outcomes(&sim, "/a"),
            BTreeSet::from([some(&[0; 8]), some(&[1; 8])])
        );
        assert_eq!(outcomes(&sim, "/b"), BTreeSet::from([None, some(b"")]));
    }
}

#[test]
fn every_call_fails_once_the_power_is_off() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 8]);
    let lock = sim.lock_dir(path("/")).unwrap();
    let map = file.map_append(0).unwrap();
    let pages = durable(&sim, "/pages", &[0; 4096]);
    let staged = pages.map_append_direct(4096).unwrap();
    let shown = file.map_read().unwrap();
    let (operations, mutations) = (sim.operations(), sim.mutations());
    sim.cut_power_now();
    assert!(!sim.is_alive());
    let root = path("/");
    let errors = [
        sim.create_dir_all(path("/d")).unwrap_err(),
        sim.list(root).unwrap_err(),
        sim.create_new(path("/b")).unwrap_err(),
        sim.open(path("/a"), Access::Read).unwrap_err(),
        sim.rename(path("/a"), path("/b")).unwrap_err(),
        sim.hard_link(path("/a"), path("/b")).unwrap_err(),
        sim.remove_file(path("/a")).unwrap_err(),
        sim.sync_dir(root).unwrap_err(),
        sim.lock_dir(root).unwrap_err(),
        file.len().unwrap_err(),
        file.read_at(&mut [0], 0).unwrap_err(),
        file.write_at(&[1], 0).unwrap_err(),
        file.set_len(0).unwrap_err(),
        file.allocate(16).unwrap_err(),
        file.sync().unwrap_err(),
        file.map_append(0).unwrap_err(),
        file.map_read().unwrap_err(),
        map.sync(0..8).unwrap_err(),
        sim.file_system(root).unwrap_err(),
        staged.give_back(4096).unwrap_err(),
        shown.populate(0..8).unwrap_err(),
        staged.sync(0..4096).unwrap_err(),
        pages.map_append_direct(0).unwrap_err(),
    ];
    assert_eq!(errors.len(), Call::ALL.len());
    for error in &errors {
        assert!(
            SimDisk::is_power_cut(error) && !SimDisk::is_killed(error),
            "{error}"
        );
        assert!(SimDisk::caused_by_power_cut(error));
    }
    assert_eq!((sim.operations(), sim.mutations()), (operations, mutations));
    drop((map, file, lock));
    let left = sim.restart_after_power_cut(0);
    let _lock = left.lock_dir(root).unwrap();
    assert_eq!((left.operations(), left.mutations()), (1, 0));
}

#[test]
fn a_power_cut_is_recognised_through_other_errors() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let sim = SimDisk::new();
    sim.cut_power_now();
    let outer = Outer(sim.list(path("/")).unwrap_err());
    assert!(SimDisk::caused_by_power_cut(&outer));
    assert!(!SimDisk::caused_by_power_cut(&Outer(
        ErrorKind::Other.into()
    )));
}

#[test]
fn operations_count_every_call_and_mutations_only_what_changes_the_disk() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 8]);
    assert_eq!((sim.operations(), sim.mutations()), (4, 4));
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 8]);
    map.sync(0..8).unwrap();
    assert_eq!(
        (sim.operations(), sim.mutations()),
        (6, 6),
        "a store is no call"
    );
    sim.list(path("/")).unwrap();
    sim.open(path("/a"), Access::Read)
        .unwrap()
        .map_read()
        .unwrap();
    file.read_at(&mut [0], 0).unwrap();
    file.len().unwrap();
    sim.lock_dir(path("/")).unwrap();
    assert_eq!((sim.operations(), sim.mutations()), (12, 6));
    sim.open(path("/missing"), Access::Read).unwrap_err();
    assert_eq!(sim.operations(), 13, "failed calls count");
}

// ---- the kernel that forgets

/// F15, F17: a failed sync is final, the page cache lies about it, and only rewriting helps.
#[test]
fn after_a_failed_sync_the_cache_shows_what_the_next_cut_takes() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"old");
    file.write_all_at(b"new", 0).unwrap();
    sim.fail(Fault::new(Call::Sync, FaultKind::Eio));
    let error = file.sync().unwrap_err();
    assert_eq!(raw_os_error(&error), Some(5));
    assert_eq!(sim.read_file("/a"), some(b"new"));
    file.sync().unwrap(); // succeeds, and has saved nothing
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([some(b"old")]));
    let next = sim.kill_process();
    assert_eq!(
        next.read_file("/a"),
        some(b"new"),
        "the lie survives the process"
    );
    let file = next.open(path("/a"), Access::ReadWrite).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&next, "/a"), BTreeSet::from([some(b"old")]));
    file.write_all_at(b"new", 0).unwrap(); // the same bytes: dirty again
    assert_eq!(
        outcomes(&next, "/a"),
        BTreeSet::from([some(b"old"), some(b"new")])
    );
    file.sync().unwrap();
    assert_eq!(outcomes(&next, "/a"), BTreeSet::from([some(b"new")]));
}

#[test]
fn a_failed_sync_forgets_a_new_length_until_it_is_written_again() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"1234");
    file.write_all_at(b"5678", 4).unwrap();
    sim.fail(Fault::new(Call::Sync, FaultKind::Eio));
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a"), some(b"1234"));
    file.write_all_at(b"5678", 4).unwrap();
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a"), some(b"12345678"));
}

#[test]
fn a_failed_sync_forgets_zeros_and_holes_too() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"");
    file.write_all_at(&[0; 4096], 0).unwrap();
    sim.fail(Fault::new(Call::Sync, FaultKind::Eio));
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a"), some(b""));
    file.write_all_at(&[0; 4096], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a"), some(&[0; 4096]));
}

#[test]
fn a_failed_map_sync_forgets_its_pages_and_a_new_store_makes_them_dirty_again() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 8192]);
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 1024]);
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio).on("/a"));
    map.sync(0..1024).unwrap_err();
    map.sync(0..1024).unwrap();
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a").unwrap(), [0; 8192]);
    store(&map, &[2; 8]); // into the third sector, which was clean
    map.sync(0..4096).unwrap();
    let mut expected = vec![0; 8192];
    expected[1024..1032].fill(2);
    assert_eq!(sim.durable_file("/a").unwrap(), expected);
    file.write_all_at(&[1; 8], 512).unwrap(); // rewrites the second sector
    map.sync(0..4096).unwrap();
    expected[512..1024].fill(1);
    assert_eq!(sim.durable_file("/a").unwrap(), expected);
}

#[test]
fn a_store_into_a_forgotten_sector_makes_it_dirty_again() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 512]);
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 8]);
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    map.sync(0..8).unwrap_err();
    store(&map, &[2; 8]);
    map.sync(8..16).unwrap();
    assert_eq!(
        &sim.durable_file("/a").unwrap()[..16],
        [[1; 8], [2; 8]].concat()
    );
}

/// F24
#[test]
fn a_failed_sync_of_a_directory_forgets_its_names() {
    let sim = SimDisk::new();
    sim.create_new(path("/a")).unwrap();
    sim.fail(Fault::new(Call::SyncDir, FaultKind::Eio));
    sim.sync_dir(path("/")).unwrap_err();
    sim.sync_dir(path("/")).unwrap();
    assert_eq!(sim.files(), [path("/a")]);
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([None]));
    sim.rename(path("/a"), path("/b")).unwrap(); // a new change of the name
    sim.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&sim, "/b"), BTreeSet::from([some(b"")]));
}

#[test]
fn a_sync_can_fail_without_forgetting() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"old");
    file.write_all_at(b"new", 0).unwrap();
    sim.fail(Fault::new(Call::Sync, FaultKind::Eintr).keeping_dirty());
    assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Interrupted);
    file.sync().unwrap();
    assert_eq!(sim.durable_file("/a"), some(b"new"));
}

// ---- faults

#[test]
fn each_kind_of_fault_shows_as_its_errno() {
    let expected = [
        (FaultKind::Eio, 5),
        (FaultKind::Enospc, 28),
        (FaultKind::Eintr, 4),
        (FaultKind::Emfile, 24),
        (FaultKind::Enfile, 23),
        (FaultKind::Eacces, 13),
        (FaultKind::Erofs, 30),
        (FaultKind::Enomem, 12),
        (FaultKind::Efbig, 27),
        (FaultKind::Edquot, 122),
        (FaultKind::Estale, 116),
    ];
    let sim = SimDisk::new();
    for (kind, errno) in expected {
        sim.fail(Fault::new(Call::List, kind));
        let error = sim.list(path("/")).unwrap_err();
        assert_eq!(raw_os_error(&error), Some(errno), "{kind:?}");
        assert_eq!(
            error.kind(),
            std::io::Error::from_raw_os_error(errno).kind()
        );
        sim.list(path("/")).unwrap();
    }
    assert_eq!(sim.faults_fired(), 11);
}

#[test]
fn every_call_can_be_made_to_fail_without_effect() {
    for call in Call::ALL {
        let sim = SimDisk::new();
        let file = durable(&sim, "/a", &[0; 8]);
        let map = file.map_append(0).unwrap();
        let pages = durable(&sim, "/pages", &[0; 4096]);
        let staged = pages.map_append_direct(4096).unwrap();
        let shown = file.map_read().unwrap();
        sim.fail(Fault::new(call, FaultKind::Eacces));
        let root = path("/");
        let error = match call {
            Call::CreateDir => sim.create_dir_all(path("/d")).unwrap_err(),
            Call::List => sim.list(root).unwrap_err(),
            Call::Create => sim.create_new(path("/b")).unwrap_err(),
            Call::Open => sim.open(path("/a"), Access::Read).unwrap_err(),
            Call::Rename => sim.rename(path("/a"), path("/b")).unwrap_err(),
            Call::Link => sim.hard_link(path("/a"), path("/b")).unwrap_err(),
            Call::Remove => sim.remove_file(path("/a")).unwrap_err(),
            Call::SyncDir => sim.sync_dir(root).unwrap_err(),
            Call::Lock => sim.lock_dir(root).unwrap_err(),
            Call::Len => file.len().unwrap_err(),
            Call::Read => file.read_at(&mut [0], 0).unwrap_err(),
            Call::Write => file.write_at(&[1], 0).unwrap_err(),
            Call::SetLen => file.set_len(16).unwrap_err(),
            Call::Allocate => file.allocate(16).unwrap_err(),
            Call::Sync => file.sync().unwrap_err(),
            Call::MapAppend => file.map_append(0).unwrap_err(),
            Call::MapRead => file.map_read().unwrap_err(),
            Call::SyncMap => map.sync(0..8).unwrap_err(),
            Call::FileSystem => sim.file_system(root).unwrap_err(),
            Call::GiveBack => staged.give_back(4096).unwrap_err(),
            Call::Populate => shown.populate(0..8).unwrap_err(),
            Call::WriteDirect => staged.sync(0..4096).unwrap_err(),
            Call::MapAppendDirect => pages.map_append_direct(0).unwrap_err(),
        };
        assert_eq!(
            error.kind(),
            ErrorKind::PermissionDenied,
            "{call:?}: {error}"
        );
        assert_eq!(sim.files(), [path("/a"), path("/pages")], "{call:?}");
        assert_eq!(sim.read_file("/a"), some(&[0; 8]), "{call:?}");
        staged.give_back(4096).unwrap();
        assert!(sim.list(path("/d")).is_err());
    }
}

#[test]
fn faults_start_at_the_nth_call_repeat_and_look_at_the_path() {
    let sim = SimDisk::new();
    let (a, b) = (durable(&sim, "/a", b""), durable(&sim, "/b", b""));
    sim.fail(
        Fault::new(Call::Len, FaultKind::Eio)
            .nth(1)
            .times(2)
            .on("/b"),
    );
    let pattern = |file: &dyn DiskFile| (0..5).map(|_| file.len().is_ok()).collect::<Vec<_>>();
    assert_eq!(pattern(&*a), [true; 5]);
    assert_eq!(pattern(&*b), [true, false, false, true, true]);
    sim.fail(Fault::new(Call::Len, FaultKind::Eio).nth(3).forever());
    assert_eq!(pattern(&*a), [true, true, true, false, false]);
    assert_eq!(pattern(&*b), [false; 5]);
    sim.clear_faults();
    assert_eq!(pattern(&*b), [true; 5]);
    sim.fail(Fault::new(Call::Rename, FaultKind::Eio).on("target"));
    sim.rename(path("/a"), path("/target")).unwrap_err();
    sim.rename(path("/a"), path("/target")).unwrap();
}

/// F20: half of the bytes are written, and `write_all_at` goes on.
#[test]
fn short_reads_and_writes_and_interruptions_are_continued() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"");
    sim.fail(Fault::new(Call::Write, FaultKind::Short));
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    sim.fail(Fault::new(Call::Write, FaultKind::Short).forever());
    sim.fail(Fault::new(Call::Write, FaultKind::Eintr).nth(1));
    file.write_all_at(b"0123456789", 0).unwrap();
    sim.fail(Fault::new(Call::Read, FaultKind::Short).times(2));
    sim.fail(Fault::new(Call::Read, FaultKind::Eintr).nth(2));
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"0123456789");
}

// ---- a full disk

/// F21, F22
#[test]
fn a_full_disk_refuses_growth_and_space_comes_back() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[1; 600]);
    sim.set_capacity(Some(1000));
    assert_eq!(
        file.write_at(&[2; 500], 600).unwrap(),
        400,
        "what fits is written"
    );
    let error = file.write_at(&[2; 1], 1000).unwrap_err();
    assert_eq!(
        (error.kind(), raw_os_error(&error)),
        (ErrorKind::StorageFull, Some(28))
    );
    assert_eq!(
        file.set_len(1001).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    file.write_all_at(&[3; 1000], 0).unwrap(); // overwriting needs no space
    let other = sim.create_new(path("/b")).unwrap();
    assert_eq!(
        other.write_all_at(b"x", 0).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    sim.remove_file(path("/a")).unwrap();
    assert_eq!(sim.used_bytes(), 1000, "an open file keeps its space");
    let map = file.map_append(0).unwrap();
    drop(file);
    assert_eq!(sim.used_bytes(), 1000, "and so does a map");
    drop(map);
    assert_eq!(sim.used_bytes(), 0);
    other.write_all_at(&[4; 1000], 0).unwrap();
    sim.set_capacity(None);
    other.set_len(5000).unwrap();
}

#[test]
fn a_replaced_or_cut_file_gives_its_space_back() {
    let sim = SimDisk::new();
    drop(durable(&sim, "/a", &[1; 600]));
    let file = durable(&sim, "/b", &[2; 400]);
    sim.rename(path("/b"), path("/a")).unwrap();
    assert_eq!(sim.used_bytes(), 400);
    file.set_len(100).unwrap();
    assert_eq!(sim.used_bytes(), 100);
}

// ---- processes and machines

#[test]
fn killing_the_process_keeps_the_page_cache_and_frees_the_locks() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 16]);
    let lock = sim.lock_dir(path("/")).unwrap();
    let map = file.map_append(0).unwrap();
    store(&map, &[1; 8]);
    let unnamed = sim.create_new(path("/gone")).unwrap();
    sim.remove_file(path("/gone")).unwrap();
    let next = sim.kill_process();
    assert!(!sim.is_alive() && next.is_alive());
    assert!(SimDisk::is_killed(&file.sync().unwrap_err()));
    assert!(SimDisk::is_killed(&unnamed.len().unwrap_err()));
    assert!(SimDisk::is_killed(&map.sync(0..8).unwrap_err()));
    store(&map, &[2; 8]); // a thread that has not noticed yet
    assert_eq!(next.read_file("/a").unwrap(), [[1; 8], [0; 8]].concat());
    assert_eq!(outcomes(&next, "/a").len(), 2, "still un-synced");
    let _lock = next.lock_dir(path("/")).unwrap();
    drop((lock, map, file, unnamed));
    assert_eq!(
        next.lock_dir(path("/")).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(next.files(), [path("/a")]);
}

#[test]
fn a_snapshot_goes_its_own_way() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", b"one");
    let map_free = sim.snapshot();
    file.write_all_at(b"two", 0).unwrap();
    assert_eq!(map_free.read_file("/a"), some(b"one"));
    let fork = sim.snapshot();
    assert_eq!((fork.operations(), fork.mutations()), (0, 0));
    assert_eq!(
        outcomes(&fork, "/a"),
        outcomes(&sim, "/a"),
        "what is un-synced stays so"
    );
    fork.remove_file(path("/a")).unwrap();
    assert_eq!(sim.read_file("/a"), some(b"two"));
}

#[test]
fn the_same_seed_gives_the_same_disaster() {
    let run = || {
        let sim = SimDisk::new();
        let mut rng = Rng::new(42);
        for number in 0..20 {
            let name = format!("/{number}");
            let file = sim.create_new(path(&name)).unwrap();
            let len = usize::try_from(rng.below(if cfg!(miri) { 100 } else { 5000 })).unwrap();
            file.write_all_at(&vec![7; len], 0).unwrap();
            if rng.chance(500) {
                file.sync().unwrap();
            }
            if rng.chance(200) {
                sim.sync_dir(path("/")).unwrap();
            }
        }
        sim.cut_power_now();
        sim
    };
    let image = |sim: SimDisk| -> Vec<_> {
        sim.files()
            .into_iter()
            .map(|file| (sim.read_file(&file), file))
            .collect()
    };
    let (first, second) = (run(), run());
    let mut distinct = BTreeSet::new();
    let seeds = if cfg!(miri) { 2 } else { SEEDS };
    for seed in 0..seeds {
        let left = image(first.restart_after_power_cut(seed));
        assert_eq!(left, image(first.restart_after_power_cut(seed)));
        assert_eq!(left, image(second.restart_after_power_cut(seed)));
        distinct.insert(left);
    }
    assert!(cfg!(miri) || distinct.len() > 10, "seeds differ");
}

#[test]
fn a_second_cut_keeps_what_the_first_left() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 1024]);
    file.write_all_at(&[1; 1024], 0).unwrap();
    sim.cut_power_now();
    for seed in 0..SEEDS {
        let left = sim.restart_after_power_cut(seed);
        let content = left.read_file("/a");
        assert_eq!(outcomes(&left, "/a"), BTreeSet::from([content]));
    }
}

// ---- damage

#[test]
fn files_can_be_edited_copied_put_and_deleted_from_outside() {
    let sim = SimDisk::new();
    drop(durable(&sim, "/a", b"abc"));
    let operations = sim.operations();
    sim.edit("/a", |bytes| bytes[1] ^= 1);
    sim.copy_file("/a", "/b");
    sim.put_file("/c", *b"junk");
    sim.delete_file("/a");
    assert_eq!(sim.operations(), operations);
    assert_eq!(sim.files(), [path("/b"), path("/c")]);
    assert_eq!(sim.durable_files(), sim.files());
    assert_eq!(outcomes(&sim, "/b"), BTreeSet::from([some(b"acc")]));
    assert_eq!(outcomes(&sim, "/c"), BTreeSet::from([some(b"junk")]));
    assert_eq!(outcomes(&sim, "/a"), BTreeSet::from([None]));
}

#[test]
#[should_panic(expected = "open or mapped")]
fn an_open_file_cannot_be_edited() {
    let sim = SimDisk::new();
    let _file = durable(&sim, "/a", b"abc");
    sim.edit("/a", Vec::clear);
}

#[test]
fn the_clock_of_the_disk_stamps_files() {
    let sim = SimDisk::new();
    sim.set_time_ms(5);
    let file = durable(&sim, "/a", b"");
    sim.set_time_ms(9);
    assert_eq!(sim.list(path("/")).unwrap()[0].modified_ms, 5);
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(sim.list(path("/")).unwrap()[0].modified_ms, 9);
}

/// A staged map writes the medium only by its sync, which the power cut tears by sectors like any
/// write; bytes that were not synced are never there, not even in the page cache of the next
/// process.
#[test]
fn a_staged_map_leaves_nothing_unsynced_and_tears_in_sectors() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let sim = SimDisk::new();
        let file = durable(&sim, "/a", &[9; 8192]);
        let map = file.map_append_direct(8).unwrap();
        store(&map, &[1; 1016]);
        map.complete_prefix().unwrap();
        assert_eq!(
            sim.read_file("/a").unwrap()[..1024],
            [9; 1024],
            "not synced"
        );
        sim.cut_power_before(sim.mutations());
        map.sync(8..1024).unwrap_err();
        let content = sim.restart_after_power_cut(seed).read_file("/a").unwrap();
        for (sector, bytes) in content.chunks(512).enumerate() {
            let expected: &[u8] = match sector {
                0 => &[&[9_u8; 8][..], &[1; 504]].concat(),
                1 => &[1; 512],
                2..8 => &[0; 512],
                _ => &[9; 512],
            };
            assert!(
                bytes == expected || bytes == [9; 512],
                "sector {sector} is torn"
            );
        }
        seen.insert(content[8..1024].iter().filter(|b| **b == 1).count());
    }
    assert!(
        seen.len() >= 3,
        "all, none and some sectors survive: {seen:?}"
    );
}

/// F30, F31: a page that cannot be read is an error with its offset, for a read and for populating
/// a map. Touching it in a map without populating shows junk, where the kernel would raise SIGBUS.
#[test]
fn a_page_that_cannot_be_read_is_an_error_until_it_is_written() {
    let content = [7; 5 * 4096];
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &content);
    sim.break_reads("/a", 9000..9001);
    let map = file.map_read().unwrap();
    map.populate(0..8192).unwrap();
    map.populate(12288..20480).unwrap();
    assert!(map.bytes()[8192..12288].iter().all(|byte| *byte != 7));
    let mut all = [0; 5 * 4096];
    assert_eq!(file.read_at(&mut all, 100).unwrap(), 8092);
    for error in [
        map.populate(0..20480).unwrap_err(),
        map.populate(12280..12284).unwrap_err(),
        file.read_exact_at(&mut all, 0).unwrap_err(),
        file.read_at(&mut [0], 8192).unwrap_err(),
    ] {
        assert_eq!(raw_os_error(&error), Some(5), "{error}");
        assert_eq!(DiskError::of(&error).unwrap().offset(), Some(8192));
    }
    sim.cut_power_now();
    let sim = sim.restart_after_power_cut(0);
    let file = sim.open(path("/a"), Access::ReadWrite).unwrap();
    file.read_exact_at(&mut all, 0).unwrap_err();
    file.write_all_at(&[8; 512], 8704).unwrap();
    file.read_exact_at(&mut all, 0).unwrap();
    sim.break_reads("/a", 0..1);
    file.read_exact_at(&mut all, 0).unwrap_err();
    sim.heal_reads("/a");
    file.read_exact_at(&mut all, 0).unwrap();
}

/// F31: of a staged map only what shows the file is read in; what is memory of the process is
/// copied from there.
#[test]
fn what_is_memory_of_the_process_needs_no_reading() {
    let sim = SimDisk::new();
    let file = durable(&sim, "/a", &[0; 4 * 4096]);
    let map = file.map_append_direct(4096 + 8).unwrap();
    let region = map
        .reserve(8184, map.capacity(), Reserver::Appender)
        .unwrap();
    region.fill(&[&[9; 8184]]);
    assert_eq!(map.complete_prefix().unwrap(), 12288);
    map.sync(4096..12288).unwrap();
    sim.break_reads("/a", 0..12288);
    let mut copied = [0; 4096];
    map.populate(4096..12288).unwrap();
    assert!(map.copy_from_memory(8192, &mut copied));
    assert_eq!(copied, [9; 4096]);
    assert!(!map.copy_from_memory(0, &mut copied));
    assert!(!map.copy_from_memory(12288, &mut copied));
    let error = map.populate(0..12288).unwrap_err();
    assert_eq!(DiskError::of(&error).unwrap().offset(), Some(0));
    map.give_back(8192).unwrap();
    let error = map.populate(4096..12288).unwrap_err();
    assert_eq!(DiskError::of(&error).unwrap().offset(), Some(4096));
    assert!(!map.copy_from_memory(4096, &mut copied));
    map.populate(8192..12288).unwrap();
    assert_eq!(
        map.populate(8192..16385).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}
