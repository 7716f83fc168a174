//! Parses the sections `volume` and `volume-defaults`. Each keyword is one row of a table.

mod bind;
pub mod codes;
mod defaults;
mod either;
mod external;
#[cfg(test)]
mod external_tests;
mod section;
#[cfg(test)]
mod tests;

use crate::config::{self, KeptState, RESYNC_RATE, ReplicaPair, Spec, Volumes};
use crate::device::Backing;
use configuration::outside::FileIdentity;
use configuration::{
    ConfigurationPart, Context, Exchange, Export, Located, NamedAddress, ObjectCount, ObjectKind,
    RoleInput, RoleInterface, SectionTable, Sections, Tabled, TabledDraft, VolumeStorage,
    is_name_of,
};
use defaults::Defaults;
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic, Spanned, suggest};
use part::codec;
use section::{ParsedSections, Volume};
use std::any::Any;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub const NAME: &str = "volume";

/// Timeout of requests in progress when the volume role stops, milliseconds.
const STOP_MS: u64 = 10_000;

/// Kind of reference with which sections of other roles name a volume.
const VOLUME: ObjectKind = ObjectKind {
    name: "volume",
    unknown: &codes::NO_VOLUME,
    label: "no section of this name",
};

pub static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[
            (
                "volume",
                "A block device with its data on one node or two, which clients there use over NBD.",
            ),
            ("volume-defaults", "What volumes have in common."),
        ],
        on_lists: &["volume"],
        ..Sections::NONE
    },
    documented: || {
        let tables = TABLES.iter().flat_map(SectionTable::documented);
        let mut all: Vec<Documented> = [SECTION, DEFAULTS].into_iter().chain(tables).collect();
        // Omits repetitions: some lines are in the tables of both sections.
        let mut names = BTreeSet::new();
        all.retain(|row| names.insert(row.syntax));
        all
    },
    codes: || codes::CODES.to_vec(),
    exports: &[VOLUME],
    begin: |_| Box::new(TabledDraft::new(ParsedSections::default())),
    run: Some(RoleInterface {
        role_input: |built, before| {
            let volumes = built.downcast_ref::<Volumes>()?;
            let count = volumes.0.len() + volumes.1.len();
            // Starts the role also without volumes if it ran before: volumes that the new
            // configuration removes from this node stay open while they are in use.
            (count > 0 || before.is_some()).then(|| given(volumes))
        },
        leftover_input: |built, rest| {
            let volumes = built.downcast_ref::<Volumes>()?;
            let waits = !KeptState::decode(rest.state?).waiting.is_empty();
            waits.then(|| given(volumes))
        },
        difference: config::difference,
        refusals: config::refusals,
    }),
};

fn given(volumes: &Volumes) -> RoleInput {
    let count = volumes.0.len() + volumes.1.len();
    RoleInput {
        payload: codec::encode(volumes),
        size: ObjectCount::new(count, "volume", "volumes"),
        stop_ms: STOP_MS,
        resources: volumes.resources(),
        ..RoleInput::default()
    }
}

type VolumeLineBuilder = configuration::DraftLineBuilder<ParsedSections>;

static LINES: &[Family<VolumeLineBuilder>] = &[
    ("Volumes", section::LINES),
    ("Volumes", bind::LINES),
    ("Volumes", either::LINES),
    ("Volumes", external::LINES),
];

static OF_DEFAULTS: &[Family<VolumeLineBuilder>] =
    &[("Volumes", defaults::LINES), ("Volumes", either::LINES)];

static TABLES: [SectionTable<ParsedSections>; 2] = [
    SectionTable::new("volume", LINES, section::begin),
    SectionTable::new("volume-defaults", OF_DEFAULTS, defaults::begin),
];

const DEFAULTS: Documented = Documented {
    kind: "section",
    name: "volume-defaults",
    places: &["file"],
    syntax: "volume-defaults",
    doc: "What volumes have in common: for those with two copies where the nodes reach each other, and how fast a copy \
        that lacks something gets it; and whether checksums are kept on disk. A file has at most one such section, before or after its volumes.",
    example: "volume-defaults\n    link 10.99.0.0/30 plain",
    family: "Volumes",
    built: true,
};

const SECTION: Documented = Documented {
    kind: "section",
    name: "volume",
    places: &["file"],
    syntax: "volume <name>",
    doc: "A block device with one copy of its data on one node, or with two synchronous copies on two nodes. The volume \
        role offers it over NBD at the socket `volume-NAME.sock` of the runtime directory (/run/evenkeel for root). `evenkeel volume create NAME` \
        creates it; until then the role reports that it is missing. A reload adds and removes volumes without any effect \
        on the others. Removing the section keeps the data; `evenkeel volume remove NAME` deletes it.",
    example: "volume mail\n    size 40g\n    backing file /srv/volumes",
    family: "Volumes",
    built: true,
};

