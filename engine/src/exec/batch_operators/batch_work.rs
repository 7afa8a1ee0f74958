//! A batch operator on one worker: what it is given, when, and what becomes of its state.

use crate::batch::chunk::Chunk;
use crate::batch::tick::Tick;
use crate::checkpointing::capture::{CaptureSink, Captured, Whole};
use crate::exec::batch_operators::arrivals::Arrivals;
use crate::exec::batch_operators::in_context::in_context;
use crate::exec::worker_context::WorkerContext;
use crate::observe::states::KeyCounts;
use crate::panics;
use crate::plan::failed::Remedy;
use crate::plan::ids::OperatorId;
use crate::plan::node::BatchOperator;
use crate::plan::operator_context::OperatorContext;
use crate::state::table::shared::reading::SharedGroup;

/// A batch operator, and which one of the plan it is.
pub(in crate::exec) struct BatchWork {
    operator: OperatorId,
    state: Option<usize>,
    work: Box<dyn BatchOperator>,
    /// The newest epoch of which the operator has seen anything.
    ran: u64,
    /// The newest batch after which a checkpoint took the state.
    captured: Option<u64>,
    /// What the driver knows of the number of keys.
    reported: Option<KeyCounts>,
}

/// What has arrived at a batch operator in one epoch, of one input.
#[derive(Default)]
pub(in crate::exec) struct Gathered {
    pub(in crate::exec) arrivals: Arrivals,
    /// What the operator gave back.
    kept: Vec<Chunk>,
}

impl BatchWork {
    pub(in crate::exec) fn new(
        operator: OperatorId,
        state: Option<usize>,
        work: Box<dyn BatchOperator>,
    ) -> Self {
        Self {
            operator,
            state,
            work,
            ran: 0,
            captured: None,
            reported: None,
        }
    }

    /// What readers look at of its state, and which state that is.
    pub(in crate::exec) fn share(&self) -> Vec<(usize, SharedGroup)> {
        let groups = self.work.share().into_iter();
        let state = self.state.into_iter();
        groups
            .zip(state.cycle())
            .map(|(group, state)| (state, group))
            .collect()
    }

    fn acts(&self, context: &WorkerContext, tick: &Tick) -> bool {
        context.plan.acts(self.operator, tick)
    }

    /// Hands over a chunk that has its turn.
    fn arrive(
        &mut self,
        context: &WorkerContext,
        ctx: &OperatorContext,
        (epoch, rank): (u64, usize),
        chunk: Chunk,
        kept: &mut Vec<Chunk>,
    ) {
        self.begin(context, ctx, epoch);
        match self.acts(context, ctx.tick()) {
            _ if ctx.failed() => {}
            true => kept.extend(self.work.arrive(ctx, rank, chunk)),
            false => ctx.refuse("records have come between two slides of the stream"),
        }
    }

    /// Hands over the chunks of an input that have their turn. Other workers' may come before this
    /// worker has begun the batch: they wait.
    pub(in crate::exec) fn gather(
        &mut self,
        context: &WorkerContext,
        epoch: u64,
        rank: usize,
        input: &mut Gathered,
    ) {
        if context.work(epoch).is_none() {
            return;
        }
        let Gathered { arrivals, kept } = input;
        if let Some(first) = arrivals.next_ready() {
            in_context(context, epoch, self.operator, |ctx| {
                self.arrive(context, ctx, (epoch, rank), first, kept);
                while let Some(chunk) = arrivals.next_ready() {
                    self.arrive(context, ctx, (epoch, rank), chunk, kept);
                }
            });
        }
    }

    /// Applies the operator to a complete epoch.
    pub(in crate::exec) fn run(
        &mut self,
        context: &WorkerContext,
        epoch: u64,
        inputs: Vec<Gathered>,
    ) -> Vec<Chunk> {
        let mut out = Vec::new();
        in_context(context, epoch, self.operator, |ctx| {
            self.begin(context, ctx, epoch);
            let mut all = Vec::with_capacity(inputs.len());
            for (rank, Gathered { arrivals, mut kept }) in inputs.into_iter().enumerate() {
                for chunk in arrivals.rest() {
                    self.arrive(context, ctx, (epoch, rank), chunk, &mut kept);
                }
                all.push(kept);
            }
            if !ctx.failed() && self.acts(context, ctx.tick()) {
                self.work.apply(ctx, all, &mut out);
            }
        });
        self.report(context);
        out
    }

    /// At the first call for an attempt: what the one before has done is kept, or put back.
    ///
    /// A panic in here comes from a value that is dropped. Then a part may be put back and a part
    /// not, so all of it is built again.
    fn begin(&mut self, context: &WorkerContext, ctx: &OperatorContext, epoch: u64) {
        if self.ran == epoch {
            return;
        }
        let failed = !context.keeps(self.ran);
        self.ran = epoch;
        ctx.guard_with(Remedy::Rebuild, || self.settle(context, epoch, failed));
    }

    fn settle(&mut self, context: &WorkerContext, epoch: u64, failed: bool) {
        self.work.begin();
        if failed {
            self.reported = None; // the driver has thrown that away
        }
        let Some(state) = self.work.state() else {
            return;
        };
        state.begin(failed);
        let Some(work) = context.work(epoch) else {
            return;
        };
        state.run(work.batch.id, work.shown);
        let published = work.published;
        if self.captured.is_some() && self.captured <= published {
            state.published();
            self.captured = None;
        }
    }

    /// Tells the driver how many keys there are.
    fn report(&mut self, context: &WorkerContext) {
        let counts = self.work.state().map(|state| state.counts());
        if let (Some(state), Some(counts)) = (self.state, counts)
            && self.reported != Some(counts)
        {
            self.reported = Some(counts);
            context.count_keys(state, counts);
        }
    }

    /// A checkpoint is to have the state as it is after `batch`, which was kept.
    ///
    /// A panic in here comes from a value that is dropped: the worker ends, and its state is built
    /// again.
    pub(in crate::exec) fn capture(&mut self, batch: u64, whole: &Whole, sink: &CaptureSink) {
        let Some(index) = self.state else {
            return;
        };
        self.work.begin();
        if let Some(state) = self.work.state() {
            state.begin(false);
            let keys = state.capture(whole.has(index));
            let said = Captured::Keys { state: index, keys };
            let _gone = sink.messages.send(said);
        }
        self.captured = Some(batch);
    }

    /// Copies for it, as long as `goes_on`. Whether everything is copied, or not wanted any more.
    pub(in crate::exec) fn copy(
        &mut self,
        sink: &CaptureSink,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        let (Some(index), Some(state)) = (self.state, self.work.state()) else {
            return true;
        };
        let mut is_wanted = true;
        let mut deliver = |group| is_wanted = sink.deliver(index, group) && is_wanted;
        // Clones states: that is user code.
        let copied = panics::catch(|| Ok::<_, String>(state.copy(goes_on, &mut deliver)));
        let message = match copied {
            Ok(done) if is_wanted => return done,
            Ok(_) => None,
            Err(message) => Some(message),
        };
        state.give_up_copies();
        if let Some(message) = message {
            let failed = Captured::Failed {
                state: index,
                message,
            };
            let _gone = sink.messages.send(failed);
        }
        true
    }
}
