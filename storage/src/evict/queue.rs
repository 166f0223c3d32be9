//! Which segment is next: a pure function of what is known about them.
//!
//! The stamp of a segment is its place in the queue. As it was written, a segment has the LSN that it begins with; when what stays of it has
//! been looked through, it gets the LSN that the log has reached by then, with a bit that says that it has passed its probation.

use super::policy::EvictionOrder;
use crate::types::Lsn;

/// This bit of a stamp: the segment has passed its probation.
const MAIN: u64 = 1 << 63;
/// Of all keys, this part is in probation: a tenth, as in the paper.
const PROBATION_SHARE: u64 = 10;

/// Whether a segment of this stamp has passed its probation.
pub(crate) fn is_main(stamp: u64) -> bool {
    stamp & MAIN != 0
}

/// The stamp of a segment that joins the end of the queue.
pub(super) fn main_stamp(reached: Lsn) -> u64 {
    reached.0 | MAIN
}

/// A sealed segment with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) stamp: u64,
    /// Keys whose newest records are in it.
    pub(super) keys: u64,
}

/// The number of the segment to look through next; none if there is none. `keys`: of the whole shard. `random`: any number.
pub(super) fn next(order: EvictionOrder, queue: &[Queued], keys: u64, random: u64) -> Option<usize> {
    if queue.is_empty() {
        return None;
    }
    let first = |main: fn(u64) -> bool| {
        let of_class = queue.iter().enumerate().filter(|(_, queued)| main(queued.stamp));
        of_class.min_by_key(|(_, queued)| queued.stamp & !MAIN).map(|(number, _)| number)
    };
    match order {
        EvictionOrder::Random => Some((random % queue.len() as u64) as usize),
        EvictionOrder::S3Fifo => {
            let main: u64 = queue.iter().filter(|queued| is_main(queued.stamp)).map(|queued| queued.keys).sum();
            // Segments that are not sealed yet are in probation, too.
            let much_in_probation = keys.saturating_sub(main) > keys / PROBATION_SHARE;
            let (probation, main) = (first(|stamp| !is_main(stamp)), first(is_main));
            if much_in_probation { probation.or(main) } else { main.or(probation) }
        }
        EvictionOrder::Lru | EvictionOrder::Lfu | EvictionOrder::Ttl => first(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(stamp: u64, keys: u64) -> Queued {
        Queued { stamp, keys }
    }

    #[test]
    fn the_first_in_is_the_first_out() {
        let queue = [queued(main_stamp(Lsn(50)), 10), queued(20, 10), queued(30, 10), queued(main_stamp(Lsn(10)), 10)];
        for order in [EvictionOrder::Lru, EvictionOrder::Lfu, EvictionOrder::Ttl] {
            assert_eq!(next(order, &queue, 40, 0), Some(3));
            assert_eq!(next(order, &[], 40, 0), None);
        }
    }

    #[test]
    fn probation_comes_first_while_it_is_more_than_a_tenth() {
        let queue = [queued(main_stamp(Lsn(5)), 90), queued(20, 5), queued(10, 4)];
        let s3 = |keys| next(EvictionOrder::S3Fifo, &queue, keys, 0);
        assert_eq!(s3(99), Some(0));
        // Two more in the segment that is being written.
        assert_eq!(s3(101), Some(2));
        assert_eq!(next(EvictionOrder::S3Fifo, &queue[..1], 200, 0), Some(0), "there is nothing else");
        assert_eq!(next(EvictionOrder::S3Fifo, &queue[1..], 1000, 0), Some(1));
    }

    #[test]
    fn a_random_one_is_any() {
        let queue = [queued(1, 1), queued(2, 1), queued(3, 1)];
        let mut seen: Vec<_> = (0..9).filter_map(|n| next(EvictionOrder::Random, &queue, 3, n)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2]);
    }
}
