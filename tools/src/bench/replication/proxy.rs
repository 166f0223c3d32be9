//! A link between a replica and its primary: a port that leads to another one, later, slower, or not at all.
//!
//! Invariants:
//! - Every byte that was accepted is delivered in order, unless the link is cut; what is counted has been delivered.
//! - What is under way when the link is cut is gone, as it is when a machine goes dark.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::super::BenchError;
use super::link::{Lane, Shape};

/// Bytes that are read at once, and pieces that a connection has under way at most: a window of 64 MiB.
const PIECE: usize = 64 << 10;
const WINDOW: usize = 1024;
/// How far ahead of its rate a link accepts bytes: its buffer.
const BUFFERED: Duration = Duration::from_millis(10);

/// The link.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    shape: Shape,
    origin: Instant,
    to_replica: Direction,
    to_primary: Direction,
    cut: AtomicBool,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

#[derive(Debug)]
struct Direction {
    lane: Mutex<Lane>,
    delivered: AtomicU64,
}

/// Bytes that a link delivered, TCP's own not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) to_replica: u64,
    pub(super) to_primary: u64,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Leads to a port of this machine.
    pub(super) fn start(target: u16, shape: Shape, seed: u64) -> Result<Self, BenchError> {
        let system = |source| BenchError::System { what: "listen for a link", source };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(system)?;
        let port = listener.local_addr().map_err(system)?.port();
        let direction =
            |seed| Direction { lane: Mutex::new(Lane::new(shape, SmallRng::seed_from_u64(seed))), delivered: AtomicU64::new(0) };
        let shared = Arc::new(Shared {
            target,
            shape,
            origin: Instant::now(),
            to_replica: direction(seed),
            to_primary: direction(!seed),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self { port, shared, acceptor: Some(acceptor) })
    }

    /// Where the replica connects.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn delivered(&self) -> Delivered {
        let of = |direction: &Direction| direction.delivered.load(Ordering::Relaxed);
        Delivered { to_replica: of(&self.shared.to_replica), to_primary: of(&self.shared.to_primary) }
    }

    /// Ends all connections with all that is under way, and accepts no more.
    pub(super) fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for replica in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(replica) = replica else { continue };
            // Without a primary the replica sees its connection end, and tries again.
            if let Ok(primary) = TcpStream::connect(("127.0.0.1", self.target)) {
                let _ = self.join(replica, primary);
            }
        }
    }

    fn join(self: &Arc<Self>, replica: TcpStream, primary: TcpStream) -> std::io::Result<()> {
        replica.set_nodelay(true)?;
        primary.set_nodelay(true)?;
        {
            // Under the lock, so that a cut sees the streams or is seen.
            let mut streams = lock(&self.streams);
            if self.cut.load(Ordering::SeqCst) {
                return Ok(());
            }
            streams.extend([replica.try_clone()?, primary.try_clone()?]);
        }
        self.carry(|shared| &shared.to_primary, replica.try_clone()?, primary.try_clone()?);
        self.carry(|shared| &shared.to_replica, primary, replica);
        Ok(())
    }

    fn carry(self: &Arc<Self>, direction: fn(&Self) -> &Direction, from: TcpStream, to: TcpStream) {
        let shared = Arc::clone(self);
        if self.shape.is_plain() {
            thread::spawn(move || shared.pass(direction(&shared), from, to));
            return;
        }
        let (sender, receiver) = sync_channel(WINDOW);
        thread::spawn(move || shared.take(direction(&shared), from, &sender));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.deliver(direction(&shared), &receiver, to));
    }

    /// Passes on what comes when it comes.
    fn pass(&self, direction: &Direction, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; PIECE];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if self.cut.load(Ordering::SeqCst) || to.write_all(&buffer[..len]).is_err() {
                break;
            }
            direction.delivered.fetch_add(len as u64, Ordering::Relaxed);
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Takes what comes as fast as the link's rate allows.
    fn take(&self, direction: &Direction, mut from: TcpStream, sender: &SyncSender<(Duration, Vec<u8>)>) {
        let mut buffer = vec![0; PIECE];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            let now = self.origin.elapsed();
            let passage = lock(&direction.lane).send(now, len);
            if sender.send((passage.due, buffer[..len].to_vec())).is_err() {
                break;
            }
            thread::sleep(passage.sent.saturating_sub(now + BUFFERED));
        }
        let _ = from.shutdown(Shutdown::Both);
    }

    /// Hands over what was taken when it is due.
    fn deliver(&self, direction: &Direction, receiver: &Receiver<(Duration, Vec<u8>)>, mut to: TcpStream) {
        // Without this the kernel may wake us 50 µs late, which is much for a link of half a millisecond.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_sub(self.origin.elapsed()));
            if self.cut.load(Ordering::SeqCst) || to.write_all(&bytes).is_err() {
                break;
            }
            direction.delivered.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn shape(delay: u64, rate: Option<f64>) -> Shape {
        Shape { delay: Duration::from_millis(delay), rate, loss: 0.0 }
    }

    /// A link to a server that sends everything back, and a connection over it.
    fn echo(shape: Shape) -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port(), shape, 1).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream));
            }
        });
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (proxy, stream)
    }

    fn there_and_back(stream: &TcpStream, len: usize) -> Duration {
        let began = Instant::now();
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 256) as u8).collect();
        let mut back = vec![0; len];
        thread::scope(|scope| {
            scope.spawn(|| (&*stream).write_all(&bytes).unwrap());
            (&*stream).read_exact(&mut back).unwrap();
        });
        assert!(back == bytes, "{len} bytes came back changed");
        began.elapsed()
    }

    #[test]
    fn a_round_trip_takes_two_delays_and_all_bytes_are_counted() {
        for delay in [0, 30] {
            let (proxy, stream) = echo(shape(delay, None));
            let took = there_and_back(&stream, 10);
            assert!(took >= Duration::from_millis(2 * delay), "{took:?}");
            there_and_back(&stream, 3_000_000);
            // The last piece is counted after it was delivered.
            let deadline = Instant::now() + Duration::from_secs(5);
            let all = Delivered { to_replica: 3_000_010, to_primary: 3_000_010 };
            while proxy.delivered() != all {
                assert!(Instant::now() < deadline, "{:?}", proxy.delivered());
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_rate_holds_for_all_connections_together() {
        let (proxy, stream) = echo(shape(0, Some(4e6)));
        let other = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let began = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| there_and_back(&other, 400_000));
            scope.spawn(|| there_and_back(&stream, 400_000));
        });
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(190), "800,000 bytes at 4 MB/s in {took:?}");
    }

    #[test]
    fn a_cut_drops_what_is_under_way() {
        let (proxy, mut stream) = echo(shape(300, None));
        stream.write_all(b"on its way").unwrap();
        thread::sleep(Duration::from_millis(50));
        proxy.cut();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        thread::sleep(Duration::from_millis(400));
        assert!(rest.is_empty() && proxy.delivered() == Delivered::default(), "{rest:?} {:?}", proxy.delivered());
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert!(!matches!(again.read(&mut [0]), Ok(1..)), "nothing is accepted any more");
    }
}
