//! Where checkpoints are kept: a flat place of named, immutable files.
//!
//! | file | holds |
//! |---|---|
//! | `error` | failures of writing, and what is known after them |
//! | `local` | a directory, made durable by file and directory syncs |
//! | `names` | the names of the files of a checkpoint |
//! | `object/` | checkpoints in an object store |
//! | `reading` | how the files of a store are best read |
//! | `url` | stores by URL |

pub(crate) mod error;
pub(crate) mod local;
pub(crate) mod names;
#[cfg(feature = "remote")]
pub(crate) mod object;
pub(crate) mod reading;
pub(crate) mod url;

use crate::store::error::StoreError;
use crate::store::reading::Reading;
use std::fmt::Debug;
use std::io;

/// A flat place of named files that are written once and never changed. Object safe and
/// synchronous.
///
/// The protocol above it (state files first, then the manifest, both by [`Self::put_new`]) needs
/// nothing else: a directory and an object store serve alike. Names are those of this crate (`a-z
/// 0-9 . -`); an implementation refuses all others with [`io::ErrorKind::InvalidInput`].
pub trait Store: Debug + Send + Sync + 'static {
    /// The place, for messages: a path or a URL.
    fn place(&self) -> String;

    /// Makes the place ready for writing. Nothing else of a store may write before this.
    ///
    /// # Errors
    /// Any I/O error.
    fn prepare(&self) -> io::Result<()>;

    /// Creates the place again, durably and with a warning, if it was removed after
    /// [`Self::prepare`]. Called before the first file of each checkpoint is written, never in the
    /// middle of one: a manifest must not appear in a place that lacks its files. The default, for
    /// stores whose place cannot vanish, does nothing.
    ///
    /// # Errors
    /// Any I/O error.
    fn remake(&self) -> io::Result<()> {
        Ok(())
    }

    /// Creates the file `name` with exactly `bytes`. When it returns `Ok`, content and name are
    /// durable. At every other moment (a crash, an error) there is either no such file or the whole
    /// of it, never a part.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name seems to be taken, by this process too: the
    /// caller reads it to find out. Any other, with what is known: after a *determinate* error the
    /// file was not created and never will be, after an *indeterminate* one it may be there now, or
    /// later.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Length of the file `name` in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none; any I/O error.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// The `len` bytes at `offset` of the file `name`. Allocates nothing before it knows that they
    /// are there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; [`io::ErrorKind::UnexpectedEof`] if the file ends before; any
    /// I/O error.
    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>>;

    /// Every file of the place, in any order, also those of other programs.
    ///
    /// # Errors
    /// Any I/O error.
    fn list(&self) -> io::Result<Vec<StoredFile>>;

    /// Removes the files `names`; those that do not exist are no error. When it returns `Ok` they
    /// are gone for good. After a crash, any of them may be gone.
    ///
    /// # Errors
    /// Any, with what is known: after a *determinate* error none of them was removed, after an
    /// *indeterminate* one any of them may be gone, or go later.
    fn delete(&self, names: &[String]) -> Result<(), StoreError>;

    /// How the files of a checkpoint are best read from here. Default: one by one, and nothing is
    /// kept. A store whose requests take long should say [`Reading::FAR`].
    fn reading(&self) -> Reading {
        Reading::NEAR
    }

    /// The whole file `name`, if it has at most `max` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; [`io::ErrorKind::FileTooLarge`]; any I/O error.
    fn get(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let len = self.len(name)?;
        if len > max {
            let text = format!("{len} bytes, at most {max} are accepted");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.get_range(name, 0, len)
    }
}

/// A file as a store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}
