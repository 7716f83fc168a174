//! Parses the section `guest`: its first line, and the lines for placement and start order.

use super::check::Check;
use super::machine::Nic;
use super::node::NodeSection;
use super::words::time_ms;
use super::{GuestLineBuilder, codes};
use crate::config::{Boot, Console, Disk, Firmware, Migrate, STOP_MS};
use language::arguments::{Args, Built, section_name};
use language::keyword::Keyword;
use language::section::{self, GivenLines, once};
use language::{ConfigLine, Diagnostic, Span, Spanned};
use std::ops::RangeInclusive;
use std::path::PathBuf;

const SECTIONS_MAX: usize = 256;
const NODES_MAX: usize = 16;
/// Highest priority; the lowest is its negative.
const PRIORITY_MAX: i64 = 1000;
/// Bounds of the time that a guest may take to shut down, milliseconds.
const STOP_MS_RANGE: RangeInclusive<u32> = 1_000..=crate::config::STOP_MS_MAX;

#[derive(Debug)]
pub(super) struct GuestSection {
    pub(super) name: Spanned<String>,
    pub(super) prefer: Vec<Spanned<String>>,
    pub(super) memory: Option<Spanned<u64>>,
    pub(super) cpus: Option<Spanned<u32>>,
    pub(super) disks: Vec<Spanned<Disk>>,
    pub(super) nics: Vec<Nic>,
    pub(super) boot: Option<Spanned<Boot>>,
    pub(super) user_data: Option<Spanned<PathBuf>>,
    pub(super) check: Option<Check>,
    pub(super) plain: Plain,
    pub(super) others: Others,
    pub(super) given: GivenLines,
}

/// Settings whose position in the file need not be known.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) firmware: Firmware,
    pub(super) console: Console,
    pub(super) migrate: Migrate,
    pub(super) stop_ms: u64,
    pub(super) priority: i32,
    pub(super) fails_back: bool,
    pub(super) template: Option<Span>,
}

#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) after: Vec<Spanned<String>>,
    pub(super) beside: Vec<Spanned<String>>,
    pub(super) apart: Vec<Spanned<String>>,
}

impl GuestSection {
    pub(super) fn is_template(&self) -> bool {
        self.plain.template.is_some()
    }
}

language::named_section!(GuestSection, "guest", "the guest's name", SECTIONS_MAX);

#[derive(Debug, Default)]
pub(super) struct ParsedSections {
    pub(super) guests: Vec<GuestSection>,
    pub(super) nodes: Vec<NodeSection>,
}

pub(super) fn begin(draft: &mut ParsedSections, head: &ConfigLine) -> Built {
    let name = section::begin(&draft.guests, head)?;
    draft.guests.push(GuestSection {
        name,
        prefer: Vec::new(),
        memory: None,
        cpus: None,
        disks: Vec::new(),
        nics: Vec::new(),
        boot: None,
        user_data: None,
        check: None,
        plain: Plain {
            firmware: Firmware::default(),
            console: Console::default(),
            migrate: Migrate::default(),
            stop_ms: STOP_MS,
            priority: 0,
            fails_back: false,
            template: None,
        },
        others: Others::default(),
        given: GivenLines::default(),
    });
    Ok(())
}

fn prefer(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "prefer")?;
    args.required("the name of a node")?;
    for word in &args.line().words[1..] {
        if guest.prefer.len() >= NODES_MAX {
            let told = format!("a guest has at most {NODES_MAX} nodes");
            return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told));
        }
        guest.prefer.push(Spanned::new(
            section_name("node", word, &codes::VALUE)?.to_owned(),
            word.span,
        ));
    }
    args.rest();
    Ok(())
}

fn names(args: &mut Args<'_>) -> Result<Vec<Spanned<String>>, Diagnostic> {
    let first = args.required("the name of a guest")?;
    let rest = args.rest().iter();
    let names = std::iter::once(first)
        .chain(rest)
        .map(|word| Spanned::new(word.text().into_owned(), word.span));
    Ok(names.collect())
}

