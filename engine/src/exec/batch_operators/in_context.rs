//! Running a part of an operator for a batch.

use crate::batch::work::Work;
use crate::exec::report::Report;
use crate::exec::worker_context::WorkerContext;
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::OperatorContext;

/// Runs `work` in a context of the epoch, unless the batch has failed already; its failure goes to
/// the driver.
pub(in crate::exec) fn in_context(
    context: &WorkerContext,
    epoch: u64,
    operator: OperatorId,
    work: impl FnOnce(&OperatorContext),
) {
    let Some(Work { batch, tick, .. }) = context.work(epoch) else {
        return;
    };
    if context.failed(epoch) {
        return;
    }
    let ctx = OperatorContext::new(batch, tick, context.scope(), operator);
    context.counting(|| ctx.guard(|| work(&ctx)));
    context.refused(ctx.take_noted());
    if let Some(hot) = ctx.take_hot_key(|| context.plan.operator_name(operator)) {
        context.report(Report::HotKey(hot));
    }
    if let Some(failed) = ctx.into_failure(|id| context.plan.operator_name(id)) {
        context.fail(epoch, failed);
    }
}
