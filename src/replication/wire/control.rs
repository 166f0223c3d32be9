//! Control messages to and from protobuf.

use esker_storage::manifest::Epoch;
use esker_storage::types::{EpochNumber, HistoryId, Incarnation, Lsn, NodeId, ShardId, UnixMillis, WriterId};

use super::bounds::{self, Shape};
use super::error::WireError;
use super::frame::FrameKind;
use super::generated as proto;
use super::message::{
    Ack, Bye, ByeCode, File, Heartbeat, Hello, Lacking, Listing, Message, SnapshotId, TakeOver, TookOver, Want, Welcome, WelcomePlan,
};
use super::names::is_file_name;
use crate::replication::lineage::{Lineage, RefusalCode};

/// The longest text that is meant for people, and the longest address.
const MAX_TEXT: usize = 1024;

pub(super) fn decode(kind: FrameKind, payload: &[u8]) -> Result<Message<'static>, WireError> {
    Ok(match kind {
        FrameKind::Hello => Message::Hello(hello(parse(payload, &bounds::HELLO)?)?),
        FrameKind::Welcome => Message::Welcome(welcome(parse(payload, &bounds::WELCOME)?)?),
        FrameKind::Listing => Message::Listing(listing(parse(payload, &bounds::LISTING)?)?),
        FrameKind::Want => {
            let want: proto::Want = parse(payload, &bounds::WANT)?;
            Message::Want(Want { id: SnapshotId(want.id), file: want.file, offset: want.offset })
        }
        FrameKind::SnapshotDone => Message::SnapshotDone(SnapshotId(parse::<proto::SnapshotDone>(payload, &bounds::SNAPSHOT_DONE)?.id)),
        FrameKind::Heartbeat => {
            let beat: proto::Heartbeat = parse(payload, &bounds::HEARTBEAT)?;
            let (written, committed) = (Lsn(beat.written), Lsn(beat.committed));
            Message::Heartbeat(Heartbeat { written, committed, epoch: EpochNumber(beat.epoch), time: UnixMillis(beat.time) })
        }
        FrameKind::Ack => {
            let ack: proto::Ack = parse(payload, &bounds::ACK)?;
            let (written, flushed) = (Lsn(ack.written), Lsn(ack.flushed));
            Message::Ack(Ack { written, flushed, applied: Lsn(ack.applied), readable: Lsn(ack.readable) })
        }
        FrameKind::Bye => {
            let bye: proto::Bye = parse(payload, &bounds::BYE)?;
            Message::Bye(Bye { code: ByeCode::from_number(bye.code), reason: text(bye.reason)? })
        }
        FrameKind::TakeOver => {
            let order: proto::TakeOver = parse(payload, &bounds::TAKE_OVER)?;
            Message::TakeOver(TakeOver { lsn: Lsn(order.lsn), epoch: EpochNumber(order.epoch), force: order.force })
        }
        FrameKind::TookOver => {
            let answer: proto::TookOver = parse(payload, &bounds::TOOK_OVER)?;
            Message::TookOver(TookOver { epoch: EpochNumber(answer.epoch), refused: text(answer.refused)? })
        }
        FrameKind::Lacking => {
            let mut lacking: proto::Lacking = parse(payload, &bounds::LACKING)?;
            Message::Lacking(Lacking { id: SnapshotId(lacking.id), ops: lacking.take_ops() })
        }
        FrameKind::Entries | FrameKind::Piece | FrameKind::ValuePiece => return Err(WireError::Malformed("bulk message")),
    })
}

