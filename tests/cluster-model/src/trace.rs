//! A run of a program, held against the rules.

use crate::event::Event;
use crate::order::Order;
use crate::property::Violation;
use crate::world::{World, take};

/// Replays the events of all processes, in an order in which they can have happened, and judges
/// each: by the invariants that the model is checked for, and by the order of the protocol's
/// steps.
///
/// # Errors
///
/// The first violation: which rule, at which process, by which event.
pub fn check_trace(trace: &[Event]) -> Result<(), Violation> {
    let (mut world, mut order) = (World::default(), Order::default());
    for (number, event) in trace.iter().enumerate() {
        let verdict = order
            .judge(&world, event)
            .and_then(|()| take(&mut world, event));
        verdict.map_err(|v| Violation {
            why: format!("event {number}, {}", v.why),
            ..v
        })?;
    }
    Ok(())
}
