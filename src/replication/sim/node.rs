//! A model node: the real machines over a model log. What a driver does in production is done here in virtual time.

use std::collections::{BTreeMap, VecDeque};

use esker_storage::types::{EpochNumber, Incarnation, Lsn, NodeId, UnixMillis};
use rand::Rng;

use super::disk::{ModelDisk, Role};
use super::entry::{Entry, Op, STRIPES};
use super::rules::Rules;
use crate::replication::commit::{Commit, Mode};
use crate::replication::feed::{self, Feed};
use crate::replication::follow::{self, Follow};
use crate::replication::time::{Millis, Now};
use crate::replication::wire::{ByeCode, Decoded, Limits, Message, SnapshotId, decode, encode};
use crate::sim::{Boot, ConnId, Env, Input, MILLI, Node};

mod following;
mod handover;
mod serving;
mod told;

use handover::Handover;

/// What clients and operators ask for.
#[derive(Debug, Clone)]
pub enum Command {
    Write {
        key: u8,
        value: u64,
        delete: bool,
    },
    Read {
        key: u8,
    },
    /// Becomes the primary, with this epoch.
    Promote {
        epoch: u32,
        members: Vec<usize>,
    },
    /// Follows this node, or nobody.
    Follow {
        target: Option<usize>,
        force: bool,
    },
    /// Hands the primary's part over to this node.
    HandOver {
        to: usize,
    },
    /// Takes a member out of the in-sync set.
    Remove(usize),
}

/// What a node tells.
#[derive(Debug, Clone)]
pub enum Output {
    /// A primary appended this.
    Appended(Entry),
    /// A client was told that this is committed.
    Acknowledged(Entry),
    /// A client has seen this.
    Seen(Entry),
    /// A primary heard that another has taken over.
    HandedOver,
    /// A snapshot begins to come in, perhaps where an earlier one ended.
    Snapshot { resumed: bool, above: u64 },
    /// What differs does not do alone.
    Lacking,
}

/// What all nodes of a run have in common.
#[derive(Debug, Clone)]
pub struct Setup {
    pub mode: Mode,
    pub feed: feed::Options,
    pub follow: follow::Options,
    pub rules: Rules,
}

struct Link {
    feed: Feed,
    arriving: Vec<u8>,
    snapshot: Option<(SnapshotId, Vec<Vec<u8>>)>,
    /// Of what a snapshot is.
    above: Lsn,
    pin: Lsn,
}

struct Primary {
    commit: Commit,
    pending: VecDeque<Entry>,
    epoch: EpochNumber,
    /// Who is to take over as soon as it has everything, and until when that is waited for.
    wish: Option<(usize, u64)>,
    handover: Option<Handover>,
}

struct Replica {
    follow: Follow,
    target: Option<usize>,
    conn: Option<ConnId>,
    arriving: Vec<u8>,
}

enum Part {
    Primary(Primary),
    Replica(Box<Replica>),
    /// A primary that lost power: what it lacks may have been promised.
    Waiting,
}

pub struct ModelNode {
    setup: Setup,
    part: Part,
    links: BTreeMap<ConnId, Link>,
    /// Counts the parts that this start has had: timers of one mean nothing to the next.
    parts: u64,
    /// Counts the links that it made as a replica: what the disk did for one means nothing to the next.
    dialled: u64,
    syncing: bool,
    snapshots: u64,
    /// Where the log is to end when the disk has done what it was asked.
    cut_to: u64,
}

const TICK: u64 = 0;
const DIAL: u64 = 1;
const SYNC: u64 = 2;
const FLUSHED: u64 = 0;
const INSTALL: u64 = 1;
const SAVED: u64 = 2;
const CUT: u64 = 3;

thread_local! {
    /// A node is started by the world, which knows nothing of replication.
    pub static SETUP: std::cell::RefCell<Option<Setup>> = const { std::cell::RefCell::new(None) };
}

impl Node for ModelNode {
    type Disk = ModelDisk;
    type Command = Command;
    type Output = Output;

