//! One connection: reads what has arrived, runs the whole pipeline, lets the worker's other connections do the same, then answers once.
//!
//! Invariants:
//! - `input[consumed..]` starts at the start of a request, and the parser's state belongs to that request.
//! - `reply` holds, from `sent` on, exactly what the client has not got yet, in order.
//! - No reply leaves before the log is flushed as far as the fsync mode asks.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use esker_storage::shard::FetchedRecord;
use esker_storage::types::Lsn;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::turn::{TurnEnd, Wait};
use super::upload::Upload;
use super::{arrivals, buffers, lookout, yield_once};
use crate::command::{Awaited, Copies, DigestOf, reply_digests};
use crate::protocol::{Reply, RequestParser, Version};
use crate::pubsub::Mailbox;
use crate::replication::driver::{Listed, PeerSocket};
use crate::server::Server;
use crate::session::Session;
use crate::shard::Served;

/// While this much waits to be sent, no more is read: a client that never reads its replies is held back by TCP, not by memory.
const UNSENT_PAUSES_READING: usize = 256 * 1024 * 1024;
/// The least room for a read into the connection's own buffer.
const LEAST_READ: usize = 16 * 1024;
/// What a client is told whose write is in the log, and not in enough others.
const OUTCOME_UNKNOWN: &str = "NOREPLICAS outcome unknown: written here, and not acknowledged by enough replicas in time";
/// How a change of roles ends.
type RoleChange = tokio::sync::oneshot::Receiver<Result<(), String>>;
/// How long a closing connection may take for its last replies.
const LINGER: Duration = Duration::from_secs(5);

/// A connection, on its worker.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) worker: usize,
    stream: TcpStream,
    pub(super) session: Session,
    pub(super) parser: RequestParser,
    pub(super) reply: Reply,
    sent: usize,
    /// Requests that were read and not run: cut ones, and those beyond a turn.
    pub(super) input: Vec<u8>,
    pub(super) consumed: usize,
    /// Whether `input` may hold a whole request.
    pub(super) runnable: bool,
    /// How long the cut request is at least.
    pub(super) needed: usize,
    /// The number of the shard that its last turn ran on, and that all it keeps from there is of.
    pub(super) shard: u64,
    /// Records read from disk for the command that is run again.
    pub(super) fetched: Vec<FetchedRecord>,
    /// Whether it has waited for room in the log in vain.
    pub(super) out_of_patience: bool,
    /// A large value that is arriving.
    pub(super) upload: Option<Upload>,
    /// The list that each request's arguments are put in; empty between requests.
    pub(super) arguments: Vec<&'static [u8]>,
    /// Whether its socket is a replica's link, which is listed as the client from then on.
    became_link: bool,
}

