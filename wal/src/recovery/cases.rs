//! The decision tables of recovery as data, and what opening found.
//!
//! [`crate::recovery`] shows the tables. A test compares them with the rows here, and looks for the
//! test that each row names.

use crate::error::Finding;
use crate::lsn::Lsn;
use std::ffi::OsString;
use std::fmt;

/// How the log ended when it was opened: the first table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Case {
    /// There was no log; one was made.
    Created,
    /// It was closed cleanly.
    CleanEnd,
    /// It was not closed, and ends between two frames.
    OpenEnd,
    /// It was not closed, and old bytes of no meaning follow.
    StaleBytes,
    /// It was cut in the middle of un-synced writes. Nothing that was acknowledged is missing.
    TornTail,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::CleanEnd => "clean end",
            Self::OpenEnd => "open end",
            Self::StaleBytes => "stale bytes",
            Self::TornTail => "torn tail",
        })
    }
}

/// What opening the log found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How the log ended.
    pub case: Case,
    /// Where it starts.
    pub first_lsn: Lsn,
    /// Where it ended, and where it goes on: x.
    pub end_lsn: Lsn,
    /// Everything below this was proven durable. The frames from here to `end_lsn` were written
    /// again.
    pub proven_lsn: Lsn,
    /// How many frames were written again.
    pub frames_rewritten: usize,
    /// How many intact frames after the end were erased. None of them was acknowledged.
    pub frames_erased: usize,
    /// Bytes of those frames, and of the torn one.
    pub bytes_discarded: u64,
    /// Segments that hold the log, without the prepared ones.
    pub segments: usize,
    /// Leftovers that were removed: truncated segments, half-made files.
    pub removed: Vec<OsString>,
    /// Names in the directory that are not the log's. They were left alone.
    pub ignored: Vec<OsString>,
}

/// What is found at x, where no good frame is. The first that fits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEnd {
    NoLog,
    /// A good header, and a payload that is not what was written.
    HeaderOnly,
    /// x follows a close frame.
    AfterClose,
    Zeros,
    StaleBytes,
}

/// Whether there are good frames after x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    NoFrames,
    Frames,
}

/// How far something proves that the log was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proven {
    UpToEnd,
    BeyondEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Opening goes on.
    Opens(Case),
    /// Opening fails, and nothing is changed.
    Refuses(Finding),
}

/// A row of the first table.
#[derive(Debug)]
pub(crate) struct EndRow {
    pub(crate) at_end: &'static [AtEnd],
    pub(crate) after: &'static [After],
    pub(crate) proven: Proven,
    pub(crate) verdict: Verdict,
    /// The physical cause.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test compares it with the docs")
    )]
    cause: &'static str,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test compares it with the docs")
    )]
    done: &'static str,
    /// File and name of its test.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test looks for it"))]
    test: (&'static str, &'static str),
}

const ANYTHING: &[AtEnd] = &[
    AtEnd::HeaderOnly,
    AtEnd::AfterClose,
    AtEnd::Zeros,
    AtEnd::StaleBytes,
];

