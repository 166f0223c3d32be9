//! The world: events in the order of their time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::connection::{ConnId, Connection};
use super::env::Env;
use super::trace::Trace;
use super::{Boot, Input, MILLI, Micros, Node, SECOND};

/// What the world is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a message takes at least.
    pub latency: Micros,
    /// How much longer it may take; once in a while ten times that.
    pub jitter: Micros,
    /// How long a sync takes at least, and at most.
    pub sync: (Micros, Micros),
    /// Bytes that a connection takes in one direction before somebody has to read.
    pub socket: usize,
    /// Of so many pieces of a stream one has a bit flipped.
    pub flips: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { latency: 200, jitter: 500, sync: (200, 3 * MILLI), socket: 4096, flips: None }
    }
}

pub(super) enum Event {
    Dialled(ConnId),
    Connected(ConnId),
    /// The next chunk of a flow, to this side.
    Data(ConnId, usize),
    Closed(ConnId, usize),
    Synced {
        node: usize,
        boot: u32,
        token: u64,
        mark: u64,
    },
    Timer {
        node: usize,
        boot: u32,
        token: u64,
    },
}

/// An event's place in time; ties in the order in which they were made.
type Place = Reverse<(Micros, u64)>;

/// Of a node, what is not its process.
pub(super) struct Machine<N: Node> {
    pub(super) disk: N::Disk,
    pub(super) boot: u32,
    pub(super) up: bool,
    pub(super) last_end: Boot,
    pub(super) paused_until: Micros,
    /// How far its wall clock is from the true time.
    pub(super) skew: i64,
    pub(super) sync_factor: u64,
    pub(super) marks: BTreeMap<u64, <N::Disk as super::Disk>::Mark>,
}

/// Everything but the processes.
pub(super) struct Core<N: Node> {
    pub(super) now: Micros,
    pub(super) rng: StdRng,
    pub(super) settings: Settings,
    pub(super) machines: Vec<Machine<N>>,
    pub(super) connections: BTreeMap<ConnId, Connection>,
    /// From, to: nothing arrives.
    pub(super) partitions: BTreeSet<(usize, usize)>,
    pub(super) outputs: Vec<(Micros, usize, N::Output)>,
    pub(super) trace: Trace,
    queue: BinaryHeap<Place>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
}

/// Nodes, and what is between them.
pub struct World<N: Node> {
    pub(super) core: Core<N>,
    pub(super) nodes: Vec<Option<N>>,
}

impl<N: Node> Core<N> {
    pub(super) fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn schedule(&mut self, at: Micros, event: Event) {
        let number = self.number();
        self.queue.push(Reverse((at, number)));
        self.events.insert(number, event);
    }

    pub(super) fn delay(&mut self) -> Micros {
        let Settings { latency, jitter, .. } = self.settings;
        let slow = if self.rng.random_bool(0.02) { 10 } else { 1 };
        latency + self.rng.random_range(0..=jitter) * slow
    }

    fn next(&mut self, until: Micros) -> Option<Event> {
        let Reverse((at, number)) = *self.queue.peek()?;
        if at > until {
            return None;
        }
        self.queue.pop();
        self.now = self.now.max(at);
        self.events.remove(&number)
    }

    /// Tells one side that the connection is gone, when all that was sent to it has arrived.
    pub(super) fn close_later(&mut self, conn: ConnId, side: usize) {
        let delay = self.delay();
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let at = connection.flows[side].last_at.max(now + delay);
        connection.flows[side].last_at = at;
        self.schedule(at, Event::Closed(conn, side));
    }
}

impl<N: Node> World<N> {
    /// Nodes that start with these disks.
    pub fn new(seed: u64, settings: Settings, disks: Vec<N::Disk>) -> Self {
        let machine = |disk| Machine {
            disk,
            boot: 0,
            up: false,
            last_end: Boot::First,
            paused_until: 0,
            skew: 0,
            sync_factor: 1,
            marks: BTreeMap::new(),
        };
        let machines: Vec<Machine<N>> = disks.into_iter().map(machine).collect();
        let nodes = machines.iter().map(|_| None).collect();
        let core = Core {
            // Not zero: nothing may depend on that.
            now: SECOND,
            rng: StdRng::seed_from_u64(seed),
            settings,
            machines,
            connections: BTreeMap::new(),
            partitions: BTreeSet::new(),
            outputs: Vec::new(),
            trace: Trace::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        let mut world = Self { core, nodes };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        world
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.core.now
    }

    /// The generator that everything random comes from.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.core.rng
    }

