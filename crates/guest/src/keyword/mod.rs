//! Parses the section `guest`, and the lines of the section `node` that concern guests. Each
//! keyword is a row of a table.
//!
//! The result is all guests ([`Guests`]) on each node, since each node computes the placement of
//! every guest. Outside of a cluster, the result is the guests of this machine.

mod check;
pub mod codes;
mod machine;
mod node;
mod places;
mod section;
mod shared;
#[cfg(test)]
mod tests;
mod together;
mod words;

use crate::config::{self, Boot, Guests, Nic, PlacementRules, mac_of, resource};
use crate::difference::difference;
use crate::qemu::home::GuestDirectory;
use configuration::{
    ConfigurationPart, Context, Exchange, Export, NamedAddress, ObjectCount, ObjectKind, RoleInput,
    RoleInterface, SectionTable, Sections, Tabled, TabledDraft, VolumeFiles,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic, Spanned};
use part::codec;
use section::{GuestSection, ParsedSections};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use together::GuestIndex;

pub const NAME: &str = "guest";

/// Timeout of the role when it stops, milliseconds. Guests continue to run.
const STOP_MS: u64 = 5_000;
const USER_DATA_BYTES_MAX: u64 = 1 << 20;

/// Kind of reference with which sections of other parts name a guest.
const GUEST: ObjectKind = ObjectKind {
    name: "guest",
    unknown: &codes::NO_GUEST,
    label: "no section of this name",
};

pub static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[(
            "guest",
            "A virtual machine that runs on one node at a time, with volumes as its disks.",
        )],
        // Shares the section name `console` with another part, which has a section of this name.
        shared: &[("console", "guest")],
        by_node: &["guest"],
        lines_in: &[("node", &["fence", "room"])],
        ..Sections::NONE
    },
    documented: || {
        let tables = [TABLES[0].documented(), TABLES[1].documented()].concat();
        std::iter::once(SECTION).chain(tables).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[GUEST],
    begin: |_| Box::new(TabledDraft::new(ParsedSections::default())),
    run: Some(RoleInterface {
        role_input: |built, before| {
            let guests = built.downcast_ref::<Guests>()?;
            let count = guests.guests.len() + guests.templates.len();
            // Guests whose sections are gone still have to be shut down.
            (count > 0 || before.is_some()).then(|| given(guests))
        },
        leftover_input: |built, rest| {
            let guests = built.downcast_ref::<Guests>()?;
            let left = GuestDirectory::running(rest.runtime, rest.claimed);
            let resources = left.iter().map(|name| resource(name)).collect();
            (!left.is_empty()).then(|| RoleInput {
                resources,
                ..given(guests)
            })
        },
        difference,
        refusals: |_| Vec::new(),
    }),
};

fn given(guests: &Guests) -> RoleInput {
    let count = guests.guests.len() + guests.templates.len();
    RoleInput {
        payload: codec::encode(guests),
        size: ObjectCount::new(count, "guest", "guests"),
        stop_ms: STOP_MS,
        resources: guests.resources(),
        ..RoleInput::default()
    }
}

type GuestLineBuilder = configuration::DraftLineBuilder<ParsedSections>;

static LINES: &[Family<GuestLineBuilder>] = &[
    ("Guests", machine::LINES),
    ("Guests", section::LINES),
    ("Guests", check::LINES),
];

static OF_NODES: &[Family<GuestLineBuilder>] = &[("Nodes", node::LINES)];

static TABLES: [SectionTable<ParsedSections>; 2] = [
    SectionTable::new("guest", LINES, section::begin),
    SectionTable::new("node", OF_NODES, node::begin),
];

const SECTION: Documented = Documented {
    kind: "section",
    name: "guest",
    places: &["file"],
    syntax: "guest <name>",
    doc: "A virtual machine (QEMU with KVM) that runs on one node of a cluster at a time, on the first node of `prefer` that \
        is there and has room. Its disks are `volume` sections. If its node fails, another node starts it, as soon as that \
        is safe: see `fence`. A guest continues to run while Evenkeel is restarted or upgraded.",
    example: "guest mail\n    prefer alpha beta\n    memory 4g\n    disk mail\n    nic br0 address 192.0.2.25",
    family: "Guests",
    built: true,
};

