//! Parses the blocks of addresses, routes and rules (those of instances and static ones), track
//! groups, delays of interfaces, and the list of interfaces whose carrier is polled.

use super::draft::At;
use super::{INSTANCE, TRACK_GROUP, address, route, rule};
use crate::codes;
use crate::config::InterfaceDelay;
use crate::dialect::keyword::{Row, TOP, block};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;

/// Maximum number of lines of a block. Further lines are ignored.
const LINES_MAX: usize = 65_536;
/// Maximum delay of an interface, in microseconds.
const DELAY_MAX_US: u64 = 255_000_000;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "virtual_ipaddress { <address>[/<prefix>] [brd <address>] [dev <interface>] [scope <scope>] [label <label>] [peer \
          <address>] [home] [-nodad] [mngtmpaddr] [noprefixroute] [autojoin] [no_track] [preferred_lft <seconds>|forever] \
          [use_vmac] … }" &[INSTANCE],
        block(0, 0, |l, n| lines(l, n, address::read, |l| &mut l.instance.addresses)),
        "virtual_ipaddress {\n    192.0.2.10/24\n    192.0.2.11/24 label eth0:vip\n}",
        "The virtual addresses, one per line, all of one family; adverts name them. Put those of the other family into \
         `virtual_ipaddress_excluded`.";
    "virtual_ipaddress_excluded { <address>[/<prefix>] … }" &[INSTANCE],
        block(0, 0, |l, n| lines(l, n, address::read, |l| &mut l.instance.excluded)),
        "virtual_ipaddress_excluded {\n    2001:db8::10/64\n}",
        "Additional virtual addresses that adverts do not name: hundreds of them, or those of the other family.";
    "virtual_routes { <network> via <address> dev <interface> … }" &[INSTANCE],
        block(0, 0, |l, n| lines(l, n, route::read, |l| &mut l.instance.routes)),
        "virtual_routes {\n    198.51.100.0/24 via 192.0.2.1 dev eth0\n}",
        "Routes that only the owner has, in the syntax of `ip route add`.";
    "virtual_rules { from <network> table <table> preference <number> … }" &[INSTANCE],
        block(0, 0, |l, n| lines(l, n, rule::read, |l| &mut l.instance.rules)),
        "virtual_rules {\n    from 192.0.2.0/24 table 100 preference 100\n}",
        "Routing rules that only the owner has, in the syntax of `ip rule add`.";
    "static_ipaddress { <address>[/<prefix>] dev <interface> … }" &[TOP],
        block(0, 0, |l, n| lines(l, n, address::read, |l| &mut l.drafts.static_addresses)),
        "static_ipaddress {\n    192.0.2.1/24 dev eth0\n}",
        "Static addresses of this machine. Those without `dev` are added to `default_interface`.";
    "static_routes { <network> via <address> dev <interface> … }" &[TOP],
        block(0, 0, |l, n| lines(l, n, route::read, |l| &mut l.drafts.static_routes)),
        "static_routes {\n    198.51.100.0/24 via 192.0.2.1 dev eth0\n}",
        "Static routes of this machine.";
    "static_rules { from <network> table <table> preference <number> … }" &[TOP],
        block(0, 0, |l, n| lines(l, n, rule::read, |l| &mut l.drafts.static_rules)),
        "static_rules {\n    from 192.0.2.0/24 table 100 preference 100\n}",
        "Static routing rules of this machine.";
    "track_group <name> { group { <vrrp_instance> … } }" &[TOP], block(1, 1, track_group),
        "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    virtual_ipaddress \
         {\n        192.0.2.10/24\n    }\n}\ntrack_group TG {\n    group {\n        VI_1\n    }\n}",
        "Instances that enter FAULT when a static address, route or rule of this group is removed.";
    "group { <vrrp_instance> … }" &[TRACK_GROUP],
        block(0, 0, |l, n| {
            if let Some(group) = l.drafts.track_groups.last_mut() {
                group.value.1.extend(n.block_words().map(SourceWord::at));
            }
        }),
        "group {\n}",
        "The names of the instances.";
    "interface_up_down_delays { <interface> <down seconds> [<up seconds>] … }" &[TOP],
        block(0, 0, delays),
        "interface_up_down_delays {\n    eth0 0.5 2\n}",
        "Time for which an interface must be down, or up, before the change counts. The down delay must be shorter \
         than the time for missing adverts; otherwise two machines own the addresses meanwhile.";
    "linkbeat_interfaces { <interface> [MII|ETHTOOL|IOCTL] … }" &[TOP], block(0, 0, linkbeat),
        "linkbeat_interfaces {\n    eth0 ETHTOOL\n}",
        "Interfaces whose carrier is polled, for drivers that do not report it. The kernel selects the method, so the \
         second word has no effect.";
};

type Read<T> = fn(&mut Loader<'_>, &ConfigStatement, &str) -> Option<At<T>>;

/// Parses the lines of a block, and appends the valid ones to a list.
fn lines<T>(
    l: &mut Loader<'_>,
    block: &ConfigStatement,
    read: Read<T>,
    list: for<'l> fn(&'l mut Loader<'_>) -> &'l mut Vec<At<T>>,
) {
    let (name, lines) = (l.keyword, block.nodes().iter().take(LINES_MAX));
    let found: Vec<At<T>> = lines.filter_map(|line| read(l, line, name)).collect();
    list(l).extend(found);
}

fn track_group(l: &mut Loader<'_>, node: &ConfigStatement) {
    let At { value: name, span } = node.named();
    let value = (name, Vec::new());
    l.drafts.track_groups.push(At { value, span });
    l.children(TRACK_GROUP, node);
}

fn delays(l: &mut Loader<'_>, node: &ConfigStatement) {
    for line in node.nodes().iter().take(LINES_MAX) {
        let Some(name) = line.words.first() else {
            continue;
        };
        let Some(down) = line.argument() else {
            let message = format!("the delay of '{}' is missing", name.text);
            l.error(&codes::MISSING_VALUE, name.span, message);
            continue;
        };
        let Some(down) = l.timer(down, 0..=DELAY_MAX_US) else {
            continue;
        };
        let up = match line.arguments().get(1) {
            Some(word) => l.timer(word, 0..=DELAY_MAX_US).unwrap_or(down),
            None => down,
        };
        l.drafts
            .require_interface(name.at(), "interface_up_down_delays");
        l.drafts.delays.push(line.whole());
        l.config.interface_delays.push(InterfaceDelay {
            interface: name.text.clone(),
            down,
            up,
        });
    }
}

fn linkbeat(l: &mut Loader<'_>, node: &ConfigStatement) {
    for line in node.nodes().iter().take(LINES_MAX) {
        let Some(name) = line.words.first() else {
            continue;
        };
        if let Some(kind) = line.argument() {
            let kinds = [("MII", ()), ("ETHTOOL", ()), ("IOCTL", ())];
            if l.choice(kind, &kinds).is_some() {
                let message = format!("'{}' has no effect", kind.text);
                let why = "the kernel reads the carrier with the driver's own method";
                l.so_anyway(kind.span, message, why);
            }
        }
        l.drafts.require_interface(name.at(), "linkbeat_interfaces");
        l.config.polled_interfaces.push(name.text.clone());
    }
}
