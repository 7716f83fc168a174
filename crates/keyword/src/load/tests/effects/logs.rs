//! Tests the log lines per target, and the servers that receive them.

use crate::testing::load_text;
use model::config::StreamLogStep;
use model::log::servers::choose;
use model::log::{LogHeader, profiled};
use model::state::AdminState;
use model::transaction::sample;

#[test]
fn one_server_gets_all_messages_until_it_fails_and_the_longest_usable_follows() {
    let loaded = load_text(
        "backend logs\n mode log\n balance sticky\n server a udp@127.0.0.1:1\n server b udp@127.0.0.1:2\n \
         server c udp@127.0.0.1:3\n server d udp@127.0.0.1:4 backup\n",
    );
    let mut config = loaded.config.expect("it loads");
    model::control::install(&mut config, None, 0);
    let proxy = config.proxy(config.backend("logs").expect("a backend"));
    let servers = proxy.log_servers.as_deref().expect("servers");
    let set = |at: usize, ready: bool| {
        let admin = if ready {
            AdminState::Ready
        } else {
            AdminState::Maintenance
        };
        proxy.servers[at].state.set_admin(admin, 1);
    };
    let chosen = || choose(proxy, servers, b"message").map(|at| at.0);
    assert_eq!(chosen(), Some(0));
    set(0, false);
    assert_eq!(chosen(), Some(1));
    // A server that returns is chosen after those that stayed usable.
    set(1, false);
    set(0, true);
    assert_eq!(chosen(), Some(2));
    set(0, false);
    set(2, false);
    assert_eq!(chosen(), Some(3));
    set(2, true);
    set(1, true);
    assert_eq!(chosen(), Some(2));
    for at in 0..4 {
        set(at, false);
    }
    assert_eq!(chosen(), None);
}

#[test]
fn a_profile_says_what_its_target_gets_of_each_step() {
    let text = "log-profile p\n on error drop\n on close format \"end %HM\"\n on any sd [a]\n log-tag mine\n\
                log-profile q\n on close format q\n on http-req drop\n\
                listen l\n mode http\n bind 127.0.0.1:1\n log 127.0.0.1 format rfc5424 profile p local0\n \
                log 127.0.0.1 format raw profile q local0\n";
    let config = load_text(text).config.expect("it loads");
    let stream = sample::request(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    let made = |at: usize, step: StreamLogStep| {
        let target = &config.proxies[0].logs[at];
        let profile = target.profile.as_ref().unwrap().profile.as_deref().unwrap();
        let head = LogHeader::of(&config, None, b"");
        let mut line = Vec::new();
        let of = Some((&stream, step));
        profiled(&mut line, profile, target, 6, &head, b"proxy's", of).map(|_| {
            let text = String::from_utf8_lossy(&line).into_owned();
            let behind = text.split_once("mine ").map(|(_, rest)| rest.to_owned());
            behind.unwrap_or(text)
        })
    };
    let pid = std::process::id();
    assert_eq!(made(0, StreamLogStep::Error), None);
    assert_eq!(
        made(0, StreamLogStep::Close),
        Some(format!("{pid} - - end GET\n"))
    );
    let any = format!("{pid} - [a] proxy's\n");
    assert_eq!(made(0, StreamLogStep::HttpRequest), Some(any.clone()));
    assert_eq!(made(0, StreamLogStep::Response), Some(any));
    // A failure that the profile does not name has the settings of `close`; a step that it does not
    // name has those of the proxy.
    assert_eq!(made(1, StreamLogStep::Error).as_deref(), Some("q\n"));
    assert_eq!(made(1, StreamLogStep::HttpRequest), None);
    assert_eq!(
        made(1, StreamLogStep::HttpResponse).as_deref(),
        Some("proxy's\n")
    );
}
