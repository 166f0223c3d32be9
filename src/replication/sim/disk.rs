//! What a model node keeps.

use std::collections::{BTreeMap, BTreeSet};

use esker_storage::difference::OpSet;
use esker_storage::manifest::Epoch;
use esker_storage::types::{EpochNumber, HistoryId, Lsn, WriterId};

use super::entry::{ENTRY, Entry, Op};
use crate::replication::lineage::Lineage;
use crate::replication::wire::{File, Listing, SnapshotId};
use crate::sim::Disk;

const LIVE: &str = "LIVE";
const RECORDS: &str = "RECORDS";

/// Entries that were set aside.
#[derive(Debug, Clone)]
pub struct Divergent {
    pub above: u64,
    pub entries: Vec<Entry>,
}

/// A snapshot that is coming in.
#[derive(Debug, Clone)]
pub struct Staging {
    pub source: u64,
    pub listing: Listing,
    pub files: BTreeMap<String, (Vec<u8>, bool, u64)>,
    /// What comes in is what was lacking beside that.
    pub is_lacking: bool,
}

/// What the operator said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica(Option<usize>),
}

impl Staging {
    fn live(&self) -> OpSet {
        OpSet::decode(&self.files[LIVE].0).expect("a set of ops")
    }
}

#[derive(Debug, Clone)]
pub struct ModelDisk {
    pub role: Role,
    /// Of a primary: the in-sync set.
    pub members: BTreeSet<usize>,
    pub history: u128,
    pub epochs: Vec<Epoch>,
    pub log: Vec<Entry>,
    pub last: u64,
    pub flushed: u64,
    pub cleaned: u64,
    /// The highest entry on account of which others were dropped: after a difference its end, as what lives was told for then (seed 2154 without).
    pub horizon: u64,
    pub generation: u32,
    /// Counts the logs that this node has had: a mark of one says nothing of another.
    pub logs: u64,
    pub divergent: Vec<Divergent>,
    pub staging: Option<Staging>,
    /// What a loss of power took.
    pub lost: Vec<Entry>,
    /// What cleaning dropped, as later entries superseded it.
    pub dropped: Vec<Entry>,
    /// The epoch in which power was lost.
    pub impaired: Option<u32>,
}

impl Disk for ModelDisk {
    type Mark = (u64, u64);

    fn mark(&self) -> (u64, u64) {
        (self.logs, self.last)
    }

    fn flushed(&mut self, (logs, last): (u64, u64)) {
        if logs == self.logs {
            self.flushed = self.flushed.max(last);
        }
    }

    fn lose_unflushed(&mut self) {
        let kept = self.log.partition_point(|entry| entry.lsn <= self.flushed);
        self.lost.extend(self.log.drain(kept..));
        // A node cannot know whether it was anything.
        self.impaired = Some(self.epoch());
        self.last = self.flushed;
        // Of what is listed and has no entry the log would seem to have some as soon as it is as long again.
        self.epochs.retain(|epoch| epoch.first.0 <= self.last);
        // Nothing of it was synced.
        self.staging = None;
    }
}

impl ModelDisk {
    pub fn new(role: Role, history: u128) -> Self {
        Self {
            role,
            members: BTreeSet::new(),
            history,
            epochs: Vec::new(),
            log: Vec::new(),
            last: 0,
            flushed: 0,
            cleaned: 0,
            horizon: 0,
            generation: 1,
            logs: 0,
            divergent: Vec::new(),
            staging: None,
            lost: Vec::new(),
            dropped: Vec::new(),
            impaired: None,
        }
    }

    pub fn lineage(&self) -> Lineage {
        let epochs = self.epochs.iter().filter(|epoch| epoch.first.0 <= self.last).copied().collect();
        Lineage {
            history: HistoryId(self.history),
            epochs,
            last: Lsn(self.last),
            cleaned: Lsn(self.cleaned),
            horizon: Lsn(self.horizon),
            ..Lineage::default()
        }
    }

    /// The number of the epoch of the last entry.
    pub fn epoch(&self) -> u32 {
        self.lineage().epoch().map_or(0, |epoch| epoch.number.0)
    }

    /// Whether it may lack what it acknowledged or promised: it lost power, and has no entry of a later epoch.
    pub fn is_impaired(&self) -> bool {
        self.impaired.is_some_and(|epoch| self.epoch() <= epoch)
    }

    pub fn map(&self) -> BTreeMap<u8, u64> {
        fold(self.log.iter())
    }

    pub fn begin_epoch(&mut self, number: u32, writer: u64) {
        let epoch = Epoch { number: EpochNumber(number), writer: WriterId(writer), first: Lsn(self.last + 1) };
        self.epochs.retain(|known| known.first <= Lsn(self.last));
        self.epochs.push(epoch);
    }

