//! What is told to be unchanged is.

use super::*;

impl Model {
    fn changed(&self, db: u8, since: Lsn) -> Vec<Changed> {
        let keys = (0..KEYS).map(|key| name(key).into_bytes()).collect();
        match self.shard().look_back(&Question::Changed { db: Db(db), keys, since }).unwrap() {
            Answer::Changed(changed) => changed,
            _ => panic!("that was not asked"),
        }
    }

    /// Compares with all states since; how many keys were told unchanged, changed, and not to be known.
    fn verify_changed(&self, every: usize) -> [usize; 3] {
        let mut told = [0; 3];
        for (lsn, (_, then)) in self.states.iter().step_by(every) {
            let since = Lsn(*lsn);
            for db in 0..DATABASES {
                for (key, changed) in self.changed(db, since).into_iter().enumerate() {
                    let before = then.get(&(db, key));
                    let mut states = self.states.range(lsn..).map(|(_, (_, state))| state.get(&(db, key)));
                    // It may only have expired.
                    let is_same = |now: Option<_>| now == before || (now.is_none() && before.is_some_and(|(_, at)| at.is_some()));
                    match changed {
                        Changed::No => assert!(states.all(is_same), "db {db}, key {key} was changed since {since}"),
                        Changed::At(lsn) => assert!(lsn > since),
                        Changed::Unknown => {}
                    }
                    told[match changed {
                        Changed::No => 0,
                        Changed::At(_) => 1,
                        Changed::Unknown => 2,
                    }] += 1;
                }
            }
        }
        told
    }
}

#[test]
fn keys_that_are_told_unchanged_are_and_the_others_are_known_while_nothing_is_dropped() {
    for seed in 20..23 {
        let mut model = Model::new(seed);
        (0..1500).for_each(|_| model.step());
        let [same, changed, unknown] = model.verify_changed(17);
        assert!(same > 20 && changed > 100 && unknown == 0, "{same} {changed} {unknown}");
        model.reopen();
        assert_eq!(model.verify_changed(17), [same, changed, 0]);
    }
}

#[test]
fn cleaning_makes_nothing_look_unchanged() {
    for seed in 23..26 {
        let mut model = Model::new(seed);
        for _ in 0..3 {
            (0..500).for_each(|_| model.step());
            model.sweep();
            model.shard().checkpoint().unwrap();
            model.clean();
            model.verify_changed(7);
        }
    }
}
