//! What was sent and not acknowledged.

use std::collections::VecDeque;

use esker_storage::types::Lsn;

/// Marks are joined so that there are never many: an acknowledgement then frees a little later.
const MARKS: usize = 1024;

/// Bytes on their way, by the entry with which they end.
#[derive(Debug, Default)]
pub(super) struct Window {
    marks: VecDeque<(Lsn, u64)>,
    bytes: u64,
}

impl Window {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn sent(&mut self, last: Lsn, bytes: u64) {
        self.bytes += bytes;
        let full = self.marks.len() >= MARKS;
        match self.marks.back_mut().filter(|_| full) {
            Some((mark, sum)) => (*mark, *sum) = (last, *sum + bytes),
            None => self.marks.push_back((last, bytes)),
        }
    }

    pub(super) fn acknowledged(&mut self, written: Lsn) {
        while let Some((_, bytes)) = self.marks.pop_front_if(|(last, _)| *last <= written) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_leaves_and_marks_stay_few() {
        let mut window = Window::default();
        (1..=5000).for_each(|lsn| window.sent(Lsn(lsn), 10));
        assert_eq!((window.bytes(), window.marks.len()), (50_000, MARKS));
        window.acknowledged(Lsn(1000));
        assert_eq!(window.bytes(), 40_000);
        window.acknowledged(Lsn(4999));
        assert!(window.bytes() > 0, "the last is not acknowledged");
        window.acknowledged(Lsn(5000));
        assert_eq!((window.bytes(), window.marks.len()), (0, 0));
    }
}