impl Connection {
    pub(super) fn new(server: Arc<Server>, worker: usize, stream: TcpStream, session: Session) -> Self {
        Self {
            server,
            worker,
            stream,
            session,
            parser: RequestParser::default(),
            reply: Reply::new(Version::Resp2),
            sent: 0,
            input: Vec::new(),
            consumed: 0,
            runnable: false,
            needed: 0,
            shard: 0,
            fetched: Vec::new(),
            out_of_patience: false,
            upload: None,
            arguments: Vec::new(),
            became_link: false,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        let client = Arc::clone(&self.session.client);
        poll_fn(|cx| {
            client.attach(cx.waker());
            Poll::Ready(())
        })
        .await;
        while let Ok(Some(mut end)) = poll_fn(|cx| self.poll_turn(cx)).await {
            lookout::note_turn();
            yield_once().await;
            if end.put_aside {
                arrivals::look_ahead(&self.server);
                end = self.run_own_input();
            }
            if !self.finish(end).await {
                break;
            }
        }
    }

    /// What follows a turn: waiting as asked, then one write. False: the connection ends.
    async fn finish(&mut self, mut end: TurnEnd) -> bool {
        if end.lsn > Lsn(0) && !self.is_flushed(end.shard, end.lsn).await {
            return false;
        }
        if end.promised > Lsn(0) {
            self.await_promise(&end).await;
        }
        let mut alive = true;
        if let Some(wait) = end.wait {
            alive = self.wait(wait, &mut end).await;
        }
        alive &= self.send().is_ok();
        if end.peer {
            self.become_link().await;
            return false;
        }
        if end.close {
            let _ = tokio::time::timeout(LINGER, self.send_all()).await;
        }
        alive && !end.close
    }

    /// Waits until the log is flushed as far as the fsync mode asks. False: it never will be, and what became of the writes is unknown,
    /// so the connection ends without a reply.
    async fn is_flushed(&self, shard: u64, lsn: Lsn) -> bool {
        let is_lost = || self.server.shard().log().durability().is_poisoned();
        !self.server.waits_for_flush() || self.server.durability.wait(self.worker, shard, lsn, is_lost).await
    }

    /// Waits as asked. False: the connection ends.
    async fn wait(&mut self, wait: Wait, end: &mut TurnEnd) -> bool {
        let mut alive = true;
        self.session.client.shown().blocked = true;
        match (wait, end.wait_on.take()) {
            (Wait::Sleep(duration), _) => tokio::time::sleep(duration).await,
            (Wait::Pause(now), _) => self.server.clients.pause_change(now).await,
            (Wait::Upload, _) => alive = self.finish_upload().await,
            (Wait::Role, _) => self.await_role(end.role.take()).await,
            (Wait::Copies(copies, lsn), _) => self.await_copies(copies, lsn).await,
            (Wait::Digest(wanted), _) => self.await_digests(wanted).await,
            (Wait::Tokens, _) => self.await_tokens(end.tokens.take()).await,
            (Wait::Room, Some(shard)) => self.out_of_patience = !shard.has_room().await,
            (Wait::Fetch(wanted), Some(shard)) => self.fetched.extend(shard.fetched(wanted).await),
            (Wait::LookBack, Some(shard)) => self.look_back(&shard).await,
            (Wait::Checkpoint, Some(shard)) => shard.checkpoint_taken().await,
            (Wait::Room | Wait::Fetch(_) | Wait::LookBack | Wait::Checkpoint, None) => {}
        }
        self.session.client.shown().blocked = false;
        alive
    }

    /// Waits until the mode has promised what the turn's replies tell of; where that takes too long, they are replaced by errors.
    #[cold]
    async fn await_promise(&mut self, end: &TurnEnd) {
        let server = Arc::clone(&self.server);
        if server.links.promise().waiters.is_done(end.shard, end.promised) {
            return;
        }
        server.links.look_at_promise(&server.shard());
        let promised = server.links.promise().waiters.wait(self.worker, end.shard, end.promised, || false);
        if !matches!(tokio::time::timeout(server.config.hot().ack_timeout(), promised).await, Ok(true)) {
            let (mark, count) = end.replies;
            self.reply.truncate(mark);
            (0..count).for_each(|_| self.reply.error(OUTCOME_UNKNOWN));
        }
    }

    /// Waits until the node has become what it was told to become.
    async fn await_role(&mut self, role: Option<RoleChange>) {
        let Some(role) = role else { return };
        let failed = match role.await {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(_) => "the server is starting or stopping".to_owned(),
        };
        self.reply.replace_ok(&format!("ERR {failed}"));
    }

    /// Waits for copies of what was written, and replies how many there are.
    async fn await_copies(&mut self, copies: Copies, lsn: Lsn) {
        let server = Arc::clone(&self.server);
        let flushed = copies.local.is_some();
        server.links.hurry();
        let found = server.links.promise().replicas(lsn, flushed, copies.replicas, copies.patience);
        if let Some(local) = copies.local {
            let own = server.own_flush(lsn, local, copies.patience);
            let (own, found) = tokio::join!(own, found);
            self.reply.array(2);
            self.reply.integer(i64::from(own));
            self.reply.integer(found as i64);
        } else {
            let found = found.await;
            self.reply.integer(found as i64);
        }
    }

    /// Waits until readers here see what tokens name, and replies of how many they do.
    async fn await_tokens(&mut self, tokens: Option<Awaited>) {
        let Some(tokens) = tokens else { return };
        match self.server.reached(&tokens).await {
            Ok(count) => self.reply.integer(count as i64),
            Err(never) => {
                self.server.counters.error(&never);
                self.reply.error(&never);
            }
        }
    }

    /// Has digests of slots taken, and replies them.
    async fn await_digests(&mut self, wanted: DigestOf) {
        let shard = self.server.shard_owned();
        match Arc::clone(&shard).digests_taken(wanted).await {
            Ok(found) => reply_digests(self.server.token(&shard, found.lsn), &found, &mut self.reply),
            Err(error) => self.reply.error(&format!("ERR {error}")),
        }
    }

    /// Hands the socket to those who serve replicas.
    async fn become_link(&mut self) {
        if self.send_all().await.is_err() {
            return;
        }
        let input = self.input.split_off(self.consumed.min(self.input.len()));
        match self.stream.as_fd().try_clone_to_owned() {
            Ok(socket) => {
                let client = self.session.client.as_link(socket.as_raw_fd());
                self.became_link = true;
                let socket = PeerSocket { stream: socket.into(), input, client: Listed::new(&self.server, client) };
                self.server.links.serve(&self.server, socket);
            }
            Err(error) => tracing::warn!("a replica's connection cannot become a link: {error}"),
        }
    }

    /// Has the session's question about the past answered.
    async fn look_back(&mut self, shard: &Served) {
        if let Some(question) = self.session.question.take() {
            self.session.answer = Some(shard.looked_back(question).await);
        }
    }

    /// Takes mail, sends what could not be sent, and runs what has arrived. None: the connection ends.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<TurnEnd>>> {
        if self.session.client.take_notified() && !self.take_mail()? {
            return Poll::Ready(Ok(None));
        }
        while self.unsent() > 0 {
            if self.stream.poll_write_ready(cx)?.is_pending() {
                break;
            }
            self.send()?;
        }
        if self.unsent() > UNSENT_PAUSES_READING {
            return Poll::Pending;
        }
        if self.runnable {
            return Poll::Ready(Ok(Some(self.run_own_input())));
        }
        if self.upload.is_some() {
            return self.poll_upload(cx);
        }
        if self.input.is_empty() { self.poll_shared_read(cx) } else { self.poll_own_read(cx) }
    }

