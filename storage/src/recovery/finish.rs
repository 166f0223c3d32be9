//! From a chain of segments and the end of the log to a log that can be appended to.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::LogEnd;
use super::chain::{Chain, Link};
use super::report::RecoveryReport;
use crate::clock::wall_clock;
use crate::codec::checksum::ShardSeed;
use crate::codec::control::EpochStart;
use crate::codec::entry::single_len;
use crate::codec::op::{Op, OpCode};
use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::index::Index;
use crate::log::{Durability, Log, Segment, SharedMode, Tail};
use crate::manifest::{Epoch, Manifest, SegmentEntry, SegmentState};
use crate::mapping::{AppendMap, Appender};
use crate::options::{Options, Role};
use crate::segment::names::{FileName, MANIFEST, MANIFEST_TMP};
use crate::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentHeader, SegmentKind, SegmentReader};
use crate::shard::Values;
use crate::types::{EpochNumber, Generation, Incarnation, Lsn, NodeId, STRIPES, UnixMillis, WriterId};

/// Replaces the manifest while the index is trusted beside the old one. Was: a kill right after it cost the next start the index.
fn store_expected(directory: &dyn Directory, manifest: &Manifest, index: &Index) -> Result<()> {
    let identity = |name| directory.identity(name).map_err(StorageError::io("identify", directory.path(name)));
    manifest.store_watched(directory, || {
        if let (Some(current), Some(next)) = (identity(MANIFEST)?, identity(MANIFEST_TMP)?) {
            index.expect_manifest(current, next);
        }
        Ok(())
    })
}

/// Cuts what is torn and makes the log of what is left.
pub(super) fn start(
    directory: &Arc<dyn Directory>,
    mut manifest: Manifest,
    mut chain: Chain,
    end: &LogEnd,
    index: &Index,
    options: &Options,
    report: &mut RecoveryReport,
) -> Result<(Arc<Log>, Arc<Values>)> {
    if let Some(torn) = &end.torn {
        let cut = torn.save(&mut chain)?;
        report.bytes_cut = cut.bytes;
        // Retired ones are in no chain, and the index that was just built may point into them: forgotten here, they were found missing by
        // the start after a power loss in this one.
        let is_retired = |entry: &SegmentEntry| matches!(entry.state, SegmentState::Retired { .. });
        let kept = |entry: &SegmentEntry| is_retired(entry) || chain.links.iter().any(|link| link.header.generation == entry.generation);
        manifest.segments.retain(kept);
        store_expected(directory.as_ref(), &manifest, index)?;
        cut.finish(&chain)?;
    }
    report.values_removed = remove_unnamed_values(directory.as_ref(), &mut manifest, &chain, end)?;
    if !manifest.value_segments.ids.is_empty() {
        // Which of them name one is not known.
        chain.links.iter().for_each(|link| link.segment.set_names_values());
    }
    list_adopted(&mut manifest, &chain)?;
    remove_leftovers(directory.as_ref(), &mut manifest)?;
    // Epochs of which nothing is left: their numbers are not given again.
    manifest.epochs.retain(|epoch| epoch.first <= end.last);
    let is_replica = options.role == Role::Replica;
    let (epoch, writer) = if is_replica {
        // That of the last entry: the manifest may have named one of which nothing has arrived.
        manifest.epochs.last().map_or((EpochNumber(0), WriterId(0)), |epoch| (epoch.number, epoch.writer))
    } else {
        (EpochNumber(end.epoch.0 + 1), WriterId(rand::random()))
    };
    let (segment, appender, full) = active(&mut chain, &mut manifest, end, epoch, writer, options)?;
    if !is_replica {
        manifest.epochs.push(Epoch { number: epoch, writer, first: end.last.next() });
    }
    manifest.clean_stop = manifest.clean_stop.filter(|stop| stop.flushed <= end.last);
    let history = manifest.history();
    let shard = manifest.identity.shard;
    let tail = Tail {
        appender,
        next: end.last.next(),
        epoch,
        writer,
        last_time: end.time,
        mark_due: None,
        spare: None,
        spare_failed: false,
        reserved: false,
        populated: segment.map().written(),
        populated_at: None,
        next_note: segment.map().written() as u32,
        segment,
        full,
        is_replica,
    };
    let durability = Durability::default();
    durability.set_written(end.last);
    let log = Log {
        directory: Arc::clone(directory),
        seed: ShardSeed::new(history, shard),
        history,
        shard,
        node: manifest.identity.node,
        incarnation: Incarnation(rand::random()),
        key_hash_seed: manifest.identity.key_hash_seed,
        segment_size: options.segment_size,
        mode: SharedMode::new(options.sync),
        tail: Mutex::new(tail),
        spare_ready: parking_lot::Condvar::new(),
        durability,
        flushing: Mutex::new(()),
        keeper: crate::log::KeeperSignal::default(),
        manifest: Mutex::new(manifest),
        table: ArcSwap::from_pointee(chain.table),
        manifest_watcher: std::sync::OnceLock::new(),
        counts: crate::log::Counts::default(),
        space: Arc::default(),
        copies: crate::copies::Copies::default(),
        is_closed: std::sync::atomic::AtomicBool::new(false),
    };
    log.space.set_limit(options.disk_limit);
    log.space.reserve_segments(u64::from(options.segment_size));
    let values = Values::new(Arc::clone(directory), history, shard, Arc::clone(&log.space));
    Ok((Arc::new(log), Arc::new(values)))
}

