//! Tests file systems and a database in guests on a volume with two copies: a machine is killed
//! with its guest, and the guest starts again at the other node.

use crate::guest::database_guest::{self, format};
use crate::volume::site::{VolumeSite, other};
use lab::{Random, setting, sleep_in_test};
use std::time::Duration;

/// Number of kills; `VOLUME_KILLS` sets another number.
const KILLS: u64 = 20;
/// Size of the volume with XFS, which needs 300 MiB.
const XFS_BYTES: u64 = 320 << 20;
const EXT4_BYTES: u64 = 64 << 20;
const LOAD_MS_MAX: u64 = 3000;

/// Kills a machine and its guest several times under load.
#[track_caller]
fn guests_are_killed(kind: &str, bytes: u64) {
    let kills = setting("VOLUME_KILLS").unwrap_or(KILLS);
    let Some(image) = database_guest::image() else {
        // Fails in CI, where QEMU and the kernel must be installed; skips the test elsewhere.
        let missing = Err(lab::Missing::Program(
            "qemu-system-x86_64 or a cloud kernel",
        ));
        lab::may_run("volume_guest", missing);
        return;
    };
    let mut random = Random::new(setting("VOLUME_SEED").unwrap_or(1));
    let mut volumes = VolumeSite::with_size(&format!("volume-{kind}"), bytes);
    let disk = volumes.scratch().join("disk.raw");
    format(kind, &disk, bytes);
    let alpha = &volumes.site.alpha;
    let imported = alpha.command(&["volume", "import", "mail", &disk.to_string_lossy()]);
    imported.well();
    let (mut node, mut committed) = ("alpha", 0);
    for kill in 0..=kills {
        volumes.in_sync();
        let client = &volumes.site.client;
        let guest = database_guest::start(&image, client, &volumes.socket(node), kind);
        guest.is_clean(committed);
        if kill == kills {
            return;
        }
        guest.commits(20);
        let load = Duration::from_millis(random.below(LOAD_MS_MAX));
        sleep_in_test(load, "the load before a kill");
        // Kills the guest shortly before or after its machine.
        if random.percent(50) {
            committed = guest.committed().unwrap_or(committed);
            drop(guest);
            volumes.site.machine_mut(node).kill();
        } else {
            volumes.site.machine_mut(node).kill();
            committed = guest.committed().unwrap_or(committed);
            drop(guest);
        }
        println!(
            "{kind}: kill {} of {kills} at {node}, {committed} committed",
            kill + 1
        );
        let survivor = other(node);
        volumes.becomes(survivor, "serving alone");
        volumes.site.machine_mut(node).start();
        node = survivor;
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn ext4_and_sqlite_in_a_guest_survive_the_loss_of_its_machine() {
    lab::skip_unless_root!();
    guests_are_killed("ext4", EXT4_BYTES);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn xfs_and_sqlite_in_a_guest_survive_the_loss_of_its_machine() {
    lab::skip_unless_root!();
    guests_are_killed("xfs", XFS_BYTES);
}
