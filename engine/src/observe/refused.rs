//! How many records were refused, for users.

/// How many records an operator has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedStats {
    /// Its name, or its kind and its number among those of its kind.
    pub operator: String,
    /// Records that were left out.
    pub skipped: u64,
    /// Records that were put aside. One that fails again when it is replayed counts again.
    pub dead_letters: u64,
}
