//! Parses the first line of a `volume` section, and the lines that have no file of their own.

use super::bind;
use super::defaults::Defaults;
use super::{VolumeLineBuilder, codes};
use crate::config::{Schedule, WithoutMajority, parse_size};
use crate::device::{Backing, LogicalVolume};
use crate::layout::{BLOCK_BYTES, VOLUME_BYTES_MAX};
use configuration::Storage;
use language::arguments::{Args, Built, section_name};
use language::keyword::Keyword;
use language::section::{self, GivenLines, once};
use language::value::TimeUnit;
use language::{ConfigLine, Diagnostic, Spanned};
use std::path::{Component, Path, PathBuf};

const SECTIONS_MAX: usize = 256;
/// Maximum length of a path, bytes (Linux: `PATH_MAX` without the terminating zero).
const PATH_BYTES_MAX: usize = 4095;
/// Maximum length of a path component, bytes (`NAME_MAX`).
const FILE_NAME_BYTES_MAX: usize = 255;
/// Maximum number of bytes that file names of a volume add to the volume's name:
/// `/NAME@20261122T200000Z-guest-LABEL.snapshot`, with a label of 32 bytes.
const FILE_ENDING_BYTES: usize = 66;

const SNAPSHOTS_KEPT_MAX: u32 = 1000;
const SNAPSHOTS_EVERY_MIN: u64 = 60;
const SNAPSHOTS_EVERY_MAX: u64 = 366 * 24 * 3600;

#[derive(Debug)]
pub(super) struct Volume {
    pub(super) name: Spanned<String>,
    pub(super) size: Option<Spanned<u64>>,
    pub(super) nodes: Vec<Spanned<String>>,
    pub(super) backing: Option<Spanned<Backing>>,
    pub(super) external: Option<Spanned<Storage>>,
    pub(super) snapshots: Option<Spanned<Schedule>>,
    pub(super) without_majority: Option<WithoutMajority>,
    pub(super) verify: Option<Spanned<bool>>,
    pub(super) read_only: bool,
    pub(super) bind: Option<bind::BindLine>,
    pub(super) has_refused_nodes: bool,
    pub(super) given: GivenLines,
}

impl Volume {
    /// Returns whether the volume is in external storage, or would be if a refused line were
    /// correct.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.backing.is_none() && self.given.has("backing")
    }
}

language::named_section!(Volume, "volume", "the volume's name", SECTIONS_MAX);

#[derive(Debug, Default)]
pub(super) struct ParsedSections {
    pub(super) volumes: Vec<Volume>,
    pub(super) defaults: Defaults,
    pub(super) in_defaults: bool,
}

pub(super) fn begin(draft: &mut ParsedSections, head: &ConfigLine) -> Built {
    draft.in_defaults = false;
    let name = section::begin(&draft.volumes, head)?;
    draft.volumes.push(Volume {
        name,
        size: None,
        nodes: Vec::new(),
        backing: None,
        external: None,
        snapshots: None,
        without_majority: None,
        verify: None,
        read_only: false,
        bind: None,
        has_refused_nodes: false,
        given: GivenLines::default(),
    });
    Ok(())
}

fn size(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "size")?;
    let word = args.required("a size")?;
    args.end()?;
    let Some(bytes) = parse_size(word.str()) else {
        return Err(
            args.unexpected_value(word, "not a size: write a number and `k`, `m`, `g` or `t`")
        );
    };
    if bytes == 0 || bytes > VOLUME_BYTES_MAX {
        return Err(args.unexpected_value(word, "not between 4k and 16t"));
    }
    if !bytes.is_multiple_of(BLOCK_BYTES) {
        let text = word.str();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let told = format!("'size': '{text}' has no unit, so it is {text} bytes");
            let told = Diagnostic::error(&codes::VALUE, word.span, told);
            return Err(told.help(format!("add `k`, `m`, `g` or `t`, such as `size {text}g`")));
        }
        return Err(args.unexpected_value(word, "not a multiple of 4 KiB"));
    }
    volume.size = Some(Spanned::new(bytes, word.span));
    Ok(())
}

fn on(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "on")?;
    volume.has_refused_nodes = true;
    args.required("the name of a node")?;
    for word in &args.line().words[1..] {
        volume.nodes.push(Spanned::new(
            section_name("node", word, &codes::VALUE)?.to_owned(),
            word.span,
        ));
    }
    args.rest();
    volume.has_refused_nodes = false;
    Ok(())
}

