//! The power goes off at every call, and every call fails.

use super::*;

/// The power goes off before every mutation of opening, staging and publishing, twice in a row.
#[test]
fn every_committed_batch_is_one_file_whenever_the_power_goes_off() {
    cut_everywhere(&|disk| Arc::new(disk.clone()), [None; 3], 3);
}

#[test]
fn the_same_where_files_are_linked_to_their_names() {
    cut_everywhere(&|disk| Arc::new(LinksOnly(disk.clone())), [None; 3], 1);
    let workers = [Some(2), Some(3), Some(1)];
    cut_everywhere(&|disk| Arc::new(LinksOnly(disk.clone())), workers, 1);
}

/// Each life has another number of workers, so what it stages again has other parts.
#[test]
fn the_same_where_each_worker_writes_a_file() {
    for workers in [[Some(1), Some(2), Some(3)], [Some(3), Some(1), Some(2)]] {
        cut_everywhere(&|disk| Arc::new(disk.clone()), workers, 1);
    }
}

/// The old name reached the disk's void before the new one was on it: with a link the order of
/// syncs decides.
#[test]
fn a_file_that_is_given_its_name_has_one_name_at_least_whenever_the_power_goes_off() {
    let (dir, from, to) = (
        Path::new("/out"),
        Path::new("/out/from"),
        Path::new("/out/to"),
    );
    for kind in [
        &(|disk: &SimDisk| Arc::new(disk.clone()) as Arc<dyn Disk>) as &Kind,
        &|disk| Arc::new(LinksOnly(disk.clone())),
    ] {
        for cut in 0..6 {
            let disk = SimDisk::new();
            disk.create_dir_all(dir).unwrap();
            disk.put_file(from, "content");
            disk.cut_power_before(disk.mutations() + cut);
            let disk_of_kind = kind(&disk);
            let placed = rename_new(&*disk_of_kind, dir, from, to);
            let done = placed.and_then(|()| disk.sync_dir(dir)).is_ok();
            disk.cut_power_now();
            for seed in 0..64 {
                let disk = disk.restart_after_power_cut(seed);
                let at = [disk.read_file(to), disk.read_file(from)];
                let found = at.iter().flatten().next().unwrap();
                assert_eq!(
                    (&found[..], done && at[0].is_none()),
                    (&b"content"[..], false)
                );
            }
        }
    }
}

fn cut_everywhere(kind: &Kind, parts: [Parts; 3], seeds: u64) {
    let mut cuts = 0;
    for cut in 0.. {
        let (disk, mut log) = (SimDisk::new(), EMPTY);
        disk.cut_power_before(cut);
        if run_on(kind, &disk, &mut log, parts[0]).is_ok() {
            check_parts(&disk, BATCHES, parts[0]);
            break;
        }
        cuts = cut;
        for seed in 0..seeds {
            for again in 0..8 {
                let (disk, mut log) = (disk.restart_after_power_cut(seed), log.clone());
                disk.cut_power_before(again);
                if run_on(kind, &disk, &mut log, parts[1]).is_ok() {
                    check_parts(&disk, BATCHES, parts[1]);
                    break;
                }
                let disk = disk.restart_after_power_cut(seed);
                open_in(&log.context_on(kind(&disk)), parts[2]).unwrap();
                log.published = log.committed;
                check_parts(&disk, log.committed, parts[2]);
                run_on(kind, &disk, &mut log, parts[2]).unwrap();
                check_parts(&disk, BATCHES, parts[2]);
            }
        }
    }
    assert!(cuts > 15, "{cuts}");
}

/// A published file survives a power cut right after `publish`, without any further sync.
#[test]
fn a_published_batch_is_durable() {
    let disk = SimDisk::new();
    run(&disk, &mut new_log()).unwrap();
    disk.cut_power_now();
    for seed in 0..8 {
        check(&disk.restart_after_power_cut(seed), BATCHES);
    }
}

#[test]
fn a_failed_call_is_an_error_and_the_next_start_makes_it_good() {
    for call in [
        Call::Create,
        Call::Write,
        Call::Sync,
        Call::SyncDir,
        Call::Rename,
        Call::Open,
        Call::List,
        Call::CreateDir,
    ] {
        for nth in 0..4 {
            let (disk, mut log) = (SimDisk::new(), EMPTY);
            disk.fail(Fault::new(call, FaultKind::Eio).nth(nth));
            let failed = run(&disk, &mut log).is_err();
            assert_eq!(failed, disk.faults_fired() > 0, "{call:?} {nth}");
            disk.clear_faults();
            run(&disk, &mut log).unwrap();
            check(&disk, BATCHES);
        }
    }
}

/// A sync that failed is never tried again (P4); the rest is.
#[test]
fn only_a_failed_sync_is_permanent() {
    for (call, permanent) in [
        (Call::Create, false),
        (Call::Write, false),
        (Call::Rename, false),
        (Call::Sync, true),
        (Call::SyncDir, true),
    ] {
        for kind in [FaultKind::Eio, FaultKind::Enospc] {
            let disk = SimDisk::new();
            let sink = open(&disk, &EMPTY).unwrap();
            disk.fail(Fault::new(call, kind).times(1));
            let one_batch = || {
                let staged = stage(&sink, &batch(2), &records(2), None)?;
                publish(&sink, &batch(2), &staged)
            };
            let error = one_batch().unwrap_err();
            assert_eq!(
                SinkError::is_permanent(&error),
                permanent,
                "{call:?}: {error}"
            );
            one_batch().unwrap();
            assert_eq!(disk.read_file(path(2)).unwrap(), content(2).as_bytes());
        }
    }
}