impl Tabled for ParsedSections {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        let all = self.guests.iter().flat_map(|guest| {
            let owner = format!("guest '{}'", guest.name.value);
            let all = guest.nics.iter().flat_map(|nic| &nic.addresses);
            all.filter_map(move |one| NamedAddress::from_address(one.value, owner.clone()))
        });
        all.collect()
    }

    fn reads_addresses(&self) -> bool {
        let mut nics = self.guests.iter().flat_map(|guest| &guest.nics);
        nics.any(|nic| !nic.addresses.is_empty())
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for told in wrong(&self, context, exchange) {
            context.report(told);
        }
        let mut guests = Guests {
            me: me(context, &self),
            nodes: nodes(context, &self),
            guests: BTreeMap::new(),
            templates: BTreeMap::new(),
        };
        for guest in &self.guests {
            exchange.export(Export::name(GUEST.name, &guest.name.value));
            shared::refer(exchange, guest);
            let check = check::build(context, guest);
            let user_data = user_data(context, guest);
            // Compares the names in `prefer`, which alone say without a cluster on which machine a
            // guest runs.
            let is_here = |node: &Spanned<String>| context.nodes.is_local_node(&node.value);
            let is_run = !guests.me.is_empty()
                || guest.prefer.is_empty()
                || guest.prefer.iter().any(is_here);
            if let Some(memory) = guest.memory.as_ref().filter(|_| is_run) {
                let mut built = build(context, guest, memory.value);
                (built.check, built.user_data) = (check, user_data);
                for disk in &mut built.disks {
                    disk.external = shared::external(exchange, &disk.volume);
                }
                let all = if guest.is_template() {
                    &mut guests.templates
                } else {
                    &mut guests.guests
                };
                all.insert(guest.name.value.clone(), built);
            }
        }
        Box::new(guests)
    }
}

/// Reports problems that no single line of a section shows.
fn wrong(draft: &ParsedSections, context: &Context, exchange: &Exchange) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let stored = VolumeFiles::of(exchange, context);
    for guest in &draft.guests {
        wrong.extend(missing(guest));
        wrong.extend(nothing_to_boot(guest));
        wrong.extend(places::of_guest(context, guest));
        wrong.extend(places::of_room(context, draft, guest));
        wrong.extend(shared::copies(exchange, guest));
        wrong.extend(shared::frozen(exchange, guest));
        wrong.extend(shared::not_here(context, guest));
        wrong.extend(shared::boot_files(context, &stored, guest));
    }
    wrong.extend(shared::volumes(&draft.guests));
    wrong.extend(shared::addresses(&draft.guests));
    wrong.extend(shared::of_nodes(exchange, &draft.guests));
    wrong.extend(GuestIndex::new(&draft.guests).check());
    wrong.extend(places::of_cluster(context, &draft.guests));
    let is_external = |guest: &GuestSection| {
        let mut disks = guest.disks.iter().map(|disk| &disk.value);
        disks.any(|disk| !disk.read_only && shared::external(exchange, &disk.volume).is_some())
    };
    wrong.extend(places::of_fencing(context, draft, is_external));
    wrong
}

fn missing(guest: &GuestSection) -> Option<Diagnostic> {
    // Adds no error, because the one about the refused line is enough.
    if guest.given.has("memory") {
        return None;
    }
    let told = format!("guest '{}' has no 'memory' line", guest.name.value);
    let told = Diagnostic::error(&codes::MISSING, guest.name.span, told);
    Some(told.help("add `memory SIZE`, such as `memory 4g`"))
}

fn nothing_to_boot(guest: &GuestSection) -> Option<Diagnostic> {
    let boot = guest.boot.as_ref();
    if boot.is_none() && guest.given.has("boot") {
        return None;
    }
    let (keyword, what, help) = match boot.map(|boot| &boot.value) {
        None | Some(Boot::Disk) => (
            "disk",
            "disk",
            "add `disk VOLUME`, or boot from something else, such as `boot network`",
        ),
        Some(Boot::Network) => ("nic", "network card", "add `nic BRIDGE`"),
        Some(Boot::Iso(_) | Boot::Kernel { .. }) => return None,
    };
    if guest.given.has(keyword) {
        return None;
    }
    let name = &guest.name.value;
    let span = boot.map_or(guest.name.span, |boot| boot.span);
    let told = format!("guest '{name}' has no {what} to boot from");
    Some(Diagnostic::error(&codes::BOOT, span, told).help(help))
}

