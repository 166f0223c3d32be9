//! Servers of the Redis protocol that behave as a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A request's words.
pub type Words = Vec<Vec<u8>>;

/// What a fake server does with a request: the bytes of its reply, or nothing to close the connection.
pub trait Behaviour: Fn(&Words) -> Option<Vec<u8>> + Send + Sync + 'static {}
impl<F: Fn(&Words) -> Option<Vec<u8>> + Send + Sync + 'static> Behaviour for F {}

/// Serves on a port of its own until the test ends.
pub fn server(behaviour: impl Behaviour) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let behaviour = Arc::new(behaviour);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let behaviour = Arc::clone(&behaviour);
            thread::spawn(move || serve(stream.unwrap(), &*behaviour));
        }
    });
    port.to_string()
}

fn serve(stream: TcpStream, behaviour: &dyn Behaviour) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = request(&mut reader) {
        let Some(reply) = behaviour(&request) else { return };
        if reader.get_mut().write_all(&reply).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Words> {
    let number = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
        line[1..].trim().parse::<usize>().ok()
    };
    let words = number(reader)?;
    (0..words)
        .map(|_| {
            let mut word = vec![0; number(reader)? + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(word)
        })
        .collect()
}

/// A bulk reply, or a null.
pub fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
    value.map_or_else(|| b"$-1\r\n".to_vec(), |value| [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat())
}
