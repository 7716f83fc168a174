//! `notify`: programs that run on a change of state.

use super::draft::Draft;
use super::track::program;
use super::{Row, codes};
use crate::config::{Notify, NotifyScripts};
use language::Diagnostic;
use language::arguments::{Args, Built};

type Slot = fn(&mut NotifyScripts) -> &mut Option<Notify>;

/// Takes a program in; the first of the words that a state has.
fn told(draft: &mut Draft, args: &mut Args<'_>, slot: Slot) -> Built {
    let word = args.required("a program")?;
    let words = program(draft, args, word)?;
    args.end()?;
    let slot = slot(&mut draft.virtual_ip().notify);
    if slot.is_some() {
        let told = format!("'{}' may appear only once in a section", args.keyword);
        return Err(Diagnostic::error(&codes::TWICE, word.span, told)
            .help("let one program start the other one"));
    }
    *slot = Some(Notify {
        words,
        account: None,
    });
    Ok(())
}

fn any(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.any)
}

fn master(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.master)
}

fn backup(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.backup)
}

fn fault(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.fault)
}

fn stop(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.stop)
}

pub(super) static LINES: &[Row] = &[
    Row {
        places: &["virtual-ip"],
        syntax: "notify <program>",
        doc: "Starts this program at each change of state, without a shell. The role never waits for it. It appends \
            four arguments: the word `INSTANCE`, the section name, the new state (`MASTER`, `BACKUP`, `FAULT`, \
            `STOP`) and the priority.",
        example: "notify \"/bin/true changed\"",
        build: any,
    },
    Row {
        places: &["virtual-ip"],
        syntax: "notify master <program>",
        doc: "Starts this program when this machine takes the addresses, with the arguments of `notify` after its own.",
        example: "notify master /bin/true",
        build: master,
    },
    Row {
        places: &["virtual-ip"],
        syntax: "notify backup <program>",
        doc: "Starts this program when another machine owns the addresses, with the arguments of `notify` after its \
            own.",
        example: "notify backup /bin/true",
        build: backup,
    },
    Row {
        places: &["virtual-ip"],
        syntax: "notify fault <program>",
        doc: "Starts this program when this machine can no longer own the addresses: an interface is down, or \
            something tracked failed. The arguments of `notify` follow its own.",
        example: "notify fault /bin/true",
        build: fault,
    },
    Row {
        places: &["virtual-ip"],
        syntax: "notify stop <program>",
        doc: "Starts this program when the role stops, with the arguments of `notify` after its own.",
        example: "notify stop /bin/true",
        build: stop,
    },
];
