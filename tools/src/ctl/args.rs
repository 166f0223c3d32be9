//! The command line.

use clap::{Parser, Subcommand};

/// Looks after servers from outside.
#[derive(Debug, Parser)]
#[command(name = "esker-ctl", version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compares a primary and its replicas at one LSN and names the slots that differ. Exit status: 0 equal, 1 different, 2 not compared.
    Verify(Verify),
}

/// What is compared.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The primary, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub primary: String,
    /// A replica; may be given several times.
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub replica: Vec<String>,
    /// The password of all of them.
    #[arg(long)]
    pub password: Option<String>,
    /// The user of the password.
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// Only slots from here on.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..16384))]
    pub first_slot: u16,
    /// Only slots up to here.
    #[arg(long, default_value_t = 16383, value_parser = clap::value_parser!(u16).range(..16384))]
    pub last_slot: u16,
    /// Only this database; else all of them together.
    #[arg(long)]
    pub db: Option<u8>,
    /// For how long a replica may take to have what the primary has, in seconds.
    #[arg(long, default_value_t = 30)]
    pub timeout: u64,
    /// How often to try to meet primary and replica at one LSN, while writes go on.
    #[arg(long, default_value_t = 20)]
    pub attempts: u32,
    /// Hold writes back on the primary during each attempt, by CLIENT PAUSE, for at most ten seconds.
    #[arg(long)]
    pub hold_writes: bool,
}
