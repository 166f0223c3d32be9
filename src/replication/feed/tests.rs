//! The primary's side, driven by hand.

use esker_storage::manifest::Epoch;
use esker_storage::types::{HistoryId, UnixMillis, WriterId};

use super::*;
use crate::replication::wire::{File, Lacking, TookOver, Want};

fn at(millis: u64) -> Now {
    Now { at: Millis(millis), wall: UnixMillis(1_000_000 + millis as i64) }
}

fn lineage(last: u64) -> Lineage {
    let epochs = vec![Epoch { number: EpochNumber(1), writer: WriterId(1), first: Lsn(1) }];
    Lineage { history: HistoryId(1), epochs, last: Lsn(last), ..Lineage::default() }
}

fn hello(lineage: Lineage) -> Message<'static> {
    Message::Hello(Hello {
        version: 1,
        node: NodeId(2),
        incarnation: Incarnation(1),
        listening_port: 1,
        announce_ip: String::new(),
        lineage,
        keys: 1,
        force: false,
        whole: false,
        damaged: false,
    })
}

fn ack(written: u64, flushed: u64) -> Message<'static> {
    Message::Ack(Ack { written: Lsn(written), flushed: Lsn(flushed), applied: Lsn(written), readable: Lsn(0) })
}

struct Link {
    feed: Feed,
    out: Vec<Action>,
}

impl Link {
    fn new() -> Self {
        let options = Options { window: 100, piece: 40, read: 60, wants: 2, bandwidth: 0, ping: Millis(10), timeout: Millis(100) };
        Self { feed: Feed::new(options, NodeId(1), Incarnation(7), at(0)), out: Vec::new() }
    }

