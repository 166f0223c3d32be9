//! From the options to a serving process, and back to a clean stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use esker_storage::error::StorageError;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use esker_storage::recovery::RestartKind;

use crate::config::{Config, Loaded};
use crate::net::{BindError, Listeners, Workers, enforce_limits};
use crate::node;
use crate::observe::{self, PidFile, logging};
use crate::replication::driver::{Keeper, Links};
use crate::server::Server;
use crate::shard;

/// Why the server did not start. One line for standard error.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {error}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The data cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The system refused threads, event queues or signal handlers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Runs the server until it is asked to end.
///
/// # Errors
/// It could not start.
pub fn run(loaded: Loaded) -> Result<(), StartError> {
    abort_on_panic();
    let config = Config::new(loaded.values, loaded.file);
    logging::init(config.hot().log_level(), config.logfile().as_deref())?;
    for note in loaded.notes.iter().chain(&config.fit_open_files()) {
        tracing::info!("{note}");
    }
    let started = Instant::now();
    // The address first: a second server on the same port must not touch the data.
    let listeners = Listeners::bind(&config.bind(), config.port(), config.integer("tcp-backlog") as i32)?;
    let dir = config.dir();
    prepare_directory(&dir).map_err(|error| StartError::Directory { dir: dir.clone(), error })?;
    let keeper = Keeper::open(&dir).map_err(|error| StartError::Directory { dir: dir.clone(), error })?;
    if let Some((host, port)) = keeper.handed_to()
        && config.replicaof().is_none()
    {
        tracing::info!("a failover has handed this node's part to {host}:{port}, which it follows");
        config.set_replicaof(Some((&host, port)));
    }
    let shard = shard::open(&dir, &config, keeper.role(config.replicaof().is_some()))?;
    let server = Arc::new(Server::with_keeper(shard, config.io_threads(), config, keeper));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _pid_file = PidFile::create(server.config.pidfile());
    let mut workers = Workers::start(&server, server.config.io_threads())?;
    let remembering = node::remember(&server, &dir)?;
    Links::start(&server, dir.clone())?;
    let at_once = runtime.block_on(async {
        let stop = StopSignals::new()?;
        announce(&server, &listeners, &dir, started);
        let at_once = tokio::select! {
            () = listeners.accept(Arc::clone(&server), &workers) => false,
            now = server.shutdown.requested() => now,
            option = stop.received() => matches!(server.config.text(option).as_str(), "now" | "nosave"),
            () = observe::watch(&server) => false,
            () = enforce_limits(&server) => false,
        };
        io::Result::Ok(at_once)
    })?;
    tracing::info!("stopping");
    server.links.stop();
    workers.stop();
    let _ = remembering.join();
    if !at_once && let Err(error) = server.shard().checkpoint() {
        // The log has all of it; only a start after power loss takes longer.
        tracing::error!("stopping without a checkpoint: {error}");
    }
    // Last of all, when nobody writes any more.
    server.shard().close()?;
    server.links.stopped();
    tracing::info!("stopped");
    Ok(())
}

/// A worker must not go on after a panic left something half done.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

fn prepare_directory(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    probe(dir)
}

/// Whether files can be made: found out now rather than at the first write.
fn probe(dir: &Path) -> io::Result<()> {
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    std::fs::File::create(&probe)?;
    std::fs::remove_file(&probe)
}

/// What an operator wants to see of a start.
fn announce(server: &Server, listeners: &Listeners, dir: &Path, started: Instant) {
    let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
    println!("Esker {} ready on {}", env!("CARGO_PKG_VERSION"), addresses.join(", "));
    let shard = server.shard();
    let report = shard.recovery_report();
    println!(
        "data directory {}: {} keys, {} restart, recovered in {:.1} ms, ready after {:.1} ms",
        dir.display(),
        report.keys,
        report.kind.name(),
        report.duration.as_secs_f64() * 1e3,
        started.elapsed().as_secs_f64() * 1e3,
    );
    if let RestartKind::PowerLoss { reason } = &report.kind {
        println!("the index was built again because {reason}");
    }
    if server.replication().awaits_promotion() {
        println!("it lost power and may lack what it promised: it serves nobody until REPLICAOF says what it is to be");
    }
    if report.bytes_cut > 0 {
        println!("{} bytes behind LSN {} were cut from the log and saved to torn-*.log", report.bytes_cut, report.last_lsn);
    }
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns at the first SIGTERM or SIGINT: the option that says how to stop then.
    async fn received(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "shutdown-on-sigterm",
            _ = self.interrupt.recv() => "shutdown-on-sigint",
        }
    }
}
