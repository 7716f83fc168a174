//! Parses the lines of a `node` section that concern guests: fencing methods and capacity.

use super::section::ParsedSections;
use super::words::memory;
use super::{GuestLineBuilder, codes};
use crate::config::Room;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::{ConfigLine, Diagnostic, Span, Spanned};
use part::power::control::PowerControl;
use part::power::line;
use std::path::PathBuf;

const FENCES_MAX: usize = 8;
const CPUS_MAX: u32 = 65_536;

/// Section `node`. The part that owns the section checks its first line.
#[derive(Debug)]
pub(super) struct NodeSection {
    /// Name of the node; None: the host name of the machine.
    pub(super) name: Option<String>,
    pub(super) fences: Vec<PowerControl>,
    pub(super) watchdog: Option<Spanned<PathBuf>>,
    pub(super) room: Option<Spanned<Room>>,
    pub(super) has_refused_fence: bool,
}

pub(super) fn begin(draft: &mut ParsedSections, head: &ConfigLine) -> Built {
    draft.nodes.push(NodeSection {
        name: head.word(1).map(|word| word.text().into_owned()),
        fences: Vec::new(),
        watchdog: None,
        room: None,
        has_refused_fence: false,
    });
    Ok(())
}

fn section(draft: &mut ParsedSections, span: Span) -> Result<&mut NodeSection, Diagnostic> {
    let missing = || Diagnostic::error(&codes::UNKNOWN, span, "no node section has begun");
    draft.nodes.last_mut().ok_or_else(missing)
}

fn fence(
    draft: &mut ParsedSections,
    args: &mut Args<'_>,
    read: fn(&mut Args<'_>) -> Result<PowerControl, Diagnostic>,
) -> Built {
    let node = section(draft, args.line().span)?;
    node.has_refused_fence = true;
    if node.fences.len() >= FENCES_MAX {
        let told = format!("a node has at most {FENCES_MAX} lines 'fence'");
        return Err(Diagnostic::error(&codes::TOO_MANY, args.line().span, told));
    }
    let fence = read(args)?;
    args.end()?;
    node.fences.push(fence);
    node.has_refused_fence = false;
    Ok(())
}

fn watchdog(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let node = section(draft, span)?;
    if let Some(first) = &node.watchdog {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    node.has_refused_fence = true;
    let value = args.absolute_path("a device")?.value;
    args.end()?;
    node.has_refused_fence = false;
    node.watchdog = Some(Spanned { value, span });
    Ok(())
}

fn room(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let node = section(draft, span)?;
    if let Some(first) = &node.room {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    if args.peek().is_none() {
        args.required("`memory` or `cpus`")?;
    }
    let mut room = Room::default();
    args.options(&["memory", "cpus"], &[], &codes::TWICE, |option, args| {
        match option {
            "memory" => room.memory_bytes = Some(memory(args)?.value),
            _ => room.cpus = Some(args.count("a number", 1..=CPUS_MAX)?),
        }
        Ok(())
    })?;
    node.room = Some(Spanned { value: room, span });
    Ok(())
}

pub(super) static LINES: &[Keyword<GuestLineBuilder>] = language::rows! {
    "fence ipmi <address> user <name> password-file <file> [cipher <number>]" &["node"],
        |draft, args| fence(draft, args, |args| line::ipmi(args, &codes::TWICE)),
        "fence ipmi 10.99.0.11 user admin password-file /etc/evenkeel/ipmi",
        "How the other nodes power this node off before they start its guests: by its management controller, IPMI over \
         LAN (`ipmitool -I lanplus`). The file holds the password, and every other node needs it. `cipher` is the \
         number of the cipher suite (17, or 3 for older controllers). Without it `ipmitool` asks the controller first, \
         and waits for some seconds where that does not know the question. Several lines `fence` of a node are tried \
         in their order until one succeeds.";
    "fence exec <program> [<argument>…]" &["node"],
        |draft, args| fence(draft, args, |args| { line::program(args).map(PowerControl::Exec) }),
        "fence exec /usr/local/sbin/off alpha",
        "Powers this node off with a program, which another node runs without a shell. It has to end with exit code 0 \
         only once the node is off.";
    "fence agent <agent> [<name>=<value>…]" &["node"],
        |draft, args| fence(draft, args, |args| line::agent(args, &codes::TWICE)),
        "fence agent fence_apc ip=10.99.0.12 plug=3",
        "Powers this node off with an agent of the package fence-agents, which another node runs with these options \
         and the action `off`. The manual page of the agent lists its options. A password in an option becomes part of \
         the version and of its history; most agents have `password_script` for one in a file.";
    "fence watchdog <device>" &["node"], watchdog, "fence watchdog /dev/watchdog",
        "A watchdog of this node, which resets it if the guest role does not feed it. So a node that hangs is down \
         before its guests start elsewhere, without a path to power it off. It works together with other lines \
         `fence`.";
    "room [memory <size>] [cpus <number>]" &["node"], room, "room memory 56g cpus 12",
        "What this node has for guests. Without `memory`, that is the memory of the machine less a reserve; without \
         `cpus`, processors are not counted. A guest for which no node has room stays down and is reported.";
};
