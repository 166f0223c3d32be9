//! Power loss, failing syncs, full disks and bit rot, behind the file trait: what was promised is there, and what is there is a prefix of
//! what was written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod bit_rot;
mod cleaning;
mod copies;
mod disk_faults;
mod every_step;
mod eviction;
mod expiry;
mod history;
mod random_moments;
mod seals;
mod support;
mod world;
