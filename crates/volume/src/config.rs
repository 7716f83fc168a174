//! Defines the configuration of the volumes of this node, as the volume role receives it, and
//! compares a new configuration with the current one. Defines the state that a process of the role
//! saves for its successor.

use crate::device::{self, Backing, LogicalVolume};
use crate::link::dial::ReplicationLink;
use crate::network::Bind;
use configuration::External;
pub use image::size::{parse as parse_size, words as size_words};
use language::value::written_time;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Volumes of this node by name: those with a local replica, and those in external storage.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Volumes(
    pub BTreeMap<String, Spec>,
    pub BTreeMap<String, ExternalVolume>,
);

impl Volumes {
    /// Returns the resources that only one instance of Evenkeel may use at a time, one per line.
    pub fn resources(&self) -> Vec<String> {
        let names = self.0.keys().chain(self.1.keys());
        let names = names.map(|name| Resource::new(ResourceKind::Volume, name));
        let local = self.0.values().filter_map(|spec| match &spec.backing {
            // Omits the directory: the volumes in it have separate files, and their names are in
            // the list.
            Backing::File(_) => None,
            Backing::Device(_) | Backing::Lvm(_) => Some(spec.backing.path()),
        });
        let disks = local.map(|path| Resource::new(ResourceKind::Disk, path.display()));
        let all = names.chain(disks);
        all.map(|resource| resource.line()).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExternalVolume {
    pub external: External,
    /// Name of this node; empty if the configuration names none.
    pub me: String,
    pub nodes: Vec<String>,
}

impl ExternalVolume {
    pub fn has_lease(&self) -> bool {
        self.nodes.len() > 1
    }
}

impl fmt::Display for ExternalVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backing {}", self.external.storage)?;
        if let Some(bytes) = self.external.size_bytes {
            write!(f, ", size {}", size_words(bytes))?;
        }
        if self.nodes.is_empty() {
            Ok(())
        } else {
            write!(f, ", on {}", self.nodes.join(" "))
        }
    }
}

/// Configuration of a volume with a replica on this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub size_bytes: u64,
    pub backing: Backing,
    #[serde(default)]
    pub snapshots: Option<Schedule>,
    #[serde(default)]
    pub pair: Option<ReplicaPair>,
    #[serde(default)]
    pub node: Option<String>,
    #[serde(default)]
    pub without_majority: WithoutMajority,
    /// Rate at which missing checksums are built, bytes per second. None: no checksums.
    #[serde(default)]
    pub verify: Option<u64>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub bind: Option<Bind>,
}

/// State that a process of the volume role saves for its successor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptState {
    pub users: BTreeMap<String, String>,
    pub waiting: BTreeMap<String, Spec>,
}

impl KeptState {
    pub fn encode(&self) -> Vec<u8> {
        part::codec::encode(&(&self.users, &self.waiting))
    }

    /// Decodes a saved state. The format of earlier releases has the users alone; an unreadable
    /// state counts as empty.
    pub fn decode(bytes: &[u8]) -> KeptState {
        let users = || {
            (
                part::codec::decode(bytes).unwrap_or_default(),
                BTreeMap::new(),
            )
        };
        let (users, waiting) = part::codec::decode(bytes).unwrap_or_else(|_| users());
        KeptState { users, waiting }
    }
}

/// Policy for requests while no majority of the cluster is reachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum WithoutMajority {
    #[default]
    Freeze,
    /// Requests fail, some time after this node's lease has ended.
    Error,
}

impl WithoutMajority {
    pub fn word(self) -> &'static str {
        match self {
            WithoutMajority::Freeze => "freeze",
            WithoutMajority::Error => "error",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub every_seconds: u64,
    pub keep: u32,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = written_time(Duration::from_secs(self.every_seconds));
        write!(f, "every {every} keep {}", self.keep)
    }
}

/// Nodes and link of a volume with two replicas.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicaPair {
    pub me: String,
    pub other: String,
    pub cable: ReplicationLink,
    pub resync_rate: u64,
}

impl ReplicaPair {
    /// Creates the pair of two nodes. The link is unknown, so the default is used.
    pub fn of(me: &str, other: &str) -> ReplicaPair {
        ReplicaPair {
            me: me.to_owned(),
            other: other.to_owned(),
            cable: ReplicationLink::default(),
            resync_rate: RESYNC_RATE,
        }
    }
}

impl Spec {
    pub fn single(&self) -> Option<ReplicaPair> {
        Some(ReplicaPair {
            me: self.node.clone()?,
            other: String::new(),
            cable: ReplicationLink::default(),
            resync_rate: RESYNC_RATE,
        })
    }

    /// Returns whether clients can access only whole blocks of 4 KiB. A connected client keeps the
    /// block size that it has negotiated.
    pub fn has_whole_blocks(&self) -> bool {
        self.pair.is_some() || self.verify.is_some()
    }

