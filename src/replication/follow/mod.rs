//! The replica's side of a link, sans IO.
//!
//! ```text
//!               ┌────────────────────────── snapshot done ────────────────────────────┐
//!               v                                                                     │
//! Idle ──> Standing ──> Greeting ──┬── cut ──> Saving ──────────────────────────────> Installing
//!                                  ├── snapshot ──> Saving ──> Staging ──> Fetching ──> Installing ── lacking ──> Staging
//!  ^                               └── continue ──> Streaming ── told to ──> TakingOver ── done: no link any more
//!  └─ anything that breaks the protocol, a refusal, silence, a broken connection: a pause, and again
//! ```
//!
//! Invariants:
//! - Entries are handed on in order: each run begins after the end of the one before.
//! - Nothing is given up on the primary's word: the replica compares both lineages itself, and what it has above the common prefix is saved
//!   before a file of the snapshot is even begun.
//! - readable ≤ committed, which never goes back but to the common prefix with another log.
//! - The epoch never goes back on a link.

use esker_storage::types::{EpochNumber, Lsn, NodeId, UnixMillis};

use super::lineage::{Keys, Lineage, Plan, RefusalCode, common_prefix, compare};
use super::time::Millis;
use super::wire::{
    Ack, Bye, ByeCode, Entries, Heartbeat, Hello, Lacking, Listing, Message, Piece, SnapshotId, TakeOver, TookOver, VERSION, ValuePiece,
    Welcome, WelcomePlan,
};

mod action;
mod fetch;
mod view;

pub use action::{Action, Me, Options, Refused, Standing};
use fetch::Fetch;

/// Where a link is.
#[derive(Debug)]
enum Phase {
    /// There is none.
    Idle,
    /// The driver looks up what the log holds.
    Standing,
    /// The primary is to answer.
    Greeting(Box<Standing>),
    /// The driver saves what is divergent, and cuts it then.
    Cutting(Lsn),
    /// The driver saves what is divergent. The listing may come meanwhile.
    Saving(SnapshotId, Option<Box<Listing>>),
    /// The listing is to come.
    Listing(SnapshotId),
    /// The driver looks up what it has of the files.
    Staging(Box<Listing>),
    /// Files come in.
    Fetching(Fetch),
    /// The driver puts the files in place, or a copy that was cut.
    Installing(Option<SnapshotId>),
    /// The log comes in.
    Streaming,
    /// The driver has this node take over.
    TakingOver,
}

/// The replica's side of a link, over all its connections.
#[derive(Debug)]
pub struct Follow {
    options: Options,
    me: Me,
    phase: Phase,
    attempts: u32,
    refused: Option<Refused>,
    primary: Option<NodeId>,
    /// What was handed on of the log.
    received: Lsn,
    /// A value segment that is coming in: id, length, what is there.
    value: Option<(u128, u64, u64)>,
    local: Ack,
    acked: Ack,
    unacknowledged: u64,
    committed: Lsn,
    /// Up to where the log is the primary's, when a snapshot is on its way.
    common: Lsn,
    primary_written: Lsn,
    primary_time: UnixMillis,
    epoch: EpochNumber,
    heard: Millis,
    spoke: Millis,
}

impl Follow {
    /// A replica without a connection: the driver dials.
    #[must_use]
    pub fn new(options: Options, me: Me) -> Self {
        Self {
            options,
            me,
            phase: Phase::Idle,
            attempts: 0,
            refused: None,
            primary: None,
            received: Lsn(0),
            value: None,
            local: Ack::default(),
            acked: Ack::default(),
            unacknowledged: 0,
            committed: Lsn(0),
            common: Lsn(0),
            primary_written: Lsn(0),
            primary_time: UnixMillis(0),
            epoch: EpochNumber(0),
            heard: Millis(0),
            spoke: Millis(0),
        }
    }

    /// There is a connection, authenticated, and the other side answered `+OK`.
    pub fn connected(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        (self.heard, self.spoke) = (now, now);
        self.phase = Phase::Standing;
        out.push(Action::TellStanding);
    }

    /// Answers [`Action::TellStanding`].
    pub fn standing(&mut self, standing: Standing, now: Millis, out: &mut Vec<Action<'_>>) {
        if !matches!(self.phase, Phase::Standing) {
            return;
        }
        let hello = Hello {
            version: VERSION,
            node: self.me.node,
            incarnation: self.me.incarnation,
            listening_port: self.me.listening_port,
            announce_ip: self.me.announce_ip.clone(),
            lineage: standing.lineage.clone(),
            keys: standing.keys,
            force: self.me.force,
            whole: standing.whole,
            damaged: standing.damaged,
        };
        self.phase = Phase::Greeting(Box::new(standing));
        self.send(Message::Hello(hello), now, out);
    }

