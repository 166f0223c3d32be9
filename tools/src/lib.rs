//! Tools for Esker: `esker-log` looks into a data directory, live or dead, and never writes to it.
#![forbid(unsafe_code)]

pub mod log;
