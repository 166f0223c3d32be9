//! Ops as text for people, and as JSON.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use esker_storage::codec::control::{EpochStart, ExpiredUpTo, FlushedTable, SwappedDatabases};
use esker_storage::codec::delta::{Delta, DeltaChange};
use esker_storage::codec::evicted::Evicted;
use esker_storage::codec::op::{OpCode, OpView};
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::types::UnixMillis;
use serde_json::{Map, Value, json};

use super::LogError;
use super::args::{Format, OpKind};
use super::scan::Record;

/// How much of a value the text shows.
const PREVIEW: usize = 64;

/// Writes an op in one line.
pub(super) fn write(record: &Record<'_>, format: Format, out: &mut dyn Write) -> Result<(), LogError> {
    if format.json {
        writeln!(out, "{}", object(record, format.values))?;
    } else {
        writeln!(out, "{}", line(record, format.values))?;
    }
    Ok(())
}

/// A time for people.
pub(super) fn time(at: UnixMillis) -> String {
    let Ok(millis) = u64::try_from(at.0) else { return at.0.to_string() };
    // Later than the year 9999 cannot be written so.
    if millis >= 253_402_300_800_000 {
        return millis.to_string();
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}

/// Bytes in quotes, with what cannot be printed escaped.
pub(super) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn preview(bytes: &[u8]) -> String {
    match bytes.get(..PREVIEW) {
        Some(head) if bytes.len() > PREVIEW => format!("{}…", quoted(head)),
        _ => quoted(bytes),
    }
}

fn line(record: &Record<'_>, values: bool) -> String {
    let head = record.entry.head();
    let header = &record.op.header;
    let name = OpKind::from(header.code).name();
    let mut line = format!("{}.{}  {}  {name:<9}", head.lsn, record.number, time(head.time));
    if header.code.has_key() {
        let db = record.tables.db_of(header.table).map_or_else(|| format!("table {}", header.table), |db| format!("db {db}"));
        let slot = record.slot().unwrap_or_default();
        line += &format!("  {db}  slot {slot}  {}", quoted(record.op.key));
    }
    line += &details(&record.op, values);
    if let Some(at) = header.expire_at {
        line += &format!("  expires {}", time(at));
    }
    line
}

fn details(op: &OpView<'_>, values: bool) -> String {
    let body = |bytes: &[u8]| if values { format!("  {}", preview(bytes)) } else { String::new() };
    match op.header.code {
        OpCode::Put if op.header.value_segment => {
            let of = ValueRef::decode(op.body).ok();
            of.map_or_else(String::new, |value| format!("  {} bytes in {:032x}.seg", value.len, value.value_id))
        }
        OpCode::Put => format!("  {} bytes{}", op.body.len(), body(op.body)),
        OpCode::Delta => match Delta::decode(op.body) {
            Ok(Delta { change: DeltaChange::Write { offset, bytes }, total_len, base_lsn, base_op, .. }) => {
                format!("  {} bytes at {offset} of {total_len}, on {base_lsn}.{base_op}{}", bytes.len(), body(bytes))
            }
            Ok(Delta { total_len, base_lsn, base_op, .. }) => format!("  expiry only, {total_len} bytes, on {base_lsn}.{base_op}"),
            Err(error) => format!("  {error}"),
        },
        OpCode::Tombstone => String::new(),
        OpCode::FlushTables => {
            let flushed = FlushedTable::decode_all(op.body).unwrap_or_default();
            flushed.iter().map(|f| format!("  db {}: table {} -> {}", f.db, f.old, f.new)).collect()
        }
        OpCode::SwapDatabases => {
            SwappedDatabases::decode(op.body).map_or_else(|_| String::new(), |s| format!("  db {} <-> db {}", s.a, s.b))
        }
        OpCode::EpochStart => {
            let start = EpochStart::decode(op.body).ok();
            start.map_or_else(String::new, |e| {
                format!("  writer {:016x}, node {:016x}, incarnation {}", e.writer.0, e.node.0, e.incarnation)
            })
        }
        OpCode::Evict => Evicted::decode(op.body).map_or_else(
            |_| String::new(),
            |evicted| {
                let (first, last) = evicted.range();
                format!("  {} records of LSN {first} to {last}", evicted.ops().len())
            },
        ),
        OpCode::ExpiredUpTo => {
            ExpiredUpTo::decode(op.body).map_or_else(|_| String::new(), |expired| format!("  up to {}", time(expired.at)))
        }
    }
}

/// Adds bytes as text if they are text, else in hexadecimal.
pub(super) fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into()),
    };
}