impl Tabled for ParsedSections {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        let all = self.volumes.iter().filter_map(|volume| {
            let owner = format!("`bind` of volume '{}'", volume.name.value);
            NamedAddress::of_node(volume.bind.as_ref()?.ip(), owner)
        });
        all.collect()
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        let mut volumes = Volumes::default();
        for (at, volume) in self.volumes.iter().enumerate() {
            exchange.export(export(volume));
            if let Some(path) = storage(volume) {
                let is_local = is_local(context, volume);
                let storage = VolumeStorage { path, is_local };
                exchange.export(storage.export(&volume.name.value));
            }
            let before = &self.volumes[..at];
            for told in [
                of_nodes(context, volume),
                of_device(context, before, volume),
                bind::of_address(before, volume),
                of_snapshots(volume),
                of_cluster(context, volume),
                missing(
                    volume,
                    "size",
                    volume.size.is_none() && !volume.is_elsewhere(),
                ),
                missing(
                    volume,
                    "backing",
                    volume.backing.is_none() && volume.external.is_none(),
                ),
            ] {
                told.into_iter().for_each(|told| context.report(told));
            }
            for told in external::of_volume(before, volume) {
                context.report(told);
            }
            // Omits a second volume on one image in external storage, which an accepted
            // configuration version may have; only the first one is served.
            let is_first = external::first_on_image(before, volume).is_none();
            let elsewhere = external::built(context, volume).filter(|_| is_first);
            if let Some(elsewhere) = elsewhere {
                volumes.1.insert(volume.name.value.clone(), elsewhere);
            }
            let bind = bind::read(context, volume);
            let here = is_local(context, volume);
            if let (Some(size), Some(backing), true) = (&volume.size, &volume.backing, here) {
                let spec = Spec {
                    size_bytes: size.value,
                    backing: backing.value.clone(),
                    snapshots: volume.snapshots.as_ref().map(|one| one.value),
                    pair: pair(context, &self.defaults, volume),
                    node: volume
                        .nodes
                        .iter()
                        .find(|node| context.nodes.is_local_node(&node.value))
                        .map(|node| node.value.clone()),
                    without_majority: volume
                        .without_majority
                        .or(self.defaults.without_majority.as_ref().map(|one| one.value))
                        .unwrap_or_default(),
                    verify: verify(&self.defaults, volume)
                        .filter(|verify| verify.value)
                        .map(|_| rate(&self.defaults)),
                    read_only: volume.read_only,
                    bind,
                };
                volumes.0.insert(volume.name.value.clone(), spec);
            }
        }
        Box::new(volumes)
    }
}

fn is_local(context: &Context, volume: &Volume) -> bool {
    let mut nodes = volume.nodes.iter();
    volume.nodes.is_empty() || nodes.any(|node| context.nodes.is_local_node(&node.value))
}

fn storage(volume: &Volume) -> Option<PathBuf> {
    let backing = volume.backing.as_ref()?;
    Some(match &backing.value {
        Backing::File(directory) => directory.join(format!("{}.volume", volume.name.value)),
        Backing::Device(path) => path.clone(),
        Backing::Lvm(logical) => logical.path.clone(),
    })
}

fn export(volume: &Volume) -> Export {
    let nodes = volume.nodes.iter().map(|node| node.value.clone());
    let located = Located {
        nodes: nodes.collect(),
        read_only: volume.read_only,
        external: external::external(volume),
    };
    Export::new(VOLUME.name, &volume.name.value, &located)
}

fn of_nodes(context: &Context, volume: &Volume) -> Option<Diagnostic> {
    let name = &volume.name.value;
    let known = context.nodes.known_nodes();
    match &volume.nodes[..] {
        // Reports nothing if a line was refused: it has already named nodes.
        [] if known.is_empty() || volume.has_refused_nodes => None,
        [] => {
            let told = format!("volume '{name}' does not say on which node it is");
            let told = Diagnostic::error(&codes::NO_NODE, volume.name.span, told);
            let all = known.join(", ");
            Some(
                told.label("every node would have an unrelated volume of this name")
                    .help(format!("add `on NODE`; nodes: {all}")),
            )
        }
        [first, second] if is_name_of(&first.value, &second.value) => {
            let told = format!("volume '{name}' has both copies on one node");
            let told = Diagnostic::error(&codes::COPIES, second.span, told);
            Some(
                told.label("the same node")
                    .help("name two nodes, or one for one copy"),
            )
        }
        [_] | [_, _] => volume
            .nodes
            .iter()
            .filter(|one| !context.nodes.is_known(&one.value))
            .map(|one| unknown(known, one))
            .next(),
        all if volume.external.is_some() => all
            .iter()
            .find(|one| !context.nodes.is_known(&one.value))
            .map(|one| unknown(known, one)),
        [_, _, third, ..] => {
            let told = format!("volume '{name}' is on more than two nodes");
            let told = Diagnostic::error(&codes::COPIES, third.span, told);
            Some(told.label("a volume has one copy or two").help(
                "name two nodes; a third member of the cluster decides between them without data",
            ))
        }
    }
}

