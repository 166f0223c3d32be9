//! A turn: the requests that one connection runs before the next connection's turn comes, and what has to follow them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use esker_storage::shard::Wanted;
use esker_storage::types::{Lsn, UnixMillis};
use tokio::sync::oneshot;

use super::ahead;
use super::connection::Connection;
use crate::command::dispatch::{self, Outcome};
use crate::command::{Awaited, Copies, DigestOf, Effect};
use crate::protocol::{Parsed, Reply};
use crate::session::{ReplyMode, Session};
use crate::shard::Served;

/// The most commands in a turn.
const COMMANDS: u32 = 256;
/// Commands between two looks at the clock.
const LOOK_AT_CLOCK: u32 = 16;
/// The longest turn, unless one command takes longer.
const TIME: Duration = Duration::from_millis(1);
/// The most bytes of replies in a turn, unless one command makes more.
const REPLIES: usize = 1024 * 1024;

/// Something that the connection waits for before its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Some time.
    Sleep(Duration),
    /// The end of a CLIENT PAUSE that held a command back at this time.
    Pause(UnixMillis),
    /// Room in the log, which cleaning is about to make.
    Room,
    /// A record that is not in memory.
    Fetch(Wanted),
    /// The answer to the session's question about the past.
    LookBack,
    /// A checkpoint.
    Checkpoint,
    /// A large value that has arrived, to be put on the medium.
    Upload,
    /// What the node is to become.
    Role,
    /// Copies of what was written up to an entry.
    Copies(Copies, Lsn),
    /// The entries of tokens, as [`TurnEnd::tokens`] says.
    Tokens,
    /// Digests of slots.
    Digest(DigestOf),
}

impl Wait {
    /// Whether the shard has to do something. Other waits take as long as clients like, and must not keep a replaced shard open.
    fn is_for_shard(self) -> bool {
        matches!(self, Self::Room | Self::Fetch(_) | Self::LookBack | Self::Checkpoint)
    }

    /// Whether the reply of the command that waits is made when the wait is over.
    fn is_for_reply(self) -> bool {
        matches!(self, Self::Copies(..) | Self::Tokens | Self::Digest(_))
    }
}

/// What follows a turn.
#[derive(Debug, Default)]
pub(super) struct TurnEnd {
    /// Whether a request was put aside, to run when the worker's other connections have been read.
    pub(super) put_aside: bool,
    /// The number of the shard that it ran on.
    pub(super) shard: u64,
    /// The entry up to which that shard's log must be flushed before the replies leave.
    pub(super) lsn: Lsn,
    /// What to wait for.
    pub(super) wait: Option<Wait>,
    /// The shard that has to do what is waited for, if one has.
    pub(super) wait_on: Option<Arc<Served>>,
    /// Whether the connection ends after the replies.
    pub(super) close: bool,
    /// The entry up to which the mode must have promised the log before the replies leave.
    pub(super) promised: Lsn,
    /// Where the replies of the turn begin, and how many there are.
    pub(super) replies: (usize, u32),
    /// Told when the node has become what it was told to become.
    pub(super) role: Option<oneshot::Receiver<Result<(), String>>>,
    /// What WAITLSN waits for.
    pub(super) tokens: Option<Awaited>,
    /// Whether the connection is a replica's link after the replies.
    pub(super) peer: bool,
}

impl TurnEnd {
    fn stops_the_turn(&self) -> bool {
        self.close || self.peer || self.wait.is_some()
    }

    fn carry_out(&mut self, turn: &mut dispatch::Turn<'_>, session: &Session) {
        let (server, shard) = (turn.server, turn.shard);
        for effect in turn.effects.drain(..) {
            match effect {
                Effect::Close => self.close = true,
                Effect::Sleep(duration) => self.wait = Some(Wait::Sleep(duration)),
                Effect::Checkpoint => self.wait = Some(Wait::Checkpoint),
                Effect::CleaningPass => shard.request_cleaning(),
                Effect::BackgroundCheckpoint => shard.request_checkpoint(),
                Effect::Shutdown { now } => server.shutdown.request(now),
                Effect::Follow(target) => (self.wait, self.role) = (Some(Wait::Role), Some(server.links.order(target))),
                Effect::Await(copies) => self.wait = Some(Wait::Copies(copies, turn.lsn.max(session.written))),
                Effect::AwaitTokens(tokens) => (self.wait, self.tokens) = (Some(Wait::Tokens), Some(tokens)),
                Effect::Digest(wanted) => self.wait = Some(Wait::Digest(wanted)),
                Effect::Peer => self.peer = true,
                // The dispatcher's own.
                Effect::Notify { .. } | Effect::Publish { .. } => {}
            }
        }
    }
}