/// Where the log ends, and what becomes of it. Exactly one row fits what is found.
pub(crate) const END_ROWS: [EndRow; 7] = [
    EndRow {
        at_end: &[AtEnd::NoLog],
        after: &[After::NoFrames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::Created),
        cause: "no `LOG`, no records: a new directory, or creation was cut short",
        done: "a new log",
        test: ("recovery", "created"),
    },
    EndRow {
        at_end: &[AtEnd::AfterClose],
        after: &[After::NoFrames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::CleanEnd),
        cause: "closed cleanly",
        done: "go on at x",
        test: ("recovery", "clean_end"),
    },
    EndRow {
        at_end: &[AtEnd::Zeros],
        after: &[After::NoFrames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::OpenEnd),
        cause: "killed, or power cut between writes",
        done: "rewrite, go on at x",
        test: ("recovery", "open_end"),
    },
    EndRow {
        at_end: &[AtEnd::StaleBytes],
        after: &[After::NoFrames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::StaleBytes),
        cause: "a recycled file; or sectors of a frame without its header",
        done: "rewrite, go on at x",
        test: ("recovery", "stale_bytes"),
    },
    EndRow {
        at_end: ANYTHING,
        after: &[After::Frames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::TornTail),
        cause: "power cut: only some un-synced sectors were kept",
        done: "rewrite, erase, go on at x",
        test: ("recovery", "torn_tail_with_frames_after_it"),
    },
    EndRow {
        at_end: &[AtEnd::HeaderOnly],
        after: &[After::NoFrames],
        proven: Proven::UpToEnd,
        verdict: Verdict::Opens(Case::TornTail),
        cause: "power cut: only some un-synced sectors were kept",
        done: "rewrite, erase, go on at x",
        test: ("recovery", "torn_tail_without_its_payload"),
    },
    EndRow {
        at_end: ANYTHING,
        after: &[After::NoFrames, After::Frames],
        proven: Proven::BeyondEnd,
        verdict: Verdict::Refuses(Finding::CorruptProven),
        cause: "bytes that were durable are gone: bit rot, a lost or misdirected write",
        done: "error, nothing is changed",
        test: ("recovery", "corrupt_below_what_is_proven"),
    },
];

