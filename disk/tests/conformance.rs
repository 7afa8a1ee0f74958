//! What production code relies on, checked alike on the operating system's disk, as Linux and as
//! any Unix uses it, and on the simulated one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail it, like the test itself"
)]

use highwater_disk::{
    Access, AppendMap, Disk, DiskError, DiskFile, EntryKind, OsDisk, Reserver, SimDisk,
    raw_os_error,
};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Runs each behaviour on a disk, in an empty directory of its own.
macro_rules! behaviours {
    (os: $disk:expr, $($name:ident,)*) => {
        $(
            #[test]
            #[cfg_attr(miri, ignore = "Miri knows no flock, fdatasync or shared maps")]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&$disk, dir.path());
            }
        )*
    };
    (sim: $($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                let sim = super::SimDisk::new();
                let dir = std::path::Path::new("/work/here");
                super::Disk::create_dir_all(&sim, dir).unwrap();
                super::$name(&sim, dir);
            }
        )*
    };
}

/// What every disk does.
macro_rules! of_every_disk {
    ($($disk:tt)*) => {
        behaviours! { $($disk)*
            create_new_refuses_an_existing_name,
            a_link_refuses_an_existing_name_and_shares_the_content,
            a_rename_replaces,
            a_rename_to_a_new_name_replaces_nothing,
            a_rename_to_itself_or_between_links_changes_nothing,
            a_rename_of_the_wrong_kind_is_refused,
            list_is_sorted_and_names_kinds_and_lengths,
            reads_are_short_at_the_end_of_the_file,
            a_write_behind_the_end_leaves_zeros,
            set_len_cuts_and_extends_with_zeros,
            syncs_succeed,
            an_append_map_and_the_file_show_the_same_bytes,
            four_threads_append_through_one_map,
            only_one_append_map_at_a_time,
            shapes_that_cannot_be_mapped_are_refused,
            a_map_sync_outside_the_map_is_refused,
            zeros_are_written,
            a_read_map_shows_the_file,
            maps_outlive_the_file_and_its_name,
            a_removed_file_stays_readable_through_its_handle,
            a_lock_is_exclusive_until_dropped,
            a_lock_survives_files_coming_and_going,
            a_read_handle_cannot_write,
            create_dir_all_creates_parents_and_accepts_existing,
            what_is_missing_is_not_found,
            a_file_is_no_directory,
            a_directory_is_no_file,
            an_empty_directory_can_be_removed,
            errors_name_call_and_path,
        }
    };
}

/// What a disk with direct I/O does.
macro_rules! of_a_direct_disk {
    ($($disk:tt)*) => {
        behaviours! { $($disk)*
            a_staged_map_keeps_its_bytes_until_it_is_synced,
            a_staged_map_shows_what_was_there_before_its_start,
            a_staged_map_syncs_only_what_is_complete,
            a_file_of_odd_length_cannot_be_staged,
            allocated_blocks_read_as_zeros,
            a_staged_map_writes_zeros_ahead,
            a_staged_map_gives_its_memory_back,
            zeros_are_written_past_the_page_cache,
        }
    };
}

mod os {
    of_every_disk! { os: super::OsDisk::new(), }
    #[cfg(all(target_os = "linux", not(highwater_portable)))]
    of_a_direct_disk! { os: super::OsDisk::new(), }
}

/// The disk of systems other than Linux.
mod portable {
    of_every_disk! { os: super::OsDisk::portable(), }
    behaviours! { os: super::OsDisk::portable(), what_it_cannot_do_is_unsupported, }
}

mod sim {
    of_every_disk! { sim: }
    of_a_direct_disk! { sim: }
}

fn write(disk: &dyn Disk, path: &Path, content: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create_new(path).unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Access::Read).unwrap();
    content(&*file)
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn names(disk: &dyn Disk, dir: &Path) -> Vec<String> {
    let entries = disk.list(dir).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect()
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.expect_err("the call is refused").kind()
}