type Active = (Arc<Segment>, Appender, Vec<Arc<Segment>>);

/// The segment to append to: the last one if it is not sealed, else a new one. Also those that are full and wait to be sealed.
fn active(
    chain: &mut Chain,
    manifest: &mut Manifest,
    end: &LogEnd,
    epoch: EpochNumber,
    writer: WriterId,
    options: &Options,
) -> Result<Active> {
    let unsealed: Vec<usize> = (0..chain.links.len()).filter(|at| !chain.links[*at].sealed).collect();
    let mut full = Vec::new();
    for at in unsealed {
        let is_last = at + 1 == chain.links.len();
        let is_active = is_last && !end.footer;
        let written = if is_active { end.position.offset } else { written_end(&chain.links[at]) };
        let (segment, appender) = chain.links[at].segment.reopened(written)?;
        let segment = Arc::new(segment);
        chain.table = chain.table.with(Arc::clone(&segment));
        chain.links[at].segment = Arc::clone(&segment);
        if is_active {
            let file = segment.file();
            file.allocate(0, segment.map().capacity() as u64).map_err(StorageError::io("allocate", file.path()))?;
            segment.map().region().advise_random().map_err(StorageError::io("map", file.path()))?;
            return Ok((segment, appender, full));
        }
        full.push(segment);
    }
    let (segment, appender) = create_first(chain, manifest, end.last.next(), epoch, writer, options)?;
    Ok((segment, appender, full))
}

/// Where the entries of a segment that is not yet sealed end. A footer that is there already is written again.
fn written_end(link: &Link) -> usize {
    let base = Lsn(link.header.base_lsn.0 - 1);
    let bytes = link.segment.bytes(0).unwrap_or_default();
    let mut reader = SegmentReader::resume(bytes, link.segment.seed(), Continuity::Every, SEGMENT_HEADER, base, EpochNumber(0));
    let mut end = SEGMENT_HEADER;
    while let Some(Ok((_, Frame::Entry(_) | Frame::FlushMark(_)))) = reader.next() {
        end = reader.offset();
    }
    link.segment.set_last_lsn(reader.last_lsn());
    end
}

