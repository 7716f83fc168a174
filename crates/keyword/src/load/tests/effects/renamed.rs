//! Tests that a server of a new configuration keeps the health that the same address had under
//! another name.

use crate::testing::load_text;
use model::config::Config;
use model::control::install;
use model::state::{CheckResult, CheckStatus, now_ms};

fn tree(text: &str, old: Option<&Config>) -> Config {
    let mut config = load_text(text).config.expect("the file is good");
    install(&mut config, old, now_ms());
    config
}

fn backend(name: &str, server: &str, rest: &str) -> String {
    format!("listen {name}\n bind 127.0.0.1:1\n server {server}\n{rest}")
}

#[test]
fn a_place_that_is_down_stays_down_under_another_name_unless_other_is_asked_there() {
    let check = " option httpchk GET /alive\n";
    for (name, server, rest, up) in [
        ("b", "s 127.0.0.1:80 check", check, false),
        ("b", "other 127.0.0.1:80 check", check, false),
        ("other", "s 127.0.0.1:80 check weight 7", check, false),
        ("other", "s 127.0.0.1:81 check", check, true),
        ("other", "s 127.0.0.1:81 check port 80", check, false),
        ("other", "s 127.0.0.1:80", check, true),
        ("other", "s 127.0.0.1:80 check", "", true),
        (
            "other",
            "s 127.0.0.1:80 check",
            " option httpchk GET /\n",
            true,
        ),
    ] {
        let old = tree(&backend("b", "s 127.0.0.1:80 check", check), None);
        let failed = CheckResult::new(CheckStatus::Layer4Error, 1);
        old.proxies[0].servers[0].state.take_check(failed, now_ms());
        let new = tree(&backend(name, server, rest), Some(&old));
        let state = &new.proxies[0].servers[0].state;
        assert_eq!(state.is_up(), up, "{name}: {server}");
        assert_eq!(new.proxies[0].state.usable_servers(), u32::from(up));
        let passed = || CheckResult::new(CheckStatus::Layer4Ok, 1);
        state.take_check(passed(), now_ms());
        state.take_check(passed(), now_ms());
        assert!(state.usable());
        assert_eq!(new.proxies[0].state.usable_servers(), 1);
    }
}

#[test]
fn a_server_that_is_still_there_lends_its_health_to_no_other() {
    let line = "s 127.0.0.1:80 check";
    let old = tree(&backend("b", line, ""), None);
    let failed = CheckResult::new(CheckStatus::Layer4Error, 1);
    old.proxies[0].servers[0].state.take_check(failed, now_ms());
    let both = format!("{}{}", backend("b", line, ""), backend("c", line, ""));
    let new = tree(&both.replacen(":1\n", ":2\n", 1), Some(&old));
    let up = new
        .proxies
        .iter()
        .map(|proxy| proxy.servers[0].state.is_up());
    assert_eq!(up.collect::<Vec<_>>(), [false, true]);
}
