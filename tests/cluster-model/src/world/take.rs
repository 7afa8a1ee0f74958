//! One event after the other.

use super::durable::World;
use super::{batches, logs, store};
use crate::event::{Event, What};
use crate::property::Violation;

/// Lets an event happen, and judges it. It has happened also if it is an error.
pub fn take(world: &mut World, event: &Event) -> Result<(), Violation> {
    let (process, generation) = (event.process, event.generation);
    match &event.what {
        What::Booted { log, end } => logs::booted(world, process, *log, *end)?,
        What::Durable { end } => logs::durable(world, process, *end),
        What::Acknowledged { end } => logs::acknowledged(world, process, *end),
        What::Cut { batch, end, last } => logs::cut(world, process, *batch, *end, *last)?,
        What::Truncated { batch } => logs::truncated(world, process, *batch)?,
        What::LogLost => logs::lost(world, process),
        What::Joined { restored } => batches::joined(world, process, generation, *restored)?,
        What::Fed { batch, from, to } => {
            batches::fed(world, process, generation, *batch, (*from, *to))?
        }
        What::Staged {
            batch,
            part,
            counted,
        } => batches::staged(world, process, *batch, *part, counted)?,
        What::Committed { batch } => batches::committed(world, process, generation, *batch)?,
        What::Published { batch, part } => batches::published(world, process, *batch, *part)?,
        What::Left | What::Crashed | What::Done => batches::gone(world, process, generation),
        What::Saved { batch, counted } => store::saved(world, process, generation, *batch, counted),
        What::Started(manifest) => store::started(world, manifest)?,
        What::Checkpointed(manifest) => store::checkpointed(world, manifest)?,
        What::Retired { below } => store::retired(world, *below)?,
        What::Refused { .. } => {}
    }
    Ok(())
}
