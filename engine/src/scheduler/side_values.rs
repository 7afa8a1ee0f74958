//! What the driver keeps from batch to batch beside the states of operators: variables, and results
//! for datasets.

use crate::batch::Batch;
use crate::error::Result;
use crate::exec::completed::Completed;
use crate::plan::batch_scope::BatchScope;
use crate::plan::program::Plan;
use crate::plan::refused_counts::refused_failed;
use crate::refused::refusals::Refusals;
use crate::state::encoded::Entry;
use crate::variables::declared::variable_failed;
use crate::variables::values::Values;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the driver keeps beside the states of operators, as of the last finished batch.
#[derive(Debug)]
pub(crate) struct SideValues {
    plan: Arc<Plan>,
    values: Arc<Values>,
}

/// What a batch makes of it, to be taken over when the batch is committed.
#[derive(Debug)]
pub(crate) struct SideResults {
    values: Arc<Values>,
    /// By tap.
    datasets: BTreeMap<usize, Arc<[u8]>>,
}

impl SideValues {
    /// Begins with what was recovered.
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            values: plan.variables.newest.get(),
        }
    }

    /// Whether the program has neither, so that a batch gives nothing to the next one here.
    pub(crate) fn is_empty(&self) -> bool {
        let variables = &self.plan.variables;
        let none = variables.counters.is_empty() && variables.broadcasts.is_empty();
        none && self.plan.datasets.slots.is_empty()
    }

    /// What the operators of `batch` are given.
    pub(crate) fn scope(&self, batch: &Batch) -> BatchScope {
        BatchScope {
            visible: self.plan.variables.visible(&self.values),
            wanted: Arc::new(self.plan.datasets.wanted(batch)),
            streams: None,
            refusals: Refusals::default(),
        }
    }

    /// What a batch that ran in `scope` makes of it.
    pub(crate) fn after(
        &self,
        scope: &BatchScope,
        completed: &mut Completed,
    ) -> Result<SideResults> {
        let Completed {
            counted, tapped, ..
        } = completed;
        let values = self.plan.variables.after(&self.values, counted, tapped);
        Ok(SideResults {
            values: Arc::new(values.map_err(variable_failed)?),
            datasets: self.plan.datasets.results(&scope.wanted, tapped)?,
        })
    }

    /// The batch is committed: its values and results are what everyone sees from now on.
    pub(crate) fn finished(&mut self, batch: &Batch, results: SideResults) {
        self.plan.variables.newest.set(Arc::clone(&results.values));
        self.values = results.values;
        self.plan.datasets.finished(batch, results.datasets);
    }

    /// The entries of all of it by state, for a checkpoint after `batch`.
    pub(crate) fn entries(&self, batch: &Batch) -> Result<BTreeMap<usize, Vec<Entry>>> {
        let variables = self.plan.variables.entries(&self.values);
        let mut all = BTreeMap::from_iter(variables.map_err(variable_failed)?);
        all.extend(self.plan.datasets.entries(batch.id)?);
        all.extend(
            self.plan
                .refusing
                .counts
                .entries()
                .map_err(refused_failed)?,
        );
        Ok(all)
    }
}
