//! Pages that are open follow the program.

use crate::client::follow;
use crate::program::{shown, shown_on};
use highwater::StopMode;
use highwater::disk::SimDisk;
use highwater_ui::{Observed, Snapshot, UiOptions, serve};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn quick() -> UiOptions {
    UiOptions::new().tick(Duration::from_millis(250))
}

#[test]
fn everything_comes_first_and_then_what_changes() {
    let shown = shown_on(&SimDisk::new(), quick());
    let mut page = follow(shown.addr());
    let first: Vec<_> = (0..11).map(|_| page.event().unwrap()).collect();
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], names[10]), ("status", "charts"));
    assert!(
        names[1..10].iter().all(|name| *name == "panel"),
        "{names:?}"
    );
    assert_eq!(first[0].1["phase"], "not_started");
    // The state line alone changes.
    shown.context.start().unwrap();
    let (name, data) = page.event().unwrap();
    assert_eq!((&*name, &data["phase"]), ("status", &"steady".into()));
    // A batch changes what shows batches, and not what does not.
    shown.send("a");
    shown.context.run_batch().unwrap();
    let mut changed = Vec::new();
    let charts = loop {
        let (name, data) = page.event().unwrap();
        match &*name {
            "panel" => changed.push(data["id"].as_str().unwrap().to_owned()),
            "charts" => break data,
            _ => {}
        }
    };
    assert!(changed.contains(&"batches".to_owned()), "{changed:?}");
    assert!(!changed.contains(&"receivers".to_owned()), "{changed:?}");
    assert_eq!(charts["batches"]["id"], serde_json::json!([1]));
    assert_eq!(charts["lineage"]["batches"], serde_json::json!([1]));
    // The end of the program, and then of the server.
    shown.context.stop(StopMode::Graceful).unwrap();
    while page.event().unwrap().1["phase"] != "stopped" {}
    shown.page.stop();
    assert!(std::iter::from_fn(|| page.event()).all(|(name, _)| name != "trouble"));
}

/// Counts how often it is looked at.
#[derive(Default)]
struct Counted(AtomicU64);

impl Observed for Counted {
    fn snapshot(&self) -> Result<Snapshot, String> {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Err(format!("looked {count} times before"))
    }
}

/// Ten pages cost one look each tick, and none that is open costs nothing.
#[test]
fn pages_share_their_looks() {
    let counted = Arc::new(Counted::default());
    let disk = Arc::new(SimDisk::new());
    let observed = Arc::<Counted>::clone(&counted);
    let server = serve(observed, "127.0.0.1:0", quick(), disk).unwrap();
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    let mut pages: Vec<_> = (0..10).map(|_| follow(server.local_addr())).collect();
    // Each gets what was seen, with every change: which one it is tells how many looks there were.
    let mut newest = 0;
    for _ in 0..8 {
        for page in &mut pages {
            let (name, data) = page.event().unwrap();
            assert_eq!(name, "trouble");
            let text = data["sentence"].as_str().unwrap();
            let looks: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
            newest = newest.max(looks);
        }
    }
    // They came at different times, so a look is shared by those that tick in the same half.
    assert!(
        (7..=24).contains(&newest),
        "{newest} looks for 8 rounds of 10 pages"
    );
    drop(server);
}

#[test]
fn a_page_that_takes_nothing_holds_no_other_up() {
    let shown = shown();
    let stuck = follow(shown.addr());
    shown.send("a");
    shown.context.run_batch().unwrap();
    let mut other = follow(shown.addr());
    assert_eq!(other.event().unwrap().0, "status");
    drop(stuck);
}