fn create_new_refuses_an_existing_name(disk: &dyn Disk, dir: &Path) {
    write(disk, &dir.join("a"), b"first");
    assert_eq!(
        kind(disk.create_new(&dir.join("a"))),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(disk.create_new(dir)),
        ErrorKind::AlreadyExists,
        "of a directory too"
    );
    assert_eq!(read(disk, &dir.join("a")), b"first");
}

fn a_link_refuses_an_existing_name_and_shares_the_content(disk: &dyn Disk, dir: &Path) {
    let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
    write(disk, &a, b"one");
    write(disk, &c, b"other");
    disk.hard_link(&a, &b).unwrap();
    assert_eq!(kind(disk.hard_link(&a, &c)), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.hard_link(&a, &a)), ErrorKind::AlreadyExists);
    disk.open(&b, Access::ReadWrite)
        .unwrap()
        .write_all_at(b"two", 0)
        .unwrap();
    assert_eq!(read(disk, &a), b"two");
    disk.remove_file(&a).unwrap();
    assert_eq!(read(disk, &b), b"two");
    assert_eq!(read(disk, &c), b"other");
}

fn a_rename_replaces(disk: &dyn Disk, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    write(disk, &a, b"new");
    let old = write(disk, &b, b"old");
    disk.rename(&a, &b).unwrap();
    assert_eq!(names(disk, dir), ["b"]);
    assert_eq!(read(disk, &b), b"new");
    assert_eq!(
        content(&*old),
        b"old",
        "the replaced file lives on in its handle"
    );
    disk.create_dir_all(&dir.join("sub")).unwrap();
    disk.rename(&b, &dir.join("sub/c")).unwrap();
    assert_eq!(read(disk, &dir.join("sub/c")), b"new");
    disk.rename(&dir.join("sub"), &dir.join("moved")).unwrap();
    assert_eq!(read(disk, &dir.join("moved/c")), b"new");
}

/// A published file of one program was replaced by a rename of another.
fn a_rename_to_a_new_name_replaces_nothing(disk: &dyn Disk, dir: &Path) {
    let (a, b, sub) = (dir.join("a"), dir.join("b"), dir.join("sub"));
    write(disk, &a, b"new");
    write(disk, &b, b"old");
    disk.create_dir_all(&sub).unwrap();
    for taken in [&a, &b, &sub] {
        assert_eq!(
            kind(disk.rename_new(&a, taken)),
            ErrorKind::AlreadyExists,
            "{taken:?}"
        );
    }
    assert_eq!(
        kind(disk.rename_new(&dir.join("none"), &b)),
        ErrorKind::NotFound
    );
    assert_eq!(
        (read(disk, &a), read(disk, &b)),
        (b"new".into(), b"old".into())
    );
    disk.rename_new(&a, &dir.join("c")).unwrap();
    assert_eq!(names(disk, dir), ["b", "c", "sub"]);
    assert_eq!(read(disk, &dir.join("c")), b"new");
}

fn a_rename_to_itself_or_between_links_changes_nothing(disk: &dyn Disk, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    write(disk, &a, b"one");
    disk.rename(&a, &a).unwrap();
    disk.hard_link(&a, &b).unwrap();
    disk.rename(&a, &b).unwrap();
    assert_eq!(names(disk, dir), ["a", "b"]);
}

fn a_rename_of_the_wrong_kind_is_refused(disk: &dyn Disk, dir: &Path) {
    let (file, full, empty) = (dir.join("file"), dir.join("full"), dir.join("empty"));
    write(disk, &file, b"");
    disk.create_dir_all(&full.join("sub")).unwrap();
    disk.create_dir_all(&empty).unwrap();
    assert_eq!(kind(disk.rename(&file, &full)), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.rename(&full, &file)), ErrorKind::NotADirectory);
    assert_eq!(
        kind(disk.rename(&empty, &full)),
        ErrorKind::DirectoryNotEmpty
    );
    assert_eq!(
        kind(disk.rename(&full, &full.join("sub/deeper"))),
        ErrorKind::InvalidInput
    );
    disk.rename(&full, &empty).unwrap();
    assert_eq!(names(disk, dir), ["empty", "file"]);
    assert_eq!(names(disk, &empty), ["sub"]);
}

