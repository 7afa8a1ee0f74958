//! A dry run that the environment of the process asks for.

use crate::error::Error;
use crate::plan::program::Plan;
use crate::recovery::dry_run::dry_run;
use crate::recovery::report::RecoveryReport;
use crate::settings::Settings;
use highwater_wal::disk::{Disk, OsDisk};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

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
pub(super) struct AskedDryRun {
    dir: PathBuf,
    answer: PathBuf,
}

impl AskedDryRun {
    /// What the environment asks for: both variables, with absolute paths.
    pub(super) fn of_environment() -> Option<Self> {
        let path = |name| {
            let value: OsString = std::env::var_os(name)?;
            Some(PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        let (dir, answer) = (path(DIRECTORY)?, path(ANSWER)?);
        Some(Self { dir, answer })
    }

    /// Writes the answer. What comes back ends the program.
    pub(super) fn answer(self, mut settings: Settings, plan: &Plan) -> Error {
        settings.dir = self.dir;
        let answer = match dry_run(&settings, plan) {
            Ok(report) => DryRunAnswer::Fits(Box::new(report)),
            Err(error) => DryRunAnswer::Refused(error.to_string()),
        };
        let shown = self.answer.display();
        match write(&self.answer, &answer) {
            Ok(()) => Error::DryRun(format!("the answer is in {shown}")),
            Err(error) => Error::DryRun(format!(
                "the answer could not be written to {shown}: {error}"
            )),
        }
    }
}

/// The file appears when it is whole.
fn write(path: &Path, answer: &DryRunAnswer) -> io::Result<()> {
    let disk = OsDisk::new();
    let tmp = path.with_extension("tmp");
    let file = disk.create_new(&tmp)?;
    let text = serde_json::to_vec(answer)?;
    file.write_all_at(&text, 0)?;
    disk.rename(&tmp, path)
}
