//! Tests session hosts that do not respond.

use crate::client::{Person, SOON, logs_on, negotiates, request, token};
use crate::scene::{
    farm, half_dead, hung, number, payload, peer, role, state, subject, users, why,
};
use farm::message::{OperatorMessage, OrderResponse};
use lab::eventually;
use part::report::FactValue;
use protocol::rdp::SSL;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_host_that_never_responds_is_excluded_and_reported() {
    let (good, (_listener, silent)) = (peer(b'1'), hung());
    let (mut farm, at) = farm(&[good.address, silent]);
    farm.check.timeout_ms = 200;
    let mut role = role(&farm, None);
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
    assert_eq!(down.why, "no response to a request within 200 ms");
    assert_eq!(down.value("pending"), Some(0));
    // An order also applies to a host that is down, and is reported.
    let orders = |role: &mut farm::role::FarmRole, is_drained| {
        let host = "ts2".to_owned();
        let answer = role.order(&OperatorMessage::Drain { host, is_drained });
        part::codec::decode::<OrderResponse>(&answer).expect("its answer")
    };
    let why = |role: &farm::role::FarmRole| {
        let farm = crate::scene::subject(role);
        let mut hosts = farm.of_kind("host");
        hosts.find(|one| one.name == "ts2").expect("it").why.clone()
    };
    assert!(orders(&mut role, true).good);
    assert_eq!(
        why(&role),
        "no response to a request within 200 ms; drained by an operator"
    );
    let end = "drained by an operator, but accepts nobody now: it is down: no response to a request within \
               200 ms";
    assert_eq!(
        orders(&mut role, false).words,
        format!("ts2 is no longer {end}")
    );
    assert_eq!(orders(&mut role, false).words, format!("ts2 is not {end}"));
    assert_eq!(why(&role), "no response to a request within 200 ms");
}

#[test]
fn a_host_that_hangs_after_its_response_is_excluded() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (bad, good) = (half_dead(&is_well), peer(b'2'));
    let (mut farm, at) = farm(&[bad, good.address]);
    farm.check.timeout_ms = 300;
    farm.hosts.get_mut("ts1").expect("a host").weight = 100;
    let mut role = role(&farm, None);
    let is_down = || state(&role, "ts1") == "down" && state(&role, "ts2") == "up";
    assert!(eventually(SOON, is_down), "{:?}", subject(&role));
    let shown = subject(&role);
    assert_eq!(shown.state.word, "degraded");
    let host = shown.of_kind("host").next().expect("the host");
    assert_eq!(
        host.why,
        "it responds to requests, then hangs: no response to the TLS ClientHello within 300 ms"
    );
    logs_on(at, Person::named("anna")).expect("a redirection");
    let got = |role: &mut farm::role::FarmRole, name: &str| {
        let steps = why(role, name).farms.remove(0).steps;
        steps.last().expect("a step").got.clone()
    };
    assert_eq!(got(&mut role, "anna"), "redirected to ts2");
    is_well.store(true, Ordering::Relaxed);
    assert!(eventually(SOON, || state(&role, "ts1") == "up"));
    logs_on(at, Person::named("bert")).expect("a redirection");
    assert_eq!(got(&mut role, "bert"), "redirected to ts1");
}

