//! Each mode's rule, and all of them against a model in random orders of acknowledgements.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn tracker(mode: Mode, members: &[NodeId]) -> Commit {
    let mut commit = Commit::new(mode, Lsn(1), members.iter().copied());
    for node in [A, B, C] {
        commit.joined(node, Lsn(0));
    }
    commit
}

#[test]
fn async_commits_what_is_written() {
    let mut commit = tracker(Mode::Async, &[]);
    assert_eq!(commit.local(Lsn(5), Lsn(0)), Lsn(5));
}

#[test]
fn semi_sync_commits_what_k_replicas_have_written() {
    let mut commit = tracker(Mode::SemiSync { acks: 2 }, &[]);
    commit.local(Lsn(10), Lsn(0));
    assert_eq!(commit.acknowledged(A, Lsn(9), Lsn(0)), Lsn(0));
    assert_eq!(commit.acknowledged(B, Lsn(7), Lsn(0)), Lsn(7));
    assert_eq!(commit.acknowledged(C, Lsn(8), Lsn(0)), Lsn(8));
    commit.left(C);
    assert_eq!(commit.acknowledged(B, Lsn(9), Lsn(0)), Lsn(9), "what a replica without a link holds, it holds");
    assert_eq!(commit.acknowledged(C, Lsn(20), Lsn(0)), Lsn(9));
    assert_eq!(commit.acknowledged(A, Lsn(20), Lsn(0)), Lsn(10), "never more than is written here");
}

#[test]
fn sync_commits_what_every_member_has_flushed_and_waits_for_the_one_that_left() {
    let mut commit = tracker(Mode::Sync { min_in_sync: 2 }, &[A, B]);
    commit.local(Lsn(10), Lsn(8));
    commit.acknowledged(A, Lsn(10), Lsn(10));
    assert_eq!(commit.acknowledged(B, Lsn(10), Lsn(3)), Lsn(3));
    commit.left(B);
    assert_eq!(commit.local(Lsn(20), Lsn(20)), Lsn(3), "the set does not shrink by itself");
    assert_eq!(commit.remove(B), Lsn(10));
    commit.acknowledged(A, Lsn(20), Lsn(20));
    assert_eq!(commit.remove(A), Lsn(20), "what is committed stays so");
    assert_eq!(commit.local(Lsn(30), Lsn(30)), Lsn(20), "one member is fewer than two");
}

#[test]
fn who_has_caught_up_is_waited_for_from_then_on() {
    let mut commit = tracker(Mode::Sync { min_in_sync: 2 }, &[A]);
    commit.local(Lsn(10), Lsn(10));
    commit.acknowledged(A, Lsn(10), Lsn(10));
    commit.acknowledged(C, Lsn(9), Lsn(9));
    assert!(!commit.is_admissible(C), "it lacks what is committed");
    commit.acknowledged(C, Lsn(10), Lsn(10));
    assert!(commit.is_admissible(C) && !commit.members().contains(&C), "not before that is kept");
    commit.admit(C);
    assert!(!commit.is_admissible(C) && commit.members().contains(&C));
    commit.local(Lsn(11), Lsn(11));
    assert_eq!(commit.acknowledged(A, Lsn(11), Lsn(11)), Lsn(10));
}

#[test]
fn who_falls_behind_while_its_membership_is_kept_is_no_member_yet() {
    let mut commit = tracker(Mode::Sync { min_in_sync: 2 }, &[A]);
    commit.acknowledged(C, Lsn(1), Lsn(1));
    assert!(commit.is_admissible(C));
    commit.local(Lsn(2), Lsn(2));
    commit.acknowledged(A, Lsn(2), Lsn(2));
    assert_eq!(commit.admit(C), Lsn(2));
    assert!(!commit.members().contains(&C), "what is committed is not there");
}

#[test]
fn only_sync_has_members() {
    let mut commit = Commit::new(Mode::SemiSync { acks: 1 }, Lsn(1), [A]);
    commit.local(Lsn(1), Lsn(1));
    commit.acknowledged(B, Lsn(1), Lsn(1));
    assert!(commit.members().is_empty() && !commit.is_admissible(B));
    commit.set_mode(Mode::Sync { min_in_sync: 2 });
    commit.admit(B);
    assert_eq!(commit.members().len(), 1);
    commit.set_mode(Mode::Async);
    assert!(commit.members().is_empty());
}