fn list_is_sorted_and_names_kinds_and_lengths(disk: &dyn Disk, dir: &Path) {
    for (name, len) in [("c", 3), ("a", 1), ("b10", 0), ("b9", 700)] {
        write(disk, &dir.join(name), &vec![7; len]);
    }
    disk.create_dir_all(&dir.join("b")).unwrap();
    let entries = disk.list(dir).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|e| (e.name.to_str().unwrap(), e.kind, e.len))
        .collect();
    let expected = [
        ("a", EntryKind::File, 1),
        ("b", EntryKind::Directory, 0),
        ("b10", EntryKind::File, 0),
        ("b9", EntryKind::File, 700),
        ("c", EntryKind::File, 3),
    ];
    assert_eq!(found, expected);
}

fn reads_are_short_at_the_end_of_the_file(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), b"hello");
    let mut buf = [0; 8];
    assert_eq!(file.read_at(&mut buf, 2).unwrap(), 3);
    assert_eq!(&buf[..3], b"llo");
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    assert_eq!(
        kind(file.read_exact_at(&mut buf, 0)),
        ErrorKind::UnexpectedEof
    );
    file.read_exact_at(&mut buf[..5], 0).unwrap();
    assert_eq!(&buf[..5], b"hello");
}

fn a_write_behind_the_end_leaves_zeros(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), b"ab");
    file.write_all_at(b"cd", 600).unwrap();
    assert_eq!(file.write_at(b"", 10_000).unwrap(), 0);
    let mut expected = vec![0; 602];
    expected[..2].copy_from_slice(b"ab");
    expected[600..].copy_from_slice(b"cd");
    assert_eq!(content(&*file), expected);
}

fn set_len_cuts_and_extends_with_zeros(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[9; 1000]);
    file.set_len(10).unwrap();
    assert_eq!(content(&*file), [9; 10]);
    file.set_len(20).unwrap();
    assert_eq!(content(&*file), [&[9; 10][..], &[0; 10]].concat());
    file.set_len(0).unwrap();
    file.set_len(2000).unwrap();
    assert_eq!(content(&*file), [0; 2000]);
}

fn syncs_succeed(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), b"hello");
    file.sync().unwrap();
    disk.open(&dir.join("a"), Access::Read)
        .unwrap()
        .sync()
        .unwrap();
    disk.sync_dir(dir).unwrap();
}

fn mapped(disk: &dyn Disk, path: &Path, len: usize) -> (Arc<dyn DiskFile>, AppendMap) {
    let file = write(disk, path, &vec![0; len]);
    file.sync().unwrap();
    let map = file.map_append(0).unwrap();
    (file, map)
}

fn an_append_map_and_the_file_show_the_same_bytes(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[0; 8192]);
    file.write_all_at(b"header..", 0).unwrap();
    let map = file.map_append(8).unwrap();
    assert_eq!(
        (map.capacity(), map.reserved(), map.complete()),
        (8192, 8, 8)
    );
    assert_eq!(
        map.read(0..8),
        Some(&b"header.."[..]),
        "what was written is in the map"
    );
    map.reserve(16, 8192, Reserver::Appender)
        .unwrap()
        .fill(&[b"by the map", b" store"]);
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 8).unwrap();
    assert_eq!(&bytes, b"by the map store");
    file.write_all_at(b"by write", 4096).unwrap();
    file.read_exact_at(&mut bytes[..8], 4096).unwrap();
    assert_eq!(&bytes[..8], b"by write");
    assert_eq!(map.complete_prefix(), Ok(24));
    map.sync(8..24).unwrap();
    map.sync(24..24).unwrap();
    map.sync(0..8192).unwrap();
    drop(map);
    assert_eq!(&content(&*file)[..24], b"header..by the map store");
    let again = file.map_append(24).unwrap();
    assert_eq!(again.read(0..24), Some(&b"header..by the map store"[..]));
    assert_eq!(
        again.reserve(8, 8192, Reserver::Appender).unwrap().offset(),
        24
    );
}