    fn start(_: Boot, env: &mut Env<'_, Self>) -> Self {
        let setup = SETUP.with_borrow(|setup| setup.clone().expect("a setup"));
        let mut node =
            Self { setup, part: Part::Waiting, links: BTreeMap::new(), parts: 0, dialled: 0, syncing: false, snapshots: 0, cut_to: 0 };
        env.timer(20 * MILLI, TICK);
        env.timer(200 * MILLI, SYNC);
        // Known from the disk and not from how this start came about: it may be killed while it waits, and start again.
        let impaired = env.disk().is_impaired() && matches!(node.setup.mode, Mode::SemiSync { .. });
        match env.disk().role {
            Role::Replica(target) => node.follow(target, false, env),
            Role::Primary if impaired && node.setup.rules.primary_waits_after_power_loss => {}
            Role::Primary => {
                if !node.setup.rules.members_are_remembered {
                    env.disk().members.clear();
                }
                let number = env.disk().epoch() + 1;
                node.lead(number, env);
            }
        }
        node
    }

    fn handle(&mut self, input: Input<Command>, env: &mut Env<'_, Self>) {
        match input {
            Input::Command(command) => self.command(command, env),
            Input::Accepted(conn) => {
                let incarnation = Incarnation(u64::from(env.boot()));
                let feed = Feed::new(self.setup.feed, NodeId(env.me() as u64), incarnation, now(env));
                self.links.insert(conn, Link { feed, arriving: Vec::new(), snapshot: None, above: Lsn(0), pin: Lsn(0) });
            }
            Input::Connected(conn) => self.with_follow(env, |replica, now, out| {
                if replica.conn == Some(conn) {
                    replica.follow.connected(now.at, out);
                }
            }),
            Input::Received(conn, bytes) => self.received(conn, &bytes, env),
            Input::Room(conn) => self.room(conn, env),
            Input::Closed(conn) => self.closed(conn, env),
            Input::Synced(token) => self.synced(token, env),
            Input::Timer(TICK) => self.tick(env),
            Input::Timer(SYNC) => {
                env.timer(200 * MILLI, SYNC);
                self.sync(env);
            }
            Input::Timer(token) => self.dial(token, env),
        }
    }
}

fn now(env: &Env<'_, ModelNode>) -> Now {
    Now { at: Millis(env.now() / MILLI), wall: UnixMillis(env.wall()) }
}

impl ModelNode {
    fn mode(&self) -> Mode {
        self.setup.mode
    }

    fn lead(&mut self, number: u32, env: &mut Env<'_, Self>) {
        self.parts += 1;
        let writer: u64 = env.rng().random();
        let disk = env.disk();
        disk.role = Role::Primary;
        let first = Lsn(disk.last + 1);
        let members = disk.members.iter().map(|node| NodeId(*node as u64)).collect::<Vec<_>>();
        let entry = Entry { lsn: first.0, epoch: number, writer, op: Op::Start };
        disk.append(entry);
        let epoch_first = if self.setup.rules.commits_own_epoch_first { first } else { Lsn(0) };
        let commit = Commit::new(self.mode(), epoch_first, members);
        self.part = Part::Primary(Primary { commit, pending: VecDeque::new(), epoch: EpochNumber(number), wish: None, handover: None });
        env.output(Output::Appended(entry));
        self.grew(env);
    }

    fn follow(&mut self, target: Option<usize>, force: bool, env: &mut Env<'_, Self>) {
        self.parts += 1;
        let was_primary = !matches!(self.part, Part::Replica(_));
        self.hang_up(env);
        if was_primary {
            self.leave_all(ByeCode::RoleChanged, env);
        }
        let readable = self.readable();
        env.disk().role = Role::Replica(target);
        let incarnation = Incarnation(u64::from(env.boot()));
        let me = follow::Me { node: NodeId(env.me() as u64), incarnation, listening_port: 1, announce_ip: String::new(), force };
        let follow = Follow::new(self.setup.follow, me);
        env.note(format_args!("follows {target:?}, readable was {readable}"));
        self.part = Part::Replica(Box::new(Replica { follow, target, conn: None, arriving: Vec::new() }));
        let token = DIAL << 32 | self.parts;
        env.timer(MILLI, token);
    }

    fn dial(&mut self, token: u64, env: &mut Env<'_, Self>) {
        let current = DIAL << 32 | self.parts;
        if let Part::Replica(replica) = &mut self.part
            && let (Some(target), None) = (replica.target, replica.conn)
            && token == current
        {
            replica.arriving.clear();
            self.dialled += 1;
            replica.conn = Some(env.dial(target));
        }
    }

    fn hang_up(&mut self, env: &mut Env<'_, Self>) {
        if let Part::Replica(replica) = &mut self.part
            && let Some(conn) = replica.conn.take()
        {
            env.close(conn);
        }
    }

