//! Tests that flushed data survives when the serving process is killed under load.

use crate::raw::{FUA, Raw};
use crate::served::VolumeServer;
use lab::Random;

const SIZE: u64 = 16 << 20;
const BLOCK: usize = 4096;
const ROUNDS: u64 = 8;

/// Block that contains its position and the number of its write.
fn block(place: u64, number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        bytes.extend(place.to_be_bytes());
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

#[test]
fn what_was_flushed_survives_a_kill_and_no_block_is_torn() {
    for engine in ["ring", "threads", "buffered"] {
        let mut served = VolumeServer::start(engine, SIZE);
        let places = SIZE / BLOCK as u64;
        // For each block: the number that was flushed, and the latest one that was sent.
        let mut flushed = vec![0_u64; places as usize];
        let mut sent = vec![0_u64; places as usize];
        let mut random = Random::new(5);
        let mut number = 0;
        for _ in 0..ROUNDS {
            let mut client = Raw::new(served.connect(), false);
            for _ in 0..40 {
                let mut batch = Vec::new();
                for _ in 0..random.below(8) + 1 {
                    let place = random.below(places);
                    number += 1;
                    sent[place as usize] = number;
                    let fua = random.below(4) == 0;
                    client.write(
                        if fua { FUA } else { 0 },
                        place * BLOCK as u64,
                        &block(place, number),
                    );
                    if fua {
                        flushed[place as usize] = number;
                    }
                    batch.push((place, number));
                }
                if random.below(3) > 0 {
                    client.flush();
                    batch.iter().for_each(|(place, number)| {
                        let one = &mut flushed[*place as usize];
                        *one = (*one).max(*number);
                    });
                }
            }
            served.kill_and_start();
            let mut client = Raw::new(served.connect(), false);
            for place in 0..places {
                let bytes = client.read(place * BLOCK as u64, BLOCK as u32);
                let found = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
                let (least, most) = (flushed[place as usize], sent[place as usize]);
                assert!(found >= least && found <= most, "{place}: {found}");
                if found > 0 {
                    assert_eq!(bytes, block(place, found), "block {place} is whole");
                }
                flushed[place as usize] = found;
            }
        }
    }
}
