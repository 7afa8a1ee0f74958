//! How every operator of single records is built, so that it may refuse some.

use crate::operators::attempts::attempt::Attempts;
use crate::operators::attempts::on_error::OnError;
use crate::operators::dstream::{DStream, FusedFn};
use crate::plan::ids::OperatorId;
use crate::record::Record;
use crate::refused::policy::ErrorPolicy;
use std::panic::Location;
use std::sync::Arc;

impl<T: 'static> DStream<T> {
    /// Adds an operator that makes what `f` puts into a list of each record. Under the default
    /// policy it is `fast`, which hands on what it makes at once, and does not look at records that
    /// fail.
    pub(crate) fn record_by_record<U: 'static>(
        &self,
        kind: &str,
        at: &Location<'_>,
        unfused: fn(&DStream<U>) -> DStream<U>,
        fast: impl FnOnce(OperatorId, FusedFn<T>) -> FusedFn<U>,
        f: impl Fn(T, &mut Vec<U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        let (input, source) = self.with_replayed(kind, at);
        let on_error = self.on_error;
        let fallible = move |record, made: &mut Vec<U>| {
            f(record, made);
            Ok(())
        };
        let stream = input.fuse_as(kind, at, unfused, |operator, fused| {
            self.may_refuse(operator, source);
            let fast = fast(operator, Arc::clone(&fused));
            let careful = careful(operator, on_error, fused, fallible);
            Arc::new(move |ctx, data, emit| {
                // What was refused under another policy, by a batch that is run again, stays out.
                match on_error.policy == ErrorPolicy::FailBatch && !ctx.leaves_out(operator) {
                    true => fast(ctx, data, emit),
                    false => careful(ctx, data, emit),
                }
            })
        });
        stream.computed_once()
    }

    /// Adds an operator that makes what `f` puts into a list of each record, or refuses it.
    pub(super) fn attempt<U: Record>(
        &self,
        kind: &str,
        at: &Location<'_>,
        f: impl Fn(T, &mut Vec<U>) -> Result<(), String> + Send + Sync + 'static,
    ) -> DStream<U> {
        self.attempt_as(kind, at, DStream::unfuse, f)
    }

    /// The same for records of which it is known how to put them behind a node.
    pub(super) fn attempt_as<U: 'static>(
        &self,
        kind: &str,
        at: &Location<'_>,
        unfused: fn(&DStream<U>) -> DStream<U>,
        f: impl Fn(T, &mut Vec<U>) -> Result<(), String> + Send + Sync + 'static,
    ) -> DStream<U> {
        let (input, source) = self.with_replayed(kind, at);
        let on_error = self.on_error;
        let stream = input.fuse_as(kind, at, unfused, |operator, fused| {
            self.may_refuse(operator, source);
            careful(operator, on_error, fused, f)
        });
        stream.computed_once()
    }
}

impl<T> DStream<T> {
    /// This stream, behind a node if its operator may refuse records. Each reader of a stream
    /// computes the operators before it again: then a record could be refused for one and not for
    /// the other.
    fn computed_once(&self) -> DStream<T> {
        match self.on_error.policy {
            ErrorPolicy::FailBatch => self.clone(),
            ErrorPolicy::Skip | ErrorPolicy::DeadLetter => (self.unfused)(self),
        }
    }

    /// `operator` reads this stream record by record.
    fn may_refuse(&self, operator: OperatorId, source: Option<usize>) {
        let mut graph = self.graph.borrow_mut();
        // Without a codec a record cannot be put aside: then the batch fails.
        let policy = match (self.on_error.policy, source) {
            (ErrorPolicy::DeadLetter, None) => ErrorPolicy::FailBatch,
            (policy, _) => policy,
        };
        graph.may_refuse(operator, policy);
        if let Some(source) = source {
            graph.replayed_from(operator, source);
        }
    }
}

/// Gives each record to `f`, and hands on what it makes only when it is done with it.
fn careful<T: 'static, U: 'static>(
    operator: OperatorId,
    on_error: OnError<T>,
    fused: FusedFn<T>,
    f: impl Fn(T, &mut Vec<U>) -> Result<(), String> + Send + Sync + 'static,
) -> FusedFn<U> {
    Arc::new(move |ctx, data, emit| {
        let mut attempts = Attempts::new(ctx, operator, on_error);
        let mut made = Vec::new();
        fused(ctx, data, &mut |record| {
            let done = attempts.attempt(record, |record| f(record, &mut made));
            match done {
                Ok(()) => made.drain(..).for_each(&mut *emit),
                Err(()) => made.clear(),
            }
        });
    })
}
