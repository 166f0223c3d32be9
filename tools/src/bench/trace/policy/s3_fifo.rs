//! S3-FIFO, as in "FIFO queues are all you need for cache eviction" (Yang and others, SOSP 2023).

use std::collections::VecDeque;

use super::Policy;

/// Part of the cache from which on the small queue gives way.
const SMALL: f64 = 0.1;
/// Uses are counted up to here: two bits.
const MOST_USES: u8 = 3;
/// Uses in the small queue that make an object stay.
const STAYS: u8 = 2;

/// A small queue for what is new, a main queue for what was used there more than once, and a ghost queue of names: what comes back while its
/// name is there goes to the main queue at once.
#[derive(Debug)]
pub(in super::super) struct S3Fifo {
    capacity: usize,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghost: Ghost,
    uses: Vec<u8>,
    held: Vec<bool>,
}

impl S3Fifo {
    /// For keys below `keys`.
    pub(in super::super) fn new(capacity: usize, keys: usize) -> Self {
        // As many names as the main queue has objects.
        let ghost = Ghost::new(capacity - (capacity as f64 * SMALL) as usize, keys);
        Self { capacity, small: VecDeque::new(), main: VecDeque::new(), ghost, uses: vec![0; keys], held: vec![false; keys] }
    }

    /// Makes room for one.
    fn evict(&mut self) {
        while self.small.len() + self.main.len() >= self.capacity {
            let from_small = self.main.is_empty() || self.small.len() as f64 >= SMALL * self.capacity as f64;
            let queue = if from_small { &mut self.small } else { &mut self.main };
            let Some(key) = queue.pop_front() else { return };
            let uses = &mut self.uses[key as usize];
            match (from_small, *uses) {
                (true, STAYS..) => *uses = 0,
                (false, 1..) => *uses -= 1,
                _ => {
                    self.held[key as usize] = false;
                    if from_small {
                        self.ghost.push(key);
                    }
                    continue;
                }
            }
            self.main.push_back(key);
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, key: u32) -> bool {
        let uses = &mut self.uses[key as usize];
        if self.held[key as usize] {
            *uses = (*uses + 1).min(MOST_USES);
            return true;
        }
        *uses = 0;
        // Before its own arrival pushes names out of the ghost queue.
        let known = self.ghost.take(key);
        self.evict();
        let queue = if known { &mut self.main } else { &mut self.small };
        queue.push_back(key);
        self.held[key as usize] = true;
        false
    }
}

/// Names of what left the small queue.
#[derive(Debug)]
struct Ghost {
    capacity: usize,
    len: usize,
    /// Names and their turns; a name that was taken out leaves its turn behind.
    queue: VecDeque<(u32, u32)>,
    /// The turn of each name that is in, or 0.
    turns: Vec<u32>,
    turn: u32,
}

impl Ghost {
    fn new(capacity: usize, keys: usize) -> Self {
        Self { capacity, len: 0, queue: VecDeque::new(), turns: vec![0; keys], turn: 0 }
    }

    fn push(&mut self, key: u32) {
        self.turn += 1;
        self.turns[key as usize] = self.turn;
        self.queue.push_back((key, self.turn));
        self.len += 1;
        while self.len > self.capacity
            && let Some((oldest, turn)) = self.queue.pop_front()
        {
            if self.turns[oldest as usize] == turn {
                self.turns[oldest as usize] = 0;
                self.len -= 1;
            }
        }
    }

    /// Takes a name out; whether it was in.
    fn take(&mut self, key: u32) -> bool {
        let turn = std::mem::take(&mut self.turns[key as usize]);
        self.len -= usize::from(turn > 0);
        turn > 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers;
    use super::*;

    fn queues(cache: &S3Fifo) -> (Vec<u32>, Vec<u32>) {
        (cache.small.iter().copied().collect(), cache.main.iter().copied().collect())
    }

    #[test]
    fn one_use_does_not_save_and_two_do() {
        let mut cache = S3Fifo::new(3, 10);
        assert_eq!(answers(&mut cache, &[1, 2, 3, 1, 1, 2]), "---xxx");
        // 1 stays, 2 goes.
        assert_eq!(answers(&mut cache, &[4]), "-");
        assert_eq!(queues(&cache), (vec![3, 4], vec![1]));
        assert_eq!(answers(&mut cache, &[1, 2]), "x-");
    }

    #[test]
    fn what_comes_back_soon_goes_to_the_main_queue() {
        let mut cache = S3Fifo::new(3, 10);
        assert_eq!(answers(&mut cache, &[1, 2, 3, 4, 1]), "-----");
        assert_eq!(queues(&cache), (vec![3, 4], vec![1]));
        // Its name is gone from the ghosts now: 2's came after it and is still there.
        assert!(!cache.ghost.take(1) && cache.ghost.take(2));
    }

    #[test]
    fn the_main_queue_counts_uses_down() {
        let mut cache = S3Fifo::new(10, 100);
        // 0..=9 fill the small queue with two uses each, and 10 moves them all to the main queue and evicts the first.
        let twice: Vec<u32> = (0..10).flat_map(|key| [key; 3]).collect();
        answers(&mut cache, &twice);
        assert_eq!(answers(&mut cache, &[10]), "-");
        assert_eq!(queues(&cache), (vec![10], (1..10).collect()));
        // The small queue has its tenth: 1 is used and goes round, then all of the small queue goes first.
        assert_eq!(answers(&mut cache, &[1, 11]), "x-");
        assert_eq!(queues(&cache), (vec![11], (1..10).collect()));
        assert_eq!(cache.uses[1], 1);
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used() {
        let mut cache = S3Fifo::new(20, 1000);
        let hot: Vec<u32> = (0..10).flat_map(|key| [key; 3]).collect();
        answers(&mut cache, &hot);
        answers(&mut cache, &(100..500).collect::<Vec<_>>());
        assert_eq!(answers(&mut cache, &(0..10).collect::<Vec<_>>()), "xxxxxxxxxx");
    }

    #[test]
    fn ghosts_are_forgotten_in_the_order_in_which_they_came() {
        let mut ghost = Ghost::new(2, 10);
        [1, 2, 3].iter().for_each(|key| ghost.push(*key));
        assert_eq!([1, 2, 3].map(|key| ghost.take(key)), [false, true, true]);
        // A name that was taken and came again has its new turn.
        [1, 2].iter().for_each(|key| ghost.push(*key));
        assert!(ghost.take(1));
        [1, 3].iter().for_each(|key| ghost.push(*key));
        assert_eq!([2, 1, 3].map(|key| ghost.take(key)), [false, true, true]);
        assert_eq!(ghost.len, 0);
    }
}
