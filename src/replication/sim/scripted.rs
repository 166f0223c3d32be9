//! Runs that chance hardly finds.

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::{ModelDisk, Role};
use super::entry::Entry;
use super::node::{Command, ModelNode, Output, SETUP, Setup};
use super::rules::Rules;
use crate::replication::commit::Mode;
use crate::replication::time::Millis;
use crate::replication::{feed, follow};
use crate::sim::{MILLI, SECOND, Settings, World};

const KEY: u8 = 99;

fn world(acks: usize, rules: Rules) -> World<ModelNode> {
    // One entry at a time, so that there is a time in which a replica has a part of them.
    let feed = feed::Options { window: 60, read: 30, ping: Millis(200), timeout: Millis(1000), ..feed::Options::default() };
    let follow =
        follow::Options { ack_bytes: 1, ping: Millis(200), timeout: Millis(1000), most_backoff: Millis(500), ..Default::default() };
    SETUP.set(Some(Setup { mode: Mode::SemiSync { acks }, feed, follow, rules }));
    let mut rng = StdRng::seed_from_u64(1);
    let role = |node| if node == 0 { Role::Primary } else { Role::Replica(Some(0)) };
    let disks = (0..3).map(|node| ModelDisk::new(role(node), rng.random())).collect();
    let mut world = World::new(1, Settings::default(), disks);
    // Not empty: an empty primary is not followed.
    world.command(0, Command::Write { key: 0, value: 1000, delete: false });
    world.run_until(2 * SECOND);
    world
}

fn isolate(world: &mut World<ModelNode>, node: usize, is_cut: bool) {
    for other in (0..3).filter(|other| *other != node) {
        world.partition(node, other, is_cut);
        world.partition(other, node, is_cut);
    }
}

fn promote(world: &mut World<ModelNode>, hears: &[usize], winner: usize, number: u32) {
    for &node in hears {
        assert!(world.command(node, Command::Follow { target: None, force: false }));
    }
    assert!(world.command(winner, Command::Promote { epoch: number << 16, members: Vec::new() }));
}

fn seen(world: &mut World<ModelNode>) -> Vec<Entry> {
    let seen = |output| if let Output::Seen(entry) = output { Some(entry) } else { None };
    world.outputs().into_iter().filter_map(|(_, _, output)| seen(output)).collect()
}

/// What clients saw of the end of an earlier epoch, which a later epoch's log, written elsewhere without it, wins against.
fn seen_of_what_vanishes(rules: Rules) -> Vec<Entry> {
    let mut world = world(1, rules);
    // Node 0 alone has the end of the first epoch.
    isolate(&mut world, 0, true);
    for value in 0..60 {
        world.command(0, Command::Write { key: if value == 0 { KEY } else { 1 }, value, delete: false });
    }
    // Node 1 alone has the start of the second.
    isolate(&mut world, 1, true);
    promote(&mut world, &[1, 2], 1, 1);
    world.run_until(world.now() + SECOND);
    world.kill(1);
    // Node 0 begins the third, and node 2 is sent the end of the first.
    isolate(&mut world, 1, false);
    isolate(&mut world, 0, false);
    let before = world.disk(2).last;
    promote(&mut world, &[0, 2], 0, 2);
    world.command(2, Command::Follow { target: Some(0), force: false });
    while world.disk(2).last < before + 20 {
        world.run_until(world.now() + MILLI);
    }
    world.run_until(world.now() + MILLI);
    assert!(world.disk(2).last < world.disk(0).last - 1, "it has not come to the third epoch yet");
    world.outputs();
    world.command(0, Command::Read { key: KEY });
    let seen = seen(&mut world);
    // Node 0 is gone; of the others node 1 has the later epoch.
    world.kill(0);
    world.restart(1);
    promote(&mut world, &[1, 2], 1, 3);
    world.command(2, Command::Follow { target: Some(1), force: false });
    world.run_until(world.now() + 5 * SECOND);
    assert_eq!(world.disk(2).last, world.disk(1).last);
    assert!(!world.disk(1).map().contains_key(&KEY), "it has vanished");
    seen
}

#[test]
fn an_end_of_an_earlier_epoch_is_promised_to_nobody() {
    assert_eq!(seen_of_what_vanishes(Rules::default()), []);
    let broken = Rules { commits_own_epoch_first: false, ..Rules::default() };
    assert_eq!(seen_of_what_vanishes(broken).len(), 1, "the rule is what keeps it from clients");
}

/// Whether a promoted node has what was acknowledged, after it was told late that it follows another.
fn keeps_what_it_acknowledged(rules: Rules) -> bool {
    let mut world = world(2, rules);
    world.run_until(world.now() + 50 * MILLI);
    world.outputs();
    world.command(0, Command::Write { key: KEY, value: 1, delete: false });
    world.run_until(world.now() + 50 * MILLI);
    let acknowledged =
        world.outputs().into_iter().any(|(_, _, output)| matches!(output, Output::Acknowledged(entry) if entry.key() == Some(KEY)));
    assert!(acknowledged, "both replicas have it");
    // Node 0 loses it with its power, and follows node 1, which it does not reach yet; node 2 still follows node 0.
    world.lose_power(0);
    promote(&mut world, &[1], 1, 1);
    isolate(&mut world, 1, true);
    world.restart(0);
    assert!(!world.disk(0).map().contains_key(&KEY));
    world.command(0, Command::Follow { target: Some(1), force: false });
    world.run_until(world.now() + 3 * SECOND);
    // One replica is enough for a promotion where two acknowledge.
    world.kill(1);
    promote(&mut world, &[2], 2, 2);
    world.disk(2).map().contains_key(&KEY)
}

#[test]
fn who_is_behind_makes_nobody_give_up_what_was_acknowledged() {
    assert!(keeps_what_it_acknowledged(Rules::default()));
    let broken = Rules { who_is_behind_takes_nothing: false, ..Rules::default() };
    assert!(!keeps_what_it_acknowledged(broken), "the rule is what keeps it");
}

/// How many writes an old primary acknowledges after another has taken over, whose answer does not arrive.
fn acknowledged_beside_the_new_primary(rules: Rules) -> usize {
    let mut world = world(1, rules);
    world.partition(1, 0, true);
    assert!(world.command(0, Command::HandOver { to: 1 }));
    world.run_until(world.now() + SECOND / 2);
    assert!(world.node(1).is_some_and(ModelNode::is_primary), "it has taken over");
    // Its link is over, for all that the old primary sees.
    world.run_until(world.now() + SECOND);
    world.outputs();
    assert!(world.command(0, Command::Write { key: KEY, value: 1, delete: false }));
    world.run_until(world.now() + 2 * SECOND);
    let beside = |output: &Output| matches!(output, Output::Acknowledged(entry) if entry.key() == Some(KEY));
    world.outputs().iter().filter(|(_, _, output)| beside(output)).count()
}

#[test]
fn who_has_handed_over_takes_no_writes_because_nobody_answers() {
    assert_eq!(acknowledged_beside_the_new_primary(Rules::default()), 0);
    let broken = Rules { handover_waits_for_word: false, ..Rules::default() };
    assert_eq!(acknowledged_beside_the_new_primary(broken), 1, "by its other replica, which the new primary does not know of");
}
