//! Turning a batch into fewer bytes and back.
//!
//! | file | holds |
//! |---|---|
//! | `zstd` | with the feature `zstd` |
//! | `none` | what is built otherwise |

#[cfg(not(feature = "zstd"))]
mod none;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(not(feature = "zstd"))]
pub(crate) use none::Zstd;
#[cfg(feature = "zstd")]
pub(crate) use zstd::Zstd;