fn unknown(known: &[String], one: &Spanned<String>) -> Diagnostic {
    let told = format!("no node is called '{}'", one.value);
    let told = Diagnostic::error(&codes::UNKNOWN_NODE, one.span, told);
    let near = suggest::nearest(&one.value, known.iter().map(String::as_str));
    match near {
        Some(near) => told.did_you_mean(one.span, Some(near)),
        None => told.note(format!("nodes: {}", known.join(", "))),
    }
}

fn pair(context: &Context, defaults: &Defaults, volume: &Volume) -> Option<ReplicaPair> {
    let [one, other] = &volume.nodes[..] else {
        return None;
    };
    let is_first = context.nodes.is_local_node(&one.value);
    let (me, other) = if is_first { (one, other) } else { (other, one) };
    let link = defaults.link.as_ref();
    Some(ReplicaPair {
        me: me.value.clone(),
        other: other.value.clone(),
        cable: link.map(|link| link.value.clone()).unwrap_or_default(),
        resync_rate: rate(defaults),
    })
}

fn rate(defaults: &Defaults) -> u64 {
    let rate = defaults.resync_rate.as_ref();
    rate.map_or(RESYNC_RATE, |rate| rate.value)
}

fn verify<'d>(defaults: &'d Defaults, volume: &'d Volume) -> Option<&'d Spanned<bool>> {
    volume.verify.as_ref().or(defaults.verify.as_ref())
}

fn of_device(context: &Context, before: &[Volume], volume: &Volume) -> Option<Diagnostic> {
    let (path, span) = (storage(volume)?, volume.backing.as_ref()?.span);
    let identity = |volume: &Volume, path: &Path| {
        if is_local(context, volume) {
            configuration::file_identity(context, path)
        } else {
            FileIdentity::of_name(path)
        }
    };
    let own = identity(volume, &path);
    let mut others = before
        .iter()
        .filter(|other| bind::shares_a_node(other, volume));
    let (first, at) = others.find_map(|other| {
        let taken = identity(other, &storage(other)?);
        let at = other.backing.as_ref()?.span;
        taken.is_same(&own).then_some((&other.name.value, at))
    })?;
    let told = format!("{} belongs to volume '{first}'", path.display());
    let told = Diagnostic::error(&codes::BACKING_TWICE, span, told);
    Some(
        told.label("a second volume on it")
            .with_label(at, "the first is here")
            .with_earlier_behaviour("the volume that opens it first is served"),
    )
}

/// Warns about a volume on several nodes without a cluster: no node ever gets the lease.
fn of_cluster(context: &Context, volume: &Volume) -> Option<Diagnostic> {
    let [_, second, ..] = &volume.nodes[..] else {
        return None;
    };
    if !context.options.nodes.is_empty() || !context.options.version.is_empty() {
        return None;
    }
    let what = match volume.external {
        Some(_) => "is for several nodes, so only a cluster says which of them owns it",
        None => "has two copies, so only a cluster serves it",
    };
    let told = format!("volume '{}' {what}", volume.name.value);
    let told = Diagnostic::warning(&codes::NO_CLUSTER, second.span, told);
    let help = "apply these files with `evenkeel config apply`, and run the members without `-f`";
    Some(
        told.label("with `evenkeel run -f` it waits without end")
            .help(help),
    )
}

fn of_snapshots(volume: &Volume) -> Option<Diagnostic> {
    let (snapshots, backing) = (volume.snapshots.as_ref()?, volume.backing.as_ref()?);
    if matches!(backing.value, Backing::File(_)) {
        return None;
    }
    let name = &volume.name.value;
    let told = "'snapshot every' needs `backing file` on XFS or btrfs";
    let told = Diagnostic::error(&codes::SNAPSHOTS, snapshots.span, told);
    let told = told.with_label(backing.span, "this backing has no scheduled snapshots");
    Some(match &backing.value {
        Backing::Lvm(_) => told.help(format!(
            "remove this line; in a thin pool, run `evenkeel volume snapshot {name}` from a timer"
        )),
        _ => told.help("remove this line"),
    })
}

fn missing(volume: &Volume, keyword: &'static str, is_missing: bool) -> Option<Diagnostic> {
    // Reports nothing for a refused line, which has its own diagnostic.
    if !is_missing || volume.given.has(keyword) {
        return None;
    }
    let told = format!("volume '{}' has no '{keyword}' line", volume.name.value);
    let told = Diagnostic::error(&codes::MISSING, volume.name.span, told);
    let example = match keyword {
        "size" => "add `size SIZE`, such as `size 40g`",
        _ => {
            "add `backing file DIRECTORY`, `backing device PATH` or `backing lvm GROUP`; `backing nfs`, `iscsi` or `rbd` if a \
              storage system keeps the data"
        }
    };
    Some(told.help(example))
}
