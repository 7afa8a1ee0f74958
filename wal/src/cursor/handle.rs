//! What a consumer holds.

use crate::error::Result;
#[cfg(doc)]
use crate::error::WalError;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::options::choices::{Background, Durability};
use crate::read::reader::Reader;
use crate::read::tail::Tail;
#[cfg(doc)]
use crate::wal::Wal;
use std::sync::Arc;
use std::time::Duration;

/// What has not been committed is written after so long.
const WRITTEN_WITHIN: Durability = Durability::Interval(Duration::from_secs(1));

/// A named consumer, and how far it has come: see [`Wal::cursor`]. There is one handle of a name at
/// a time. Dropped, it gives back the name; the position stays in the log.
///
/// Each record comes at least once: what was dealt with and not committed before a crash comes
/// again. To deal with each exactly once, store [`Record::next_lsn`](crate::Record::next_lsn) in
/// the same transaction as the effect, and pass over records before it.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    name: Arc<str>,
}

impl Cursor {
    pub(crate) fn new(shared: &Arc<Shared>, name: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            name: Arc::from(name),
        }
    }

    /// Its name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// assert_eq!(log.cursor("billing")?.name(), "billing");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far the consumer has come: where it goes on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let mut billing = log.cursor("billing")?;
    /// assert_eq!(billing.position(), log.first_lsn());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Lsn {
        self.positions().0
    }

    /// Where it would go on after a crash.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append_sync("an order")?;
    /// let mut billing = log.cursor("billing")?;
    /// billing.advance(log.durable_lsn())?;
    /// assert!(billing.durable_position() <= lsn);
    /// billing.commit()?;
    /// assert!(billing.durable_position() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable_position(&self) -> Lsn {
        self.positions().1
    }

    fn positions(&self) -> (Lsn, Lsn) {
        let Shared {
            cursors, commit, ..
        } = &*self.shared;
        let (wanted, durable) = cursors
            .positions(&self.name, commit.durable())
            .expect("a cursor that is open is not removed");
        (Lsn::new(wanted), Lsn::new(durable))
    }

    /// Everything below `lsn` is dealt with: for example [`Record::next_lsn`] of a record that is
    /// [the last of its batch](crate::Record::is_last). Going back is ignored:
    /// [`Self::rewind`] does that.
    ///
    /// Costs no flush. It becomes durable with the next group of the log, or the one after where
    /// the segment in use is full; at the latest with [`Wal::sync`] or when the log is closed. If
    /// no group comes, a thread of the log syncs within a second (not with
    /// [`Background::Inline`]). The log is kept for it until then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let _ = log.append_sync("an order")?;
    /// let mut billing = log.cursor("billing")?;
    /// let order = billing.read()?.next().expect("an order")?;
    /// billing.advance(order.next_lsn)?;
    /// let _ = log.append_sync("the next one")?; // and with it the position
    /// assert_eq!(billing.durable_position(), order.next_lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Record::next_lsn`]: crate::Record::next_lsn
    ///
    /// # Errors
    /// [`WalError::NotDurable`]; [`WalError::BeyondEnd`]; [`WalError::Io`] if the thread that
    /// flushes cannot be started: the position is taken all the same.
    pub fn advance(&mut self, lsn: Lsn) -> Result<()> {
        let shared = &self.shared;
        shared.check_durable(lsn)?;
        if shared.cursors.advance(&self.name, lsn.get())
            && shared.options.background != Background::Inline
        {
            shared.flusher.flush_within(WRITTEN_WITHIN)?;
        }
        Ok(())
    }

    /// Goes back to `lsn`, if the log still has it, or on to it. Records come again from there. It
    /// is durable as after [`Self::advance`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append_sync("an order")?;
    /// let mut billing = log.cursor_from("billing", log.durable_lsn())?;
    /// billing.rewind(lsn)?;
    /// assert_eq!(&billing.read()?.next().expect("the order again")?.payload[..], b"an order");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::advance`]; [`WalError::Truncated`].
    pub fn rewind(&mut self, lsn: Lsn) -> Result<()> {
        self.shared.check_durable(lsn)?;
        self.shared.cursors.rewind(&self.name, lsn)
    }

    /// Returns once the position is durable. One flush serves all who wait, producers too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let _ = log.append_sync("an order")?;
    /// let mut billing = log.cursor("billing")?;
    /// billing.advance(log.durable_lsn())?;
    /// billing.commit()?;
    /// assert_eq!(billing.durable_position(), billing.position());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Wal::append_control`] and [`Wal::sync_to`]. In a log whose reserve is used up the
    /// position is written to the control file: so a consumer can always make room.
    pub fn commit(&mut self) -> Result<()> {
        let end = self.shared.log_cursor(&self.name)?;
        self.shared.syncer.sync_until(end)?;
        // The log is kept from there on, no longer from where it was.
        let _positions = self.positions();
        Ok(())
    }

    /// Reads the records from the position on that are durable now: as [`Wal::read_from`]. The
    /// position does not move.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let _ = log.append_sync("an order")?;
    /// let billing = log.cursor("billing")?;
    /// assert_eq!(billing.read()?.count(), 1);
    /// assert_eq!(billing.read()?.count(), 1, "it was not advanced");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Wal::read_from`].
    pub fn read(&self) -> Result<Reader> {
        let durable = Lsn::new(self.shared.commit.durable());
        let reader = Reader::open(&self.shared, self.position(), durable)?;
        Ok(reader.named(&*self.name))
    }

    /// Follows the log from the position on: as [`Wal::tail`]. The position does not move.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let billing = log.cursor("billing")?;
    /// let mut orders = billing.tail()?;
    /// let _ = log.append_sync("an order")?;
    /// assert_eq!(&orders.next().expect("the log is open")?.payload[..], b"an order");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Wal::tail`].
    pub fn tail(&self) -> Result<Tail> {
        let tail = Tail::open(&self.shared, self.position())?;
        Ok(tail.named(&*self.name))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.cursors.close(&self.name);
    }
}
