//! Lineages against the entries that they stand for.

use esker_storage::types::{EpochNumber, WriterId};

use super::*;

const HISTORY: HistoryId = HistoryId(7);

/// A log by who wrote its entries: the number and the writer of each, and epochs that were listed and not written in at the end.
#[derive(Debug, Clone, Default)]
struct Model {
    runs: Vec<(u32, u64, u64)>,
}

impl Model {
    fn lineage(&self) -> Lineage {
        let mut lineage = Lineage { history: HISTORY, ..Lineage::default() };
        for &(number, writer, entries) in &self.runs {
            lineage.epochs.push(Epoch { number: EpochNumber(number), writer: WriterId(writer), first: lineage.last.next() });
            lineage.last.0 += entries;
        }
        assert_eq!(lineage.validate(), Ok(()));
        lineage
    }

    fn entries(&self) -> Vec<(u32, u64)> {
        self.runs.iter().flat_map(|&(number, writer, entries)| (0..entries).map(move |_| (number, writer))).collect()
    }
}

fn prefix(one: &Model, other: &Model) -> u64 {
    one.entries().iter().zip(&other.entries()).take_while(|(one, other)| one == other).count() as u64
}

/// Every pair of logs that share a first epoch, perhaps a second, and go on by themselves.
fn pairs() -> Vec<(Model, Model)> {
    let mut pairs = Vec::new();
    let lengths: Vec<Option<u64>> = vec![None, Some(0), Some(1), Some(2)];
    for shared in 0..4_u64 {
        for second in &lengths {
            for kept in 0..=shared + second.unwrap_or(0) {
                for ours in &lengths {
                    for theirs in &lengths {
                        for second_writer in [20, 21] {
                            let mut primary = Model { runs: vec![(1, 10, shared)] };
                            primary.runs.extend(second.map(|entries| (2, 20, entries)));
                            let mut replica = primary.clone();
                            cut(&mut replica, kept);
                            primary.runs.extend(ours.map(|entries| (3, 30, entries)));
                            replica.runs.extend(theirs.map(|entries| (3, 10 + second_writer, entries)));
                            pairs.push((primary, replica));
                        }
                    }
                }
            }
        }
    }
    pairs
}

/// Cuts a log as a loss of power does: the epochs that are listed stay, but for those that begin behind the end.
fn cut(model: &mut Model, kept: u64) {
    let mut left = kept;
    for run in &mut model.runs {
        run.2 = run.2.min(left);
        left -= run.2;
    }
    while model.runs.len() > 1 && model.runs.last().is_some_and(|run| run.2 == 0) {
        model.runs.pop();
    }
}

/// Whether both continue the same third epoch: then the shorter is a prefix only if what lies before is the same.
fn sound(primary: &Model, replica: &Model) -> bool {
    let third = |model: &Model| model.runs.iter().find(|run| run.0 == 3).copied();
    match (third(primary), third(replica)) {
        (Some(one), Some(other)) if one.1 == other.1 => {
            let before = |model: &Model| model.runs.iter().filter(|run| run.0 < 3).map(|run| run.2).sum::<u64>();
            before(primary) == before(replica)
        }
        _ => true,
    }
}