/// The kind and the payload of a control message.
pub(super) fn encode(message: &Message<'_>) -> (FrameKind, Vec<u8>) {
    match message {
        Message::Hello(hello) => (FrameKind::Hello, written(&from_hello(hello))),
        Message::Welcome(welcome) => (FrameKind::Welcome, written(&from_welcome(welcome))),
        Message::Listing(listing) => (FrameKind::Listing, written(&from_listing(listing))),
        Message::Want(want) => {
            let want = proto::Want { id: want.id.0, file: want.file, offset: want.offset, ..Default::default() };
            (FrameKind::Want, written(&want))
        }
        Message::SnapshotDone(id) => (FrameKind::SnapshotDone, written(&proto::SnapshotDone { id: id.0, ..Default::default() })),
        Message::Heartbeat(beat) => {
            let (written_lsn, committed) = (beat.written.0, beat.committed.0);
            let beat = proto::Heartbeat { written: written_lsn, committed, epoch: beat.epoch.0, time: beat.time.0, ..Default::default() };
            (FrameKind::Heartbeat, written(&beat))
        }
        Message::Ack(ack) => {
            let (applied, readable) = (ack.applied.0, ack.readable.0);
            let ack = proto::Ack { written: ack.written.0, flushed: ack.flushed.0, applied, readable, ..Default::default() };
            (FrameKind::Ack, written(&ack))
        }
        Message::Bye(bye) => {
            let bye = proto::Bye { code: bye.code.to_number(), reason: shortened(&bye.reason), ..Default::default() };
            (FrameKind::Bye, written(&bye))
        }
        Message::TakeOver(order) => {
            let (lsn, epoch, force) = (order.lsn.0, order.epoch.0, order.force);
            (FrameKind::TakeOver, written(&proto::TakeOver { lsn, epoch, force, ..Default::default() }))
        }
        Message::TookOver(answer) => {
            let answer = proto::TookOver { epoch: answer.epoch.0, refused: shortened(&answer.refused), ..Default::default() };
            (FrameKind::TookOver, written(&answer))
        }
        Message::Lacking(lacking) => {
            let lacking = proto::Lacking { id: lacking.id.0, ops: lacking.ops.clone(), ..Default::default() };
            (FrameKind::Lacking, written(&lacking))
        }
        Message::Entries(_) | Message::Piece(_) | Message::ValuePiece(_) => unreachable!("bulk messages are not encoded here"),
    }
}

fn parse<M: protobuf::Message>(payload: &[u8], shape: &Shape) -> Result<M, WireError> {
    bounds::check(payload, shape)?;
    M::parse_from_bytes(payload).map_err(|error| WireError::Protobuf(error.to_string()))
}

fn written(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().expect("proto3 has no required fields, and memory takes all that is written")
}

fn text(text: String) -> Result<String, WireError> {
    if text.len() > MAX_TEXT { Err(WireError::Malformed("length of a text")) } else { Ok(text) }
}

