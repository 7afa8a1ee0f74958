//! Outputs as a database on another machine would have them: what was committed stays, whatever
//! happens to the machine of the program.

use crate::{Batch, BoxError, DStream, Guarantee, Record, Sink, SinkContext};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Collects the outputs of a pipeline under test, each batch exactly once.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    all: Arc<Mutex<Collected>>,
}

/// What was collected, by output.
#[derive(Debug, Default)]
struct Collected {
    outputs: BTreeMap<String, OutputTable>,
    /// What no sink may ever see.
    violations: Vec<String>,
}

/// One output.
#[derive(Debug, Default)]
struct OutputTable {
    visible: BTreeMap<u64, Rows>,
    /// Durable and not visible: batches that are not committed yet.
    staged: BTreeMap<u64, Rows>,
}

/// The records of a batch.
#[derive(Debug)]
struct Rows {
    /// A `Vec<T>`.
    records: Box<dyn Any + Send>,
    /// Each as text: two runs are compared by it.
    text: Vec<String>,
}

impl Collector {
    /// Collects the records of `stream` as the output `name`. The stream is an output of the
    /// program like any other, whose sink is transactional.
    ///
    /// Records of two runs are compared by their `Debug` text, in their order.
    pub fn collect<T: Record + Debug>(&self, name: &str, stream: &DStream<T>) {
        self.lock().outputs.entry(name.to_owned()).or_default();
        // The operators of a program share one set of names: a state may have this one.
        let sink = format!("collected as {name}");
        stream.sink(
            &sink,
            CollectorSink {
                collector: self.clone(),
                output: name.to_owned(),
            },
        );
    }

    /// The committed batches of the output `name` by batch id, each with its records.
    ///
    /// # Panics
    /// If no output has this name, or its records are of another type.
    #[must_use]
    pub fn batches<T: Clone + 'static>(&self, name: &str) -> BTreeMap<u64, Vec<T>> {
        let all = self.lock();
        let Some(output) = all.outputs.get(name) else {
            let known: Vec<&str> = all.outputs.keys().map(String::as_str).collect();
            refuse(&format!(
                "no output \"{name}\" is collected (there is: {})",
                known.join(", ")
            ))
        };
        let typed = |rows: &Rows| match rows.records.downcast_ref::<Vec<T>>() {
            Some(records) => records.clone(),
            None => refuse(&format!(
                "the records of the output \"{name}\" are not of the type {}",
                std::any::type_name::<T>()
            )),
        };
        let visible = output.visible.iter();
        visible.map(|(batch, rows)| (*batch, typed(rows))).collect()
    }

    /// The records of every output and batch as text.
    pub(super) fn text(&self) -> BTreeMap<String, BTreeMap<u64, Vec<String>>> {
        let text = |output: &OutputTable| {
            let visible = output.visible.iter();
            visible.map(|(id, rows)| (*id, rows.text.clone())).collect()
        };
        let all = self.lock();
        let outputs = all.outputs.iter();
        outputs.map(|(name, o)| (name.clone(), text(o))).collect()
    }

    /// What was wrong with the calls of the sinks, if anything was.
    pub(super) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::panic, reason = "a test asks for what is not there")]
fn refuse(what: &str) -> ! {
    panic!("{what}")
}

/// Shows a batch, which must not be there with other records.
fn show(all: &mut Collected, name: &str, batch: u64, rows: Rows) {
    let Collected {
        outputs,
        violations,
    } = all;
    let output = outputs.entry(name.to_owned()).or_default();
    let text = rows.text.clone();
    if let Some(before) = output.visible.insert(batch, rows)
        && before.text != text
    {
        violations.push(format!(
            "batch {batch} of the output \"{name}\" was committed twice: {:?}, then {text:?}",
            before.text
        ));
    }
}

/// The sink of one output.
struct CollectorSink {
    collector: Collector,
    output: String,
}

impl<T: Record + Debug> Sink<T> for CollectorSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let mut all = self.collector.lock();
        let output = all.outputs.entry(self.output.clone()).or_default();
        for (batch, rows) in std::mem::take(&mut output.staged) {
            if context.committed.is_some_and(|newest| batch <= newest) {
                show(&mut all, &self.output, batch, rows);
            }
        }
        Ok(())
    }

    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        let text = records.iter().map(|record| format!("{record:?}")).collect();
        let rows = Rows {
            records: Box::new(records),
            text,
        };
        let mut all = self.collector.lock();
        let output = all.outputs.entry(self.output.clone()).or_default();
        if output.visible.contains_key(&batch.id) {
            let what = format!("{batch} runs again, but its output is visible");
            all.violations.push(what);
        } else {
            output.staged.insert(batch.id, rows);
        }
        Ok(())
    }

    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let mut all = self.collector.lock();
        let output = all.outputs.entry(self.output.clone()).or_default();
        if let Some(rows) = output.staged.remove(&batch.id) {
            show(&mut all, &self.output, batch.id, rows);
        }
        Ok(())
    }
}
