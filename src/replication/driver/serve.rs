//! The primary's side of one link, driven.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use esker_storage::error::StorageError;
use esker_storage::log::{LogReader, NextInLog};
use esker_storage::snapshot::SnapshotFile;
use esker_storage::types::{Lsn, NodeId};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::feeds::{Kept, Listed, PeerSocket};
use super::frames::{Frames, LinkError};
use super::links::{self, lineage_of, now};
use super::pace::Pace;
use super::shipping::{Opened, Sent, Shipping, read_piece};
use crate::replication::feed::{Action, Feed, LogRead, Options, Standing};
use crate::replication::lineage::{Refusal, RefusalCode};
use crate::replication::status::ReplicaState;
use crate::replication::time::Millis;
use crate::replication::wire::{
    Ack, Bye, ByeCode, Entries, Limits, Message, Piece, SnapshotId, ValuePiece, encode, entries_head, piece_head, value_piece_head,
};
use crate::server::Server;
use crate::shard::Served;

/// Bytes given to the machine to fill at a time: the socket holds it back as it is.
const ROOM: u64 = 8 << 20;
/// How long an entry that was announced is waited for, at a time.
const APPENDING: Duration = Duration::from_millis(1);

/// A link to a replica.
struct Serving {
    server: Arc<Server>,
    shard: Arc<Served>,
    number: u64,
    feed: Feed,
    frames: Frames,
    actions: VecDeque<Action>,
    /// What the machine was told last of the log: its end, and what is committed.
    seen: (Lsn, Lsn),
    /// In the asynchronous mode.
    pace: Pace,
    reader: Option<LogReader>,
    shipping: Shipping,
    values: HashMap<u128, SnapshotFile>,
    client: Arc<Listed>,
    /// Where the replica's clients reach it, as it says.
    announced: (String, u16),
    over: Option<Bye>,
}

/// Serves a replica until its link ends.
pub(super) async fn serve(server: Arc<Server>, socket: PeerSocket) {
    let number = server.links.feeds().number();
    let shard = server.shard_owned();
    let stream = socket.stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.stream));
    let Ok(stream) = stream.inspect_err(|error| tracing::warn!("a link was lost before it began: {error}")) else { return };
    let options = Options {
        ping: Millis(server.config.repl_ping_period().as_millis() as u64),
        timeout: Millis(server.config.repl_timeout().as_millis() as u64),
        bandwidth: server.config.repl_bandwidth().unwrap_or(0),
        ..Options::default()
    };
    let feed = Feed::new(options, shard.node(), shard.log().incarnation(), now(&server));
    let client = Arc::new(socket.client);
    let frames = Frames::new(stream, socket.input, Limits::default());
    let (actions, values) = (VecDeque::new(), HashMap::new());
    let mut serving = Serving {
        server,
        shard,
        number,
        feed,
        frames,
        actions,
        seen: (Lsn(0), Lsn(0)),
        pace: Pace::new(Instant::now()),
        reader: None,
        shipping: Shipping::default(),
        values,
        client: Arc::clone(&client),
        announced: (String::new(), 0),
        over: None,
    };
    let outcome = tokio::select! {
        outcome = serving.run() => outcome,
        () = client.killed() => Err(LinkError::Refused("CLIENT KILL".to_owned())),
    };
    serving.end(outcome);
}

impl Serving {
    async fn run(&mut self) -> Result<(), LinkError> {
        loop {
            while let Some(action) = self.actions.pop_front() {
                self.carry_out(action).await?;
            }
            if self.over.is_some() {
                return Ok(());
            }
            self.with(|feed, now, out| feed.room(ROOM, now, out));
            if self.actions.is_empty() {
                self.wait().await?;
            }
        }
    }

    /// Has the machine do something.
    fn with(&mut self, step: impl FnOnce(&mut Feed, crate::replication::time::Now, &mut Vec<Action>)) {
        let mut out = Vec::new();
        step(&mut self.feed, now(&self.server), &mut out);
        self.actions.extend(out);
    }

    /// Waits for a message, for the log to grow, or for time to pass.
    async fn wait(&mut self) -> Result<(), LinkError> {
        let server = Arc::clone(&self.server);
        let feeds = server.links.feeds();
        let until = self.feed.deadline() - now(&self.server).at;
        let seen = self.seen;
        let shard = Arc::clone(&self.shard);
        let is_async = !server.waits_for_replicas();
        let (failovers, number) = (&server.links.failovers, self.number);
        let has_grown =
            || failovers.is_due(number) || shard.written_lsn() > seen.0 || (!is_async && server.links.committed(&shard) > seen.1);
        let rest = self.pace.rest(Instant::now()).filter(|_| is_async && !failovers.is_due(number));
        let mut looks = true;
        tokio::select! {
            arrived = self.frames.arrived() => {
                arrived?;
                self.take_messages()?;
                looks = rest.is_none();
            }
            () = feeds.growth(has_grown), if rest.is_none() => {}
            () = feeds.called(), if rest.is_some() => self.pace.end_rest(Instant::now()),
            () = tokio::time::sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => {}
            opened = self.shipping.wait() => self.opened(opened)?,
            () = tokio::time::sleep(Duration::from_millis(until.0)) => self.with(Feed::tick),
        }
        if looks {
            self.look_at_log();
        }
        self.hand_over();
        Ok(())
    }

