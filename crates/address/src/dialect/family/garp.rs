//! Parses the timing of gratuitous ARPs and neighbour advertisements: `garp_*` of instances and of
//! `global_defs`, and `garp_group`.

use super::draft::GarpDraft;
use super::{GARP_GROUP, GLOBAL, INSTANCE};
use crate::codes;
use crate::config::GarpGroup;
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;
use language::Diagnostic;
use std::time::Duration;

/// Maximum of a delay or refresh interval: a day, in seconds.
const DAY_S: i64 = 86_400;
/// Maximum time between two announcements on an interface, in microseconds.
const INTERVAL_MAX_US: u64 = 1_000_000;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "garp_master_delay <seconds>" &[INSTANCE], line(1, 2, |l, n| seconds(l, n, |d| &mut d.delay)),
        "garp_master_delay 1",
        "Seconds until a new owner announces its addresses a second time; 0 disables that. Default \
         `vrrp_garp_master_delay`, 5.";
    "vrrp_garp_master_delay <seconds>" &[GLOBAL],
        line(1, 2, |l, n| seconds(l, n, |d| &mut d.delay)),
        "vrrp_garp_master_delay 1",
        "Seconds until a new owner announces its addresses a second time; 0 disables that. Default 5.";
    "garp_master_repeat <number>" &[INSTANCE], line(1, 2, |l, n| times(l, n, 1, |d| &mut d.repeat)),
        "garp_master_repeat 3",
        "Number of announcements of each address that a new owner sends at a time. Default `vrrp_garp_master_repeat`, \
         5.";
    "vrrp_garp_master_repeat <number>" &[GLOBAL],
        line(1, 2, |l, n| times(l, n, 1, |d| &mut d.repeat)),
        "vrrp_garp_master_repeat 3",
        "Number of announcements of each address that a new owner sends at a time. Default 5.";
    "garp_lower_prio_delay <seconds>" &[INSTANCE],
        line(1, 2, |l, n| seconds(l, n, |d| &mut d.lower_prio_delay)),
        "garp_lower_prio_delay 5",
        "Like `garp_master_delay`, after the owner has received an advert with a lower priority.";
    "vrrp_garp_lower_prio_delay <seconds>" &[GLOBAL],
        line(1, 2, |l, n| seconds(l, n, |d| &mut d.lower_prio_delay)),
        "vrrp_garp_lower_prio_delay 5",
        "Like `vrrp_garp_master_delay`, after the owner has received an advert with a lower priority.";
    "garp_lower_prio_repeat <number>" &[INSTANCE],
        line(1, 2, |l, n| times(l, n, 0, |d| &mut d.lower_prio_repeat)),
        "garp_lower_prio_repeat 1",
        "Like `garp_master_repeat`, after the owner has received an advert with a lower priority.";
    "vrrp_garp_lower_prio_repeat <number>" &[GLOBAL],
        line(1, 2, |l, n| times(l, n, 0, |d| &mut d.lower_prio_repeat)),
        "vrrp_garp_lower_prio_repeat 1",
        "Like `vrrp_garp_master_repeat`, after the owner has received an advert with a lower priority.";
    "garp_master_refresh <seconds>" &[INSTANCE],
        line(1, 2, |l, n| seconds(l, n, |d| &mut d.refresh)),
        "garp_master_refresh 60",
        "Interval at which an owner announces its addresses again; 0 disables that. Default \
         `vrrp_garp_master_refresh`, 0.";
    "vrrp_garp_master_refresh <seconds>" &[GLOBAL],
        line(1, 2, |l, n| seconds(l, n, |d| &mut d.refresh)),
        "vrrp_garp_master_refresh 60",
        "Interval at which an owner announces its addresses again; 0 disables that. Default 0.";
    "garp_master_refresh_repeat <number>" &[INSTANCE],
        line(1, 2, |l, n| times(l, n, 1, |d| &mut d.refresh_repeat)),
        "garp_master_refresh_repeat 2",
        "Number of announcements of a refresh. Default `vrrp_garp_master_refresh_repeat`, 1.";
    "vrrp_garp_master_refresh_repeat <number>" &[GLOBAL],
        line(1, 2, |l, n| times(l, n, 1, |d| &mut d.refresh_repeat)),
        "vrrp_garp_master_refresh_repeat 2", "Number of announcements of a refresh. Default 1.";
    "garp_extra_if [all] <seconds>" &[INSTANCE], line(1, 2, extra), "garp_extra_if all 100",
        "Interval of announcements on other interfaces with addresses of the instance, so that switches remember them; \
         without `all` only on virtual ones.";
    "vrrp_garp_extra_if [all] <seconds>" &[GLOBAL], line(1, 2, extra), "vrrp_garp_extra_if all 100",
        "Interval of announcements on other interfaces with addresses, so that switches remember them; without `all` \
         only on virtual ones.";
    "vrrp_garp_interval <seconds>" &[GLOBAL],
        line(1, 2, |l, n| l.config.global.garp_interval = interval(l, n).unwrap_or_default()),
        "vrrp_garp_interval 0.001",
        "Interval between two gratuitous ARPs on an interface, for switches that are easily flooded. Default 0.";
    "vrrp_gna_interval <seconds>" &[GLOBAL],
        line(1, 2, |l, n| l.config.global.gna_interval = interval(l, n).unwrap_or_default()),
        "vrrp_gna_interval 0.001",
        "Interval between two unsolicited neighbour advertisements on an interface. Default 0.";
    "vrrp_min_garp [on|off]" &[GLOBAL],
        line(0, 1, |l, n| l.drafts.defaults.min_garp = l.switch(n).unwrap_or(false)),
        "vrrp_min_garp", "Announces each address only once: enough for modern switches.";
    "garp_group { garp_interval … gna_interval … interface … }" &[TOP], block(0, 1, group),
        "garp_group {\n    garp_interval 0.01\n    interfaces {\n        eth0\n        eth1\n    }\n}",
        "Intervals between announcements on one interface, or on several that share a switch.";
    "garp_interval <seconds>" &[GARP_GROUP],
        line(1, 1, |l, n| group_interval(l, n, |g| &mut g.garp_interval)),
        "garp_interval 0.01\ninterface eth0", "Interval between two gratuitous ARPs of the group.";
    "gna_interval <seconds>" &[GARP_GROUP],
        line(1, 1, |l, n| group_interval(l, n, |g| &mut g.gna_interval)),
        "gna_interval 0.01\ninterface eth0",
        "Interval between two unsolicited neighbour advertisements of the group.";
    "interface <name>" &[GARP_GROUP], line(1, 1, |l, n| add_interfaces(l, n.argument())),
        "garp_interval 0.01\ninterface eth0", "The interface of the group.";
    "interfaces { <name> … }" &[GARP_GROUP], block(0, 0, |l, n| add_interfaces(l, n.block_words())),
        "garp_interval 0.01\ninterfaces {\n    eth0\n    eth1\n}",
        "Interfaces that share the intervals, because they share a switch.";
};

