//! Bytes of the protocol: numbers, texts, lists, heads.
//!
//! | file | holds |
//! |---|---|
//! | `header` | heads of requests and answers, and what is offered |
//! | `reader` | reading a request |
//! | `writer` | writing an answer |
//! | `error` | what is wrong with a request, and what its client is told |

pub(crate) mod error;
pub(crate) mod header;
pub(crate) mod reader;
pub(crate) mod writer;