fn a_staged_map_keeps_its_bytes_until_it_is_synced(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 16384]);
    file.sync().unwrap();
    let map = file.map_append_direct(8).unwrap();
    assert_eq!(map.read(0..8), Some(&[7; 8][..]));
    let part = [1; 5000];
    map.reserve(5000, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[&part]);
    assert_eq!(map.complete_prefix(), Ok(5008));
    assert_eq!(content(&*file), [7; 16384], "stored, not synced");
    map.sync(8..5008).unwrap();
    let bytes = content(&*file);
    assert_eq!(bytes[..8], [7; 8]);
    assert_eq!(bytes[8..5008], [1; 5000]);
    assert_eq!(bytes[5008..8192], [0; 3184], "zeros to the end of the page");
    assert_eq!(bytes[8192..], [7; 8192], "later pages are not touched");
    map.reserve(3184, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[&[2; 3184]]);
    map.complete_prefix().unwrap();
    map.sync(5008..8192).unwrap();
    map.sync(8192..8192).unwrap();
    assert_eq!(content(&*file)[5008..8192], [2; 3184]);
    assert_eq!(content(&*file)[8..5008], [1; 5000]);
    drop(map);
    assert_eq!(content(&*file)[5008..8192], [2; 3184], "and they stay");
}

fn a_staged_map_shows_what_was_there_before_its_start(disk: &dyn Disk, dir: &Path) {
    let mut before = vec![7; 16384];
    before[..9000].fill(3);
    let file = write(disk, &dir.join("a"), &before);
    file.sync().unwrap();
    let map = file.map_append_direct(9000).unwrap();
    assert_eq!(map.read(0..9000), Some(&[3; 9000][..]));
    map.reserve(8, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[b"appended"]);
    assert_eq!(map.complete_prefix(), Ok(9008));
    map.sync(9000..9008).unwrap();
    before[9000..9008].copy_from_slice(b"appended");
    before[9008..12288].fill(0);
    assert_eq!(content(&*file), before);
    assert_eq!(map.read(0..9008), Some(&before[..9008]));
    drop(map);
    let again = disk.open(&dir.join("a"), Access::ReadWrite).unwrap();
    let map = again.map_append_direct(9008).unwrap();
    assert_eq!(map.read(8192..9008), Some(&before[8192..9008]));
}

fn a_staged_map_syncs_only_what_is_complete(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[0; 4096]);
    let map = file.map_append_direct(0).unwrap();
    let region = map.reserve(8, 4096, Reserver::Appender).unwrap();
    assert_eq!(kind(map.sync(0..8)), ErrorKind::InvalidInput);
    region.fill(&[&[1; 8]]);
    assert_eq!(
        kind(map.sync(0..8)),
        ErrorKind::InvalidInput,
        "the prefix was not asked for"
    );
    map.complete_prefix().unwrap();
    map.sync(0..8).unwrap();
    assert_eq!(kind(map.sync(0..5000)), ErrorKind::InvalidInput);
    assert_eq!(kind(file.map_append_direct(0)), ErrorKind::ResourceBusy);
    assert_eq!(kind(file.map_append(0)), ErrorKind::ResourceBusy);
}

fn a_file_of_odd_length_cannot_be_staged(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[0; 4096 + 512]);
    assert_eq!(kind(file.map_append_direct(0)), ErrorKind::InvalidInput);
    file.map_append(0).unwrap();
}

