//! The thread that looks back: one question after the other, and no worker waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::answer::Historian;
use super::controls::Controls;
use super::{Answer, HistoryError, Question};
use crate::error::Result;
use crate::index::Index;
use crate::log::Log;
use crate::shard::Values;
use crate::thread::{Signal, Thread, stand_back};

/// Questions that wait, at most.
const MOST: usize = 128;

/// Called on the thread with the answer.
pub type AnswerDone = Box<dyn FnOnce(Result<Answer, HistoryError>) + Send>;

type Queue = VecDeque<(Question, AnswerDone)>;

/// The thread, and how to ask it.
pub(crate) struct History {
    signal: Arc<Signal<Queue>>,
    historian: Arc<Mutex<Historian>>,
    thread: Thread,
}

impl History {
    pub(crate) fn start(log: &Arc<Log>, index: &Arc<Index>, values: &Arc<Values>) -> Result<Self> {
        let signal = Arc::new(Signal::<Queue>::default());
        let (log, index, values) = (Arc::clone(log), Arc::clone(index), Arc::clone(values));
        let historian = Arc::new(Mutex::new(Historian { log, index, values, controls: Controls::default() }));
        let (told, asked) = (Arc::clone(&signal), Arc::clone(&historian));
        let thread = Thread::start("esker-history", "looking back", move || run(&told, &asked))?;
        Ok(Self { signal, historian, thread })
    }

    pub(crate) fn ask(&self, question: Question, done: AnswerDone) {
        let refused = {
            let mut queue = self.signal.state();
            if queue.len() < MOST {
                queue.push_back((question, done));
                None
            } else {
                Some(done)
            }
        };
        match refused {
            Some(done) => done(Err(HistoryError::Busy)),
            None => self.signal.tell(|_| ()),
        }
    }

    /// Answers on this thread.
    pub(crate) fn answer(&self, question: &Question) -> Result<Answer, HistoryError> {
        self.historian.lock().answer(question)
    }

    pub(crate) fn stop(&self) {
        self.signal.stop();
        self.thread.join();
        for (_, done) in self.signal.state().drain(..) {
            done(Err(HistoryError::Stopping));
        }
    }
}

fn run(signal: &Signal<Queue>, historian: &Mutex<Historian>) {
    stand_back();
    while !signal.wait(None, VecDeque::is_empty) {
        let next = signal.state().pop_front();
        if let Some((question, done)) = next {
            done(historian.lock().answer(&question));
        }
    }
}
