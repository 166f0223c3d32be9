//! The replica's side, driven by hand.

use esker_storage::manifest::Epoch;
use esker_storage::types::{HistoryId, Incarnation, WriterId};

use super::*;
use crate::replication::wire::{File, Want};

fn lineage(runs: &[(u32, u64)], last: u64) -> Lineage {
    let epoch = |&(number, first): &(u32, u64)| Epoch { number: EpochNumber(number), writer: WriterId(9), first: Lsn(first) };
    Lineage { history: HistoryId(1), epochs: runs.iter().map(epoch).collect(), last: Lsn(last), ..Lineage::default() }
}

fn welcome(lineage: Lineage, plan: WelcomePlan) -> Message<'static> {
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    Message::Welcome(Welcome { version: 1, node, incarnation, lineage, keys: 5, common: Lsn(0), plan })
}

fn snapshot() -> WelcomePlan {
    WelcomePlan::Snapshot { id: SnapshotId(4), lsn: Lsn(10) }
}

fn entries(first: u64, last: u64, committed: u64) -> Entries<'static> {
    Entries { first: Lsn(first), last: Lsn(last), committed: Lsn(committed), raw: b"raw bytes" }
}

fn beat(written: u64, committed: u64, epoch: u32) -> Message<'static> {
    Message::Heartbeat(Heartbeat { written: Lsn(written), committed: Lsn(committed), epoch: EpochNumber(epoch), time: UnixMillis(1) })
}

struct Link(Follow);

impl Link {
    /// A link whose replica has said hello with this log.
    fn greeting(lineage: Lineage, keys: u64) -> Self {
        let me = Me { node: NodeId(2), incarnation: Incarnation(3), listening_port: 1, announce_ip: String::new(), force: false };
        let options = Options { ack_bytes: 20, wants: 1, ping: Millis(10), timeout: Millis(100), ..Options::default() };
        let mut link = Self(Follow::new(options, me));
        let mut out = Vec::new();
        link.0.connected(Millis(0), &mut out);
        assert_eq!(std::mem::take(&mut out), [Action::TellStanding]);
        link.0.standing(Standing { flushed: lineage.last, lineage, keys, whole: false, damaged: false }, Millis(0), &mut out);
        assert!(matches!(out[..], [Action::Send(Message::Hello(_))]));
        link
    }

    /// A link that has entries up to 5 and gets those from 6 on.
    fn streaming() -> Self {
        let mut link = Self::greeting(lineage(&[(1, 1)], 5), 5);
        let actions = link.told(welcome(lineage(&[(1, 1)], 10), WelcomePlan::Continue { from: Lsn(6) }));
        assert!(matches!(actions[..], [Action::Send(Message::Ack(Ack { written: Lsn(5), .. }))]), "{actions:?}");
        link
    }

    fn told<'a>(&mut self, message: Message<'a>) -> Vec<Action<'a>> {
        let mut out = Vec::new();
        self.0.message(message, Millis(1), &mut out);
        out
    }

    fn drained(&mut self) -> Vec<Action<'static>> {
        let mut out = Vec::new();
        self.0.drained(Millis(1), &mut out);
        out
    }
}

fn ends(actions: &[Action<'_>], code: ByeCode) -> bool {
    let close = actions.iter().any(|action| matches!(action, Action::Close(bye) if bye.code == code));
    close && matches!(actions.last(), Some(Action::Reconnect { .. }))
}

fn ack(written: u64, flushed: u64, readable: u64) -> Action<'static> {
    Action::Send(Message::Ack(Ack { written: Lsn(written), flushed: Lsn(flushed), applied: Lsn(written), readable: Lsn(readable) }))
}

#[test]
fn entries_are_handed_on_in_order_and_acknowledged_when_nothing_more_waits() {
    let mut link = Link::streaming();
    assert_eq!(link.told(Message::Entries(entries(6, 7, 6))), [Action::Apply(entries(6, 7, 6))]);
    link.0.progress(Lsn(7), Lsn(5), Lsn(7));
    assert_eq!(link.drained(), [ack(7, 5, 6)]);
    assert_eq!(link.drained(), [], "once");
    link.0.progress(Lsn(7), Lsn(7), Lsn(7));
    assert_eq!(link.drained(), [ack(7, 7, 6)], "what is flushed is told too");
}

