//! Real file systems that turn read-only, devices that fail, directories that may not be used.
//! Where this process may not mount, the tests say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests break the disk below the log"
)]

mod common;

use common::mounted::Mounted;
use common::process::{Running, await_word, command, command_from, exists, role, run, say};
use common::{contents, options, payloads};
use highwater_disk::Reserver;
use highwater_wal::disk::{Disk, OsDisk};
use highwater_wal::{Background, Lsn, Options, Wal, WalError, inspect};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const RECORD: usize = 3000;

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "commit" => commit_until_broken(&dir),
        "open" => open_and_tell(&dir),
        other => panic!("no role {other}"),
    }
}

fn record(number: u64) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(RECORD, 0x5A);
    record
}

/// Commits records, each when told to, until the log is poisoned; then reads everything that it
/// acknowledged, and shows that nothing more is accepted. Refusals that are no poison are told, and
/// the record is tried again.
fn commit_until_broken(dir: &Path) {
    let options = Options::new()
        .segment_size(512 << 10)
        .background(Background::Inline);
    let log = Wal::open_with(dir, options).unwrap();
    let mut acked = 0;
    while await_word() == "go" {
        match log.append(record(acked)).and_then(|lsn| log.sync_to(lsn)) {
            Ok(()) => {
                acked += 1;
                say("ack");
            }
            Err(error @ WalError::Poisoned { .. }) => {
                say(&format!("poisoned: {error}"));
                break;
            }
            Err(error) => say(&format!("refused: {error}")),
        }
    }
    let mut shown = 0;
    for record_ in log.read_from(Lsn::ZERO).unwrap() {
        assert_eq!(record_.unwrap().payload[..], record(shown));
        shown += 1;
    }
    assert_eq!(shown, acked, "readers still see what is durable, no more");
    assert!(matches!(log.append("x"), Err(WalError::Poisoned { .. })));
    assert!(matches!(log.sync(), Err(WalError::Poisoned { .. })));
    assert!(log.truncate_before(log.durable_lsn()).is_err());
    assert!(log.close().is_err());
    say("read all");
}

fn numbers(log: &Wal) -> u64 {
    let shown = contents(log);
    for (number, bytes) in shown.iter().enumerate() {
        assert_eq!(*bytes, record(number as u64));
    }
    shown.len() as u64
}

/// F29: a file system that has met an error maps no more files. What readers hold of an append map
/// stays. `mmap` had unmapped it before the file system was asked: the bytes were gone from under
/// them, or were other memory.
#[test]
fn memory_that_cannot_be_given_back_stays() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: no direct I/O here");
    }
    const SIZE: usize = 512 << 10;
    let Some(disk) = Mounted::ext4(16) else {
        return;
    };
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device());
    if !Path::new(&trigger).exists() {
        return eprintln!("skipped: this kernel has no {trigger}");
    }
    let file = OsDisk::new().create_new(&disk.path().join("file")).unwrap();
    file.write_all_at(&vec![0; SIZE], 0).unwrap();
    file.sync().unwrap();
    let map = file.map_append_direct(0).unwrap();
    let len = SIZE as u64;
    let region = map.reserve(len, len, Reserver::Appender).unwrap();
    region.fill(&[&[7; SIZE]]);
    let _ = map.complete_prefix().unwrap();
    map.sync(0..len).unwrap();
    map.give_back(len / 4).unwrap();
    let held = map.read(0..len).unwrap();
    fs::write(&trigger, "1").unwrap();
    let error = map.give_back(len / 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{error}");
    assert!(held.iter().all(|byte| *byte == 7));
}

/// F29: the file system turns read-only under load, as ext4 does after an error. The next commit
/// fails, for good; reading goes on; after a repair everything acknowledged is there.
#[test]
fn a_file_system_that_turns_read_only_stops_the_log_and_not_its_readers() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = scratch.path().join("image");
    let Some(disk) = Mounted::ext4_on(scratch, &image, 16) else {
        return;
    };
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device());
    if !Path::new(&trigger).exists() {
        return eprintln!("skipped: this kernel has no {trigger}");
    }
    let dir = disk.path().join("log");
    let mut running = Running::start(command("commit", &dir));
    for _ in 0..300 {
        running.tell("go");
        running.expect("ack");
    }
    fs::write(&trigger, "1").unwrap();
    running.tell("go");
    let said = running.hear().unwrap();
    assert!(
        said.starts_with("poisoned") && said.contains("Read-only"),
        "{said}"
    );
    running.expect("read all");
    let (_, status) = running.finish();
    assert!(status.success(), "{status}");
    // Opening it as it is says why that cannot be.
    let error = Wal::open_with(&dir, options()).unwrap_err();
    assert!(error.to_string().contains("Read-only"), "{error}");
    let looked = inspect::Log::open(Arc::new(OsDisk::new()), &dir).unwrap();
    assert!(looked.verify(|_| ()).unwrap().is_ok());
    disk.mount_again(&image);
    let found = numbers(&Wal::open_with(&dir, options()).unwrap());
    assert!((300..=301).contains(&found), "{found}");
}