fn create_first(
    chain: &mut Chain,
    manifest: &mut Manifest,
    base: Lsn,
    epoch: EpochNumber,
    writer: WriterId,
    options: &Options,
) -> Result<(Arc<Segment>, Appender)> {
    let generation = manifest.identity.next_generation;
    let id = manifest.take_segment_id(|id| chain.table.get(id).is_some()).ok_or_else(|| {
        let source = std::io::Error::other("all 262,144 segment ids are in use");
        StorageError::Io { action: "begin a segment in", path: chain.directory.path(""), source }
    })?;
    let name = FileName::Segment(base, generation).to_string();
    let path = chain.directory.path(&name);
    let size = u64::from(options.segment_size);
    let header = SegmentHeader {
        kind: SegmentKind::Log,
        cleaned: false,
        shard: manifest.identity.shard,
        history: manifest.history(),
        base_lsn: base,
        generation,
        segment_id: id,
        epoch,
        writer,
        created: wall_clock(),
        stamp: base.0,
        size,
        value_id: 0,
    };
    let file = chain.directory.create(&name).map_err(StorageError::io("create", &path))?;
    file.allocate(0, size).map_err(StorageError::io("allocate", &path))?;
    let region = file.map(options.segment_size as usize).map_err(StorageError::io("map", &path))?;
    region.advise_random().map_err(StorageError::io("map", &path))?;
    let (map, mut appender) = AppendMap::new(region, 0, options.segment_size as usize);
    let bytes = header.encode();
    map.append_with(&mut appender, bytes.len(), |to| to.copy_from_slice(&bytes)).expect("a segment is longer than its header");
    file.sync_all().map_err(StorageError::io("sync", &path))?;
    // Its name is on the medium before the manifest lists it.
    chain.directory.sync().map_err(StorageError::io("sync", chain.directory.path("")))?;
    let segment = Arc::new(Segment::new(id, generation, ShardSeed::new(header.history, header.shard), file, map));
    segment.set_base_lsn(base);
    segment.set_last_lsn(Lsn(base.0 - 1));
    segment.set_hot(true);
    manifest.identity.next_generation = Generation(generation.0 + 1);
    manifest.segments.push(SegmentEntry { id, generation, kind: SegmentKind::Log, state: SegmentState::Active, base, stamp: base.0 });
    chain.table = chain.table.with(Arc::clone(&segment));
    Ok((segment, appender))
}

/// Ties index and manifest together from here on, and says that the index is in use.
pub(super) fn bind(log: &Log, index: &Arc<Index>) -> Result<()> {
    let directory = &log.directory;
    let name = MANIFEST;
    let identity = directory.identity(name).map_err(StorageError::io("identify", directory.path(name)))?;
    if let Some(identity) = identity {
        index.expect_manifest(identity, identity);
    }
    let watched = Arc::clone(index);
    let _ = log.manifest_watcher.set(Box::new(move |current, next| watched.expect_manifest(current, next)));
    index.set_clean(false);
    // Segment and epoch are in the manifest before their first entry.
    log.store_manifest(&mut log.manifest.lock())
}

/// Appends the entry that begins this start's epoch.
pub(super) fn begin_epoch(log: &Log, index: &Index) -> Result<()> {
    let (epoch, full) = {
        let tail = log.tail.lock();
        let epoch = Epoch { number: tail.epoch, writer: tail.writer, first: tail.next };
        (epoch, tail.segment.map().written() + epoch_start_len() > tail.segment.map().capacity())
    };
    if full {
        // The threads that make spares are not running yet.
        log.provide_first_spare()?;
    }
    start_epoch(log, index, epoch, wall_clock())
}

fn epoch_start_len() -> usize {
    let nobody = EpochStart { writer: WriterId(0), node: NodeId(0), incarnation: Incarnation(0) };
    single_len(&Op::control(OpCode::EpochStart, &nobody.encode()))
}

/// Appends the first entry of an epoch that the manifest has.
pub(crate) fn start_epoch(log: &Log, index: &Index, epoch: Epoch, now: UnixMillis) -> Result<()> {
    let body = EpochStart { writer: epoch.writer, node: log.node, incarnation: log.incarnation }.encode();
    let appended = log.append_epoch_start(epoch, now, &Op::control(OpCode::EpochStart, &body))?;
    for stripe in 0..STRIPES {
        let mut stripe = index.stripe(stripe).write();
        if stripe.applied(index) < appended.lsn {
            stripe.set_applied(index, appended.lsn);
        }
    }
    crate::shard::note_replay_position(log, index);
    log.keeper.wake();
    Ok(())
}