fn zeros_are_written(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 5000]);
    file.write_zeros(100..9001).unwrap();
    let bytes = content(&*file);
    assert_eq!((bytes.len(), &bytes[..100]), (9001, &[7; 100][..]));
    assert_eq!(bytes[100..], [0; 8901]);
    file.write_zeros(9001..9001).unwrap();
    assert_eq!(file.len().unwrap(), 9001);
}

fn zeros_are_written_past_the_page_cache(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 12288]);
    file.sync().unwrap();
    file.write_zeros_direct(4096..16384).unwrap();
    let bytes = content(&*file);
    assert_eq!((bytes.len(), &bytes[..4096]), (16384, &[7; 4096][..]));
    assert_eq!(bytes[4096..], [0; 12288]);
}

fn allocated_blocks_read_as_zeros(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 100]);
    file.allocate(8192).unwrap();
    let bytes = content(&*file);
    assert_eq!((bytes.len(), &bytes[..100]), (8192, &[7; 100][..]));
    assert_eq!(bytes[100..], [0; 8092]);
    file.allocate(50).unwrap();
    assert_eq!(file.len().unwrap(), 8192, "it never gets shorter");
    assert_eq!(kind(file.allocate(0)), ErrorKind::InvalidInput);
}

/// Callers have another way for each of these.
fn what_it_cannot_do_is_unsupported(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 8192]);
    assert_eq!(kind(file.map_append_direct(0)), ErrorKind::Unsupported);
    assert_eq!(
        kind(file.write_zeros_direct(0..4096)),
        ErrorKind::Unsupported
    );
    assert_eq!(kind(file.allocate(8192)), ErrorKind::Unsupported);
    let map = file.map_append(0).unwrap();
    assert_eq!(kind(map.write_zeros(4096..8192)), ErrorKind::Unsupported);
    assert_eq!(content(&*file), [7; 8192]);
}

fn a_staged_map_writes_zeros_ahead(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[7; 16384]);
    let map = file.map_append_direct(4096).unwrap();
    map.write_zeros(8192..12288).unwrap();
    let mut expected = vec![7; 16384];
    expected[8192..12288].fill(0);
    assert_eq!(content(&*file), expected);
    for crooked in [4096..8191, 4097..8192, 0..8192, 12288..20480] {
        assert_eq!(kind(map.write_zeros(crooked)), ErrorKind::InvalidInput);
    }
    map.reserve(8, 16384, Reserver::Appender)
        .unwrap()
        .fill(&[b"appended"]);
    assert_eq!(
        kind(map.write_zeros(4096..8192)),
        ErrorKind::InvalidInput,
        "a reservation is open there"
    );
    map.prefault(8192..16384);
    drop(map);
    let map = file.map_append(4096).unwrap();
    assert_eq!(kind(map.write_zeros(8192..12288)), ErrorKind::Unsupported);
}

