//! Pages that are open follow the program.

use crate::client::follow;
use crate::program::shown_on;
use highwater::StopMode;
use highwater::disk::SimDisk;
use highwater_ui::UiOptions;
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
