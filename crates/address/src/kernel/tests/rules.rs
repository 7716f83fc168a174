//! Compares rules added by this crate with those added by `ip`.

use super::super::*;
use super::{KernelHostPair, told, words};
use crate::config::{Rule, RuleAction};
use std::net::IpAddr;

fn rule(preference: u32, action: RuleAction) -> Rule {
    Rule {
        ipv6: false,
        invert: false,
        from: None,
        to: None,
        input: None,
        output: None,
        tos: None,
        mark: None,
        preference: Some(preference),
        realms: None,
        suppress_prefix: None,
        suppress_group: None,
        uids: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        tunnel: None,
        made_by: None,
        action,
        no_track: false,
        track_group: None,
        text: String::new(),
    }
}

fn table(preference: u32, table: u32) -> Rule {
    rule(preference, RuleAction::Table(table))
}

fn net(address: &str, prefix: u8) -> Option<(IpAddr, u8)> {
    Some((address.parse().unwrap(), prefix))
}

fn lines() -> Vec<(&'static str, Rule)> {
    vec![
        (
            "from 10.1.0.0/16 pref 100 table 99",
            Rule {
                from: net("10.1.0.0", 16),
                ..table(100, 99)
            },
        ),
        (
            "not to 10.2.0.1 iif eth0 pref 101 table 1000",
            Rule {
                invert: true,
                to: net("10.2.0.1", 32),
                input: Some("eth0".to_owned()),
                ..table(101, 1000)
            },
        ),
        (
            "oif eth1 fwmark 0x10/0xf0 tos 0x10 pref 102 table 99",
            Rule {
                output: Some("eth1".to_owned()),
                mark: Some((0x10, 0xf0)),
                tos: Some(0x10),
                ..table(102, 99)
            },
        ),
        (
            "from all fwmark 7 pref 103 goto 32766",
            Rule {
                mark: Some((7, u32::MAX)),
                ..rule(103, RuleAction::Goto(32766))
            },
        ),
        (
            "from 10.3.0.0/16 pref 104 blackhole",
            Rule {
                from: net("10.3.0.0", 16),
                ..rule(104, RuleAction::Blackhole)
            },
        ),
        (
            "from 10.4.0.0/16 pref 105 unreachable",
            Rule {
                from: net("10.4.0.0", 16),
                ..rule(105, RuleAction::Unreachable)
            },
        ),
        (
            "from 10.5.0.0/16 pref 106 prohibit",
            Rule {
                from: net("10.5.0.0", 16),
                ..rule(106, RuleAction::Prohibit)
            },
        ),
        (
            "from 10.5.0.0/16 pref 107 nop",
            Rule {
                from: net("10.5.0.0", 16),
                ..rule(107, RuleAction::Nop)
            },
        ),
    ]
}

/// Rules that match more than addresses.
fn closer() -> Vec<(&'static str, Rule)> {
    vec![
        ("from all pref 108 l3mdev", rule(108, RuleAction::L3mdev)),
        (
            "from all pref 109 table main suppress_prefixlength 0 suppress_ifgroup 5",
            Rule {
                suppress_prefix: Some(0),
                suppress_group: Some(5),
                ..table(109, 254)
            },
        ),
        (
            "from all pref 110 uidrange 100-200 ipproto 6 sport 1000-2000 dport 80 table 99",
            Rule {
                uids: Some((100, 200)),
                protocol: Some(6),
                source_ports: Some((1000, 2000)),
                destination_ports: Some((80, 80)),
                ..table(110, 99)
            },
        ),
        (
            "from all tun_id 77 pref 111 table 99",
            Rule {
                tunnel: Some(77),
                ..table(111, 99)
            },
        ),
        (
            "from all pref 112 realms 3/4 table 99",
            Rule {
                realms: Some(3 << 16 | 4),
                ..table(112, 99)
            },
        ),
        (
            "from 2001:db8:5::/48 to 2001:db8:6::1 pref 113 table 1000",
            Rule {
                ipv6: true,
                from: net("2001:db8:5::", 48),
                to: net("2001:db8:6::1", 128),
                ..table(113, 1000)
            },
        ),
    ]
}

#[test]
fn rules_that_we_add_look_as_those_that_ip_adds() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-rule");
    let mut taken = Vec::new();
    for (line, rule) in [lines(), closer()].concat() {
        let family = if rule.ipv6 { "-6" } else { "-4" };
        let all = [
            &[family, "rule", "add"],
            &words(line)[..],
            &["protocol", "18"],
        ]
        .concat();
        // An option that this kernel lacks fails for both.
        let theirs = pair.theirs.ip(&all);
        let ours = pair.ours.enter(|| Kernel::open().unwrap().add_rule(&rule));
        assert_eq!(theirs.is_ok(), ours.is_ok(), "{line}: {theirs:?}, {ours:?}");
        if ours.is_ok() {
            taken.push((line, rule));
        }
    }
    assert!(taken.len() >= 9, "most must be possible: {taken:?}");
    for family in ["-4", "-6"] {
        let show = [family, "rule", "show"];
        assert_eq!(told(&pair.ours, &show), told(&pair.theirs, &show));
    }
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let rules: Vec<_> = taken.iter().map(|(_, rule)| rule.clone()).collect();
        let seen = kernel.rules().unwrap();
        for (line, rule) in &taken {
            assert!(
                seen.iter().any(|s| s.is(rule)),
                "{line} is not among {seen:#?}"
            );
        }
        let all = |results: Vec<Result<Ack, KernelError>>, outcome| {
            for (result, (line, _)) in results.into_iter().zip(&taken) {
                assert_eq!(result.unwrap(), outcome, "{line}");
            }
        };
        all(kernel.add_rules(&rules), Ack::Already);
        let mut monitor = Monitor::open(true).unwrap();
        all(kernel.remove_rules(&rules), Ack::Done);
        all(kernel.remove_rules(&rules), Ack::Already);
        let gone: Vec<_> = std::iter::from_fn(|| monitor.next_change())
            .filter_map(|c| {
                if let KernelChange::RuleRemoved(seen) = c {
                    Some(seen)
                } else {
                    None
                }
            })
            .collect();
        for (line, rule) in &taken {
            assert!(
                gone.iter().any(|s| s.is(rule)),
                "{line} is not among {gone:#?}"
            );
        }
    });
}