    /// Returns whether a running volume can continue with this configuration instead of `before`.
    /// The backing store, the access and the use of checksums must be equal, and the nodes equal or
    /// one instead of two. The size and the resync rate may differ.
    pub fn continues(&self, before: &Spec) -> bool {
        let leaves =
            |pair: &ReplicaPair| self.pair.is_none() && self.node.as_ref() == Some(&pair.me);
        let copies = |spec: &Spec| {
            let pair = spec.pair.clone();
            // Ignores the resync rate: it may change while the volume is served.
            pair.map(|pair| ReplicaPair {
                resync_rate: RESYNC_RATE,
                ..pair
            })
        };
        let same = copies(self) == copies(before) || before.pair.as_ref().is_some_and(leaves);
        // Requires the same access: clients learn only at connect time whether they may write.
        let writes = self.read_only == before.read_only;
        let verifies = self.verify.is_some() == before.verify.is_some();
        self.backing == before.backing && writes && verifies && same
    }
}

pub const RESYNC_RATE: u64 = 200 << 20;

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, backing) = (size_words(self.size_bytes), backing_words(&self.backing));
        write!(f, "size {size}, backing {backing}")?;
        match &self.pair {
            Some(pair) => write!(f, ", on {} {}", pair.me, pair.other),
            None => Ok(()),
        }
    }
}

/// Formats a backing store in the configuration's notation: `file /srv/volumes`.
pub fn backing_words(backing: &Backing) -> String {
    match backing {
        Backing::File(path) => format!("file {}", path.display()),
        Backing::Device(path) => format!("device {}", path.display()),
        Backing::Lvm(logical) => format!("lvm {}", logical.place()),
    }
}

/// Parses the result of [`backing_words`] for the volume with this name.
pub fn parse_backing(words: &str, volume: &str) -> Option<Backing> {
    let (kind, path) = words.split_once(' ')?;
    match kind {
        "file" => Some(Backing::File(path.into())),
        "device" => Some(Backing::Device(path.into())),
        "lvm" => LogicalVolume::new(path, volume).map(Backing::Lvm),
        _ => None,
    }
}

fn pair_words(pair: &Option<ReplicaPair>) -> String {
    match pair {
        None => "one copy".to_owned(),
        Some(pair) => format!(
            "copies on {} and {}, link {}, resync-rate {}",
            pair.me,
            pair.other,
            pair.cable,
            size_words(pair.resync_rate)
        ),
    }
}

impl Backing {
    pub fn path(&self) -> &Path {
        match self {
            Backing::File(path) | Backing::Device(path) => path,
            Backing::Lvm(logical) => &logical.path,
        }
    }
}

/// Returns messages for volumes of a payload that would shrink on this machine. Ignores an invalid
/// payload, which the role reports.
pub fn refusals(payload: &[u8]) -> Vec<String> {
    let volumes = part::codec::decode::<Volumes>(payload);
    let volumes = volumes.map(|volumes| volumes.0).unwrap_or_default();
    let shrinks = volumes.iter().filter_map(|(name, spec)| {
        let has = device::stored_size(&spec.backing, name)?;
        (spec.size_bytes < has).then(|| shrinks(name, has, spec.size_bytes))
    });
    shrinks.collect()
}

pub(crate) fn shrinks(name: &str, has: u64, wanted: u64) -> String {
    let (has, wanted) = (size_words(has), size_words(wanted));
    format!(
        "volume '{name}' has {has} and cannot shrink to {wanted}: write `size {has}`. Nothing was written"
    )
}

pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |bytes: Option<&[u8]>| part::codec::decode::<Volumes>(bytes?).ok();
    let Volumes(before, elsewhere_before) = read(before).unwrap_or_default();
    let Volumes(now, elsewhere_now) = read(now).unwrap_or_default();
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let mut lines: Vec<String> = gone.map(|name| format!("- volume {name}")).collect();
    for (name, spec) in &now {
        match before.get(name) {
            Some(same) if same == spec => {}
            None => lines.push(format!("+ volume {name}: {spec}")),
            Some(other) => {
                if other.size_bytes != spec.size_bytes {
                    let (from, to) = (size_words(other.size_bytes), size_words(spec.size_bytes));
                    lines.push(format!("~ volume {name}: size {from} -> {to}"));
                }
                if other.snapshots != spec.snapshots {
                    let words = |schedule: Option<Schedule>| match schedule {
                        Some(schedule) => schedule.to_string(),
                        None => "none".to_owned(),
                    };
                    let (from, to) = (words(other.snapshots), words(spec.snapshots));
                    lines.push(format!("~ volume {name}: snapshot {from} -> {to}"));
                }
                if other.without_majority != spec.without_majority {
                    let [from, to] = [other, spec].map(|one| one.without_majority.word());
                    lines.push(format!("~ volume {name}: without-majority {from} -> {to}"));
                }
                let word = |on: bool| if on { "yes" } else { "no" };
                if other.read_only != spec.read_only {
                    let [from, to] = [other, spec].map(|one| word(one.read_only));
                    lines.push(format!("~ volume {name}: read-only {from} -> {to}"));
                }
                if other.verify.is_some() != spec.verify.is_some() {
                    let [from, to] = [other, spec].map(|one| word(one.verify.is_some()));
                    lines.push(format!("~ volume {name}: verify {from} -> {to}"));
                }
                if spec.has_whole_blocks() && !other.has_whole_blocks() {
                    lines.push(format!(
                        "~ volume {name}: minimum block -> 4 KiB, once no guest, network boot or command uses it"
                    ));
                }
                let rates = [other, spec].map(|one| one.verify.filter(|_| one.pair.is_none()));
                if let [Some(from), Some(to)] = rates.map(|rate| rate.map(size_words))
                    && from != to
                {
                    lines.push(format!("~ volume {name}: resync-rate {from} -> {to}"));
                }
                lines.extend(bind_difference(
                    name,
                    other.bind.as_ref(),
                    spec.bind.as_ref(),
                ));
                if other.backing != spec.backing {
                    let (from, to) = (backing_words(&other.backing), backing_words(&spec.backing));
                    lines.push(format!("~ volume {name}: backing {from} -> {to}"));
                }
                if other.pair != spec.pair {
                    let (from, to) = (pair_words(&other.pair), pair_words(&spec.pair));
                    lines.push(format!("~ volume {name}: {from} -> {to}"));
                }
            }
        }
    }
    lines.extend(elsewhere_difference(&elsewhere_before, &elsewhere_now));
    lines
}

