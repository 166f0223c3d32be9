//! The manifest's bytes: tagged sections between a magic and a CRC.

use super::{
    Checkpoint, CleanStop, Cleaned, Epoch, HistoryStart, Identity, KeptSection, Manifest, SegmentEntry, SegmentState, Tables, ValueSegments,
};
use crate::codec::checksum::crc;
use crate::codec::{DecodeError, Input};
use crate::segment::SegmentKind;
use crate::types::{
    DATABASES, EpochNumber, Generation, HistoryId, Incarnation, Location, Lsn, NodeId, SegmentId, ShardId, TableId, WriterId,
};

const MAGIC: [u8; 8] = *b"ESKERMAN";
/// The version that this program writes.
pub(super) const VERSION: u16 = 1;
const HEAD: usize = 8 + 2 + 2 + 4;
/// More than any manifest takes: 2^18 segments of 42 bytes are 11 MiB.
pub(super) const MAX_LEN: u64 = 256 << 20;

const IDENTITY: u16 = 1;
const HISTORIES: u16 = 2;
const EPOCHS: u16 = 3;
const SEGMENTS: u16 = 4;
const CHECKPOINT: u16 = 5;
const CLEAN_STOP: u16 = 6;
const VALUE_SEGMENTS: u16 = 7;
const TABLES: u16 = 8;
const CLEANED: u16 = 9;
/// Sections with this bit may be ignored by those who do not know them.
const OPTIONAL: u16 = 1 << 15;

const ACTIVE: u8 = 1;
const SEALED: u8 = 2;
const RETIRED: u8 = 3;

/// An error and the offset in the file where it showed.
type Located = (usize, DecodeError);

impl Manifest {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2 + 4]);
        debug_assert_eq!(bytes.len(), HEAD);
        self.put_sections(&mut bytes);
        let body_len = u32::try_from(bytes.len() - HEAD).expect("a manifest is far below 4 GiB");
        bytes[HEAD - 4..HEAD].copy_from_slice(&body_len.to_le_bytes());
        let crc = crc(0, &bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    fn put_sections(&self, bytes: &mut Vec<u8>) {
        section(bytes, IDENTITY, |to| self.identity.put(to));
        section(bytes, HISTORIES, |to| self.histories.iter().for_each(|start| start.put(to)));
        section(bytes, EPOCHS, |to| self.epochs.iter().for_each(|epoch| epoch.put(to)));
        section(bytes, SEGMENTS, |to| self.segments.iter().for_each(|segment| segment.put(to)));
        if self.cleaned != Cleaned::default() {
            section(bytes, CLEANED, |to| put_all(to, [self.cleaned.reached.0, self.cleaned.horizon.0]));
        }
        if let Some(checkpoint) = self.checkpoint {
            section(bytes, CHECKPOINT, |to| put_all(to, [checkpoint.lsn.0, checkpoint.replay_from.0]));
        }
        if let Some(stop) = self.clean_stop {
            section(bytes, CLEAN_STOP, |to| put_all(to, [stop.incarnation.0, stop.flushed.0]));
        }
        section(bytes, VALUE_SEGMENTS, |to| {
            to.extend(self.value_segments.lsn.0.to_le_bytes());
            self.value_segments.ids.iter().for_each(|id| to.extend(id.to_le_bytes()));
        });
        section(bytes, TABLES, |to| self.tables.put(to));
        for kept in &self.kept {
            section(bytes, kept.tag, |to| to.extend(&kept.bytes));
        }
    }

    /// Checks and decodes the bytes of the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Located> {
        let body = check(bytes).map_err(|error| (0, error))?;
        let mut sections = Sections::default();
        let mut input = Input::new(body);
        while !input.is_empty() {
            let offset = HEAD + body.len() - input.rest().len();
            sections.take(&mut input).map_err(|error| (offset, error))?;
        }
        let manifest = sections.finish().map_err(|error| (HEAD, error))?;
        manifest.validate().map_err(|error| (HEAD, error))?;
        Ok(manifest)
    }

    /// The invariants that the head of the module states.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let rising = self.histories.is_sorted_by_key(|start| start.first)
            && self.epochs.is_sorted_by_key(|epoch| (epoch.number, epoch.first))
            && self.epochs.is_sorted_by_key(|epoch| epoch.first);
        if self.histories.is_empty() || !rising {
            return Err(DecodeError::Field("histories and epochs"));
        }
        let mut ids: Vec<_> = self.segments.iter().map(|segment| segment.id).collect();
        let mut generations: Vec<_> = self.segments.iter().map(|segment| segment.generation).chain(self.identity.spare).collect();
        ids.sort_unstable();
        generations.sort_unstable();
        let unique = ids.array_windows().all(|[a, b]| a < b) && generations.array_windows().all(|[a, b]| a < b);
        let below = ids.last().is_none_or(|last| last.0 < 1 << Location::SEGMENT_BITS)
            && generations.last().is_none_or(|last| *last < self.identity.next_generation);
        if !unique || !below {
            return Err(DecodeError::Field("segment ids and generations"));
        }
        if self.segments.iter().any(|segment| segment.kind == SegmentKind::Value) {
            return Err(DecodeError::Field("segment kind"));
        }
        Ok(())
    }
}

