//! What all connections share.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use esker_storage::shard::Shard;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::command::{Counters, Gates};
use crate::config::Config;
use crate::net::{Clients, Durability};
use crate::node::Summary;
use crate::observe::{self, Latency, Monitors, SlowLog, Stats};
use crate::protocol::Limits;
use crate::pubsub::Hub;
use crate::replication::driver::{Keeper, Links, follow_options};
use crate::replication::status::Status;
use crate::replication::time::Millis;
use crate::shard::{InService, Served};

/// The shard in service, held for a short time.
pub type ShardGuard = arc_swap::Guard<Arc<Served>>;

/// The server's shared state; one a process, behind an `Arc`.
pub struct Server {
    /// The data; see [`Server::shard`].
    pub(crate) shard: ArcSwap<Served>,
    /// Whose listeners count.
    pub(crate) in_service: InService,
    /// Held while options are brought to a shard, so that one that is put in service meanwhile does not miss them.
    pub(crate) options: Mutex<()>,
    /// The options.
    pub config: Config,
    /// Conditions that take commands off the fast path.
    pub gates: Arc<Gates>,
    /// What was executed, counted a worker.
    pub counters: Counters,
    /// Channels, patterns and their subscribers; keyspace events.
    pub hub: Arc<Hub>,
    /// Who is connected.
    pub clients: Clients,
    /// Who waits for a flush.
    pub durability: Arc<Durability>,
    /// Links to replicas, or to the primary.
    pub links: Links,
    /// Ends the server.
    pub shutdown: Shutdown,
    /// When it started.
    pub started: Instant,
    /// Connections and bytes.
    pub stats: Stats,
    /// The newest slow commands.
    pub slowlog: SlowLog,
    /// Moments that took long.
    pub latency: Latency,
    /// Clients that are shown every command.
    pub monitors: Monitors,
    /// Names this run of the process: 40 hexadecimal digits.
    pub run_id: String,
    /// What replication tells of itself; see [`Server::replication`].
    replication: Mutex<Status>,
    /// What the node remembers of itself; known soon after the start.
    pub node: OnceLock<Summary>,
}

impl Server {
    /// A server over a shard, for this many workers, on default options.
    #[must_use]
    pub fn new(shard: Shard, workers: usize) -> Self {
        Self::with_config(shard, workers, Config::default())
    }

    /// A server over a shard, for this many workers.
    #[must_use]
    pub fn with_config(shard: Shard, workers: usize, config: Config) -> Self {
        Self::with_keeper(shard, workers, config, Keeper::default())
    }

    /// A server that remembers what it promised.
    #[must_use]
    pub fn with_keeper(shard: Shard, workers: usize, config: Config, keeper: Keeper) -> Self {
        let server = Self {
            shard: ArcSwap::from_pointee(Served::new(shard, 1)),
            in_service: InService::default(),
            options: Mutex::new(()),
            config,
            gates: Arc::default(),
            counters: Counters::new(workers),
            hub: Arc::default(),
            clients: Clients::default(),
            durability: Arc::new(Durability::new(workers)),
            links: Links::new(workers, keeper),
            shutdown: Shutdown::default(),
            started: Instant::now(),
            stats: Stats::new(workers),
            slowlog: SlowLog::default(),
            latency: Latency::default(),
            monitors: Monitors::default(),
            run_id: random_id(),
            replication: Mutex::default(),
            node: OnceLock::new(),
        };
        if let Some((host, port)) = server.config.replicaof() {
            server.update_replication(|status| status.follow(&host, port));
        }
        server.config_changed();
        server.listen_to(&server.shard());
        server
    }

    /// Brings what follows from options up to date: after CONFIG SET.
    pub fn config_changed(&self) {
        // Plain GETs and SETs are timed a batch. Whoever asks for anything below that has each of them timed.
        const BATCH_MICROS: i64 = 1000;
        let hot = self.config.hot();
        observe::logging::set_level(hot.log_level());
        self.apply_storage_options();
        self.update_replication(|_| ());
        follow_options(self);
        let classes = hot.event_classes();
        self.hub.set_classes(classes);
        self.gates.set(Gates::EVENTS, classes != 0);
        self.gates.set(Gates::TIMED, hot.latency_millis() > 0 || (0..BATCH_MICROS).contains(&hot.slowlog_micros()));
    }

    /// What keeps commands from the fast path: [`Gates`], all of them while clients may be paused.
    #[inline]
    pub(crate) fn closed(&self) -> u32 {
        if self.clients.may_be_paused() { u32::MAX } else { self.gates.closed() }
    }