    /// Tells the replica to take over, if it is to.
    fn hand_over(&mut self) {
        let server = Arc::clone(&self.server);
        server.links.failovers.send(self.number, self.replica(), |order| {
            let mut told = false;
            self.with(|feed, now, out| told = feed.take_over(order, now, out));
            told
        });
    }

    fn take_messages(&mut self) -> Result<(), LinkError> {
        let taken = self.frames.take();
        let mut used = 0;
        while let Some((message, len)) = self.frames.next(&taken[used..])? {
            if let Message::Hello(hello) = &message {
                self.announced = (hello.announce_ip.clone(), hello.listening_port);
            }
            self.with(|feed, now, out| feed.message(message, now, out));
            used += len;
        }
        self.frames.give_back(taken, used);
        Ok(())
    }

    fn look_at_log(&mut self) {
        if self.server.shard().number() != self.shard.number() {
            return self.with(|feed, _, out| feed.leave(ByeCode::RoleChanged, "another log is in service", out));
        }
        if self.feed.replica().is_some_and(|replica| self.server.links.feeds().is_superseded(replica, self.number)) {
            return self.with(|feed, _, out| feed.leave(ByeCode::Superseded, "the replica has another link", out));
        }
        let (written, committed) = (self.shard.written_lsn(), self.server.links.committed(&self.shard));
        let epoch = self.shard.log().epoch();
        self.seen = (written, committed);
        self.with(|feed, now, out| feed.grew(written, committed.min(written), epoch, now, out));
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), LinkError> {
        match action {
            Action::Send(message) => self.send(&message).await?,
            Action::Pin(lsn) => {
                if let Some(replica) = self.feed.replica() {
                    self.server.links.pin(&self.shard, replica, Kept { lsn, rests: self.shipping.is_open() });
                }
            }
            Action::Compare => {
                if let Some(replica) = self.feed.replica() {
                    self.server.links.feeds().claim(replica, self.number);
                }
                let standing = self.standing();
                self.with(|feed, now, out| feed.compared(standing, now, out));
            }
            Action::Joined { holds } => self.joined(holds),
            Action::OpenSnapshot { above } => self.open_snapshot(above),
            Action::GatherRecords(lacking) => self.shipping.gather(&self.shard, lacking),
            Action::CloseSnapshot(_) => self.shipping.close(),
            Action::SendPiece { id, file, offset, len } => self.send_piece(id, file, offset, len).await?,
            Action::ReadLog { from, most, values_sent } => self.read_log(from, most, values_sent).await?,
            Action::SendValue { id, total, offset, len } => self.send_value(id, total, offset, len).await?,
            Action::Progress(ack) => self.progress(ack),
            Action::TookOver(answer) => self.server.links.failovers.answered(self.number, answer),
            Action::Close(bye) => self.over = Some(bye),
        }
        Ok(())
    }

    async fn send(&mut self, message: &Message<'_>) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        self.frames.send(&bytes, &[]).await
    }

    fn standing(&self) -> Standing {
        let unlinked = self.server.config.replicaof().is_some() && !self.server.links.is_streaming();
        let reason = if self.server.replication().awaits_promotion() {
            Some("this node lost power and may lack what it promised: it waits until it is promoted, or follows another")
        } else {
            unlinked.then_some("this node is a replica itself, and does not follow its primary yet")
        };
        let refuse = reason.map(|reason| Refusal { code: RefusalCode::Waiting, reason: reason.to_owned() });
        Standing {
            lineage: lineage_of(&self.shard),
            is_primary: !self.shard.is_replica(),
            keys: self.shard.index().keys(),
            committed: self.server.links.committed(&self.shard),
            refuse,
        }
    }

    fn replica(&self) -> NodeId {
        self.feed.replica().unwrap_or_default()
    }

    fn joined(&mut self, holds: Lsn) {
        self.server.links.promise().joined(self.replica(), holds);
        if !self.feed.is_streaming() {
            return self.note(ReplicaState::Sync);
        }
        let was_sent = self.shipping.was_sent();
        self.server.update_replication(|status| {
            *(match was_sent {
                Some(Sent::Whole) => &mut status.full_syncs,
                Some(Sent::Difference) => &mut status.differences,
                None => &mut status.partial_syncs,
            }) += 1;
        });
        self.note(ReplicaState::Online);
    }

    /// Tells INFO how the link is.
    fn note(&self, state: ReplicaState) {
        let (ip, port) = &self.announced;
        let address = if ip.is_empty() { self.client.address.rsplit_once(':').map_or("", |(host, _)| host) } else { ip };
        links::note_replica(&self.server, self.number, (address, *port), state);
        self.note_progress();
    }