fn a_staged_map_gives_its_memory_back(disk: &dyn Disk, dir: &Path) {
    let file = write(disk, &dir.join("a"), &[5; 20480]);
    file.sync().unwrap();
    let map = file.map_append_direct(4104).unwrap();
    let append = |byte: u8, len: u64| {
        let bytes = vec![byte; usize::try_from(len).unwrap()];
        let region = map.reserve(len, 20480, Reserver::Appender).unwrap();
        let start = region.offset();
        region.fill(&[&bytes]);
        map.complete_prefix().unwrap();
        start..start + len
    };
    let first = append(1, 8000);
    let held = map.read(4096..12104).unwrap();
    assert_eq!(
        kind(map.give_back(8192)),
        ErrorKind::InvalidInput,
        "not durable"
    );
    map.sync(first).unwrap();
    assert_eq!(
        kind(map.give_back(8000)),
        ErrorKind::InvalidInput,
        "no page"
    );
    assert_eq!(
        kind(map.give_back(12288)),
        ErrorKind::InvalidInput,
        "not whole"
    );
    map.give_back(8192).unwrap();
    map.give_back(4096).unwrap();
    let shown = [vec![5; 8], vec![1; 8000]].concat();
    assert_eq!(held, shown, "for a reader from before");
    assert_eq!(map.read(4096..12104), Some(&shown[..]));
    let second = append(2, 8000);
    map.sync(second).unwrap();
    map.give_back(16384).unwrap();
    let shown = [vec![5; 4104], vec![1; 8000], vec![2; 8000]].concat();
    assert_eq!(map.read(0..20104), Some(&shown[..]));
    assert_eq!(held, &shown[4096..12104]);
    assert_eq!(content(&*file)[..20104], shown);
    assert_eq!(map.capacity(), 20480);
    drop(map);
    let cached = file.map_append(8).unwrap();
    cached.give_back(0).unwrap();
    assert_eq!(kind(cached.give_back(4096)), ErrorKind::InvalidInput);
}