    /// Sends what others have posted. False: the client was killed.
    #[cold]
    fn take_mail(&mut self) -> io::Result<bool> {
        if self.session.client.is_killed() {
            return Ok(false);
        }
        self.own_reply_buffer();
        self.session.client.take_into(self.reply.buffer_mut());
        self.send()?;
        Ok(true)
    }

    /// Reads into the worker's buffer, while no request is cut.
    fn poll_shared_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<TurnEnd>>> {
        let mut buffer = buffers::take_read_buffer();
        let read = poll_read(&mut self.stream, cx, &mut buffer);
        let turn = read.map_ok(|count| {
            (count > 0).then(|| {
                self.server.stats.worker(self.worker).read(count);
                if arrivals::note(&buffer, self.session.db) {
                    self.input = buffers::take_request_buffer();
                    self.input.extend_from_slice(&buffer);
                    return TurnEnd { put_aside: true, ..TurnEnd::default() };
                }
                let (used, end) = self.run_input(&buffer);
                self.input.extend_from_slice(&buffer[used..]);
                end
            })
        });
        buffers::put_read_buffer(buffer);
        turn
    }

    /// Reads more of a large value.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<TurnEnd>>> {
        let mut buffer = buffers::take_read_buffer();
        let read = poll_read(&mut self.stream, cx, &mut buffer);
        let fed = match read {
            Poll::Ready(Ok(count)) => {
                self.server.stats.worker(self.worker).read(count);
                self.feed_upload(&buffer).map(|complete| {
                    let wait = complete.then_some(Wait::Upload);
                    (count > 0).then(|| TurnEnd { wait, ..TurnEnd::default() })
                })
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                buffers::put_read_buffer(buffer);
                return Poll::Pending;
            }
        };
        buffers::put_read_buffer(buffer);
        Poll::Ready(fed)
    }

    /// Reads more of a cut request into the connection's own buffer.
    fn poll_own_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<TurnEnd>>> {
        if self.consumed > 0 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        // A length that a client has only announced gets no memory: what has come is doubled at most.
        let missing = self.needed.saturating_sub(self.input.len());
        self.input.reserve(missing.min(self.input.len()).max(LEAST_READ));
        let count = ready!(poll_read(&mut self.stream, cx, &mut self.input))?;
        if count == 0 {
            return Poll::Ready(Ok(None));
        }
        self.server.stats.worker(self.worker).read(count);
        if self.input.len() > self.server.config.hot().query_limit() {
            self.server.stats.count_query_limited();
            tracing::warn!(client = self.session.id, "closed: unfinished requests exceed client-query-buffer-limit");
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(self.run_own_input())))
    }

    fn run_own_input(&mut self) -> TurnEnd {
        let input = std::mem::take(&mut self.input);
        let (used, end) = self.run_input(&input[self.consumed..]);
        self.input = input;
        self.consumed += used;
        if self.consumed == self.input.len() {
            // Gone rather than kept: an idle connection holds no buffer.
            buffers::put_request_buffer(std::mem::take(&mut self.input));
            self.consumed = 0;
            self.parser.shrink();
        } else if self.parser.pending_argument().is_some() {
            self.begin_upload();
        }
        end
    }

    /// Bytes of replies that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.reply.bytes().len() - self.sent
    }

    /// Makes sure that there is a reply buffer.
    pub(super) fn own_reply_buffer(&mut self) {
        if self.reply.capacity() == 0 {
            *self.reply.buffer_mut() = buffers::take_reply_buffer();
        }
    }

    /// Writes what the socket takes.
    fn send(&mut self) -> io::Result<()> {
        if self.unsent() > 0 {
            match self.stream.try_write(&self.reply.bytes()[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.server.stats.worker(self.worker).wrote(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let unsent = self.unsent();
        if !self.session.client.set_unsent(unsent) {
            self.server.stats.count_output_limited();
            tracing::warn!(client = self.session.id, unsent, "closed: unread replies exceed client-output-buffer-limit");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if unsent == 0 {
            self.sent = 0;
            buffers::put_reply_buffer(std::mem::take(self.reply.buffer_mut()));
        } else if self.sent > self.reply.bytes().len() / 2 {
            self.reply.buffer_mut().drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    async fn send_all(&mut self) -> io::Result<()> {
        while self.unsent() > 0 {
            self.stream.writable().await?;
            self.send()?;
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.hub.leave(&mut self.session.subscriptions, self.session.id);
        self.server.stop_monitoring(self.session.id);
        self.server.monitors.leave(self.session.id, &self.server.gates);
        if !self.became_link {
            self.server.clients.remove(self.session.id);
        }
    }
}

/// One read into the room behind `buffer`. A read that does not fill it tells the runtime that the socket is drained: no second read.
fn poll_read(stream: &mut TcpStream, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(buffer)).poll(cx)
}
