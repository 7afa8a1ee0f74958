//! Files that are no longer needed, or gone before their time.
//!
//! | file | holds |
//! |---|---|
//! | `garbage` | what crashed attempts leave, and when it may go |
//! | `losses` | files that something else removed or cut short |

pub(crate) mod garbage;
pub(crate) mod losses;
