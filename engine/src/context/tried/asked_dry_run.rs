//! A dry run that the environment of the process asks for.

use crate::context::tried::answer::{path, write};
use crate::error::Error;
use crate::plan::program::Plan;
use crate::recovery::dry_run::dry_run;
use crate::recovery::report::RecoveryReport;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Names the directory to look at.
const DIRECTORY: &str = "HIGHWATER_DRY_RUN";

/// Names the file into which the answer is written.
const ANSWER: &str = "HIGHWATER_DRY_RUN_ANSWER";

/// The answer to a dry run, as JSON in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DryRunAnswer {
    /// The program fits.
    Fits(Box<RecoveryReport>),
    /// The program would be refused, with this error.
    Refused(String),
}

/// A dry run that the environment asks for.
pub(in crate::context) struct AskedDryRun {
    dir: PathBuf,
    answer: PathBuf,
}

impl AskedDryRun {
    /// What the environment asks for: both variables, with absolute paths.
    pub(in crate::context) fn of_environment() -> Option<Self> {
        let (dir, answer) = (path(DIRECTORY)?, path(ANSWER)?);
        Some(Self { dir, answer })
    }

    /// Writes the answer. What comes back ends the program.
    pub(in crate::context) fn answer(self, mut settings: Settings, plan: &Plan) -> Error {
        settings.dir = self.dir;
        let answer = match dry_run(&settings, plan) {
            Ok(report) => DryRunAnswer::Fits(Box::new(report)),
            Err(error) => DryRunAnswer::Refused(error.to_string()),
        };
        Error::DryRun(write(&self.answer, &answer))
    }
}