    pub fn append(&mut self, entry: Entry) {
        assert_eq!(entry.lsn, self.last + 1, "the log has no gaps when it is written");
        assert!(entry.epoch >= self.epoch(), "the epoch goes back");
        if entry.op == Op::Start {
            self.begin_epoch(entry.epoch, entry.writer);
        }
        self.last = entry.lsn;
        self.log.push(entry);
    }

    /// Drops what later entries supersede, up to an LSN.
    pub fn clean(&mut self, to: u64) {
        let to = to.min(self.flushed).min(self.last.saturating_sub(1));
        if to <= self.cleaned {
            return;
        }
        let mut later = BTreeSet::new();
        let mut kept: Vec<Entry> = Vec::new();
        for entry in self.log.iter().rev() {
            // Only what is superseded by something that is not dropped by a loss of power, nor promised to nobody.
            let superseded = entry.lsn <= to && entry.key().is_none_or(|key| later.contains(&key));
            // Nothing that it hides is left here.
            let hides_nothing = entry.lsn <= to && matches!(entry.op, Op::Delete { .. });
            if superseded || hides_nothing {
                self.dropped.push(*entry)
            } else {
                kept.push(*entry)
            }
            later.extend(entry.key().filter(|_| entry.lsn <= to));
        }
        kept.reverse();
        self.log = kept;
        self.cleaned = to;
        self.horizon = self.horizon.max(to);
        self.generation += 1;
    }

    /// Whole entries from an LSN on, if the log has them all.
    pub fn read(&self, from: u64, most: usize) -> Option<Vec<Entry>> {
        if from <= self.cleaned {
            return None;
        }
        let at = self.log.partition_point(|entry| entry.lsn < from);
        Some(self.log[at..].iter().take((most / ENTRY).max(1)).copied().collect())
    }

    /// The log above an LSN as files of 8 entries, the last of them not sealed, and, if it is not all of the log, what lives up to there.
    pub fn snapshot(&self, id: SnapshotId, above: u64) -> (Listing, Vec<Vec<u8>>) {
        let (mut files, mut contents) = (Vec::new(), Vec::new());
        if above > 0 {
            let live = self.live(above).encode();
            files.push(File { name: LIVE.to_owned(), bytes: live.len() as u64, sealed: false, from: 0 });
            contents.push(live);
        }
        let sent = &self.log[self.log.partition_point(|entry| entry.lsn <= above)..];
        for chunk in sent.chunk_by(|one, other| one.lsn / 8 == other.lsn / 8) {
            let mut bytes = Vec::new();
            chunk.iter().for_each(|entry| entry.encode(&mut bytes));
            let first = chunk[0].lsn / 8 * 8;
            // As a real segment: what is sealed was synced before, and another log's files have other names.
            let sealed = first > above && first + 8 <= self.flushed.min(self.last);
            let generation = self.logs * 1000 + if first <= self.cleaned { u64::from(self.generation) } else { 0 };
            files.push(File { name: format!("{first:020}-{generation:08}.seg"), bytes: bytes.len() as u64, sealed, from: 0 });
            contents.push(bytes);
        }
        let mut manifest = Vec::new();
        manifest.extend(self.history.to_le_bytes());
        manifest.extend(self.cleaned.to_le_bytes());
        manifest.extend(u64::from(self.generation).to_le_bytes());
        manifest.extend(self.horizon.to_le_bytes());
        for epoch in self.lineage().epochs {
            manifest.extend(epoch.number.0.to_le_bytes());
            manifest.extend(epoch.writer.0.to_le_bytes());
            manifest.extend(epoch.first.0.to_le_bytes());
        }
        (Listing { id, lsn: Lsn(self.last), manifest, files, above: Lsn(above) }, contents)
    }

    /// What lives up to an LSN.
    fn live(&self, prefix: u64) -> OpSet {
        let (mut live, mut later) = (OpSet::default(), BTreeSet::new());
        for entry in self.log.iter().rev() {
            let is_newest = entry.key().is_some_and(|key| later.insert(key));
            if is_newest && entry.lsn <= prefix && matches!(entry.op, Op::Put { .. }) {
                live.insert(Lsn(entry.lsn), 0);
            }
        }
        live
    }

    /// Those of some entries that are there.
    pub fn records(&self, id: SnapshotId, above: Lsn, ops: &OpSet) -> (Listing, Vec<Vec<u8>>) {
        let mut bytes = Vec::new();
        self.log.iter().filter(|entry| ops.contains(Lsn(entry.lsn), 0)).for_each(|entry| entry.encode(&mut bytes));
        let files = vec![File { name: RECORDS.to_owned(), bytes: bytes.len() as u64, sealed: false, from: 0 }];
        (Listing { id, lsn: Lsn(0), manifest: Vec::new(), files, above }, vec![bytes])
    }