#[test]
fn entries_of_an_earlier_epoch_are_committed_only_with_one_of_this() {
    for mode in [Mode::SemiSync { acks: 1 }, Mode::Sync { min_in_sync: 2 }] {
        let mut commit = Commit::new(mode, Lsn(11), [A]);
        commit.local(Lsn(12), Lsn(12));
        commit.joined(A, Lsn(10));
        assert_eq!(commit.acknowledged(A, Lsn(10), Lsn(10)), Lsn(0), "another log with an end of its own may still win");
        assert_eq!(commit.acknowledged(A, Lsn(11), Lsn(11)), Lsn(11));
    }
    assert_eq!(Commit::new(Mode::Async, Lsn(11), []).local(Lsn(10), Lsn(0)), Lsn(10));
}

#[test]
fn a_replica_that_lost_what_it_acknowledged_does_not_count_for_it_any_more() {
    let mut commit = tracker(Mode::SemiSync { acks: 2 }, &[]);
    commit.local(Lsn(10), Lsn(0));
    commit.acknowledged(A, Lsn(10), Lsn(10));
    commit.joined(A, Lsn(6));
    assert_eq!(commit.acknowledged(B, Lsn(10), Lsn(0)), Lsn(6));
}

#[test]
fn wait_counts_linked_replicas() {
    let mut commit = tracker(Mode::Async, &[]);
    commit.local(Lsn(10), Lsn(4));
    commit.acknowledged(A, Lsn(10), Lsn(5));
    commit.acknowledged(B, Lsn(8), Lsn(8));
    assert_eq!((commit.replicas_with(Lsn(8)), commit.replicas_with(Lsn(9)), commit.replicas_with(Lsn(11))), (2, 1, 0));
    assert_eq!((commit.flushed_with(Lsn(4)), commit.flushed_with(Lsn(6))), ((true, 2), (false, 1)));
    commit.left(B);
    assert_eq!(commit.replicas_with(Lsn(8)), 1);
}

#[test]
fn a_change_of_the_mode_takes_nothing_back() {
    let mut commit = tracker(Mode::Async, &[A]);
    commit.local(Lsn(10), Lsn(10));
    assert_eq!(commit.set_mode(Mode::SemiSync { acks: 1 }), Lsn(10));
    assert_eq!(commit.local(Lsn(12), Lsn(12)), Lsn(10));
    assert_eq!(commit.acknowledged(A, Lsn(11), Lsn(0)), Lsn(11));
    assert_eq!(commit.set_mode(Mode::Async), Lsn(12));
}

/// Acknowledgements in a random order: what is committed is on as many copies as the mode says, and nothing more could be.
#[test]
fn in_any_order_exactly_what_the_mode_promises_is_committed() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let modes = [Mode::Async, Mode::SemiSync { acks: 1 }, Mode::SemiSync { acks: 2 }, Mode::Sync { min_in_sync: 3 }];
        let mode = modes[rng.random_range(0..modes.len())];
        let (mut commit, mut logs) = (tracker(mode, &[A, B, C]), [(0_u64, 0_u64); 4]);
        let mut before = Lsn(0);
        for _ in 0..60 {
            let node = rng.random_range(0..4);
            let most = if node == 0 { 100 } else { logs[0].0 };
            logs[node].0 = rng.random_range(logs[node].0..=most.max(logs[node].0));
            logs[node].1 = rng.random_range(logs[node].1..=logs[node].0);
            let (written, flushed) = (Lsn(logs[node].0), Lsn(logs[node].1));
            let committed = match node {
                0 => commit.local(written, flushed),
                replica => commit.acknowledged(NodeId(replica as u64), written, flushed),
            };
            let promised = |lsn: u64| match mode {
                Mode::Async => logs[0].0 >= lsn,
                Mode::SemiSync { acks } => logs[1..].iter().filter(|log| log.0 >= lsn).count() >= acks,
                Mode::Sync { .. } => logs.iter().all(|log| log.1 >= lsn),
            };
            assert!(committed >= before && (committed.0 == 0 || promised(committed.0)), "seed {seed}: {committed} of {logs:?}");
            assert!(committed.0 == logs[0].0 || !promised(committed.0 + 1), "seed {seed}: {committed} of {logs:?}");
            before = committed;
        }
    }
}
