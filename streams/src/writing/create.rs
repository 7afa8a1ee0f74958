//! Creating streams, and forks of streams.

use crate::error::Result;
use crate::frame::config::{Config, Fork, Lifetime, Retention};
use crate::interface::bounds::{MAX_NAME_BYTES, MAX_TEXT_BYTES, check_text};
use crate::interface::media_type;
use crate::interface::position::Position;
use crate::interface::refusal::Refusal;
use crate::interface::requests::{Created, NewStream, Source, Then};
use crate::reading::info::info_of;
use crate::reading::search::append_end;
use crate::shared::core::{Core, Found, RestsOn, Said};
use crate::shared::decision::Decision;
use crate::state::stream::Stream;
use crate::state::table::Part;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a stream has if nothing is said.
const BYTES: &str = "application/octet-stream";

type Outcome<T> = std::result::Result<T, Refusal>;

/// What a stream is to be, when everything that it inherits is known.
struct Wanted<'a> {
    content_type: &'a str,
    lifetime: Lifetime,
    retention: Retention,
    fork: Option<Fork>,
}

pub(crate) fn create(
    core: &Arc<Core>,
    name: &str,
    new: &NewStream<'_>,
) -> Result<Decision<Created>> {
    if let Err(refusal) = check_texts(name, new) {
        return Ok(Decision::new(core, Err(refusal), None));
    }
    if let Some(source) = new.fork {
        return fork(core, name, new, &source);
    }
    let wanted = Wanted {
        content_type: new.content_type.unwrap_or(BYTES),
        lifetime: new.lifetime.clone().unwrap_or_default(),
        retention: new.retention.unwrap_or(core.options.retention),
        fork: None,
    };
    let mut part = core.table.of_name(name);
    match take_name(core, &mut part, name, new, &wanted, None)? {
        Taken::Decided(decision) => Ok(decision),
        Taken::Free => make(core, &mut part, name, new, wanted),
    }
}

fn check_texts(name: &str, new: &NewStream<'_>) -> Outcome<()> {
    check_text("the name", name.as_bytes(), MAX_NAME_BYTES)?;
    if let Some(content_type) = new.content_type {
        check_text("the content type", content_type.as_bytes(), MAX_TEXT_BYTES)?;
    }
    match &new.lifetime {
        Some(Lifetime::Until { text, .. }) => {
            check_text("the point in time", text.as_bytes(), MAX_TEXT_BYTES)
        }
        _ => Ok(()),
    }
}

/// Whether a name can be had.
enum Taken {
    Free,
    Decided(Decision<Created>),
}

/// Looks what has the name now. Of a stream that is there `source` is where a fork of the same kind
/// would begin, if the request is for one.
fn take_name(
    core: &Arc<Core>,
    part: &mut Part,
    name: &str,
    new: &NewStream<'_>,
    wanted: &Wanted<'_>,
    source: Option<&Source<'_>>,
) -> Result<Taken> {
    let Found { outcome, rests_on } = core.find(part, name)?;
    let decided = |outcome| Ok(Taken::Decided(Decision::new(core, outcome, rests_on)));
    let slot = match outcome {
        Ok(slot) => slot,
        Err(Refusal::Gone) => return decided(Err(Refusal::Gone)),
        Err(_) => return Ok(Taken::Free),
    };
    let Some(stream) = part.at_mut(slot) else {
        return Ok(Taken::Free);
    };
    if !is_same(stream, new, wanted, source) {
        return decided(Err(Refusal::Exists));
    }
    stream.touched_ms = core.now_ms();
    decided(Ok(Created {
        is_new: false,
        stream: info_of(stream, stream.tail.position),
    }))
}

fn is_same(
    stream: &Stream,
    new: &NewStream<'_>,
    wanted: &Wanted<'_>,
    source: Option<&Source<'_>>,
) -> bool {
    let same_fork = match (stream.fork(), wanted.fork, source) {
        (None, None, _) => true,
        // Without an offset the request names no other place than the first one did.
        (Some(has), Some(wants), Some(source)) => {
            has.parent == wants.parent && (source.offset.is_none() || has.base == wants.base)
        }
        _ => false,
    };
    let closed = new.then == Then::Closed;
    same_fork
        && media_type::is_same(&stream.content_type, wanted.content_type)
        && *stream.lifetime() == wanted.lifetime
        && stream.is_closed == closed
        && new
            .retention
            .is_none_or(|retention| retention == stream.retention())
}