fn four_threads_append_through_one_map(disk: &dyn Disk, dir: &Path) {
    const THREADS: usize = 4;
    let each: u64 = if cfg!(miri) { 20 } else { 500 };
    let size = THREADS as u64 * each * 24;
    let (file, map) = mapped(disk, &dir.join("a"), usize::try_from(size).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let map = &map;
            scope.spawn(move || {
                for number in 0..each {
                    let region = map.reserve(24, size, Reserver::Appender).unwrap();
                    let offset = region.offset().to_le_bytes();
                    region.fill(&[
                        &offset,
                        &(thread as u64).to_le_bytes(),
                        &number.to_le_bytes(),
                    ]);
                    if number % 64 == 0 {
                        let end = map.complete_prefix().unwrap();
                        map.sync(0..end).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(map.complete_prefix(), Ok(size));
    let bytes = content(&*file);
    assert_eq!(map.read(0..size), Some(&bytes[..]));
    let mut next = [0; THREADS];
    for (index, record) in bytes.chunks(24).enumerate() {
        let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
        assert_eq!(word(0), index as u64 * 24);
        let thread = usize::try_from(word(8)).unwrap();
        assert_eq!(word(16), next[thread], "in the order of thread {thread}");
        next[thread] += 1;
    }
}

fn only_one_append_map_at_a_time(disk: &dyn Disk, dir: &Path) {
    let (file, map) = mapped(disk, &dir.join("a"), 4096);
    assert_eq!(kind(file.map_append(0)), ErrorKind::ResourceBusy);
    drop(map);
    file.map_append(0).unwrap();
}

fn shapes_that_cannot_be_mapped_are_refused(disk: &dyn Disk, dir: &Path) {
    let file = disk.create_new(&dir.join("a")).unwrap();
    assert_eq!(kind(file.map_append(0)), ErrorKind::InvalidInput, "empty");
    assert_eq!(kind(file.map_read()), ErrorKind::InvalidInput, "empty");
    file.write_all_at(&[1; 63], 0).unwrap();
    assert_eq!(
        kind(file.map_append(0)),
        ErrorKind::InvalidInput,
        "length no multiple of 8"
    );
    file.set_len(64).unwrap();
    assert_eq!(
        kind(file.map_append(4)),
        ErrorKind::InvalidInput,
        "start no multiple of 8"
    );
    assert_eq!(
        kind(file.map_append(72)),
        ErrorKind::InvalidInput,
        "start past the end"
    );
    assert_eq!(
        file.map_append(64).unwrap().capacity(),
        64,
        "a failed try leaves no trace"
    );
}

fn a_map_sync_outside_the_map_is_refused(disk: &dyn Disk, dir: &Path) {
    let (_file, map) = mapped(disk, &dir.join("a"), 4096);
    assert_eq!(kind(map.sync(0..4097)), ErrorKind::InvalidInput);
    assert_eq!(
        kind(map.sync(u64::MAX - 1..u64::MAX)),
        ErrorKind::InvalidInput
    );
    map.sync(4095..4096).unwrap();
}

fn a_read_map_shows_the_file(disk: &dyn Disk, dir: &Path) {
    write(disk, &dir.join("a"), &[5; 5000]);
    let map = disk
        .open(&dir.join("a"), Access::Read)
        .unwrap()
        .map_read()
        .unwrap();
    assert_eq!(
        map.bytes(),
        [5; 5000],
        "exactly the length of the file, whatever the pages"
    );
    let clone = map.clone();
    drop(map);
    assert_eq!(clone.bytes(), [5; 5000]);
}

fn maps_outlive_the_file_and_its_name(disk: &dyn Disk, dir: &Path) {
    let (file, append) = mapped(disk, &dir.join("a"), 4096);
    append
        .reserve(8, 4096, Reserver::Appender)
        .unwrap()
        .fill(&[b"survives"]);
    let read = file.map_read().unwrap();
    drop(file);
    disk.remove_file(&dir.join("a")).unwrap();
    assert_eq!(names(disk, dir), [""; 0]);
    assert_eq!(append.complete_prefix(), Ok(8));
    append
        .reserve(8, 4096, Reserver::Appender)
        .unwrap()
        .fill(&[b"and more"]);
    append.sync(0..16).unwrap();
    assert_eq!(append.read(0..8), Some(&b"survives"[..]));
    assert_eq!(&read.bytes()[..8], b"survives");
}

fn a_removed_file_stays_readable_through_its_handle(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    let file = write(disk, &path, b"still here");
    disk.remove_file(&path).unwrap();
    assert_eq!(kind(disk.open(&path, Access::Read)), ErrorKind::NotFound);
    let other = write(disk, &path, b"a new file");
    file.write_all_at(b"STILL", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&*file), b"STILL here");
    assert_eq!(content(&*other), b"a new file");
}

fn a_lock_is_exclusive_until_dropped(disk: &dyn Disk, dir: &Path) {
    let lock = disk.lock_dir(dir).unwrap();
    assert_eq!(lock.dir(), dir);
    assert_eq!(
        kind(disk.lock_dir(dir)),
        ErrorKind::WouldBlock,
        "F45: a second opener is refused"
    );
    let sub = dir.join("sub");
    disk.create_dir_all(&sub).unwrap();
    let other = disk.lock_dir(&sub).unwrap();
    drop(lock);
    let _again = disk.lock_dir(dir).unwrap();
    assert_eq!(kind(disk.lock_dir(&sub)), ErrorKind::WouldBlock);
    drop(other);
}

/// F47: there is no lock file that a janitor could delete.
fn a_lock_survives_files_coming_and_going(disk: &dyn Disk, dir: &Path) {
    let _lock = disk.lock_dir(dir).unwrap();
    assert_eq!(names(disk, dir), [""; 0]);
    write(disk, &dir.join("a"), b"");
    disk.remove_file(&dir.join("a")).unwrap();
    assert_eq!(kind(disk.lock_dir(dir)), ErrorKind::WouldBlock);
}

fn a_read_handle_cannot_write(disk: &dyn Disk, dir: &Path) {
    write(disk, &dir.join("a"), &[1; 64]);
    let file = disk.open(&dir.join("a"), Access::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.set_len(0).is_err());
    assert_eq!(kind(file.map_append(0)), ErrorKind::PermissionDenied);
    assert_eq!(content(&*file), [1; 64]);
}

fn create_dir_all_creates_parents_and_accepts_existing(disk: &dyn Disk, dir: &Path) {
    let deep = dir.join("a/b/c");
    disk.create_dir_all(&deep).unwrap();
    disk.create_dir_all(&deep).unwrap();
    disk.create_dir_all(&dir.join("a/b/d")).unwrap();
    write(disk, &deep.join("file"), b"x");
    assert_eq!(names(disk, &dir.join("a/b")), ["c", "d"]);
    assert_eq!(names(disk, &deep), ["file"]);
}

fn what_is_missing_is_not_found(disk: &dyn Disk, dir: &Path) {
    let missing = dir.join("missing");
    assert_eq!(kind(disk.list(&missing)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open(&missing, Access::Read)), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.open(&missing, Access::ReadWrite)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.create_new(&missing.join("a"))),
        ErrorKind::NotFound
    );
    assert_eq!(kind(disk.remove_file(&missing)), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.rename(&missing, &dir.join("a"))),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.hard_link(&missing, &dir.join("a"))),
        ErrorKind::NotFound
    );
    assert_eq!(kind(disk.sync_dir(&missing)), ErrorKind::NotFound);
    assert_eq!(kind(disk.lock_dir(&missing)), ErrorKind::NotFound);
}

fn a_file_is_no_directory(disk: &dyn Disk, dir: &Path) {
    let file = dir.join("file");
    write(disk, &file, b"x");
    assert_eq!(kind(disk.create_dir_all(&file)), ErrorKind::NotADirectory);
    assert_eq!(
        kind(disk.create_dir_all(&file.join("sub"))),
        ErrorKind::NotADirectory
    );
    assert_eq!(kind(disk.list(&file)), ErrorKind::NotADirectory);
    assert_eq!(
        kind(disk.create_new(&file.join("a"))),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        kind(disk.open(&file.join("a"), Access::Read)),
        ErrorKind::NotADirectory
    );
    assert_eq!(kind(disk.sync_dir(&file)), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.lock_dir(&file)), ErrorKind::NotADirectory);
}

