//! A program that is shown, whose batches are run by hand.

use highwater::disk::{ManualClock, SimDisk};
use highwater::{
    BatchMode, BoxError, CheckpointPolicy, ErrorPolicy, StateGuard, StreamScope, StreamingContext,
    wal,
};
use highwater_ui::{Ui, UiOptions, UiServer};
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A name that is a script where it is not escaped.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'&";

pub(crate) struct Shown {
    pub(crate) context: StreamingContext,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) page: UiServer,
}

impl Shown {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.page.local_addr()
    }

    pub(crate) fn send(&self, line: &str) {
        let lines = self.context.input::<String>("lines").unwrap();
        lines.send(&line.to_owned()).unwrap().wait().unwrap();
    }
}

/// Counts words; a line "bad" is put aside, a line "down" fails its batch.
fn program(ssc: &StreamScope) -> Result<(), BoxError> {
    ssc.input::<u64>(HOSTILE)
        .for_each_batch("numbers", |_, _| ());
    ssc.input::<String>("lines")
        .on_error(ErrorPolicy::DeadLetter)
        .try_map(|line: String| match &*line {
            "bad" => Err("it is bad"),
            _ => Ok(line),
        })
        .named("checked")
        .on_error(ErrorPolicy::FailBatch)
        .map(|line| {
            assert!(line != "down", "the line is down");
            (line, 1_u64)
        })
        .update_state_by_key("counts", |_, new, total: &mut StateGuard<u64>| {
            *total.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
        })
        .for_each_batch("out", |_, _| ());
    Ok(())
}

/// The program on `disk`, before it starts.
pub(crate) fn shown_on(disk: &SimDisk, options: UiOptions) -> Shown {
    let clock = Arc::new(ManualClock::new(START_MS));
    let context = StreamingContext::builder("/app")
        .application("shown")
        .disk(Arc::new(disk.clone()))
        .clock(Arc::<ManualClock>::clone(&clock))
        .log(wal::Options::new().segment_size(8 << 10))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(3))
        .get_or_create(program)
        .unwrap();
    let page = context.ui("127.0.0.1:0", options).unwrap();
    Shown {
        context,
        clock,
        page,
    }
}

pub(crate) fn shown() -> Shown {
    let shown = shown_on(&SimDisk::new(), UiOptions::new());
    shown.context.start().unwrap();
    shown
}