    /// The clock that everything in [`replication`](crate::replication) goes by: milliseconds since the start.
    #[must_use]
    pub fn clock(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }

    /// What replication tells of itself. Not to be held while anything is waited for.
    pub fn replication(&self) -> MutexGuard<'_, Status> {
        self.replication.lock()
    }

    /// Changes what replication tells of itself, and refuses from then on what has to be refused.
    pub fn update_replication<R>(&self, change: impl FnOnce(&mut Status) -> R) -> R {
        let mut status = self.replication.lock();
        let changed = change(&mut status);
        self.gates.set_all(Gates::OF_REPLICATION, self.refusals(&status));
        changed
    }

    /// Called now and then: replicas that are not heard of stop counting.
    pub(crate) fn look_at_replication(&self) {
        let (now, shard) = (self.clock(), self.shard());
        self.update_replication(|status| status.trail.note(now, shard.written_lsn(), shard.log().appended_bytes()));
    }

    /// The gates that follow from replication and its options.
    fn refusals(&self, status: &Status) -> u32 {
        let (hot, link) = (self.config.hot(), status.link());
        let too_few = |(count, lag): (u32, u32)| status.good_replicas(self.clock(), lag) < count as usize;
        let conditions = [
            (Gates::READ_ONLY, link.is_some() && hot.replica_read_only()),
            (Gates::TOO_FEW_REPLICAS, link.is_none() && hot.replicas_to_write().is_some_and(too_few)),
            (Gates::LINK_DOWN, link.is_some_and(|link| !link.is_up()) && !hot.serve_stale_data()),
            (Gates::LOADING, status.loading),
            (Gates::LOST_POWER, status.awaits_promotion()),
        ];
        conditions.iter().filter(|(_, holds)| *holds).map(|(gate, _)| gate).sum()
    }

    /// When the newest checkpoint was finished, or this process started if it made none: seconds since the Unix epoch.
    #[must_use]
    pub fn last_save(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = now.saturating_sub(self.started.elapsed()).as_secs();
        (self.shard().checkpoint_status().last_done.0 as u64 / 1000).max(started)
    }

    /// A client that may have been a MONITOR has left, or has sent RESET.
    pub fn stop_monitoring(&self, id: u64) {
        if self.monitors.remove(id) {
            self.gates.set(Gates::MONITORS, false);
            // Another may have been added in between, whose gate this has just cleared.
            if !self.monitors.is_empty() {
                self.gates.set(Gates::MONITORS, true);
            }
        }
    }

    /// Whether keyspace events of this class are wanted.
    #[must_use]
    pub fn notifies(&self, class: u32) -> bool {
        self.hub.notifies(class)
    }

    /// What a request may be like.
    #[inline]
    pub(crate) fn request_limits(&self, authenticated: bool) -> Limits {
        Limits { max_bulk: self.config.hot().max_bulk_len() as i64, authenticated }
    }

    /// Whether outsiders are turned away.
    pub(crate) fn is_protected(&self) -> bool {
        self.config.hot().protected() && !self.config.hot().has_password()
    }

    /// Idle time before the kernel asks whether a peer is there.
    pub(crate) fn tcp_keepalive(&self) -> Option<Duration> {
        let seconds = self.config.hot().tcp_keepalive();
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}

fn random_id() -> String {
    let (high, low): (u128, u32) = (rand::random(), rand::random());
    format!("{high:032x}{low:08x}")
}

/// The wish to end the server: from SHUTDOWN or a signal.
#[derive(Debug, Default)]
pub struct Shutdown {
    state: AtomicU8,
    changed: Notify,
}

impl Shutdown {
    const NONE: u8 = 0;
    const CLEAN: u8 = 1;
    const NOW: u8 = 2;

    /// Asks for the end; `now` leaves out the checkpoint and the final sync.
    pub fn request(&self, now: bool) {
        let wish = if now { Self::NOW } else { Self::CLEAN };
        let _ = self.state.compare_exchange(Self::NONE, wish, Ordering::AcqRel, Ordering::Acquire);
        self.changed.notify_one();
    }

    /// Takes the wish back, if it was not yet followed (SHUTDOWN ABORT). False: there is none.
    pub fn abort(&self) -> bool {
        self.state.swap(Self::NONE, Ordering::AcqRel) != Self::NONE
    }

    /// Returns when the end is asked for: whether it is to be at once.
    pub async fn requested(&self) -> bool {
        loop {
            match self.state.load(Ordering::Acquire) {
                Self::NONE => self.changed.notified().await,
                state => return state == Self::NOW,
            }
        }
    }
}