    /// Takes up a listing of what was lacking beside what is staged; false if it is another.
    pub fn stage_records(&mut self, listing: &Listing) -> bool {
        let is_records = listing.files.len() == 1 && listing.files[0].name == RECORDS;
        if let Some(staging) = self.staging.as_mut().filter(|_| is_records) {
            staging.files.insert(RECORDS.to_owned(), (Vec::new(), false, listing.files[0].bytes));
            staging.is_lacking = true;
        }
        is_records
    }

    /// How much of each file of a listing is there already.
    pub fn stage(&mut self, source: u64, listing: &Listing) -> Vec<u64> {
        let known = self.staging.take().filter(|staging| staging.source == source).map(|staging| staging.files).unwrap_or_default();
        let mut files = BTreeMap::new();
        let mut there = Vec::new();
        for file in &listing.files {
            let same = known.get(&file.name).filter(|(_, sealed, bytes)| *sealed && file.sealed && *bytes == file.bytes);
            let kept = same.map(|(content, ..)| content.clone()).unwrap_or_default();
            there.push(kept.len() as u64);
            files.insert(file.name.clone(), (kept, file.sealed, file.bytes));
        }
        self.staging = Some(Staging { source, listing: listing.clone(), files, is_lacking: false });
        there
    }

    pub fn write_piece(&mut self, file: u32, offset: u64, raw: &[u8]) {
        let staging = self.staging.as_mut().expect("staging");
        let name = if staging.is_lacking { RECORDS } else { &staging.listing.files[file as usize].name };
        let (content, ..) = staging.files.get_mut(name).expect("a file of the listing");
        assert_eq!(content.len() as u64, offset, "in order");
        content.extend(raw);
    }

    /// Goes back to an LSN; false if what was there is not whole any more, as it was cleaned since that was decided.
    pub fn cut(&mut self, to: u64) -> bool {
        if to < self.cleaned.max(self.horizon) {
            return false;
        }
        self.log.retain(|entry| entry.lsn <= to);
        self.epochs.retain(|epoch| epoch.first.0 <= to);
        (self.last, self.flushed) = (to, to);
        self.logs += 1;
        true
    }

    /// What lives up to where a staged difference begins, and is neither here nor staged.
    pub fn lacking(&self) -> Option<OpSet> {
        let staging = self.staging.as_ref().filter(|staging| !staging.is_lacking && staging.listing.above > Lsn(0))?;
        let mut lacking = staging.live();
        self.log.iter().for_each(|entry| lacking.remove(Lsn(entry.lsn), 0));
        Some(lacking).filter(|lacking| !lacking.is_empty())
    }

    /// Puts the staged log in place of this one. `drops`: what of this one does not live goes.
    pub fn install(&mut self, drops: bool) {
        let staging = self.staging.take().expect("staging");
        let mut log = Vec::new();
        let above = staging.listing.above.0;
        if above > 0 {
            let live = staging.live();
            let prefix = self.log.iter().filter(|entry| entry.lsn <= above);
            let (kept, gone): (Vec<&Entry>, Vec<&Entry>) = prefix.partition(|entry| !drops || live.contains(Lsn(entry.lsn), 0));
            self.dropped.extend(gone);
            log.extend(kept);
            log.extend(staging.files.get(RECORDS).into_iter().flat_map(|(content, ..)| Entry::decode_all(content)));
            log.sort_by_key(|entry| entry.lsn);
        }
        for file in staging.listing.files.iter().filter(|file| file.name != LIVE) {
            let (content, _, bytes) = &staging.files[&file.name];
            assert_eq!(content.len() as u64, *bytes, "a file is whole");
            log.extend(Entry::decode_all(content));
        }
        let manifest = &staging.listing.manifest;
        let number = |at: usize| u64::from_le_bytes(manifest[at..at + 8].try_into().unwrap());
        self.history = u128::from_le_bytes(manifest[..16].try_into().unwrap());
        self.cleaned = number(16).max(above);
        let told_for = if above > 0 { staging.listing.lsn.0.max(self.horizon) } else { 0 };
        self.horizon = number(32).max(told_for);
        // Names are given once on each node.
        self.generation = self.generation.max(number(24) as u32) + 1;
        let epoch = |bytes: &[u8]| Epoch {
            number: EpochNumber(u32::from_le_bytes(bytes[..4].try_into().unwrap())),
            writer: WriterId(u64::from_le_bytes(bytes[4..12].try_into().unwrap())),
            first: Lsn(u64::from_le_bytes(bytes[12..20].try_into().unwrap())),
        };
        self.epochs = manifest[40..].chunks(20).map(epoch).collect();
        (self.log, self.last, self.flushed) = (log, staging.listing.lsn.0, staging.listing.lsn.0);
        self.logs += 1;
    }
}

pub fn fold<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeMap<u8, u64> {
    let mut map = BTreeMap::new();
    for entry in entries {
        match entry.op {
            Op::Start => {}
            Op::Put { key, value } => drop(map.insert(key, value)),
            Op::Delete { key, .. } => drop(map.remove(&key)),
        }
    }
    map
}
