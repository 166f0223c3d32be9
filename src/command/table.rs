//! The command table: all rows, looked up by name.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Spec, bitcount, bitfield, bitmap, dump, expire, increment, keys, lcs, object, relocate, scan, string_range, strings, ttl};

/// Families, each with its rows.
const FAMILIES: &[&[Spec]] = &[
    strings::SPECS,
    string_range::SPECS,
    increment::SPECS,
    lcs::SPECS,
    bitmap::SPECS,
    bitcount::SPECS,
    bitfield::SPECS,
    keys::SPECS,
    relocate::SPECS,
    expire::SPECS,
    ttl::SPECS,
    scan::SPECS,
    object::SPECS,
    dump::SPECS,
];

/// All rows, in the order of the families.
pub fn table() -> impl Iterator<Item = &'static Spec> {
    FAMILIES.iter().copied().flatten()
}

/// The row of a lower-case name.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Spec> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Spec>> = OnceLock::new();
    BY_NAME.get_or_init(|| table().map(|s| (s.name, s)).collect()).get(name).copied()
}
