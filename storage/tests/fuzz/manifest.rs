//! Manifests.

use esker_storage::codec::checksum::crc;
use esker_storage::manifest::{Checkpoint, CleanStop, Epoch, Manifest, SegmentEntry, SegmentState};
use esker_storage::segment::SegmentKind;
use esker_storage::types::{EpochNumber, Generation, HistoryId, Incarnation, Lsn, NodeId, SegmentId, ShardId, WriterId};
use rand::Rng;
use rand::rngs::StdRng;

use super::driver::fuzz;
use super::mutate::mutate;

fn manifest(rng: &mut StdRng) -> Manifest {
    let mut manifest = Manifest::new(ShardId(0), NodeId(rng.random()), HistoryId(rng.random()), rng.random());
    for number in 0..rng.random_range(0..6) {
        let (base, generation) = (Lsn(1 + 100 * u64::from(number)), Generation(1 + number));
        let sealed = SegmentState::Sealed { last: Lsn(base.0 + 99), bytes: rng.random() };
        let state = if rng.random_bool(0.5) { sealed } else { SegmentState::Active };
        manifest.segments.push(SegmentEntry { id: SegmentId(number), generation, kind: SegmentKind::Log, state, base, stamp: base.0 });
        manifest.epochs.push(Epoch { number: EpochNumber(number), writer: WriterId(rng.random()), first: base });
        manifest.value_segments.ids.push(rng.random());
    }
    manifest.identity.next_generation = Generation(100);
    manifest.identity.next_segment = SegmentId(100);
    manifest.checkpoint = rng.random_bool(0.5).then_some(Checkpoint { lsn: Lsn(50), replay_from: Lsn(51) });
    manifest.clean_stop = rng.random_bool(0.5).then_some(CleanStop { incarnation: Incarnation(rng.random()), flushed: Lsn(70) });
    manifest
}

#[test]
fn damaged_manifests_are_refused_or_sound() {
    fuzz("manifests", |rng| {
        let manifest = manifest(rng);
        let sound = manifest.encode();
        assert_eq!(Manifest::decode(&sound).ok().as_ref(), Some(&manifest));
        for _ in 0..20 {
            let mut bytes = sound.clone();
            mutate(rng, &mut bytes);
            assert!(bytes == sound || Manifest::decode(&bytes).is_err(), "a damaged manifest passed");
            let Some((head, checksum)) = bytes.split_last_chunk_mut::<4>() else { continue };
            *checksum = crc(0, head).to_le_bytes();
            // With a right checksum it may pass, and is then one that can be written and read again.
            if let Ok(decoded) = Manifest::decode(&bytes) {
                assert_eq!(decoded.validate(), Ok(()));
                assert_eq!(Manifest::decode(&decoded.encode()).ok().as_ref(), Some(&decoded));
            }
        }
    });
}
