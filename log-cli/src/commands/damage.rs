//! Damage in a log, for JSON and for people.

use crate::commands::extent::Extent;
use crate::program::Program;
use highwater_wal::{Finding, WalError};
use serde::Serialize;

/// A damage, and which commands help further.
pub(crate) fn with_advice(error: &WalError, program: &Program) -> String {
    let command = program.command;
    let next = match error {
        // Every command that only looks needs LOG.
        WalError::Corrupt {
            finding: Finding::DamagedControlFile | Finding::MissingControlFile,
            ..
        } => format!("`{command} repair DIR --output NEW` makes a log from the segments alone"),
        _ => format!(
            "`{command} verify` lists every damage, `repair` keeps everything before the first, `salvage` also what is \
             intact after it"
        ),
    };
    let text = FoundDamage::new(error).to_text();
    format!("{text}\n  next    {next}")
}

/// A damage, for JSON and for people.
#[derive(Debug, Serialize)]
pub(crate) struct FoundDamage {
    /// What kind of damage.
    label: String,
    file: Option<String>,
    offset: Option<u64>,
    lsn: Option<u64>,
    /// What was found and what to do.
    what: String,
    /// How far it goes, if that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extent: Option<Extent>,
}

impl FoundDamage {
    pub(crate) fn new(error: &WalError) -> Self {
        match error {
            WalError::Corrupt {
                finding,
                file,
                offset,
                lsn,
                what,
            } => Self {
                label: finding.to_string(),
                file: Some(file.display().to_string()),
                offset: Some(*offset),
                lsn: Some(lsn.get()),
                what: what.clone(),
                extent: None,
            },
            WalError::NewerFormat { file, .. } => Self {
                label: "newer format".to_owned(),
                file: Some(file.display().to_string()),
                offset: None,
                lsn: None,
                what: error.to_string(),
                extent: None,
            },
            other => Self {
                label: "error".to_owned(),
                file: None,
                offset: None,
                lsn: None,
                what: other.to_string(),
                extent: None,
            },
        }
    }

    /// Where it begins, if it is a place of the log.
    pub(crate) fn lsn(&self) -> Option<u64> {
        self.lsn
    }

    /// The file that is damaged.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    pub(crate) fn to_text(&self) -> String {
        let Self {
            label,
            file,
            offset,
            lsn,
            what,
            extent,
        } = self;
        let mut text = label.clone();
        if let Some(file) = file {
            text.push_str(&format!("\n  file    {file}"));
        }
        if let (Some(offset), Some(lsn)) = (offset, lsn) {
            text.push_str(&format!("\n  offset  {offset} (LSN {lsn})"));
        }
        if let Some(extent) = extent {
            text.push_str(&format!("\n  extent  {}", extent.to_text()));
        }
        text.push_str(&format!("\n  what    {what}"));
        text
    }
}