fn draft<'l>(l: &'l mut Loader<'_>, node: &ConfigStatement) -> &'l mut GarpDraft {
    let draft = match l.place {
        GLOBAL => &mut l.drafts.defaults.garp,
        _ => &mut l.instance.garp,
    };
    draft.place = Some(node.whole());
    draft
}

fn seconds(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: impl FnOnce(&mut GarpDraft) -> &mut Option<Duration>,
) {
    let value = l.seconds(node, 0..=DAY_S);
    *field(draft(l, node)) = value;
}

fn times(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    least: i64,
    field: impl FnOnce(&mut GarpDraft) -> &mut Option<u32>,
) {
    let value = l.count(node, least..=i64::from(i32::MAX));
    *field(draft(l, node)) = value;
}

fn interval(l: &mut Loader<'_>, node: &ConfigStatement) -> Option<Duration> {
    l.timer(node.argument()?, 0..=INTERVAL_MAX_US)
}

fn group_interval(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: fn(&mut GarpGroup) -> &mut Duration,
) {
    let value = interval(l, node).unwrap_or_default();
    if let Some(group) = l.config.garp_groups.last_mut() {
        *field(group) = value;
    }
}

fn extra(l: &mut Loader<'_>, node: &ConfigStatement) {
    let words = node.arguments();
    let all = words.first().is_some_and(|w| w.text == "all");
    let Some(word) = words.get(usize::from(all)) else {
        let message = format!("the seconds after '{}' are missing", node.name());
        l.error(&codes::MISSING_VALUE, node.whole(), message);
        return;
    };
    let value = l
        .number(word, 0..=DAY_S)
        .and_then(|n| u64::try_from(n).ok());
    draft(l, node).extra = value.map(|n| (Duration::from_secs(n), all));
}

fn group(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.config.garp_groups.push(GarpGroup::default());
    l.children(GARP_GROUP, node);
    let empty = l
        .config
        .garp_groups
        .last()
        .is_some_and(|g| g.interfaces.is_empty());
    if empty {
        l.config.garp_groups.pop();
        l.report(
            Diagnostic::error(
                &codes::MISSING_VALUE,
                node.place(),
                "this garp_group has no interface",
            )
            .help("add 'interface eth0', or several in 'interfaces { … }'"),
        );
    }
}

fn add_interfaces<'w>(l: &mut Loader<'_>, words: impl IntoIterator<Item = &'w SourceWord>) {
    for word in words {
        let mut taken = l.config.garp_groups.iter().flat_map(|g| &g.interfaces);
        if taken.any(|name| *name == word.text) {
            let message = format!("the interface '{}' is in two garp_groups", word.text);
            l.error(&codes::DUPLICATE, word.span, message);
            continue;
        }
        l.drafts.require_interface(word.at(), "garp_group");
        if let Some(group) = l.config.garp_groups.last_mut() {
            group.interfaces.push(word.text.clone());
        }
    }
}
