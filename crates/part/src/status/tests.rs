//! Tests of statuses of other versions of this program.

use super::*;
use crate::codec;
use crate::report::{Grade, Subject};
use serde::Serialize;

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
    // Bytes that are no encoded status count as a missing status.
    subject.status = vec![0xc1; 90];
    assert_eq!(GuestReport::of(&subject), GuestReport::default());
}
