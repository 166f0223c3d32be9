//! Requests as they go to the wire.

use std::io::{self, Write};

/// Writes a request of these words.
pub(crate) fn write<W: AsRef<[u8]>>(words: &[W], out: &mut dyn Write) -> io::Result<()> {
    write!(out, "*{}\r\n", words.len())?;
    for word in words.iter().map(AsRef::as_ref) {
        write!(out, "${}\r\n", word.len())?;
        out.write_all(word)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

/// A request of these words.
pub(crate) fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(words, &mut bytes).expect("memory has no faults");
    bytes
}
