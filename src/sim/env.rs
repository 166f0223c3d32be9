//! What a node can do.

use std::fmt::Arguments;

use rand::Rng;
use rand::rngs::StdRng;

use super::connection::{ConnId, Connection, End};
use super::world::{Core, Event};
use super::{Disk, Micros, Node};

/// The world, as one node sees it.
pub struct Env<'a, N: Node> {
    core: &'a mut Core<N>,
    node: usize,
}

impl<'a, N: Node> Env<'a, N> {
    pub(super) fn new(core: &'a mut Core<N>, node: usize) -> Self {
        Self { core, node }
    }

    /// Which node this is.
    pub fn me(&self) -> usize {
        self.node
    }

    /// Which start of it this is.
    pub fn boot(&self) -> u32 {
        self.core.machines[self.node].boot
    }

    /// A clock that never goes back.
    pub fn now(&self) -> Micros {
        self.core.now
    }

    /// A clock that may jump, in milliseconds.
    pub fn wall(&self) -> i64 {
        (self.core.now / 1000) as i64 + self.core.machines[self.node].skew
    }

    /// Random numbers, from the seed.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.core.rng
    }

    /// What this node keeps.
    pub fn disk(&mut self) -> &mut N::Disk {
        &mut self.core.machines[self.node].disk
    }

    /// Syncs what is written now: [`Input::Synced`](super::Input::Synced) tells when that is done.
    pub fn sync(&mut self, token: u64) {
        let (least, most) = self.core.settings.sync;
        let factor = self.core.machines[self.node].sync_factor;
        let at = self.core.now + self.core.rng.random_range(least..=most) * factor;
        let mark = self.core.number();
        let machine = &mut self.core.machines[self.node];
        let written = machine.disk.mark();
        machine.marks.insert(mark, written);
        let boot = machine.boot;
        self.core.schedule(at, Event::Synced { node: self.node, boot, token, mark });
    }

    /// Asks to be told when some time has passed.
    pub fn timer(&mut self, after: Micros, token: u64) {
        let boot = self.boot();
        let at = self.core.now + after;
        self.core.schedule(at, Event::Timer { node: self.node, boot, token });
    }

    /// Dials a node.
    pub fn dial(&mut self, peer: usize) -> ConnId {
        let conn = ConnId(self.core.number());
        let end = End { node: self.node, boot: self.boot(), open: true };
        self.core.connections.insert(conn, Connection::new(end, peer));
        let at = self.core.now + self.core.delay();
        self.core.schedule(at, Event::Dialled(conn));
        conn
    }

    /// Bytes that a connection takes now.
    pub fn room(&self, conn: ConnId) -> usize {
        let Some(connection) = self.core.connections.get(&conn) else { return 0 };
        let Some(side) = connection.side_of(self.node, self.core.machines[self.node].boot) else { return 0 };
        self.core.settings.socket.saturating_sub(connection.flows[1 - side].queued)
    }

    /// Sends bytes: also more than there is room for, as a process has buffers of its own.
    pub fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let (now, delay, boot) = (self.core.now, self.core.delay(), self.boot());
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        let Some(side) = connection.side_of(self.node, boot) else { return };
        if !connection.ends[side].open || bytes.is_empty() {
            return;
        }
        let flow = &mut connection.flows[1 - side];
        flow.queued += bytes.len();
        flow.chunks.push_back(bytes);
        flow.last_at = flow.last_at.max(now + delay);
        let at = flow.last_at;
        self.core.schedule(at, Event::Data(conn, 1 - side));
    }

    /// Closes a connection; what was sent still arrives.
    pub fn close(&mut self, conn: ConnId) {
        let boot = self.boot();
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        let Some(side) = connection.side_of(self.node, boot) else { return };
        if std::mem::take(&mut connection.ends[side].open) {
            self.core.close_later(conn, 1 - side);
        }
    }

    /// Says something to the outside.
    pub fn output(&mut self, output: N::Output) {
        self.core.outputs.push((self.core.now, self.node, output));
    }

    /// Writes something down that belongs to the run.
    pub fn note(&mut self, text: Arguments<'_>) {
        let node = self.node;
        self.core.trace.event(self.core.now, &[100, node as u64], &[], format_args!("node {node}: {text}"));
    }
}
