//! Connections: two streams of bytes between two starts of nodes.

use std::collections::VecDeque;

use super::Micros;

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One side.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) node: usize,
    /// Which start of it.
    pub(super) boot: u32,
    /// It has neither closed nor been told that the other side has.
    pub(super) open: bool,
}

/// Bytes on their way to one side.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) chunks: VecDeque<Vec<u8>>,
    pub(super) queued: usize,
    /// When the last of them arrives: those sent later do not overtake.
    pub(super) last_at: Micros,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// The one that dialled, the one that accepted.
    pub(super) ends: [End; 2],
    /// To the one that dialled, to the one that accepted.
    pub(super) flows: [Flow; 2],
    pub(super) accepted: bool,
    /// Nothing arrives any more.
    pub(super) cut: bool,
}

impl Connection {
    pub(super) fn new(dialler: End, acceptor: usize) -> Self {
        let acceptor = End { node: acceptor, boot: 0, open: false };
        Self { ends: [dialler, acceptor], flows: Default::default(), accepted: false, cut: false }
    }

    /// Which side a node's start is.
    pub(super) fn side_of(&self, node: usize, boot: u32) -> Option<usize> {
        self.ends.iter().position(|end| end.node == node && end.boot == boot)
    }
}
