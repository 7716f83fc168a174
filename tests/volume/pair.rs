//! Tests volumes with two copies on real machines: acknowledged writes survive each loss, and both
//! copies are equal in the end.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, Reader, VolumeSite, Writer, clients, other};
use lab::eventually;
use rustix::process::{Signal, kill_process};

#[test]
fn a_volume_begins_when_both_copies_are_there_and_is_used_at_both_nodes() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::uncreated("volume-begins");
    volumes.becomes("alpha", "not created");
    volumes
        .site
        .alpha
        .command(&["volume", "create", "mail"])
        .well();
    volumes.becomes("alpha", "waiting");
    let waits = volumes.fact("alpha", "why").unwrap_or_default() + &volumes.shown("alpha");
    assert!(waits.contains("waiting for beta"), "{waits}");
    volumes
        .site
        .beta
        .command(&["volume", "create", "mail"])
        .well();
    volumes.in_sync();
    volumes.holds(clients(&volumes));
}

/// The control role is alive, and would renew leases of a volume role that it has lost contact
/// with.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_supervisor_that_is_stopped_leaves_the_volume_to_the_other_node() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-supervisor-stopped");
    let owner = volumes.in_sync();
    let survivor = other(owner);
    let writer = Writer::start(volumes.socket(survivor), 0);
    writer.gets_on(50);
    let supervisor = volumes.site.machine(owner).supervisor().expect("it runs");
    kill_process(supervisor, Signal::STOP).unwrap();
    // The owner's volume role continues as the other copy.
    let takes_over = || volumes.fact(survivor, "owner here").as_deref() == Some("1");
    assert!(eventually(SOON, takes_over), "{}", volumes.tell());
    writer.gets_on(50);
    kill_process(supervisor, Signal::CONT).unwrap();
    volumes.in_sync();
    writer.gets_on(50);
    volumes.holds(vec![writer]);
}

#[test]
fn the_owner_is_killed_and_the_other_node_goes_on_with_all_that_was_acknowledged() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-owner");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    volumes.site.machine_mut(owner).kill();
    volumes.becomes(other(owner), "serving alone");
    let there = usize::from(other(owner) == "beta");
    writers[there].gets_on(50);
    volumes.site.machine_mut(owner).start();
    volumes.in_sync();
    writers.iter().for_each(|writer| writer.gets_on(50));
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_other_copy_is_killed_and_comes_back_while_clients_write() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-other");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    volumes.site.machine_mut(other(owner)).kill();
    volumes.becomes(owner, "serving alone");
    let here = usize::from(owner == "beta");
    writers[here].gets_on(50);
    volumes.site.machine_mut(other(owner)).start();
    volumes.in_sync();
    writers.iter().for_each(|writer| writer.gets_on(50));
    volumes.holds(writers);
}

#[test]
fn a_cut_of_the_direct_link_leaves_one_owner_and_heals() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-link");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    let cut = volumes.site.cut_direct();
    volumes.becomes(owner, "serving alone");
    let here = usize::from(owner == "beta");
    writers[here].gets_on(50);
    assert_ne!(
        volumes.fact(other(owner), "owner here").as_deref(),
        Some("1")
    );
    drop(cut);
    volumes.in_sync();
    writers.iter().for_each(|writer| writer.gets_on(50));
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_role_of_the_owner_is_killed_and_nothing_is_lost() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-role");
    let writers = clients(&volumes);
    for _ in 0..3 {
        let owner = volumes.in_sync();
        let role = volumes.site.machine(owner).role("volume-role");
        kill_process(role.expect("a role"), Signal::KILL).unwrap();
        writers.iter().for_each(|writer| writer.gets_on(50));
    }
    volumes.holds(writers);
}

#[test]
fn a_hand_over_moves_the_owner_under_load_and_no_client_notices() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-hand-over");
    let writers = clients(&volumes);
    for _ in 0..4 {
        let owner = volumes.in_sync();
        let machine = volumes.site.machine(owner);
        machine.command(&["volume", "hand-over", "mail"]).well();
        assert!(
            eventually(SOON, || volumes.owner() == Some(other(owner))),
            "{}",
            volumes.tell()
        );
        writers.iter().for_each(|writer| writer.gets_on(20));
        // The command is refused at the node that is not the owner.
        let said = machine.command(&["volume", "hand-over", "mail"]);
        said.refused(&["does not serve volume 'mail'", other(owner)]);
    }
    volumes.holds(writers);
}

#[test]
fn without_a_majority_requests_wait_without_an_error_and_go_on() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-majority");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    volumes.site.machine_mut(other(owner)).kill();
    volumes.site.arbiter.kill();
    volumes.becomes(owner, "waiting");
    volumes.site.arbiter.start();
    volumes.becomes(owner, "serving alone");
    volumes.site.machine_mut(other(owner)).start();
    volumes.in_sync();
    writers.iter().for_each(|writer| writer.gets_on(50));
    volumes.holds(writers);
}

