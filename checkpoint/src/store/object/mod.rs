//! Checkpoints in an object store: S3, Google Cloud Storage, Azure, HDFS.
//!
//! | file | holds |
//! |---|---|
//! | `remote` | an object store as a place of checkpoints |
//! | `put` | creating a file, and making sure that it is what was sent |
//! | `get` | reading files |
//! | `calls` | calls that are bounded in time and tried again |
//! | `failure` | what is known after a failure, and its text |
//! | `clouds` | object stores from a URL and the environment |

pub(crate) mod calls;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs"))]
pub(crate) mod clouds;
mod failure;
mod get;
mod put;
pub(crate) mod remote;
