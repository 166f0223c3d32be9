//! Opening a shard: finding the end of its log, bringing its index up to it, and beginning a new epoch.
//!
//! Invariants:
//! - Nothing on disk is changed before it is clear that the log is sound; a corrupt log is left exactly as it was found.
//! - A bad frame above the highest flushed LSN recorded on this disk is a torn tail: saved, then cut. At or below it is corruption.
//! - What the index holds after recovery is what replaying the whole log would give.

mod ahead;
mod chain;
mod evicted;
mod finish;
mod replay;
mod report;
mod scan;
mod torn;

pub(crate) use finish::start_epoch;
pub use report::{RecoveryReport, RestartKind};

use std::sync::Arc;
use std::time::Instant;

use crate::checkpoint;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, FileIdentity, LockGuard, LockHeld, self_test};
use crate::index::{Index, Opened, Surroundings};
use crate::log::Log;
use crate::manifest::Manifest;
use crate::options::{Options, Role};
use crate::segment::names::{INDEX, MANIFEST};
use crate::shard::Values;
use crate::snapshot::finish_exchange;
use crate::types::{HistoryId, Lsn, NodeId};
use chain::Chain;
use replay::Replay;
use scan::Position;

/// A shard that is ready to serve.
pub(crate) struct Recovered {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Arc<Index>,
    pub(crate) values: Arc<Values>,
    pub(crate) report: RecoveryReport,
    pub(crate) lock: LockGuard,
}

/// Opens, recovers or creates a shard in a data directory.
pub(crate) fn open(root: &Arc<dyn Directory>, options: &Options, lock: Option<LockGuard>) -> Result<Recovered> {
    let started = Instant::now();
    let lock = lock.map_or_else(|| take_lock(root.as_ref()), Ok)?;
    match self_test(root.as_ref()) {
        // A full disk says nothing about the filesystem, and what is on it can still be read.
        Err(error) if error.is_disk_full() => tracing::warn!("{error}"),
        outcome => outcome?,
    }
    finish_exchange(root.as_ref(), options.shard)?;
    let name = format!("shard-{}", options.shard);
    let directory = root.subdirectory(&name).map_err(StorageError::io("create", root.path(&name)))?;
    let (manifest, fresh) = load_or_create(directory.as_ref(), options)?;
    let chain = Chain::open(&directory, &manifest)?;
    let options = &fit_segment_size(&chain, options);
    let mut report = RecoveryReport {
        kind: RestartKind::Fresh,
        keys: 0,
        last_lsn: Lsn(0),
        flushed_lsn: Lsn(0),
        entries_replayed: 0,
        bytes_replayed: 0,
        keys_from_checkpoint: 0,
        bytes_cut: 0,
        index_repairs: 0,
        values_removed: 0,
        duration: started.elapsed(),
    };
    let (index, end) = recover_index(&directory, &manifest, &chain, options, &mut report)?;
    if fresh {
        report.kind = RestartKind::Fresh;
    }
    let options = &Options { role: settled(options.role, &report.kind), ..options.clone() };
    let (log, values) = finish::start(&directory, manifest, chain, &end, &index, options, &mut report)?;
    let index = Arc::new(index);
    finish::bind(&log, &index)?;
    match options.role {
        Role::Primary | Role::PrimaryUnlessRebuilt => finish::begin_epoch(&log, &index)?,
        // It makes the first spare.
        Role::Replica => log.keeper.wake(),
    }
    report.keys = index.keys();
    report.last_lsn = end.last;
    report.flushed_lsn = end.flushed;
    report.duration = started.elapsed();
    Ok(Recovered { log, index, values, report, lock })
}

/// What the role comes to.
fn settled(role: Role, kind: &RestartKind) -> Role {
    match (role, kind) {
        (Role::PrimaryUnlessRebuilt, RestartKind::PowerLoss { .. }) => Role::Replica,
        (Role::PrimaryUnlessRebuilt, _) => Role::Primary,
        (role, _) => role,
    }
}

/// What fits in a segment of the primary's has to fit in one of the replica's.
fn fit_segment_size(chain: &Chain, options: &Options) -> Options {
    let largest = chain.links.iter().map(|link| link.header.size as u32).max().unwrap_or(0);
    let segment_size = if options.role == Role::Replica { options.segment_size.max(largest) } else { options.segment_size };
    Options { segment_size, ..options.clone() }
}

fn take_lock(root: &dyn Directory) -> Result<LockGuard> {
    root.lock("LOCK").map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<LockHeld>()) {
        Some(held) => StorageError::Locked { path: root.path(""), pid: held.pid },
        None => StorageError::Io { action: "lock", path: root.path("LOCK"), source: error },
    })
}

