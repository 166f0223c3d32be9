//! Following a primary: dialling it again and again, until told otherwise.

use std::sync::Arc;
use std::time::Duration;

use esker_storage::fs::Directory;
use esker_storage::types::ShardId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::follow::Following;
use super::frames::LinkError;
use super::keeper;
use super::links::{self, Order};
use crate::replication::status::LinkState;
use crate::replication::wire::VERSION;
use crate::server::Server;

/// How long dialling, and each answer of the greeting, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer of a greeting.
const LINE: usize = 4096;

/// A primary to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its host.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// Follow it whatever is lost.
    pub force: bool,
}

/// Follows whom the orders say, until there are no more.
pub(super) async fn run(server: Arc<Server>, root: Arc<dyn Directory>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut target = server.config.replicaof().map(|(host, port)| Target { host, port, force: false });
    loop {
        let order = match &target {
            None => orders.recv().await,
            Some(target) => {
                tokio::select! {
                    // Orders first: nobody is dialled who is not to be followed any more.
                    biased;
                    order = orders.recv() => order,
                    () = follow(&server, &root, target) => None,
                }
            }
        };
        if order.is_none() && target.is_some() && server.config.replicaof().is_none() {
            // It was told to take over by the one that it followed.
            target = None;
            continue;
        }
        let Some(Order { target: wanted, done }) = order else { return };
        server.links.set_streaming(false);
        server.links.works.order().await;
        let outcome = if wanted.is_some() && wanted == target { Ok(()) } else { obey(&server, wanted.as_ref()) };
        if outcome.is_ok() {
            target = wanted;
        }
        if target.is_none() {
            discard_copies(&root).await;
        }
        // Whoever gave the order may be gone.
        drop(done.send(outcome));
    }
}

/// Removes copies of the shard that nobody will take into service: what they share with it would stay on the disk.
pub(super) async fn discard_copies(root: &Arc<dyn Directory>) {
    let root = Arc::clone(root);
    let discarded = tokio::task::spawn_blocking(move || esker_storage::snapshot::discard_copies(&root, ShardId(0)));
    if let Ok(Err(error)) = discarded.await {
        tracing::warn!("what is left of a snapshot stays on the disk: {error}");
    }
}

/// Changes what this node is.
pub(super) fn obey(server: &Server, target: Option<&Target>) -> Result<(), String> {
    let shard = server.shard_owned();
    match target {
        Some(target) => {
            // After a failover the log is a replica's already, and what is promised is decided here still.
            let led = !shard.is_replica() || server.links.is_primary();
            shard.become_replica();
            server.config.set_replicaof(Some((&target.host, target.port)));
            if led {
                links::begin(server);
            }
            server.update_replication(|status| status.follow(&target.host, target.port));
            tracing::info!("replica of {}:{} from now on", target.host, target.port);
        }
        None => {
            let was = shard.is_replica();
            let epoch = shard.become_primary().map_err(|error| format!("this node stays a replica: {error}"))?;
            server.config.set_replicaof(None);
            server.update_replication(|status| status.lead());
            keeper::forgive(server, "it is promoted");
            if was {
                links::begin(server);
                tracing::info!(epoch = epoch.0, "primary from now on");
            }
        }
    }
    keeper::ordered(server, target);
    Ok(())
}

/// Follows one primary for as long as nobody says otherwise.
async fn follow(server: &Arc<Server>, root: &Arc<dyn Directory>, target: &Target) {
    let mut following = Following::new(server, root, target);
    loop {
        following.note(LinkState::Connecting);
        let outcome = match tokio::time::timeout(PATIENCE, greet(server, target)).await {
            Ok(Ok((stream, input))) => match following.run(stream, input).await {
                Ok(_) if following.took_over() => return,
                outcome => outcome,
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LinkError::Refused("no answer".to_owned())),
        };
        server.links.set_streaming(false);
        let pause = following.disconnected();
        match outcome {
            Ok(reason) | Err(LinkError::Refused(reason)) => tracing::warn!("no link to {}:{}: {reason}", target.host, target.port),
            Err(error) => tracing::warn!("no link to {}:{}: {error}", target.host, target.port),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Dials, authenticates and asks to speak the peers' protocol; also what the primary has sent beyond its answer.
async fn greet(server: &Server, target: &Target) -> Result<(TcpStream, Vec<u8>), LinkError> {
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(!server.config.repl_gathers_packets())?;
    let mut input = Vec::new();
    if let Some((user, password)) = server.config.primary_credentials() {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(user.as_deref()).chain([password.as_str()]).collect();
        expect_ok(&mut stream, &mut input, &words, "the primary refuses masterauth").await?;
    }
    let version = VERSION.to_string();
    expect_ok(&mut stream, &mut input, &["ESKER.PEER", &version], "no Esker primary there").await?;
    Ok((stream, input))
}

async fn expect_ok(stream: &mut TcpStream, input: &mut Vec<u8>, words: &[&str], what: &str) -> Result<(), LinkError> {
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    stream.write_all(request.as_bytes()).await?;
    let line = loop {
        if let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = input.drain(..end + 2).collect();
            break String::from_utf8_lossy(&line[..end]).into_owned();
        }
        if input.len() > LINE {
            return Err(LinkError::Refused(format!("{what}: it answers with more than a line")));
        }
        if stream.read_buf(input).await? == 0 {
            return Err(LinkError::Closed);
        }
    };
    if line.starts_with("+OK") { Ok(()) } else { Err(LinkError::Refused(format!("{what}: {}", line.trim_start_matches('-')))) }
}
