//! A run: clients, faults, an operator; then peace, and the promises are checked.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::{ModelDisk, Role, fold};
use super::entry::Entry;
use super::node::{Command, ModelNode, Output, SETUP, Setup};
use super::operator::Operator;
use super::rules::Rules;
use crate::replication::commit::Mode;
use crate::replication::time::Millis;
use crate::replication::{feed, follow};
use crate::sim::{MILLI, SECOND, Settings, World};

/// A seed's remainder by this is its mode.
pub const MODES: u64 = 3;

/// What happened in a run: sums say whether anything was tested.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub acknowledged: u64,
    pub seen: u64,
    pub promotions: u64,
    pub handovers: u64,
    pub snapshots: u64,
    pub resumed: u64,
    pub differences: u64,
    pub lacking: u64,
    pub divergent: u64,
    pub power_losses: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.seen += other.seen;
        self.promotions += other.promotions;
        self.handovers += other.handovers;
        self.snapshots += other.snapshots;
        self.resumed += other.resumed;
        self.differences += other.differences;
        self.lacking += other.lacking;
        self.divergent += other.divergent;
        self.power_losses += other.power_losses;
    }
}

struct Scenario {
    world: World<ModelNode>,
    operator: Operator,
    mode: Mode,
    figures: Figures,
    appended: BTreeSet<Entry>,
    acknowledged: Vec<Entry>,
    seen: Vec<Entry>,
    next_value: u64,
}

/// Runs a seed; an error says which promise was broken.
pub fn run(seed: u64, rules: &Rules) -> Result<Figures, String> {
    // A panic of the model is a failure of the seed too.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut scenario = Scenario::new(seed, rules);
        scenario.trouble();
        scenario.peace();
        scenario.check().map(|()| scenario.figures)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_default())
    })
}

/// The hash of all that happens in a seed.
pub fn trace(seed: u64) -> u64 {
    let mut scenario = Scenario::new(seed, &Rules::default());
    scenario.trouble();
    scenario.peace();
    scenario.world.trace_hash()
}

