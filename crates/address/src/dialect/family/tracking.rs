//! Parses the `track_*` blocks of instances and sync groups: references to tracked objects, with
//! weights.

use super::draft::{At, Reference, References};
use super::{GROUP, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Row, block};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::{Diagnostic, suggest};

/// Maximum number of tracked objects of one kind.
const TRACKED_MAX: usize = 10_000;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "track_interface { <name> [weight <-253..253>] [reverse] … }" &[INSTANCE, GROUP],
        block(0, 0, |l, n| {
            let found = references(l, n, 253);
            for one in &found {
                l.drafts.require_interface(one.name.clone(), "track_interface");
            }
            tracked(l).interfaces.extend(found);
        }),
        "track_interface {\n    eth0\n    eth1 weight -10\n}",
        "Interfaces whose failure is a fault of the instance. With a weight it only changes the priority: a positive \
         weight is added while the interface is up, a negative one while it is down.";
    "track_script { <vrrp_script> [weight <-253..253>] [reverse|noreverse] … }" &[INSTANCE, GROUP],
        block(0, 0, |l, n| track(l, n, 253, |r| &mut r.scripts)),
        "track_script {\n    check weight 10\n}",
        "Scripts whose failure is a fault or, with `weight`, changes the priority. The default weight is that of the \
         `vrrp_script`.";
    "track_file { <track_file> [weight <-254..254>] [reverse|noreverse] … }" &[INSTANCE, GROUP],
        block(0, 0, |l, n| track(l, n, 254, |r| &mut r.files)),
        "track_file {\n    maintenance weight 0\n}",
        "Files whose number, multiplied by the weight, is added to the priority. With weight 0 every number except 0 \
         is a fault.";
    "track_process { <vrrp_track_process> [weight <-254..254>] [reverse|noreverse] … }" &[INSTANCE, GROUP],
        block(0, 0, |l, n| track(l, n, 254, |r| &mut r.processes)),
        "track_process {\n    haproxy weight 20\n}",
        "Processes that must run, or with a weight change the priority.";
    "track_bfd { <bfd_instance> [weight <-253..253>] [reverse|noreverse] … }" &[INSTANCE, GROUP],
        block(0, 0, |l, n| track(l, n, 253, |r| &mut r.bfd)),
        "track_bfd {\n    peer weight -20\n}",
        "BFD sessions whose failure is a fault or, with `weight`, changes the priority.";
};

/// Adds the lines of a block to the references of the instance or the group.
fn track(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    weight_max: i64,
    of: fn(&mut References) -> &mut Vec<Reference>,
) {
    let found = references(l, node, weight_max);
    of(tracked(l)).extend(found);
}

fn tracked<'l>(l: &'l mut Loader<'_>) -> &'l mut References {
    match l.place {
        GROUP => &mut l.group.references,
        _ => &mut l.instance.references,
    }
}

fn references(l: &mut Loader<'_>, node: &ConfigStatement, weight_max: i64) -> Vec<Reference> {
    let mut all = Vec::new();
    for line in node.nodes() {
        let Some(first) = line.words.first() else {
            continue;
        };
        let mut reference = Reference {
            name: first.at(),
            weight: None,
            reverse: None,
        };
        let mut words = line.arguments().iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "weight" => match words.next() {
                    Some(value) => {
                        let span = value.span;
                        let weight = l.small(value, -weight_max..=weight_max);
                        reference.weight = weight.map(|value| At { value, span });
                    }
                    None => l.error(
                        &codes::MISSING_VALUE,
                        word.span,
                        "the number after 'weight' is missing",
                    ),
                },
                "reverse" => reference.reverse = Some(true),
                "noreverse" | "no_reverse" => reference.reverse = Some(false),
                other => {
                    let near = suggest::nearest(other, ["weight", "reverse", "noreverse"]);
                    let told = Diagnostic::error(
                        &codes::UNKNOWN_KEYWORD,
                        word.span,
                        format!("unknown word '{other}' in '{}'", node.name()),
                    );
                    l.report(match near {
                        Some(_) => told.did_you_mean(word.span, near),
                        None => told.help("write one name per line"),
                    });
                    break;
                }
            }
        }
        if all.len() < TRACKED_MAX {
            all.push(reference);
        }
    }
    all
}