fn object(record: &Record<'_>, values: bool) -> Value {
    let head = record.entry.head();
    let header = &record.op.header;
    let mut object = Map::new();
    let mut insert = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    insert("lsn", head.lsn.0.into());
    insert("op", record.number.into());
    insert("ops", record.entry.header().ops.into());
    insert("epoch", head.epoch.0.into());
    insert("time", time(head.time).into());
    insert("time_ms", head.time.0.into());
    insert("segment", record.segment.name().into());
    insert("offset", record.offset.into());
    insert("bytes", record.op.bytes.len().into());
    insert("kind", OpKind::from(header.code).name().into());
    if let Some(session) = record.entry.header().session {
        insert("session", json!({"node": session.node.0, "incarnation": session.incarnation.0, "sequence": session.sequence}));
    }
    if let Some(at) = header.expire_at {
        insert("expire_at_ms", at.0.into());
    }
    if header.code.has_key() {
        insert("table", header.table.0.into());
        insert("db", record.tables.db_of(header.table).map(|db| db.0).into());
        insert("slot", record.slot().unwrap_or_default().0.into());
        insert("type", format!("{:?}", header.value_type).to_lowercase().into());
        insert_bytes(&mut object, "key", record.op.key);
    }
    insert_details(&mut object, &record.op, values);
    Value::Object(object)
}

fn insert_details(object: &mut Map<String, Value>, op: &OpView<'_>, values: bool) {
    let mut insert = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    match op.header.code {
        OpCode::Put if op.header.value_segment => {
            if let Ok(value) = ValueRef::decode(op.body) {
                insert("value_len", value.len.into());
                insert("value_segment", format!("{:032x}", value.value_id).into());
            }
        }
        OpCode::Put => {
            insert("value_len", op.body.len().into());
            if values {
                insert_bytes(object, "value", op.body);
            }
        }
        OpCode::Delta => {
            let Ok(delta) = Delta::decode(op.body) else { return };
            insert("value_len", delta.total_len.into());
            insert("base_lsn", delta.base_lsn.0.into());
            insert("base_op", delta.base_op.into());
            insert("depth", delta.depth.into());
            if let DeltaChange::Write { offset, bytes } = delta.change {
                insert("write_at", offset.into());
                insert("write_len", bytes.len().into());
                if values {
                    insert_bytes(object, "write", bytes);
                }
            }
        }
        OpCode::Tombstone => {}
        OpCode::FlushTables => {
            let flushed = FlushedTable::decode_all(op.body).unwrap_or_default();
            insert("flushed", flushed.iter().map(|f| json!({"db": f.db.0, "old": f.old.0, "new": f.new.0})).collect());
        }
        OpCode::SwapDatabases => {
            if let Ok(swapped) = SwappedDatabases::decode(op.body) {
                insert("swapped", json!([swapped.a.0, swapped.b.0]));
            }
        }
        OpCode::EpochStart => {
            if let Ok(start) = EpochStart::decode(op.body) {
                insert("writer", format!("{:016x}", start.writer.0).into());
                insert("node", format!("{:016x}", start.node.0).into());
                insert("incarnation", start.incarnation.0.into());
            }
        }
        OpCode::Evict => {
            if let Ok(evicted) = Evicted::decode(op.body) {
                let (first, last) = evicted.range();
                insert("evicted", evicted.ops().len().into());
                insert("first_lsn", first.0.into());
                insert("last_lsn", last.0.into());
            }
        }
        OpCode::ExpiredUpTo => {
            if let Ok(expired) = ExpiredUpTo::decode(op.body) {
                insert("expired_up_to_ms", expired.at.0.into());
            }
        }
    }
}
