//! What states take in memory: filled through batches, and restored from a checkpoint.
//!
//! An allocator that counts tells what is in use; the system tells what is resident. The difference
//! is what the allocator keeps of freed memory, and the memory of the log. Each figure is of a
//! process of its own: what one leaves to the allocator is no other's.
//!
//! `STATE_KEYS=1000000,10000000` chooses how many keys, `STATE_GROUPS` the number of key groups.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

#[path = "support/states.rs"]
mod states;
mod support;

use highwater::StopMode;
use states::{Accounts, Counts, Measured, NamedAccounts, fill, open};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;
use std::process::Command;
use support::{print_machine, scratch, sized};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a process has in memory, in bytes.
#[derive(Clone, Copy)]
struct Memory {
    /// Asked for and not given back.
    live: i64,
    /// In so many pieces.
    pieces: i64,
    /// Resident and no file's.
    resident: i64,
    /// Of which the log's segments.
    log: i64,
    /// Resident at most since the start or the last [`Memory::forget_peak`], files included.
    peak: i64,
}

impl Memory {
    fn now() -> Self {
        let stats = ALLOCATOR.stats();
        let signed = |n: usize| i64::try_from(n).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            live: signed(stats.bytes_allocated) - signed(stats.bytes_deallocated),
            pieces: signed(stats.allocations) - signed(stats.deallocations),
            resident: kib(&status, "RssAnon:"),
            log: log_memory(),
            peak: kib(&status, "VmHWM:"),
        }
    }

    fn forget_peak() {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}

/// The figure behind `label`, in bytes.
fn kib(text: &str, label: &str) -> i64 {
    let figure = text.lines().find_map(|l| l.strip_prefix(label));
    let kib = figure.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What the log has in memory: it asks for huge pages, and nothing else does.
fn log_memory() -> i64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (mut sum, mut anonymous) = (0, 0);
    for line in maps.lines() {
        if line.starts_with("Anonymous:") {
            anonymous = kib(line, "Anonymous:");
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && flags.split_ascii_whitespace().any(|flag| flag == "hg")
        {
            sum += anonymous;
        }
    }
    sum
}

fn step<M: Measured>(step: &str, dir: &Path, keys: u64) {
    let before = Memory::now();
    Memory::forget_peak();
    let context = open::<M>(dir);
    if step == "filled through 10 batches" {
        fill(&context, keys);
    }
    let now = Memory::now();
    assert_eq!(context.states()[0].keys, keys);
    let per_key = |bytes: i64| bytes as f64 / keys as f64;
    let raw = M::RAW as f64;
    let (live, resident) = (
        per_key(now.live - before.live),
        per_key(now.resident - before.resident),
    );
    let freed = (now.resident - before.resident) - (now.live - before.live) - now.log;
    println!(
        "| {} | {keys} | {step} | {live:.1} = {:.2}x | {:.2} | {resident:.1} = {:.2}x | {:.1} | {:.1} | {:.1} |",
        M::NAME,
        live / raw,
        per_key(now.pieces - before.pieces),
        resident / raw,
        per_key(now.log),
        per_key(freed),
        per_key(now.peak - before.resident),
    );
    let mode = match step {
        "restored" => StopMode::Immediate,
        _ => StopMode::Graceful,
    };
    context.stop(mode).unwrap();
}

const STEPS: [&str; 2] = ["filled through 10 batches", "restored"];

/// Runs the steps for one kind of state, each in a process.
fn measure<M: Measured>(keys: u64) {
    let dir = scratch();
    for step in STEPS {
        let this = std::env::current_exe().unwrap();
        let status = Command::new(this)
            .env("STATE_STEP", step)
            .env("STATE_KIND", M::NAME)
            .env("STATE_KEYS", keys.to_string())
            .env("STATE_DIR", dir.path())
            .status();
        assert!(status.unwrap().success());
    }
}

fn main() {
    let keys = std::env::var("STATE_KEYS").unwrap_or_else(|_| sized(1_000_000, 2_000).to_string());
    let keys = keys.split(',').map(|n| n.parse().unwrap());
    let dir = std::env::var("STATE_DIR").unwrap_or_default();
    let in_dir = |name: &str, keys| {
        let dir = Path::new(&dir);
        match std::env::var("STATE_KIND").unwrap() {
            kind if kind == Accounts::NAME => step::<Accounts>(name, dir, keys),
            kind if kind == NamedAccounts::NAME => step::<NamedAccounts>(name, dir, keys),
            _ => step::<Counts>(name, dir, keys),
        }
    };
    if let Ok(step) = std::env::var("STATE_STEP") {
        keys.for_each(|keys| in_dir(&step, keys));
        return;
    }
    print_machine();
    println!(
        "Bytes a key. The allocator's: what it keeps of freed memory, and what it needs beside each piece.\n\n\
         | state | keys | | in use | pieces | resident | of which the log's | the allocator's | at most |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for keys in keys {
        measure::<Accounts>(keys);
        measure::<NamedAccounts>(keys);
        measure::<Counts>(keys);
    }
}