fn load_or_create(directory: &dyn Directory, options: &Options) -> Result<(Manifest, bool)> {
    if let Some(manifest) = Manifest::load(directory)? {
        return Ok((manifest, false));
    }
    let names = directory.list().map_err(StorageError::io("list", directory.path("")))?;
    if let Some(segment) = names.iter().find(|name| name.ends_with(".seg")) {
        let reason = "there are segments but no manifest: restore it from a backup, or move the directory away to start empty".to_owned();
        return Err(StorageError::Corrupt { path: directory.path(segment), offset: 0, lsn: Lsn(0), reason });
    }
    let manifest = Manifest::new(options.shard, NodeId(rand::random()), HistoryId(rand::random()), rand::random());
    manifest.store(directory)?;
    Ok((manifest, true))
}

/// The end of the log as it was found.
pub(crate) struct LogEnd {
    /// The last entry that counts.
    pub(crate) last: Lsn,
    /// Its epoch.
    pub(crate) epoch: crate::types::EpochNumber,
    /// The highest flushed LSN recorded on this disk.
    pub(crate) flushed: Lsn,
    /// Clock of the last entry.
    pub(crate) time: crate::types::UnixMillis,
    /// Where the frames end.
    pub(crate) position: Position,
    /// Whether a footer ends the last segment.
    pub(crate) footer: bool,
    /// What is to be cut, if anything.
    pub(crate) torn: Option<torn::Torn>,
    /// Value segments named by the entries read.
    pub(crate) values: Vec<u128>,
}

fn recover_index(
    directory: &Arc<dyn Directory>,
    manifest: &Manifest,
    chain: &Chain,
    options: &Options,
    report: &mut RecoveryReport,
) -> Result<(Index, LogEnd)> {
    let surroundings = Surroundings {
        boot_id: directory.boot_id(),
        manifest: manifest_identity(directory.as_ref())?,
        key_hash_seed: manifest.identity.key_hash_seed,
    };
    let opened =
        Index::open(directory.as_ref(), INDEX, options.index_reserve, &surroundings).map_err(|e| index_error(directory.as_ref(), &e))?;
    let reason = match opened {
        Opened::Trusted(index) => match catch_up(manifest, chain, &index, report)? {
            Ok(end) => return Ok((*index, end)),
            Err(reason) => reason,
        },
        Opened::Untrusted(distrust) => distrust.to_string(),
    };
    rebuild(directory, manifest, chain, options, &surroundings, reason, report)
}

/// Brings a trusted index up to the end of the log. An inner error says why it is not to be trusted after all.
fn catch_up(manifest: &Manifest, chain: &Chain, index: &Index, report: &mut RecoveryReport) -> Result<Result<LogEnd, String>> {
    let position = index.replay_position();
    let Some(start) = chain.position(position) else {
        return Ok(Err("it points behind the end of the log".to_owned()));
    };
    let clean = index.is_clean();
    let mut replay = Replay::new(chain, index, manifest.identity.key_hash_seed, None);
    let end = scan::scan(chain, manifest, start, true, &mut replay)?;
    if replay.highest_applied() > end.last {
        return Ok(Err("it is ahead of the log".to_owned()));
    }
    (report.entries_replayed, report.bytes_replayed) = (replay.entries(), replay.bytes());
    let (undone, redone) = index.repairs();
    report.index_repairs = undone + redone;
    report.kind = if clean { RestartKind::Clean } else { RestartKind::Crash };
    Ok(Ok(end))
}

/// Builds the index anew, from the checkpoint if there is a sound one.
fn rebuild(
    directory: &Arc<dyn Directory>,
    manifest: &Manifest,
    chain: &Chain,
    options: &Options,
    surroundings: &Surroundings,
    reason: String,
    report: &mut RecoveryReport,
) -> Result<(Index, LogEnd)> {
    let create = || Index::create(directory.as_ref(), INDEX, options.index_reserve).map_err(|e| index_error(directory.as_ref(), &e));
    let mut index = create()?;
    let mut loaded = None;
    if let Some(checkpoint) = &manifest.checkpoint {
        loaded = checkpoint::load(directory.as_ref(), checkpoint, manifest.identity.key_hash_seed, &index)?;
        if loaded.is_none() {
            drop(index);
            index = create()?;
        }
    }
    report.keys_from_checkpoint = loaded.as_ref().map_or(0, |loaded| loaded.keys);
    let from = loaded.as_ref().map_or(Lsn(1), |loaded| loaded.replay_from);
    let mut replay = Replay::new(chain, &index, manifest.identity.key_hash_seed, loaded);
    let end = scan::scan(chain, manifest, chain.before(from), false, &mut replay)?;
    (report.entries_replayed, report.bytes_replayed) = (replay.entries(), replay.bytes());
    drop(replay);
    report.kind = RestartKind::PowerLoss { reason };
    index.trust(surroundings);
    Ok((index, end))
}

fn index_error(directory: &dyn Directory, error: &crate::index::IndexError) -> StorageError {
    StorageError::Io { action: "prepare", path: directory.path(INDEX), source: std::io::Error::other(error.to_string()) }
}

fn manifest_identity(directory: &dyn Directory) -> Result<FileIdentity> {
    let identity = directory.identity(MANIFEST).map_err(StorageError::io("identify", directory.path(MANIFEST)))?;
    Ok(identity.unwrap_or(FileIdentity { device: 0, inode: 0, birth_ns: 0 }))
}
