//! Making the copy of the shard that takes the place of the one in service: what it has of the prefix and lives, what it lacked, and the
//! primary's segments above.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::adopt;
use super::build::Build;
use super::filter::{filter, strike_out};
use super::ops::OpSet;
use super::records::Records;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::log::Segment;
use crate::manifest::{Cleaned, Identity, Manifest, SegmentEntry, SegmentState, ValueSegments};
use crate::places::{LIVE, Places, RECORDS};
use crate::segment::names::FileName;
use crate::segment::{SegmentHeader, SegmentKind};
use crate::shard::Shard;
use crate::types::{Generation, Lsn, NodeId, SegmentId, UnixMillis};

/// How an attempt ended.
#[derive(Debug)]
pub enum Assembled {
    /// The copy is whole.
    Whole,
    /// These ops live at the primary and are not here: with their records it can be made.
    Lacks(OpSet),
}

/// What a copy is made of.
pub struct Assembly<'a> {
    pub(crate) root: &'a Arc<dyn Directory>,
    /// The shard in service.
    pub(crate) old: &'a Shard,
    /// Where it lies, what has arrived, and where the copy goes.
    pub(crate) places: Places,
    /// The primary's manifest: of what it sent.
    pub(crate) sent: Manifest,
    pub(crate) node: NodeId,
    /// Up to where both logs are the same.
    pub(crate) prefix: Lsn,
    /// Up to where the copy goes.
    pub(crate) lsn: Lsn,
    /// Where files begin of which the primary has not sent all.
    pub(crate) offsets: HashMap<String, u64>,
    /// Large values that need not be sent, as they are here.
    pub(crate) values: Vec<String>,
    /// What was asked for.
    pub(crate) asked: OpSet,
}

