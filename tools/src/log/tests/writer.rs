//! Writes data directories with the storage crate's own encoders.

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use esker_storage::codec::checksum::ShardSeed;
use esker_storage::codec::entry::{EntryBuilder, EntryHead, encode_single, single_len};
use esker_storage::codec::flush_mark::FlushMark;
use esker_storage::codec::op::Op;
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::manifest::{Manifest, SegmentEntry, SegmentState};
use esker_storage::segment::names::{FileName, MANIFEST};
use esker_storage::segment::{Continuity, FooterBuilder, Frame, SegmentHeader, SegmentKind, SegmentReader};
use esker_storage::types::*;
use serde_json::Value;
use tempfile::TempDir;

use super::super::{Args, LogError, Outcome, run};
use super::{TIME, put};

/// Writes a data directory, segment by segment.
pub(super) struct Writer {
    pub(super) dir: TempDir,
    pub(super) manifest: Manifest,
    pub(super) header: SegmentHeader,
    pub(super) bytes: Vec<u8>,
    pub(super) next: Lsn,
}

impl Writer {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("shard-0")).unwrap();
        let history = HistoryId(77);
        let mut manifest = Manifest::new(ShardId(0), NodeId(5), history, 99);
        manifest.identity.next_generation = Generation(1);
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            cleaned: false,
            shard: ShardId(0),
            history,
            base_lsn: Lsn(1),
            generation: Generation(0),
            segment_id: SegmentId(0),
            epoch: EpochNumber(1),
            writer: WriterId(6),
            created: UnixMillis(TIME),
            stamp: 1,
            size: 1 << 20,
            value_id: 0,
        };
        let mut writer = Self { dir, manifest, header, bytes: Vec::new(), next: Lsn(1) };
        writer.begin();
        writer
    }

    pub(super) fn seed(&self) -> ShardSeed {
        self.header.seed()
    }

    pub(super) fn begin(&mut self) {
        let generation = self.manifest.identity.next_generation;
        let id = self.manifest.identity.next_segment;
        self.header = SegmentHeader { base_lsn: self.next, generation, segment_id: id, stamp: self.next.0, ..self.header };
        self.manifest.identity.next_generation = Generation(generation.0 + 1);
        self.manifest.identity.next_segment = SegmentId(id.0 + 1);
        let (kind, base) = (SegmentKind::Log, self.next);
        self.manifest.segments.push(SegmentEntry { id, generation, kind, state: SegmentState::Active, base, stamp: base.0 });
        self.bytes = self.header.encode().to_vec();
    }

    pub(super) fn head(&mut self) -> EntryHead {
        let lsn = self.next;
        self.next = lsn.next();
        EntryHead { lsn, epoch: EpochNumber(1), time: UnixMillis(TIME + 1000 * lsn.0 as i64) }
    }

    pub(super) fn op(&mut self, op: &Op<'_>) -> Lsn {
        let (head, seed, at) = (self.head(), self.seed(), self.bytes.len());
        self.bytes.resize(at + single_len(op), 0);
        encode_single(&mut self.bytes[at..], head, seed, op);
        head.lsn
    }

    pub(super) fn ops(&mut self, ops: &[Op<'_>]) -> Lsn {
        let mut builder = EntryBuilder::default();
        for op in ops {
            builder.push(op);
        }
        let (head, seed, at) = (self.head(), self.seed(), self.bytes.len());
        self.bytes.resize(at + builder.encoded_len(), 0);
        builder.finish(head, seed, &mut self.bytes[at..]);
        head.lsn
    }

    pub(super) fn put(&mut self, key: &str, value: &str) -> Lsn {
        self.op(&put(0, key, value))
    }

    pub(super) fn mark(&mut self, flushed: Lsn) {
        let mark = FlushMark { node: NodeId(5), incarnation: Incarnation(1), flushed };
        self.bytes.extend(mark.encode(self.seed()));
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("shard-0").join(FileName::Segment(self.header.base_lsn, self.header.generation).to_string())
    }

    /// Seals the segment and begins the next.
    pub(super) fn seal(&mut self) {
        self.seal_cleaned(Lsn(0));
    }

    /// The same, as if records had been dropped that are dead since `seen`.
    pub(super) fn seal_cleaned(&mut self, seen: Lsn) {
        let mut builder = FooterBuilder::new(self.header.base_lsn, 99);
        for frame in SegmentReader::new(&self.bytes, self.seed(), Continuity::Every, self.header.base_lsn, EpochNumber(1)) {
            if let (offset, Frame::Entry(entry)) = frame.unwrap() {
                builder.add(offset, &entry);
            }
        }
        let footer = builder.finish(&self.bytes, seen);
        self.bytes.extend(footer.encode(self.seed(), self.bytes.len() as u64));
        fs::write(self.path(), &self.bytes).unwrap();
        let (last, bytes) = (Lsn(self.next.0 - 1), self.bytes.len() as u64);
        self.manifest.segments.last_mut().unwrap().state = SegmentState::Sealed { last, bytes };
        self.begin();
    }

    /// Writes the active segment, with room to grow, and the manifest.
    pub(super) fn store(&mut self) {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 5000, 0);
        fs::write(self.path(), bytes).unwrap();
        fs::write(self.dir.path().join("shard-0").join(MANIFEST), self.manifest.encode()).unwrap();
    }

    pub(super) fn value_segment(&mut self, id: u128, value: &[u8]) -> ValueRef {
        let header = SegmentHeader { kind: SegmentKind::Value, base_lsn: Lsn(0), stamp: 0, value_id: id, ..self.header };
        let seed = self.seed().value(id);
        let crcs: Vec<u8> = (0..).zip(value.chunks(64 << 10)).flat_map(|(n, block)| seed.block_crc(n, block).to_le_bytes()).collect();
        let covered = [&crcs[..], &(value.len() as u64).to_le_bytes()].concat();
        let file = [&header.encode()[..], value, &covered, &seed.crc(&covered).to_le_bytes(), b"ESKERVAL"].concat();
        fs::write(self.dir.path().join("shard-0").join(FileName::Value(id).to_string()), file).unwrap();
        ValueRef { value_id: id, len: value.len() as u64, crc: seed.crc(value) }
    }

    pub(super) fn try_run(&self, args: &[&str]) -> Result<(Outcome, String), LogError> {
        let dir = self.dir.path().to_str().unwrap();
        let args = Args::try_parse_from([&["esker-log", "--dir", dir], args].concat()).unwrap();
        let mut out = Vec::new();
        let outcome = run(&args, &mut out)?;
        Ok((outcome, String::from_utf8(out).unwrap()))
    }

    pub(super) fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap().1
    }

    pub(super) fn json(&self, args: &[&str]) -> Vec<Value> {
        self.run(&[args, &["--json"]].concat()).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
