//! Requests and answers.
//!
//! | file | holds |
//! |---|---|
//! | `request_body` | the body of a request, in bounded memory and time |
//! | `body` | the body of an answer |
//! | `headers` | what every answer says in its headers |

pub mod body;
pub mod headers;
pub mod request_body;
