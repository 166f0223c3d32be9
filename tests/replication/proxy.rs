//! A proxy between a replica and its primary, which can be cut, which can hold bytes back, and which can flip bits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Primary,
    Replica,
}

/// Forwards connections to a port until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: AtomicBool,
    /// What the primary, or the replica, sends is held back.
    holds: [AtomicBool; 2],
    /// Bytes from the primary until the next bit is flipped; 0: none is.
    flip_after: AtomicU64,
    /// Bytes from the primary that were forwarded.
    forwarded: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// To a port of this machine.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if own.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                own.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let shared = Arc::clone(&own);
                std::thread::spawn(move || forward(from, to, From::Replica, &shared));
                let shared = Arc::clone(&own);
                std::thread::spawn(move || forward(server, client, From::Primary, &shared));
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections and takes no new ones, until told otherwise.
    pub fn set_cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::SeqCst);
        if cut {
            for stream in self.shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Holds back what comes from one side, until told otherwise; a cut loses it.
    pub fn hold(&self, from: From, hold: bool) {
        self.shared.holds[from as usize].store(hold, Ordering::SeqCst);
    }

    /// Flips a bit after so many bytes more from the primary.
    pub fn flip_after(&self, bytes: u64) {
        self.shared.flip_after.store(bytes, Ordering::SeqCst);
    }

    /// Whether the bit has been flipped.
    pub fn has_flipped(&self) -> bool {
        self.shared.flip_after.load(Ordering::SeqCst) == 0
    }

    /// Bytes from the primary so far.
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::SeqCst)
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, side: From, shared: &Shared) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while shared.holds[side as usize].load(Ordering::SeqCst) && !shared.cut.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if side == From::Primary {
            shared.forwarded.fetch_add(count as u64, Ordering::SeqCst);
            let due = shared.flip_after.load(Ordering::SeqCst);
            if (1..=count as u64).contains(&due) {
                buffer[due as usize - 1] ^= 1 << (due % 8);
                shared.flip_after.store(0, Ordering::SeqCst);
            } else if due > 0 {
                shared.flip_after.store(due - count as u64, Ordering::SeqCst);
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