/// Writes until a write fails; returns the error.
fn fails(client: &mut Client) -> std::io::Error {
    let mut writes = (0..).map(|number: u32| client.write(2, &[number as u8; 4096], false));
    let error = writes.find_map(Result::err).unwrap();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    error
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn without_a_majority_requests_fail_if_the_file_says_so_and_go_on_by_themselves() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-error");
    let text = volumes.configuration("\twithout-majority error\n");
    volumes.site.alpha.apply(&text, &["--now"]).well();
    let owner = volumes.in_sync();
    // Once with a client of the owner, and once with a client of the other node.
    for (node, lost) in [(owner, other(owner)), (other(owner), owner)] {
        let says = || volumes.fact(node, "without majority").as_deref() == Some("error");
        assert!(eventually(SOON, says), "{}", volumes.tell());
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        client.write(1, &[7; 4096], true).unwrap();
        volumes.site.machine_mut(lost).kill();
        volumes.site.arbiter.kill();
        fails(&mut client);
        // From then on, reads fail at once, too, and the state shows the reason.
        assert_eq!(client.read(1).unwrap_err().raw_os_error(), Some(5));
        let says = || {
            volumes
                .shown(node)
                .contains("requests fail (`without-majority error`)")
        };
        assert!(eventually(SOON, says), "{}", volumes.tell());
        volumes.site.arbiter.start();
        let mut resumed = || {
            let written = client.write(1, &[7; 4096], true);
            written.is_ok() && client.read(1).is_ok()
        };
        assert!(eventually(SOON, &mut resumed), "{}", volumes.tell());
        volumes.becomes(node, "serving alone");
        // The same client continues. The result of the failed write does not change.
        assert_eq!(client.read(1).unwrap(), [7; 4096]);
        let before = client.read(2).unwrap();
        assert!(before.iter().all(|byte| *byte == before[0]));
        volumes.site.machine_mut(lost).start();
        volumes.in_sync();
        assert_eq!(client.read(2).unwrap(), before);
        client.write(1, &[8; 4096], true).unwrap();
    }
    volumes.holds(Vec::new());
}

#[test]
fn all_machines_lose_power_at_once_and_nothing_acknowledged_is_lost() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-all");
    let writers = clients(&volumes);
    for name in ["alpha", "beta", "arbiter"] {
        volumes.site.machine_mut(name).kill();
    }
    for name in ["arbiter", "beta", "alpha"] {
        volumes.site.machine_mut(name).start();
    }
    volumes.in_sync();
    writers.iter().for_each(|writer| writer.gets_on(50));
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_supervisor_that_is_killed_and_started_again_leaves_nobody_waiting() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-supervisor");
    let writers = clients(&volumes);
    for _ in 0..3 {
        let owner = volumes.in_sync();
        volumes.site.machine_mut(owner).kill_supervisor();
        volumes.site.machine_mut(owner).start();
        writers.iter().for_each(|writer| writer.gets_on(50));
        volumes.in_sync();
    }
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_frozen_owner_goes_on_as_a_copy_and_its_clients_see_no_error() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-frozen");
    let writers = clients(&volumes);
    let readers = ["alpha", "beta"].map(|node| Reader::start(volumes.socket(node)));
    for _ in 0..2 {
        let owner = volumes.in_sync();
        let frozen = volumes.site.machine(owner).freeze();
        volumes.becomes(other(owner), "serving alone");
        frozen.thaw();
        volumes.in_sync();
        writers.iter().for_each(|writer| writer.gets_on(50));
    }
    readers.into_iter().for_each(Reader::stop);
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_volume_with_two_copies_never_shrinks() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-changes");
    let writers = clients(&volumes);
    let (alpha, good) = (&volumes.site.alpha, volumes.configuration(""));
    // The volume cannot become smaller, and stays in service.
    let smaller = alpha.apply(&volumes.sized("16m"), &["--now"]);
    smaller.refused(&["volume 'mail' has 32m and cannot shrink to 16m: write `size 32m`"]);
    writers.iter().for_each(|writer| writer.gets_on(20));
    alpha.apply(&good, &["--now"]).well();
    volumes.holds(writers);
}

#[test]
fn two_copies_with_data_of_their_own_are_both_kept_until_one_is_chosen() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-strangers");
    let owner = volumes.in_sync();
    let there = other(owner);
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(3, &[7; 4096], true).unwrap();
    drop(client);
    // The copy at the other node becomes a copy of another volume: its identity changes.
    volumes.site.machine_mut(there).stop();
    let metadata = volumes.file(there).with_extension("metadata");
    let before = std::fs::read(&metadata).unwrap();
    let other_volume = before.len();
    assert!(other_volume > 0);
    std::fs::write(&metadata, vec![0; other_volume]).unwrap();
    volumes.site.machine_mut(there).start();
    // An unreadable copy is not touched, and the owner continues.
    volumes.becomes(there, "failed");
    volumes.becomes(owner, "serving alone");
    assert_eq!(std::fs::read(&metadata).unwrap(), vec![0; other_volume]);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_link_changes_between_tls_and_a_cable_under_load_and_nothing_is_lost() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-cable");
    let writers = clients(&volumes);
    let secure = volumes.configuration("");
    let link = "volume-defaults\n\tlink 10.61.0.1 10.61.0.2 plain\n\n";
    let plain = secure.replace("volume mail", &format!("{link}volume mail"));
    for text in [&plain, &secure] {
        volumes.site.alpha.apply(text, &["--now"]).well();
        volumes.in_sync();
        writers.iter().for_each(|writer| writer.gets_on(50));
    }
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_new_authority_of_the_cluster_certifies_the_links_of_volumes() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-authority");
    let writers = clients(&volumes);
    for _ in 0..2 {
        let rotate = ["cluster", "rotate", "--authority"];
        volumes.site.beta.command(&rotate).well();
        writers.iter().for_each(|writer| writer.gets_on(50));
        // Existing connections stay; new ones use the new certificates.
        let owner = volumes.in_sync();
        let role = volumes.site.machine(other(owner)).role("volume-role");
        kill_process(role.expect("a role"), Signal::KILL).unwrap();
        volumes.in_sync();
        writers.iter().for_each(|writer| writer.gets_on(50));
    }
    volumes.holds(writers);
}