#[test]
fn a_report_names_the_users_of_a_host_and_offers_to_drain_it() {
    let (first, second) = (peer(b'1'), peer(b'2'));
    let (mut farm, at) = farm(&[first.address, second.address]);
    farm.hosts.get_mut("ts2").expect("a host").drained = true;
    let mut role = role(&farm, None);
    assert!(eventually(SOON, || state(&role, "ts1") == "up"));
    let host = |role: &farm::role::FarmRole, name: &str| {
        let farm = subject(role);
        let mut hosts = farm.of_kind("host");
        hosts
            .find(|one| one.name == name)
            .expect("the host")
            .clone()
    };
    let sessions = |role: &farm::role::FarmRole| {
        let host = host(role, "ts1");
        let mut facts = host.facts.into_iter();
        match facts.find(|fact| fact.name == "sessions")?.value {
            FactValue::Lines(lines) => Some(lines),
            _ => None,
        }
    };
    assert_eq!(sessions(&role), None);
    let mut clients = Vec::new();
    for number in 0..11 {
        let name = format!("anna{number}");
        let redirection = logs_on(at, Person::named(&name)).expect("a redirection");
        if number < 2 {
            clients.push(negotiates(at, &request(token(&redirection), SSL)));
        }
    }
    let lines = sessions(&role).expect("sessions");
    assert_eq!(lines[0], "anna1: connected from 127.0.0.1");
    assert_eq!(lines[1], "anna0: connected from 127.0.0.1");
    assert_eq!(lines[2], "anna10: connecting");
    assert_eq!((lines.len(), &*lines[10]), (11, "and 1 more"));
    drop(clients);
    let left = || sessions(&role).is_some_and(|lines| lines[0] == "anna10: connecting");
    assert!(eventually(SOON, left), "{:?}", sessions(&role));
    // The offered action equals the command-line order, and follows the current state.
    for (word, after, repeated) in [
        ("drain", "drained", "ts1 is already drained"),
        ("ready", "up", "ts1 already accepts users"),
    ] {
        let offers = host(&role, "ts1").offers;
        let [offer] = &offers[..] else {
            panic!("{offers:?}");
        };
        assert_eq!(offer.word, word);
        let order: OperatorMessage = part::codec::decode(&offer.bytes).expect("a message");
        let answer: OrderResponse = part::codec::decode(&role.order(&order)).expect("its answer");
        assert!(answer.good, "{answer:?}");
        assert_eq!(state(&role, "ts1"), after);
        // A repeated order changes nothing, and reports that.
        let again: OrderResponse = part::codec::decode(&role.order(&order)).expect("its answer");
        assert_eq!((again.good, again.words.as_str()), (true, repeated));
    }
    // The configuration drains the other host, and an order does not change that.
    assert!(host(&role, "ts2").offers.is_empty());
    let ready = OperatorMessage::Drain {
        host: "ts2".to_owned(),
        is_drained: false,
    };
    let answer: OrderResponse = part::codec::decode(&role.order(&ready)).expect("its answer");
    assert!(
        answer.good
            && answer
                .words
                .ends_with("accepts nobody now: drained by the option `drain`"),
        "{answer:?}"
    );
}

#[test]
fn a_host_that_is_removed_stays_until_its_sessions_end() {
    let (first, second) = (peer(b'1'), peer(b'2'));
    let (with, at) = farm(&[first.address, second.address]);
    let mut without = with.clone();
    without.hosts.remove("ts1");
    let mut role = role(&with, None);
    // Both hosts are empty, so the first one by name is chosen.
    let redirection = logs_on(at, Person::named("anna")).expect("a redirection");
    let (stream, confirm) = negotiates(at, &request(token(&redirection), SSL));
    confirm.expect("the host answers");
    let shown = |role: &mut farm::role::FarmRole| {
        let sessions = users(role).sessions.into_iter();
        sessions.map(|one| (one.user, one.host)).collect::<Vec<_>>()
    };
    let anna = [("anna".to_owned(), "ts1".to_owned())];
    assert!(eventually(SOON, || shown(&mut role) == anna));
    role.change(&payload(&without)).expect("a change");
    assert_eq!(shown(&mut role), anna);
    let host = subject(&role);
    let host = host.of_kind("host").find(|one| one.name == "ts1");
    let host = host.expect("the host").clone();
    assert_eq!(host.state.word, "drained");
    assert_eq!(
        host.why,
        "removed from all configurations; it stays until its sessions end"
    );
    // New users do not get the host. The user with a session returns to it, also with the next role
    // process.
    let bert = logs_on(at, Person::named("bert")).expect("a redirection");
    let (_bert, confirm) = negotiates(at, &request(token(&bert), SSL));
    confirm.expect("the host answers");
    drop(stream);
    role.stop();
    let kept = role.saved_state();
    drop(role);
    let free = || TcpStream::connect(at).is_err();
    assert!(eventually(SOON, free), "the address stays open");
    let mut role = crate::scene::role(&without, Some(&kept));
    assert!(
        shown(&mut role).contains(&anna[0]),
        "{:?}",
        shown(&mut role)
    );
    logs_on(at, Person::named("anna")).expect("a redirection");
    let steps = why(&mut role, "anna").farms.remove(0).steps;
    let step = steps.iter().find(|step| step.got == "redirected to ts1");
    let step = step.unwrap_or_else(|| panic!("{steps:?}"));
    assert!(
        step.why
            .ends_with("the host was removed from all configurations")
    );
    let hosts: Vec<_> = shown(&mut role).into_iter().map(|(_, host)| host).collect();
    assert_eq!(hosts.iter().filter(|host| *host == "ts1").count(), 1);
    // The host is back in the configuration, and the user's session is still there.
    role.change(&payload(&with)).expect("a change");
    assert!(shown(&mut role).contains(&anna[0]));
    assert!(state(&role, "ts1") != "drained");
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
    assert_eq!(subject.why, "no host accepts new users");
    let down = subject.of_kind("host").next().expect("the host");
    assert_eq!(down.why, "cannot connect: Connection refused");
}
