//! The types of the tests, and a state machine in memory.
#![allow(dead_code, reason = "each test file uses its part")]

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, SnapshotMeta,
    StorageError, StoredMembership,
};
use std::io::Cursor;

openraft::declare_raft_types!(
    /// Entries are texts, answers are nothing.
    pub(crate) Types:
        D = String,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        Entry = Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
);

type Meta = SnapshotMeta<u64, BasicNode>;
type Failure = StorageError<u64>;

/// Counts, and knows the membership.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    pub(crate) texts: Vec<String>,
    snapshot: Option<(Meta, Vec<u8>)>,
}

impl Machine {
    fn saved(&self) -> Option<Snapshot<Types>> {
        let (meta, bytes) = self.snapshot.clone()?;
        let snapshot = Box::new(Cursor::new(bytes));
        Some(Snapshot { meta, snapshot })
    }
}

/// Makes snapshots of a machine, which keeps them itself.
#[derive(Debug)]
pub(crate) struct Builder(Machine);

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        Ok(self.0.saved().expect("it was made when it was asked for"))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), Failure> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(text) => self.texts.push(text),
                EntryPayload::Membership(members) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), members);
                }
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = Meta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{:?}", self.applied),
        };
        let bytes = self.texts.join("\n").into_bytes();
        self.snapshot = Some((meta, bytes));
        Builder(self.clone())
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Failure> {
        let bytes = snapshot.into_inner();
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let text = String::from_utf8_lossy(&bytes);
        self.texts = text.lines().map(str::to_owned).collect();
        self.snapshot = Some((meta.clone(), bytes));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        Ok(self.saved())
    }
}