/// Lists a spare that had become active when the last run ended.
fn list_adopted(manifest: &mut Manifest, chain: &Chain) -> Result<()> {
    for link in &chain.links {
        if !manifest.segments.iter().any(|entry| entry.generation == link.header.generation) {
            // After a kill its header may be in the page cache only, and what the manifest lists is there after power loss.
            let file = link.segment.file();
            file.sync_data().map_err(StorageError::io("sync", file.path()))?;
            manifest.segments.push(SegmentEntry {
                id: link.header.segment_id,
                generation: link.header.generation,
                kind: SegmentKind::Log,
                state: SegmentState::Active,
                base: link.header.base_lsn,
                stamp: link.header.stamp,
            });
        }
    }
    Ok(())
}

/// Removes files that nothing refers to any more: spares that never became active, checkpoints that were replaced or never finished.
fn remove_leftovers(directory: &dyn Directory, manifest: &mut Manifest) -> Result<()> {
    let names = directory.list().map_err(StorageError::io("list", directory.path("")))?;
    for name in names {
        let left_over = match FileName::parse(&name) {
            Some(FileName::Spare(_) | FileName::Cleaning(_)) => true,
            // Cleaning had replaced it, or had not yet been able to put it in place.
            Some(FileName::Segment(_, generation)) => !manifest.segments.iter().any(|entry| entry.generation == generation),
            Some(FileName::Checkpoint(lsn)) => manifest.checkpoint.is_none_or(|checkpoint| checkpoint.lsn != lsn),
            _ => name == MANIFEST_TMP,
        };
        if left_over {
            directory.remove(&name).map_err(StorageError::io("remove", directory.path(&name)))?;
        }
    }
    manifest.identity.spare = None;
    Ok(())
}

/// Removes value segments that no entry names: they were written, and their entries never.
fn remove_unnamed_values(directory: &dyn Directory, manifest: &mut Manifest, chain: &Chain, end: &LogEnd) -> Result<u64> {
    let names = directory.list().map_err(StorageError::io("list", directory.path("")))?;
    let found: Vec<u128> =
        names.iter().filter_map(|name| if let Some(FileName::Value(id)) = FileName::parse(name) { Some(id) } else { None }).collect();
    let mut named = manifest.value_segments.ids.clone();
    named.extend(&end.values);
    let doubtful = |named: &[u128]| found.iter().any(|id| !named.contains(id));
    if doubtful(&named) {
        named.extend(named_in_log(chain, manifest.value_segments.lsn));
    }
    let mut removed = 0;
    for id in found.iter().filter(|id| !named.contains(id)) {
        let name = FileName::Value(*id).to_string();
        directory.remove(&name).map_err(StorageError::io("remove", directory.path(&name)))?;
        removed += 1;
    }
    named.retain(|id| found.contains(id));
    named.sort_unstable();
    named.dedup();
    manifest.value_segments.ids = named;
    manifest.value_segments.lsn = end.last;
    Ok(removed)
}

/// The value segments that entries above `lsn` name.
fn named_in_log(chain: &Chain, lsn: Lsn) -> Vec<u128> {
    let mut named = Vec::new();
    for link in &chain.links {
        let bytes = link.segment.bytes(0).unwrap_or_default();
        let base = Lsn(link.header.base_lsn.0 - 1);
        let reader = SegmentReader::resume(bytes, link.segment.seed(), Continuity::Rising, SEGMENT_HEADER, base, EpochNumber(0));
        for (_, frame) in reader.flatten() {
            if let Frame::Entry(entry) = frame
                && entry.head().lsn > lsn
            {
                let references = entry.ops().filter(|(_, op)| op.header.value_segment);
                named.extend(references.filter_map(|(_, op)| crate::codec::value_ref::ValueRef::decode(op.body).ok()).map(|r| r.value_id));
            }
        }
    }
    named
}
