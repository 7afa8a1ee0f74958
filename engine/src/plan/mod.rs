//! The plan: what the user's code described.
//!
//! | file | holds |
//! |---|---|
//! | `program` | the checked program: operators, sources, states, outputs |
//! | `graph` | the program while the code builds it |
//! | `flatten` | unions of unions become one |
//! | `batch_scope` | what the operators of a batch are given beside its records |
//! | `node` | what runs, and the functions inside |
//! | `ids` | operators and nodes by index |
//! | `refusing` | operators that may refuse records, and their names in the log |
//! | `refused_counts` | how many records each operator has refused |
//! | `slide` | when a stream has records |
//! | `operator_context` | which closure runs on which record |
//! | `failed` | that a batch has failed, and what has to be done before it may run again |
//! | `source_stream` | where the records of a source are in the log, and how to read old ones |
//! | `changes` | renames, drops and conversions that the code asks for |

pub(crate) mod batch_scope;
pub(crate) mod changes;
pub(crate) mod failed;
pub(crate) mod flatten;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod node;
pub(crate) mod operator_context;
pub(crate) mod program;
pub(crate) mod refused_counts;
pub(crate) mod refusing;
pub(crate) mod slide;
pub(crate) mod source_stream;