impl Connection {
    /// Runs the requests at the start of `input`, up to a turn's limits; returns the bytes of those that ran.
    pub(super) fn run_input(&mut self, input: &[u8]) -> (usize, TurnEnd) {
        self.own_reply_buffer();
        let server = Arc::clone(&self.server);
        let shard = server.shard();
        if self.shard != shard.number() && !self.meet(shard.number()) {
            return (0, TurnEnd { close: true, ..TurnEnd::default() });
        }
        let mut turn = dispatch::Turn::new(&server, &shard, self.worker);
        turn.patient = !std::mem::take(&mut self.out_of_patience);
        for record in self.fetched.drain(..) {
            turn.batch.add_fetched(record);
        }
        let (mut used, mut end, mut count) = (0, TurnEnd::default(), 0_u32);
        let replies_before = self.reply.mark();
        // Begins with the first look: short turns do not read the clock.
        let mut started = None;
        self.runnable = false;
        while let Some(len) = self.parse(&input[used..], &mut end) {
            if count.is_multiple_of(ahead::REQUESTS as u32) && len < input.len() - used {
                self.look_ahead(&shard, &input[used..]);
            }
            if !self.run_request(&input[used..], &mut turn, &mut end) {
                self.runnable = true;
                break;
            }
            used += len;
            count += 1;
            let looks = count.is_multiple_of(LOOK_AT_CLOCK);
            let over = looks && (count >= COMMANDS || started.get_or_insert_with(Instant::now).elapsed() > TIME)
                || self.reply.mark() - replies_before > REPLIES;
            if over || end.stops_the_turn() {
                self.runnable = used < input.len();
                break;
            }
        }
        end.shard = shard.number();
        if server.holds_replies_back() {
            let told = turn.told();
            end.lsn = if server.waits_for_flush() { told } else { Lsn(0) };
            end.promised = if server.waits_for_replicas() { told } else { Lsn(0) };
        }
        end.replies = (replies_before, count - u32::from(end.wait.is_some_and(Wait::is_for_reply)));
        if turn.lsn > Lsn(0) {
            self.session.written = turn.lsn;
            self.server.links.log_grown();
        }
        if turn.lsn > Lsn(0) && end.wait.is_none() {
            end.wait = shard.write_delay(used as u64).map(Wait::Sleep);
        }
        self.publish(turn.batch.now(), input.len() - used);
        turn.finish();
        if end.wait.is_some_and(Wait::is_for_shard) {
            end.wait_on = Some(Guard::into_inner(shard));
        }
        (used, end)
    }

    /// Forgets what it has of another shard than this one, which took its place. False: a command that was sent needs just that.
    #[cold]
    fn meet(&mut self, shard: u64) -> bool {
        self.shard = shard;
        // The command that was to run with them asks again.
        self.fetched.clear();
        self.session.answer = None;
        self.session.written = Lsn(0);
        if self.session.uploaded.take().is_none() {
            return true;
        }
        self.reply.error("ERR the data was replaced while the value arrived, it was not stored");
        false
    }

    /// The length of the request at the start of `rest`. None: it is cut, or no request, which the client is told.
    fn parse(&mut self, rest: &[u8], end: &mut TurnEnd) -> Option<usize> {
        let limits = self.server.request_limits(self.session.authenticated);
        match self.parser.parse(rest, &limits) {
            Ok(Parsed::Request(len)) => Some(len),
            Ok(Parsed::Incomplete(needed)) => {
                self.needed = needed;
                None
            }
            Err(error) => {
                self.reply.error(&error.to_string());
                end.close = true;
                None
            }
        }
    }

    /// Runs the request that was just parsed. False: it has to be run again, after a wait.
    fn run_request(&mut self, rest: &[u8], turn: &mut dispatch::Turn<'_>, end: &mut TurnEnd) -> bool {
        let mut arguments = recycle(std::mem::take(&mut self.arguments));
        self.parser.arguments_of(rest, &mut arguments);
        if !arguments.is_empty() {
            let mark = self.reply.mark();
            match turn.run(&mut self.session, &arguments, &mut self.reply) {
                Outcome::Done => {}
                Outcome::Effects => end.carry_out(turn, &self.session),
                Outcome::LookBack => end.wait = Some(Wait::LookBack),
                Outcome::Paused => end.wait = Some(Wait::Pause(turn.batch.now())),
                Outcome::NoRoom => end.wait = Some(Wait::Room),
                Outcome::Fetch(location) => {
                    end.wait = Some(Wait::Fetch(turn.batch.wanted(location)));
                    self.fetched = turn.batch.take_fetched();
                }
            }
            let again = matches!(end.wait, Some(Wait::Pause(_) | Wait::Fetch(_) | Wait::LookBack | Wait::Room));
            if !again {
                turn.batch.forget_fetched();
            }
            if !again && self.session.answer.is_some() {
                // Of a command that was refused when it was run again.
                self.session.answer = None;
            }
            if !again && self.session.reply_mode != ReplyMode::On {
                skip_reply(&mut self.session, &mut self.reply, mark);
            }
            self.arguments = recycle(arguments);
            if !again && self.session.uploaded.is_some() {
                self.settle_upload(turn.shard);
            }
            return !again;
        }
        self.arguments = recycle(arguments);
        true
    }

    /// Brings CLIENT LIST up to date.
    fn publish(&mut self, now: UnixMillis, unread: usize) {
        let mut shown = self.session.client.shown();
        shown.last_interaction = now;
        shown.query_buffer = unread;
        shown.query_buffer_free = self.input.capacity().saturating_sub(unread);
        shown.version = self.reply.version();
        self.session.publish(&mut shown);
    }
}

/// Takes the reply of a command back whose client wants none.
#[cold]
fn skip_reply(session: &mut Session, reply: &mut Reply, mark: usize) {
    reply.truncate(mark);
    session.reply_mode = match session.reply_mode {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        other => other,
    };
}

/// An empty list for slices of another lifetime, in the memory of the old one.
fn recycle<'b>(mut list: Vec<&[u8]>) -> Vec<&'b [u8]> {
    list.clear();
    list.into_iter().map(|_| -> &'b [u8] { &[] }).collect()
}
