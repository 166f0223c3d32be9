//! Sets of ops, which come from another node.

use esker_storage::difference::OpSet;
use esker_storage::types::Lsn;
use rand::Rng;

use super::driver::fuzz;
use super::mutate::mutate;

#[test]
fn damaged_sets_of_ops_are_refused_or_sound() {
    fuzz("sets of ops", |rng| {
        let mut set = OpSet::default();
        let (mut lsn, dense) = (rng.random_range(0..1 << 40), rng.random_bool(0.5));
        for _ in 0..rng.random_range(0..3000) {
            lsn += rng.random_range(1..if dense { 3 } else { 100_000 });
            set.insert(Lsn(lsn), if rng.random_bool(0.9) { 0 } else { rng.random_range(0..200_000) });
        }
        let sound = set.encode();
        assert_eq!(OpSet::decode(&sound).ok().as_ref(), Some(&set));
        for _ in 0..20 {
            let mut bytes = sound.clone();
            mutate(rng, &mut bytes);
            // What passes is a set, the very one that these bytes stand for.
            if let Ok(decoded) = OpSet::decode(&bytes) {
                assert_eq!(decoded.encode(), bytes);
            }
        }
    });
}
