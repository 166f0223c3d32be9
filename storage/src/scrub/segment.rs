//! Checking a sealed segment: header, every frame, footer, and the digest over all of them.

use xxhash_rust::xxh3::Xxh3Default;

use super::piece::{PIECE, Pieces, Stopped};
use crate::codec::frame::{FRAME_START, FrameStart};
use crate::error::StorageError;
use crate::log::Segment;
use crate::segment::footer::FOOTER_OFFSET_LEN;
use crate::segment::{FooterView, SEGMENT_HEADER, SegmentHeader, SegmentReader};
use crate::types::{EpochNumber, Lsn};

/// Reads all of it. The frames tell where damage is, the digest that there is none between them.
pub(super) fn check(segment: &Segment, pieces: &mut Pieces<'_>) -> Result<(), Stopped> {
    let base = segment.base_lsn().unwrap_or_default();
    let len = pieces.file.len().map_err(StorageError::io("measure", pieces.file.path()))?;
    if len < (SEGMENT_HEADER + FOOTER_OFFSET_LEN) as u64 {
        return Err(pieces.corrupt(len, base, "cut off"));
    }
    let epoch = check_header(segment, base, pieces)?;
    let mut word = [0; FOOTER_OFFSET_LEN];
    pieces.read(len - FOOTER_OFFSET_LEN as u64, &mut word)?;
    let footer_at = u64::from_le_bytes(word);
    if !(SEGMENT_HEADER as u64..len - FOOTER_OFFSET_LEN as u64).contains(&footer_at) {
        return Err(pieces.corrupt(len - FOOTER_OFFSET_LEN as u64, base, format!("a footer at {footer_at} cannot be")));
    }
    let (digest, last) = check_frames(segment, base, epoch, footer_at, pieces)?;
    let mut bytes = vec![0; (len - footer_at) as usize];
    pieces.read(footer_at, &mut bytes)?;
    let footer = FooterView::parse(&bytes, footer_at, segment.seed())
        .map_err(|error| pieces.corrupt(footer_at, last, format!("footer: {error}")))?;
    if footer.digest() != digest {
        return Err(pieces.corrupt(SEGMENT_HEADER as u64, base, "the bytes do not have the digest that the footer states"));
    }
    Ok(())
}

fn check_header(segment: &Segment, base: Lsn, pieces: &mut Pieces<'_>) -> Result<EpochNumber, Stopped> {
    let mut bytes = [0; SEGMENT_HEADER];
    pieces.read(0, &mut bytes)?;
    let header = SegmentHeader::decode(&bytes).map_err(|error| pieces.corrupt(0, base, format!("segment header: {error}")))?;
    if header.base_lsn != base || header.generation != segment.generation() || header.segment_id != segment.id() {
        return Err(pieces.corrupt(0, base, "the header is that of another segment"));
    }
    Ok(header.epoch)
}

/// Checks what lies between header and footer; its digest, and the LSN behind the last entry.
fn check_frames(segment: &Segment, base: Lsn, epoch: EpochNumber, end: u64, pieces: &mut Pieces<'_>) -> Result<(u128, Lsn), Stopped> {
    let mut hasher = Xxh3Default::new();
    let (mut at, mut last, mut epoch) = (SEGMENT_HEADER as u64, Lsn(base.0.saturating_sub(1)), epoch);
    // What was read and is not checked yet begins at `at`.
    let mut bytes: Vec<u8> = Vec::with_capacity(PIECE);
    while at < end {
        let wanted = match FrameStart::parse(&bytes) {
            Ok(start) => (start.len as usize).max(bytes.len() + 1),
            Err(_) => bytes.len() + FRAME_START,
        };
        let had = bytes.len();
        let len = wanted.max(PIECE).min((end - at) as usize);
        bytes.resize(len.max(had), 0);
        if len <= had {
            let error = FrameStart::parse(&bytes).err().map_or_else(|| "cut off".to_owned(), |error| error.to_string());
            return Err(pieces.corrupt(at, last.next(), error));
        }
        pieces.read(at + had as u64, &mut bytes[had..])?;
        hasher.update(&bytes[had..]);
        let checked = {
            let mut reader = SegmentReader::resume(&bytes, segment.seed(), segment.continuity(), 0, last, epoch);
            while is_whole(&bytes[reader.offset()..]) {
                match reader.next() {
                    Some(Ok(_)) => {}
                    Some(Err(bad)) => return Err(pieces.corrupt(at + bad.offset, bad.lsn, bad.reason.to_string())),
                    None => return Err(pieces.corrupt(at + reader.offset() as u64, reader.last_lsn().next(), "zeros before the footer")),
                }
            }
            (last, epoch) = (reader.last_lsn(), reader.last_epoch());
            reader.offset()
        };
        bytes.drain(..checked);
        at += checked as u64;
    }
    Ok((hasher.digest128(), last.next()))
}

/// Whether a whole frame is at the front, or something that is none.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= FRAME_START && FrameStart::parse(bytes).map_or(true, |start| start.len as usize <= bytes.len())
}
