//! Workers: one thread each with a runtime of its own, over which the connections are spread.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use super::connection::Connection;
use crate::server::Server;
use crate::session::Session;

/// Tasks that a worker runs before it looks for new events, should it not run out of them first.
const TASKS_BETWEEN_LOOKS: u32 = 256;

struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Its own, as it keeps the word for a thread that does not wait for it yet: told at once after the start, all have to end.
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// All workers.
pub struct Workers {
    workers: Vec<Worker>,
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts the workers.
    ///
    /// # Errors
    /// No thread or no event queue could be made.
    pub fn start(server: &Arc<Server>, count: usize) -> std::io::Result<Self> {
        let workers = (0..count).map(|number| start_worker(server, number, count)).collect::<Result<_, _>>()?;
        Ok(Self { workers })
    }

    /// Gives a connection to the worker that has the fewest.
    pub(super) fn serve(&self, server: &Arc<Server>, stream: TcpStream, session: Session) {
        let fewest = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.connections.load(Ordering::Relaxed));
        let Some((number, worker)) = fewest else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&worker.connections));
        let server = Arc::clone(server);
        worker.runtime.spawn(async move {
            let _counted = counted;
            // Here rather than in the acceptor, so that the worker's own event queue watches the socket.
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => Connection::new(server, number, stream, session).run().await,
                Err(error) => {
                    server.clients.remove(session.id);
                    tracing::warn!(%error, "connection lost before it began");
                }
            }
        });
    }

    /// Ends all connections and the workers.
    pub fn stop(&mut self) {
        self.workers.iter().for_each(|worker| worker.stop.notify_one());
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn start_worker(server: &Arc<Server>, number: usize, count: usize) -> std::io::Result<Worker> {
    let runtime = Builder::new_current_thread().enable_all().event_interval(TASKS_BETWEEN_LOOKS).build()?;
    let handle = runtime.handle().clone();
    let porter = {
        let (durability, server) = (Arc::clone(&server.durability), Arc::clone(server));
        durability.run_porter(number, move |lsn| server.have_flushed(lsn))
    };
    handle.spawn(porter);
    // Replicas acknowledge unasked.
    handle.spawn(Arc::clone(&server.links.promise().waiters).run_porter(number, |_| ()));
    handle.spawn(super::lookout::run(count == 1));
    let stop = Arc::new(Notify::new());
    let awaited = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || run(&runtime, &awaited))?;
    Ok(Worker { runtime: handle, connections: Arc::default(), stop, thread: Some(thread) })
}

fn run(runtime: &Runtime, stop: &Notify) {
    runtime.block_on(stop.notified());
}
