//! First in, first out.

use std::collections::VecDeque;

use super::Policy;

/// Evicts what came first, used or not.
#[derive(Debug)]
pub(in super::super) struct Fifo {
    capacity: usize,
    queue: VecDeque<u32>,
    held: Vec<bool>,
}

impl Fifo {
    /// For keys below `keys`.
    pub(in super::super) fn new(capacity: usize, keys: usize) -> Self {
        Self { capacity, queue: VecDeque::with_capacity(capacity), held: vec![false; keys] }
    }
}

impl Policy for Fifo {
    fn request(&mut self, key: u32) -> bool {
        if self.held[key as usize] {
            return true;
        }
        if self.queue.len() == self.capacity
            && let Some(first) = self.queue.pop_front()
        {
            self.held[first as usize] = false;
        }
        self.queue.push_back(key);
        self.held[key as usize] = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers;
    use super::*;

    #[test]
    fn use_does_not_save_what_came_first() {
        // 3 takes the place of 1 although 1 was just used, then 1 that of 2.
        assert_eq!(answers(&mut Fifo::new(2, 4), &[1, 2, 1, 3, 1, 3, 2]), "--x--x-");
    }
}
