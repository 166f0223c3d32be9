//! All that replication has running: its threads, its links, and what the rest of the server asks of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use esker_storage::clock::wall_clock;
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::recovery::RestartKind;
use esker_storage::shard::Shard;
use esker_storage::types::{Lsn, NodeId, ShardId};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, mpsc, oneshot};

use super::dial::{self, Target};
use super::failover::{self, Failovers};
use super::feeds::{Feeds, Kept, PeerSocket};
use super::keeper::{self, Keeper};
use super::promise::{Promise, mode};
use super::serve::serve;
use super::works::Works;
use crate::config::ReplicationMode;
use crate::replication::lineage::Lineage;
use crate::replication::status::ReplicaState;
use crate::replication::time::Now;
use crate::replication::wire::Ack;
use crate::server::Server;
use crate::shard::Served;

/// How often it is looked what the log has to keep for replicas.
const TIDY: Duration = Duration::from_millis(100);

/// What this node is to be.
#[derive(Debug)]
pub struct Order {
    /// The primary to follow; none: it is a primary itself.
    pub target: Option<Target>,
    /// Told when it is so, or why it is not.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// Replication, as the server has it.
pub struct Links {
    feeds: Feeds,
    promise: Promise,
    pub(super) failovers: Failovers,
    pub(super) keeper: Keeper,
    pub(super) works: Works,
    running: Mutex<Running>,
    streaming: AtomicBool,
    leads: AtomicBool,
    /// What was promised before this start is known.
    begun: AtomicBool,
    stop: Arc<Notify>,
}

#[derive(Default)]
struct Running {
    orders: Option<mpsc::UnboundedSender<Order>>,
    feeds: Option<Handle>,
    threads: Vec<JoinHandle<()>>,
}

impl Links {
    /// For so many workers; nothing runs yet.
    #[must_use]
    pub fn new(workers: usize, keeper: Keeper) -> Self {
        Self {
            feeds: Feeds::default(),
            promise: Promise::new(workers),
            failovers: Failovers::default(),
            keeper,
            works: Works::default(),
            running: Mutex::default(),
            streaming: AtomicBool::new(false),
            leads: AtomicBool::new(true),
            begun: AtomicBool::new(false),
            stop: Arc::default(),
        }
    }

    pub(super) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    pub(crate) fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Whether what is promised is decided here.
    pub(super) fn is_primary(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Whether the primary's log comes in.
    pub(super) fn is_streaming(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }

    pub(super) fn set_streaming(&self, streaming: bool) {
        self.streaming.store(streaming, Ordering::Relaxed);
    }

    /// The log has grown: replicas may be sent more.
    #[inline]
    pub(crate) fn log_grown(&self) {
        self.feeds.grown();
    }

    /// Somebody waits for replicas to have what is in the log.
    pub(crate) fn hurry(&self) {
        self.feeds.wake();
    }

    /// Serves a connection as a replica's from now on.
    pub(crate) fn serve(&self, server: &Arc<Server>, socket: PeerSocket) {
        match &self.running.lock().feeds {
            Some(runtime) => drop(runtime.spawn(serve(Arc::clone(server), socket))),
            None => tracing::warn!("a replica is turned away: the server is starting or stopping"),
        }
    }

    /// Has the node become what the order says.
    pub(crate) fn order(&self, target: Option<Target>) -> oneshot::Receiver<Result<(), String>> {
        let (done, outcome) = oneshot::channel();
        if let Some(orders) = &self.running.lock().orders {
            // Dropped with the thread: whoever waits is told so.
            drop(orders.send(Order { target, done }));
        }
        outcome
    }

    /// How far the log of a shard is committed.
    pub(super) fn committed(&self, shard: &Served) -> Lsn {
        if self.is_primary() { self.promise.local(shard.written_lsn(), shard.flushed_lsn()).lsn } else { self.promise.heard() }
    }

    /// The own log may have been flushed, which may be what a promise lacked.
    pub(crate) fn look_at_promise(&self, shard: &Served) {
        if self.is_primary() && self.promise.local(shard.written_lsn(), shard.flushed_lsn()).moved {
            self.feeds.grown();
        }
    }

    pub(super) fn acknowledge(&self, shard: &Served, node: NodeId, ack: Ack) {
        // Replicas of a replica are no members: what is promised is decided elsewhere.
        let keep = || self.is_primary() && self.keeper.change(|ledger| ledger.members.extend([node]));
        if self.promise.acknowledge(node, ack, (shard.written_lsn(), shard.flushed_lsn()), keep).moved {
            // Other replicas' clients may wait for it.
            self.feeds.grown();
        }
    }

    pub(super) fn pin(&self, shard: &Served, replica: NodeId, kept: Kept) {
        self.feeds.pin(replica, kept);
        self.keep_log(shard, None);
    }

    /// Has cleaning leave what replicas need, those who left longer than `patience` ago (none: never) left out.
    fn keep_log(&self, shard: &Served, patience: Option<Duration>) {
        shard.keep_history_from(self.feeds.pinned(patience, !shard.log().space().is_near_limit()));
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// The system refuses one.
    pub fn start(server: &Arc<Server>, dir: PathBuf) -> std::io::Result<()> {
        let rebuilt = matches!(server.shard().recovery_report().kind, RestartKind::PowerLoss { .. });
        server.links.keeper.begin(rebuilt);
        if let Some((host, port)) = server.config.replicaof() {
            keeper::ordered(server, Some(&Target { host, port, force: false }));
        }
        keeper::tell(server);
        if server.replication().may_lack {
            tracing::warn!(rebuilt, "this node lost power and may lack what it promised in semi-sync");
        }
        begin(server);
        server.links.begun.store(true, Ordering::Relaxed);
        let feeds = Builder::new_current_thread().enable_all().build()?;
        let (orders, received) = mpsc::unbounded_channel();
        let root: Arc<dyn Directory> = Arc::new(RealDirectory::open(dir)?);
        let mut running = server.links.running.lock();
        (running.feeds, running.orders) = (Some(feeds.handle().clone()), Some(orders));
        let (own, stop) = (Arc::clone(server), Arc::clone(&server.links.stop));
        let failovers = failover::run(Arc::clone(server), server.links.failovers.wishes());
        let run = move || {
            feeds.block_on(async {
                tokio::select! {
                    () = tidy(own) => {}
                    () = failovers => {}
                    () = stop.notified() => {}
                }
            });
            feeds.shutdown_timeout(Duration::from_millis(100));
        };
        running.threads.push(std::thread::Builder::new().name("esker-feeds".to_owned()).spawn(run)?);
        let own = Arc::clone(server);
        let follow = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            follow.block_on(dial::run(own, root, received));
            follow.shutdown_timeout(Duration::from_millis(100));
        };
        running.threads.push(std::thread::Builder::new().name("esker-follow".to_owned()).spawn(run)?);
        Ok(())
    }

    /// Keeps that all that was written is on the medium, after the end.
    pub fn stopped(&self) {
        self.keeper.stopped();
    }

    /// Ends all links and the threads.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        drop(running.orders);
        self.stop.notify_one();
        for thread in running.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of replication panicked");
            }
        }
    }
}

