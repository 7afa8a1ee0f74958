//! Why a program and a directory do not fit, and what to do about each.

use highwater_wal::Lsn;
use std::time::Duration;

/// The program in the code and the state on disk do not fit: starting would lose or misread state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A state on disk has no operator.
    #[error(
        "state \"{name}\" ({entries} keys, {types}) of checkpoint {checkpoint} has no operator in this program, so starting would lose it. If the operator was renamed, call .rename_state(\"{name}\", \"new name\") on the builder; to throw the state away, call .drop_state(\"{name}\")"
    )]
    StateWithoutOperator {
        /// Name of the state.
        name: String,
        /// Keys that it holds.
        entries: u64,
        /// Its types when it was written.
        types: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
    },
    /// An output has staged a batch, and nothing in the program would publish it.
    #[error(
        "the output \"{name}\" has staged batch {batch}, which is committed and may not be published, and this program has no such output, or one that takes no parts. Start once with the output as it was and stop, or call .drop_output(\"{name}\") on the builder to leave what it staged where it is"
    )]
    UnpublishedOutput {
        /// Name of the output.
        name: String,
        /// The batch.
        batch: u64,
    },
    /// The operator of that name is of another kind.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint} was written by {then}, but the program's \"{name}\" is {now}, which would misread it. Give the new operator another name and call .drop_state(\"{name}\"), or move it with .rename_state(..)"
    )]
    OtherKind {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// The kind that wrote it.
        then: String,
        /// The kind in the program.
        now: String,
    },
    /// A window has other panes than the one that wrote its state, and the old ones do not fit.
    #[error(
        "the window \"{name}\" has panes of {now:?} in this program (the greatest common divisor of its length and slide), and those of checkpoint {checkpoint} are {then:?} long: a window would begin or end inside of one of them. Choose multiples of {then:?} for both, or throw away what the window holds with .drop_state(\"{name}\")"
    )]
    Panes {
        /// Name of the window.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// Length of the panes in the checkpoint.
        then: Duration,
        /// Length of the panes in the program.
        now: Duration,
    },
    /// State that does not decode as the program's type.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint}, key group {group}: does not decode as {now} (it was written as {then}): {message}. Give added fields #[serde(default)], convert it with .migrate_state::<Old, New>(\"{name}\", ..), or throw it away with .drop_state(\"{name}\")"
    )]
    Undecodable {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// Key group of the entry.
        group: u32,
        /// Types in the program.
        now: String,
        /// Types when it was written.
        then: String,
        /// What the decoder said.
        message: String,
    },
    /// The number of key groups is fixed when a directory is created.
    #[error(
        "this directory was created with {on_disk} key groups and the program asks for {in_code}: the number is fixed at creation, set .key_groups({on_disk})"
    )]
    KeyGroups {
        /// As created.
        on_disk: u32,
        /// As asked for.
        in_code: u32,
    },
    /// Two entries of a state have one and the same key in the program's types.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint} has two entries that are one key as {now}: {key}. (It was written as {then}.) It is not clear which of the two values counts. Keep the type of the key as it was and change it with a map(..) before the stateful operator, or throw the state away with .drop_state(\"{name}\")"
    )]
    SameKey {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// The second of the two keys, as it was written.
        key: String,
        /// Types in the program.
        now: String,
        /// Types when it was written.
        then: String,
    },
    /// A key group of a state does not hold as many entries as the checkpoint says.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint}, key group {group}: {found} entries are there, the manifest says {expected}. The checkpoint is damaged or was changed: restore it from a copy, or throw the state away with .drop_state(\"{name}\")"
    )]
    Entries {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// The key group.
        group: u32,
        /// As the manifest says.
        expected: u64,
        /// As counted.
        found: u64,
    },
    /// A state has other keys than its checkpoint says.
    #[error(
        "state \"{name}\" of checkpoint {checkpoint}: {found} keys are there, the manifest says {expected}. The checkpoint is damaged or was changed: restore it from a copy, or throw the state away with .drop_state(\"{name}\")"
    )]
    Keys {
        /// Name of the state.
        name: String,
        /// The checkpoint that holds it.
        checkpoint: u64,
        /// As the manifest says.
        expected: u64,
        /// As counted.
        found: u64,
    },
    /// A source is gone from the program, but starting without it would lose something. That may be
    /// acknowledged records that are in no checkpoint yet, positions, or sequence numbers of
    /// producers.
    #[error(
        "this program has no source \"{name}\", and starting would lose what is on disk of it: {}. If the source was renamed, call .rename_source(\"{name}\", \"new name\") on the builder; to throw all of it away, call .drop_source(\"{name}\")",
        lost(*records, *producers)
    )]
    SourceGone {
        /// Name of the source.
        name: String,
        /// Records that would be lost.
        records: u64,
        /// Producers or files whose positions would be lost.
        producers: usize,
    },
    /// A source is of another kind than the one that wrote its records and positions.
    #[error(
        "source \"{name}\" was of kind {then} when it wrote here, and is of kind {now} in this program, which would misread its {records} acknowledged records that no checkpoint covers yet, and its positions. Give the new source another name and call .drop_source(\"{name}\"), or start once more with the old program and stop it gracefully first"
    )]
    OtherSource {
        /// Name of the source.
        name: String,
        /// The kind that wrote, and its record type.
        then: String,
        /// The kind in the program, and its record type.
        now: String,
        /// Records that would be misread.
        records: u64,
    },
    /// A record in the log does not decode as the program's type.
    #[error(
        "source \"{name}\": an acknowledged record at LSN {lsn} does not decode as {now}: {message}. (It was written as {then}.) Give added fields #[serde(default)], convert an input with .migrate_input::<Old, New>(\"{name}\", ..), start once more with the old program and stop it gracefully, or throw the records away with .drop_source(\"{name}\")"
    )]
    RecordType {
        /// Name of the source.
        name: String,
        /// Where the record is.
        lsn: Lsn,
        /// Its type in the program.
        now: String,
        /// Its type when it was written, if the log says.
        then: String,
        /// What the decoder said.
        message: String,
    },
    /// Conversions were taken out of the code.
    #[error(
        "the program calls .{call}(\"{name}\", ..) {in_code} times, and what is on disk was written by a program that called it {done} times. Without the other calls it is not clear what has been converted: put them back, or begin anew with .{remedy}(\"{name}\")"
    )]
    ConversionsGone {
        /// Name of the input or state.
        name: String,
        /// `migrate_input` or `migrate_state`.
        call: &'static str,
        /// What throws the old data away.
        remedy: &'static str,
        /// Conversions in the program.
        in_code: usize,
        /// Conversions that are known on disk.
        done: usize,
    },
    /// Two sources on disk would become one.
    #[error(
        "the sources \"{old}\" and \"{new}\" both have records or positions on disk, so \"{old}\" cannot be renamed to \"{new}\": correct .rename_source(..), or throw one away with .drop_source(..)"
    )]
    TwoSourcesForOne {
        /// The source to rename.
        old: String,
        /// The name that is taken.
        new: String,
    },
    /// All 65,535 ids of sources are used up.
    #[error(
        "this directory has had 65,535 sources, and ids of sources are never used again: source \"{name}\" needs a new directory"
    )]
    TooManySources {
        /// The source that found no id.
        name: String,
    },
    /// A state would take the name of a source that once wrote here.
    #[error(
        "the program's state \"{name}\" has the name of a source that has written into this directory: their places in checkpoints would be one. Give the state another name"
    )]
    NameOfASource {
        /// The name.
        name: String,
    },
    /// Two states on disk would become one.
    #[error(
        "the states \"{first}\" and \"{second}\" of checkpoint {checkpoint} would both become the program's \"{name}\": correct .rename_state(..), or throw one away with .drop_state(..)"
    )]
    TwoStatesForOne {
        /// One state on disk.
        first: String,
        /// The other.
        second: String,
        /// The state of the program.
        name: String,
        /// The checkpoint that holds them.
        checkpoint: u64,
    },
    /// The log begins after its birth but there is no checkpoint for what was truncated.
    #[error(
        "the log in {dir} begins at LSN {first}, and no checkpoint covers what was below: the checkpoints were removed or belong elsewhere. Restore the directory `checkpoints` next to the log; nothing was changed"
    )]
    NoCheckpoint {
        /// Directory of the log.
        dir: String,
        /// Where it begins.
        first: u64,
    },
    /// There are checkpoints, and the log that they are of is gone.
    #[error(transparent)]
    LogGone(Box<LogGone>),
    /// A log without records is in the way of one that begins at a higher LSN.
    #[error(
        "the log in {dir} has no records and ends at LSN {end}, and the checkpoint from which it is to go on is at LSN {lsn}: remove that directory and start again. Nothing was changed"
    )]
    EmptyLog {
        /// Directory of the log.
        dir: String,
        /// Where it ends.
        end: u64,
        /// Where it has to begin.
        lsn: u64,
    },
    /// A checkpoint of the first builds, which says too little of its batch.
    #[error(
        "checkpoint {checkpoint} was written by a version that left the place of its batch to the log, so nothing can go on from it without its log. Start the program with both, and stop it gracefully: the checkpoint that is taken then will do"
    )]
    NeedsItsLog {
        /// The checkpoint.
        checkpoint: u64,
    },
    /// Windows would end between two ticks.
    #[error(
        "the batch interval was {then_ms} ms and is {now_ms} ms in this program, and {operator} has windows that are aligned to {zero_ms} ms since the Unix epoch, which is no multiple of {now_ms}: they would end between two ticks. Set .batch_interval(..) to {then_ms} ms, or to what divides it"
    )]
    BatchInterval {
        /// As the directory has it, in milliseconds.
        then_ms: u64,
        /// As the program asks for.
        now_ms: u64,
        /// Where windows are aligned.
        zero_ms: u64,
        /// An operator with windows.
        operator: String,
    },
    /// Another application's directory.
    #[error(
        "this directory belongs to the application \"{on_disk}\", not to \"{in_code}\": take another directory, or call .application(\"{on_disk}\") if it is the same one"
    )]
    OtherApplication {
        /// As created.
        on_disk: String,
        /// As asked for.
        in_code: String,
    },
}

