//! What a crash left between committing a batch and publishing its outputs.

use crate::batch::Batch;
use crate::engine_log::entry::Token;
use crate::engine_log::replay::Replay;
use crate::mismatch::Mismatch;
use crate::plan::program::Plan;
use crate::sink::output::InDoubt;
use crate::sink::part::StagedPart;
use std::collections::BTreeSet;

/// The newest committed batch, if its outputs may not be published.
#[derive(Debug)]
pub(crate) struct BatchInDoubt {
    pub(crate) batch: Batch,
    /// What its outputs staged; `None` if the log has no list.
    pub(crate) tokens: Option<Vec<Token>>,
}

impl BatchInDoubt {
    /// Looks for it in the log after the checkpoint. A checkpoint is taken after its batch is
    /// published.
    pub(super) fn find(
        replay: &mut Replay,
        plan: &Plan,
        dropped: &BTreeSet<String>,
    ) -> Result<Option<Self>, Mismatch> {
        let committed = replay.committed.filter(|id| Some(*id) > replay.published);
        let mut cuts = replay.cuts.iter().rev();
        let Some(timed) = committed.and_then(|id| cuts.find_map(|cut| cut.batch(id))) else {
            return Ok(None);
        };
        let found = Self {
            batch: timed.batch,
            tokens: replay.tokens.take(),
        };
        found.check(plan, dropped)?;
        Ok(Some(found))
    }

    /// Refuses a program that would never publish what is staged.
    fn check(&self, plan: &Plan, dropped: &BTreeSet<String>) -> Result<(), Mismatch> {
        let takes_parts = |name: &str| {
            let mut outputs = plan.outputs.iter();
            outputs.any(|o| o.sink.lists_parts && plan.output_name(o.operator) == name)
        };
        let lost = self
            .tokens()
            .iter()
            .find(|token| !takes_parts(&token.output) && !dropped.contains(&token.output));
        match lost {
            None => Ok(()),
            Some(token) => Err(Mismatch::UnpublishedOutput {
                name: token.output.clone(),
                batch: self.batch.id,
            }),
        }
    }

    /// The part of one output.
    pub(crate) fn of(&self, output: &str) -> InDoubt {
        let batch = self.batch;
        if self.tokens.is_none() {
            return InDoubt::Unlisted { batch };
        }
        let own = self.tokens().iter().filter(|token| token.output == output);
        let own = own.map(|Token { part, token, .. }| StagedPart {
            part: *part,
            token: token.clone(),
        });
        let parts: Vec<StagedPart> = own.collect();
        match parts.is_empty() {
            true => InDoubt::Nothing,
            false => InDoubt::Listed {
                batch,
                parts: parts.into(),
            },
        }
    }

    /// Whether the log lists parts.
    pub(crate) fn has_parts(&self) -> bool {
        !self.tokens().is_empty()
    }

    fn tokens(&self) -> &[Token] {
        self.tokens.as_deref().unwrap_or_default()
    }
}
