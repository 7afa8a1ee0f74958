//! Declares the variables that all workers share: counters and broadcast values.

use crate::batch::chunk::Chunk;
use crate::codec::round_trip;
use crate::operators::dstream::DStream;
use crate::operators::scope::StreamScope;
use crate::plan::ids::OperatorId;
use crate::plan::node::{LocalFn, NodeWork};
use crate::plan::program::StateInfo;
use crate::record::Value;
use crate::state::encoded::EncodedTypes;
use crate::variables::broadcast::Broadcast;
use crate::variables::counter::Counter;
use crate::variables::declared::{BROADCAST, BroadcastInfo, COUNTER, CounterInfo, decode};
use std::any::type_name;
use std::borrow::Borrow;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

impl StreamScope {
    /// Declares the counter `name`, which the closures of all operators can add to. The value is
    /// kept in checkpoints under that name. See [`Counter`].
    #[track_caller]
    pub fn counter(&self, name: &str) -> Counter {
        let mut graph = self.graph.borrow_mut();
        graph.operator(COUNTER, Some(name), &[], Location::caller());
        let state = graph.state(StateInfo {
            name: name.to_owned(),
            kind: COUNTER,
            type_names: type_name::<u64>().to_owned(),
            types: Arc::new(EncodedTypes::<(), u64>::new()),
            readable: None,
            readers: Arc::default(),
        });
        let name: Arc<str> = Arc::from(name);
        let variables = graph.variables();
        variables.counters.push(CounterInfo {
            name: Arc::clone(&name),
            state,
        });
        Counter {
            name,
            index: variables.counters.len() - 1,
            program: Arc::clone(&variables.newest),
        }
    }

    /// Declares the broadcast value `name`: the newest record of `stream`, which the closures of
    /// all operators can read. The value is kept in checkpoints under that name. See [`Broadcast`].
    #[track_caller]
    pub fn broadcast<T: Value + Sync>(
        &self,
        name: &str,
        stream: impl Borrow<DStream<T>>,
    ) -> Broadcast<T> {
        let (stream, at) = (stream.borrow(), Location::caller());
        if !Rc::ptr_eq(&self.graph, &stream.graph) {
            self.graph.borrow_mut().foreign_stream(BROADCAST, at);
        }
        let operator =
            self.graph
                .borrow_mut()
                .operator(BROADCAST, Some(name), &[stream.operator], at);
        let newest = stream.local(newest_of_chunk(stream, operator));
        let mut graph = self.graph.borrow_mut();
        let state = graph.state(StateInfo {
            name: name.to_owned(),
            kind: BROADCAST,
            type_names: type_name::<T>().to_owned(),
            types: Arc::new(EncodedTypes::<(), T>::new()),
            readable: None,
            readers: Arc::default(),
        });
        let tap = graph.tap();
        graph.node(vec![newest], NodeWork::Tap { tap });
        let name: Arc<str> = Arc::from(name);
        let variables = graph.variables();
        variables.broadcasts.push(BroadcastInfo {
            name: Arc::clone(&name),
            state,
            tap,
            decode: decode::<T>,
        });
        Broadcast {
            name,
            index: variables.broadcasts.len() - 1,
            program: Arc::clone(&variables.newest),
            value: PhantomData,
        }
    }
}

/// The last record of each chunk, encoded.
fn newest_of_chunk<T: Value>(stream: &DStream<T>, operator: OperatorId) -> LocalFn {
    let fused = Arc::clone(&stream.fused);
    Arc::new(move |_, ctx, chunk, out| {
        let sequence = chunk.sequence;
        let mut newest = None;
        fused(ctx, chunk.data, &mut |record| newest = Some(record));
        let Some(newest) = newest else { return };
        ctx.enter(operator);
        match round_trip::encode(&newest) {
            Ok(encoded) => out.push(Chunk::new(sequence, 0, vec![encoded])),
            Err(what) => ctx.refuse(format!("a value to broadcast cannot be kept: {what}")),
        }
    })
}
