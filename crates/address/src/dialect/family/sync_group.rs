//! Parses `vrrp_sync_group` blocks: instances that change state together.

use super::GROUP;
use super::draft::{At, GroupDraft};
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "vrrp_sync_group <name> { group { … } … }" &[TOP], block(1, 1, group),
        "vrrp_sync_group G1 {\n    group {\n        inside\n        outside\n    }\n}",
        "Instances that move together. The priorities of its members should prefer the same machine.";
    "group { <vrrp_instance> … }" &[GROUP], block(0, 0, members),
        "group {\n    inside\n    outside\n}", "The names of the instances.";
    "global_tracking" &[GROUP], line(0, 0, |l, _| l.group.global_tracking = true),
        "global_tracking",
        "Everything that one member tracks applies to all. Obsolete: put the `track_…` blocks into the group itself.";
    "sync_group_tracking_weight" &[GROUP], line(0, 0, |l, _| l.group.tracking_weight = true),
        "sync_group_tracking_weight",
        "Members keep the weights of what they track. Otherwise these weights are 0, because different priorities \
         would separate the members.";
};

fn group(l: &mut Loader<'_>, node: &ConfigStatement) {
    let At { value: name, span } = node.named();
    l.group = GroupDraft {
        name,
        place: span,
        ..GroupDraft::default()
    };
    l.children(GROUP, node);
    let done = std::mem::take(&mut l.group);
    l.drafts.groups.push(done);
}

fn members(l: &mut Loader<'_>, node: &ConfigStatement) {
    let names = node.block_words().map(SourceWord::at);
    l.group.members.extend(names);
}