#[test]
fn a_replica_that_is_busy_acknowledges_every_so_many_bytes() {
    let mut link = Link::streaming();
    for lsn in [6, 7] {
        assert_eq!(link.told(Message::Entries(entries(lsn, lsn, 0))).len(), 1);
        link.0.progress(Lsn(lsn), Lsn(5), Lsn(lsn));
    }
    let actions = link.told(Message::Entries(entries(8, 8, 0)));
    assert_eq!(actions, [Action::Apply(entries(8, 8, 0)), ack(7, 5, 0)], "27 bytes are more than 20; the last is not applied yet");
}

#[test]
fn a_gap_or_a_repetition_ends_the_link() {
    for (first, last) in [(7, 7), (5, 6), (1, 9)] {
        assert!(ends(&Link::streaming().told(Message::Entries(entries(first, last, 0))), ByeCode::Protocol), "{first}");
    }
}

#[test]
fn the_epoch_and_what_is_committed_never_go_back() {
    let mut link = Link::streaming();
    assert_eq!(link.told(beat(10, 5, 2)), []);
    assert_eq!(link.told(beat(10, 4, 2)), []);
    assert_eq!((link.0.committed(), link.0.readable()), (Lsn(5), Lsn(5)));
    assert!(ends(&link.told(beat(10, 5, 1)), ByeCode::Protocol));
}

#[test]
fn what_is_committed_beyond_the_log_is_not_readable() {
    let mut link = Link::streaming();
    link.told(beat(100, 90, 1));
    assert_eq!((link.0.committed(), link.0.readable()), (Lsn(90), Lsn(5)));
    assert_eq!(link.drained(), [], "what is readable is no reason to speak");
}

fn listing() -> Listing {
    let file = |name: &str, bytes| File { name: name.into(), bytes, sealed: true, from: 0 };
    let files = vec![file("01.seg", 6), file("02.seg", 0), file("03.seg", 5), file("04.seg", 3)];
    Listing { id: SnapshotId(4), lsn: Lsn(10), manifest: vec![1], files, above: Lsn(0) }
}

fn piece(file: u32, offset: u64, raw: &'static [u8]) -> Piece<'static> {
    Piece { id: SnapshotId(4), file, offset, raw }
}

fn wants(file: u32, offset: u64) -> Action<'static> {
    Action::Send(Message::Want(Want { id: SnapshotId(4), file, offset }))
}

#[test]
fn what_is_divergent_is_saved_before_a_file_is_begun() {
    let cleaned = Lineage { cleaned: Lsn(6), horizon: Lsn(8), ..lineage(&[(1, 1), (2, 6)], 9) };
    let mut link = Link::greeting(cleaned, 5);
    let actions = link.told(welcome(lineage(&[(1, 1), (3, 8)], 10), snapshot()));
    assert_eq!(actions, [Action::SaveDivergent { above: Lsn(5) }]);
    assert_eq!(link.told(Message::Listing(listing())), [], "the listing waits");
    let mut out = Vec::new();
    link.0.divergent_saved(&mut out);
    assert_eq!(out, [Action::BeginStaging(Box::new(listing()))]);
}

#[test]
fn what_is_divergent_is_saved_and_cut_where_nothing_is_missing() {
    let mut link = Link::greeting(lineage(&[(1, 1), (2, 6)], 9), 5);
    let actions = link.told(welcome(lineage(&[(1, 1), (3, 8)], 10), WelcomePlan::Cut { to: Lsn(5) }));
    assert_eq!(actions, [Action::SaveDivergent { above: Lsn(5) }]);
    let mut out = Vec::new();
    link.0.divergent_saved(&mut out);
    assert_eq!(std::mem::take(&mut out), [Action::Cut { to: Lsn(5) }]);
    link.0.installed(Millis(1), &mut out);
    assert_eq!(out, [Action::TellStanding], "it says hello again");
    // The primary's word alone cuts nothing.
    let mut link = Link::greeting(lineage(&[(1, 1), (2, 6)], 9), 5);
    let actions = link.told(welcome(lineage(&[(1, 1), (3, 8)], 10), WelcomePlan::Cut { to: Lsn(4) }));
    assert!(!actions.iter().any(|action| matches!(action, Action::SaveDivergent { .. } | Action::Cut { .. })), "{actions:?}");
}

