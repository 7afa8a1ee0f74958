//! A function that is called with every batch, as a sink.

use crate::batch::Batch;
use crate::error::BoxError;
use crate::sink::output::{Guarantee, Sink};

/// What a batch closure may return.
pub trait IntoBatchResult {
    /// As a result.
    ///
    /// # Errors
    /// The closure's error.
    fn into_result(self) -> Result<(), BoxError>;
}

impl IntoBatchResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> IntoBatchResult for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

pub(crate) struct Callback<F>(pub(crate) F);

impl<T, O, F> Sink<T> for Callback<F>
where
    T: 'static,
    O: IntoBatchResult,
    F: Fn(&Batch, Vec<T>) -> O + Send + Sync + 'static,
{
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        (self.0)(batch, records).into_result()
    }
}