    fn told(&mut self, message: Message<'_>) -> Vec<Action> {
        self.feed.message(message, at(1), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn compared(&mut self, lineage: Lineage, committed: u64) -> Vec<Action> {
        let standing = Standing { lineage, is_primary: true, keys: 5, committed: Lsn(committed), refuse: None };
        self.feed.compared(standing, at(1), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn room(&mut self, bytes: u64) -> Vec<Action> {
        self.feed.room(bytes, at(1), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn read(&mut self, read: LogRead) -> Vec<Action> {
        self.feed.log_read(read, at(1), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn grew(&mut self, written: u64, committed: u64) -> Vec<Action> {
        self.feed.grew(Lsn(written), Lsn(committed), EpochNumber(1), at(1), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn tick(&mut self, now: u64) -> Vec<Action> {
        self.feed.tick(at(now), &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// A link that streams from LSN 6 on, with ten entries in the log.
    fn streaming() -> Self {
        let mut link = Self::new();
        link.told(hello(lineage(5)));
        link.compared(lineage(10), 0);
        link
    }
}

fn read_log(from: u64, most: u32) -> Action {
    Action::ReadLog { from: Lsn(from), most, values_sent: false }
}

fn closes(actions: &[Action], code: ByeCode) -> bool {
    matches!(actions.last(), Some(Action::Close(bye)) if bye.code == code)
}

#[test]
fn a_replica_whose_log_is_a_prefix_goes_on_where_it_ends() {
    let mut link = Link::new();
    assert_eq!(link.told(hello(lineage(5))), [Action::Pin(Lsn(5)), Action::Compare], "pinned before it is compared");
    let actions = link.compared(lineage(10), 0);
    assert_eq!(actions[0], Action::Joined { holds: Lsn(5) });
    let [_, Action::Send(Message::Welcome(welcome))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((&welcome.plan, welcome.common), (&WelcomePlan::Continue { from: Lsn(6) }, Lsn(5)));
    assert_eq!(link.room(1000), [read_log(6, 60)]);
    assert_eq!(link.read(LogRead::Entries { last: Lsn(8), bytes: 55 }), [read_log(9, 45)], "without waiting for an acknowledgement");
    assert_eq!(link.read(LogRead::Entries { last: Lsn(10), bytes: 40 }), []);
    assert_eq!(link.grew(11, 0), [read_log(11, 5)]);
}

#[test]
fn no_more_is_on_its_way_than_the_window_or_the_socket_takes() {
    let mut link = Link::streaming();
    assert_eq!(link.room(30), [read_log(6, 30)]);
    assert_eq!(link.read(LogRead::Entries { last: Lsn(6), bytes: 30 }), []);
    link.room(1000);
    assert_eq!(link.read(LogRead::Entries { last: Lsn(8), bytes: 70 }), [], "the window is full");
    assert_eq!(link.told(ack(6, 0)), [Action::Progress(Ack { written: Lsn(6), applied: Lsn(6), ..Ack::default() }), read_log(9, 30)]);
}

#[test]
fn what_is_flushed_there_need_not_be_kept_for_it() {
    let mut link = Link::streaming();
    link.room(1000);
    link.read(LogRead::Entries { last: Lsn(10), bytes: 10 });
    assert_eq!(link.told(ack(10, 8))[0], Action::Pin(Lsn(8)));
    assert!(!link.told(ack(10, 8)).iter().any(|action| matches!(action, Action::Pin(_))));
}

#[test]
fn what_is_committed_is_told_at_once_when_no_entries_tell_it() {
    let mut link = Link::streaming();
    link.room(1000);
    assert_eq!(link.grew(10, 7), [], "the entries that are being read tell it");
    assert_eq!(link.read(LogRead::Entries { last: Lsn(10), bytes: 10 }), []);
    let actions = link.grew(10, 9);
    assert!(matches!(actions[..], [Action::Send(Message::Heartbeat(Heartbeat { committed: Lsn(9), .. }))]), "{actions:?}");
    assert_eq!(link.grew(10, 9), []);
    assert_eq!(link.grew(10, 8), [], "it never goes back");
}

#[test]
fn values_go_before_the_entry_that_names_them() {
    let mut link = Link::streaming();
    link.room(1000);
    let part = |id, total, offset, len| Action::SendValue { id, total, offset, len };
    let after = Action::ReadLog { from: Lsn(6), most: 60, values_sent: true };
    let actions = link.read(LogRead::Values(vec![(7, 90), (8, 10)]));
    assert_eq!(actions, [part(7, 90, 0, 40), part(7, 90, 40, 40), part(7, 90, 80, 10), part(8, 10, 0, 10), after]);
    assert_eq!(link.read(LogRead::Entries { last: Lsn(6), bytes: 10 }), [read_log(7, 60)]);
}

#[test]
fn values_wait_for_the_socket_only() {
    let mut link = Link::streaming();
    link.room(50);
    assert_eq!(link.read(LogRead::Values(vec![(7, 500)])).len(), 2);
    assert_eq!(link.room(10), [Action::SendValue { id: 7, total: 500, offset: 50, len: 10 }]);
}

fn listing() -> Listing {
    let file = |name: &str, bytes| File { name: name.into(), bytes, sealed: true, from: 0 };
    let files = vec![file("01.seg", 100), file("02.seg", 30)];
    Listing { id: SnapshotId(4), lsn: Lsn(10), manifest: vec![1], files, above: Lsn(5) }
}

fn want(file: u32, offset: u64) -> Message<'static> {
    Message::Want(Want { id: SnapshotId(4), file, offset })
}

/// A link whose replica gets a snapshot.
fn shipping() -> Link {
    let mut link = Link::new();
    link.told(hello(lineage(5)));
    let cleaned = Lineage { cleaned: Lsn(8), ..lineage(10) };
    let opens = [Action::Pin(Lsn(5)), Action::Joined { holds: Lsn(5) }, Action::OpenSnapshot { above: Lsn(5) }];
    assert_eq!(link.compared(cleaned, 0), opens);
    link.feed.snapshot_opened(listing(), at(1), &mut link.out);
    link
}

#[test]
fn a_replica_that_a_difference_did_not_help_gets_everything() {
    let mut link = Link::new();
    let Message::Hello(said) = hello(lineage(5)) else { unreachable!() };
    link.told(Message::Hello(Hello { whole: true, ..said }));
    let actions = link.compared(Lineage { cleaned: Lsn(8), ..lineage(10) }, 0);
    assert_eq!(actions.last(), Some(&Action::OpenSnapshot { above: Lsn(0) }));
}

#[test]
fn a_replica_that_is_level_and_damaged_gets_what_it_cannot_read() {
    let mut link = Link::new();
    let Message::Hello(said) = hello(lineage(5)) else { unreachable!() };
    link.told(Message::Hello(Hello { damaged: true, ..said }));
    assert_eq!(link.compared(lineage(5), 0).last(), Some(&Action::OpenSnapshot { above: Lsn(5) }));
}

#[test]
fn a_replica_with_entries_of_its_own_goes_back_and_says_hello_again() {
    let mut link = Link::new();
    let own = |last| {
        let mut lineage = lineage(last);
        lineage.epochs.push(Epoch { number: EpochNumber(2), writer: WriterId(9), first: Lsn(6) });
        lineage
    };
    let divergent = || hello(own(8));
    link.told(divergent());
    let actions = link.compared(lineage(10), 0);
    assert_eq!(actions[..2], [Action::Pin(Lsn(5)), Action::Joined { holds: Lsn(5) }]);
    assert!(matches!(&actions[2..], [Action::Send(Message::Welcome(Welcome { plan: WelcomePlan::Cut { to: Lsn(5) }, .. }))]));
    link.told(hello(lineage(5)));
    assert!(matches!(link.compared(lineage(10), 0)[..], [_, Action::Send(Message::Welcome(_)), ..]));
    assert!(link.feed.is_streaming());
    // One that cleaned on account of them lacks what they took the place of.
    let mut link = Link::new();
    link.told(hello(Lineage { horizon: Lsn(7), ..own(8) }));
    assert_eq!(link.compared(lineage(10), 0).last(), Some(&Action::OpenSnapshot { above: Lsn(5) }));
}

#[test]
fn what_a_replica_lacks_beside_a_difference_comes_in_another_listing() {
    let mut link = shipping();
    link.told(want(0, 0));
    let lacking = || Lacking { id: SnapshotId(4), ops: vec![1, 2] };
    assert_eq!(link.told(Message::Lacking(lacking())), [Action::GatherRecords(lacking())]);
    assert!(link.feed.is_gathering());
    link.feed.records_gathered(listing(), at(1), &mut link.out);
    let listed = std::mem::take(&mut link.out);
    assert_eq!(listed, [Action::Send(Message::Listing(listing()))]);
    link.told(want(1, 0));
    assert_eq!(link.room(20).len(), 1, "it goes out");
    assert_eq!(link.told(Message::SnapshotDone(SnapshotId(4))), [Action::CloseSnapshot(SnapshotId(4))]);
}

#[test]
fn a_replica_behind_what_was_cleaned_gets_files_from_where_it_wants_them() {
    let mut link = shipping();
    let actions = std::mem::take(&mut link.out);
    let [Action::Pin(Lsn(10)), Action::Send(Message::Welcome(welcome)), Action::Send(Message::Listing(_))] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(welcome.plan, WelcomePlan::Snapshot { id: SnapshotId(4), lsn: Lsn(10) });
    let part = |file, offset, len| Action::SendPiece { id: SnapshotId(4), file, offset, len };
    link.room(70);
    assert_eq!(link.told(want(0, 10)), [part(0, 10, 40), part(0, 50, 30)]);
    assert_eq!(link.told(want(1, 0)), []);
    assert_eq!(link.room(1000), [part(0, 80, 20), part(1, 0, 30)]);
    assert_eq!(link.told(Message::SnapshotDone(SnapshotId(4))), [Action::CloseSnapshot(SnapshotId(4))]);
    assert_eq!(link.told(hello(lineage(10))), [Action::Pin(Lsn(10)), Action::Compare], "and says hello again");
}

#[test]
fn files_go_no_faster_than_allowed() {
    let mut link = Link::new();
    link.feed.options.bandwidth = 1000;
    link.feed.phase = Phase::Shipping(Shipping::new(&listing(), 1000, Millis(0)));
    link.feed.room = 10_000;
    link.feed.message(want(0, 0), at(0), &mut link.out);
    assert_eq!(std::mem::take(&mut link.out), []);
    let mut sent = 0;
    for now in (0..=90).step_by(10) {
        for action in link.tick(now) {
            if let Action::SendPiece { len, .. } = action {
                sent += u64::from(len);
            }
        }
        assert!(sent <= now, "{sent} bytes in {now} ms");
    }
    assert_eq!(sent, 90);
    assert_eq!(link.feed.deadline(), Millis(100), "it asks to be called again");
}

#[test]
fn a_replica_that_would_lose_what_it_should_not_is_refused() {
    let mut link = Link::new();
    link.told(hello(Lineage { history: HistoryId(2), ..lineage(5) }));
    let standing = Standing { lineage: lineage(3), is_primary: true, keys: 0, committed: Lsn(0), refuse: None };
    link.feed.compared(standing, at(1), &mut link.out);
    let refused = |action: &Action| {
        matches!(action, Action::Send(Message::Welcome(Welcome { plan: WelcomePlan::Refuse { code: RefusalCode::MoreKeys, .. }, .. })))
    };
    assert!(refused(&link.out[0]) && closes(&link.out, ByeCode::Refused), "{:?}", link.out);
}

#[test]
fn a_replica_that_is_behind_makes_nobody_give_up_entries() {
    let refused = |is_primary, epochs: &[u32]| {
        let mut link = Link::new();
        link.told(hello(lineage(9)));
        let mut lineage = lineage(5);
        for &number in epochs {
            lineage.epochs.push(Epoch { number: EpochNumber(number), writer: WriterId(2), first: lineage.last.next() });
            lineage.last.0 += 1;
        }
        link.feed.compared(Standing { lineage, is_primary, keys: 5, committed: Lsn(0), refuse: None }, at(1), &mut link.out);
        closes(&link.out, ByeCode::Refused)
    };
    assert!(refused(false, &[]), "it may just be behind");
    assert!(!refused(true, &[]), "a primary has lost its end");
    assert!(!refused(false, &[2]), "a later epoch began without the replica's end");
}

#[test]
fn who_is_no_primary_refuses_everybody() {
    let mut link = Link::new();
    link.told(hello(lineage(5)));
    let refusal = Refusal { code: RefusalCode::NotPrimary, reason: "no".into() };
    let standing = Standing { lineage: lineage(10), is_primary: true, keys: 9, committed: Lsn(0), refuse: Some(refusal) };
    link.feed.compared(standing, at(1), &mut link.out);
    assert!(closes(&link.out, ByeCode::RoleChanged));
}

#[test]
fn silence_is_broken_by_heartbeats_and_ends_the_link_in_the_end() {
    let mut link = Link::streaming();
    assert_eq!(link.tick(5), []);
    assert!(matches!(link.tick(11)[..], [Action::Send(Message::Heartbeat(_))]));
    assert_eq!(link.tick(12), []);
    assert!(closes(&link.tick(101), ByeCode::Timeout));
    assert_eq!(link.tick(500), [], "closed is closed");
}

#[test]
fn what_breaks_the_protocol_ends_the_link() {
    for message in [ack(11, 0), hello(lineage(5)), want(0, 0), Message::SnapshotDone(SnapshotId(1))] {
        assert!(closes(&Link::streaming().told(message.clone()), ByeCode::Protocol), "{message:?}");
    }
    assert!(closes(&Link::new().told(want(0, 0)), ByeCode::Protocol));
    for message in [want(2, 0), want(0, 100), Message::Want(Want { id: SnapshotId(5), file: 0, offset: 0 })] {
        let mut link = shipping();
        let actions = link.told(message);
        assert!(actions.contains(&Action::CloseSnapshot(SnapshotId(4))) && closes(&actions, ByeCode::Protocol));
    }
    let mut link = shipping();
    assert!((0..3).any(|_| closes(&link.told(want(0, 0)), ByeCode::Protocol)), "too many at a time");
}

#[test]
fn a_log_that_was_replaced_or_cleaned_ends_the_link() {
    let mut link = Link::streaming();
    assert!(closes(&link.grew(4, 0), ByeCode::RoleChanged));
    let mut link = Link::streaming();
    assert!(closes(&link.read(LogRead::Gone), ByeCode::LogGone));
}

#[test]
fn a_broken_connection_lets_go_of_the_snapshot() {
    let mut link = shipping();
    link.out.clear();
    link.feed.disconnected(&mut link.out);
    assert_eq!(link.out[0], Action::CloseSnapshot(SnapshotId(4)));
    let mut link = Link::new();
    link.told(hello(lineage(5)));
    link.compared(Lineage { cleaned: Lsn(8), ..lineage(10) }, 0);
    link.feed.disconnected(&mut link.out);
    link.out.clear();
    link.feed.snapshot_opened(listing(), at(2), &mut link.out);
    assert_eq!(link.out, [Action::CloseSnapshot(SnapshotId(4))], "one that was opened too late");
}

#[test]
fn a_replica_is_told_to_take_over_when_it_has_everything_and_once() {
    let order = TakeOver { lsn: Lsn(10), epoch: EpochNumber(1), force: false };
    let mut link = Link::streaming();
    link.room(1000);
    link.read(LogRead::Entries { last: Lsn(10), bytes: 10 });
    link.told(ack(9, 0));
    assert!(!link.feed.take_over(order, at(1), &mut link.out), "it lacks an entry");
    link.told(ack(10, 0));
    assert!(link.feed.take_over(order, at(1), &mut link.out));
    assert_eq!(std::mem::take(&mut link.out), [Action::Send(Message::TakeOver(order))]);
    assert!(!link.feed.take_over(order, at(1), &mut link.out));
    let answer = TookOver { epoch: EpochNumber(2), refused: String::new() };
    assert_eq!(link.told(Message::TookOver(answer.clone())), [Action::TookOver(answer.clone())]);
    assert!(closes(&link.told(Message::TookOver(answer)), ByeCode::Protocol), "nobody asked");
}

#[test]
fn a_primary_whose_log_has_grown_hands_nothing_over_unless_it_is_forced() {
    let mut link = Link::streaming();
    link.room(1000);
    link.read(LogRead::Entries { last: Lsn(10), bytes: 10 });
    link.told(ack(10, 0));
    link.grew(11, 0);
    let order = TakeOver { lsn: Lsn(10), epoch: EpochNumber(1), force: false };
    assert!(!link.feed.take_over(order, at(1), &mut link.out));
    assert!(link.feed.take_over(TakeOver { force: true, ..order }, at(1), &mut link.out));
}
