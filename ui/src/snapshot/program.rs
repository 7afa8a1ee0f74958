//! Operators, outputs, states, errors.

use serde::Serialize;

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// In the order of their definition: the inputs of an operator come before it.
    pub operators: Vec<Operator>,
    /// What it puts out.
    pub outputs: Vec<Output>,
    /// What it keeps by key.
    pub states: Vec<State>,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// What it does.
    pub kind: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Places of its inputs in the list.
    pub inputs: Vec<usize>,
    /// Where the program defines it.
    pub defined_at: String,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Kind and name.
    pub output: String,
    /// What it promises.
    pub guarantee: String,
    /// What it waits for, while its sink fails.
    pub waits: Option<String>,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Its keys, as of the last batch.
    pub keys: u64,
    /// Those that the next checkpoint has to write.
    pub changed_keys: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorRow {
    /// What it happened to.
    pub place: String,
    /// The batch, if it was one's.
    pub batch: Option<u64>,
    /// What happened.
    pub message: String,
    /// When it happened first ...
    pub since_ms: u64,
    /// ... and last.
    pub at_ms: u64,
    /// So often it has happened.
    pub times: u64,
}
