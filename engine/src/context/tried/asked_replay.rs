//! A replay beside another program that the environment of the process asks for.

use crate::context::tried::answer::{path, write};
use crate::context::tried::beside::{Replayed, replay_beside};
use crate::error::Error;
use crate::plan::program::Plan;
use crate::recovery::beside::ReplayFrom;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Names the directory whose log is replayed.
const DIRECTORY: &str = "HIGHWATER_REPLAY";

/// Says where to begin, as [`ReplayFrom`] is written as text.
const FROM: &str = "HIGHWATER_REPLAY_FROM";

/// Names the new directory.
const INTO: &str = "HIGHWATER_REPLAY_INTO";

/// Names the file into which the answer is written.
const ANSWER: &str = "HIGHWATER_REPLAY_ANSWER";

/// The answer to a replay, as JSON in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayAnswer {
    /// The log was replayed, and the new checkpoint is there.
    Replayed(Box<Replayed>),
    /// It was not, with this error.
    Refused(String),
}

/// A replay that the environment asks for.
pub(in crate::context) struct AskedReplay {
    from: String,
    /// The directory, the new one, the answer.
    paths: Option<[PathBuf; 3]>,
}

impl AskedReplay {
    /// What the environment asks for, if the first variable is there.
    pub(in crate::context) fn of_environment() -> Option<Self> {
        let _asks = std::env::var_os(DIRECTORY)?;
        let from = std::env::var_os(FROM).unwrap_or_default();
        let paths = || Some([path(DIRECTORY)?, path(INTO)?, path(ANSWER)?]);
        Some(Self {
            from: from.to_string_lossy().into_owned(),
            paths: paths(),
        })
    }

    /// Replays, and writes the answer. What comes back ends the program.
    pub(in crate::context) fn answer(self, mut settings: Settings, plan: Plan) -> Error {
        let Some([dir, into, answer]) = self.paths else {
            return Error::Replayed(format!(
                "but {DIRECTORY}, {INTO} and {ANSWER} must all be absolute paths"
            ));
        };
        settings.dir = dir;
        let from = self.from.parse::<ReplayFrom>();
        let replayed = from.and_then(|from| replay_beside(settings, plan, &into, &from));
        let said = match replayed {
            Ok(replayed) => ReplayAnswer::Replayed(Box::new(replayed)),
            Err(error) => ReplayAnswer::Refused(error.to_string()),
        };
        Error::Replayed(write(&answer, &said))
    }
}
