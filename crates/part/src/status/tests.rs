//! Tests of statuses of other versions of this program.

use super::*;
use crate::codec;
use crate::report::{Grade, Subject};
use serde::Serialize;

#[test]
fn reports_of_older_versions_are_read_by_their_texts() {
    let volume = Subject::new("volume", "mail")
        .state("serving alone", Grade::Bad)
        .fact("copies", "alpha beta")
        .fact("owner", "alpha")
        .fact("complete", "this copy")
        .fact(
            "last event",
            "not handed over: the other copy is not connected",
        )
        .fact("incomplete", "evenkeel volume import was interrupted")
        .number("owner here", 1);
    let volume = VolumeReport::of(&volume);
    assert_eq!(volume.state, PublishedVolumeState::Alone);
    assert_eq!(volume.copies.unwrap().other, "beta");
    assert_eq!(volume.complete, CompleteCopies::Local);
    assert_eq!((volume.refused_hand_overs, volume.is_owner), (1, true));
    assert!(!volume.overwriting.unwrap().is_running);

    let guest = Subject::new("guest", "mail")
        .state("shutting down", Grade::Busy)
        .fact("on", "beta")
        .fact("stopped", "until `guest start`")
        .list("prefers", vec!["alpha".to_owned(), "beta".to_owned()])
        .list(
            "disks",
            vec!["mail".to_owned(), "iso (read only)".to_owned()],
        );
    let guest = GuestReport::of(&guest);
    assert_eq!(guest.state, GuestState::ShuttingDown);
    assert_eq!(guest.stop_order, StopOrder::UntilStart);
    assert_eq!(guest.prefers, ["alpha", "beta"]);
    assert!(guest.disks[1].is_read_only && guest.disks[1].volume == "iso");

    let member = Subject::new("member", "beta")
        .state("reachable, through tie, 0.4 ms", Grade::Good)
        .fact("kind", "node, leader")
        .joined("serves", "version 7 (candidate)");
    let member = MemberReport::of(&member);
    assert_eq!(member.reach, MemberReach::Relayed);
    assert_eq!(
        (member.relay.as_str(), member.served_version),
        ("tie", Some(7))
    );
    assert!(member.is_leader && member.is_candidate);
    let away = Subject::new("member", "beta").state("away for 3 s", Grade::Bad);
    assert_eq!(MemberReport::of(&away).reach, MemberReach::Away);

    let router = Subject::new("virtual-ip", "www")
        .state("BACKUP", Grade::Standby)
        .fact("owner", "10.0.0.2")
        .joined("with priority", "100")
        .fact("lease", "moves to a healthier node");
    let router = RouterReport::of(&router);
    assert_eq!(router.state, RouterState::Backup);
    assert_eq!(
        (router.other_owner.as_str(), router.lease),
        ("10.0.0.2", LeaseUse::Moves)
    );
}

#[test]
fn published_status_survives_noise() {
    let status = GuestReport {
        state: GuestState::Running,
        node: "alpha".to_owned(),
        ..GuestReport::default()
    };
    let subject = Subject::new("guest", "mail").state("running", Grade::Good);
    let report = crate::report::StatusReport {
        subjects: vec![subject.fact("on", "alpha").publish(&status)],
        ..Default::default()
    };
    let noisy = report.with_noise();
    let subject = noisy.find("guest", "mail").unwrap();
    assert_ne!(subject.state.word, "running");
    assert_ne!(subject.words("on").unwrap(), "alpha");
    assert_eq!(GuestReport::of(subject), status);
    let shown: serde_json::Value = serde_json::from_str(&noisy.json()).unwrap();
    assert_eq!(shown["subjects"][0]["status"]["state"], "running");
}

#[test]
fn status_of_a_newer_version_is_read_as_far_as_it_is_known() {
    #[derive(Serialize)]
    struct Newer {
        state: &'static str,
        node: &'static str,
        mood: u8,
    }
    let mut subject = Subject::new("guest", "mail");
    subject.status = codec::encode(&Newer {
        state: "hibernating",
        node: "beta",
        mood: 3,
    });
    let guest = GuestReport::of(&subject);
    assert_eq!(
        (guest.state, guest.node.as_str()),
        (GuestState::Unknown, "beta")
    );
    // Anything else than a status is as if there were none.
    subject.status = vec![0xc1; 90];
    assert_eq!(GuestReport::of(&subject), GuestReport::default());
}