/// A link that is told to stage files.
fn staging() -> Link {
    let mut link = Link::greeting(lineage(&[(1, 1)], 5), 5);
    let cleaned = Lineage { cleaned: Lsn(8), ..lineage(&[(1, 1)], 10) };
    assert_eq!(link.told(welcome(cleaned, snapshot())), []);
    assert_eq!(link.told(Message::Listing(listing())), [Action::BeginStaging(Box::new(listing()))]);
    link
}

#[test]
fn only_what_is_missing_is_fetched_and_then_installed() {
    let (mut link, mut out) = (staging(), Vec::new());
    link.0.staged(&[4, 0, 5, 9], Millis(1), &mut out);
    assert_eq!(std::mem::take(&mut out), [wants(0, 4)], "one at a time");
    assert_eq!(link.0.fetching(), Some((0, 5)));
    assert_eq!(link.told(Message::Piece(piece(0, 4, b"a"))), [Action::WritePiece(piece(0, 4, b"a"))]);
    assert_eq!(link.told(Message::Piece(piece(0, 5, b"b"))), [Action::WritePiece(piece(0, 5, b"b")), wants(3, 0)], "9 of 3 are no bytes");
    assert_eq!(link.told(Message::Piece(piece(3, 0, b"abc"))), [Action::WritePiece(piece(3, 0, b"abc")), Action::Install(SnapshotId(4))]);
    link.0.installed(Millis(1), &mut out);
    assert_eq!(out, [Action::Send(Message::SnapshotDone(SnapshotId(4))), Action::TellStanding], "and hello again");
}

#[test]
fn parts_that_were_not_asked_for_end_the_link() {
    for wrong in
        [piece(1, 0, b"a"), piece(0, 0, b"a"), piece(0, 5, b"a"), piece(0, 4, b"abc"), Piece { id: SnapshotId(5), ..piece(0, 4, b"a") }]
    {
        let (mut link, mut out) = (staging(), Vec::new());
        link.0.staged(&[4, 0, 5, 3], Millis(1), &mut out);
        assert!(ends(&link.told(Message::Piece(wrong)), ByeCode::Protocol), "{wrong:?}");
    }
    assert!(ends(&Link::streaming().told(Message::Piece(piece(0, 0, b"a"))), ByeCode::Protocol));
}

#[test]
fn nothing_is_given_up_on_the_word_of_the_primary() {
    // The primary has another history and fewer keys, and sends a snapshot all the same.
    let mut link = Link::greeting(lineage(&[(1, 1)], 5), 100);
    let theirs = Lineage { history: HistoryId(2), ..lineage(&[(1, 1)], 10) };
    let actions = link.told(welcome(theirs, snapshot()));
    assert!(ends(&actions, ByeCode::Refused), "{actions:?}");
    assert_eq!(link.0.refused().map(|refused| refused.code), Some(RefusalCode::MoreKeys));
    // It wants to go on where the logs differ.
    let mut link = Link::greeting(lineage(&[(1, 1), (2, 6)], 9), 5);
    let actions = link.told(welcome(lineage(&[(1, 1), (3, 8)], 10), WelcomePlan::Continue { from: Lsn(10) }));
    assert!(ends(&actions, ByeCode::Protocol), "{actions:?}");
}

