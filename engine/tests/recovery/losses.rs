//! The checkpoint directory, or its files, are removed under a running program: it goes on,
//! its next checkpoints make the directory again, the log is kept as far as they need it, and the
//! next start has the right counts. Without such a checkpoint the next start refuses, it never
//! counts wrong.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::world::{GROUPS, LINES, World, check, line, uninterrupted};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{Result, StopMode};

const CHECKPOINTS: &str = "/app/checkpoints";

#[derive(Debug, Clone, Copy)]
enum Loss {
    Directory,
    Files,
}

impl Loss {
    fn strike(self, disk: &SimDisk) {
        match self {
            Self::Directory => disk.delete_dir(CHECKPOINTS),
            Self::Files => {
                let files = disk.files().into_iter();
                let files = files.filter(|file| file.starts_with(CHECKPOINTS));
                files.for_each(|file| disk.delete_file(file));
            }
        }
    }
}

/// Batches up to group `last`; the loss strikes after group `at`, and the power is cut so many
/// mutations after that.
fn live(world: &World, disk: &SimDisk, (loss, at): (Loss, u64), cut: Option<u64>) -> Result<()> {
    let context = world.open(disk)?;
    context.start()?;
    let input = context.input::<String>("lines")?;
    for group in 1..=GROUPS {
        for index in 0..LINES {
            let ack = input.send_once("client", group * LINES + index, &line(group, index))?;
            ack.wait()?;
        }
        context.run_batch()?;
        if group == at {
            loss.strike(disk);
            if let Some(cut) = cut {
                disk.cut_power_before(disk.mutations() + cut);
            }
        }
    }
    context.stop(StopMode::Graceful)
}

/// Case 13: no checkpoint was ever written again, the stop failed, and all state was lost.
#[test]
fn a_removed_checkpoint_directory_is_made_again() {
    let (expected, _) = uninterrupted(1);
    for loss in [Loss::Directory, Loss::Files] {
        for at in 1..=GROUPS {
            let (world, disk) = (World::new(1), SimDisk::new());
            let what = format!("{loss:?} lost after group {at}");
            live(&world, &disk, (loss, at), None).unwrap_or_else(|e| panic!("{what}: {e}"));
            check(&world, &expected, &what);
            let files = disk.files().into_iter();
            let manifests = files.filter(|f| f.starts_with(CHECKPOINTS));
            assert!(manifests.count() >= 2, "{what}: a manifest and its state");
            let again = world.open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(again.progress().last_batch >= Some(GROUPS), "{what}");
            again.start().unwrap();
            again.stop(StopMode::Graceful).unwrap();
            check(&world, &expected, &what);
        }
    }
}

/// The power goes off at every disk operation after the loss. What was truncated before stays
/// truncated: without a new checkpoint the start refuses and says what is missing. With one it goes
/// on.
#[test]
fn a_power_cut_after_the_loss_is_recovered_or_refused_and_never_counted_wrong() {
    let (expected, _) = uninterrupted(1);
    let (mut refused, mut recovered) = (0, 0);
    for loss in [Loss::Directory, Loss::Files] {
        for cut in 0.. {
            let (world, disk) = (World::new(1), SimDisk::new());
            let what = format!("{loss:?}, power cut {cut} mutations after it");
            let lived = live(&world, &disk, (loss, 6), Some(cut));
            if disk.is_alive() {
                break;
            }
            drop(lived);
            let disk = disk.restart_after_power_cut(cut);
            match world.live(&disk) {
                Ok(()) => {
                    check(&world, &expected, &what);
                    recovered += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("checkpoint"), "{what}: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 5 && recovered > 20,
        "{refused} refused, {recovered} recovered"
    );
}
