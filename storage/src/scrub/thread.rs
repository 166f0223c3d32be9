//! The thread that scrubs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::figures::{Counts, ScrubFigures};
use super::pace::{Progress, Wanted};
use super::pass::{ScrubPass, Scrubber};
use crate::clock::wall_clock;
use crate::error::Result;
use crate::log::Log;
use crate::shard::Values;
use crate::thread::{Signal, Thread, stand_back};

/// The longest rest in one go: a changed pace counts from then on.
const LONGEST: Duration = Duration::from_secs(1);
/// How long to wait after a pass that could not begin.
const RETRY: Duration = Duration::from_secs(60);

/// The thread, and what it tells.
pub(crate) struct Scrub {
    shared: Arc<Shared>,
    scrubber: Arc<Scrubber>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    signal: Signal<Wanted>,
    counts: Counts,
}

impl Scrub {
    pub(crate) fn start(log: &Arc<Log>, values: &Arc<Values>, period: Duration, rate: u64) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        *shared.signal.state() = Wanted { period, rate };
        let scrubber = Arc::new(Scrubber { log: Arc::clone(log), values: Arc::clone(values) });
        let mut work = Work { shared: Arc::clone(&shared), scrubber: Arc::clone(&scrubber) };
        let thread = Thread::start("esker-scrub", "scrub", move || work.run())?;
        Ok(Self { shared, scrubber, thread })
    }

    pub(crate) fn set_pace(&self, period: Duration, rate: u64) {
        let wanted = Wanted { period, rate };
        if *self.shared.signal.state() != wanted {
            self.shared.signal.tell(|state| *state = wanted);
        }
    }

    pub(crate) fn figures(&self) -> ScrubFigures {
        self.shared.counts.figures()
    }

    /// A pass on this thread, without rest.
    pub(crate) fn pass(&self) -> Result<ScrubPass> {
        let pass = self.scrubber.pass(&self.shared.counts, 0, &mut |_, _| true)?;
        Ok(pass.unwrap_or_default())
    }

    pub(crate) fn stop(&self) {
        self.shared.signal.stop();
        self.thread.join();
    }
}

struct Work {
    shared: Arc<Shared>,
    scrubber: Arc<Scrubber>,
}

impl Work {
    fn run(&mut self) {
        stand_back();
        loop {
            let wanted = *self.shared.signal.state();
            if wanted.period.is_zero() {
                if self.shared.signal.wait(None, |state| state.period.is_zero()) {
                    return;
                }
                continue;
            }
            let began = Instant::now();
            self.shared.counts.running.store(true, Relaxed);
            let outcome = self.pass(began);
            self.shared.counts.running.store(false, Relaxed);
            let stop = match outcome {
                Ok(Some(_)) => {
                    let counts = &self.shared.counts;
                    counts.passes.fetch_add(1, Relaxed);
                    counts.last_pass.store(wall_clock().0, Relaxed);
                    counts.last_millis.store(began.elapsed().as_millis() as u64, Relaxed);
                    self.until(|wanted| wanted.pause(began.elapsed()))
                }
                // Told to stop, or switched off.
                Ok(None) => self.shared.signal.wait(Some(Duration::ZERO), |_| true),
                Err(error) => {
                    tracing::warn!("scrub could not begin: {error}");
                    let failed = Instant::now();
                    self.until(|_| RETRY.saturating_sub(failed.elapsed()))
                }
            };
            if stop {
                return;
            }
        }
    }

    fn pass(&self, began: Instant) -> Result<Option<ScrubPass>> {
        let mut piece = Instant::now();
        // Where the last start left off is not known: begun anywhere, passes that are cut short reach everything in time.
        self.scrubber.pass(&self.shared.counts, rand::random::<u16>().into(), &mut |bytes, left| {
            let took = piece.elapsed();
            let rested = Instant::now();
            let goes_on = !self.until(|wanted| {
                let progress = Progress { left, elapsed: began.elapsed() };
                wanted.rest(bytes, took, progress).saturating_sub(rested.elapsed())
            });
            piece = Instant::now();
            goes_on && !self.shared.signal.state().period.is_zero()
        })
    }

    /// Waits until nothing is left of the time that is wanted, or scrub is off; true to stop.
    fn until(&self, left: impl Fn(&Wanted) -> Duration) -> bool {
        loop {
            let wanted = *self.shared.signal.state();
            let left = left(&wanted);
            let over = left.is_zero() || wanted.period.is_zero();
            let stop = self.shared.signal.wait(Some(if over { Duration::ZERO } else { left.min(LONGEST) }), |_| true);
            if stop || over {
                return stop;
            }
        }
    }
}
