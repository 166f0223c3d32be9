//! Keys as commands, or as JSON.

use std::io::{self, Write};

use esker_storage::types::{Db, Lsn, UnixMillis};
use serde_json::{Map, Value};

use super::super::args::ExportFormat;
use super::super::output::insert_bytes;
use crate::request;

/// Writes one key after the other.
pub(super) struct Writer<'o> {
    format: ExportFormat,
    out: &'o mut dyn Write,
    selected: Option<Db>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(format: ExportFormat, out: &'o mut dyn Write) -> Self {
        Self { format, out, selected: None }
    }

    pub(super) fn write(&mut self, db: Db, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>, lsn: Lsn) -> io::Result<()> {
        match self.format {
            ExportFormat::Resp => self.commands(db, key, value, expire_at),
            ExportFormat::Json => self.line(db, key, value, expire_at, lsn),
        }
    }

    fn commands(&mut self, db: Db, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>) -> io::Result<()> {
        if self.selected != Some(db) {
            self.command(&[b"SELECT", db.0.to_string().as_bytes()])?;
            self.selected = Some(db);
        }
        match expire_at {
            None => self.command(&[b"SET", key, value]),
            Some(at) => self.command(&[b"SET", key, value, b"PXAT", at.0.to_string().as_bytes()]),
        }
    }

    fn command(&mut self, words: &[&[u8]]) -> io::Result<()> {
        request::write(words, self.out)
    }

    fn line(&mut self, db: Db, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>, lsn: Lsn) -> io::Result<()> {
        let mut object = Map::new();
        object.insert("db".to_owned(), db.0.into());
        insert_bytes(&mut object, "key", key);
        insert_bytes(&mut object, "value", value);
        if let Some(at) = expire_at {
            object.insert("expire_at_ms".to_owned(), at.0.into());
        }
        object.insert("lsn".to_owned(), lsn.0.into());
        writeln!(self.out, "{}", Value::Object(object))
    }
}