fn start_order(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "start-order after")?;
    guest.others.after = names(args)?;
    Ok(())
}

fn beside(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "beside")?;
    guest.others.beside = names(args)?;
    Ok(())
}

fn apart(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "apart")?;
    guest.others.apart = names(args)?;
    Ok(())
}

fn priority(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "priority")?;
    let priority = args.integer("a number", -PRIORITY_MAX..=PRIORITY_MAX)?;
    args.end()?;
    guest.plain.priority = i32::try_from(priority).unwrap_or_default();
    Ok(())
}

fn fail_back(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "fail-back")?;
    guest.plain.fails_back = args.choice(&[("yes", true), ("no", false)])?;
    args.end()
}

fn template(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let guest = once(&mut draft.guests, args, "template")?;
    let is = args.choice(&[("yes", true), ("no", false)])?;
    guest.plain.template = is.then_some(span);
    args.end()
}

fn migrate(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "migrate")?;
    let choices = [
        ("live", Migrate::Live),
        ("cold", Migrate::Cold),
        ("never", Migrate::Never),
    ];
    guest.plain.migrate = args.choice(&choices)?;
    args.end()
}

fn stop_timeout(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "stop-timeout")?;
    guest.plain.stop_ms = time_ms(args, STOP_MS_RANGE, "not between 1s and 24h")?;
    args.end()
}

pub(super) static LINES: &[Keyword<GuestLineBuilder>] = language::rows! {
    "prefer <node> [<node>…]" &["guest"], prefer, "prefer alpha beta",
        "The nodes on which the guest may run, the best first. Required if the file has `node` sections or belongs to \
         a cluster; otherwise the machine that reads the file runs the guest. A guest that runs stays where it is \
         while its node is there, unless `fail-back yes` moves it to a better one. Each volume of the guest needs a \
         copy on each of these nodes. Guests of several nodes need a cluster.";
    "start-order after <guest> [<guest>…]" &["guest"], start_order, "start-order after directory",
        "Starts the guest when these guests run and their checks succeed; a guest without a check counts as soon as it \
         runs. One that is stopped or shut down is not waited for. It only orders starts: if one of them stops later, \
         this guest continues.";
    "priority <number>" &["guest"], priority, "priority 10",
        "Which guests run where there is not room for all: those with the higher number, from -1000 to 1000. The \
         default is 0. A guest is stopped for one of a higher priority only if no other node has room.";
    "beside <guest> [<guest>…]" &["guest"], beside, "beside directory",
        "Runs the guest on the node of these guests, as far as they run. It needs a node in `prefer` that they have \
         too.";
    "apart <guest> [<guest>…]" &["guest"], apart, "apart directory",
        "Never runs the guest on the node of one of these guests: it stays down if no other node has room. Use it for \
         guests that replace each other, such as two directory servers. One of the two sections is enough.";
    "fail-back { yes | no }" &["guest"], fail_back, "fail-back yes",
        "With `yes`, the guest moves to a better node of `prefer` when that returns, as `migrate` says. With `no`, the \
         default, it stays until its node is drained or fails.";
    "template { yes | no }" &["guest"], template, "template yes",
        "With `yes`, the guest is a template: it never starts, and `evenkeel guest clone` makes other guests from it. \
         Each of its disks without `ro` needs a volume with `read-only yes`, so that nobody changes what the guests \
         began with. A guest that runs is shut down when it becomes a template. `evenkeel guest template` prints the \
         lines. The default is `no`.";
    "migrate { live | cold | never }" &["guest"], migrate, "migrate cold",
        "How the guest moves to another node while both are there. With `live`, the default, it moves while it runs; \
         with `cold`, it shuts down and starts there; with `never`, it moves only if its node fails.";
    "stop-timeout <time>" &["guest"], stop_timeout, "stop-timeout 60s",
        "How long the guest may take to shut down after it was asked to (ACPI power button) before it is ended, from \
         1s to 24h. The default is 120s; a time without a unit is in milliseconds.";
};
