//! The program that is killed: an ordinary word count with state, as in the README.

use crate::args::ChildArgs;
use crate::demo::child::seen_lines::SeenLines;
use highwater::{
    BoundAddress, CheckpointPolicy, DStream, Line, ListenOptions, Outputs, Result, Sources,
    StreamingContext, wal,
};
use std::time::Duration;

/// Directory of the engine, below the demo's.
pub(crate) const ENGINE: &str = "engine";
/// Directory of the text files, below the demo's.
pub(crate) const OUTPUT: &str = "output";
/// State: how often each word occurred.
pub(crate) const COUNTS: &str = "counts";
/// State: which lines were counted.
pub(crate) const LINES: &str = "lines";

/// Short, so that kills find the engine in every phase of a batch.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Often, so that kills find it in every phase of a checkpoint.
const BATCHES_PER_CHECKPOINT: u64 = 5;
/// Small, so that the run goes through many segments and truncates them.
const SEGMENT_BYTES: u64 = 2 << 20;

/// Builds the program, or recovers it; its source reports its address in `bound`.
pub(crate) fn build(args: &ChildArgs, bound: &BoundAddress) -> Result<StreamingContext> {
    let listen = ListenOptions::new().report_to(bound);
    let listen = if args.faults.recognise_retries() {
        listen.dedup()
    } else {
        listen
    };
    let files = args.dir.join(OUTPUT).join("lines");
    let faults = args.faults;
    StreamingContext::builder(args.dir.join(ENGINE))
        .application("highwater-demo")
        .batch_interval(BATCH_INTERVAL)
        .checkpoint(CheckpointPolicy::every_batches(BATCHES_PER_CHECKPOINT))
        .workers(args.workers)
        .log(wal::Options::new().segment_size(SEGMENT_BYTES))
        .get_or_create(|ssc| {
            let lines = ssc.socket_listen_with("lines-in", "127.0.0.1:0", listen);
            let lines = lines.filter(move |line| faults.keep(number(line)));
            count_words(&lines);
            record_lines(&lines);
            lines.count().save_as_text_files("line-counts", &files);
            Ok(())
        })
}

/// The word count.
fn count_words(lines: &DStream<Line>) {
    lines
        .flat_map_into(|line, out| {
            text(&line)
                .split_whitespace()
                .for_each(|word| out.emit(word.to_owned()))
        })
        .map(|word| (word, 1_u64))
        .update_state_by_key(COUNTS, |_word, new, total: &mut Option<u64>| {
            *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
        })
        .count()
        .for_each_batch("distinct-words", |_, _| ());
}

/// Records each line, so that a lost and a doubled one do not cancel each other out.
fn record_lines(lines: &DStream<Line>) {
    lines
        .map(|line| (SeenLines::key(number(&line)), SeenLines::bit(number(&line))))
        .update_state_by_key_changed(LINES, |_key, bits, seen: &mut Option<SeenLines>| {
            let seen = seen.get_or_insert_default();
            bits.iter().for_each(|bit| seen.add(*bit));
        })
        .count()
        .for_each_batch("changed-lines", |_, _| ());
}

/// The number that the parent gave the line. (With `no-dedup` the producer and its sequence number
/// come before it.)
fn number(line: &str) -> u64 {
    let head = line.split_once('\t').map_or(line, |(head, _)| head);
    let number = head
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    // No such line is sent: it must be noticed.
    number.unwrap_or(u64::MAX)
}

fn text(line: &str) -> &str {
    line.split_once('\t').map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        for line in ["7\tto be\tor", "demo 8 7\tto be\tor"] {
            assert_eq!((number(line), text(line)), (7, "to be\tor"));
        }
        assert_eq!((number("7\t"), text("7\t")), (7, ""));
        assert_eq!((number("junk"), text("junk")), (u64::MAX, ""));
    }
}