impl Scenario {
    fn new(seed: u64, rules: &Rules) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = rng.random_range(3..5);
        let mode = match seed % MODES {
            0 => Mode::Async,
            1 => Mode::SemiSync { acks: rng.random_range(1..nodes) },
            _ => Mode::Sync { min_in_sync: 2 },
        };
        let feed = feed::Options {
            ping: Millis(200),
            timeout: Millis(1000),
            window: rng.random_range(100..4000),
            piece: rng.random_range(20..500),
            read: rng.random_range(30..1000),
            wants: 16,
            bandwidth: [0, 20_000][rng.random_range(0..2)],
        };
        let follow = follow::Options {
            ping: Millis(200),
            timeout: Millis(1000),
            ack_bytes: rng.random_range(30..2000),
            wants: rng.random_range(1..16),
            backoff: Millis(20),
            most_backoff: Millis(500),
        };
        SETUP.set(Some(Setup { mode, feed, follow, rules: rules.clone() }));
        let disk = |node: usize, rng: &mut StdRng| {
            let mut disk = ModelDisk::new(if node == 0 { Role::Primary } else { Role::Replica(Some(0)) }, rng.random());
            disk.members = if node == 0 && matches!(mode, Mode::Sync { .. }) { (1..nodes).collect() } else { BTreeSet::new() };
            disk
        };
        let disks = (0..nodes).map(|node| disk(node, &mut rng)).collect();
        let flips = [None, None, Some(1000), Some(50)][rng.random_range(0..4)];
        let settings = Settings { jitter: [500, 5000, 50_000][rng.random_range(0..3)], flips, ..Settings::default() };
        Self {
            world: World::new(rng.random(), settings, disks),
            operator: Operator::new(mode, rules.clone(), nodes),
            mode,
            figures: Figures::default(),
            appended: BTreeSet::new(),
            acknowledged: Vec::new(),
            seen: Vec::new(),
            next_value: 0,
        }
    }

    fn trouble(&mut self) {
        let until = self.world.now() + 15 * SECOND;
        let mut next_fault = self.world.now() + SECOND;
        while self.world.now() < until {
            let pause = self.world.rng().random_range(1..20) * MILLI;
            self.world.run_until(self.world.now() + pause);
            self.client();
            self.disturb_handover();
            if self.world.now() >= next_fault {
                self.fault();
                next_fault = self.world.now() + self.world.rng().random_range(20..800) * MILLI;
            }
            self.listen();
        }
    }

    fn peace(&mut self) {
        self.world.heal();
        self.world.flip_no_more();
        for _ in 0..40 {
            self.operator.step(&mut self.world, 1.0, false);
            self.world.run_until(self.world.now() + 250 * MILLI);
            self.listen();
        }
        // Small windows over slow links take their time.
        for _ in 0..40 {
            self.world.run_until(self.world.now() + 5 * SECOND);
            self.listen();
            if self.check().is_ok() {
                break;
            }
        }
    }

    fn client(&mut self) {
        let node = self.world.any_node();
        let key = self.world.rng().random_range(0..12);
        if self.world.rng().random_bool(0.3) {
            self.world.command(node, Command::Read { key });
            return;
        }
        for _ in 0..self.world.rng().random_range(1..4) {
            self.next_value += 1;
            let delete = self.world.rng().random_bool(0.1);
            self.world.command(node, Command::Write { key, value: self.next_value, delete });
        }
    }

    /// Handovers are short: chance alone hardly ever meets one.
    fn disturb_handover(&mut self) {
        let primary = self.operator.primary;
        let Some(to) = self.world.node(primary).and_then(ModelNode::has_told) else { return };
        match self.world.rng().random_range(0..20) {
            0 => {
                self.world.kill(primary);
                self.world.restart(primary);
            }
            // The answer does not arrive, and then the link is over.
            1 => self.world.partition(to, primary, true),
            2 => self.world.disturb(),
            _ => {}
        }
    }

    fn fault(&mut self) {
        let node = self.world.any_node();
        match self.world.rng().random_range(0..10) {
            0 | 1 => self.world.kill(node),
            2 if self.may_lose_power(node) => {
                self.figures.power_losses += 1;
                self.world.lose_power(node);
            }
            3 | 4 => self.world.restart(node),
            5 | 6 => self.operator.step(&mut self.world, 0.7, true),
            _ => self.world.disturb(),
        }
    }

    /// What semi-sync promises holds against the loss of the primary, not against that of several copies at once.
    fn may_lose_power(&self, node: usize) -> bool {
        let impaired = |node: usize| self.world.disk(node).is_impaired();
        match self.mode {
            Mode::Async | Mode::Sync { .. } => true,
            Mode::SemiSync { .. } => {
                let settled = self.world.node(node).is_some_and(|process| process.is_settled(self.world.disk(node)));
                node == self.operator.primary && settled && !(0..self.world.len()).any(impaired)
            }
        }
    }

    fn listen(&mut self) {
        for (_, _, output) in self.world.outputs() {
            match output {
                Output::Appended(entry) => drop(self.appended.insert(entry)),
                Output::Acknowledged(entry) => self.acknowledged.push(entry),
                Output::Seen(entry) => self.seen.push(entry),
                Output::HandedOver => self.figures.handovers += 1,
                Output::Snapshot { resumed, above } => {
                    *(if above > 0 { &mut self.figures.differences } else { &mut self.figures.snapshots }) += 1;
                    self.figures.resumed += u64::from(resumed);
                }
                Output::Lacking => self.figures.lacking += 1,
            }
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let primary = self.operator.primary;
        let truth = self.world.disk(primary);
        let lineage = truth.lineage();
        let holds = |entry: &Entry| {
            let epoch = lineage.epochs.iter().rev().find(|epoch| epoch.first.0 <= entry.lsn);
            entry.lsn <= lineage.last.0 && epoch.is_some_and(|epoch| (epoch.number.0, epoch.writer.0) == (entry.epoch, entry.writer))
        };
        self.figures.acknowledged = self.acknowledged.len() as u64;
        self.figures.seen = self.seen.len() as u64;
        self.figures.promotions = u64::from(self.operator.promotions);
        // What the mode promised is there. Async promises only what one log survives.
        let promises = !matches!(self.mode, Mode::Async) || self.operator.promotions == 0 && self.figures.power_losses == 0;
        if promises {
            for (what, entries) in [("acknowledged", &self.acknowledged), ("seen", &self.seen)] {
                if let Some(entry) = entries.iter().find(|entry| !holds(entry)) {
                    return Err(format!("{:?}: {entry:?} was {what} and is lost", self.mode));
                }
            }
        }
        // The map is that of the entries that are left, whatever was cleaned and shipped.
        let mut left: Vec<&Entry> = self.appended.iter().filter(|entry| holds(entry)).collect();
        left.sort_by_key(|entry| entry.lsn);
        let expected = fold(left.into_iter());
        for node in 0..self.world.len() {
            let disk = self.world.disk(node);
            if disk.lineage().epochs != lineage.epochs || disk.last != lineage.last.0 {
                let state = self.world.node(node).and_then(ModelNode::following);
                return Err(format!("node {node} ends at {}, {state:?}; primary {primary} at {}", disk.last, lineage.last));
            }
            if disk.map() != expected {
                return Err(format!("node {node} holds {:?} instead of {expected:?}", disk.map()));
            }
            let readable = self.world.node(node).map(ModelNode::readable);
            if readable != Some(lineage.last) {
                return Err(format!("node {node} can read up to {readable:?} of {}", lineage.last));
            }
        }
        self.account(&holds)
    }

    /// What was written and is not there was set aside, or went with somebody's power before it was synced.
    fn account(&mut self, holds: &dyn Fn(&Entry) -> bool) -> Result<(), String> {
        let disks: Vec<&ModelDisk> = (0..self.world.len()).map(|node| self.world.disk(node)).collect();
        let aside: BTreeSet<Entry> =
            disks.iter().flat_map(|disk| disk.divergent.iter().flat_map(|cut| cut.entries.iter().copied())).collect();
        let lost: BTreeSet<Entry> = disks.iter().flat_map(|disk| disk.lost.iter().copied()).collect();
        for cut in disks.iter().flat_map(|disk| &disk.divergent) {
            if cut.entries.first().is_some_and(|entry| entry.lsn <= cut.above) {
                return Err(format!("what was set aside above {} begins with {:?}", cut.above, cut.entries[0]));
            }
        }
        let dropped: BTreeSet<Entry> = disks.iter().flat_map(|disk| disk.dropped.iter().copied()).collect();
        self.figures.divergent = aside.len() as u64;
        let missing =
            self.appended.iter().find(|entry| !holds(entry) && !aside.contains(entry) && !lost.contains(entry) && !dropped.contains(entry));
        missing.map_or(Ok(()), |entry| Err(format!("{entry:?} is gone and nowhere accounted for")))
    }
}
