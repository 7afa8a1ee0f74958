//! `update_state_by_key`: a state for each key, from the values of each batch.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::operators::dstream::DStream;
use crate::operators::keyed_state::list_intake::ListIntake;
use crate::operators::keyed_state::state_spec::{UpdateFn, UpdateSpec};
use crate::operators::keyed_state::stateful::{
    Declared, check_state, checked_initial, checked_timeout, stateful_node,
};
use crate::operators::pairs::lists::{Arranged, List};
use crate::plan::ids::OperatorId;
use crate::plan::node::BatchOperator;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, State, Value};
use crate::state::access::{StateAccess, StateGuard};
use crate::state::table::group::Group;
use crate::state::table::shared::reading::SharedGroup;
use crate::state::table::slots::{LastVisit, Stamp};
use crate::state::table::states::{KeptState, StateTable};
use crate::state::table::visits::visit::{Visited, Visiting};
use std::panic::Location;
use std::sync::Arc;

/// Which keys are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Every key that has state or values, as Spark does.
    EveryKey,
    /// Only keys with values in this batch.
    ChangedKeys,
}

impl Visit {
    fn operator_kind(self) -> &'static str {
        match self {
            Visit::EveryKey => UPDATE_STATE,
            Visit::ChangedKeys => "update_state_by_key_changed",
        }
    }
}

/// Both kinds of update keep the same state: a program may change from one to the other.
pub(crate) const UPDATE_STATE: &str = "update_state_by_key";

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Updates the state `name` of each key with the values that arrived for it, and emits every
    /// key with its state.
    ///
    /// As in Spark, `f` is called for **every** key that has state, with no values if none arrived.
    /// Removing the state deletes the key. The state is kept in checkpoints under `name`. Keys are
    /// visited by key group, in the order in which they were created, new ones last in the order of
    /// their first value.
    ///
    /// The last parameter of `f` is a [`StateGuard<S>`](crate::StateGuard), which knows whether the
    /// state was changed, or an `Option<S>`, of which every visited state counts as changed (and is
    /// cloned before each visit).
    ///
    /// ```
    /// # use highwater_engine::{DStream, StateGuard};
    /// # fn program(words: &DStream<(String, u64)>) {
    /// let counts = words.update_state_by_key("counts", |_word, new, count: &mut StateGuard<u64>| {
    ///     if !new.is_empty() {
    ///         *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
    ///     }
    /// });
    /// # let _ = counts;
    /// # }
    /// ```
    #[track_caller]
    pub fn update_state_by_key<G: StateAccess>(
        &self,
        name: &str,
        f: impl Fn(&K, &[V], &mut G) + Send + Sync + 'static,
    ) -> DStream<(K, G::State)>
    where
        K: Key,
        V: Value,
        G::State: State,
    {
        self.update(name, Visit::EveryKey, f, Location::caller())
    }

    /// Like [`Self::update_state_by_key`], but `f` is called, and records are emitted, only for
    /// keys with values in the batch. The cost follows the input, not the number of keys ever seen.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StateGuard};
    /// # fn program(sales: &DStream<(String, u64)>) {
    /// let totals = sales.update_state_by_key_changed("totals", |_, new, total: &mut StateGuard<u64>| {
    ///     *total.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
    /// });
    /// # let _ = totals;
    /// # }
    /// ```
    #[track_caller]
    pub fn update_state_by_key_changed<G: StateAccess>(
        &self,
        name: &str,
        f: impl Fn(&K, &[V], &mut G) + Send + Sync + 'static,
    ) -> DStream<(K, G::State)>
    where
        K: Key,
        V: Value,
        G::State: State,
    {
        self.update(name, Visit::ChangedKeys, f, Location::caller())
    }

    /// Like [`Self::update_state_by_key`], with what the [`UpdateSpec`] says: an initial state, a
    /// time to live, visits of changed keys only; and the function sees the batch.
    #[track_caller]
    pub fn update_state_by_key_spec<G: StateAccess>(
        &self,
        name: &str,
        spec: UpdateSpec<K, V, G>,
    ) -> DStream<(K, G::State)>
    where
        K: Key,
        V: Value,
        G::State: State,
    {
        let visit = match spec.changed_keys_only {
            true => Visit::ChangedKeys,
            false => Visit::EveryKey,
        };
        let operator = self.update_operator(name, visit, Location::caller());
        let mut graph = self.graph.borrow_mut();
        let initial = checked_initial(spec.initial);
        let initial = graph.checked(operator, initial).unwrap_or_default();
        let time_to_live = spec
            .time_to_live
            .map(|t| checked_timeout("a time to live", t));
        let timeout_ms = time_to_live.and_then(|t| graph.checked(operator, t));
        drop(graph);
        let declared = Declared {
            name,
            kind: UPDATE_STATE,
            initial,
            timeout_ms,
        };
        match timeout_ms {
            Some(_) => self.update_node::<G, LastVisit>(operator, visit, spec.f, declared),
            None => self.update_node::<G, ()>(operator, visit, spec.f, declared),
        }
    }

    /// A state without anything that a specification could say.
    fn update<G: StateAccess>(
        &self,
        name: &str,
        visit: Visit,
        f: impl Fn(&K, &[V], &mut G) + Send + Sync + 'static,
        at: &Location<'_>,
    ) -> DStream<(K, G::State)>
    where
        K: Key,
        V: Value,
        G::State: State,
    {
        let f: UpdateFn<K, V, G> = Arc::new(move |_, key, new, state| f(key, new, state));
        let operator = self.update_operator(name, visit, at);
        let declared = Declared {
            name,
            kind: UPDATE_STATE,
            initial: Vec::new(),
            timeout_ms: None,
        };
        self.update_node::<G, ()>(operator, visit, f, declared)
    }

    fn update_operator(&self, name: &str, visit: Visit, at: &Location<'_>) -> OperatorId {
        let mut graph = self.graph.borrow_mut();
        graph.operator(visit.operator_kind(), Some(name), &[self.operator], at)
    }

    fn update_node<G: StateAccess, T: Stamp>(
        &self,
        operator: OperatorId,
        visit: Visit,
        f: UpdateFn<K, V, G>,
        declared: Declared<'_, K, G::State>,
    ) -> DStream<(K, G::State)>
    where
        K: Key,
        V: Value,
        G::State: State,
    {
        let input = self.gather(operator);
        let make = move |table: StateTable<K, List, G::State, T>| {
            Box::new(UpdateState {
                operator,
                visit,
                table,
                intake: ListIntake::new(),
                f: Arc::clone(&f),
            }) as Box<dyn BatchOperator>
        };
        let node = stateful_node(&self.graph, declared, (input, operator), make);
        DStream::of_node(&self.graph, node, operator)
    }
}

