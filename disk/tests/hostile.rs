//! What other processes do to a file or a lock that the disk uses.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the test meddles with the files from outside"
)]

use highwater_disk::{Access, Disk, DiskError, OsDisk, Reserver};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// F52: between fork and exec a child of another thread has every descriptor of its parent, also
/// the lock's. Giving the lock up must not wait for it, or a log that was just closed could not be
/// opened again.
#[test]
#[cfg_attr(miri, ignore = "Miri knows no flock, processes or shared maps")]
fn a_lock_is_given_up_though_a_forked_child_still_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let lock = OsDisk::new().lock_dir(dir.path()).unwrap();
    let (mut forked, mut tell_forked) = io::pipe().unwrap();
    let (mut go_on, tell_go_on) = io::pipe().unwrap();
    let mut command = Command::new("true");
    let between = move || {
        tell_forked.write_all(b"f")?;
        let mut buf = [0];
        go_on.read_exact(&mut buf)
    };
    #[expect(
        unsafe_code,
        reason = "the only way to stop a child between fork and exec"
    )]
    // SAFETY: the closure only writes to and reads from pipes, which a forked child of a threaded
    // program may do.
    unsafe {
        command.pre_exec(between);
    }
    std::thread::scope(|scope| {
        let spawner = scope.spawn(move || command.status());
        let mut buf = [0];
        forked.read_exact(&mut buf).unwrap();
        assert_eq!(
            OsDisk::new().lock_dir(dir.path()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(lock);
        let again = OsDisk::new().lock_dir(dir.path());
        { tell_go_on }.write_all(b"g").unwrap();
        assert!(spawner.join().unwrap().unwrap().success());
        again.unwrap();
    });
}

/// F31: a store into the page in which a file was cut goes nowhere, although the processor and the
/// kernel accept it. Nothing may be taken for durable then.
#[test]
#[cfg_attr(miri, ignore = "Miri knows no flock, processes or shared maps")]
fn syncing_a_map_whose_file_was_cut_short_is_an_error() {
    for disk in [OsDisk::new(), OsDisk::portable()] {
        a_map_is_cut_short(disk);
    }
}

fn a_map_is_cut_short(disk: OsDisk) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = disk.create_new(&path).unwrap();
    file.write_all_at(&[0; 8192], 0).unwrap();
    let map = file.map_append(0).unwrap();
    map.reserve(64, 8192, Reserver::Appender)
        .unwrap()
        .fill(&[&[1; 64]]);
    map.complete_prefix().unwrap();
    map.sync(0..64).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(80)
        .unwrap();
    map.reserve(64, 8192, Reserver::Appender)
        .unwrap()
        .fill(&[&[2; 64]]);
    map.complete_prefix().unwrap();
    let error = map.sync(64..128).unwrap_err();
    assert!(
        error.to_string().contains("80") && error.to_string().contains("file"),
        "{error}"
    );
    let mut left = Vec::new();
    std::fs::File::open(&path)
        .unwrap()
        .read_to_end(&mut left)
        .unwrap();
    assert_eq!(left.len(), 80, "the second region went nowhere");
    drop(file);
    assert!(disk.open(&path, Access::Read).is_ok());
}

/// F31: a direct write into a file that was cut would extend it again, with a hole in place of the
/// cut bytes.
#[cfg(all(target_os = "linux", not(highwater_portable)))]
#[test]
#[cfg_attr(miri, ignore = "Miri knows no flock, processes or direct I/O")]
fn syncing_a_staged_map_whose_file_was_cut_short_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = OsDisk::new().create_new(&path).unwrap();
    file.write_all_at(&[0; 16384], 0).unwrap();
    let map = file.map_append_direct(0).unwrap();
    map.reserve(64, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[&[1; 64]]);
    map.complete_prefix().unwrap();
    map.sync(0..64).unwrap();
    file.set_len(80).unwrap();
    map.reserve(64, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[&[2; 64]]);
    map.complete_prefix().unwrap();
    let error = map.sync(64..128).unwrap_err();
    assert!(error.to_string().contains("cut"), "{error}");
}

/// F31: touching pages of a map past the end of its file raises SIGBUS. Asked before, the disk
/// reports the cut and its offset, for a read map and for both kinds of append maps.
#[test]
#[cfg_attr(miri, ignore = "Miri knows no shared maps")]
fn reading_in_pages_that_another_process_cut_off_is_an_error() {
    for (disk, direct) in [
        (
            OsDisk::new(),
            cfg!(all(target_os = "linux", not(highwater_portable))),
        ),
        (OsDisk::portable(), false),
    ] {
        pages_are_cut_off(disk, direct);
    }
}

fn pages_are_cut_off(disk: OsDisk, direct: bool) {
    const LEN: u64 = 5 << 20;
    let cut = 3 * 4096 + 100;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let open = |name: &str| {
        let file = disk.create_new(&path(name)).unwrap();
        file.write_zeros(0..LEN).unwrap();
        file
    };
    let (read, shared, staged) = (open("read"), open("shared"), open("staged"));
    let map = read.map_read().unwrap();
    let appended = shared.map_append(LEN).unwrap();
    let staged_map = match direct {
        true => staged.map_append_direct(LEN).unwrap(),
        false => staged.map_append(LEN).unwrap(),
    };
    type Populate<'a> = &'a dyn Fn(Range<u64>) -> io::Result<()>;
    let asked: [(&str, Populate<'_>); 3] = [
        ("read", &|range| map.populate(range)),
        ("shared", &|range| appended.populate(range)),
        ("staged", &|range| staged_map.populate(range)),
    ];
    for (name, populate) in asked {
        // Once before: what was read in once is not taken for there.
        populate(0..LEN).unwrap();
        populate(LEN - 1..LEN).unwrap();
        let by_another = std::fs::OpenOptions::new().write(true).open(path(name));
        by_another.unwrap().set_len(cut).unwrap();
        populate(0..4 * 4096).unwrap();
        for range in [0..LEN, 4 * 4096..4 * 4096 + 1, LEN - 1..LEN] {
            let error = populate(range).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
            assert_eq!(DiskError::of(&error).unwrap().offset(), Some(cut));
            let text = format!("the file was cut to {cut} of its {LEN} bytes");
            assert!(error.to_string().contains(&text), "{error}");
            assert!(error.to_string().contains(path(name).to_str().unwrap()));
        }
        assert_eq!(
            populate(0..LEN + 1).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}

/// Opening a FIFO waited until its other end was opened, so a log with one among its files hung.
#[test]
#[cfg_attr(miri, ignore = "Miri knows no FIFOs and sockets")]
fn only_a_regular_file_is_opened_and_nothing_else_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, socket) = (dir.path().join("fifo"), dir.path().join("socket"));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("fifo", &link).unwrap();
    let null = "/dev/null".into();
    for (path, what) in [
        (fifo, "a FIFO"),
        (socket, "a socket"),
        (link, "a FIFO"),
        (null, "a device"),
    ] {
        for access in [Access::Read, Access::ReadWrite] {
            let error = OsDisk::new().open(&path, access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let expected = format!(
                "cannot open {}: it is {what}, not a regular file",
                path.display()
            );
            assert_eq!(error.to_string(), expected);
        }
    }
    let error = OsDisk::new().open(dir.path(), Access::Read).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IsADirectory, "{error}");
}
