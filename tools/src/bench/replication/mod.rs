//! `replication`: what each mode costs and loses, measured on nodes that it starts itself.
//!
//! Invariants:
//! - All setups get the same load, over links that differ only in what the options say; a round measures each once before the next round begins.
//! - A loss is counted, never hidden and never an error: what a mode promises is judged by the reader of the figures.

mod args;
mod catch_up;
mod client;
mod cluster;
mod html;
mod info;
mod kill;
mod lag;
mod limit;
mod link;
mod machine;
mod node;
mod pace;
mod proxy;
mod report;
mod sample;
mod setup;
mod svg;
mod usage;

pub use args::Replication;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BenchError, Outcome};
use cluster::Cluster;
use link::Shape;
use machine::Environment;
use sample::{Phase, Rows, Sample};
use setup::{Mode, Setup};

pub(super) fn run(options: &Replication, out: &mut dyn Write) -> Result<Outcome, BenchError> {
    options.check().map_err(BenchError::Options)?;
    let program = options.server.clone().unwrap_or_else(beside);
    let environment = Environment::find(&program)?;
    let mut bench = Bench { options, program, rows: Rows::default(), out };
    for round in 1..=options.rounds {
        bench.round(round)?;
    }
    let Bench { rows, out, .. } = bench;
    report::print(options, &environment, &rows, out)?;
    let write =
        |path: &Path, text: String| std::fs::write(path, text).map_err(|source| BenchError::Write { path: path.to_owned(), source });
    if let Some(path) = &options.json {
        write(path, report::json(options, &environment, &rows).to_string() + "\n")?;
    }
    if let Some(path) = &options.html {
        write(path, html::page(options, &environment, &rows))?;
    }
    Ok(if rows.troubles().next().is_none() { Outcome::Right } else { Outcome::Wrong })
}

/// The server beside this program, or else the one in PATH.
fn beside() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("esker")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("esker"))
}

struct Bench<'a> {
    options: &'a Replication,
    program: PathBuf,
    rows: Rows,
    out: &'a mut dyn Write,
}

impl Bench<'_> {
    fn round(&mut self, round: u32) -> Result<(), BenchError> {
        writeln!(self.out, "round {round} of {}", self.options.rounds)?;
        let setups = self.options.setups();
        for (number, shape) in self.options.shapes().into_iter().enumerate() {
            for setup in &setups {
                // Without a replica there is no link, and nothing differs between them.
                if setup.mode != Mode::None || number == 0 {
                    self.loads(*setup, shape)?;
                }
            }
            if self.options.sync_keys > 0 && setups.iter().any(|setup| setup.mode != Mode::None) {
                self.syncs(shape)?;
            }
        }
        Ok(())
    }

    fn cluster(&self, setup: Setup, shape: Shape) -> Result<Cluster, BenchError> {
        let root = self.options.dir.clone().unwrap_or_else(std::env::temp_dir);
        Cluster::start(&self.program, &root, setup, shape, &self.options.server_options(), self.options.seed)
    }

    fn loads(&mut self, setup: Setup, shape: Shape) -> Result<(), BenchError> {
        let cluster = self.cluster(setup, shape)?;
        let delay = (setup.mode != Mode::None).then_some(shape.delay);
        catch_up::fill(self.options, &cluster, self.options.keys)?;
        for (phase, rate) in [(Phase::FixedRate, Some(self.options.rate)), (Phase::Maximum, None)] {
            let sample = pace::run(self.options, &cluster, rate)?;
            self.add(phase, delay, setup, sample)?;
        }
        if let Some(after) = self.options.kill_after().filter(|_| setup.mode != Mode::None) {
            let sample = kill::run(self.options, cluster, after)?;
            self.add(Phase::Kill, delay, setup, sample)?;
        }
        Ok(())
    }

    /// Modes do not differ in this: one is enough.
    fn syncs(&mut self, shape: Shape) -> Result<(), BenchError> {
        let setup = Setup { mode: Mode::Async, replicas: 1 };
        let mut cluster = self.cluster(setup, shape)?;
        let (caught_up, synced) = catch_up::run(self.options, &mut cluster)?;
        self.add(Phase::CatchUp, Some(shape.delay), setup, caught_up)?;
        self.add(Phase::FullSync, Some(shape.delay), setup, synced)
    }

    fn add(&mut self, phase: Phase, delay: Option<Duration>, setup: Setup, sample: Sample) -> Result<(), BenchError> {
        report::progress(phase, delay, setup, &sample, self.out)?;
        self.rows.add(phase, delay, &setup.to_string(), sample);
        Ok(())
    }
}
