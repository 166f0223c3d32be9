//! The primary's side of a link, sans IO.
//!
//! ```text
//! Greeting ── hello ──> Comparing ──┬── continue ──────────────────────> Streaming
//!    ^  ^                           ├── snapshot ──> Opening ──> Shipping <── lacking ──> Gathering
//!    │  └───── snapshot done ───────┼────────────────────────────┘
//!    └──────────────────────────────┼── cut
//!                                   └── refuse ──> Closed <── anything that breaks the protocol, or silence
//! ```
//!
//! Invariants:
//! - acknowledged ≤ sent ≤ written: nothing is sent twice on a link, and nothing that is not in the log.
//! - What is sent of the log and not acknowledged is bounded by the window, and nothing is asked for that the socket cannot take.
//! - The committed LSN that a replica is told never goes back.

use esker_storage::types::{EpochNumber, Incarnation, Lsn, NodeId};

use super::lineage::{Keys, Lineage, Plan, Refusal, RefusalCode, common_prefix, compare};
use super::time::{Millis, Now};
use super::wire::{Ack, Bye, ByeCode, Heartbeat, Hello, Listing, Message, SnapshotId, TakeOver, VERSION, Welcome, WelcomePlan};

mod action;
mod ship;
mod window;

pub use action::{Action, LogRead, Options, Standing};
use ship::Shipping;
use window::Window;

/// Where a link is.
#[derive(Debug)]
enum Phase {
    /// The replica is to say hello.
    Greeting,
    /// The driver looks up what the log holds.
    Comparing(Box<Hello>),
    /// The driver opens a snapshot.
    Opening(Box<Welcome>),
    /// The driver gathers what the replica lacks beside a difference.
    Gathering(SnapshotId),
    /// Files go out as the replica wants them.
    Shipping(Shipping),
    /// The log goes out.
    Streaming(Streaming),
    /// Nothing is done any more.
    Closed,
}

/// What the stream is at.
#[derive(Debug, Default)]
struct Streaming {
    /// The driver reads the log.
    reading: bool,
    /// Values that go before the next entry, the one at the front from its offset on.
    values: std::collections::VecDeque<(u128, u64)>,
    offset: u64,
    /// The values of the next entry are out.
    values_sent: bool,
}

/// The primary's side of a link.
#[derive(Debug)]
pub struct Feed {
    options: Options,
    node: NodeId,
    incarnation: Incarnation,
    phase: Phase,
    replica: Option<NodeId>,
    written: Lsn,
    committed: Lsn,
    epoch: EpochNumber,
    sent: Lsn,
    told: Lsn,
    acked: Ack,
    window: Window,
    room: u64,
    heard: Millis,
    spoke: Millis,
    /// The replica was told to take over.
    handing_over: bool,
}

impl Feed {
    /// A link on which nothing was said yet.
    #[must_use]
    pub fn new(options: Options, node: NodeId, incarnation: Incarnation, now: Now) -> Self {
        Self {
            options,
            node,
            incarnation,
            phase: Phase::Greeting,
            replica: None,
            written: Lsn(0),
            committed: Lsn(0),
            epoch: EpochNumber(0),
            sent: Lsn(0),
            told: Lsn(0),
            acked: Ack::default(),
            window: Window::default(),
            room: 0,
            heard: now.at,
            spoke: now.at,
            handing_over: false,
        }
    }

    /// The replica, once it has said who it is.
    #[must_use]
    pub fn replica(&self) -> Option<NodeId> {
        self.replica
    }

    /// What was sent of the log.
    #[must_use]
    pub fn sent(&self) -> Lsn {
        self.sent
    }

    /// What the replica acknowledged last.
    #[must_use]
    pub fn acked(&self) -> Ack {
        self.acked
    }

