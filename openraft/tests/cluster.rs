//! Three nodes of openraft in one process, each with its log in a directory: they agree, and what
//! they agreed on is there after all of them were stopped.
#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a test fails by panicking; the errors are of openraft"
)]

mod common;

use common::{Machine, Types};
use highwater_openraft::{LogStore, Settings};
use highwater_wal::Options;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A bound for a machine that does much else; nothing waits that long.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

type Failure<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// The nodes that run.
#[derive(Clone, Default)]
struct Nodes(Arc<Mutex<BTreeMap<u64, Raft<Types>>>>);

/// The way to one of them.
struct Way {
    nodes: Nodes,
    target: u64,
}

impl Way {
    fn target<E: std::error::Error>(&self) -> Result<Raft<Types>, Failure<E>> {
        let raft = self.nodes.0.lock().get(&self.target).cloned();
        let stopped = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        raft.ok_or_else(|| RPCError::Network(NetworkError::new(&stopped)))
    }

    fn remote<E: std::error::Error>(&self, error: RaftError<u64, E>) -> Failure<E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }
}

impl RaftNetworkFactory<Types> for Nodes {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Way {
        let nodes = self.clone();
        Way { nodes, target }
    }
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure> {
        let answer = self.target()?.append_entries(rpc).await;
        answer.map_err(|e| self.remote(e))
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        let answer = self.target()?.install_snapshot(rpc).await;
        answer.map_err(|e| self.remote(e))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure> {
        let answer = self.target()?.vote(rpc).await;
        answer.map_err(|e| self.remote(e))
    }
}

async fn start(nodes: &Nodes, dir: &Path, id: u64) -> Raft<Types> {
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 300,
        election_timeout_max: 600,
        // The log is what the test is about: the machine is made anew from it.
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    };
    let small = Options::new()
        .segment_size(64 << 10)
        .min_segment_size(64 << 10);
    let dir = dir.join(format!("node-{id}"));
    let store = LogStore::open_with(dir, Settings::new().log(small)).unwrap();
    let config = Arc::new(config.validate().unwrap());
    let raft = Raft::new(id, config, nodes.clone(), store, Machine::default());
    let raft = raft.await.unwrap();
    nodes.0.lock().insert(id, raft.clone());
    raft
}

/// When it returns, the directory of its log is free.
async fn stop(nodes: &Nodes, id: u64) {
    let raft = nodes.0.lock().remove(&id).unwrap();
    raft.shutdown().await.unwrap();
}

/// The node that leads, once the others know it.
async fn leader(nodes: &Nodes) -> Raft<Types> {
    let running = nodes.0.lock().clone();
    let leads = |id: Option<u64>| id.is_some_and(|id| running.contains_key(&id));
    let wait = running.values().next().unwrap().wait(PATIENCE);
    let known = wait.metrics(|m| leads(m.current_leader), "a leader that runs");
    let id = known.await.unwrap().current_leader.unwrap();
    running.get(&id).cloned().unwrap()
}

/// Writes on the node that leads.
async fn write(nodes: &Nodes, texts: std::ops::Range<u32>) -> u64 {
    let mut last = 0;
    for n in texts {
        last = loop {
            match leader(nodes).await.client_write(format!("{n:0300}")).await {
                Ok(written) => break written.log_id.index,
                Err(_) => tokio::task::yield_now().await, // it leads no more
            }
        };
    }
    last
}

async fn all_applied(nodes: &Nodes, index: u64) {
    let rafts: Vec<_> = nodes.0.lock().values().cloned().collect();
    for raft in rafts {
        let wait = raft.wait(PATIENCE);
        let applied = wait.applied_index_at_least(Some(index), "applied");
        applied.await.unwrap();
    }
}

#[test]
fn three_nodes_agree_and_remember() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nodes = Nodes::default();
        for id in 0..3 {
            start(&nodes, dir.path(), id).await;
        }
        let members: BTreeMap<u64, BasicNode> =
            (0..3).map(|id| (id, BasicNode::default())).collect();
        let first = nodes.0.lock().get(&0).cloned().unwrap();
        first.initialize(members).await.unwrap();
        let last = write(&nodes, 0..100).await;
        all_applied(&nodes, last).await;

        // One after the other is away, and comes back to what it missed.
        for id in 0..3 {
            stop(&nodes, id).await;
            write(&nodes, 0..50).await;
            start(&nodes, dir.path(), id).await;
            let last = write(&nodes, 0..1).await;
            all_applied(&nodes, last).await;
        }

        // All of them: what they know then is what their logs hold.
        let last = write(&nodes, 0..1).await;
        for id in 0..3 {
            stop(&nodes, id).await;
        }
        for id in 0..3 {
            start(&nodes, dir.path(), id).await;
        }
        all_applied(&nodes, last).await;
        for id in 0..3 {
            stop(&nodes, id).await;
        }
    });
}
