//! From the table's key positions to the stripes that a command locks.

use esker_storage::shard::{LockPlan, Shard};

use super::{Flags, Keys, Spec};

/// A plan without stripes, of the kind of lock that the command needs.
#[must_use]
pub fn new(spec: &Spec) -> LockPlan {
    if spec.flags.has(Flags::WRITE) { LockPlan::exclusive() } else { LockPlan::shared() }
}

/// Adds the stripes of a command's keys.
pub fn extend(plan: &mut LockPlan, spec: &Spec, args: &[&[u8]], shard: &Shard) {
    if spec.keys == Keys::All {
        plan.add_all();
    } else {
        for i in key_positions(spec.keys, args.len()) {
            plan.add(&shard.key(args[i]));
        }
    }
}

/// The arguments that are keys, in a request of `len` arguments.
pub fn key_positions(keys: Keys, len: usize) -> impl Iterator<Item = usize> {
    let (first, last, step) = match keys {
        Keys::Range { first, last, step } if first > 0 && step > 0 => (first as usize, last, step as usize),
        _ => (1, 0, 1),
    };
    let last = if last < 0 { len.saturating_sub(last.unsigned_abs() as usize) } else { (last as usize).min(len.saturating_sub(1)) };
    (first..last + 1).step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(first: i32, last: i32, step: i32, len: usize) -> Vec<usize> {
        key_positions(Keys::Range { first, last, step }, len).collect()
    }

    #[test]
    fn positions_count_from_either_end() {
        assert_eq!(positions(1, 1, 1, 3), [1]);
        assert_eq!(positions(1, -1, 1, 4), [1, 2, 3]);
        assert_eq!(positions(1, -1, 2, 5), [1, 3]);
        assert_eq!(positions(2, -1, 1, 5), [2, 3, 4]);
        assert_eq!(positions(1, 2, 1, 2), [1]);
        assert_eq!(positions(2, 2, 1, 2), [] as [usize; 0]);
        assert_eq!(key_positions(Keys::None, 5).count(), 0);
        assert_eq!(key_positions(Keys::All, 5).count(), 0);
    }
}
