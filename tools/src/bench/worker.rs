//! One thread: its clients, what they send when, and what it makes of the replies.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::event::{Timespec, epoll};

use super::BenchError;
use super::args::Lengths;
use super::book::Ended;
use super::connection::{Connection, Target};
use super::judge;
use super::keys::{Chooser, Distribution};
use super::mix::{Mix, Op};
use super::reply::parse;
use super::request::Maker;
use super::schedule::{Limits, Schedule, Turn};
use super::stats::Figures;

/// How long replies may take after the last request.
const GRACE: u64 = 10_000_000_000;
/// How often a server that went away is tried.
const RETRY: u64 = 20_000_000;
/// How long a thread sleeps at most, so that it sees the end.
const NAP: u64 = 100_000_000;

/// What all threads of a run share.
pub(super) struct Plan<'a> {
    pub(super) target: &'a Target,
    pub(super) maker: &'a Maker,
    pub(super) mix: Mix,
    pub(super) distribution: Distribution,
    pub(super) keys: u64,
    pub(super) lengths: Lengths,
    pub(super) seed: u64,
    pub(super) pipeline: u32,
    pub(super) rate: Option<f64>,
    pub(super) threads: u32,
    pub(super) reconnect: bool,
    pub(super) limits: Limits,
    /// The next key of sequential choosers.
    pub(super) next: AtomicU64,
    /// When the run began.
    pub(super) origin: Instant,
}

impl Plan<'_> {
    pub(super) fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// One thread's part of a run.