impl Assembly<'_> {
    /// Makes the copy.
    ///
    /// # Errors
    /// I/O errors, corruption of what arrived.
    pub fn run(&self) -> Result<Assembled> {
        let arrived = self.directory(&self.places.arrived)?;
        let live = self.live(arrived.as_ref())?;
        let has_records = arrived.exists(RECORDS).map_err(StorageError::io("look for", arrived.path(RECORDS)))?;
        let own = self.own();
        if !has_records && own.may_lack(self.prefix) {
            let mut missing = live.clone();
            own.segments.iter().for_each(|segment| strike_out(segment, self.prefix, &mut missing));
            if !missing.is_empty() {
                return Ok(Assembled::Lacks(missing));
            }
        }
        self.root.remove_subdirectory(&self.places.target).map_err(StorageError::io("remove", self.root.path(&self.places.target)))?;
        let records = if has_records { Some(arrived.open_read_only(RECORDS)) } else { None };
        let records = records.transpose().map_err(StorageError::io("open", arrived.path(RECORDS)))?;
        let mut copy = self.begin(&own, records)?;
        let mut missing = self.copy_own(&own, &live, &mut copy)?;
        // Of what was asked for the rest has been superseded at the primary meanwhile.
        missing.subtract(&self.asked);
        if !missing.is_empty() {
            missing.unite(&self.asked);
            return Ok(Assembled::Lacks(missing));
        }
        self.finish(copy).map(|()| Assembled::Whole)
    }

    /// What the own log is. Cleaning changes manifest and segments together, under the manifest's lock.
    fn own(&self) -> Own {
        let log = self.old.log();
        let manifest = log.manifest.lock();
        let mut segments = log.segments().in_order();
        segments.retain(|segment| segment.base_lsn() <= Some(self.prefix));
        Own { manifest: manifest.clone(), segments }
    }

    fn begin(&self, own: &Own, records: Option<Box<dyn File>>) -> Result<Copy> {
        let Own { manifest: own, segments } = own;
        let identity = Identity { node: self.node, spare: None, ..own.identity };
        let mut manifest = Manifest { identity, segments: Vec::new(), checkpoint: None, clean_stop: None, ..self.sent.clone() };
        // Which of them are named is found when all of the log is read.
        manifest.value_segments = ValueSegments::default();
        manifest.cleaned = Cleaned {
            reached: self.sent.cleaned.reached.max(self.prefix),
            horizon: own.cleaned.horizon.max(self.sent.cleaned.horizon).max(self.lsn),
        };
        let in_use = segments.iter().map(|segment| segment.id()).collect();
        let records = Records::open(records, self.sent.clone())?;
        let limit = self.old.log().segment_size as usize;
        Ok(Copy { directory: self.directory(&self.places.target)?, manifest, in_use, records, limit })
    }

    /// Copies what lives of the own log, and what was sent beside it; what lives and was in neither.
    fn copy_own(&self, own: &Own, live: &OpSet, copy: &mut Copy) -> Result<OpSet> {
        let mut missing = live.clone();
        for segment in &own.segments {
            let mut build = Building::new(segment, self.lsn);
            let filtered = filter(segment, self.prefix, live, &mut missing, &mut build, copy)?;
            if let Some(error) = filtered.failed {
                tracing::warn!("a segment of this node is damaged, and what it held comes from the primary: {error}");
            }
            // One that is damaged where no entry lies is written anew, as one that stands for LSNs above the prefix.
            let stays = filtered.is_whole && !segment.is_bad() && segment.last_lsn() <= self.prefix;
            match own.manifest.segment(segment.id()).filter(|entry| stays && is_sealed(entry)) {
                Some(entry) => self.share(entry, copy)?,
                None => build.finish(segment.last_lsn().min(self.prefix), copy)?,
            }
        }
        self.copy_rest(copy)?;
        Ok(missing)
    }

    /// Adds what comes above the prefix, and makes the copy whole.
    fn finish(&self, mut copy: Copy) -> Result<()> {
        adopt::adopt(self, &mut copy)?;
        self.share_values(&copy)?;
        copy.directory.sync().map_err(StorageError::io("sync", copy.directory.path("")))?;
        copy.manifest.store(copy.directory.as_ref())
    }

    /// What was sent and comes behind all that the own log holds of the prefix.
    fn copy_rest(&self, copy: &mut Copy) -> Result<()> {
        while let Some(base) = copy.records.peek() {
            let mut build = Building::at(base, self.lsn);
            // Segments of two histories do not mix.
            let history = self.sent.history_at(base);
            while let Some(lsn) = copy.records.peek().filter(|lsn| self.sent.history_at(*lsn) == history) {
                let entry = copy.records.next_at(lsn)?.unwrap_or_default();
                build.append(lsn, &entry, copy)?;
            }
            let last = copy.records.peek().map_or(self.prefix, |next| Lsn(next.0 - 1));
            build.finish(last, copy)?;
        }
        Ok(())
    }

    fn directory(&self, path: &str) -> Result<Arc<dyn Directory>> {
        self.root.subdirectory(path).map_err(StorageError::io("open", self.root.path(path)))
    }

    fn live(&self, arrived: &dyn Directory) -> Result<OpSet> {
        let path = arrived.path(LIVE);
        let file = arrived.open_read_only(LIVE).map_err(StorageError::io("open", &path))?;
        let len = file.len().map_err(StorageError::io("measure", &path))?;
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StorageError::io("read", &path))?;
        OpSet::decode(&bytes).map_err(|error| StorageError::Corrupt { path, offset: 0, lsn: self.prefix, reason: error.to_string() })
    }

    /// Takes a sealed segment as it is.
    fn share(&self, entry: &SegmentEntry, copy: &mut Copy) -> Result<()> {
        let name = FileName::Segment(entry.base, entry.generation).to_string();
        self.link(&format!("{}/{name}", self.places.current), &name)?;
        copy.manifest.segments.push(*entry);
        Ok(())
    }

    pub(super) fn link(&self, from: &str, name: &str) -> Result<()> {
        let to = format!("{}/{name}", self.places.target);
        self.root.link(from, &to).map_err(StorageError::io("give a second name to", self.root.path(from)))
    }

    /// Large values, those that are here and those that arrived. Which of them nothing names is found when the copy is opened.
    fn share_values(&self, copy: &Copy) -> Result<()> {
        for from in [&self.places.current, &self.places.arrived] {
            let directory = self.directory(from)?;
            let names = directory.list().map_err(StorageError::io("list", directory.path("")))?;
            for name in names.iter().filter(|name| matches!(FileName::parse(name), Some(FileName::Value(_)))) {
                if !copy.has(name)? {
                    self.link(&format!("{from}/{name}"), name)?;
                }
            }
        }
        for name in &self.values {
            if !copy.has(name)? {
                let source = std::io::Error::new(std::io::ErrorKind::NotFound, "a large value that was here is gone");
                return Err(StorageError::io("find", copy.directory.path(name))(source));
            }
        }
        Ok(())
    }
}

