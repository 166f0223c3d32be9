//! Going back to a prefix of the log: a copy of the shard that ends there, beside the one in service.

use std::sync::Arc;

use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::log::{Frames, Segment};
use crate::manifest::{Manifest, SegmentEntry, SegmentState, ValueSegments};
use crate::places::{INCOMING, Places, store};
use crate::segment::names::FileName;
use crate::shard::Shard;
use crate::types::{Lsn, SegmentId};

/// Entries read at a time.
const WINDOW: usize = 256;

impl Shard {
    /// Whether a segment of the log was found not to pass its checks, or not to be readable.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.log().segments().in_order().iter().any(|segment| segment.is_bad())
    }

    /// Whether the log up to `prefix` holds all that it did when it ended there.
    #[must_use]
    pub fn can_be_cut(&self, prefix: Lsn) -> bool {
        let manifest = self.log().manifest.lock();
        manifest.cleaned.reached <= prefix && manifest.cleaned.horizon <= prefix
    }
}

/// Makes the copy, to be taken in the place of `old` by [`exchange`](crate::snapshot::exchange). Nothing is appended to it meanwhile.
///
/// # Errors
/// I/O errors, corruption; the log was cleaned on account of what is to be cut: see [`Shard::can_be_cut`].
pub fn cut(root: &Arc<dyn Directory>, old: &Shard, prefix: Lsn) -> Result<()> {
    let log = old.log();
    let mut manifest = {
        let mut manifest = log.manifest.lock();
        if log.register_begun(&mut manifest)? {
            log.store_manifest(&mut manifest)?;
        }
        manifest.clone()
    };
    if !old.can_be_cut(prefix) {
        return Err(StorageError::NotInLog { lsn: prefix });
    }
    let places = Places::of(manifest.identity.shard);
    root.remove_subdirectory(&places.target).map_err(StorageError::io("remove", root.path(&places.target)))?;
    root.subdirectory(INCOMING).map_err(StorageError::io("create", root.path(INCOMING)))?;
    let target = root.subdirectory(&places.target).map_err(StorageError::io("create", root.path(&places.target)))?;
    manifest.identity.spare = None;
    manifest.clean_stop = None;
    manifest.checkpoint = manifest.checkpoint.filter(|checkpoint| checkpoint.lsn <= prefix);
    if manifest.checkpoint.is_none() {
        // Which of them are named is found when all of the log is read.
        manifest.value_segments = ValueSegments::default();
    }
    manifest.epochs.retain(|epoch| epoch.first <= prefix);
    manifest.segments.retain(|entry| entry.base <= prefix);
    let cutter = Cutter { root, places: &places, target: target.as_ref(), prefix };
    for entry in &mut manifest.segments {
        cutter.segment(old, entry)?;
    }
    cutter.share(&manifest)?;
    target.sync().map_err(StorageError::io("sync", target.path("")))?;
    manifest.store(target.as_ref())
}

struct Cutter<'a> {
    root: &'a Arc<dyn Directory>,
    places: &'a Places,
    target: &'a dyn Directory,
    prefix: Lsn,
}

impl Cutter<'_> {
    fn segment(&self, old: &Shard, entry: &mut SegmentEntry) -> Result<()> {
        let name = FileName::Segment(entry.base, entry.generation).to_string();
        match entry.state {
            SegmentState::Sealed { last, .. } | SegmentState::Retired { last, .. } if last <= self.prefix => self.link(&name),
            _ => {
                let segment = find(old, entry.id)?;
                let end = end_of(&segment, self.prefix)?;
                let mut bytes = vec![0; end];
                segment.file().read_at(0, &mut bytes).map_err(StorageError::io("read", segment.file().path()))?;
                entry.state = SegmentState::Active;
                store(self.target, &name, &bytes)
            }
        }
    }

    fn link(&self, name: &str) -> Result<()> {
        let from = format!("{}/{name}", self.places.current);
        let linked = self.root.link(&from, &format!("{}/{name}", self.places.target));
        linked.map_err(StorageError::io("give a second name to", self.root.path(&from)))
    }

    /// The checkpoint, and large values.
    fn share(&self, manifest: &Manifest) -> Result<()> {
        if let Some(checkpoint) = manifest.checkpoint {
            self.link(&FileName::Checkpoint(checkpoint.lsn).to_string())?;
        }
        let current = self.root.subdirectory(&self.places.current).map_err(StorageError::io("open", self.root.path("")))?;
        let names = current.list().map_err(StorageError::io("list", current.path("")))?;
        names.iter().filter(|name| matches!(FileName::parse(name), Some(FileName::Value(_)))).try_for_each(|name| self.link(name))
    }
}

fn find(shard: &Shard, id: SegmentId) -> Result<Arc<Segment>> {
    let found = shard.log().segments().get(id).cloned();
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "a segment that the manifest names");
    found.ok_or_else(missing).map_err(StorageError::io("find", shard.log().directory.path("")))
}

/// The offset behind the last entry of the prefix.
fn end_of(segment: &Segment, prefix: Lsn) -> Result<usize> {
    let near = segment.nearest(prefix);
    let mut frames = near.map_or_else(|| Frames::new(segment), |near| Frames::resume(segment, near as usize));
    let mut end = frames.offset();
    loop {
        let window = frames.window(WINDOW)?;
        for (offset, entry) in &window {
            if entry.head().lsn > prefix {
                return Ok(end);
            }
            end = *offset as usize + entry.bytes().len();
        }
        if window.is_empty() {
            return Ok(end);
        }
    }
}