/// F29: read-only when it is opened: an error that names the directory, nothing is changed, and it
/// can be looked at.
#[test]
fn a_read_only_file_system_is_refused_and_can_be_looked_at() {
    let Some(disk) = Mounted::ext4(16) else {
        return;
    };
    let dir = disk.path().join("log");
    let log = Wal::open_with(&dir, options()).unwrap();
    let lsn = log.append("a").unwrap();
    log.sync_to(lsn).unwrap();
    log.close().unwrap();
    drop(log);
    disk.remount("ro");
    for path in [dir.clone(), disk.path().join("new")] {
        let error = Wal::open_with(&path, options()).unwrap_err().to_string();
        assert!(
            error.contains("Read-only") && error.contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let looked = inspect::Log::open(Arc::new(OsDisk::new()), &dir).unwrap();
    let report = looked.verify(|_| ()).unwrap();
    assert!(report.is_ok() && report.records == 1);
    disk.remount("rw");
    assert_eq!(
        contents(&Wal::open_with(&dir, options()).unwrap()),
        payloads(["a"])
    );
}

/// F15, F18, F19 for real: a thinly provisioned device runs out of blocks below the file system, so
/// that write-back fails although the file system has room. Nothing is acknowledged that is not
/// there after the device is well again.
#[test]
fn a_device_that_fails_stops_the_log_and_loses_nothing_acknowledged() {
    let Some(below) = Mounted::tmpfs(24) else {
        return;
    };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = below.path().join("image");
    let Some(disk) = Mounted::ext4_on(scratch, &image, 64) else {
        return;
    };
    let dir = disk.path().join("log");
    let mut running = Running::start(command("commit", &dir));
    for _ in 0..300 {
        running.tell("go");
        running.expect("ack");
    }
    // From here on every block that the device does not have yet is an I/O error.
    let filler = below.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    let error = std::iter::from_fn(|| Some(file.write_all(&[1; 64 << 10])))
        .find_map(Result::err)
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let mut acked = 300;
    let mut refused = Vec::new();
    loop {
        running.tell("go");
        let said = running.hear().unwrap();
        match said.as_str() {
            "ack" => acked += 1,
            _ if said.starts_with("refused") && refused.len() < 20 => refused.push(said),
            _ => {
                refused.push(said);
                break;
            }
        }
    }
    assert!(acked < 2_000, "the device never failed");
    let stopped = refused.last().unwrap();
    assert!(
        stopped.starts_with("poisoned") || refused.len() > 20,
        "{stopped}"
    );
    if stopped.starts_with("poisoned") {
        running.expect("read all");
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    drop(file);
    fs::remove_file(filler).unwrap();
    disk.mount_again(&image);
    let found = numbers(&Wal::open_with(&dir, options()).unwrap());
    assert!(
        (acked..=acked + 1).contains(&found),
        "{acked} acknowledged, {found} found; {refused:?}"
    );
}

/// F45: the same directory by another path is the same log.
#[test]
fn a_second_opener_through_a_bind_mount_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let Some(other) = Mounted::bind(dir.path()) else {
        return;
    };
    let error = Wal::open_with(other.path(), options()).unwrap_err();
    assert!(matches!(error, WalError::Locked { .. }), "{error}");
    drop(log);
    Wal::open_with(other.path(), options()).unwrap();
}

/// F51: on file systems whose flushes mean less, everything else is as anywhere: a killed process
/// loses nothing.
#[test]
fn tmpfs_and_overlay_serve_a_killed_process() {
    for disk in [Mounted::tmpfs(16), Mounted::overlay()]
        .into_iter()
        .flatten()
    {
        let dir = disk.path().join("log");
        let mut running = Running::start(command("commit", &dir));
        for _ in 0..400 {
            running.tell("go");
            running.expect("ack");
        }
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert_eq!(numbers(&Wal::open_with(&dir, options()).unwrap()), 400);
    }
}

/// Opens the log and says how that went.
fn open_and_tell(dir: &Path) {
    match Wal::open_with(dir, options()) {
        Ok(log) => say(&format!("open, {} records", contents(&log).len())),
        Err(error) => say(&format!("error: {error}")),
    }
}

/// F50: another user, and attributes that forbid changes: an error that names the path, and the log
/// is as it was.
#[test]
fn a_directory_that_may_not_be_changed_is_a_clear_error() {
    let Some(disk) = Mounted::ext4(16) else {
        return;
    };
    let dir = disk.path().join("log");
    let log = Wal::open_with(&dir, options()).unwrap();
    let _ = log.append("a").unwrap();
    log.close().unwrap();
    drop(log);
    if exists("setpriv") {
        for mode in [0o700, 0o755] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            let said = open_as_nobody(&dir);
            assert!(
                said[0].starts_with("error") && said[0].contains("ermission denied"),
                "{said:?}"
            );
            assert!(said[0].contains(dir.to_str().unwrap()), "{said:?}");
            // Nothing said that it would have been enough for reading.
            assert!(said[0].contains("needs write access"), "{said:?}");
        }
    }
    for path in [dir.join("LOG"), dir.clone()] {
        chattr("+i", &path);
        let error = Wal::open_with(&dir, options()).unwrap_err().to_string();
        assert!(
            error.contains("not permitted") && error.contains(dir.to_str().unwrap()),
            "{error}"
        );
        chattr("-i", &path);
        let log = Wal::open_with(&dir, options()).unwrap();
        assert_eq!(contents(&log), payloads(["a"]));
    }
}

fn chattr(flag: &str, path: &Path) {
    let status = Command::new("chattr").arg(flag).arg(path).status().unwrap();
    assert!(status.success());
}

/// Runs the role "open" as another user, from a copy of this binary that everybody may execute.
fn open_as_nobody(dir: &Path) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups"];
    run(command_from(&copy, &nobody, "open", dir))
}
