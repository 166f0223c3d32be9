//! What goes wrong.

use rand::Rng;

use super::{Boot, MILLI, Micros, Node, World};

impl<N: Node> World<N> {
    /// Whether a node runs and answers a command.
    pub fn answers(&self, node: usize) -> bool {
        self.core.machines[node].up && self.core.machines[node].paused_until <= self.core.now
    }

    /// Kills a node's process: its connections are closed, its disk stays as it is.
    pub fn kill(&mut self, node: usize) {
        self.stop(node, Boot::Killed);
        let ends = self.core.connections.iter().filter_map(|(id, connection)| {
            let side = connection.ends.iter().position(|end| end.node == node && end.open)?;
            Some((*id, side))
        });
        for (conn, side) in ends.collect::<Vec<_>>() {
            if let Some(connection) = self.core.connections.get_mut(&conn) {
                connection.ends[side].open = false;
            }
            self.core.close_later(conn, 1 - side);
        }
    }

    /// Takes a node's power: what was not synced is lost, also of a process that was killed before, and nobody is told.
    pub fn lose_power(&mut self, node: usize) {
        self.stop(node, Boot::PowerLoss);
        super::Disk::lose_unflushed(&mut self.core.machines[node].disk);
    }

    fn stop(&mut self, node: usize, end: Boot) {
        if !self.core.machines[node].up && end == Boot::Killed {
            return;
        }
        self.core.trace.event(self.core.now, &[20, node as u64], &[], format_args!("node {node} ends: {end:?}"));
        self.nodes[node] = None;
        let machine = &mut self.core.machines[node];
        (machine.up, machine.last_end, machine.paused_until) = (false, end, 0);
    }

    /// Starts a node that is down.
    pub fn restart(&mut self, node: usize) {
        if !self.core.machines[node].up {
            self.start(node);
        }
    }

    /// From now on nothing gets from one node to another, or all of it again.
    pub fn partition(&mut self, from: usize, to: usize, is_cut: bool) {
        self.core.trace.event(self.core.now, &[21, from as u64, to as u64], &[], format_args!("{from} -/- {to}: {is_cut}"));
        if is_cut {
            self.core.partitions.insert((from, to));
        } else {
            self.core.partitions.remove(&(from, to));
        }
    }

    /// Breaks one of the connections: a part of what is on its way is lost, and a side may not hear of it.
    pub fn break_connection(&mut self) {
        let open = |(id, connection): (&_, &super::connection::Connection)| {
            (connection.accepted && !connection.cut && connection.ends.iter().any(|end| end.open)).then_some(*id)
        };
        let open: Vec<super::ConnId> = self.core.connections.iter().filter_map(open).collect();
        if open.is_empty() {
            return;
        }
        let conn = open[self.core.rng.random_range(0..open.len())];
        let told = [self.core.rng.random_bool(0.8), self.core.rng.random_bool(0.8)];
        self.core.trace.event(self.core.now, &[22, conn.0], &[], format_args!("connection {} breaks, told: {told:?}", conn.0));
        if let Some(connection) = self.core.connections.get_mut(&conn) {
            connection.cut = true;
        }
        for side in [0, 1].into_iter().filter(|side| told[*side]) {
            self.core.close_later(conn, side);
        }
    }

    /// Stops a node for a while, as a virtual machine is: it hears everything later.
    pub fn pause(&mut self, node: usize, lasting: Micros) {
        self.core.trace.event(self.core.now, &[23, node as u64, lasting], &[], format_args!("node {node} pauses for {lasting} us"));
        self.core.machines[node].paused_until = self.core.now + lasting;
    }

    /// Moves a node's wall clock.
    pub fn jump(&mut self, node: usize, millis: i64) {
        self.core.trace.event(self.core.now, &[24, node as u64, millis as u64], &[], format_args!("clock of {node} jumps {millis} ms"));
        self.core.machines[node].skew += millis;
    }

    /// Makes a node's disk so many times slower.
    pub fn slow_disk(&mut self, node: usize, factor: u64) {
        self.core.trace.event(self.core.now, &[25, node as u64, factor], &[], format_args!("disk of {node}: {factor} times slower"));
        self.core.machines[node].sync_factor = factor;
    }

    /// Streams arrive as they were sent.
    pub fn flip_no_more(&mut self) {
        self.core.settings.flips = None;
    }

    /// Everything works again, and every node runs.
    pub fn heal(&mut self) {
        self.core.partitions.clear();
        for node in 0..self.len() {
            self.core.machines[node].paused_until = 0;
            self.core.machines[node].sync_factor = 1;
            self.restart(node);
        }
    }

    /// One of the faults that no promise excludes: not the end of a node.
    pub fn disturb(&mut self) {
        let (node, other) = (self.core.rng.random_range(0..self.len()), self.core.rng.random_range(0..self.len()));
        match self.core.rng.random_range(0..6) {
            0 => self.break_connection(),
            1 => {
                let lasting = self.core.rng.random_range(1..3000) * MILLI;
                self.pause(node, lasting);
            }
            2 => {
                let millis = self.core.rng.random_range(-3_600_000..3_600_000);
                self.jump(node, millis);
            }
            3 => {
                let factor = [1, 10, 100][self.core.rng.random_range(0..3)];
                self.slow_disk(node, factor);
            }
            4 if node != other => {
                self.partition(node, other, true);
                if self.core.rng.random_bool(0.7) {
                    self.partition(other, node, true);
                }
            }
            _ => {
                let healed: Vec<(usize, usize)> = self.core.partitions.iter().copied().collect();
                for (from, to) in healed {
                    if self.core.rng.random_bool(0.5) {
                        self.partition(from, to, false);
                    }
                }
            }
        }
    }
}