/// Everything around the body.
fn check(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut input = Input::new(bytes);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(DecodeError::Magic);
    }
    let version = input.u16()?;
    if version > VERSION {
        return Err(DecodeError::FutureVersion(version));
    }
    let (head, checksum) = bytes.split_last_chunk::<4>().ok_or(DecodeError::CutOff)?;
    if crc(0, head) != u32::from_le_bytes(*checksum) {
        return Err(DecodeError::Checksum);
    }
    if version == 0 || input.u16()? != 0 {
        return Err(DecodeError::Field("version"));
    }
    let len = input.u32()? as usize;
    let body = head.get(HEAD..).ok_or(DecodeError::CutOff)?;
    if body.len() == len { Ok(body) } else { Err(DecodeError::Length) }
}

fn section(bytes: &mut Vec<u8>, tag: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    bytes.extend(tag.to_le_bytes());
    let start = bytes.len() + 4;
    bytes.extend([0; 4]);
    fill(bytes);
    let len = u32::try_from(bytes.len() - start).expect("a section is far below 4 GiB");
    bytes[start - 4..start].copy_from_slice(&len.to_le_bytes());
}

fn put_all<const N: usize>(to: &mut Vec<u8>, numbers: [u64; N]) {
    numbers.into_iter().for_each(|number| to.extend(number.to_le_bytes()));
}

fn list<T>(mut input: Input<'_>, item: impl Fn(&mut Input<'_>) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut items = Vec::new();
    while !input.is_empty() {
        items.push(item(&mut input)?);
    }
    Ok(items)
}

fn whole<T>(mut input: Input<'_>, item: impl Fn(&mut Input<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let found = item(&mut input)?;
    if input.is_empty() { Ok(found) } else { Err(DecodeError::Length) }
}

/// The sections as they are found; each may come once.
#[derive(Default)]
struct Sections {
    identity: Option<Identity>,
    histories: Option<Vec<HistoryStart>>,
    epochs: Option<Vec<Epoch>>,
    segments: Option<Vec<SegmentEntry>>,
    cleaned: Option<Cleaned>,
    checkpoint: Option<Checkpoint>,
    clean_stop: Option<CleanStop>,
    value_segments: Option<ValueSegments>,
    tables: Option<Tables>,
    kept: Vec<KeptSection>,
}

impl Sections {
    fn take(&mut self, input: &mut Input<'_>) -> Result<(), DecodeError> {
        let (tag, len) = (input.u16()?, input.u32()?);
        let bytes = input.take(len as usize)?;
        let input = Input::new(bytes);
        match tag {
            IDENTITY => once(&mut self.identity, whole(input, Identity::take)?),
            HISTORIES => once(&mut self.histories, list(input, HistoryStart::take)?),
            EPOCHS => once(&mut self.epochs, list(input, Epoch::take)?),
            SEGMENTS => once(&mut self.segments, list(input, SegmentEntry::take)?),
            CLEANED => once(&mut self.cleaned, whole(input, Cleaned::take)?),
            CHECKPOINT => once(&mut self.checkpoint, whole(input, Checkpoint::take)?),
            CLEAN_STOP => once(&mut self.clean_stop, whole(input, CleanStop::take)?),
            VALUE_SEGMENTS => once(&mut self.value_segments, whole(input, ValueSegments::take)?),
            TABLES => once(&mut self.tables, whole(input, Tables::take)?),
            tag if tag & OPTIONAL != 0 => {
                self.kept.push(KeptSection { tag, bytes: bytes.to_vec() });
                Ok(())
            }
            tag => Err(DecodeError::Section(tag)),
        }
    }

