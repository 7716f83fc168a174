//! Sends the orders of an operator about a served volume: hand it over, admit clients, adopt this
//! node's copy, serve without the other copy, and reopen after a failed flush.

use super::{find, load_volume_report, section};
use crate::command;
use crate::config::backing_words;
use crate::device::Backing;
use crate::message::VolumeOrder as OfVolume;
use crate::report::{LAST, LINK, SERVING};
use ::command::options::flag;
use ::command::status::order;
use ::command::word;
use clap::{Arg, ArgGroup, ArgMatches, Command};
use part::report::{StatusReport, Subject};
use part::status::{CompleteCopies, CopyNodes, VolumeReport, VolumeServiceState};
use std::time::{Duration, Instant};
use supervisor::directory::Instance;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);
const ADMIT_LIMIT: Duration = Duration::from_secs(10);
const REOPEN_LIMIT: Duration = Duration::from_secs(15);

pub fn commands() -> [Command; 6] {
    let name = || Arg::new("NAME").required(true).help("The volume");
    [
        Command::new("hand-over")
            .about("Move a volume to the other node")
            .long_about(
                "Moves a volume with two copies to the other node, from the node that serves it. Requests wait for \
                 some milliseconds; clients stay connected, and their requests go to the other node from then on. It \
                 is refused unless both copies are in sync.\n\nWith `--clients`, only clients of the other node may write \
                 from then on, as after `volume admit`: for a guest that moves with its volume. First stop \
                 or pause the client of this node.",
            )
            .arg(name())
            .arg(flag("clients", "Then only clients of the other node may write")),
        Command::new("admit")
            .about("Let only the clients of one node write, or those of both again")
            .long_about(
                "Lets only clients that are connected at NODE write to a volume with two copies, whichever \
                 node owns it. Pending writes of others end first; later ones fail (NBD's ESHUTDOWN). Reads \
                 are not affected. The cluster stores the setting: it also applies to the next owner, until \
                 it is changed. So a guest that was started or moved elsewhere cannot be damaged by an \
                 instance that was left behind. `--all` ends it. Run it at the owner.",
            )
            .arg(name())
            .arg(Arg::new("NODE").help("The node whose clients may write"))
            .arg(flag("all", "Clients of both nodes may write"))
            .group(ArgGroup::new("whose").args(["NODE", "all"]).required(true)),
        Command::new("adopt")
            .about("Declare this node's copy the valid one")
            .long_about(
                "Assigns the files or the device of a volume with one copy to it if their metadata names \
                 another volume: after its section and its files were renamed. \n\nDeclares this node's \
                 copy of a volume with two copies the valid one, where the cluster has no record of which \
                 copy is complete (the cluster was recreated, or the other node is not available yet), or \
                 where the copies of its record are gone: the disk of the complete one was lost, or the \
                 volume was removed and created again. It is refused while the other node serves, or is \
                 connected with a complete copy. A copy of the other node that has data is kept and refused \
                 from then on; `volume resync --discard-mine` there has it filled. It takes effect when \
                 this node has the volume's lease: `volume show` names the owner.",
            )
            .arg(name())
            .arg(flag("yes", "Use this copy")),
        Command::new("serve-alone")
            .about("Serve a volume with a copy that lost power, without the other one")
            .long_about(
                "Serves a volume with the copy of this node, although the machine lost power and the other node, which \
                 may have writes that this copy lacks, is not reachable. Use it only if the other node is \
                 permanently lost.",
            )
            .arg(name())
            .arg(flag("yes", "Serve with what this copy has")),
        Command::new("accept")
            .about("Use an incomplete volume as it is")
            .long_about(
                "A command that replaces the content of a volume (`volume restore`, `volume import`, `guest \
                 restore`, `guest import`, `guest clone`, `guest create`) marks it as incomplete before it \
                 writes, and removes the mark at its end. If it is interrupted, the volume has parts of the \
                 old and of the new content, and guests, machines of network boot and NBD clients are \
                 refused. Run the command again: when it succeeds, the volume is complete. `accept` removes \
                 the mark instead, and the volume is used as it is: its file systems may be damaged.",
            )
            .arg(name())
            .arg(flag("yes", "Use the volume as it is")),
        Command::new("reopen")
            .about("Reopen a volume with one copy after a failed flush")
            .long_about(
                "Opens a volume with one copy again, after a flush failed and the disk works again. Until then \
                 each later flush fails, because the kernel may have dropped data that it could not write. \
                 Pending requests end, and clients reconnect. They have to repeat all writes since the last \
                 successful flush: check file systems first.",
            )
            .arg(name()),
    ]
}

pub(super) fn tell(instance: &Instance, message: &OfVolume) -> Result<(), String> {
    order(instance, message.envelope()).map(drop)
}

