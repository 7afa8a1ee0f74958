//! The cause of every error can be reached: down the chain of sources stands the error of the
//! operating system.

use crate::common::executor::block_on;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{Background, Lsn, Options, Wal, WalError, inspect};
use std::error::Error;
use std::io;
use std::sync::Arc;

const EIO: i32 = 5;

fn options(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().segment_size(8 << 10).log_id_seed(1);
    options.background(Background::Inline).disk(disk)
}

/// The first source is an `io::Error` of the right kind, and the chain ends in one with the errno.
fn assert_chain(error: &(dyn Error + 'static), what: &str) {
    let first = error
        .source()
        .unwrap_or_else(|| panic!("{what}: no source"));
    let first = first.downcast_ref::<io::Error>();
    let first = first.unwrap_or_else(|| panic!("{what}: the source is no io::Error"));
    assert_eq!(
        highwater_wal::disk::raw_os_error(first),
        Some(EIO),
        "{what}"
    );
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    let last = last.downcast_ref::<io::Error>().unwrap();
    assert_eq!(last.raw_os_error(), Some(EIO), "{what}");
}

/// `WalError::Poisoned` kept its cause in an `Arc`, through which no `io::Error` could be found.
#[test]
fn everybody_who_is_told_of_a_failed_sync_gets_its_cause() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim)).unwrap();
    let lsn = log.append("x").unwrap();
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let told = [
        log.sync_to(lsn),
        log.sync(),
        block_on(log.durable(lsn)),
        log.append("y").map(drop),
        log.truncate_before(Lsn::ZERO),
        log.wait_for_room(),
        log.watch_durable().changed_after(lsn).map(drop),
        log.close(),
    ];
    for (index, outcome) in told.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert!(matches!(error, WalError::Poisoned { .. }), "{error}");
        assert!(error.to_string().contains("(os error 5)"), "{error}");
        assert_chain(&error, &format!("{index}"));
    }
}

/// Whatever call fails, when opening, appending, reading or looking.
#[test]
fn every_error_that_wraps_a_failed_call_has_its_cause() {
    let mut seen = 0;
    for call in Call::ALL {
        for nth in 0..30 {
            let sim = SimDisk::new();
            drop(Wal::open_with("/log", options(&sim)).unwrap());
            sim.fail(Fault::new(call, FaultKind::Eio).nth(nth).forever());
            let outcome = Wal::open_with("/log", options(&sim)).and_then(|log| {
                for n in 0..20 {
                    let lsn = log.append([n; 900])?;
                    log.sync_to(lsn)?;
                }
                log.truncate_before(log.durable_lsn())?;
                log.read_from(Lsn::ZERO)?
                    .try_for_each(|record| record.map(drop))?;
                let disk: Arc<dyn Disk> = Arc::new(sim.clone());
                inspect::Log::open(disk, "/log")?.verify(|_| ()).map(drop)
            });
            let Err(error) = outcome else { break };
            match error {
                WalError::Io { .. } | WalError::BadDirectory { .. } | WalError::Poisoned { .. } => {
                    assert_chain(&error, &format!("{call:?} {nth}: {error}"));
                    seen += 1;
                }
                other => assert!(other.source().is_none(), "{other}"),
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
