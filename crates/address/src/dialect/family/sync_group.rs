//! `vrrp_sync_group`: instances that move together.

use super::GROUP;
use super::draft::{At, GroupDraft};
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        places: &[TOP],
        syntax: "vrrp_sync_group <name> { group { … } … }",
        doc: "Instances that move together. The priorities of its members should prefer the same machine.",
        example: "vrrp_sync_group G1 {\n    group {\n        inside\n        outside\n    }\n}",
        build: block(1, 1, group),
    },
    Row {
        places: &[GROUP],
        syntax: "group { <vrrp_instance> … }",
        doc: "The names of the instances.",
        example: "group {\n    inside\n    outside\n}",
        build: block(0, 0, members),
    },
    Row {
        places: &[GROUP],
        syntax: "global_tracking",
        doc: "Everything that one member tracks applies to all. Obsolete: put the `track_…` blocks into the group \
            itself.",
        example: "global_tracking",
        build: line(0, 0, |l, _| l.group.global_tracking = true),
    },
    Row {
        places: &[GROUP],
        syntax: "sync_group_tracking_weight",
        doc: "Members keep the weights of what they track. Otherwise these weights are 0, because different \
            priorities would separate the members.",
        example: "sync_group_tracking_weight",
        build: line(0, 0, |l, _| l.group.tracking_weight = true),
    },
];

fn group(l: &mut Loader<'_>, node: &ConfigStatement) {
    let name = node.argument().cloned().unwrap_or_default();
    l.group = GroupDraft {
        name: name.text,
        place: node.argument().map_or(node.place(), |w| w.span),
        ..GroupDraft::default()
    };
    l.children(GROUP, node);
    let done = std::mem::take(&mut l.group);
    l.drafts.groups.push(done);
}

fn members(l: &mut Loader<'_>, node: &ConfigStatement) {
    let words = node.nodes().iter().flat_map(|line| &line.words);
    l.group.members.extend(words.map(|word| At {
        value: word.text.clone(),
        span: word.span,
    }));
}
