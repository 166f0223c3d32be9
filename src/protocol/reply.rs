//! Replies, encoded as they are built: a command appends to a [`Reply`] and never sees a socket.
//!
//! Types of RESP3 that RESP2 lacks are written in the form that Redis gives them on a RESP2 connection.

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// RESP2, until `HELLO 3`.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// An output buffer that knows the connection's protocol version.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    version: Version,
}

impl Reply {
    /// An empty buffer.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { bytes: Vec::new(), version }
    }

    /// The protocol version that is written.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Changes the version of what follows.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// What was written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer itself, for the connection that sends it.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The room of the buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The length so far: a place to go back to with [`Reply::truncate`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back everything written after `mark`.
    pub fn truncate(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// Replaces the last reply, an OK, by an error: of what was thought to succeed.
    pub fn replace_ok(&mut self, error: &str) {
        const OK: &[u8] = b"+OK\r\n";
        if self.bytes.ends_with(OK) {
            self.bytes.truncate(self.bytes.len() - OK.len());
            self.error(error);
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn number(&mut self, kind: u8, n: i64) {
        let digit = |n: i64| b'0' + (n % 10) as u8;
        // Copies of a fixed length are a few instructions, others a call.
        let (line, len) = match n {
            0..10 => ([kind, digit(n), b'\r', b'\n', 0, 0], 4),
            10..100 => ([kind, digit(n / 10), digit(n), b'\r', b'\n', 0], 5),
            100..1000 => ([kind, digit(n / 100), digit(n / 10), digit(n), b'\r', b'\n'], 6),
            _ => return self.long_number(kind, n),
        };
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(&line);
        self.bytes.truncate(end);
    }

    fn long_number(&mut self, kind: u8, n: i64) {
        self.line(kind, itoa::Buffer::new().format(n).as_bytes());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; the text starts with its code (`ERR …`). Line breaks become spaces, as in Redis.
    pub fn error(&mut self, text: &str) {
        if text.contains(['\r', '\n']) {
            self.line(b'-', text.replace(['\r', '\n'], " ").as_bytes());
        } else {
            self.line(b'-', text.as_bytes());
        }
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        self.number(b':', n);
    }

    /// A floating point number; RESP2: a bulk string.
    pub fn double(&mut self, x: f64) {
        match self.version {
            Version::Resp2 => self.bulk(x.to_string().as_bytes()),
            Version::Resp3 => self.line(b',', x.to_string().as_bytes()),
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, data: &[u8]) {
        self.number(b'$', data.len() as i64);
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The absent value: `_` in RESP3, the null bulk string in RESP2.
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The absent array: `_` in RESP3, the null array in RESP2.
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` elements, which follow.
    pub fn array(&mut self, len: usize) {
        self.number(b'*', len as i64);
    }

    /// The head of a map of `len` pairs; RESP2: an array of twice as many.
    pub fn map(&mut self, len: usize) {
        match self.version {
            Version::Resp2 => self.array(len * 2),
            Version::Resp3 => self.number(b'%', len as i64),
        }
    }

    /// The head of a set; RESP2: an array.
    pub fn set(&mut self, len: usize) {
        match self.version {
            Version::Resp2 => self.array(len),
            Version::Resp3 => self.number(b'~', len as i64),
        }
    }

    /// The head of a push message; RESP2: an array.
    pub fn push(&mut self, len: usize) {
        match self.version {
            Version::Resp2 => self.array(len),
            Version::Resp3 => self.number(b'>', len as i64),
        }
    }

    /// A truth value; RESP2: 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        match self.version {
            Version::Resp2 => self.integer(i64::from(value)),
            Version::Resp3 => self.bytes.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// Text for people; RESP2: a bulk string.
    pub fn verbatim(&mut self, text: &str) {
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => {
                self.number(b'=', text.len() as i64 + 4);
                self.bytes.extend_from_slice(b"txt:");
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_written_whole() {
        for n in [0, 1, 9, 10, 42, 99, 100, 255, 999, 1000, 123_456_789, -1, -10, i64::MAX, i64::MIN] {
            let mut reply = Reply::new(Version::Resp2);
            reply.integer(n);
            reply.ok();
            assert_eq!(reply.bytes(), format!(":{n}\r\n+OK\r\n").as_bytes());
        }
        for len in [0, 1, 9, 10, 99, 100, 999, 1000, 5000] {
            let mut reply = Reply::new(Version::Resp2);
            let data = vec![b'x'; len];
            reply.bulk(&data);
            assert_eq!(reply.bytes(), [format!("${len}\r\n").as_bytes(), &data, b"\r\n"].concat());
        }
    }
}
