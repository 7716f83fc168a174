//! `garp_*` of instances and of `global_defs`, and `garp_group`.

use super::draft::{At, GarpDraft};
use super::{GARP_GROUP, GLOBAL, INSTANCE};
use crate::codes;
use crate::config::GarpGroup;
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;
use std::time::Duration;

/// Maximum time between announcements: a day, in seconds.
const DAY_S: i64 = 86_400;
/// Maximum time between two packets of a block, in microseconds.
const INTERVAL_MAX_US: u64 = 1_000_000;

type StatementParser = fn(&mut Loader<'_>, &ConfigStatement);

const fn of_instance(
    syntax: &'static str,
    doc: &'static str,
    example: &'static str,
    run: StatementParser,
) -> Row {
    Row {
        places: &[INSTANCE],
        syntax,
        doc,
        example,
        build: line(1, 2, run),
    }
}

const fn of_all(
    syntax: &'static str,
    doc: &'static str,
    example: &'static str,
    run: StatementParser,
) -> Row {
    Row {
        places: &[GLOBAL],
        syntax,
        doc,
        example,
        build: line(1, 2, run),
    }
}

pub(in crate::dialect) static ROWS: &[Row] = &[
    of_instance(
        "garp_master_delay <seconds>",
        "Seconds until a new owner announces its addresses a second time; 0 disables that. Default \
         `vrrp_garp_master_delay`, 5.",
        "garp_master_delay 1",
        |l, n| seconds(l, n, |d| &mut d.delay),
    ),
    of_all(
        "vrrp_garp_master_delay <seconds>",
        "Seconds until a new owner announces its addresses a second time; 0 disables that. Default 5.",
        "vrrp_garp_master_delay 1",
        |l, n| seconds(l, n, |d| &mut d.delay),
    ),
    of_instance(
        "garp_master_repeat <number>",
        "Number of announcements of each address that a new owner sends at a time. Default `vrrp_garp_master_repeat`, \
         5.",
        "garp_master_repeat 3",
        |l, n| times(l, n, 1, |d| &mut d.repeat),
    ),
    of_all(
        "vrrp_garp_master_repeat <number>",
        "Number of announcements of each address that a new owner sends at a time. Default 5.",
        "vrrp_garp_master_repeat 3",
        |l, n| times(l, n, 1, |d| &mut d.repeat),
    ),
    of_instance(
        "garp_lower_prio_delay <seconds>",
        "Like `garp_master_delay`, after the owner has received an advert with a lower priority.",
        "garp_lower_prio_delay 5",
        |l, n| seconds(l, n, |d| &mut d.lower_prio_delay),
    ),
    of_all(
        "vrrp_garp_lower_prio_delay <seconds>",
        "Like `vrrp_garp_master_delay`, after the owner has received an advert with a lower priority.",
        "vrrp_garp_lower_prio_delay 5",
        |l, n| seconds(l, n, |d| &mut d.lower_prio_delay),
    ),
    of_instance(
        "garp_lower_prio_repeat <number>",
        "Like `garp_master_repeat`, after the owner has received an advert with a lower priority.",
        "garp_lower_prio_repeat 1",
        |l, n| times(l, n, 0, |d| &mut d.lower_prio_repeat),
    ),
    of_all(
        "vrrp_garp_lower_prio_repeat <number>",
        "Like `vrrp_garp_master_repeat`, after the owner has received an advert with a lower priority.",
        "vrrp_garp_lower_prio_repeat 1",
        |l, n| times(l, n, 0, |d| &mut d.lower_prio_repeat),
    ),
    of_instance(
        "garp_master_refresh <seconds>",
        "Interval at which an owner announces its addresses again; 0 disables that. Default \
         `vrrp_garp_master_refresh`, 0.",
        "garp_master_refresh 60",
        |l, n| seconds(l, n, |d| &mut d.refresh),
    ),
    of_all(
        "vrrp_garp_master_refresh <seconds>",
        "Interval at which an owner announces its addresses again; 0 disables that. Default 0.",
        "vrrp_garp_master_refresh 60",
        |l, n| seconds(l, n, |d| &mut d.refresh),
    ),
    of_instance(
        "garp_master_refresh_repeat <number>",
        "Number of announcements of a refresh. Default `vrrp_garp_master_refresh_repeat`, 1.",
        "garp_master_refresh_repeat 2",
        |l, n| times(l, n, 1, |d| &mut d.refresh_repeat),
    ),
    of_all(
        "vrrp_garp_master_refresh_repeat <number>",
        "Number of announcements of a refresh. Default 1.",
        "vrrp_garp_master_refresh_repeat 2",
        |l, n| times(l, n, 1, |d| &mut d.refresh_repeat),
    ),
    of_instance(
        "garp_extra_if [all] <seconds>",
        "Interval of announcements on other interfaces with addresses of the instance, so that switches remember \
         them; without `all` only on virtual ones.",
        "garp_extra_if all 100",
        extra,
    ),
    of_all(
        "vrrp_garp_extra_if [all] <seconds>",
        "Interval of announcements on other interfaces with addresses, so that switches remember them; without `all` \
         only on virtual ones.",
        "vrrp_garp_extra_if all 100",
        extra,
    ),
    of_all(
        "vrrp_garp_interval <seconds>",
        "Interval between two gratuitous ARPs on an interface, for switches that are easily flooded. Default 0.",
        "vrrp_garp_interval 0.001",
        |l, n| {
            l.config.global.garp_interval = interval(l, n).unwrap_or_default();
        },
    ),
    of_all(
        "vrrp_gna_interval <seconds>",
        "Interval between two unsolicited neighbour advertisements on an interface. Default 0.",
        "vrrp_gna_interval 0.001",
        |l, n| {
            l.config.global.gna_interval = interval(l, n).unwrap_or_default();
        },
    ),
    Row {
        places: &[GLOBAL],
        syntax: "vrrp_min_garp [on|off]",
        doc: "Announces each address only once: enough for modern switches.",
        example: "vrrp_min_garp",
        build: line(0, 1, |l, n| {
            l.drafts.defaults.min_garp = l.switch(n).unwrap_or(false)
        }),
    },
    Row {
        places: &[TOP],
        syntax: "garp_group { garp_interval … gna_interval … interface … }",
        doc: "Intervals between announcements on one interface, or on several that share a switch.",
        example: "garp_group {\n    garp_interval 0.01\n    interfaces {\n        eth0\n        eth1\n    }\n}",
        build: block(0, 1, group),
    },
    Row {
        places: &[GARP_GROUP],
        syntax: "garp_interval <seconds>",
        doc: "Interval between two gratuitous ARPs of the group.",
        example: "garp_interval 0.01\ninterface eth0",
        build: line(1, 1, |l, n| {
            let value = interval(l, n).unwrap_or_default();
            if let Some(group) = l.config.garp_groups.last_mut() {
                group.garp_interval = value;
            }
        }),
    },
    Row {
        places: &[GARP_GROUP],
        syntax: "gna_interval <seconds>",
        doc: "Interval between two unsolicited neighbour advertisements of the group.",
        example: "gna_interval 0.01\ninterface eth0",
        build: line(1, 1, |l, n| {
            let value = interval(l, n).unwrap_or_default();
            if let Some(group) = l.config.garp_groups.last_mut() {
                group.gna_interval = value;
            }
        }),
    },
    Row {
        places: &[GARP_GROUP],
        syntax: "interface <name>",
        doc: "The interface of the group.",
        example: "garp_interval 0.01\ninterface eth0",
        build: line(1, 1, |l, n| {
            if let Some(word) = n.argument() {
                add_interface(l, &word.text, word.span);
            }
        }),
    },
    Row {
        places: &[GARP_GROUP],
        syntax: "interfaces { <name> … }",
        doc: "Interfaces that share the intervals, because they share a switch.",
        example: "garp_interval 0.01\ninterfaces {\n    eth0\n    eth1\n}",
        build: block(0, 0, |l, n| {
            for word in n.nodes().iter().flat_map(|line| &line.words) {
                add_interface(l, &word.text, word.span);
            }
        }),
    },
];

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

fn add_interface(l: &mut Loader<'_>, name: &str, span: language::Span) {
    let other = l.config.garp_groups.split_last();
    let taken = other.is_some_and(|(last, others)| {
        last.interfaces.iter().any(|i| i == name)
            || others
                .iter()
                .any(|g| g.interfaces.iter().any(|i| i == name))
    });
    if taken {
        let message = format!("the interface '{name}' is in two garp_groups");
        l.error(&codes::DUPLICATE, span, message);
        return;
    }
    let value = name.to_owned();
    l.drafts.interfaces.push((At { value, span }, "garp_group"));
    if let Some(group) = l.config.garp_groups.last_mut() {
        group.interfaces.push(name.to_owned());
    }
}