/// Returns the name of this node if guests need a cluster, otherwise an empty name.
fn me(context: &Context, draft: &ParsedSections) -> String {
    let options = &context.options;
    let is_cluster = !options.nodes.is_empty()
        || !options.version.is_empty()
        || places::without_cluster(context, &draft.guests).is_some();
    if !is_cluster {
        return String::new();
    }
    if let Some(node) = &options.node {
        return places::canonical(context, node);
    }
    let preferred = draft.guests.iter().flat_map(|guest| &guest.prefer);
    let preferred = preferred.map(|node| &node.value);
    let mut names = context.nodes.known_nodes().iter().chain(preferred);
    let here = names.find(|name| context.nodes.is_local_node(name));
    here.unwrap_or(&options.host).clone()
}

fn nodes(context: &Context, draft: &ParsedSections) -> BTreeMap<String, config::NodeSettings> {
    let node = |node: &node::NodeSection| {
        let said = config::NodeSettings {
            fences: node.fences.clone(),
            watchdog: node.watchdog.as_ref().map(|one| one.value.clone()),
            room: node.room.as_ref().map(|one| one.value),
        };
        (places::name_of(context, node), said)
    };
    draft.nodes.iter().map(node).collect()
}

/// Returns the settings of a section, without those that depend on files and addresses.
fn build(context: &Context, guest: &GuestSection, memory_bytes: u64) -> config::Guest {
    let names = |names: &[Spanned<String>]| -> BTreeSet<String> {
        names.iter().map(|name| name.value.clone()).collect()
    };
    let nic = |(at, nic): (usize, &machine::Nic)| Nic {
        bridge: nic.bridge.value.clone(),
        mac: nic
            .mac
            .as_ref()
            .map_or_else(|| mac_of(&guest.name.value, at), |mac| mac.value),
        addresses: nic.addresses.iter().map(|one| one.value).collect(),
        model: nic.model,
    };
    let prefer = guest.prefer.iter();
    let prefer = prefer.map(|node| places::canonical(context, &node.value));
    config::Guest {
        prefer: prefer.collect(),
        memory_bytes,
        cpus: guest.cpus.as_ref().map_or(1, |cpus| cpus.value),
        disks: guest.disks.iter().map(|disk| disk.value.clone()).collect(),
        nics: guest.nics.iter().enumerate().map(nic).collect(),
        boot: guest
            .boot
            .as_ref()
            .map_or(Boot::Disk, |boot| boot.value.clone()),
        firmware: guest.plain.firmware,
        user_data: None,
        console: guest.plain.console,
        check: None,
        migrate: guest.plain.migrate,
        stop_ms: guest.plain.stop_ms,
        order: PlacementRules {
            after: names(&guest.others.after),
            priority: guest.plain.priority,
            beside: names(&guest.others.beside),
            apart: names(&guest.others.apart),
            fails_back: guest.plain.fails_back,
        },
    }
}

fn user_data(context: &mut Context, guest: &GuestSection) -> Option<String> {
    let file = guest.user_data.as_ref()?;
    // Reads the file as a secret, because it often contains passwords.
    let found = context
        .outside
        .read_secret(&file.value, USER_DATA_BYTES_MAX);
    let text = match found {
        Ok(bytes) => String::from_utf8(bytes.bytes().to_vec())
            .map_err(|_| "the file is not UTF-8".to_owned()),
        Err(unreadable) => Err(unreadable.to_string()),
    };
    match text {
        Ok(text) => Some(text),
        Err(why) => {
            let told = format!("'user-data': cannot use '{}'", file.value.display());
            context.report(Diagnostic::error(&codes::USER_DATA, file.span, told).label(why));
            None
        }
    }
}