#[test]
fn values_come_whole_and_before_entries() {
    let part = |id, offset, raw| ValuePiece { id, total: 4, offset, raw };
    let mut link = Link::streaming();
    let first = part(7, 0, b"ab");
    assert_eq!(link.told(Message::ValuePiece(first)), [Action::WriteValue { piece: first, complete: false }]);
    let last = part(7, 2, b"cd");
    assert_eq!(link.told(Message::ValuePiece(last)), [Action::WriteValue { piece: last, complete: true }]);
    assert_eq!(link.told(Message::Entries(entries(6, 6, 0))).len(), 1);
    for wrong in [Message::ValuePiece(part(8, 0, b"ab")), Message::ValuePiece(part(7, 3, b"d")), Message::Entries(entries(6, 6, 0))] {
        let mut link = Link::streaming();
        link.told(Message::ValuePiece(first));
        assert!(ends(&link.told(wrong.clone()), ByeCode::Protocol), "{wrong:?}");
    }
}

#[test]
fn silence_is_broken_by_acknowledgements_and_ends_the_link_in_the_end() {
    let (mut link, mut out) = (staging(), Vec::new());
    link.0.tick(Millis(5), &mut out);
    assert_eq!(out, []);
    link.0.tick(Millis(10), &mut out);
    assert_eq!(std::mem::take(&mut out), [Action::Send(Message::Ack(Ack::default()))], "in every state, and then without a claim");
    assert_eq!(link.0.deadline(), Some(Millis(20)));
    link.0.tick(Millis(101), &mut out);
    assert!(ends(&out, ByeCode::Timeout));
    assert_eq!(link.0.deadline(), None);
}

#[test]
fn pauses_double_until_a_link_is_made() {
    let mut link = Link::streaming();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let mut out = Vec::new();
        link.0.disconnected(&mut out);
        let [Action::Reconnect { after }] = out[..] else { panic!("{out:?}") };
        pauses.push(after.0);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    let mut refused = Link::greeting(lineage(&[(1, 1)], 5), 5);
    let plan = WelcomePlan::Refuse { code: RefusalCode::Waiting, reason: "later".into() };
    let actions = refused.told(welcome(lineage(&[(1, 1)], 5), plan));
    assert_eq!(actions.last(), Some(&Action::Reconnect { after: Millis(5000) }), "who is refused need not hurry");
}

fn take_over(lsn: u64, epoch: u32, force: bool) -> Message<'static> {
    Message::TakeOver(TakeOver { lsn: Lsn(lsn), epoch: EpochNumber(epoch), force })
}

fn refuses(actions: &[Action<'_>]) -> bool {
    matches!(actions, [Action::Send(Message::TookOver(answer))] if !answer.refused.is_empty())
}

#[test]
fn a_replica_takes_over_only_with_the_whole_log_of_the_newest_epoch() {
    let mut link = Link::streaming();
    assert!(refuses(&link.told(take_over(6, 1, false))), "an entry is missing");
    assert!(refuses(&link.told(take_over(4, 1, false))), "the order is of another log");
    link.told(beat(5, 0, 2));
    assert!(refuses(&link.told(take_over(5, 1, true))), "an older epoch");
    link.told(Message::Entries(entries(6, 6, 0)));
    assert!(refuses(&link.told(take_over(6, 2, false))), "received, and not applied yet");
    link.0.progress(Lsn(6), Lsn(0), Lsn(6));
    assert_eq!(link.told(take_over(6, 2, false)), [Action::TakeOver]);
    let mut out = Vec::new();
    link.0.took_over(Ok(EpochNumber(3)), Millis(1), &mut out);
    assert_eq!(out[0], Action::Send(Message::TookOver(TookOver { epoch: EpochNumber(3), refused: String::new() })));
    assert!(ends(&out, ByeCode::RoleChanged));
}

#[test]
fn a_replica_that_cannot_take_over_follows_on() {
    let mut link = Link::streaming();
    assert_eq!(link.told(take_over(9, 1, true)), [Action::TakeOver], "forced");
    let mut out = Vec::new();
    link.0.took_over(Err("no room".to_owned()), Millis(1), &mut out);
    assert!(refuses(&out));
    assert_eq!(link.told(Message::Entries(entries(6, 7, 6))), [Action::Apply(entries(6, 7, 6))]);
}

#[test]
fn who_has_no_log_in_common_yet_is_told_nothing() {
    let mut link = Link::greeting(lineage(&[(1, 1)], 5), 5);
    assert!(ends(&link.told(take_over(5, 1, true)), ByeCode::Protocol));
}
