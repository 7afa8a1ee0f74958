//! A file mapped for reading only.

use std::fmt;
use std::sync::Arc;

/// The bytes of a whole file, mapped (or, in the simulator, copied). Cheap to clone.
#[derive(Clone)]
pub struct ReadMap {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

impl ReadMap {
    /// Wraps whatever holds the bytes.
    #[must_use]
    pub fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        Self { bytes }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

impl fmt::Debug for ReadMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMap")
            .field("len", &self.bytes().len())
            .finish()
    }
}
