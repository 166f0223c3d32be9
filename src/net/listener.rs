//! Listeners: the addresses that the server answers at, and what a new connection must pass before a worker gets it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{Client, Workers};
use crate::config::ClientClass;
use crate::server::Server;
use crate::session::Session;

/// What an outsider is told while no password protects the data; Redis's text, which clients look for.
const PROTECTED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";
/// What the client after the last one is told.
const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
/// How long the acceptor rests after an error like "too many open files".
const REST: Duration = Duration::from_millis(10);

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: String,
    /// Why not.
    pub source: io::Error,
}

/// The bound addresses.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of `bind` (names or numbers, `*` and `::*` for all interfaces), each with whether this machine may lack it.
    /// Port 0: none.
    ///
    /// # Errors
    /// An address that is not optional, or all of them, cannot be bound.
    pub fn bind(bind: &[(String, bool)], port: u16, backlog: i32) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for (address, optional) in bind.iter().filter(|_| port != 0) {
            match listen(address, port, backlog) {
                Ok(listener) => listeners.push(listener),
                Err(error) if *optional && is_missing_address(&error) => {
                    tracing::warn!(address, %error, "not listening on an optional address");
                }
                Err(source) => return Err(BindError { address: with_port(address, port), source }),
            }
        }
        if listeners.is_empty() && port != 0 {
            let source = io::ErrorKind::AddrNotAvailable.into();
            return Err(BindError { address: with_port("any address of bind", port), source });
        }
        Ok(Self { listeners })
    }

    /// The addresses, as bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Accepts connections for as long as it is polled.
    pub async fn accept(self, server: Arc<Server>, workers: &Workers) {
        let mut loops: Vec<_> = self.listeners.into_iter().map(|listener| Box::pin(accept_from(listener, &server, workers))).collect();
        std::future::poll_fn(|cx| {
            for accepting in &mut loops {
                if accepting.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Errors of an address that this machine does not have, or of a protocol.
fn is_missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error().is_some_and(|code| rustix::io::Errno::from_raw_os_error(code) == rustix::io::Errno::AFNOSUPPORT)
}

fn listen(address: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let ip = match address {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        text => resolve(text)?,
    };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // As Redis: an IPv6 address stands for itself only, so that `* ::*` binds both.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn resolve(text: &str) -> io::Result<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(text, 0))?.next();
    found.map(|address| address.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

async fn accept_from(listener: TcpListener, server: &Arc<Server>, workers: &Workers) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot watch a listening socket");
            return;
        }
    };
    loop {
        match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => admit(stream, peer, server, workers),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Gives the connection to a worker, or turns it away.
fn admit(mut stream: TcpStream, peer: SocketAddr, server: &Arc<Server>, workers: &Workers) {
    if server.clients.count() >= server.config.hot().max_clients() as usize {
        server.stats.count_rejected();
        let _ = stream.write(TOO_MANY.as_bytes());
        return;
    }
    if server.is_protected() && !peer.ip().to_canonical().is_loopback() {
        server.stats.count_rejected();
        let _ = stream.write(PROTECTED.as_bytes());
        return;
    }
    let socket = SockRef::from(&stream);
    // A failure here costs latency or a late notice of a dead peer, not the connection.
    let _ = socket.set_tcp_nodelay(true);
    if let Some(keepalive) = server.tcp_keepalive() {
        let third = (keepalive / 3).max(Duration::from_secs(1));
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive).with_interval(third).with_retries(3));
    }
    let client = Arc::new(Client::new(
        server.clients.next_id(),
        peer.to_string(),
        stream.local_addr().map(|address| address.to_string()).unwrap_or_default(),
        stream.as_raw_fd(),
        super::limits::now(),
    ));
    client.set_hard_limit(usize::try_from(server.config.hot().output_limits().of(ClientClass::Normal).hard).unwrap_or(usize::MAX));
    let session = Session::new(Arc::clone(&client), !server.config.hot().has_password());
    server.stats.count_connection();
    server.clients.add(client);
    workers.serve(server, stream, session);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn bind(addresses: &[(&str, bool)], port: u16) -> Result<Vec<IpAddr>, BindError> {
        let addresses: Vec<_> = addresses.iter().map(|(address, optional)| ((*address).to_owned(), *optional)).collect();
        Ok(Listeners::bind(&addresses, port, 16)?.addresses().iter().map(SocketAddr::ip).collect())
    }

    #[test]
    fn addresses_are_bound_as_redis_names_them() {
        assert_eq!(bind(&[("*", false)], free_port()).unwrap(), [IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
        assert_eq!(bind(&[("localhost", false)], free_port()).unwrap().len(), 1);
        // Both may be bound at once: the IPv6 one does not stand for IPv4 too.
        assert!(!bind(&[("*", false), ("::*", true)], free_port()).unwrap().is_empty());
        assert!(bind(&[("127.0.0.1", false)], 0).unwrap().is_empty());
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_an_error_unless_it_may_be_missing() {
        let port = free_port();
        let strange = "192.0.2.1";
        assert_eq!(bind(&[("127.0.0.1", false), (strange, true)], port).unwrap().len(), 1);
        let error = bind(&[("127.0.0.1", false), (strange, false)], free_port()).unwrap_err();
        assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:"), "{error}");
        assert!(bind(&[(strange, true)], port).is_err());
    }

    #[test]
    fn a_busy_port_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(&[("127.0.0.1", true)], port).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{error}");
    }
}