    /// What entries that are sent now have to say is committed.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.committed
    }

    /// Whether the log goes out.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming(_))
    }

    /// Whether the driver gathers what the replica lacks.
    #[must_use]
    pub fn is_gathering(&self) -> bool {
        matches!(self.phase, Phase::Gathering(_))
    }

    /// A message came in.
    pub fn message(&mut self, message: Message<'_>, now: Now, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.heard = now.at;
        match (message, &mut self.phase) {
            (Message::Hello(hello), Phase::Greeting) => self.hello(hello, out),
            (Message::Want(want), Phase::Shipping(shipping)) => match shipping.want(want, self.options.wants) {
                Ok(()) => self.pump(now, out),
                Err(reason) => self.leave(ByeCode::Protocol, reason, out),
            },
            (Message::Lacking(lacking), Phase::Shipping(shipping)) if shipping.id() == lacking.id => {
                self.phase = Phase::Gathering(lacking.id);
                out.push(Action::GatherRecords(lacking));
            }
            (Message::SnapshotDone(id), Phase::Shipping(shipping)) if shipping.id() == id => {
                out.push(Action::CloseSnapshot(id));
                self.phase = Phase::Greeting;
            }
            (Message::Ack(ack), Phase::Streaming(_)) => self.ack(ack, now, out),
            // In other phases a sign of life: what it names may be of a log that is about to be replaced.
            (Message::Ack(_), _) => {}
            (Message::TookOver(answer), Phase::Streaming(_)) if self.handing_over => {
                self.handing_over = false;
                out.push(Action::TookOver(answer));
            }
            (Message::Bye(bye), _) => self.end(bye, out),
            (_, _) => self.leave(ByeCode::Protocol, "a message that does not belong here", out),
        }
    }

    fn hello(&mut self, hello: Hello, out: &mut Vec<Action>) {
        self.replica = Some(hello.node);
        // Pinned before it is compared: what is found to be there must still be there when it is sent.
        out.push(Action::Pin(hello.lineage.last));
        out.push(Action::Compare);
        self.phase = Phase::Comparing(Box::new(hello));
    }

    /// Answers [`Action::Compare`].
    pub fn compared(&mut self, standing: Standing, now: Now, out: &mut Vec<Action>) {
        let Phase::Comparing(hello) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let keys = Keys { primary: standing.keys, replica: hello.keys };
        let Standing { lineage, is_primary, keys: own_keys, committed, refuse } = standing;
        let plan = match refuse {
            Some(refusal) => Plan::Refuse(refusal),
            None if is_primary => compare(&lineage, &hello.lineage, keys, hello.force),
            None => handed_on(compare(&lineage, &hello.lineage, keys, hello.force), &lineage, &hello),
        };
        let common = common_prefix(&lineage, &hello.lineage);
        let plan = match plan {
            Plan::Continue { .. } if hello.damaged && common > Lsn(0) => Plan::Snapshot { common, divergent: false },
            Plan::Cut { to } if hello.whole => Plan::Snapshot { common: to, divergent: true },
            plan => plan,
        };
        self.written = lineage.last;
        self.epoch = lineage.epoch().map_or(EpochNumber(0), |epoch| epoch.number);
        self.committed = self.committed.max(committed);
        let welcome = |plan, lineage: &Lineage| Welcome {
            version: VERSION.min(hello.version),
            node: self.node,
            incarnation: self.incarnation,
            lineage: lineage.clone(),
            keys: own_keys,
            common,
            plan,
        };
        match plan {
            Plan::Refuse(refusal) => {
                let plan = WelcomePlan::Refuse { code: refusal.code, reason: refusal.reason.clone() };
                let code = if refusal.code == RefusalCode::NotPrimary { ByeCode::RoleChanged } else { ByeCode::Refused };
                let message = Message::Welcome(welcome(plan, &lineage));
                self.send(message, now, out);
                self.end(Bye { code, reason: refusal.reason }, out);
            }
            Plan::Cut { to } => {
                let message = Message::Welcome(welcome(WelcomePlan::Cut { to }, &lineage));
                self.phase = Phase::Greeting;
                out.push(Action::Pin(to));
                out.push(Action::Joined { holds: to });
                self.send(message, now, out);
            }
            Plan::Snapshot { .. } => {
                let above = if hello.whole { Lsn(0) } else { common };
                let welcome = welcome(WelcomePlan::Snapshot { id: SnapshotId(0), lsn: Lsn(0) }, &lineage);
                self.phase = Phase::Opening(Box::new(welcome));
                // What is above must be there until it has been listed.
                out.push(Action::Pin(common));
                out.push(Action::Joined { holds: common });
                out.push(Action::OpenSnapshot { above });
            }
            Plan::Continue { from } => {
                let message = Message::Welcome(welcome(WelcomePlan::Continue { from }, &lineage));
                self.phase = Phase::Streaming(Streaming::default());
                self.sent = hello.lineage.last;
                self.window = Window::default();
                self.acked = Ack { written: self.sent, ..Ack::default() };
                out.push(Action::Joined { holds: self.sent });
                self.send(message, now, out);
                self.pump(now, out);
            }
        }
    }

    /// Answers [`Action::OpenSnapshot`]: the snapshot's log goes up to the listing's LSN, and nothing above that is cleaned from now on.
    pub fn snapshot_opened(&mut self, listing: Listing, now: Now, out: &mut Vec<Action>) {
        let Phase::Opening(mut welcome) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return out.push(Action::CloseSnapshot(listing.id));
        };
        welcome.plan = WelcomePlan::Snapshot { id: listing.id, lsn: listing.lsn };
        out.push(Action::Pin(listing.lsn));
        self.phase = Phase::Shipping(Shipping::new(&listing, self.options.bandwidth, now.at));
        self.send(Message::Welcome(*welcome), now, out);
        self.send(Message::Listing(listing), now, out);
    }

    /// Answers [`Action::GatherRecords`]: they are the file of the listing.
    pub fn records_gathered(&mut self, listing: Listing, now: Now, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Gathering(id) if id == listing.id) {
            return;
        }
        self.phase = Phase::Shipping(Shipping::new(&listing, self.options.bandwidth, now.at));
        self.send(Message::Listing(listing), now, out);
    }

    fn ack(&mut self, ack: Ack, now: Now, out: &mut Vec<Action>) {
        let ordered = ack.flushed <= ack.written && ack.applied <= ack.written && ack.readable <= ack.applied;
        if ack.written > self.sent || !ordered {
            return self.leave(ByeCode::Protocol, "an acknowledgement of what was not sent", out);
        }
        if ack.written < self.acked.written {
            // A sign of life from before the replica knew that it is streaming.
            return;
        }
        if ack.flushed > self.acked.flushed {
            out.push(Action::Pin(ack.flushed));
        }
        self.acked = ack;
        self.window.acknowledged(ack.written);
        out.push(Action::Progress(ack));
        self.pump(now, out);
    }

    /// The log has come so far, or the mode has promised more.
    pub fn grew(&mut self, written: Lsn, committed: Lsn, epoch: EpochNumber, now: Now, out: &mut Vec<Action>) {
        if written < self.sent && matches!(self.phase, Phase::Streaming(_)) {
            // The node follows another log now, and what was sent is not part of it.
            return self.leave(ByeCode::RoleChanged, "the log was replaced", out);
        }
        (self.written, self.epoch) = (written, epoch);
        self.committed = self.committed.max(committed);
        self.pump(now, out);
    }

    /// Tells the replica to take over, if it has acknowledged all that it has to have; whether it was told. The log grows no more.
    pub fn take_over(&mut self, order: TakeOver, now: Now, out: &mut Vec<Action>) -> bool {
        let has_all = order.force || (self.acked.written >= order.lsn && self.written <= order.lsn);
        if !matches!(self.phase, Phase::Streaming(_)) || self.handing_over || !has_all {
            return false;
        }
        self.handing_over = true;
        self.send(Message::TakeOver(order), now, out);
        true
    }

    /// The socket can take so many bytes more.
    pub fn room(&mut self, bytes: u64, now: Now, out: &mut Vec<Action>) {
        self.room = bytes;
        self.pump(now, out);
    }

    /// Answers [`Action::ReadLog`]. Entries were sent by the driver before.
    pub fn log_read(&mut self, read: LogRead, now: Now, out: &mut Vec<Action>) {
        let Phase::Streaming(streaming) = &mut self.phase else { return };
        streaming.reading = false;
        match read {
            LogRead::Entries { last, bytes } => {
                debug_assert!(last > self.sent);
                streaming.values_sent = false;
                self.sent = last;
                self.told = self.told.max(self.committed);
                self.window.sent(last, bytes);
                self.room = self.room.saturating_sub(bytes);
                self.spoke = now.at;
            }
            LogRead::Values(values) => {
                streaming.values_sent = values.is_empty();
                (streaming.values, streaming.offset) = (values.into(), 0);
            }
            LogRead::Gone => return self.leave(ByeCode::LogGone, "the log was cleaned where it is to be read", out),
        }
        self.pump(now, out);
    }

    /// Time has passed. To be called at [`Self::deadline`] at the latest.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if now.at - self.heard >= self.options.timeout {
            return self.leave(ByeCode::Timeout, "nothing was heard", out);
        }
        self.pump(now, out);
        if now.at - self.spoke >= self.options.ping {
            self.heartbeat(now, out);
        }
    }

    /// When the next tick is due.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        let due = (self.heard + self.options.timeout).min(self.spoke + self.options.ping);
        match &self.phase {
            Phase::Shipping(shipping) if self.room > 0 => due.min(shipping.due().unwrap_or(due)),
            _ => due,
        }
    }

    /// Ends the link from this side.
    pub fn leave(&mut self, code: ByeCode, reason: &str, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let bye = Bye { code, reason: reason.to_owned() };
        out.push(Action::Send(Message::Bye(bye.clone())));
        self.end(bye, out);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Closed) {
            self.end(Bye { code: ByeCode::Disconnected, reason: "the connection broke".to_owned() }, out);
        }
    }

    fn end(&mut self, bye: Bye, out: &mut Vec<Action>) {
        match &self.phase {
            Phase::Shipping(shipping) => out.push(Action::CloseSnapshot(shipping.id())),
            Phase::Gathering(id) => out.push(Action::CloseSnapshot(*id)),
            _ => {}
        }
        self.phase = Phase::Closed;
        out.push(Action::Close(bye));
    }

    /// Asks for all that can go out now.
    fn pump(&mut self, now: Now, out: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Shipping(shipping) => {
                let spoken = shipping.pump(&mut self.room, self.options.piece, now.at, out);
                self.spoke = if spoken { now.at } else { self.spoke };
            }
            Phase::Streaming(_) => self.stream(now, out),
            _ => {}
        }
    }

    fn stream(&mut self, now: Now, out: &mut Vec<Action>) {
        let Phase::Streaming(streaming) = &mut self.phase else { return };
        let next = self.sent.next();
        while let Some(&(id, total)) = streaming.values.front() {
            // Not held back by the window: the replica writes them to disk, and acknowledges them only with their entry.
            let len = u64::from(self.options.piece).min(self.room).min(total - streaming.offset);
            if len == 0 {
                return;
            }
            out.push(Action::SendValue { id, total, offset: streaming.offset, len: len as u32 });
            self.spoke = now.at;
            self.room -= len;
            streaming.offset += len;
            if streaming.offset == total {
                streaming.values.pop_front();
                streaming.offset = 0;
                streaming.values_sent = streaming.values.is_empty();
            }
        }
        if streaming.reading {
            return;
        }
        if self.sent < self.written {
            let free = self.options.window.saturating_sub(self.window.bytes()).min(self.room);
            if free > 0 {
                streaming.reading = true;
                let most = free.min(u64::from(self.options.read)) as u32;
                out.push(Action::ReadLog { from: next, most, values_sent: streaming.values_sent });
            }
        } else if self.told < self.committed {
            // Nothing else tells it, and clients of the replica may wait for it.
            self.heartbeat(now, out);
        }
    }

    fn heartbeat(&mut self, now: Now, out: &mut Vec<Action>) {
        let heartbeat = Heartbeat { written: self.written, committed: self.committed, epoch: self.epoch, time: now.wall };
        self.told = self.told.max(self.committed);
        self.send(Message::Heartbeat(heartbeat), now, out);
    }

    fn send(&mut self, message: Message<'static>, now: Now, out: &mut Vec<Action>) {
        self.spoke = now.at;
        out.push(Action::Send(message));
    }
}

/// A replica that feeds others may be behind them, and they hold what was promised then: it makes nobody give up entries before it has one
/// of a later epoch than theirs.
fn handed_on(plan: Plan, lineage: &Lineage, hello: &Hello) -> Plan {
    let number = |lineage: &Lineage| lineage.epoch().map(|epoch| epoch.number);
    let behind = lineage.history == hello.lineage.history && number(lineage) <= number(&hello.lineage);
    match plan {
        Plan::Cut { .. } | Plan::Snapshot { divergent: true, .. } if behind && !hello.force => {
            let reason = "this node is a replica itself, and may be behind".to_owned();
            Plan::Refuse(Refusal { code: RefusalCode::Waiting, reason })
        }
        plan => plan,
    }
}

#[cfg(test)]
mod tests;