/// `update_state_by_key` after the exchange.
struct UpdateState<K, V, G: StateAccess, T> {
    operator: OperatorId,
    visit: Visit,
    table: StateTable<K, List, G::State, T>,
    intake: ListIntake<K, V>,
    f: UpdateFn<K, V, G>,
}

/// Runs the function for the keys of a group that it is to see, in order, and collects what is
/// emitted.
fn visit_group<K: Key, V: Value, G: StateAccess, T: Stamp>(
    f: &UpdateFn<K, V, G>,
    (visit, visiting): (Visit, Visiting),
    ctx: &OperatorContext,
    group: &mut Group<K, List, G::State, T>,
    lists: &Arranged<V>,
) -> Vec<(K, G::State)>
where
    G::State: State,
{
    let batch = ctx.batch();
    let mut records = Vec::new();
    let mut update = |key: &K, list: Option<List>, state: &mut G| {
        let values = list.map(|list| lists.get(list));
        let values = values.unwrap_or_default();
        ctx.key_has(key, values.len());
        ctx.at_key(key, || f(batch, key, values, state));
    };
    let mut emit = |visited: Visited<'_, K, G::State>| {
        check_state(ctx, &visited);
        if let Some(state) = visited.state {
            records.push((visited.key.clone(), state.clone()));
        }
    };
    // Before the visits: a key that has lived its time is not seen any more.
    let is_last_part = ctx.tick().is_last_part;
    let timed_out = is_last_part.then(|| group.timed_out(batch.time_ms));
    for slot in timed_out.unwrap_or_default() {
        group.time_out(visiting, slot, |_, _: &mut StateGuard<G::State>| ());
    }
    match visit {
        Visit::EveryKey if is_last_part => {
            group.visit_every(visiting, &mut update, &mut emit);
        }
        // A part of a tick, before the last one, has the keys that it touches.
        Visit::EveryKey | Visit::ChangedKeys => {
            group.visit_touched(visiting, &mut update, &mut emit)
        }
    }
    records
}

impl<K: Key, V: Value, G: StateAccess, T: Stamp> BatchOperator for UpdateState<K, V, G, T>
where
    G::State: State,
{
    fn begin(&mut self) {
        self.intake.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if let Err(what) = self.intake.take_in(&mut self.table, chunk) {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if let Err(what) = self.intake.finish(&mut self.table) {
            return ctx.refuse(what);
        }
        let (f, visit, intake) = (&self.f, self.visit, &mut self.intake);
        self.table
            .visit(ctx.batch().time_ms, |visiting, number, group| {
                let lists = intake.lists(number);
                let records = visit_group(f, (visit, visiting), ctx, group, &lists);
                if !records.is_empty() {
                    let sequence = SequenceKey::batch(u64::from(number));
                    out.push(Chunk::new(sequence, 0, records));
                }
            });
    }

    fn state(&mut self) -> Option<&mut dyn KeptState> {
        Some(&mut self.table)
    }

    fn share(&self) -> Vec<SharedGroup> {
        self.table.share()
    }
}
