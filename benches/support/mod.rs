//! What the benches share: a directory on a real disk, machine facts, sizes.
#![allow(dead_code, reason = "each bench uses its part")]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

use std::path::PathBuf;

/// Under `cargo bench` the real sizes, under `cargo test` tiny ones.
pub(crate) fn sized(real: u64, tiny: u64) -> u64 {
    if std::env::args().any(|a| a == "--bench") {
        real
    } else {
        tiny
    }
}

/// A fresh directory on the disk that holds the build directory, or `$HIGHWATER_BENCH_DIR`; removed
/// when dropped.
pub(crate) fn scratch() -> tempfile::TempDir {
    let base = std::env::var_os("HIGHWATER_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    std::fs::create_dir_all(&base).unwrap();
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(base)
        .unwrap()
}

/// Machine facts, printed before any figure.
pub(crate) fn print_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let dir = scratch();
    println!(
        "machine: {cores} x {}, load {}, data in {}",
        model.trim_start_matches([' ', '\t', ':']),
        load.trim(),
        dir.path().display()
    );
}

/// Device flushes of all block devices since boot (field 19 of `/proc/diskstats`), where the kernel
/// counts them.
pub(crate) fn device_flushes() -> Option<u64> {
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    let devices = stats
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    Some(
        devices
            .filter(|f| f.get(1) == Some(&"0"))
            .filter_map(|f| f.get(18)?.parse::<u64>().ok())
            .sum(),
    )
}