    /// A message came in.
    pub fn message<'a>(&mut self, message: Message<'a>, now: Millis, out: &mut Vec<Action<'a>>) {
        if matches!(self.phase, Phase::Idle) {
            return;
        }
        self.heard = now;
        let handled = match message {
            Message::Welcome(welcome) => self.welcome(welcome, now, out),
            Message::Listing(listing) => self.listing(listing, out),
            Message::Piece(piece) => self.piece(piece, now, out),
            Message::Entries(entries) => self.entries(entries, now, out),
            Message::ValuePiece(piece) => self.value_piece(piece, out),
            Message::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Message::TakeOver(order) => self.take_over(&order, now, out),
            Message::Bye(bye) => {
                self.end(bye, out);
                Ok(())
            }
            _ => Err("a message that only replicas send"),
        };
        if let Err(reason) = handled {
            self.leave(ByeCode::Protocol, reason, out);
        }
    }

    fn welcome<'a>(&mut self, welcome: Welcome, now: Millis, out: &mut Vec<Action<'a>>) -> Result<(), &'static str> {
        let Phase::Greeting(standing) = std::mem::replace(&mut self.phase, Phase::Standing) else { return Err("a second welcome") };
        self.primary = Some(welcome.node);
        self.refused = None;
        if let WelcomePlan::Refuse { code, reason } = welcome.plan {
            self.refuse(code, reason, out);
            return Ok(());
        }
        let keys = Keys { primary: welcome.keys, replica: standing.keys };
        let mine = compare(&welcome.lineage, &standing.lineage, keys, self.me.force);
        self.epoch = welcome.lineage.epoch().map_or(EpochNumber(0), |epoch| epoch.number);
        self.primary_written = welcome.lineage.last;
        match (welcome.plan, mine) {
            (_, Plan::Refuse(refusal)) => {
                out.push(Action::Send(Message::Bye(Bye { code: ByeCode::Protocol, reason: refusal.reason.clone() })));
                self.refuse(refusal.code, refusal.reason, out);
                Ok(())
            }
            (WelcomePlan::Continue { from }, Plan::Continue { from: lacked }) if from == lacked => {
                self.stream(&standing, now, out);
                Ok(())
            }
            (WelcomePlan::Cut { to }, Plan::Cut { to: common }) if to == common => {
                self.phase = Phase::Cutting(to);
                out.push(Action::SaveDivergent { above: to });
                Ok(())
            }
            // A primary may send a snapshot where it could go on: its log may have been cleaned since it said what it has.
            (WelcomePlan::Snapshot { id, .. }, mine) => {
                self.snapshot(id, &mine, &welcome.lineage, &standing.lineage, out);
                Ok(())
            }
            _ => Err("a plan that does not fit the two logs"),
        }
    }

    fn stream(&mut self, standing: &Standing, now: Millis, out: &mut Vec<Action<'_>>) {
        let last = standing.lineage.last;
        self.phase = Phase::Streaming;
        self.attempts = 0;
        (self.received, self.value, self.unacknowledged) = (last, None, 0);
        self.local = Ack { written: last, flushed: standing.flushed.min(last), applied: last, readable: Lsn(0) };
        self.acknowledge(now, out);
    }

    fn snapshot(&mut self, id: SnapshotId, mine: &Plan, theirs: &Lineage, ours: &Lineage, out: &mut Vec<Action<'_>>) {
        let common = common_prefix(theirs, ours);
        self.common = common;
        if let Plan::Cut { .. } | Plan::Snapshot { divergent: true, .. } = mine {
            self.phase = Phase::Saving(id, None);
            out.push(Action::SaveDivergent { above: common });
        } else {
            self.phase = Phase::Listing(id);
        }
    }

    fn refuse(&mut self, code: RefusalCode, reason: String, out: &mut Vec<Action<'_>>) {
        // It takes an operator to change that: no need to hurry.
        self.attempts = u32::MAX;
        self.refused = Some(Refused { code, reason: reason.clone() });
        self.end(Bye { code: ByeCode::Refused, reason }, out);
    }

    /// Answers [`Action::SaveDivergent`].
    pub fn divergent_saved(&mut self, out: &mut Vec<Action<'_>>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Cutting(to) => {
                self.phase = Phase::Installing(None);
                out.push(Action::Cut { to });
            }
            Phase::Saving(_, Some(listing)) => self.stage(listing, out),
            Phase::Saving(id, None) => self.phase = Phase::Listing(id),
            other => self.phase = other,
        }
    }

    fn listing(&mut self, listing: Listing, out: &mut Vec<Action<'_>>) -> Result<(), &'static str> {
        if listing.above > Lsn(0) && listing.above != self.common {
            return Err("a difference above another LSN than the logs have in common");
        }
        let listing = Box::new(listing);
        match &mut self.phase {
            Phase::Saving(id, kept @ None) if *id == listing.id => *kept = Some(listing),
            Phase::Listing(id) if *id == listing.id => self.stage(listing, out),
            _ => return Err("a listing that does not belong here"),
        }
        Ok(())
    }

    fn stage(&mut self, listing: Box<Listing>, out: &mut Vec<Action<'_>>) {
        out.push(Action::BeginStaging(listing.clone()));
        self.phase = Phase::Staging(listing);
    }

    /// Answers [`Action::BeginStaging`]: so many bytes of each file are there, and are known to be of this very file.
    pub fn staged(&mut self, there: &[u64], now: Millis, out: &mut Vec<Action<'_>>) {
        let Phase::Staging(listing) = &self.phase else { return };
        self.phase = Phase::Fetching(Fetch::new(listing, there, self.options.wants));
        self.fetch(now, out);
    }

    fn piece<'a>(&mut self, piece: Piece<'a>, now: Millis, out: &mut Vec<Action<'a>>) -> Result<(), &'static str> {
        let Phase::Fetching(fetch) = &mut self.phase else { return Err("a part of a file that does not belong here") };
        fetch.piece(&piece)?;
        out.push(Action::WritePiece(piece));
        self.fetch(now, out);
        Ok(())
    }

    fn fetch(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        let Phase::Fetching(fetch) = &mut self.phase else { return };
        while let Some(want) = fetch.next_want() {
            self.spoke = now;
            out.push(Action::Send(Message::Want(want)));
        }
        if fetch.is_complete() {
            let id = fetch.id();
            self.phase = Phase::Installing(Some(id));
            out.push(Action::Install(id));
        }
    }

    /// Answers [`Action::Install`]: these ops live at the primary and are not here.
    pub fn lacks(&mut self, ops: Vec<u8>, now: Millis, out: &mut Vec<Action<'_>>) {
        let Phase::Installing(Some(id)) = self.phase else { return };
        self.phase = Phase::Listing(id);
        self.send(Message::Lacking(Lacking { id, ops }), now, out);
    }

    /// Answers [`Action::Install`] and [`Action::Cut`].
    pub fn installed(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        let Phase::Installing(id) = self.phase else { return };
        if let Some(id) = id {
            self.send(Message::SnapshotDone(id), now, out);
        }
        // What was committed in the log that is gone says nothing of this one.
        (self.committed, self.local) = (Lsn(0), Ack::default());
        self.phase = Phase::Standing;
        out.push(Action::TellStanding);
    }

    fn entries<'a>(&mut self, entries: Entries<'a>, now: Millis, out: &mut Vec<Action<'a>>) -> Result<(), &'static str> {
        if !self.is_streaming() || self.value.is_some() {
            return Err("entries that do not belong here");
        }
        if entries.first != self.received.next() {
            return Err("entries that do not follow the last ones");
        }
        self.received = entries.last;
        self.primary_written = self.primary_written.max(entries.last);
        self.committed = self.committed.max(entries.committed);
        self.unacknowledged += entries.raw.len() as u64;
        out.push(Action::Apply(entries));
        if self.unacknowledged >= self.options.ack_bytes {
            self.acknowledge(now, out);
        }
        Ok(())
    }

    fn value_piece<'a>(&mut self, piece: ValuePiece<'a>, out: &mut Vec<Action<'a>>) -> Result<(), &'static str> {
        let there = match self.value {
            _ if !self.is_streaming() => return Err("a part of a value that does not belong here"),
            None => 0,
            Some((id, total, there)) if (id, total) == (piece.id, piece.total) => there,
            Some(_) => return Err("a value inside another"),
        };
        let end = there + piece.raw.len() as u64;
        if piece.offset != there || end > piece.total {
            return Err("a part of a value that is not the next");
        }
        let complete = end == piece.total;
        self.value = (!complete).then_some((piece.id, piece.total, end));
        out.push(Action::WriteValue { piece, complete });
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) -> Result<(), &'static str> {
        // Before the logs are known to be the same, a sign of life and no more.
        if !self.is_streaming() {
            return Ok(());
        }
        if heartbeat.epoch < self.epoch {
            return Err("the epoch goes back");
        }
        self.epoch = heartbeat.epoch;
        self.primary_written = self.primary_written.max(heartbeat.written);
        self.committed = self.committed.max(heartbeat.committed);
        self.primary_time = heartbeat.time;
        Ok(())
    }

    fn take_over(&mut self, order: &TakeOver, now: Millis, out: &mut Vec<Action<'_>>) -> Result<(), &'static str> {
        if !self.is_streaming() {
            return Err("an order to take over that does not belong here");
        }
        let written = self.local.written;
        let refused = if order.epoch < self.epoch {
            format!("it has heard of epoch {}", self.epoch.0)
        } else if !order.force && (written != order.lsn || self.received != order.lsn) {
            format!("its log goes up to LSN {written}, not {}", order.lsn)
        } else {
            self.phase = Phase::TakingOver;
            out.push(Action::TakeOver);
            return Ok(());
        };
        self.send(Message::TookOver(TookOver { epoch: EpochNumber(0), refused }), now, out);
        Ok(())
    }

    /// Answers [`Action::TakeOver`]: the epoch that this node writes now, or why it does not.
    pub fn took_over(&mut self, outcome: Result<EpochNumber, String>, now: Millis, out: &mut Vec<Action<'_>>) {
        if !matches!(self.phase, Phase::TakingOver) {
            return;
        }
        match outcome {
            Ok(epoch) => {
                self.send(Message::TookOver(TookOver { epoch, refused: String::new() }), now, out);
                self.end(Bye { code: ByeCode::RoleChanged, reason: "this node has taken over".to_owned() }, out);
            }
            Err(mut refused) => {
                self.phase = Phase::Streaming;
                if refused.is_empty() {
                    refused.push_str("it could not");
                }
                self.send(Message::TookOver(TookOver { epoch: EpochNumber(0), refused }), now, out);
            }
        }
    }

    /// The replica's log has come so far. Does not acknowledge by itself but after many bytes: see [`Self::drained`].
    pub fn progress(&mut self, written: Lsn, flushed: Lsn, applied: Lsn) {
        self.local.written = self.local.written.max(written);
        self.local.flushed = self.local.flushed.max(flushed).min(self.local.written);
        self.local.applied = self.local.applied.max(applied).min(self.local.written);
    }

    /// No whole message is waiting to be read: what is not acknowledged is now. Also to be called when a flush is done.
    pub fn drained(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        // What is readable may be told later: it follows what the primary told, and would be answered by nothing but another message.
        let told = Ack { readable: self.local.readable, ..self.acked };
        if self.is_streaming() && self.local != told {
            self.acknowledge(now, out);
        }
    }

    fn acknowledge(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        // Of a log that is about to be replaced nothing is said: then it is a sign of life.
        self.acked = if self.is_streaming() { Ack { readable: self.readable(), ..self.local } } else { Ack::default() };
        self.unacknowledged = 0;
        self.send(Message::Ack(self.acked), now, out);
    }

    /// Time has passed. To be called at [`Self::deadline`] at the latest.
    pub fn tick(&mut self, now: Millis, out: &mut Vec<Action<'_>>) {
        if matches!(self.phase, Phase::Idle) {
            return;
        }
        if now - self.heard >= self.options.timeout {
            return self.leave(ByeCode::Timeout, "nothing was heard", out);
        }
        if now - self.spoke >= self.options.ping && !matches!(self.phase, Phase::Standing) {
            self.acknowledge(now, out);
        }
    }

    /// When the next tick is due; nothing is without a connection.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let due = (self.heard + self.options.timeout).min(self.spoke + self.options.ping);
        (!matches!(self.phase, Phase::Idle)).then_some(due)
    }

    /// Ends the link from this side; the driver dials again after the pause that it is told.
    pub fn leave(&mut self, code: ByeCode, reason: &str, out: &mut Vec<Action<'_>>) {
        if matches!(self.phase, Phase::Idle) {
            return;
        }
        let bye = Bye { code, reason: reason.to_owned() };
        out.push(Action::Send(Message::Bye(bye.clone())));
        self.end(bye, out);
    }

    /// The connection is gone, or was not made.
    pub fn disconnected(&mut self, out: &mut Vec<Action<'_>>) {
        self.phase = Phase::Idle;
        self.pause(out);
    }

    fn end(&mut self, bye: Bye, out: &mut Vec<Action<'_>>) {
        self.phase = Phase::Idle;
        out.push(Action::Close(bye));
        self.pause(out);
    }

    fn pause(&mut self, out: &mut Vec<Action<'_>>) {
        let Options { backoff, most_backoff, .. } = self.options;
        let doubled = backoff.0.checked_shl(self.attempts).filter(|pause| pause >> self.attempts == backoff.0);
        let after = Millis(doubled.unwrap_or(u64::MAX).min(most_backoff.0));
        self.attempts = if self.attempts == u32::MAX { 0 } else { self.attempts.saturating_add(1).min(32) };
        out.push(Action::Reconnect { after });
    }

    fn send(&mut self, message: Message<'static>, now: Millis, out: &mut Vec<Action<'_>>) {
        self.spoke = now;
        out.push(Action::Send(message));
    }
}

#[cfg(test)]
mod tests;
