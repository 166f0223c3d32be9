//! Tools for Esker: `esker-log` looks into a data directory, live or dead; `esker-bench` puts load on a server and checks what it reads;
//! `esker-ctl` compares a primary with its replicas.
#![forbid(unsafe_code)]

pub mod bench;
mod client;
pub mod ctl;
pub mod log;
mod outcome;
mod request;
