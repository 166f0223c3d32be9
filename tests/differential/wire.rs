//! A connection that keeps replies as the bytes they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request: its arguments.
pub type Request = Vec<Vec<u8>>;

/// A connection to any server that speaks RESP.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to a port of this machine.
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request and reads its reply.
    pub fn call(&mut self, request: &[Vec<u8>]) -> Vec<u8> {
        self.send(request);
        self.reply()
    }

    /// The same for words of text.
    pub fn call_words(&mut self, words: &[&str]) -> Vec<u8> {
        self.call(&words.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Sends without reading.
    pub fn send(&mut self, request: &[Vec<u8>]) {
        let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
        for argument in request {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&bytes).unwrap();
    }

    /// Reads one whole reply or push message.
    pub fn reply(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_value(&mut bytes);
        bytes
    }

    fn read_value(&mut self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        self.0.read_until(b'\n', bytes).unwrap();
        assert!(bytes.ends_with(b"\r\n"), "the server closed the connection after {:?}", String::from_utf8_lossy(bytes));
        let len = || std::str::from_utf8(&bytes[start + 1..bytes.len() - 2]).unwrap().parse::<i64>().unwrap();
        match bytes[start] {
            b'$' | b'=' | b'!' => {
                let len = len();
                if len >= 0 {
                    let at = bytes.len();
                    bytes.resize(at + len as usize + 2, 0);
                    self.0.read_exact(&mut bytes[at..]).unwrap();
                }
            }
            b'*' | b'~' | b'>' => (0..len()).for_each(|_| self.read_value(bytes)),
            b'%' => (0..2 * len()).for_each(|_| self.read_value(bytes)),
            _ => {}
        }
    }
}
