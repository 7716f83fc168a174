//! `notify`: programs that run on a change of state.

use super::draft::{Draft, VirtualIp, Written};
use super::track::program;
use super::{Row, codes};
use crate::config::{Notify, NotifyScripts};
use crate::dialect::{NoAccount, account_of};
use crate::programs;
use language::Diagnostic;
use language::arguments::{Args, Built};

type Slot = fn(&mut NotifyScripts) -> &mut Option<Notify>;

/// Takes a program in; the first of the words that a state has.
fn told(draft: &mut Draft, args: &mut Args<'_>, slot: Slot) -> Built {
    let word = args.required("a program")?;
    let words = program(draft, args, word)?;
    args.end()?;
    let virtual_ip = draft.virtual_ip();
    virtual_ip.programs.commands.push(Written {
        value: words.clone(),
        span: word.span,
    });
    let slot = slot(&mut virtual_ip.programs.notify);
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

fn script_user(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    let word = args.required("a user")?;
    let group = args.next().map(|word| word.text().into_owned());
    args.end()?;
    let virtual_ip = draft.virtual_ip();
    virtual_ip.once("'script-user'", word.span)?;
    virtual_ip.programs.user = Some(Written {
        value: (word.text().into_owned(), group),
        span: word.span,
    });
    Ok(())
}

/// Gives the programs of a section their user, and refuses those that others can change where they
/// run as root. Of a file from elsewhere, nothing is known of users and programs.
pub(super) fn secure(draft: &mut Draft, virtual_ip: &mut VirtualIp) {
    if draft.host.name.is_none() {
        return;
    }
    let account = match &virtual_ip.programs.user {
        None => None,
        Some(Written { value, span }) => {
            let (user, group) = value;
            match account_of(user, group.as_deref()) {
                Ok(account) => Some(account),
                Err(missing) => {
                    let missing = match (missing, group) {
                        (NoAccount::Group, Some(group)) => format!("group '{group}'"),
                        _ => format!("user '{user}'"),
                    };
                    let told = format!("'script-user': there is no {missing}");
                    let told = Diagnostic::error(&codes::NO_USER, *span, told);
                    return draft.tell(told.help("create it on every node, or name another one"));
                }
            }
        }
    };
    for script in &mut virtual_ip.programs.scripts {
        script.account.clone_from(&account);
    }
    let notify = &mut virtual_ip.programs.notify;
    let all = [
        &mut notify.any,
        &mut notify.master,
        &mut notify.backup,
        &mut notify.fault,
        &mut notify.stop,
    ];
    for one in all.into_iter().flatten() {
        one.account.clone_from(&account);
    }
    let is_root = account.is_none_or(|account| account.uid == 0);
    if !is_root || !rustix::process::geteuid().is_root() {
        return;
    }
    for program in &virtual_ip.programs.commands {
        let Some(part) = programs::changeable(&program.value) else {
            continue;
        };
        let (name, part) = (program.value.join(" "), part.display());
        let told = format!("'{name}' runs as root, and users other than root can change {part}");
        let told = Diagnostic::error(&codes::CHANGEABLE, program.span, told);
        let told = told.label("a user who can change it would be root");
        draft.tell(told.help(format!(
            "run `chown root:root {part}` and `chmod go-w {part}`, or add a line `script-user USER`"
        )));
    }
}

pub(super) static LINES: &[Row] = &[
    Row {
        places: &["virtual-ip"],
        syntax: "script-user <user> [<group>]",
        doc: "The user as whom the programs of `notify` and `track script` of this section run, root without it. A \
            program that runs as root must not be changeable by anybody else: neither its file nor any directory or \
            link on the way to it, nor the script that it names as an interpreter. Such a program is refused, and not \
            started if that changes later.",
        example: "script-user nobody",
        build: script_user,
    },
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
