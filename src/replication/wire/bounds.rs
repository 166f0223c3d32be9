//! Protobuf before it is parsed: the shape of the bytes is checked, so that the runtime meets no depth, no group and no number of fields
//! that this protocol does not have.
//!
//! The schema does not recurse, so how deep a message can be is written down here; a nested message where the schema has none is an unknown
//! field, which the runtime keeps as bytes. Groups would be skipped by recursion: they are refused.

use super::error::WireError;

/// Fields that a later version added, in one message.
const MAX_UNKNOWN: u32 = 1024;
/// Messages in one message: the epochs of a lineage, the files of a listing.
const MAX_NESTED: u32 = 1 << 20;

/// What a message of the schema may hold.
pub(super) struct Shape {
    /// Its highest field number; fields above are of a later version.
    pub(super) fields: u32,
    /// The fields that are messages.
    pub(super) nested: &'static [(u32, &'static Shape)],
}

const fn flat(fields: u32) -> Shape {
    Shape { fields, nested: &[] }
}

static EPOCH: Shape = flat(3);
static LINEAGE: Shape = Shape { fields: 7, nested: &[(4, &EPOCH)] };
static CONTINUE: Shape = flat(1);
static SNAPSHOT: Shape = flat(2);
static REFUSE: Shape = flat(2);
static CUT: Shape = flat(1);
static FILE: Shape = flat(4);

pub(super) static HELLO: Shape = Shape { fields: 10, nested: &[(6, &LINEAGE)] };
pub(super) static WELCOME: Shape = Shape { fields: 10, nested: &[(4, &LINEAGE), (7, &CONTINUE), (8, &SNAPSHOT), (9, &REFUSE), (10, &CUT)] };
pub(super) static LISTING: Shape = Shape { fields: 5, nested: &[(4, &FILE)] };
pub(super) static LACKING: Shape = flat(2);
pub(super) static WANT: Shape = flat(3);
pub(super) static SNAPSHOT_DONE: Shape = flat(1);
pub(super) static HEARTBEAT: Shape = flat(4);
pub(super) static ACK: Shape = flat(4);
pub(super) static BYE: Shape = flat(2);
pub(super) static TAKE_OVER: Shape = flat(3);
pub(super) static TOOK_OVER: Shape = flat(2);

/// Checks that `bytes` are fields within the bounds of `shape`.
pub(super) fn check(bytes: &[u8], shape: &Shape) -> Result<(), WireError> {
    let mut budget = Budget { unknown: MAX_UNKNOWN, nested: MAX_NESTED };
    walk(bytes, shape, &mut budget)
}

struct Budget {
    unknown: u32,
    nested: u32,
}

/// Goes as deep as the shapes nest, which is three.
fn walk(mut bytes: &[u8], shape: &Shape, budget: &mut Budget) -> Result<(), WireError> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or(WireError::Malformed("field number"))?;
        if number > shape.fields {
            budget.unknown = spend(budget.unknown, "unknown fields", MAX_UNKNOWN)?;
        }
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let len = varint(&mut bytes)?;
                let inner = take(&mut bytes, len)?;
                if let Some((_, nested)) = shape.nested.iter().find(|(field, _)| *field == number) {
                    budget.nested = spend(budget.nested, "nested messages", MAX_NESTED)?;
                    walk(inner, nested, budget)?;
                }
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err(WireError::Malformed("wire type of a field")),
        }
    }
    Ok(())
}

fn spend(left: u32, what: &'static str, most: u32) -> Result<u32, WireError> {
    left.checked_sub(1).ok_or(WireError::TooMuch { what, found: u64::from(most) + 1, most: u64::from(most) })
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Result<&'a [u8], WireError> {
    let len = usize::try_from(len).map_err(|_| WireError::Malformed("length of a field"))?;
    let (head, rest) = bytes.split_at_checked(len).ok_or(WireError::Malformed("length of a field"))?;
    *bytes = rest;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(WireError::Malformed("varint"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Malformed("varint"))
}

#[cfg(test)]
mod tests {
    use protobuf::Message;
    use protobuf::descriptor::FieldDescriptorProto_Type;
    use protobuf::reflect::MessageDescriptor;

    use super::*;
    use crate::replication::wire::generated;

    fn assert_same(shape: &Shape, name: &str) {
        let file = generated::file_descriptor_proto();
        let message = file.message_type.iter().find(|message| message.get_name() == name).unwrap_or_else(|| panic!("{name}"));
        let highest = message.field.iter().map(|field| field.get_number() as u32).max();
        assert_eq!(Some(shape.fields), highest, "{name}");
        let nested = message.field.iter().filter(|field| field.get_field_type() == FieldDescriptorProto_Type::TYPE_MESSAGE);
        let nested: Vec<_> =
            nested.map(|field| (field.get_number() as u32, field.get_type_name().rsplit('.').next().unwrap_or(""))).collect();
        assert_eq!(nested.len(), shape.nested.len(), "{name}");
        for ((number, shape), (field, name)) in shape.nested.iter().zip(nested) {
            assert_eq!(*number, field, "{name}");
            assert_same(shape, name);
        }
    }

    #[test]
    fn the_shapes_are_those_of_the_schema() {
        let _: &MessageDescriptor = generated::Hello::descriptor_static();
        assert_same(&HELLO, "Hello");
        assert_same(&WELCOME, "Welcome");
        assert_same(&LISTING, "Listing");
        assert_same(&WANT, "Want");
        assert_same(&SNAPSHOT_DONE, "SnapshotDone");
        assert_same(&HEARTBEAT, "Heartbeat");
        assert_same(&ACK, "Ack");
        assert_same(&BYE, "Bye");
        assert_same(&TAKE_OVER, "TakeOver");
        assert_same(&TOOK_OVER, "TookOver");
    }

    #[test]
    fn groups_are_refused_wherever_they_stand() {
        assert!(check(&[0x5b, 0x5c], &HELLO).is_err());
        assert!(check(&[6 << 3 | 2, 2, 0x5b, 0x5c], &HELLO).is_err(), "in a lineage");
        assert!(check(&[6 << 3 | 2, 4, 4 << 3 | 2, 2, 0x5b, 0x5c], &HELLO).is_err(), "in an epoch");
        assert!(check(&[10 << 3 | 2, 2, 0x5b, 0x5c], &HELLO).is_ok(), "bytes of an unknown field are bytes");
    }

    #[test]
    fn fields_of_a_later_version_pass_up_to_a_number() {
        let some: Vec<u8> = [5 << 3, 1].repeat(1024);
        assert_eq!(check(&some, &ACK), Ok(()));
        assert!(check(&some.repeat(2), &ACK).is_err());
    }

    #[test]
    fn claims_beyond_the_end_are_refused() {
        for bytes in [&[0x0a, 0x05, 1][..], &[0x08], &[0x09, 1, 2], &[0x0d, 1], &[0xff; 11], &[0x00, 0x00]] {
            assert!(check(bytes, &HELLO).is_err(), "{bytes:?}");
        }
    }
}