/// What is meant for people is cut rather than refused by the other side.
fn shortened(text: &str) -> String {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

fn lineage(lineage: proto::Lineage) -> Result<Lineage, WireError> {
    let history = HistoryId(u128::from(lineage.history_high) << 64 | u128::from(lineage.history_low));
    let epoch = |epoch: &proto::Epoch| Epoch { number: EpochNumber(epoch.number), writer: WriterId(epoch.writer), first: Lsn(epoch.first) };
    let epochs = lineage.epochs.iter().map(epoch).collect();
    let (last, cleaned, horizon) = (Lsn(lineage.last), Lsn(lineage.cleaned), Lsn(lineage.horizon));
    let lineage = Lineage { shard: ShardId(lineage.shard), history, epochs, last, cleaned, horizon };
    lineage.validate().map_err(WireError::Malformed)?;
    Ok(lineage)
}

fn from_lineage(lineage: &Lineage) -> protobuf::SingularPtrField<proto::Lineage> {
    let epoch = |epoch: &Epoch| proto::Epoch { number: epoch.number.0, writer: epoch.writer.0, first: epoch.first.0, ..Default::default() };
    let epochs = lineage.epochs.iter().map(epoch).collect();
    protobuf::SingularPtrField::some(proto::Lineage {
        shard: lineage.shard.0,
        history_high: (lineage.history.0 >> 64) as u64,
        history_low: lineage.history.0 as u64,
        epochs,
        last: lineage.last.0,
        cleaned: lineage.cleaned.0,
        horizon: lineage.horizon.0,
        ..Default::default()
    })
}

fn hello(mut hello: proto::Hello) -> Result<Hello, WireError> {
    if hello.version == 0 {
        return Err(WireError::Malformed("version"));
    }
    Ok(Hello {
        version: hello.version,
        node: NodeId(hello.node),
        incarnation: Incarnation(hello.incarnation),
        listening_port: u16::try_from(hello.listening_port).map_err(|_| WireError::Malformed("port"))?,
        announce_ip: text(hello.take_announce_ip())?,
        lineage: lineage(hello.lineage.take().ok_or(WireError::Malformed("no lineage"))?)?,
        keys: hello.keys,
        force: hello.force,
        whole: hello.whole,
        damaged: hello.damaged,
    })
}

fn from_hello(hello: &Hello) -> proto::Hello {
    proto::Hello {
        version: hello.version,
        node: hello.node.0,
        incarnation: hello.incarnation.0,
        listening_port: u32::from(hello.listening_port),
        announce_ip: hello.announce_ip.clone(),
        lineage: from_lineage(&hello.lineage),
        keys: hello.keys,
        force: hello.force,
        whole: hello.whole,
        damaged: hello.damaged,
        ..Default::default()
    }
}

fn file_name(name: &str) -> Result<String, WireError> {
    if is_file_name(name) { Ok(name.to_owned()) } else { Err(WireError::Malformed("name of a file")) }
}

fn welcome(mut welcome: proto::Welcome) -> Result<Welcome, WireError> {
    use proto::Welcome_oneof_plan as Plan;
    if welcome.version == 0 {
        return Err(WireError::Malformed("version"));
    }
    let plan = match welcome.plan.take().ok_or(WireError::Malformed("no plan"))? {
        Plan::continue_from(plan) => WelcomePlan::Continue { from: Lsn(plan.from) },
        Plan::snapshot(plan) => WelcomePlan::Snapshot { id: SnapshotId(plan.id), lsn: Lsn(plan.lsn) },
        Plan::cut(plan) => WelcomePlan::Cut { to: Lsn(plan.to) },
        Plan::refuse(plan) => WelcomePlan::Refuse { code: RefusalCode::from_number(plan.code), reason: text(plan.reason)? },
    };
    let lineage = lineage(welcome.lineage.take().ok_or(WireError::Malformed("no lineage"))?)?;
    Ok(Welcome {
        version: welcome.version,
        node: NodeId(welcome.node),
        incarnation: Incarnation(welcome.incarnation),
        lineage,
        keys: welcome.keys,
        common: Lsn(welcome.common),
        plan,
    })
}

fn from_welcome(welcome: &Welcome) -> proto::Welcome {
    use proto::Welcome_oneof_plan as Plan;
    let plan = match &welcome.plan {
        WelcomePlan::Continue { from } => Plan::continue_from(proto::Continue { from: from.0, ..Default::default() }),
        WelcomePlan::Snapshot { id, lsn } => Plan::snapshot(proto::Snapshot { id: id.0, lsn: lsn.0, ..Default::default() }),
        WelcomePlan::Cut { to } => Plan::cut(proto::Cut { to: to.0, ..Default::default() }),
        WelcomePlan::Refuse { code, reason } => {
            Plan::refuse(proto::Refuse { code: code.to_number(), reason: shortened(reason), ..Default::default() })
        }
    };
    proto::Welcome {
        version: welcome.version,
        node: welcome.node.0,
        incarnation: welcome.incarnation.0,
        lineage: from_lineage(&welcome.lineage),
        keys: welcome.keys,
        common: welcome.common.0,
        plan: Some(plan),
        ..Default::default()
    }
}

fn listing(mut listing: proto::Listing) -> Result<Listing, WireError> {
    let file = |file: &proto::File| Ok(File { name: file_name(&file.name)?, bytes: file.bytes, sealed: file.sealed, from: file.from });
    let files: Vec<File> = listing.files.iter().map(file).collect::<Result<_, WireError>>()?;
    // Two parts of different files must not end up in one.
    let distinct: std::collections::HashSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    if distinct.len() != files.len() {
        return Err(WireError::Malformed("two files of one name"));
    }
    if files.iter().any(|file| file.from > file.bytes) {
        return Err(WireError::Malformed("beginning of a file"));
    }
    Ok(Listing { id: SnapshotId(listing.id), lsn: Lsn(listing.lsn), manifest: listing.take_manifest(), files, above: Lsn(listing.above) })
}

fn from_listing(listing: &Listing) -> proto::Listing {
    let file = |file: &File| {
        let (name, bytes, sealed, from) = (file.name.clone(), file.bytes, file.sealed, file.from);
        proto::File { name, bytes, sealed, from, ..Default::default() }
    };
    let files = listing.files.iter().map(file).collect();
    let (id, lsn, above) = (listing.id.0, listing.lsn.0, listing.above.0);
    proto::Listing { id, lsn, manifest: listing.manifest.clone(), files, above, ..Default::default() }
}