/// There are checkpoints, and the log that they are of is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "the log in {dir} is gone. Checkpoint {checkpoint} in {store} is of that log ({log_id:032x}), and has everything up to batch {batch}, which ends at LSN {lsn}. Records that were acknowledged from there on are in the log alone{}. Put the log back. If its disk is lost, call .accept_loss({checkpoint}) on the builder: the program then goes on from checkpoint {checkpoint} with a new log, and without those records. Nothing was changed",
    known_batches(incomplete)
)]
pub struct LogGone {
    /// Where the log should be.
    pub dir: String,
    /// Where the checkpoints are.
    pub store: String,
    /// The newest valid one.
    pub checkpoint: u64,
    /// The last batch in it.
    pub batch: u64,
    /// Where that ends.
    pub lsn: u64,
    /// Identity of the log.
    pub log_id: u128,
    /// The batches that were cut, and not finished, when it was taken: number and LSNs.
    pub incomplete: String,
}

fn known_batches(incomplete: &str) -> String {
    match incomplete {
        "" => String::new(),
        batches => {
            format!("; when it was taken, these batches were cut and had not finished: {batches}")
        }
    }
}

fn lost(records: u64, producers: usize) -> String {
    let records = (records > 0)
        .then(|| format!("{records} acknowledged records that no checkpoint covers yet"));
    let positions = (producers > 0).then(|| {
        format!(
            "the positions of {producers} producers or files, without which retries are counted twice and files are read again"
        )
    });
    let all: Vec<String> = records.into_iter().chain(positions).collect();
    all.join(", and ")
}