    /// One of the nodes.
    pub fn any_node(&mut self) -> usize {
        self.core.rng.random_range(0..self.nodes.len())
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's process, if it runs.
    pub fn node(&self, node: usize) -> Option<&N> {
        self.nodes[node].as_ref()
    }

    /// A node's disk.
    pub fn disk(&self, node: usize) -> &N::Disk {
        &self.core.machines[node].disk
    }

    /// What the nodes said since they were asked last: when, who, what.
    pub fn outputs(&mut self) -> Vec<(Micros, usize, N::Output)> {
        std::mem::take(&mut self.core.outputs)
    }

    /// Stands for all that has happened.
    pub fn trace_hash(&self) -> u64 {
        self.core.trace.hash()
    }

    /// Asks a node for something, at once; false if it is not up.
    pub fn command(&mut self, node: usize, command: N::Command) -> bool {
        let answers = self.answers(node);
        if answers {
            self.handle(node, Input::Command(command), "command");
        }
        answers
    }

    /// Lets time pass.
    pub fn run_until(&mut self, until: Micros) {
        while let Some(event) = self.core.next(until) {
            self.dispatch(event);
        }
        self.core.now = until;
    }

    pub(super) fn start(&mut self, node: usize) {
        let machine = &mut self.core.machines[node];
        machine.up = true;
        machine.boot += 1;
        machine.marks.clear();
        let boot = machine.last_end;
        self.core.trace.event(self.core.now, &[1, node as u64], &[], format_args!("node {node} starts: {boot:?}"));
        let started = N::start(boot, &mut Env::new(&mut self.core, node));
        self.nodes[node] = Some(started);
    }

    fn handle(&mut self, node: usize, input: Input<N::Command>, what: &str) {
        let (numbers, bytes): ([u64; 2], &[u8]) = match &input {
            Input::Connected(conn) => ([2, conn.0], &[]),
            Input::Accepted(conn) => ([3, conn.0], &[]),
            Input::Received(conn, bytes) => ([4, conn.0], bytes),
            Input::Room(conn) => ([5, conn.0], &[]),
            Input::Closed(conn) => ([6, conn.0], &[]),
            Input::Synced(token) => ([7, *token], &[]),
            Input::Timer(token) => ([8, *token], &[]),
            Input::Command(_) => ([9, 0], &[]),
        };
        let text = format_args!("node {node}: {what} {} ({} bytes)", numbers[1], bytes.len());
        self.core.trace.event(self.core.now, &[node as u64, numbers[0], numbers[1]], bytes, text);
        if let Some(process) = &mut self.nodes[node] {
            process.handle(input, &mut Env::new(&mut self.core, node));
        }
    }

    fn dispatch(&mut self, event: Event) {
        let target = self.target(&event);
        if let Some(resumes) = target.map(|node| self.core.machines[node].paused_until).filter(|until| *until > self.core.now) {
            return self.core.schedule(resumes, event);
        }
        match event {
            Event::Dialled(conn) => self.dialled(conn),
            Event::Connected(conn) => self.tell_side(conn, 0, Input::Connected(conn), "connected"),
            Event::Data(conn, side) => self.data(conn, side),
            Event::Closed(conn, side) => self.closed(conn, side),
            Event::Synced { node, boot, token, mark } if self.is_start(node, boot) => {
                let machine = &mut self.core.machines[node];
                if let Some(mark) = machine.marks.remove(&mark) {
                    super::Disk::flushed(&mut machine.disk, mark);
                    self.handle(node, Input::Synced(token), "synced");
                }
            }
            Event::Timer { node, boot, token } if self.is_start(node, boot) => self.handle(node, Input::Timer(token), "timer"),
            Event::Synced { .. } | Event::Timer { .. } => {}
        }
    }

    /// Who takes part in an event and may be paused.
    fn target(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Dialled(conn) => self.core.connections.get(conn).map(|connection| connection.ends[1].node),
            Event::Connected(conn) => self.core.connections.get(conn).map(|connection| connection.ends[0].node),
            Event::Data(conn, side) | Event::Closed(conn, side) => {
                self.core.connections.get(conn).map(|connection| connection.ends[*side].node)
            }
            Event::Synced { node, .. } | Event::Timer { node, .. } => Some(*node),
        }
    }

