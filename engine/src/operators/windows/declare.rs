//! Declares the window of a stream: checks length and slide, and gives the stream its slide.

use crate::operators::attempts::on_error::OnError;
use crate::operators::dstream::{DStream, FusedFn};
use crate::operators::windows::kept::Declared;
use crate::operators::windows::span::Span;
use crate::plan::ids::NodeId;
use crate::plan::slide::Slide;
use crate::record::{Key, Record, Value};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

impl<T: 'static> DStream<T> {
    /// Declares the window `name`. An error is noted in the graph.
    pub(super) fn declare_window<'a>(
        &self,
        (kind, name): (&'static str, &'a str),
        (length, slide): (Duration, Duration),
        at: &Location<'_>,
    ) -> Declared<'a> {
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator(kind, Some(name), &[self.operator], at);
        let step_ms = graph.step_ms(self.operator);
        let title = format!("{kind} \"{name}\" at {}:{}", at.file(), at.line());
        let span = Span::new(length, slide, step_ms, &title).unwrap_or_else(|error| {
            graph.error(error);
            Span::of_one_step(step_ms)
        });
        graph.set_slide(operator, Slide::Millis(span.slide_ms()));
        Declared {
            name,
            kind,
            span,
            operator,
        }
    }

    /// This stream as pairs, without an operator of its own in messages.
    pub(super) fn as_pairs<K: Key, V: Value>(
        &self,
        pair: impl Fn(T) -> (K, V) + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let fused = Arc::clone(&self.fused);
        let fused: FusedFn<(K, V)> = Arc::new(move |ctx, data, emit| {
            fused(ctx, data, &mut |record| emit(pair(record)));
        });
        DStream {
            graph: Rc::clone(&self.graph),
            input: self.input,
            operator: self.operator,
            fused,
            depth: self.depth + 1,
            is_positioned: false,
            unfused: DStream::unfuse,
            on_error: OnError::default(),
            united: None,
        }
    }

    /// The stream of a window's node.
    pub(super) fn of_window<U: Record>(&self, declared: Declared<'_>, node: NodeId) -> DStream<U> {
        DStream::of_node(&self.graph, node, declared.operator)
    }
}
