//! Operators that may refuse records, and the names by which the log knows them.

use crate::error::GraphError;
use crate::plan::ids::OperatorId;
use crate::plan::refused_counts::RefusedCounts;
use crate::refused::lists::Refused;
use crate::refused::policy::ErrorPolicy;
use crate::refused::refusals::Refusals;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The operators of single records, with the policies of the streams that they read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusing {
    policies: BTreeMap<OperatorId, ErrorPolicy>,
    /// By index, the sources of dead letters that are replayed.
    sources: BTreeMap<OperatorId, usize>,
    /// Whether one of them is not the default; for operators that were built before.
    is_possible: Arc<AtomicBool>,
    /// Once the program is built.
    names: BTreeMap<usize, String>,
    pub(crate) counts: RefusedCounts,
}

/// An operator as the program describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) defined_at: &'a str,
}

impl Refusing {
    pub(crate) fn add(&mut self, operator: OperatorId, policy: ErrorPolicy) {
        self.policies.insert(operator, policy);
        if policy != ErrorPolicy::FailBatch {
            self.is_possible.store(true, Ordering::Relaxed);
        }
    }

    /// What is replayed to `operator` comes from `source`.
    pub(crate) fn replayed_from(&mut self, operator: OperatorId, source: usize) {
        self.sources.insert(operator, source);
    }

    /// Gives every operator a name: its own, or its kind and its number among those of its kind. An
    /// operator that puts records aside needs one of its own.
    pub(crate) fn name_all<'a>(
        &mut self,
        describe: impl Fn(OperatorId) -> Option<Described<'a>>,
        is_taken: impl Fn(&str) -> bool,
    ) -> Vec<GraphError> {
        let mut errors = Vec::new();
        let mut counts = BTreeMap::<&str, usize>::new();
        for (operator, policy) in &self.policies {
            let Some(info) = describe(*operator) else {
                continue;
            };
            let count = counts.entry(info.kind).or_default();
            *count += 1;
            let name = info.name.map_or_else(
                || {
                    let mut name = format!("{}#{count}", info.kind);
                    while is_taken(&name) {
                        name.push('\'');
                    }
                    name
                },
                str::to_owned,
            );
            if info.name.is_none() && *policy == ErrorPolicy::DeadLetter {
                errors.push(GraphError::Unnamed {
                    operator: format!("{} at {}", info.kind, info.defined_at),
                });
            }
            self.names.insert(operator.0, name);
        }
        errors
    }

    /// Whether a record can be refused in this program.
    pub(crate) fn is_possible(&self) -> bool {
        self.is_possible.load(Ordering::Relaxed)
    }

    /// The same, for when the program is complete.
    pub(crate) fn possible(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_possible)
    }

    /// The operators that put records aside, by name, and the sources of what is replayed to each.
    pub(crate) fn keeping(&self) -> impl Iterator<Item = (&str, usize)> {
        let sources = self.sources.iter();
        sources.map(|(operator, source)| (self.name(operator.0), *source))
    }

    /// The name of an operator.
    pub(crate) fn name(&self, operator: usize) -> &str {
        self.names.get(&operator).map_or("", String::as_str)
    }

    /// The operator of that name.
    pub(crate) fn operator(&self, name: &str) -> Option<usize> {
        let mut names = self.names.iter();
        names.find_map(|(operator, known)| (known == name).then_some(*operator))
    }

    /// How a batch is run again that was committed and has refused this.
    pub(crate) fn honour(&self, refused: Option<&Refused>) -> Refusals {
        let left_out = refused.map(|refused| refused.places(|name| self.operator(name)));
        Refusals::Honour(Arc::new(left_out.unwrap_or_default()))
    }
}