pub fn hand_over(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let not_asked = |words| {
        format!(
            "volume '{name}' was not handed over: {words}. A node whose role does not run releases its \
             volumes: `evenkeel volume show {name}` shows the owner"
        )
    };
    let (instance, report) = load_volume_report(matches).map_err(not_asked)?;
    let subject = find(&report, &name)?;
    let volume = VolumeReport::of(subject);
    let Some(CopyNodes { local, other }) = volume.copies else {
        return Err(format!(
            "volume '{name}' has one copy: there is no other node to serve it"
        ));
    };
    if !volume.is_owner {
        return Err(not_owner(subject, &name));
    }
    if !volume.is_connected {
        let link = subject.words(LINK).unwrap_or_default();
        return Err(format!(
            "volume '{name}' was not handed over: the other copy is not connected: {link}"
        ));
    }
    if volume.complete != CompleteCopies::Both {
        return Err(format!(
            "volume '{name}' was not handed over: the other copy is not in sync"
        ));
    }
    let before = volume.only_clients_of;
    let with_clients = matches.get_flag("clients") && before != other;
    if with_clients {
        admit_clients(matches, &name, &other)?;
    }
    let refused_before = volume.refused_hand_overs;
    let failure = match move_owner(matches, &instance, &name, refused_before) {
        Ok(HandOverResult::HandedOver) => return Ok(format!("{other} serves volume {name}\n")),
        Ok(HandOverResult::Refused(event)) => format!("volume '{name}' was {event}"),
        Ok(HandOverResult::InProgress(silence)) => format!(
            "the hand-over takes longer than expected{silence}: `evenkeel volume show {name}` shows the \
             progress"
        ),
        Err(words) => words,
    };
    if !with_clients {
        return Err(failure);
    }
    // Lets the former clients write again: the hand-over failed, so the volume stays on this node.
    Err(match admit_clients(matches, &name, &before) {
        Ok(_) => failure,
        Err(error) => format!(
            "{failure}. Only clients of {other} may write now ({error}): `evenkeel volume admit {name} {local}`"
        ),
    })
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum HandOverResult {
    HandedOver,
    /// This node continues to serve, because the other copy was lost or fell behind. Contains the
    /// event as text.
    Refused(String),
    /// The hand-over had no result within [`HAND_OVER_LIMIT`]. Contains the reason if a report is
    /// missing.
    InProgress(String),
}

/// Returns a node's name as the configuration file writes it, for a name in any case.
pub(super) fn node_named(subject: &Subject, word: &str) -> String {
    let copies = VolumeReport::of(subject).copies.unwrap_or_default();
    let mut nodes = [copies.local, copies.other].into_iter();
    let node = nodes.find(|node| node.eq_ignore_ascii_case(word));
    node.unwrap_or_else(|| word.to_owned())
}

/// Lets only clients of a node write, and waits until the cluster has recorded that. Returns the
/// node's name as the configuration file writes it.
fn admit_clients(matches: &ArgMatches, name: &str, node: &str) -> Result<String, String> {
    let (instance, report) = load_volume_report(matches)?;
    let subject = find(&report, name)?;
    let volume = VolumeReport::of(subject);
    if volume.copies.is_some() && !volume.is_owner {
        return Err(not_owner(subject, name));
    }
    let (node, before) = (node_named(subject, node), volume.only_clients_of);
    let order = |node: &str| OfVolume::Admit {
        name: name.to_owned(),
        node: node.to_owned(),
    };
    tell(&instance, &order(&node))?;
    let until = Instant::now() + ADMIT_LIMIT;
    loop {
        let (_, report) = load_volume_report(matches)?;
        let subject = find(&report, name)?;
        let volume = VolumeReport::of(subject);
        if volume.only_clients_of == node {
            return Ok(node);
        }
        if !volume.is_owner {
            return Err(not_owner(subject, name));
        }
        if Instant::now() >= until {
            let happens = match tell(&instance, &order(&before)) {
                Ok(()) => "the change was withdrawn".to_owned(),
                Err(words) => format!(
                    "the change may still take effect, because it was not withdrawn: {words}"
                ),
            };
            let undo = if before.is_empty() { "--all" } else { &before };
            return Err(format!(
                "the cluster has not recorded within {} s whose clients may write to volume '{name}': {happens}. \
                 `evenkeel volume show {name}` shows whose may; `evenkeel volume admit {name} {undo}` undoes the change",
                ADMIT_LIMIT.as_secs()
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

pub fn admit(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let node = matches.get_one::<String>("NODE").cloned();
    let node = node.unwrap_or_default();
    Ok(match &*admit_clients(matches, &name, &node)? {
        "" => format!("clients of both nodes may write to volume {name}\n"),
        node => format!("only clients of {node} may write to volume {name}\n"),
    })
}

/// Orders the role to move the ownership to the other node, and waits for the result. A refused
/// hand-over is `Ok(Refused)`, and one without a result in time `Ok(InProgress)`.
///
/// # Errors
/// The order cannot be sent, or the role does not accept it.
fn move_owner(
    matches: &ArgMatches,
    instance: &Instance,
    name: &str,
    refused_before: u64,
) -> Result<HandOverResult, String> {
    let order = OfVolume::HandOver {
        name: name.to_owned(),
    };
    tell(instance, &order)?;
    let until = Instant::now() + HAND_OVER_LIMIT;
    loop {
        std::thread::sleep(LOOK_EVERY);
        // Ignores a missing report until the deadline: the role may restart meanwhile.
        let result = load_volume_report(matches)
            .and_then(|(_, report)| ended(&report, name, refused_before));
        let silence = match result {
            Ok(Some(result)) => return Ok(result),
            Ok(None) => String::new(),
            Err(words) => format!(" ({words})"),
        };
        if Instant::now() >= until {
            return Ok(HandOverResult::InProgress(silence));
        }
    }
}

pub(super) fn not_owner(subject: &Subject, name: &str) -> String {
    match VolumeReport::of(subject).owner.as_str() {
        "" => {
            format!(
                "volume '{name}' has no owner now: {}. Nothing was changed",
                subject.why
            )
        }
        owner => format!(
            "this node does not serve volume '{name}': its owner is {owner}. Run the command there"
        ),
    }
}

/// Returns the result of a hand-over if it has ended. The other node serves as soon as the copy of
/// this node follows it.
fn ended(
    report: &StatusReport,
    name: &str,
    refused_before: u64,
) -> Result<Option<HandOverResult>, String> {
    let subject = find(report, name)?;
    let volume = VolumeReport::of(subject);
    let other = volume.copies.unwrap_or_default().other;
    let follows = matches!(
        volume.state,
        VolumeServiceState::Following | VolumeServiceState::Filling
    );
    if follows && volume.owner == other {
        return Ok(Some(HandOverResult::HandedOver));
    }
    // Counts only a refusal after this order.
    let is_refused = volume.refused_hand_overs > refused_before;
    let event = || subject.words(LAST).unwrap_or_default();
    Ok(is_refused.then(|| HandOverResult::Refused(event())))
}

pub fn adopt(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (_, report) = load_volume_report(matches)?;
    if VolumeReport::of(find(&report, &name)?).copies.is_none() {
        let (spec, _) = section(matches, &name)?;
        return rename(matches, &name, &spec.backing);
    }
    confirmed(
        matches,
        |name| OfVolume::Adopt { name },
        "this node's copy becomes the valid one. Writes that only the other node has are no longer served; \
         its copy, if it has data, is refused and kept there",
    )
}

/// Renames a volume with one copy whose metadata contain another name. The volume role is not
/// involved: it refuses to open such a volume.
fn rename(matches: &ArgMatches, name: &str, backing: &Backing) -> Result<String, String> {
    let opened = command::open(name, backing).map_err(|error| error.to_string())?;
    let found = opened.name().filter(|found| *found != name);
    let Some(found) = found.map(str::to_owned) else {
        return Err(format!(
            "volume '{name}' already has its own data: there is nothing to adopt"
        ));
    };
    let at = backing_words(backing);
    if !matches.get_flag("yes") {
        return Err(format!(
            "not confirmed, nothing was changed. With `--yes`, volume '{name}' gets the data of volume '{found}' in {at}"
        ));
    }
    opened
        .rename(name, backing)
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "volume {name} now has the data of volume {found} in {at}; it is served within a few seconds\n"
    ))
}

pub fn serve_alone(matches: &ArgMatches) -> Result<String, String> {
    confirmed(
        matches,
        |name| OfVolume::ServeAlone { name },
        "this copy is served; writes that only the other node has are lost",
    )
}

pub fn reopen(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_volume_report(matches)?;
    let before = find(&report, &name)?.since;
    tell(&instance, &OfVolume::Reopen { name: name.clone() })?;
    let until = Instant::now() + REOPEN_LIMIT;
    loop {
        std::thread::sleep(LOOK_EVERY);
        let (_, report) = load_volume_report(matches)?;
        let subject = find(&report, &name)?;
        if subject.since != before && subject.value(SERVING) == Some(1) {
            return Ok(format!("volume {name} is served again\n"));
        }
        if Instant::now() >= until {
            let why = Some(&subject.why).filter(|why| !why.is_empty());
            return Err(format!(
                "volume '{name}' is not served again yet: it is {}{}",
                subject.state.word,
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ));
        }
    }
}

/// Executes an order that needs `--yes`; without it, describes the consequences.
fn confirmed(
    matches: &ArgMatches,
    order: fn(String) -> OfVolume,
    happens: &str,
) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_volume_report(matches)?;
    if VolumeReport::of(find(&report, &name)?).copies.is_none() {
        return Err(format!(
            "volume '{name}' has one copy: this command is for volumes with two"
        ));
    }
    if !matches.get_flag("yes") {
        return Err(format!(
            "not confirmed, nothing was changed. With `--yes`, volume '{name}': {happens}"
        ));
    }
    tell(&instance, &order(name.clone()))?;
    Ok(format!(
        "requested; `evenkeel volume show {name}` shows the progress\n"
    ))
}
