//! Tests power failures of all three machines at once, at random moments, while clients write. The
//! disks lose all data that was not flushed.

use crate::volume::site::{Log, NODES, VolumeSite, Writer};
use lab::{Random, setting, sleep_in_test};
use std::time::Duration;

/// Number of power cuts; `VOLUME_CUTS` sets another number.
const CUTS: u64 = 200;
/// Maximum time of load before a cut in milliseconds, so short that some cuts happen during a
/// resync.
const LOAD_MS_MAX: u64 = 1500;

#[test]
#[ignore = "it takes minutes: make test-long"]
fn power_cuts_of_all_machines_lose_nothing_that_was_flushed() {
    lab::skip_unless_root!();
    let cuts = setting("VOLUME_CUTS").unwrap_or(CUTS);
    let mut random = Random::new(setting("VOLUME_SEED").unwrap_or(1));
    let mut volumes = VolumeSite::on_unreliable_disks("volume-power");
    let mut logs: Vec<Log> = [0, 4096].into_iter().map(Log::new).collect();
    for cut in 1..=cuts {
        let nodes = NODES.into_iter().zip(logs);
        let writers = nodes.map(|(node, log)| Writer::go_on(volumes.socket(node), log));
        let writers: Vec<Writer> = writers.collect();
        // In some rounds there is no owner yet, or a resync is in progress.
        if random.percent(75) {
            writers.iter().for_each(|writer| writer.gets_on(20));
        }
        let load = Duration::from_millis(random.below(LOAD_MS_MAX));
        sleep_in_test(load, "the load before a power cut");
        volumes.lose_power(&["alpha", "beta", "arbiter"], &mut random);
        logs = writers.into_iter().map(Writer::stop).collect();
        let mut machines = ["arbiter", "beta", "alpha"];
        machines.rotate_left(random.index(3));
        for name in machines {
            volumes.site.machine_mut(name).start();
        }
        // After about a quarter of the power cuts, the next one follows before the copies are in
        // sync.
        if random.percent(75) || cut == cuts {
            volumes.holds_what_was_flushed(&mut logs);
            let flushed: Vec<_> = logs.iter().map(Log::flushed).collect();
            println!("cut {cut} of {cuts}: {flushed:?} flushed");
        } else {
            logs.iter_mut().for_each(Log::power_failed);
        }
    }
}
