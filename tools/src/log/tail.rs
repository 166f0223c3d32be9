//! `tail`: the last ops, and those that come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

use esker_storage::codec::DecodeError;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::frame::{FRAME_START, FrameKind, FrameStart};
use esker_storage::error::StorageError;
use esker_storage::segment::SegmentKind;
use esker_storage::types::Lsn;

use super::args::{Format, Selection, Tail};
use super::directory::{DataDirectory, Listing, Segment, SegmentFile};
use super::scan::{Position, read_segment, visit_entry};
use super::{LogError, Outcome, filter, output};
use esker_storage::history::Tables;

/// How often we look for more.
const EVERY: Duration = Duration::from_millis(100);
/// How often an entry may look unfinished before it is called damaged.
const PATIENCE: u32 = 100;

pub(super) fn run(directory: &DataDirectory, options: &Tail, out: &mut dyn Write) -> Result<Outcome, LogError> {
    run_with(directory, options, out, &mut || {
        sleep(EVERY);
        true
    })
}

/// The same with what is done when there is nothing to read; it says whether to go on.
pub(super) fn run_with(
    directory: &DataDirectory,
    options: &Tail,
    out: &mut dyn Write,
    wait: &mut dyn FnMut() -> bool,
) -> Result<Outcome, LogError> {
    let listing = directory.listing()?;
    let mut printer = Printer { tables: Tables::of(&listing.manifest), selection: &options.selection, format: options.format, out };
    let end = last_ops(directory, &listing, options.lines, &mut printer)?;
    printer.out.flush()?;
    if options.follow
        && let Some((segment, position)) = end
    {
        Follower { directory, file: segment.file, seed: segment.header.seed(), position }.follow(&mut printer, wait)?;
    }
    Ok(Outcome::Sound)
}

/// Turns entries into lines.
struct Printer<'o> {
    tables: Tables,
    selection: &'o Selection,
    format: Format,
    out: &'o mut dyn Write,
}

impl Printer<'_> {
    /// The lines of the ops that are selected.
    fn lines(&mut self, file: &SegmentFile, offset: u32, entry: &EntryView<'_>) -> Result<Vec<Vec<u8>>, LogError> {
        let mut lines = Vec::new();
        let _flow = visit_entry(file, offset, entry, &mut self.tables, Lsn(0), &mut |record| {
            if filter::selects(self.selection, record) {
                let mut line = Vec::new();
                output::write(record, self.format, &mut line)?;
                lines.push(line);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(lines)
    }
}

/// Prints the last `count` selected ops; where the log ends.
fn last_ops(
    directory: &DataDirectory,
    listing: &Listing,
    count: usize,
    printer: &mut Printer<'_>,
) -> Result<Option<(Segment, Position)>, LogError> {
    let mut last = VecDeque::new();
    let mut end = None;
    for file in listing.log() {
        let mut segment = directory.load(file)?;
        let start = segment.start();
        let read = read_segment(&mut segment, start, &mut |file, offset, frame| {
            if let esker_storage::segment::Frame::Entry(entry) = frame {
                last.extend(printer.lines(file, offset, entry)?);
                last.drain(..last.len().saturating_sub(count));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        end = Some((segment, read.position));
    }
    for line in last {
        printer.out.write_all(&line)?;
    }
    Ok(end)
}

/// Reads on where the log ended.
struct Follower<'d> {
    directory: &'d DataDirectory,
    file: SegmentFile,
    seed: esker_storage::codec::checksum::ShardSeed,
    position: Position,
}

/// What there is after the last frame read.
enum Next {
    Nothing,
    Frame(FrameKind, Vec<u8>),
}

impl Follower<'_> {
    fn follow(&mut self, printer: &mut Printer<'_>, wait: &mut dyn FnMut() -> bool) -> Result<(), LogError> {
        let mut open = self.open()?;
        let mut failures = 0;
        loop {
            match self.next(&open)? {
                Next::Nothing => {
                    printer.out.flush()?;
                    if !wait() {
                        return Ok(());
                    }
                    // A segment cut to its written end at a stop, or sealed, is followed by another.
                    if let Some(file) = self.successor()? {
                        self.go_to(file)?;
                        open = self.open()?;
                    }
                }
                Next::Frame(FrameKind::Entry, bytes) => {
                    // Half written is half checked: it is read again.
                    let entry = match EntryView::parse(&bytes, self.seed) {
                        Ok(entry) => entry,
                        Err(error) if failures == PATIENCE => return Err(self.damaged(&error).into()),
                        Err(_) if wait() => {
                            failures += 1;
                            continue;
                        }
                        Err(_) => return Ok(()),
                    };
                    failures = 0;
                    for line in printer.lines(&self.file, self.position.offset as u32, &entry)? {
                        printer.out.write_all(&line)?;
                    }
                    self.position =
                        Position { offset: self.position.offset + bytes.len(), lsn: entry.head().lsn, epoch: entry.head().epoch };
                }
                Next::Frame(_, bytes) => self.position.offset += bytes.len(),
            }
        }
    }

    fn open(&self) -> Result<File, LogError> {
        File::open(&self.file.path).map_err(LogError::read(&self.file.path))
    }

    fn next(&self, file: &File) -> Result<Next, LogError> {
        let offset = self.position.offset as u64;
        let mut start = [0; FRAME_START];
        if file.read_exact_at(&mut start, offset).is_err() {
            return Ok(Next::Nothing);
        }
        let Ok(start) = FrameStart::parse(&start) else { return Ok(Next::Nothing) };
        // A length that is half written must not make us reserve gigabytes.
        let len = file.metadata().map_err(LogError::read(&self.file.path))?.len();
        if offset + u64::from(start.len) > len {
            return Ok(Next::Nothing);
        }
        let mut bytes = vec![0; start.len as usize];
        Ok(match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Next::Frame(start.kind, bytes),
            Err(_) => Next::Nothing,
        })
    }

    fn damaged(&self, error: &DecodeError) -> StorageError {
        let (path, offset, lsn) = (self.file.path.clone(), self.position.offset as u64, self.position.lsn.next());
        StorageError::Corrupt { path, offset, lsn, reason: error.to_string() }
    }

    /// The segment that begins after the last entry read.
    fn successor(&self) -> Result<Option<SegmentFile>, LogError> {
        let listing = self.directory.listing()?;
        let next = self.position.lsn.next();
        let follows = |file: &SegmentFile| file.kind == SegmentKind::Log && file.base == next && file.generation != self.file.generation;
        Ok(listing.segments.into_iter().rfind(follows))
    }

    fn go_to(&mut self, file: SegmentFile) -> Result<(), LogError> {
        let segment = self.directory.load(&file)?;
        self.position = segment.start();
        self.seed = segment.header.seed();
        self.file = segment.file;
        Ok(())
    }
}
