//! Checks sync groups (unique names, existing members, each instance in one group only) and adds
//! them to the configuration.

use super::{resolve, unknown};
use crate::codes;
use crate::config::SyncGroup;
use crate::dialect::family::draft::{At, InstanceDraft};
use crate::dialect::loader::Loader;
use language::Diagnostic;
use std::collections::{HashMap, HashSet};

/// Returns the instances that are in a sync group, each with the group's `tracking_weight`, and
/// reports duplicate groups, unknown members, and instances in two groups.
pub(super) fn members(l: &mut Loader<'_>, drafts: &[InstanceDraft]) -> HashMap<String, bool> {
    let names: Vec<String> = drafts.iter().map(|d| d.name.clone()).collect();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut groups = std::mem::take(&mut l.drafts.groups);
    let mut taken: HashMap<String, At<String>> = HashMap::new();
    let mut members = HashMap::new();
    let mut seen: HashMap<String, language::Span> = HashMap::new();
    for group in &mut groups {
        if let Some(before) = seen.insert(group.name.clone(), group.place) {
            let message = format!("duplicate 'vrrp_sync_group {}'", group.name);
            l.report(
                Diagnostic::error(&codes::DUPLICATE, group.place, message)
                    .label("second definition")
                    .with_label(before, "first defined here"),
            );
        }
        if group.members.is_empty() {
            let message = format!("'vrrp_sync_group {}' has no members", group.name);
            l.report(
                Diagnostic::error(&codes::MISSING_VALUE, group.place, message)
                    .help("add them in 'group { … }'"),
            );
        }
        for member in &group.members {
            if !known.contains(member.value.as_str()) {
                unknown(l, member, "vrrp_instance", &names);
                continue;
            }
            members.insert(member.value.clone(), group.tracking_weight);
            let own = At {
                value: group.name.clone(),
                span: member.span,
            };
            if let Some(other) = taken.insert(member.value.clone(), own) {
                let message = if other.value == group.name {
                    format!("'{}' is twice in the group '{}'", member.value, group.name)
                } else {
                    format!(
                        "'{}' is in two sync groups, '{}' and '{}'",
                        member.value, other.value, group.name
                    )
                };
                l.report(
                    Diagnostic::error(&codes::MEMBER_TWICE, member.span, message)
                        .with_label(other.span, "first named here"),
                );
            }
        }
        if let [only] = &group.members[..] {
            let message = format!("the sync group '{}' has only one member", group.name);
            l.report(Diagnostic::warning(
                &codes::LONELY_GROUP,
                only.span,
                message,
            ));
        }
    }
    l.drafts.groups = groups;
    members
}

/// Adds the sync groups to the configuration.
pub(super) fn finish(l: &mut Loader<'_>, disabled: &HashSet<String>) {
    for group in std::mem::take(&mut l.drafts.groups) {
        let tracked = resolve(l, &group.references, disabled, None);
        l.config.groups.push(SyncGroup {
            name: group.name,
            members: group.members.into_iter().map(|m| m.value).collect(),
            tracked,
            notify: group.notify,
            smtp_alert: group.smtp_alert,
            notify_priority_changes: group.notify_priority_changes,
            tracking_weight: group.tracking_weight,
            global_tracking: group.global_tracking,
        });
    }
}