    fn is_start(&self, node: usize, boot: u32) -> bool {
        self.core.machines[node].up && self.core.machines[node].boot == boot
    }

    fn is_partitioned(&self, conn: ConnId, to: usize) -> bool {
        let Some(connection) = self.core.connections.get(&conn) else { return false };
        self.core.partitions.contains(&(connection.ends[1 - to].node, connection.ends[to].node))
    }

    fn dialled(&mut self, conn: ConnId) {
        if self.is_partitioned(conn, 1) || self.is_partitioned(conn, 0) {
            // Nobody answers.
            let at = self.core.now + SECOND;
            return self.core.schedule(at, Event::Closed(conn, 0));
        }
        let delay = self.core.delay();
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        let acceptor = &self.core.machines[connection.ends[1].node];
        if !acceptor.up || connection.cut {
            return self.core.close_later(conn, 0);
        }
        (connection.accepted, connection.ends[1].boot, connection.ends[1].open) = (true, acceptor.boot, true);
        let at = self.core.now + delay;
        connection.flows[0].last_at = connection.flows[0].last_at.max(at);
        self.core.schedule(at, Event::Connected(conn));
        self.tell_side(conn, 1, Input::Accepted(conn), "accepted");
    }

    fn tell_side(&mut self, conn: ConnId, side: usize, input: Input<N::Command>, what: &str) {
        let Some(end) = self.core.connections.get(&conn).map(|connection| connection.ends[side]) else { return };
        // What a node that is paused could send it sees when it goes on.
        let paused = self.core.machines[end.node].paused_until > self.core.now;
        if end.open && self.is_start(end.node, end.boot) && !paused {
            self.handle(end.node, input, what);
        }
    }

    fn data(&mut self, conn: ConnId, side: usize) {
        if self.is_partitioned(conn, side) {
            // Sent again until it gets through.
            let at = self.core.now + 50 * MILLI;
            return self.core.schedule(at, Event::Data(conn, side));
        }
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        let end = connection.ends[side];
        let machine = &self.core.machines[end.node];
        if connection.cut || !machine.up {
            return;
        }
        if !end.open || machine.boot != end.boot {
            // Nobody knows this connection there.
            connection.flows[side].chunks.clear();
            return self.core.close_later(conn, 1 - side);
        }
        let Some(mut bytes) = connection.flows[side].chunks.pop_front() else { return };
        // What arrives is cut otherwise than it was sent.
        if bytes.len() > 1 && self.core.rng.random_bool(0.2) {
            let rest = bytes.split_off(self.core.rng.random_range(1..bytes.len()));
            connection.flows[side].chunks.push_front(rest);
            let at = self.core.now + self.core.rng.random_range(0..100);
            self.core.schedule(at, Event::Data(conn, side));
        }
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        connection.flows[side].queued -= bytes.len();
        if let Some(pieces) = self.core.settings.flips
            && self.core.rng.random_ratio(1, pieces)
        {
            let bit = self.core.rng.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.tell_side(conn, side, Input::Received(conn, bytes), "received");
        self.tell_side(conn, 1 - side, Input::Room(conn), "room");
    }

    fn closed(&mut self, conn: ConnId, side: usize) {
        let Some(connection) = self.core.connections.get_mut(&conn) else { return };
        // A side that did not hear of the connection's end hears of it after all that was sent to it.
        if !connection.cut && !connection.flows[side].chunks.is_empty() && connection.ends[side].open {
            let at = self.core.now + 50 * MILLI;
            return self.core.schedule(at, Event::Closed(conn, side));
        }
        if !connection.cut && connection.accepted && self.is_partitioned(conn, side) {
            let at = self.core.now + 50 * MILLI;
            return self.core.schedule(at, Event::Closed(conn, side));
        }
        self.tell_side(conn, side, Input::Closed(conn), "closed");
        if let Some(connection) = self.core.connections.get_mut(&conn) {
            connection.ends[side].open = false;
        }
    }
}