fn backing(draft: &mut ParsedSections, args: &mut Args<'_>, make: fn(PathBuf) -> Backing) -> Built {
    let volume = once(&mut draft.volumes, args, "backing")?;
    let word = args.required("a path")?;
    args.end()?;
    let path = Path::new(word.str());
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(args.unexpected_value(word, "not an absolute path without `.` and `..`"));
    }
    // Normalises the path, for example removes a `/` at the end.
    let path: PathBuf = path.components().collect();
    let is_name = |part: Component<'_>| part.as_os_str().len() <= FILE_NAME_BYTES_MAX;
    if !path.components().all(is_name) {
        return Err(
            args.unexpected_value(word, "not a path: a part of it is longer than 255 bytes")
        );
    }
    let value = make(path);
    let longest = match &value {
        Backing::File(directory) => {
            let files = volume.name.value.len() + FILE_ENDING_BYTES;
            directory.as_os_str().len() + files
        }
        Backing::Device(path) => path.as_os_str().len(),
        Backing::Lvm(_) => 0,
    };
    if longest > PATH_BYTES_MAX {
        return Err(args.unexpected_value(
            word,
            "longer than a path may be (4095 bytes with the names of files)",
        ));
    }
    volume.backing = Some(Spanned::new(value, word.span));
    Ok(())
}

fn backing_lvm(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "backing")?;
    let word = args.required("a volume group")?;
    args.end()?;
    let Some(logical) = LogicalVolume::new(word.str(), &volume.name.value) else {
        return Err(
            args.unexpected_value(word, "not a volume group: write `GROUP` or `GROUP/POOL`")
        );
    };
    volume.backing = Some(Spanned::new(Backing::Lvm(logical), word.span));
    Ok(())
}

fn snapshot(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "snapshot every")?;
    let (every, span) = args.time(TimeUnit::Seconds)?;
    let word = args.required("`keep`")?;
    if word.str() != "keep" {
        return Err(args.unexpected_value(word, "not `keep`"));
    }
    let keep = args.count("the number of snapshots", 1..=SNAPSHOTS_KEPT_MAX)?;
    args.end()?;
    if !(SNAPSHOTS_EVERY_MIN..=SNAPSHOTS_EVERY_MAX).contains(&every.as_secs()) {
        let words = "not between one minute and 366 days";
        return Err(Diagnostic::error(
            &codes::VALUE,
            span,
            format!("'snapshot every': {words}"),
        ));
    }
    volume.snapshots = Some(Spanned {
        value: Schedule {
            every_seconds: every.as_secs(),
            keep,
        },
        span: args.line().span,
    });
    Ok(())
}

fn read_only(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "read-only")?;
    let word = args.required("`yes` or `no`")?;
    volume.read_only = match word.str() {
        "yes" => true,
        "no" => false,
        _ => return Err(args.unexpected_value(word, "not `yes` or `no`")),
    };
    args.end()
}

pub(super) static LINES: &[Keyword<VolumeLineBuilder>] = language::rows! {
    "size <size>" &["volume"], size, "size 40g",
        "The size of the volume, with one of the units `k`, `m`, `g` and `t` (powers of 1024): a multiple of 4 KiB, at \
         most 16t. A larger size takes effect at the reload, for clients that connect after it. A smaller one is \
         refused.";
    "on <node> [<node>]" &["volume"], on, "on alpha beta",
        "The node with the data, which runs the volume; or the two nodes with a copy each. With `backing nfs`, `iscsi` \
         or `rbd`: the nodes that may use it, any number. Required if the file has `node` sections or belongs to a \
         cluster; otherwise the machine that reads the file runs the volume. Two copies need a cluster with a third \
         member, which holds no data. They reach each other as `link` in `volume-defaults` says. A second node can be \
         added to a volume that has data: its copy gets it.";
    "backing file <directory>" &["volume"], |draft, args| backing(draft, args, Backing::File),
        "backing file /srv/volumes",
        "Stores the data in the sparse file `NAME.volume` of this directory, and its metadata in `NAME.metadata`. The \
         directory has to exist, and none of these may be a symbolic link. A volume needs this or `backing device`.";
    "backing device <path>" &["volume"], |draft, args| backing(draft, args, Backing::Device),
        "backing device /dev/sdb",
        "Stores the data on this block device, which begins with the metadata and is used by nothing else. It may not \
         be a symbolic link. A volume needs this or `backing file`.";
    "backing lvm <group>[/<pool>]" &["volume"], backing_lvm, "backing lvm vg0",
        "Stores the data on the logical volume `volume-NAME` of this volume group, thin if a pool is named. `evenkeel \
         volume create` makes it by `lvcreate`, `evenkeel volume grow` extends it by `lvextend`, and `evenkeel volume \
         remove` removes it by `lvremove`: these need root. The role only opens it.";
    "snapshot every <time> keep <number>" &["volume"], snapshot, "snapshot every 1h keep 24",
        "Takes a snapshot at this interval while the volume is served, and removes the oldest scheduled ones beyond \
         this number. A snapshot is the file `NAME@TIME-scheduled.snapshot` beside the data, which shares its blocks \
         with the volume until either changes. It needs `backing file` on XFS or btrfs. `evenkeel volume show` lists \
         snapshots, `restore` and `clone` use them.";
    "read-only { yes | no }" &["volume"], read_only, "read-only yes",
        "With `yes`, no client may write to the volume, at either node: requests that would change it fail. It is for \
         the volumes of a guest with `template yes`, which are copied by `evenkeel guest clone`. Copies of the volume \
         are kept equal as before. A change reopens the volume: clients connect again. The default is `no`.";
};
