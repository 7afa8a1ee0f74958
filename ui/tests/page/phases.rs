//! What the state line says of batches that are behind, and of an output that is down.

use crate::client::get;
use highwater::disk::{ManualClock, SimDisk};
use highwater::{BoxError, StopMode, StreamingContext};
use highwater_ui::{Ui, UiOptions, UiServer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What holds batches up.
#[derive(Default)]
struct Trouble {
    gate: (Mutex<bool>, Condvar),
    is_down: AtomicBool,
}

impl Trouble {
    fn hold(&self, held: bool) {
        *self.gate.0.lock().unwrap() = held;
        self.gate.1.notify_all();
    }

    fn pass(&self) {
        let held = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(held, |held| *held));
    }
}

struct Shown {
    context: StreamingContext,
    clock: Arc<ManualClock>,
    page: UiServer,
}

impl Shown {
    /// Batches each second, by a clock that is moved by hand.
    fn start(trouble: &Arc<Trouble>) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let (gate, sink) = (Arc::clone(trouble), Arc::clone(trouble));
        let context = StreamingContext::builder("/app")
            .disk(Arc::new(SimDisk::new()))
            .clock(Arc::<ManualClock>::clone(&clock))
            .get_or_create(move |ssc| {
                ssc.input::<u64>("numbers")
                    .map(move |n| {
                        gate.pass();
                        n
                    })
                    .for_each_batch("out", move |_, _| {
                        match sink.is_down.load(Ordering::Relaxed) {
                            true => Err::<(), BoxError>("no route".into()),
                            false => Ok(()),
                        }
                    });
                Ok(())
            })
            .unwrap();
        let page = context.ui("127.0.0.1:0", UiOptions::new()).unwrap();
        context.start().unwrap();
        Self {
            context,
            clock,
            page,
        }
    }

    fn send(&self) {
        let numbers = self.context.input::<u64>("numbers").unwrap();
        numbers.send(&1).unwrap().wait().unwrap();
    }

    /// Moves the clock until the page has this phase; its sentence.
    fn until(&self, phase: &str) -> String {
        loop {
            let status = get(self.page.local_addr(), "/api/v1/status").json();
            if status["phase"] == phase {
                return status["sentence"].as_str().unwrap().to_owned();
            }
            self.clock.advance(Duration::from_millis(250));
            thread::yield_now();
        }
    }
}

#[test]
fn batches_that_are_behind_are_told_and_catch_up() {
    let trouble = Arc::default();
    let shown = Shown::start(&trouble);
    shown.until("steady");
    trouble.hold(true);
    shown.send();
    let sentence = shown.until("catching_up");
    assert!(
        sentence.starts_with("The oldest record that no batch has is "),
        "{sentence}"
    );
    let sources = get(shown.page.local_addr(), "/api/v1/sources").json();
    assert_eq!(sources["sources"][0]["lag_records"], 1);
    // Two intervals and a second: what a busy machine does now and then is no news.
    assert!(
        sources["sources"][0]["lag_ms"].as_u64().unwrap() > 3000,
        "{sources}"
    );
    trouble.hold(false);
    shown.until("steady");
    shown.context.stop(StopMode::Immediate).unwrap();
}

#[test]
fn an_output_that_is_down_is_named() {
    let trouble: Arc<Trouble> = Arc::default();
    let shown = Shown::start(&trouble);
    trouble.is_down.store(true, Ordering::Relaxed);
    shown.send();
    let sentence = shown.until("waiting");
    assert!(
        sentence.contains("for_each_batch \"out\"") && sentence.contains("no route"),
        "{sentence}"
    );
    let ready = get(shown.page.local_addr(), "/health/ready");
    assert_eq!(ready.status, 200, "it takes records in");
    let errors = get(shown.page.local_addr(), "/api/v1/errors").json();
    assert_eq!(errors[0]["place"], "output for_each_batch \"out\"");
    let graph = get(shown.page.local_addr(), "/api/v1/graph").json();
    assert!(
        graph["outputs"][0]["waits"]
            .as_str()
            .unwrap()
            .contains("no route"),
        "{graph}"
    );
    trouble.is_down.store(false, Ordering::Relaxed);
    shown.until("steady");
    shown.context.stop(StopMode::Immediate).unwrap();
}