    /// Tells INFO how far the replica is.
    fn note_progress(&self) {
        links::note_progress(&self.server, self.number, self.feed.sent(), self.feed.acked());
    }

    fn progress(&mut self, ack: Ack) {
        self.server.links.acknowledge(&self.shard, self.replica(), ack);
        self.client.shown().last_interaction = now(&self.server).wall;
        self.note_progress();
    }

    /// Opens a snapshot beside all else: finding out what differs takes as long as reading the log.
    fn open_snapshot(&mut self, above: Lsn) {
        self.note(ReplicaState::Sync);
        // Cleaning rests from here on.
        self.server.links.pin(&self.shard, self.replica(), Kept { lsn: above, rests: true });
        self.shipping.open(&self.shard, SnapshotId(self.number), above);
    }

    /// A snapshot, or what was lacking beside it, is there to be listed.
    fn opened(&mut self, opened: Opened) -> Result<(), LinkError> {
        let listing = self.shipping.opened(opened)?;
        let (lsn, files, above) = (listing.lsn.0, listing.files.len(), listing.above.0);
        tracing::info!(replica = %self.client.address, lsn, above, files, "sending a snapshot");
        self.with(
            |feed, now, out| {
                if feed.is_gathering() { feed.records_gathered(listing, now, out) } else { feed.snapshot_opened(listing, now, out) }
            },
        );
        Ok(())
    }

    async fn send_piece(&mut self, id: SnapshotId, number: u32, offset: u64, len: u32) -> Result<(), LinkError> {
        let Some(snapshot) = self.shipping.snapshot(id) else { return Ok(()) };
        let Some(file) = snapshot.files.get(number as usize) else { return Ok(()) };
        let (mut at, end) = (offset, offset + u64::from(len));
        while at < end {
            let left = (end - at) as usize;
            let read;
            let raw = match file.in_memory(at, left) {
                Some(bytes) => bytes,
                None => {
                    read = read_piece(file, at, left)?;
                    &read
                }
            };
            let head = piece_head(&Piece { id, file: number, offset: at, raw });
            self.frames.send(&head, raw).await?;
            at += raw.len() as u64;
        }
        Ok(())
    }

    async fn read_log(&mut self, from: Lsn, most: u32, values_sent: bool) -> Result<(), LinkError> {
        let mut reader = self.reader.take().filter(|reader| reader.next_lsn() == from).unwrap_or_else(|| LogReader::new(from));
        let mut with_values = values_sent;
        let read = loop {
            match reader.read(self.shard.log(), most as usize, with_values) {
                Ok(Some(NextInLog::Piece(piece))) => {
                    let raw = piece.bytes();
                    let entries = Entries { first: piece.first, last: piece.last, committed: self.feed.committed(), raw };
                    self.frames.send(&entries_head(&entries), raw).await?;
                    self.pace.sent(piece.last.0 - piece.first.0 + 1, Instant::now());
                    break LogRead::Entries { last: piece.last, bytes: raw.len() as u64 };
                }
                Ok(Some(NextInLog::Values(ids))) => {
                    let files = ids.iter().filter_map(|id| Some((*id, self.shard.value_file(*id)?)));
                    self.values = files.collect();
                    let lengths: Vec<_> = self.values.iter().map(|(id, file)| (*id, file.bytes)).collect();
                    if !lengths.is_empty() {
                        break LogRead::Values(lengths);
                    }
                    // Nothing names them any more but this entry.
                    with_values = true;
                }
                // It is being appended.
                Ok(None) => tokio::time::sleep(APPENDING).await,
                Err(StorageError::NotInLog { .. }) => break LogRead::Gone,
                Err(error) => return Err(error.into()),
            }
        };
        self.reader = Some(reader);
        self.with(|feed, now, out| feed.log_read(read, now, out));
        Ok(())
    }

    async fn send_value(&mut self, id: u128, total: u64, offset: u64, len: u32) -> Result<(), LinkError> {
        let mut raw = vec![0; len as usize];
        if let Some(file) = self.values.get(&id) {
            file.read_at(offset, &mut raw)?;
        }
        let head = value_piece_head(&ValuePiece { id, total, offset, raw: &raw });
        self.frames.send(&head, &raw).await?;
        if offset + u64::from(len) == total {
            self.values.remove(&id);
        }
        Ok(())
    }

    fn end(mut self, outcome: Result<(), LinkError>) {
        let mut out = Vec::new();
        self.feed.disconnected(&mut out);
        let reason = match (outcome, self.over.take()) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Some(bye)) => bye.reason,
            (Ok(()), None) => String::new(),
        };
        tracing::info!(replica = %self.client.address, "the link to a replica is over: {reason}");
        if let Some(replica) = self.feed.replica() {
            links::left(&self.server, replica, self.number);
        }
        links::forget_replica(&self.server, self.number);
    }
}
