//! The section `volume`. Each keyword is a row.
//!
//! What comes out is the volumes of this node ([`Volumes`]): others are checked, and are
//! not run here.

pub mod codes;
mod section;
#[cfg(test)]
mod tests;

use crate::config::{self, Spec, Volumes};
use crate::device::Backing;
use configuration::{
    Context, Exchange, Given, Lines, Part, Run, SectionTable, Sections, Tabled, is_name_of,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic, Span, suggest};
use part::codec;
use section::{Draft, Volume, Written};
use std::any::Any;

/// The part's name.
pub const NAME: &str = "volume";

/// How long requests under way may take at a stop, milliseconds.
const STOP_MS: u64 = 10_000;

/// Volumes, as a part of a configuration.
pub static PART: Part = Part {
    name: NAME,
    sections: Sections {
        names: &[(
            "volume",
            "A block device with its data on a node, which clients there use over NBD.",
        )],
        on_lists: &["volume"],
        ..Sections::NONE
    },
    documented: || {
        std::iter::once(SECTION)
            .chain(TABLES[0].documented())
            .collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(Lines::new(Draft::default())),
    run: Some(Run {
        given: |built, _| {
            let volumes = built.downcast_ref::<Volumes>()?;
            let count = volumes.0.len();
            let word = if count == 1 { "volume" } else { "volumes" };
            (count > 0).then(|| Given {
                payload: codec::encode(volumes),
                size: format!("{count} {word}"),
                stop_ms: STOP_MS,
                together: false,
            })
        },
        difference: config::difference,
    }),
};

type LineBuilder = configuration::LineBuilder<Draft>;

static LINES: &[Family<LineBuilder>] = &[("Volumes", section::LINES)];

static TABLES: [SectionTable<Draft>; 1] = [SectionTable::new("volume", LINES, section::begin)];

/// The section itself, as the manual has it.
const SECTION: Documented = Documented {
    kind: "section",
    name: "volume",
    places: &["file"],
    syntax: "volume <name>",
    doc: "A block device with one copy of its data, on one node. The volume role of that node offers it over NBD at the \
        socket `volume-NAME.sock` of the runtime directory (/run/evenkeel for root). `evenkeel volume create NAME` \
        creates it; until then the role reports that it is missing. A reload adds and removes volumes without any effect \
        on the others. Removing the section keeps the data; `evenkeel volume remove NAME` deletes it.",
    example: "volume mail\n    size 40g\n    backing file /srv/volumes",
    family: "Volumes",
    built: true,
};

impl Tabled for Draft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn finish(self, context: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        let mut volumes = Volumes::default();
        for (at, volume) in self.volumes.iter().enumerate() {
            let before = &self.volumes[..at];
            for told in [
                of_nodes(context, volume),
                of_device(before, volume),
                missing(volume, "size", volume.size.is_none()),
                missing(volume, "backing", volume.backing.is_none()),
            ] {
                told.into_iter().for_each(|told| context.tell(told));
            }
            let here = volume.nodes.is_empty()
                || volume
                    .nodes
                    .iter()
                    .any(|node| context.nodes.is_here(&node.value));
            if let (Some(size), Some(backing), true) = (&volume.size, &volume.backing, here) {
                let spec = Spec {
                    size_bytes: size.value,
                    backing: backing.value.clone(),
                };
                volumes.0.insert(volume.name.value.clone(), spec);
            }
        }
        Box::new(volumes)
    }
}

/// What is wrong with the nodes of a volume.
fn of_nodes(context: &Context, volume: &Volume) -> Option<Diagnostic> {
    let name = &volume.name.value;
    let known = context.nodes.known();
    match &volume.nodes[..] {
        // A line that was refused names some.
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
        [one] if context.nodes.is_known(&one.value) => None,
        [one] => {
            let told = format!("no node is called '{}'", one.value);
            let told = Diagnostic::error(&codes::UNKNOWN_NODE, one.span, told);
            let near = suggest::nearest(&one.value, known.iter().map(String::as_str));
            Some(match near {
                Some(near) => told.did_you_mean(one.span, Some(near)),
                None => told.note(format!("nodes: {}", known.join(", "))),
            })
        }
        [first, second, ..] => {
            let told = format!(
                "volume '{name}' is on several nodes: volumes with two copies are not supported yet"
            );
            let told = Diagnostic::error(&codes::COPIES, second.span, told);
            let help = format!("name one node: `on {}`", first.value);
            Some(told.label("one node is supported").help(help))
        }
    }
}

/// A device belongs to one volume of a node.
fn of_device(before: &[Volume], volume: &Volume) -> Option<Diagnostic> {
    let of = |volume: &Volume| -> Option<(std::path::PathBuf, Span)> {
        let backing = volume.backing.as_ref()?;
        match &backing.value {
            Backing::Device(path) => Some((path.clone(), backing.span)),
            Backing::File(_) => None,
        }
    };
    let meets = |other: &&Volume| {
        let same =
            |(one, two): (&Written<String>, &Written<String>)| is_name_of(&one.value, &two.value);
        let pair = other.nodes.first().zip(volume.nodes.first());
        pair.is_none_or(same)
    };
    let (path, span) = of(volume)?;
    let mut others = before.iter().filter(meets);
    let (first, at) = others.find_map(|other| {
        let (taken, at) = of(other)?;
        (taken == path).then_some((&other.name.value, at))
    })?;
    let told = format!("{} belongs to volume '{first}'", path.display());
    let told = Diagnostic::error(&codes::BACKING_TWICE, span, told);
    Some(
        told.label("a second volume on it")
            .also(at, "the first is here"),
    )
}

fn missing(volume: &Volume, keyword: &'static str, is_missing: bool) -> Option<Diagnostic> {
    // A line that was refused says what is wrong with it.
    if !is_missing || volume.once.iter().any(|(known, _)| *known == keyword) {
        return None;
    }
    let told = format!("volume '{}' has no '{keyword}' line", volume.name.value);
    let told = Diagnostic::error(&codes::MISSING, volume.name.span, told);
    let example = match keyword {
        "size" => "add `size SIZE`, such as `size 40g`",
        _ => "add `backing file DIRECTORY` or `backing device PATH`",
    };
    Some(told.help(example))
}
