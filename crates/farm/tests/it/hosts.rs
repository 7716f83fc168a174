//! Hosts that do not answer.

use crate::client::{Person, SOON, logs_on, negotiates, request, token};
use crate::scene::{farm, hung, number, peer, role, state, subject};
use lab::eventually;
use protocol::rdp::SSL;

#[test]
fn a_host_that_accepts_and_never_answers_is_left_out_and_said() {
    let (good, (_listener, silent)) = (peer(b'1'), hung());
    let (mut farm, at) = farm(&[good.address, silent]);
    farm.check.timeout_ms = 200;
    let role = role(&farm, None);
    let is_down = || state(&role, "ts2") == "down" && state(&role, "ts1") == "up";
    assert!(eventually(SOON, is_down), "{:?}", subject(&role));
    for name in ["anna", "bert", "cleo"] {
        let redirection = logs_on(at, Person::named(name)).expect("a redirection");
        let (_, confirm) = negotiates(at, &request(token(&redirection), SSL));
        confirm.expect("the host answers");
    }
    assert_eq!(subject(&role).state.word, "degraded");
    let subject = subject(&role);
    let down = subject
        .of_kind("host")
        .find(|one| one.name == "ts2")
        .expect("the host");
    assert_eq!(down.why, "no answer to a request within 200 ms");
    assert_eq!(down.value("pending"), Some(0));
}

#[test]
fn without_a_host_a_user_is_refused_with_the_reason() {
    let closed = {
        let (listener, address) = hung();
        drop(listener);
        address
    };
    let (farm, at) = farm(&[closed]);
    let role = role(&farm, None);
    assert!(eventually(SOON, || state(&role, "ts1") == "down"));
    assert!(logs_on(at, Person::named("anna")).is_err());
    assert_eq!(number(&role, "refused"), 1);
    let subject = subject(&role);
    assert_eq!(subject.why, "no host takes new users");
    let down = subject.of_kind("host").next().expect("the host");
    assert_eq!(down.why, "cannot connect: Connection refused");
}