/// The log in service begins to be what is promised of: after the start, after a change of roles, after an exchange of shards.
pub(super) fn begin(server: &Server) {
    let shard = server.shard();
    server.links.leads.store(!shard.is_replica(), Ordering::Relaxed);
    keeper::note_debts(server);
    let first = shard.log().lineage().epochs.last().map_or(Lsn(0), |epoch| epoch.first);
    let mode = mode(server.config.hot());
    let members = keeper::members(server, mode);
    server.links.promise.begin(mode, shard.number(), first, members);
    server.links.feeds.forget();
    shard.keep_history_from(Lsn(u64::MAX));
}

/// The mode is as the options have it: after CONFIG SET, and again where that failed.
pub(crate) fn follow_options(server: &Server) {
    if !server.links.begun.load(Ordering::Relaxed) {
        return;
    }
    keeper::note_debts(server);
    let mode = mode(server.config.hot());
    server.links.promise.set_mode(mode);
    keeper::members(server, mode);
}

/// Keeps the log for replicas no longer than it should, and follows changes of the mode.
async fn tidy(server: Arc<Server>) {
    loop {
        tokio::time::sleep(TIDY).await;
        follow_options(&server);
        let shard = server.shard();
        let figures = shard.log().figures();
        // On a full disk only those who are here have a say.
        let patience = if figures.disk_full { Some(Duration::ZERO) } else { server.config.repl_backlog_ttl() };
        server.links.keep_log(&shard, patience);
    }
}

/// A link to a replica is over.
pub(super) fn left(server: &Server, replica: NodeId, number: u64) {
    if !server.links.feeds.is_superseded(replica, number) {
        server.links.promise.left(replica);
    }
    server.links.feeds.left(replica, number);
}

/// Tells INFO that a replica is there, and what is being done for it.
pub(super) fn note_replica(server: &Server, number: u64, announced: (&str, u16), state: ReplicaState) {
    server.update_replication(|status| {
        let replica = status.replicas.entry(number).or_default();
        (replica.address, replica.port, replica.state) = (announced.0.to_owned(), announced.1, state);
    });
}

/// Tells INFO how far a replica is.
pub(super) fn note_progress(server: &Server, number: u64, sent: Lsn, ack: Ack) {
    let at = server.clock();
    server.update_replication(|status| {
        if let Some(replica) = status.replicas.get_mut(&number) {
            replica.sent = sent;
            replica.acknowledge(ack.written, ack.flushed, ack.applied, at);
        }
    });
}

/// The replica's link is over.
pub(super) fn forget_replica(server: &Server, number: u64) {
    server.update_replication(|status| status.replicas.remove(&number));
}

/// What the log of a shard is, as peers compare it.
pub(super) fn lineage_of(shard: &Shard) -> Lineage {
    let found = shard.log().lineage();
    let esker_storage::log::Lineage { history, epochs, last, cleaned, horizon } = found;
    Lineage { shard: ShardId(0), history, epochs, last, cleaned: cleaned.min(last), horizon }
}

/// Now, on both clocks.
pub(super) fn now(server: &Server) -> Now {
    Now { at: server.clock(), wall: wall_clock() }
}

impl Server {
    /// Whether replies wait for replicas.
    #[inline]
    pub(crate) fn waits_for_replicas(&self) -> bool {
        self.config.hot().replication_mode() != ReplicationMode::Async
    }
}
