//! Tools for Esker: `esker-log` looks into a data directory, live or dead; `esker-bench` puts load on a server and checks what it reads.
#![forbid(unsafe_code)]

pub mod bench;
pub mod log;