fn a_directory_is_no_file(disk: &dyn Disk, dir: &Path) {
    let sub = dir.join("sub");
    disk.create_dir_all(&sub).unwrap();
    assert_eq!(kind(disk.open(&sub, Access::Read)), ErrorKind::IsADirectory);
    assert_eq!(
        kind(disk.open(&sub, Access::ReadWrite)),
        ErrorKind::IsADirectory
    );
    assert_eq!(kind(disk.remove_file(&sub)), ErrorKind::IsADirectory);
    assert_eq!(
        kind(disk.hard_link(&sub, &dir.join("a"))),
        ErrorKind::PermissionDenied
    );
}

fn an_empty_directory_can_be_removed(disk: &dyn Disk, dir: &Path) {
    let sub = dir.join("sub");
    disk.create_dir_all(&sub).unwrap();
    write(disk, &sub.join("a"), b"x");
    assert_eq!(kind(disk.remove_dir(&sub)), ErrorKind::DirectoryNotEmpty);
    assert_eq!(
        kind(disk.remove_dir(&sub.join("a"))),
        ErrorKind::NotADirectory
    );
    disk.remove_file(&sub.join("a")).unwrap();
    disk.remove_dir(&sub).unwrap();
    assert_eq!(kind(disk.list(&sub)), ErrorKind::NotFound);
    assert_eq!(kind(disk.remove_dir(&sub)), ErrorKind::NotFound);
    disk.create_dir_all(&sub).unwrap();
    assert_eq!(disk.list(&sub).unwrap().len(), 0);
}

fn errors_name_call_and_path(disk: &dyn Disk, dir: &Path) {
    let missing = dir.join("missing");
    let error = disk.open(&missing, Access::Read).unwrap_err();
    let expected = format!(
        "cannot open {}: No such file or directory",
        missing.display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(raw_os_error(&error), Some(2));
    assert_eq!(DiskError::of(&error).unwrap().path(), missing);
    let file = write(disk, &dir.join("a"), b"");
    assert_eq!(file.path(), dir.join("a"));
    let error = file.read_exact_at(&mut [0], 0).unwrap_err();
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}