/// The own log, as of one moment.
struct Own {
    manifest: Manifest,
    /// Those that hold something of the prefix.
    segments: Vec<Arc<Segment>>,
}

impl Own {
    /// Whether something may be missing that lives: dropped on account of entries beyond the prefix, or unreadable.
    fn may_lack(&self, prefix: Lsn) -> bool {
        self.manifest.cleaned.horizon > prefix || self.segments.iter().any(|segment| segment.is_bad())
    }
}

fn is_sealed(entry: &SegmentEntry) -> bool {
    matches!(entry.state, SegmentState::Sealed { .. })
}

/// The copy being made.
pub(super) struct Copy {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) manifest: Manifest,
    /// Ids of segments that may be shared.
    in_use: HashSet<SegmentId>,
    pub(super) records: Records,
    /// Bytes of a segment.
    limit: usize,
}

impl Copy {
    fn has(&self, name: &str) -> Result<bool> {
        self.directory.exists(name).map_err(StorageError::io("look for", self.directory.path(name)))
    }

    /// A generation and an id for one more segment.
    pub(super) fn number(&mut self) -> Result<(Generation, SegmentId)> {
        let generation = self.manifest.identity.next_generation;
        self.manifest.identity.next_generation = Generation(generation.0 + 1);
        let in_use = &self.in_use;
        let id = self.manifest.take_segment_id(|id| in_use.contains(&id)).ok_or_else(|| {
            let source = std::io::Error::other("all segment ids are in use");
            StorageError::Io { action: "begin a segment in", path: self.directory.path(""), source }
        })?;
        Ok((generation, id))
    }
}

/// A segment of the copy, and others behind it when it is full.
pub(super) struct Building {
    build: Option<Build>,
    /// The LSN with which the next one begins.
    base: Lsn,
    stamp: u64,
    seen: Lsn,
}

impl Building {
    /// In the place of an own segment.
    fn new(segment: &Segment, seen: Lsn) -> Self {
        let base = segment.base_lsn().unwrap_or_default();
        Self { build: None, base, stamp: segment.stamp(), seen }
    }

    /// Where no segment was.
    pub(super) fn at(base: Lsn, seen: Lsn) -> Self {
        Self { build: None, base, stamp: 0, seen }
    }

    /// With a place in the order of eviction.
    pub(super) fn with_stamp(self, stamp: u64) -> Self {
        Self { stamp, ..self }
    }

    pub(super) fn append(&mut self, lsn: Lsn, entry: &[u8], copy: &mut Copy) -> Result<()> {
        if self.build.as_ref().is_some_and(|build| build.len() + entry.len() > copy.limit) {
            self.finish(Lsn(lsn.0 - 1), copy)?;
            self.base = lsn;
        }
        let build = match &mut self.build {
            Some(build) => build,
            None => {
                // What came before its time belongs to the segment all the same.
                let header = self.header(self.base.min(lsn), copy)?;
                self.build.insert(Build::begin(header, copy.manifest.identity.key_hash_seed))
            }
        };
        let path = copy.directory.path("");
        build.append(entry).map_err(|error| StorageError::Corrupt { path, offset: 0, lsn, reason: error.to_string() })
    }

    fn header(&self, base: Lsn, copy: &mut Copy) -> Result<SegmentHeader> {
        let (generation, segment_id) = copy.number()?;
        let manifest = &copy.manifest;
        let epoch = manifest.epoch_at(base);
        Ok(SegmentHeader {
            kind: SegmentKind::Log,
            cleaned: true,
            shard: manifest.identity.shard,
            history: manifest.history_at(base),
            base_lsn: base,
            generation,
            segment_id,
            epoch: epoch.map(|epoch| epoch.number).unwrap_or_default(),
            writer: epoch.map(|epoch| epoch.writer).unwrap_or_default(),
            // Nothing that was evicted is known to be gone from it.
            created: UnixMillis(0),
            stamp: self.stamp,
            size: copy.limit as u64,
            value_id: 0,
        })
    }

    /// Stores what there is.
    pub(super) fn finish(&mut self, last: Lsn, copy: &mut Copy) -> Result<()> {
        if let Some(build) = self.build.take() {
            copy.manifest.segments.extend(build.store(copy.directory.as_ref(), last, self.seen)?);
        }
        Ok(())
    }
}