    fn leave_all(&mut self, code: ByeCode, env: &mut Env<'_, Self>) {
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            self.with_feed(conn, env, |feed, _, out| feed.leave(code, "the role of this node changed", out));
        }
    }

    fn command(&mut self, command: Command, env: &mut Env<'_, Self>) {
        match command {
            Command::Write { key, value, delete } => self.write(key, value, delete, env),
            Command::Read { key } => self.read(key, env),
            Command::Promote { epoch, members } => {
                self.hang_up(env);
                env.disk().members = members.into_iter().collect();
                let number = if self.setup.rules.promotions_are_numbered_apart { epoch } else { env.disk().epoch() + 1 };
                self.lead(number, env);
            }
            Command::HandOver { to } => self.hand_over(to, env),
            Command::Follow { target, force } => self.follow(target, force, env),
            Command::Remove(node) => {
                if let Part::Primary(primary) = &mut self.part {
                    primary.commit.remove(NodeId(node as u64));
                    self.grew(env);
                }
            }
        }
    }

    /// A reader is told what its key holds as soon as what that tells of is promised; here only one that need not wait.
    fn read(&self, key: u8, env: &mut Env<'_, Self>) {
        let log = &env.disk().log;
        let Some(newest) = log.iter().rev().find(|entry| entry.key() == Some(key)).copied() else { return };
        let tells_of = match newest.op {
            // There is no record of it: it is known when any key of its stripe was deleted last.
            Op::Delete { .. } => log.iter().rev().find(|entry| entry.deletes_in(key % STRIPES)).map_or(0, |entry| entry.lsn),
            _ => newest.lsn,
        };
        let rules = &self.setup.rules;
        let waits = match newest.op {
            Op::Delete { .. } => rules.absence_waits_for_the_promise,
            _ => rules.records_wait_for_the_promise,
        };
        if !waits || tells_of <= self.readable().0 {
            env.output(Output::Seen(newest));
        }
    }

    fn write(&mut self, key: u8, value: u64, delete: bool, env: &mut Env<'_, Self>) {
        if self.is_fenced() {
            return;
        }
        let Part::Primary(primary) = &mut self.part else { return };
        let disk = env.disk();
        let epoch = *disk.lineage().epoch().expect("a primary has an epoch");
        let op = if delete { Op::Delete { key, value } } else { Op::Put { key, value } };
        let entry = Entry { lsn: disk.last + 1, epoch: epoch.number.0, writer: epoch.writer.0, op };
        disk.append(entry);
        primary.pending.push_back(entry);
        env.output(Output::Appended(entry));
        self.grew(env);
    }

    /// The log, or what others hold of it, has changed.
    fn grew(&mut self, env: &mut Env<'_, Self>) {
        let (written, flushed) = (Lsn(env.disk().last), Lsn(env.disk().flushed));
        let (committed, epoch) = match &mut self.part {
            Part::Primary(primary) => {
                let committed = primary.commit.local(written, flushed);
                while let Some(entry) = primary.pending.pop_front_if(|entry| entry.lsn <= committed.0) {
                    env.output(Output::Acknowledged(entry));
                }
                env.disk().members = primary.commit.members().iter().map(|node| node.0 as usize).collect();
                (committed, primary.epoch)
            }
            Part::Replica(replica) => (replica.follow.committed(), EpochNumber(env.disk().epoch())),
            Part::Waiting => return,
        };
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            self.with_feed(conn, env, |feed, now, out| feed.grew(written, committed, epoch, now, out));
        }
        if matches!(self.mode(), Mode::Sync { .. }) {
            self.sync(env);
        }
    }

    fn sync(&mut self, env: &mut Env<'_, Self>) {
        if !self.syncing && env.disk().flushed < env.disk().last {
            self.syncing = true;
            env.sync(FLUSHED);
        }
    }

    fn synced(&mut self, token: u64, env: &mut Env<'_, Self>) {
        let current = token & 0xffff_ffff == self.dialled;
        match token >> 32 {
            FLUSHED => {
                self.syncing = false;
                self.progress(env);
                self.grew(env);
            }
            INSTALL | CUT if current => {
                if !matches!(&self.part, Part::Replica(replica) if replica.conn.is_some()) {
                    return;
                }
                let rules = self.setup.rules.clone();
                let asks = token >> 32 == INSTALL && rules.what_lives_is_asked_for;
                if let Some(lacking) = asks.then(|| env.disk().lacking()).flatten() {
                    env.output(Output::Lacking);
                    return self.with_follow(env, |replica, now, out| replica.follow.lacks(lacking.encode(), now.at, out));
                }
                // Whoever follows this node follows another log from here on.
                self.leave_all(ByeCode::RoleChanged, env);
                if token >> 32 == CUT {
                    if !env.disk().cut(self.cut_to) {
                        let reason = "it was cleaned meanwhile";
                        return self.with_follow(env, |replica, _, out| replica.follow.leave(ByeCode::Storage, reason, out));
                    }
                } else {
                    env.disk().install(rules.what_does_not_live_goes);
                }
                self.with_follow(env, |replica, now, out| replica.follow.installed(now.at, out));
            }
            SAVED if current => self.with_follow(env, |replica, _, out| replica.follow.divergent_saved(out)),
            _ => {}
        }
    }

    /// A replica tells its link how far its log is.
    fn progress(&mut self, env: &mut Env<'_, Self>) {
        let (written, flushed) = (Lsn(env.disk().last), Lsn(env.disk().flushed));
        self.with_follow(env, |replica, now, out| {
            if replica.follow.is_streaming() {
                replica.follow.progress(written, flushed, written);
                replica.follow.drained(now.at, out);
            }
        });
    }

    fn tick(&mut self, env: &mut Env<'_, Self>) {
        env.timer(20 * MILLI, TICK);
        self.watch_handover(env);
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            self.room(conn, env);
            self.with_feed(conn, env, |feed, now, out| feed.tick(now, out));
        }
        self.with_follow(env, |replica, now, out| replica.follow.tick(now.at, out));
        if env.rng().random_bool(0.02) {
            self.clean(env);
        }
    }

    /// Cleans what no replica needs and what is promised, now and then.
    fn clean(&mut self, env: &mut Env<'_, Self>) {
        let committed = match &self.part {
            Part::Primary(primary) => primary.commit.committed(),
            Part::Replica(replica) => replica.follow.committed(),
            Part::Waiting => return,
        };
        let pinned = self.links.values().map(|link| link.pin).min().unwrap_or(committed);
        env.disk().clean(committed.min(pinned).0);
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8], env: &mut Env<'_, Self>) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.arriving.extend(bytes);
            let arriving = std::mem::take(&mut link.arriving);
            let rest = each_message(&arriving, |message| self.with_feed(conn, env, |feed, now, out| feed.message(message, now, out)));
            let Some(rest) = rest else {
                return self.with_feed(conn, env, |feed, _, out| feed.leave(ByeCode::Protocol, "a damaged message", out));
            };
            if let Some(link) = self.links.get_mut(&conn) {
                link.arriving = arriving[rest..].to_vec();
            }
            return;
        }
        let Part::Replica(replica) = &mut self.part else { return };
        if replica.conn != Some(conn) {
            return;
        }
        replica.arriving.extend(bytes);
        let arriving = std::mem::take(&mut replica.arriving);
        let rest = each_message(&arriving, |message| {
            self.with_follow(env, |replica, now, out| {
                if replica.conn == Some(conn) {
                    replica.follow.message(message, now.at, out);
                }
            });
        });
        self.with_follow(env, |replica, _, out| {
            if replica.conn == Some(conn) {
                match rest {
                    Some(rest) => replica.arriving = arriving[rest..].to_vec(),
                    None => replica.follow.leave(ByeCode::Protocol, "a damaged message", out),
                }
            }
        });
        self.progress(env);
        self.grew(env);
    }

    fn room(&mut self, conn: ConnId, env: &mut Env<'_, Self>) {
        let room = env.room(conn) as u64;
        self.with_feed(conn, env, |feed, now, out| feed.room(room, now, out));
    }

    fn closed(&mut self, conn: ConnId, env: &mut Env<'_, Self>) {
        self.with_feed(conn, env, |feed, _, out| feed.disconnected(out));
        self.with_follow(env, |replica, _, out| {
            if replica.conn == Some(conn) {
                replica.conn = None;
                replica.follow.disconnected(out);
            }
        });
    }
}

fn send(conn: ConnId, message: &Message<'_>, env: &mut Env<'_, ModelNode>) {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    env.send(conn, bytes);
}

/// Hands on each whole message, and says how many bytes they were; none if one was damaged.
fn each_message(bytes: &[u8], mut call: impl FnMut(Message<'_>)) -> Option<usize> {
    let mut at = 0;
    while let Decoded::Message(message, len) = decode(&bytes[at..], &Limits::default()).ok()? {
        call(message);
        at += len;
    }
    Some(at)
}