    fn finish(self) -> Result<Manifest, DecodeError> {
        Ok(Manifest {
            identity: self.identity.ok_or(DecodeError::Field("identity"))?,
            histories: self.histories.ok_or(DecodeError::Field("histories"))?,
            epochs: self.epochs.ok_or(DecodeError::Field("epochs"))?,
            segments: self.segments.ok_or(DecodeError::Field("segments"))?,
            cleaned: self.cleaned.unwrap_or_default(),
            checkpoint: self.checkpoint,
            clean_stop: self.clean_stop,
            value_segments: self.value_segments.unwrap_or_default(),
            tables: self.tables.ok_or(DecodeError::Field("tables"))?,
            kept: self.kept,
        })
    }
}

fn once<T>(place: &mut Option<T>, found: T) -> Result<(), DecodeError> {
    match place.replace(found) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Field("a section that comes twice")),
    }
}

impl Identity {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.shard.0.to_le_bytes());
        put_all(to, [self.node.0, self.key_hash_seed]);
        let spare = self.spare.unwrap_or_default();
        for number in [self.next_generation.0, self.next_segment.0, spare.0] {
            to.extend(number.to_le_bytes());
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            shard: ShardId(input.u32()?),
            node: NodeId(input.u64()?),
            key_hash_seed: input.u64()?,
            next_generation: Generation(input.u32()?),
            next_segment: SegmentId(input.u32()?),
            spare: Some(Generation(input.u32()?)).filter(|spare| spare.0 != 0),
        })
    }
}

impl HistoryStart {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.history.0.to_le_bytes());
        put_all(to, [self.first.0]);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { history: HistoryId(input.u128()?), first: Lsn(input.u64()?) })
    }
}

impl Epoch {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.number.0.to_le_bytes());
        put_all(to, [self.writer.0, self.first.0]);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { number: EpochNumber(input.u32()?), writer: WriterId(input.u64()?), first: Lsn(input.u64()?) })
    }
}

impl SegmentEntry {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.id.0.to_le_bytes());
        to.extend(self.generation.0.to_le_bytes());
        to.push(self.kind.to_byte());
        match self.state {
            SegmentState::Active => {
                to.push(ACTIVE);
                put_all(to, [self.base.0]);
            }
            SegmentState::Sealed { last, bytes } => {
                to.push(SEALED);
                put_all(to, [self.base.0, last.0, bytes]);
            }
            SegmentState::Retired { last, bytes } => {
                to.push(RETIRED);
                put_all(to, [self.base.0, last.0, bytes]);
            }
        }
        put_all(to, [self.stamp]);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let (id, generation) = (SegmentId(input.u32()?), Generation(input.u32()?));
        let kind = SegmentKind::from_byte(input.u8()?)?;
        let state = input.u8()?;
        let base = Lsn(input.u64()?);
        let state = match state {
            ACTIVE => SegmentState::Active,
            SEALED => SegmentState::Sealed { last: Lsn(input.u64()?), bytes: input.u64()? },
            RETIRED => SegmentState::Retired { last: Lsn(input.u64()?), bytes: input.u64()? },
            _ => return Err(DecodeError::Field("segment state")),
        };
        Ok(Self { id, generation, kind, state, base, stamp: input.u64()? })
    }
}

impl Checkpoint {
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { lsn: Lsn(input.u64()?), replay_from: Lsn(input.u64()?) })
    }
}

impl Cleaned {
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { reached: Lsn(input.u64()?), horizon: Lsn(input.u64()?) })
    }
}

impl CleanStop {
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { incarnation: Incarnation(input.u64()?), flushed: Lsn(input.u64()?) })
    }
}

impl ValueSegments {
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut found = Self { lsn: Lsn(input.u64()?), ids: Vec::new() };
        while !input.is_empty() {
            found.ids.push(input.u128()?);
        }
        Ok(found)
    }
}

impl Tables {
    fn put(&self, to: &mut Vec<u8>) {
        put_all(to, [self.lsn.0]);
        to.extend(self.next.0.to_le_bytes());
        self.databases.iter().for_each(|table| to.extend(table.0.to_le_bytes()));
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let (lsn, next) = (Lsn(input.u64()?), TableId(input.u32()?));
        let mut databases = [TableId(0); DATABASES as usize];
        for table in &mut databases {
            *table = TableId(input.u32()?);
        }
        Ok(Self { lsn, next, databases })
    }
}