/// What becomes of a log that ends like this.
pub(crate) fn decide(at_end: AtEnd, after: After, proven: Proven) -> Verdict {
    let fits = |row: &&EndRow| {
        row.at_end.contains(&at_end) && row.after.contains(&after) && row.proven == proven
    };
    let row = END_ROWS.iter().find(fits);
    row.expect("a test shows that a row fits whatever is found")
        .verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// A row of the second table: what is found, the label, the physical cause, its test.
    type FileRow = (
        &'static str,
        &'static str,
        &'static str,
        (&'static str, &'static str),
    );

    /// Where the files decide: `segment/header.rs`, `segment/list.rs`, `control/file.rs`,
    /// `open.rs`.
    const FILE_ROWS: [FileRow; 13] = [
        (
            "bases do not join, or the last segment is sealed",
            "[`Finding::MissingSegment`]",
            "a file was deleted: names are durable before they are used",
            ("corruption", "a_missing_segment_is_corrupt"),
        ),
        (
            "a header with another log id",
            "[`Finding::ForeignSegment`]",
            "a file copied from another log",
            ("corruption", "a_stray_file_is_named_and_not_its_neighbour"),
        ),
        (
            "a header with another base than the name",
            "[`Finding::SwappedSegment`]",
            "files renamed or copied over each other",
            ("corruption", "segments_in_wrong_places_are_corrupt"),
        ),
        (
            "a file shorter than its header says",
            "[`Finding::ShortSegment`]",
            "the file was cut: segments are whole before they are named",
            ("corruption", "a_segment_cut_short_is_corrupt"),
        ),
        (
            "a file longer than its header says",
            "[`Finding::LongSegment`]",
            "another program appended to it",
            ("corruption", "a_segment_with_something_after_it_is_corrupt"),
        ),
        (
            "no readable header",
            "[`Finding::DamagedHeader`]",
            "bit rot: headers are synced before the file is named",
            ("corruption", "a_stray_file_is_named_and_not_its_neighbour"),
        ),
        (
            "`LOG` not readable",
            "[`Finding::DamagedControlFile`]",
            "bit rot: it is replaced atomically",
            (
                "corruption",
                "every_flipped_bit_gives_all_the_data_or_an_error",
            ),
        ),
        (
            "records but no `LOG`",
            "[`Finding::MissingControlFile`]",
            "a file was deleted",
            ("corruption", "a_missing_meta_file_is_corrupt"),
        ),
        (
            "an intact frame of an unknown kind or with unknown flags",
            "[`Finding::UnknownFeature`]",
            "a newer version wrote it, or one with the feature `zstd` where this build has not",
            ("recovery", "unknown_feature"),
        ),
        (
            "a newer format version in `LOG` or a header",
            "[`WalError::NewerFormat`]",
            "a newer version wrote it",
            ("corruption", "a_newer_format_is_refused_untouched"),
        ),
        (
            "a segment below `first_lsn`",
            "removed",
            "truncation was cut short",
            ("recovery", "a_segment_below_the_start_is_removed"),
        ),
        (
            "`*.wal.tmp`",
            "removed",
            "making a segment was cut short",
            ("corruption", "unknown_files_are_ignored_and_reported"),
        ),
        (
            "any other name",
            "reported in [`Recovery::ignored`]",
            "not ours",
            ("corruption", "unknown_files_are_ignored_and_reported"),
        ),
    ];

    fn at_end_text(at_end: &[AtEnd]) -> &'static str {
        match at_end {
            [AtEnd::NoLog] => "-",
            [AtEnd::HeaderOnly] => "a header without its payload",
            [AtEnd::AfterClose] => "zeros or stale bytes, after a close frame",
            [AtEnd::Zeros] => "zeros",
            [AtEnd::StaleBytes] => "bytes of no frame of this place",
            _ => "anything",
        }
    }

    fn line(row: &EndRow) -> String {
        let at_end = at_end_text(row.at_end);
        let (after, proven) = match (row.after, row.proven) {
            _ if at_end == "-" => ("-", "-"),
            ([After::NoFrames], Proven::UpToEnd) => ("none", "≤ x"),
            ([After::Frames], Proven::UpToEnd) => ("some", "≤ x"),
            (_, Proven::UpToEnd) => ("any", "≤ x"),
            (_, Proven::BeyondEnd) => ("any", "> x"),
        };
        let label = match row.verdict {
            Verdict::Opens(case) => format!("[`Case::{case:?}`]"),
            Verdict::Refuses(finding) => format!("[`Finding::{finding:?}`]"),
        };
        let (cause, done) = (row.cause, row.done);
        format!("//! | {at_end} | {after} | {proven} | {label} | {cause} | {done} |")
    }

    #[test]
    fn the_tables_of_the_module_are_the_rows() {
        let page = include_str!("mod.rs");
        let ends = END_ROWS.iter().map(line);
        let files = FILE_ROWS
            .iter()
            .map(|(found, label, cause, _)| format!("//! | {found} | {label} | {cause} |"));
        let wanted: Vec<String> = ends.chain(files).collect();
        let (_, tables) = page
            .split_once("//! # The table: the end of the log")
            .unwrap();
        let (tables, _) = tables.split_once("//! # Then").unwrap();
        let is_head = |line: &&str| line.contains("| label |");
        let rows = tables.lines().filter(|line| line.starts_with("//! | "));
        let shown: Vec<&str> = rows.filter(|line| !is_head(line)).collect();
        assert_eq!(shown, wanted, "wanted:\n{}", wanted.join("\n"));
    }

    /// Each row names its test, and that test is there.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "this test reads the source tree itself"
    )]
    fn every_row_has_its_test() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recovery");
        let of_ends = END_ROWS.iter().map(|row| row.test);
        for (file, name) in of_ends.chain(FILE_ROWS.iter().map(|row| row.3)) {
            let text = std::fs::read_to_string(tests.join(file).with_extension("rs")).unwrap();
            assert!(
                text.contains(&format!("\nfn {name}() {{")),
                "{file}.rs: {name}"
            );
        }
    }

    /// Whatever is found, one row decides, and not two.
    #[test]
    fn exactly_one_row_fits() {
        let mut used = BTreeSet::new();
        for &at_end in ANYTHING {
            for after in [After::NoFrames, After::Frames] {
                for proven in [Proven::UpToEnd, Proven::BeyondEnd] {
                    let rows = END_ROWS.iter().enumerate().filter(|(_, row)| {
                        row.at_end.contains(&at_end)
                            && row.after.contains(&after)
                            && row.proven == proven
                    });
                    let rows: Vec<usize> = rows.map(|(index, _)| index).collect();
                    assert_eq!(rows.len(), 1, "{at_end:?} {after:?} {proven:?}");
                    used.extend(rows);
                }
            }
        }
        let created = decide(AtEnd::NoLog, After::NoFrames, Proven::UpToEnd);
        assert_eq!(created, Verdict::Opens(Case::Created));
        assert_eq!(used, (1..END_ROWS.len()).collect());
    }
}
