//! What becomes of a record that fails.

/// What becomes of a record whose closure returns an error or panics. A stream has one policy: see
/// [`DStream::on_error`](crate::DStream::on_error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ErrorPolicy {
    /// The batch fails, with the operator, the record's LSN and the error. The default.
    #[default]
    FailBatch,
    /// The record is left out and counted
    /// ([`ContextObserver::refused`](crate::ContextObserver::refused)).
    Skip,
    /// The record is left out, counted, and put aside with its error, from where it can be looked
    /// at and replayed. The operator needs a name that stays
    /// ([`DStream::named`](crate::DStream::named)). Each record is copied before the closure sees
    /// it.
    DeadLetter,
}