fn elsewhere_difference(
    before: &BTreeMap<String, ExternalVolume>,
    now: &BTreeMap<String, ExternalVolume>,
) -> Vec<String> {
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let gone = gone.map(|name| format!("- volume {name}"));
    let there = now.iter().filter_map(|(name, one)| match before.get(name) {
        Some(same) if same == one => None,
        Some(other) => Some(format!("~ volume {name}: {other} -> {one}")),
        None => Some(format!("+ volume {name}: {one}")),
    });
    gone.chain(there).collect()
}

/// Describes the difference of two `bind` lines, without the content of their certificate files.
fn bind_difference(name: &str, before: Option<&Bind>, now: Option<&Bind>) -> Option<String> {
    let words = |bind: Option<&Bind>| bind.map_or("none".to_owned(), Bind::to_string);
    let (from, to) = (words(before), words(now));
    match before == now {
        true => None,
        false if from == to => Some(format!("~ volume {name}: bind {to}: other certificates")),
        false => Some(format!("~ volume {name}: bind {from} -> {to}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_the_largest_unit_that_fits() {
        for (word, bytes) in [
            ("40g", 40 << 30),
            ("16t", 16 << 40),
            ("4k", 4096),
            ("100m", 100 << 20),
            ("4097", 4097),
        ] {
            assert_eq!(parse_size(word), Some(bytes), "{word}");
            assert_eq!(size_words(bytes), word);
        }
        assert_eq!(parse_size("1G"), Some(1 << 30));
        for word in [
            "",
            "g",
            "-1g",
            "1x",
            "1.5g",
            "1gb",
            "99999999999999t",
            "+1g",
            "ö",
        ] {
            assert_eq!(parse_size(word), None, "{word}");
        }
    }

    #[test]
    fn a_backing_is_read_as_it_was_written() {
        for backing in [
            Backing::File("/srv/my volumes".into()),
            Backing::Device("/dev/sdb".into()),
            Backing::Lvm(LogicalVolume::new("vg0", "mail").unwrap()),
            Backing::Lvm(LogicalVolume::new("vg0/pool", "mail").unwrap()),
        ] {
            let words = backing_words(&backing);
            assert_eq!(parse_backing(&words, "mail"), Some(backing));
        }
    }

    #[test]
    fn differences_name_what_comes_goes_and_changes() {
        let volumes = |all: &[(&str, u64, &str)]| {
            let spec = |(name, size, path): &(&str, u64, &str)| {
                let backing = Backing::File(path.into());
                let size_bytes = *size;
                (
                    (*name).to_owned(),
                    Spec {
                        size_bytes,
                        backing,
                        snapshots: None,
                        pair: None,
                        node: None,
                        without_majority: WithoutMajority::Freeze,
                        verify: None,
                        read_only: false,
                        bind: None,
                    },
                )
            };
            part::codec::encode(&Volumes(all.iter().map(spec).collect(), BTreeMap::new()))
        };
        let before = volumes(&[("a", 4096, "/x"), ("b", 4096, "/x"), ("c", 4096, "/x")]);
        let now = volumes(&[("a", 8192, "/x"), ("c", 4096, "/y"), ("d", 1 << 30, "/x")]);
        assert_eq!(
            difference(Some(&before), Some(&now)),
            [
                "- volume b",
                "~ volume a: size 4k -> 8k",
                "~ volume c: backing file /x -> file /y",
                "+ volume d: size 1g, backing file /x"
            ]
        );
    }
}
