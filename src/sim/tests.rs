//! The world itself, with nodes that count.

use rand::Rng;

use super::*;

/// Numbers that arrived, in order; those up to the mark were synced.
#[derive(Default)]
struct Numbers {
    written: Vec<u64>,
    flushed: usize,
}

impl Disk for Numbers {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.written.len()
    }

    fn flushed(&mut self, mark: usize) {
        self.flushed = self.flushed.max(mark);
    }

    fn lose_unflushed(&mut self) {
        self.written.truncate(self.flushed);
    }
}

/// Node 0 dials node 1 and sends numbers, which node 1 keeps.
struct Counter {
    conn: Option<ConnId>,
    next: u64,
    arriving: Vec<u8>,
}

impl Node for Counter {
    type Disk = Numbers;
    type Command = ();
    type Output = u64;

    fn start(_: Boot, env: &mut Env<'_, Self>) -> Self {
        if env.me() == 0 {
            env.dial(1);
        }
        env.timer(MILLI, 0);
        Self { conn: None, next: 0, arriving: Vec::new() }
    }

    fn handle(&mut self, input: Input<()>, env: &mut Env<'_, Self>) {
        match input {
            Input::Connected(conn) => self.conn = Some(conn),
            Input::Accepted(_) => self.arriving.clear(),
            Input::Received(_, bytes) => {
                self.arriving.extend(bytes);
                while let Some((number, rest)) = self.arriving.split_first_chunk::<8>() {
                    env.disk().written.push(u64::from_le_bytes(*number));
                    self.arriving = rest.to_vec();
                }
                env.sync(1);
            }
            Input::Closed(_) if env.me() == 0 => {
                (self.conn, self.next) = (None, 0);
                env.dial(1);
            }
            Input::Timer(_) => {
                if let Some(conn) = self.conn {
                    env.send(conn, self.next.to_le_bytes().to_vec());
                    self.next += 1;
                }
                env.timer(MILLI, 0);
            }
            Input::Synced(_) => {
                let flushed = env.disk().flushed as u64;
                env.output(flushed);
            }
            Input::Command(()) | Input::Room(_) | Input::Closed(_) => {}
        }
    }
}

fn world(seed: u64) -> World<Counter> {
    World::new(seed, Settings::default(), vec![Numbers::default(), Numbers::default()])
}

/// Faults for two seconds.
fn run(seed: u64) -> World<Counter> {
    let mut world = world(seed);
    for step in 0..40 {
        world.run_until(SECOND + step * 50 * MILLI);
        if world.rng().random_bool(0.2) {
            let node = world.rng().random_range(0..2);
            if world.rng().random_bool(0.5) { world.kill(node) } else { world.lose_power(node) }
        } else {
            world.disturb();
            (0..2).for_each(|node| world.restart(node));
        }
    }
    world
}

#[test]
fn a_seed_always_gives_the_same_run() {
    let hashes: Vec<u64> = (0..20).map(|seed| run(seed).trace_hash()).collect();
    assert_eq!(hashes, (0..20).map(|seed| run(seed).trace_hash()).collect::<Vec<_>>());
    let distinct: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), 20, "different seeds give different runs");
}

#[test]
fn what_arrives_on_a_connection_is_a_prefix_of_what_was_sent() {
    let mut arrived = 0;
    for seed in 0..50 {
        let world = run(seed);
        let written = &world.disk(1).written;
        // Each connection begins at zero; what was lost with power was at the end then.
        let broken = written.windows(2).filter(|pair| pair[1] != pair[0] + 1 && pair[1] != 0);
        assert_eq!(broken.count(), 0, "seed {seed}: {written:?}");
        arrived += written.len();
    }
    assert!(arrived > 1000, "{arrived}");
}

#[test]
fn a_kill_keeps_what_was_written_and_a_loss_of_power_what_was_synced() {
    let mut world = world(1);
    world.run_until(2 * SECOND);
    let synced = world.outputs().last().map_or(0, |(_, _, flushed)| *flushed as usize);
    let written = world.disk(1).written.len();
    assert!(synced > 0 && written >= synced);
    world.kill(1);
    assert_eq!(world.disk(1).written.len(), written);
    world.lose_power(0);
    world.restart(1);
    world.lose_power(1);
    assert_eq!(world.disk(1).written.len(), synced);
}

#[test]
fn what_a_partition_holds_back_arrives_when_it_heals() {
    let mut world = world(1);
    world.run_until(SECOND + 100 * MILLI);
    world.partition(0, 1, true);
    let before = world.disk(1).written.len();
    world.run_until(SECOND + 300 * MILLI);
    assert!(world.disk(1).written.len() <= before + 2, "but for what had arrived in the kernel");
    world.partition(0, 1, false);
    world.run_until(SECOND + 500 * MILLI);
    let written = &world.disk(1).written;
    assert!(written.len() > 300 && written.windows(2).all(|pair| pair[1] == pair[0] + 1), "{}", written.len());
}