#[test]
fn the_common_prefix_is_that_of_the_entries() {
    let mut tried = 0;
    for (primary, replica) in pairs().into_iter().filter(|(primary, replica)| sound(primary, replica)) {
        let expected = Lsn(prefix(&primary, &replica));
        assert_eq!(common_prefix(&primary.lineage(), &replica.lineage()), expected, "{primary:?} {replica:?}");
        assert_eq!(common_prefix(&replica.lineage(), &primary.lineage()), expected, "{primary:?} {replica:?}");
        tried += 1;
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn a_prefix_continues_and_anything_else_is_saved_before_a_snapshot() {
    let keys = Keys { primary: 5, replica: 5 };
    for (primary, replica) in pairs().into_iter().filter(|(primary, replica)| sound(primary, replica)) {
        let common = prefix(&primary, &replica);
        for cleaned in 0..=primary.lineage().last.0 {
            let primary = Lineage { cleaned: Lsn(cleaned), ..primary.lineage() };
            let replica = replica.lineage();
            let expected = if replica.last.0 > common {
                if common > 0 { Plan::Cut { to: Lsn(common) } } else { Plan::Snapshot { common: Lsn(0), divergent: true } }
            } else if replica.last.0 >= cleaned {
                Plan::Continue { from: replica.last.next() }
            } else {
                Plan::Snapshot { common: Lsn(common), divergent: false }
            };
            assert_eq!(compare(&primary, &replica, keys, false), expected, "{primary:?} {replica:?}");
            assert_eq!(compare(&primary, &replica, keys, true), expected, "force changes what is refused, and nothing else");
        }
    }
}

fn log(runs: &[(u32, u64, u64)]) -> Lineage {
    Model { runs: runs.to_vec() }.lineage()
}

#[test]
fn standalone_promotions_with_equal_lsns_are_told_apart_by_the_writer() {
    let (one, other) = (log(&[(1, 10, 5), (2, 20, 3)]), log(&[(1, 10, 5), (2, 21, 3)]));
    let plan = compare(&one, &other, Keys { primary: 5, replica: 5 }, false);
    assert_eq!(plan, Plan::Cut { to: Lsn(5) });
}

/// What a record was dropped for may be what is to be given up.
#[test]
fn a_log_that_was_cleaned_on_account_of_what_it_gives_up_is_not_just_cut() {
    let (primary, replica) = (log(&[(1, 10, 9), (2, 20, 3)]), log(&[(1, 10, 9), (2, 21, 3)]));
    let keys = Keys { primary: 5, replica: 5 };
    for (cleaned, horizon, cut) in [(0, 0, true), (5, 9, true), (5, 10, false), (10, 8, false)] {
        let replica = Lineage { cleaned: Lsn(cleaned), horizon: Lsn(horizon), ..replica.clone() };
        let expected = if cut { Plan::Cut { to: Lsn(9) } } else { Plan::Snapshot { common: Lsn(9), divergent: true } };
        assert_eq!(compare(&primary, &replica, keys, false), expected, "cleaned to {cleaned} on account of {horizon}");
    }
}

#[test]
fn epochs_without_entries_do_not_hide_what_is_common() {
    let (primary, replica) = (log(&[(1, 10, 5), (2, 20, 0), (3, 30, 4)]), log(&[(1, 10, 5), (3, 30, 2)]));
    assert_eq!(compare(&primary, &replica, Keys::default(), false), Plan::Continue { from: Lsn(8) });
    let listed = log(&[(1, 10, 5), (4, 40, 0)]);
    assert_eq!(compare(&primary, &listed, Keys::default(), false), Plan::Continue { from: Lsn(6) });
}

#[test]
fn another_history_has_nothing_in_common() {
    let primary = log(&[(1, 10, 5)]);
    let replica = Lineage { history: HistoryId(8), ..primary.clone() };
    let plan =
        |primary_keys, replica_keys, force| compare(&primary, &replica, Keys { primary: primary_keys, replica: replica_keys }, force);
    assert_eq!(plan(0, 0, false), Plan::Snapshot { common: Lsn(0), divergent: false }, "an empty shard's log is not worth keeping");
    assert_eq!(plan(3, 3, false), Plan::Snapshot { common: Lsn(0), divergent: true });
    assert!(matches!(plan(3, 4, false), Plan::Refuse(Refusal { code: RefusalCode::MoreKeys, .. })));
    assert!(matches!(plan(0, 1, false), Plan::Refuse(Refusal { code: RefusalCode::MoreKeys, .. })), "a primary that came back empty");
    assert_eq!(plan(3, 4, true), Plan::Snapshot { common: Lsn(0), divergent: true });
}

#[test]
fn a_primary_that_lost_its_end_is_followed_and_one_that_lost_all_is_not() {
    let (primary, replica) = (log(&[(1, 10, 5)]), log(&[(1, 10, 9)]));
    let plan = |here, there, force| compare(&primary, &replica, Keys { primary: here, replica: there }, force);
    assert_eq!(plan(4, 8, false), Plan::Cut { to: Lsn(5) });
    assert!(matches!(plan(0, 8, false), Plan::Refuse(Refusal { code: RefusalCode::EmptyPrimary, .. })));
    assert_eq!(plan(0, 8, true), Plan::Cut { to: Lsn(5) });
    assert_eq!(plan(0, 0, false), Plan::Cut { to: Lsn(5) }, "what was deleted is saved all the same");
}

#[test]
fn a_primary_that_was_flushed_later_is_followed() {
    let (primary, replica) = (log(&[(1, 10, 5), (2, 20, 9)]), log(&[(1, 10, 7)]));
    let plan = compare(&primary, &replica, Keys { primary: 0, replica: 8 }, false);
    assert_eq!(plan, Plan::Cut { to: Lsn(5) });
}

#[test]
fn another_shard_is_refused_even_by_force() {
    let primary = log(&[(1, 10, 5)]);
    let replica = Lineage { shard: ShardId(1), ..primary.clone() };
    assert!(matches!(compare(&primary, &replica, Keys::default(), true), Plan::Refuse(Refusal { code: RefusalCode::Shard, .. })));
}

#[test]
fn impossible_lineages_are_told() {
    let sound = log(&[(1, 10, 5), (2, 20, 3)]);
    let mut unordered = sound.clone();
    unordered.epochs.reverse();
    assert!(unordered.validate().is_err());
    assert!(Lineage { last: Lsn(4), ..sound.clone() }.validate().is_err(), "an epoch begins behind the end");
    assert!(Lineage { cleaned: Lsn(9), ..sound.clone() }.validate().is_err());
    assert!(Lineage { last: Lsn(u64::MAX), ..sound }.validate().is_err());
}

#[test]
fn refusals_keep_their_numbers() {
    for number in 0..10 {
        assert_eq!(RefusalCode::from_number(number).to_number(), number);
    }
}