fn make(
    core: &Arc<Core>,
    part: &mut Part,
    name: &str,
    new: &NewStream<'_>,
    wanted: Wanted<'_>,
) -> Result<Decision<Created>> {
    let most = core.options.max_streams;
    if core.streams.load(Ordering::Relaxed) >= most {
        return Ok(Decision::new(
            core,
            Err(Refusal::TooManyStreams { most }),
            None,
        ));
    }
    let by_message = media_type::counts_messages(wanted.content_type);
    let config = Config {
        name,
        content_type: wanted.content_type,
        lifetime: wanted.lifetime,
        fork: wanted.fork,
        retention: wanted.retention,
    };
    let said = Said {
        closes: new.then == Then::Closed,
        ..Said::default()
    };
    let slot = match core.append_create(part, config, new.messages, by_message, said)? {
        Ok(slot) => slot,
        Err(refusal) => return Ok(Decision::new(core, Err(refusal), None)),
    };
    let stream = part.at_mut(slot).expect("it was added just now");
    let created = Created {
        is_new: true,
        stream: info_of(stream, stream.tail.position),
    };
    let rests_on = Some((stream.chain.newest, stream.number));
    Ok(Decision::new(core, Ok(created), rests_on))
}

fn fork(
    core: &Arc<Core>,
    name: &str,
    new: &NewStream<'_>,
    source: &Source<'_>,
) -> Result<Decision<Created>> {
    let no = |refusal, rests_on| Ok(Decision::new(core, Err(refusal), rests_on));
    if let (Err(refusal), rests_on) = check_sub_offset(core, source)? {
        return no(refusal, rests_on);
    }
    let (mut part, mut other) = core.table.of_names(name, source.name);
    let found = core.find(other.as_deref_mut().unwrap_or(&mut part), source.name)?;
    let at = match found.outcome {
        Ok(slot) => slot,
        Err(Refusal::Gone) => return no(Refusal::SourceGone, found.rests_on),
        Err(_) => {
            return no(
                Refusal::SourceNotFound(source.name.to_owned()),
                found.rests_on,
            );
        }
    };
    let from = other.as_deref_mut().unwrap_or(&mut part).at_mut(at);
    let from = from.expect("it was found just now, and the lock is held");
    let parent = from.number;
    let (content_type, lifetime) = (Arc::clone(&from.content_type), from.lifetime().clone());
    if new
        .content_type
        .is_some_and(|new| !media_type::is_same(new, &content_type))
    {
        let expected = content_type.to_string();
        return no(Refusal::ContentType { expected }, found.rests_on);
    }
    let offset = source.offset.map_or(from.tail.position, Position::get);
    let base = offset.saturating_add(source.sub_offset);
    if base > from.tail.position {
        return no(
            Refusal::BadFork("the source ends before it"),
            found.rests_on,
        );
    }
    if from.fork().is_none() && base < from.start.position {
        return no(
            Refusal::BadFork("the source has given it up"),
            found.rests_on,
        );
    }
    let wanted = Wanted {
        content_type: new.content_type.unwrap_or(&content_type),
        lifetime: new.lifetime.clone().unwrap_or(lifetime),
        retention: new.retention.unwrap_or(core.options.retention),
        fork: Some(Fork { parent, base }),
    };
    if let Taken::Decided(decision) = take_name(core, &mut part, name, new, &wanted, Some(source))?
    {
        return Ok(decision);
    }
    // Counted while the source is locked: it cannot be removed in between.
    let decision = make(core, &mut part, name, new, wanted)?;
    if decision.is_accepted() {
        *core.forks.lock().entry(parent).or_default() += 1;
    }
    Ok(decision)
}

/// A sub-offset reaches at most to the end of the append that has the offset.
fn check_sub_offset(core: &Arc<Core>, source: &Source<'_>) -> Result<(Outcome<()>, RestsOn)> {
    if source.sub_offset == 0 {
        return Ok((Ok(()), None));
    }
    let Some(offset) = source.offset else {
        let reason = "nothing comes after the end of the source";
        return Ok((Err(Refusal::BadFork(reason)), None));
    };
    let (end, rests_on) = append_end(core, source.name, offset.get())?;
    let outcome = match end {
        Ok(end) if offset.get().saturating_add(source.sub_offset) > end => {
            let reason = "the append at the offset ends before it";
            Err(Refusal::BadFork(reason))
        }
        Ok(_) => Ok(()),
        Err(Refusal::NotFound) => Err(Refusal::SourceNotFound(source.name.to_owned())),
        Err(Refusal::Gone) => Err(Refusal::SourceGone),
        Err(refusal) => Err(refusal),
    };
    Ok((outcome, rests_on))
}
