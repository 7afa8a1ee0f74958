//! Calls a closure for a record, and refuses the record if it fails.

use crate::error::BoxError;
use crate::operators::attempts::on_error::{Codec, OnError};
use crate::panics;
use crate::plan::ids::OperatorId;
use crate::plan::operator_context::OperatorContext;
use crate::refused::noted::{NotedLetter, bounded};
use crate::refused::place::{Place, Places};
use crate::refused::policy::ErrorPolicy;
use crate::refused::refusals::Refusals;
use crate::variables::scope;
use std::collections::BTreeSet;

/// Calls the closure of an operator for the records of one chunk.
pub(crate) struct Attempts<'a, T> {
    ctx: &'a OperatorContext,
    operator: OperatorId,
    on_error: OnError<T>,
    places: Places,
    /// In a batch that was committed before, the inputs that were refused then.
    left_out: Option<&'a BTreeSet<Place>>,
}

impl<'a, T> Attempts<'a, T> {
    pub(crate) fn new(
        ctx: &'a OperatorContext,
        operator: OperatorId,
        on_error: OnError<T>,
    ) -> Self {
        let left_out = match ctx.refusals() {
            Refusals::Honour(left_out) => left_out.get(&operator.0),
            Refusals::Note(_) => None,
        };
        Self {
            ctx,
            operator,
            on_error,
            places: Places::default(),
            left_out,
        }
    }

    /// Gives `record` to `f`, unless it is left out. If it fails, the record is refused, or the
    /// batch fails: then the result is an error.
    ///
    /// `f` does not hand on what it makes: that would run other operators' code.
    pub(crate) fn attempt(
        &mut self,
        record: T,
        f: impl FnOnce(T) -> Result<(), String>,
    ) -> Result<(), ()> {
        self.ctx.enter(self.operator);
        // In a rebuild also under the default policy: it may not have been the default then.
        let place = match (self.on_error.policy, self.left_out) {
            (ErrorPolicy::FailBatch, None) => {
                return f(record).map_err(|message| self.ctx.fail(message));
            }
            _ => self.places.next(self.ctx.position(), &self.ctx.chunk()),
        };
        if self
            .left_out
            .is_some_and(|left_out| left_out.contains(&place))
        {
            return Err(());
        }
        let codec = match self.on_error {
            OnError {
                policy: ErrorPolicy::DeadLetter,
                codec,
            } => codec,
            _ => None,
        };
        let copy = codec.map(|codec| (codec, (codec.copy)(&record)));
        let done = scope::attempt(|| panics::catch(|| f(record)));
        done.map_err(|message| self.refuse(place, copy, &message))
    }

    /// Refuses the record at `place`, of which there is a copy if it is to be put aside.
    fn refuse(&self, place: Place, copy: Option<(Codec<T>, T)>, message: &str) {
        let (ctx, policy) = (self.ctx, self.on_error.policy);
        if matches!(ctx.refusals(), Refusals::Honour(_)) {
            return ctx.fail(format!(
                "{message}. The batch was committed without this failure, so the closure gives another result than it did then. Let it depend on the record alone"
            ));
        }
        let letter = match (policy, copy) {
            (ErrorPolicy::FailBatch, _) => return ctx.fail(message),
            (ErrorPolicy::Skip, _) => None,
            (ErrorPolicy::DeadLetter, None) => {
                return ctx.fail(format!(
                    "{message}. The record cannot be put aside: the policy was passed on from a stream of another type. Call .on_error(ErrorPolicy::DeadLetter) on the stream that this operator reads"
                ));
            }
            (ErrorPolicy::DeadLetter, Some((codec, record))) => {
                let input = panics::catch(|| (codec.encode)(&record));
                match input {
                    Ok(input) => Some(NotedLetter {
                        input,
                        error: bounded(message),
                    }),
                    Err(what) => {
                        return ctx.fail(format!(
                            "{message}. The record cannot be put aside, because it cannot be written: {what}"
                        ));
                    }
                }
            }
        };
        tracing::debug!(%place, error = %bounded(message), "a record is refused");
        ctx.leave_out(place, letter);
    }
}

/// An error and what caused it, in words.
pub(crate) fn text_of(error: impl Into<BoxError>) -> String {
    let error: BoxError = error.into();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(text_of("plain"), "plain");
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::num::ParseIntError);
        let error = Outer("x".parse::<u8>().unwrap_err());
        assert_eq!(text_of(error), "outer: invalid digit found in string");
    }
}
