//! Traces in files.
//!
//! Text: a request a line, its key up to the first comma; what follows (the object's size) is not used.
//!
//! Binary, libCacheSim's oracleGeneral; numbers are little-endian:
//! ```text
//! 0      4           12     16             24
//! ┌──────┬───────────┬──────┬──────────────┐
//! │ time │ object id │ size │ next request │
//! └──────┴───────────┴──────┴──────────────┘
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::source::Requests;

const RECORD: usize = 24;
const ID_AT: usize = 4;

/// The first `most` requests of a file, or why there are none.
pub(super) fn read(path: &Path, most: u64) -> Result<Requests, String> {
    let file = BufReader::with_capacity(1 << 20, File::open(path).map_err(|error| error.to_string())?);
    let binary = path.extension().is_some_and(|extension| extension == "bin");
    let requests = if binary { oracle_general(file, most)? } else { text(file, most)? };
    if requests.order.is_empty() { Err("it holds no request".to_owned()) } else { Ok(requests) }
}

fn text(file: impl BufRead, most: u64) -> Result<Requests, String> {
    let mut keys = Vec::new();
    for line in file.lines() {
        let line = line.map_err(|error| format!("{error} (traces are text, or oracleGeneral in a file named .bin, and not compressed)"))?;
        let key = line.split(',').next().unwrap_or_default().trim();
        if !key.is_empty() && keys.len() as u64 == most {
            break;
        }
        if !key.is_empty() {
            keys.push(key.to_owned());
        }
    }
    Ok(Requests::dense(keys))
}

fn oracle_general(mut file: impl Read, most: u64) -> Result<Requests, String> {
    let mut ids: Vec<u64> = Vec::new();
    let mut record = [0; RECORD];
    while (ids.len() as u64) < most {
        match file.read_exact(&mut record) {
            Ok(()) => ids.push(record[ID_AT..ID_AT + 8].iter().rev().fold(0, |id, byte| id << 8 | u64::from(*byte))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(Requests::dense(ids))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn read_as(name: &str, bytes: &[u8], most: u64) -> Result<Requests, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read(&path, most)
    }

    #[test]
    fn lines_of_text_are_keys_and_sizes() {
        let requests = read_as("a.csv", b"x,100\ny\n\nx,7\nz,1\n", u64::MAX).unwrap();
        assert_eq!(requests, Requests::dense(["x", "y", "x", "z"]));
        assert_eq!(read_as("a.csv", b"x,100\ny\n\nx,7\nz,1\n", 2).unwrap(), Requests::dense(["x", "y"]));
    }

    #[test]
    fn records_of_oracle_general_are_told_apart_by_all_eight_bytes_of_the_id() {
        let record = |id: u64| [&7_u32.to_le_bytes()[..], &id.to_le_bytes(), &512_u32.to_le_bytes(), &(-1_i64).to_le_bytes()].concat();
        let ids = [1, 1 << 56, 1, 3];
        let mut bytes = ids.map(record).concat();
        assert_eq!(read_as("a.bin", &bytes, u64::MAX).unwrap(), Requests::dense(ids));
        assert_eq!(read_as("a.bin", &bytes, 3).unwrap(), Requests::dense([1, 2, 1]));
        bytes.truncate(3 * RECORD + 5);
        assert_eq!(read_as("a.bin", &bytes, u64::MAX).unwrap().order, [0, 1, 0]);
    }

    #[test]
    fn what_is_no_trace_is_told() {
        assert!(read_as("a.bin", b"short", u64::MAX).unwrap_err().contains("no request"));
        assert!(read_as("a.csv.zst", b"\x28\xb5\x2f\xfd\n", u64::MAX).unwrap_err().contains("not compressed"));
        assert!(read(Path::new("/nonexistent"), 1).is_err());
    }
}