pub(super) struct Worker<'a> {
    plan: &'a Plan<'a>,
    figures: &'a Mutex<Figures>,
    schedule: Schedule<'a>,
    chooser: Chooser<'a>,
    rng: SmallRng,
    epoll: OwnedFd,
    clients: Vec<Connection>,
    /// Clients without a request under way.
    free: VecDeque<usize>,
    /// Clients without a connection.
    down: Vec<usize>,
    retry_at: u64,
    /// When a client became free while none was: requests due before that were held up by the server and not by us.
    free_since: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, thread: u32, streams: Vec<TcpStream>, figures: &'a Mutex<Figures>) -> Result<Self, BenchError> {
        let system = |what| move |error: rustix::io::Errno| BenchError::System { what, source: error.into() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("make an epoll instance"))?;
        let clients: Vec<Connection> = streams.into_iter().map(Connection::new).collect();
        for (number, client) in clients.iter().enumerate() {
            if let Some(stream) = &client.stream {
                epoll::add(&epoll, stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)
                    .map_err(system("wait for a socket"))?;
            }
        }
        Ok(Self {
            schedule: Schedule::new(&plan.limits, plan.pipeline, plan.rate, thread, plan.threads),
            chooser: Chooser::new(plan.distribution, plan.keys, &plan.next),
            rng: SmallRng::seed_from_u64(plan.seed.wrapping_add(u64::from(thread).wrapping_mul(0x9E37_79B9_7F4A_7C15))),
            free: (0..clients.len()).collect(),
            down: Vec::new(),
            retry_at: 0,
            free_since: 0,
            plan,
            figures,
            epoll,
            clients,
        })
    }

    /// Works until the plan is carried out.
    pub(super) fn run(mut self) -> Result<(), BenchError> {
        // Without this the kernel may wake us 50 µs late, which would count as the server's time.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut events = Vec::with_capacity(256);
        let figures = self.figures;
        let lock = || -> MutexGuard<'_, Figures> { figures.lock().unwrap_or_else(PoisonError::into_inner) };
        loop {
            let mut guard = lock();
            self.reconnect(&mut guard);
            let wait_until = self.issue(&mut guard);
            if self.is_over(wait_until.is_none(), &mut guard) {
                self.leave_behind(&mut guard);
                guard.cpu_nanos += thread_cpu();
                return Ok(());
            }
            drop(guard);
            self.wait(&mut events, wait_until)?;
            let mut guard = lock();
            for event in events.drain(..) {
                let epoll::Event { data, flags } = event;
                self.serve(data.u64() as usize, flags, &mut guard);
            }
        }
    }

    /// Sends what is due; when to look again, none if nothing will be due any more.
    fn issue(&mut self, figures: &mut Figures) -> Option<u64> {
        loop {
            let now = self.plan.now();
            let Some(&number) = self.free.front() else {
                // All are busy: replies wake us. But the end has to be seen.
                return (!self.schedule.is_past(now)).then_some(now + NAP);
            };
            match self.schedule.turn(now) {
                Turn::Wait(due) => return Some(due),
                Turn::Over => return None,
                Turn::Now { due, requests } => {
                    self.free.pop_front();
                    if self.plan.rate.is_some() && due >= self.plan.limits.measure_from {
                        figures.late.record(now - due.max(self.free_since.min(now)), 1);
                    }
                    self.fill(number, due, requests);
                    self.push(number, figures);
                }
            }
        }
    }

    fn fill(&mut self, number: usize, due: u64, requests: u32) {
        let Self { plan, chooser, rng, clients, .. } = self;
        let client = &mut clients[number];
        for _ in 0..requests {
            let op = plan.mix.choose(rng);
            let key = chooser.choose(rng);
            let Lengths { from, to } = plan.lengths;
            let len = if op == Op::Set && to > from { rng.random_range(from..=to) } else { from };
            client.pending.push_back(plan.maker.make(op, key, len, due, &mut client.out));
        }
    }

    fn push(&mut self, number: usize, figures: &mut Figures) {
        let client = &mut self.clients[number];
        let was_blocked = client.blocked;
        match client.send() {
            Ok(sent) => figures.sent_bytes += sent as u64,
            Err(error) => return self.lose(number, &error, figures),
        }
        let client = &self.clients[number];
        if client.blocked != was_blocked
            && let Some(stream) = &client.stream
        {
            let flags = if client.blocked { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let _ = epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(number as u64), flags);
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, until: Option<u64>) -> Result<(), BenchError> {
        let now = self.plan.now();
        let mut nanos = until.map_or(NAP, |until| until.saturating_sub(now)).min(NAP);
        if !self.down.is_empty() && self.plan.reconnect {
            nanos = nanos.min(self.retry_at.saturating_sub(now));
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: nanos as i64 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(BenchError::System { what: "wait for sockets", source: error.into() }),
        }
    }

    fn serve(&mut self, number: usize, flags: epoll::EventFlags, figures: &mut Figures) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.push(number, figures);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            match self.clients[number].receive() {
                Ok(None) => {}
                Ok(Some(len)) => {
                    figures.received_bytes += len as u64;
                    if let Err(error) = self.take_replies(number, figures) {
                        self.lose(number, &error, figures);
                    }
                }
                Err(error) => self.lose(number, &error, figures),
            }
        }
    }

    fn take_replies(&mut self, number: usize, figures: &mut Figures) -> io::Result<()> {
        let now = self.plan.now();
        let client = &mut self.clients[number];
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a reply that is no reply of the protocol");
        while let Some((reply, len)) = parse(&client.input[client.filled.clone()]).map_err(|_| malformed())? {
            let pending = client.pending.pop_front().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a reply to no request"))?;
            let right = judge::judge(self.plan.maker, &pending, reply, figures);
            if right && pending.due >= self.plan.limits.measure_from {
                figures.record(pending.op, now.saturating_sub(pending.due));
                figures.last = figures.last.max(now);
            }
            client.filled.start += len;
            if client.pending.is_empty() {
                if self.free.is_empty() {
                    self.free_since = now;
                }
                self.free.push_back(number);
            }
        }
        Ok(())
    }

    /// A connection has ended: what it did not answer is lost.
    fn lose(&mut self, number: usize, error: &io::Error, figures: &mut Figures) {
        let client = &mut self.clients[number];
        if client.stream.take().is_none() {
            return;
        }
        let was_free = client.pending.is_empty();
        figures.disconnections += 1;
        figures.lost += client.pending.len() as u64;
        figures.interval.errors += client.pending.len() as u64;
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        };
        *figures.disconnected.entry(text).or_insert(0) += 1;
        for pending in client.pending.drain(..) {
            judge::end(self.plan.maker, &pending, Ended::Unknown);
        }
        if was_free {
            self.free.retain(|free| *free != number);
        }
        self.down.push(number);
    }

    /// Tries to connect one client, and at once the next if that worked.
    fn reconnect(&mut self, figures: &mut Figures) {
        if !self.plan.reconnect || self.plan.limits.end.is_some_and(|end| self.plan.now() >= end) {
            return;
        }
        while !self.down.is_empty() && self.plan.now() >= self.retry_at {
            match self.plan.target.connect() {
                Ok(stream) => {
                    let Some(number) = self.down.pop() else { return };
                    let data = epoll::EventData::new_u64(number as u64);
                    if epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).is_ok() {
                        self.clients[number].restart(stream);
                        if self.free.is_empty() {
                            self.free_since = self.plan.now();
                        }
                        self.free.push_back(number);
                        figures.reconnections += 1;
                    }
                }
                Err(_) => self.retry_at = self.plan.now() + RETRY,
            }
        }
    }

    /// Whether nothing is left to do. Replies that do not come in time are lost.
    fn is_over(&mut self, all_sent: bool, figures: &mut Figures) -> bool {
        if self.down.len() == self.clients.len() && (!self.plan.reconnect || all_sent) {
            return true;
        }
        let under_way = self.clients.iter().any(|client| !client.pending.is_empty());
        if !all_sent || !under_way {
            return all_sent;
        }
        if self.plan.limits.end.is_some_and(|end| self.plan.now() > end + GRACE) {
            let late = io::Error::new(io::ErrorKind::TimedOut, "no reply within 10 s of the end");
            (0..self.clients.len())
                .filter(|number| !self.clients[*number].pending.is_empty())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|number| self.lose(number, &late, figures));
            return true;
        }
        false
    }

    /// Requests that were due and could not be sent have taken their age at least.
    fn leave_behind(&mut self, figures: &mut Figures) {
        let Some(end) = self.plan.limits.end else { return };
        let now = self.plan.now();
        while let Some((due, requests)) = self.schedule.left_behind(end) {
            if due >= self.plan.limits.measure_from {
                figures.unsent.record(now.saturating_sub(due), u64::from(requests));
            }
        }
    }
}

/// CPU time of this thread in nanoseconds.
fn thread_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
