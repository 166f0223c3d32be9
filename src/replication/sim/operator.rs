//! Whoever decides which node is the primary: a person, or a program outside. He is told of no node that he cannot hear.

use std::collections::BTreeSet;

use rand::Rng;

use super::disk::Role;
use super::node::{Command, ModelNode};
use super::rules::Rules;
use crate::replication::commit::Mode;
use crate::sim::World;

/// Numbers of promotions leave room for restarts between them.
const RESTARTS: u32 = 1 << 16;

pub struct Operator {
    pub primary: usize,
    pub promotions: u32,
    /// Promotions and handovers: each has a number of its own.
    numbers: u32,
    /// Whom he has had take over in which epoch, until he knows what became of it.
    taking_over: Option<(usize, u32)>,
    mode: Mode,
    rules: Rules,
    /// Sync: who can be promoted.
    in_sync: BTreeSet<usize>,
}

impl Operator {
    pub fn new(mode: Mode, rules: Rules, nodes: usize) -> Self {
        Self { primary: 0, promotions: 0, numbers: 0, taking_over: None, mode, rules, in_sync: (0..nodes).collect() }
    }

    /// Looks at the nodes that he hears, each with this probability, and does what is to be done.
    pub fn step(&mut self, world: &mut World<ModelNode>, hears: f64, changes: bool) {
        let heard: Vec<usize> = (0..world.len()).filter(|node| world.answers(*node) && world.rng().random_bool(hears)).collect();
        self.learn_members(world, &heard);
        self.learn_handover(world, &heard);
        let lost = !heard.contains(&self.primary) || world.node(self.primary).is_none_or(|node| !node.is_primary());
        if lost && (changes || hears >= 1.0) || changes && world.rng().random_bool(0.1) {
            self.promote(world, &heard);
            // The others hear of it later.
            return;
        }
        if changes && matches!(self.mode, Mode::Sync { .. }) && world.rng().random_bool(0.1) {
            self.remove_one(world, &heard);
        }
        if changes && !matches!(self.mode, Mode::Sync { .. }) && world.rng().random_bool(0.4) {
            self.hand_over(world, &heard);
        }
        self.point(world, &heard, changes);
    }

    /// Has the primary hand its part over to somebody.
    fn hand_over(&mut self, world: &mut World<ModelNode>, heard: &[usize]) {
        let to = world.any_node();
        if to != self.primary && heard.contains(&self.primary) && self.taking_over.is_none() {
            self.numbers += 1;
            self.taking_over = Some((to, world.disk(self.primary).epoch()));
            world.command(self.primary, Command::HandOver { to });
        }
    }

    /// Whoever takes over is the primary from when he hears that it is one, in a later epoch: it may have been one before, and not know that it is
    /// none any more (seed 217 of the first form of this). Until then it may be either.
    fn learn_handover(&mut self, world: &World<ModelNode>, heard: &[usize]) {
        let Some((to, epoch)) = self.taking_over else { return };
        let leads = |node: usize| heard.contains(&node) && world.node(node).is_some_and(ModelNode::is_primary);
        if leads(to) && world.disk(to).epoch() > epoch {
            (self.primary, self.taking_over) = (to, None);
        } else if leads(self.primary) && world.node(self.primary).is_some_and(|node| !node.is_handing_over()) {
            self.taking_over = None;
        }
    }

    /// The in-sync set is the primary's: it tells who was added, and was told who was removed.
    fn learn_members(&mut self, world: &World<ModelNode>, heard: &[usize]) {
        let members = world.node(self.primary).filter(|_| heard.contains(&self.primary)).and_then(ModelNode::members);
        if let Some(members) = members {
            self.in_sync = members.into_iter().chain([self.primary]).collect();
        }
    }

    fn promote(&mut self, world: &mut World<ModelNode>, heard: &[usize]) {
        let replicas: Vec<usize> = heard.iter().copied().filter(|node| *node != self.primary).collect();
        let counted: Vec<usize> = replicas.iter().copied().filter(|node| self.counts(world, *node)).collect();
        let needed = match self.mode {
            Mode::SemiSync { acks } if self.rules.promotion_hears_enough => (world.len() - 1) - acks + 1,
            _ => 1,
        };
        if counted.len() < needed {
            return;
        }
        if self.rules.promotion_fences {
            for node in &replicas {
                world.command(*node, Command::Follow { target: None, force: false });
            }
        }
        // Who has received nothing yet has acknowledged nothing, and is heard; promoted, it would begin another history, which the others
        // refuse to follow.
        let history = world.disk(self.primary).history;
        let candidates: Vec<usize> = counted.into_iter().filter(|node| world.disk(*node).history == history).collect();
        let place = |node: &usize| (world.disk(*node).epoch(), world.disk(*node).last);
        let best = if self.rules.promotion_takes_the_highest {
            candidates.iter().copied().max_by_key(place)
        } else {
            candidates.iter().copied().min_by_key(place)
        };
        let Some(winner) = best else { return };
        let members = match self.mode {
            Mode::Sync { .. } => self.in_sync.iter().copied().filter(|node| *node != winner).collect(),
            _ => Vec::new(),
        };
        self.promotions += 1;
        self.numbers += 1;
        if world.command(winner, Command::Promote { epoch: self.numbers * RESTARTS, members }) {
            self.primary = winner;
            self.taking_over = None;
        }
    }

    fn counts(&self, world: &World<ModelNode>, node: usize) -> bool {
        let disk = world.disk(node);
        match self.mode {
            Mode::Async => true,
            Mode::SemiSync { .. } => !disk.is_impaired() || !self.rules.who_lost_power_is_not_heard,
            Mode::Sync { .. } => self.in_sync.contains(&node) || !self.rules.only_members_are_promoted,
        }
    }

    /// Takes a member that he does not hear out of the set, first of all for himself.
    fn remove_one(&mut self, world: &mut World<ModelNode>, heard: &[usize]) {
        let silent = self.in_sync.iter().copied().find(|node| !heard.contains(node) && *node != self.primary);
        let Some(silent) = silent.filter(|_| heard.contains(&self.primary)) else { return };
        self.in_sync.remove(&silent);
        world.command(self.primary, Command::Remove(silent));
    }

    /// Points everybody to the primary, or, where nobody waits for acknowledgements, perhaps to another replica.
    fn point(&mut self, world: &mut World<ModelNode>, heard: &[usize], changes: bool) {
        for &node in heard.iter().filter(|node| **node != self.primary) {
            let mut target = self.primary;
            let is_replica = world.node(node).is_some_and(|node| !node.is_primary() && !node.is_waiting());
            let follows = match world.disk(node).role {
                Role::Replica(target) if is_replica => target,
                _ => None,
            };
            if matches!(self.mode, Mode::Async) && changes && world.rng().random_bool(0.1) {
                target = world.any_node();
            } else if matches!(self.mode, Mode::Async) && changes && follows.is_some_and(|target| heard.contains(&target)) {
                continue;
            }
            if target != node && follows != Some(target) {
                // Where nothing is committed but by being written, an operator who says so means it.
                world.command(node, Command::Follow { target: Some(target), force: !changes });
            }
        }
    }
}
