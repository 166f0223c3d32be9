//! A primary, its replicas, and a link to each.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::super::BenchError;
use super::client::Client;
use super::info;
use super::link::Shape;
use super::node::Node;
use super::proxy::{Delivered, Proxy};
use super::setup::Setup;

/// How long replicas may take until they have all.
const SYNC_PATIENCE: Duration = Duration::from_secs(120);

/// A replica and its link.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) node: Node,
    pub(super) link: Proxy,
}

/// The nodes; they end with this value, and their data goes.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) primary: Node,
    pub(super) replicas: Vec<Replica>,
    program: PathBuf,
    shape: Shape,
    options: Vec<String>,
    seed: u64,
    home: tempfile::TempDir,
}

impl Cluster {
    /// Starts a primary and its replicas, and waits until these follow.
    pub(super) fn start(
        program: &Path,
        root: &Path,
        setup: Setup,
        shape: Shape,
        options: &[String],
        seed: u64,
    ) -> Result<Self, BenchError> {
        let home = tempfile::Builder::new().prefix("esker-replication-").tempdir_in(root);
        let home = home.map_err(|source| BenchError::Write { path: root.to_owned(), source })?;
        let options = [options, &setup.mode.options()[..]].concat();
        let primary = Node::start(program, home.path(), "primary", &options)?;
        let (program, replicas) = (program.to_owned(), Vec::new());
        let mut cluster = Self { primary, replicas, program, shape, options, seed, home };
        for _ in 0..setup.replicas {
            cluster.add_replica()?;
        }
        cluster.wait_in_sync(&mut cluster.primary.connect()?, |_| {})?;
        Ok(cluster)
    }

    /// Starts one more replica with no data, and does not wait until it follows.
    pub(super) fn add_replica(&mut self) -> Result<(), BenchError> {
        let number = self.replicas.len() as u64 + 1;
        let link = Proxy::start(self.primary.port, self.shape, self.seed + number)?;
        let follow = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), link.port().to_string()];
        let options = [&self.options[..], &follow].concat();
        let node = Node::start(&self.program, self.home.path(), &format!("replica {number}"), &options)?;
        self.replicas.push(Replica { node, link });
        Ok(())
    }

    /// Waits until every replica has applied all that the primary has written; `meanwhile` is called again and again.
    pub(super) fn wait_in_sync(&self, primary: &mut Client, mut meanwhile: impl FnMut(&str)) -> Result<(), BenchError> {
        let deadline = Instant::now() + SYNC_PATIENCE;
        loop {
            let info = primary.ask(&["INFO", "replication"])?;
            meanwhile(&info);
            if info::all_have_all(&info, self.replicas.len()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let lines: Vec<&str> = info.lines().filter(|line| line.contains("lsn_") || line.contains("offset")).collect();
                return Err(self.primary.error(&format!("its replicas do not have all after 120 s: {}", lines.join("; "))));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// All nodes, the primary first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.primary).chain(self.replicas.iter().map(|replica| &replica.node))
    }

    pub(super) fn delivered(&self) -> Vec<Delivered> {
        self.replicas.iter().map(|replica| replica.link.delivered()).collect()
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }
}
