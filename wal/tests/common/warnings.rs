//! Warnings that the log gives, as text.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, Once, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps each warning: the message and the fields, `name=value`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

thread_local! {
    /// Who wants those of this thread.
    static OF_THREAD: RefCell<Option<Warnings>> = const { RefCell::new(None) };
}

/// Who wants those of all threads.
static OF_ALL: OnceLock<Warnings> = OnceLock::new();

impl Warnings {
    /// Those that this thread causes while `work` runs.
    pub(crate) fn during(work: impl FnOnce()) -> Vec<String> {
        struct Restore(Option<Warnings>);
        impl Drop for Restore {
            fn drop(&mut self) {
                OF_THREAD.replace(self.0.take());
            }
        }
        Everything::install();
        let warnings = Self::default();
        let restore = Restore(OF_THREAD.replace(Some(warnings.clone())));
        work();
        drop(restore);
        warnings.all()
    }

    /// Those of all threads, from the first call on.
    pub(crate) fn global() -> Self {
        Everything::install();
        OF_ALL.get_or_init(Self::default).clone()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Sees every warning of the process, and hands it to those who want it.
///
/// There is one, for good. With one for each call, a warning that another thread gave for the first
/// time just then was not seen by either (once in some hundred runs of a suite).
struct Everything;

impl Everything {
    fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Self).unwrap());
    }
}

impl Subscriber for Everything {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let of_thread = OF_THREAD.with_borrow(Clone::clone);
        for warnings in of_thread.iter().chain(OF_ALL.get()) {
            warnings.0.lock().unwrap().push(text.0.clone());
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}
