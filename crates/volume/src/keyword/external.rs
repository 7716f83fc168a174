//! Parses `backing nfs`, `backing iscsi` and `backing rbd`: volumes in external storage, which is
//! responsible for replication. QEMU receives these values as JSON, so that none can become an
//! option. Addresses are numeric, because a takeover must not wait for a nameserver.

use super::section::{ParsedSections, Volume};
use super::{VolumeLineBuilder, codes};
use crate::config::ExternalVolume;
use configuration::{Context, External, Login, Storage};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::{ConfigWord, Diagnostic, Span, Spanned};
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

/// Default TCP port of iSCSI (RFC 7143, section 8).
const ISCSI_PORT: u16 = 3260;
/// Maximum length of a target name, bytes (RFC 7143, section 4.2.7.1).
const TARGET_BYTES_MAX: usize = 223;
/// Highest logical unit number in the flat addressing method (SAM-5).
const LUN_MAX: u32 = 16383;
const PATH_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 96;

fn set(
    draft: &mut ParsedSections,
    args: &mut Args<'_>,
    read: fn(&mut Args<'_>) -> Result<Storage, Diagnostic>,
) -> Built {
    let volume = once(&mut draft.volumes, args, "backing")?;
    let value = read(args)?;
    args.end()?;
    let span = args.line().span;
    volume.external = Some(Spanned { value, span });
    Ok(())
}

fn nfs(args: &mut Args<'_>) -> Result<Storage, Diagnostic> {
    let word = args.required("`ADDRESS:/EXPORT/FILE`")?;
    let parts = word.str().split_once(":/");
    let server = parts.and_then(|(server, _)| {
        let bare = server
            .strip_prefix('[')
            .and_then(|one| one.strip_suffix(']'));
        match bare {
            Some(bare) => bare.parse().ok().map(IpAddr::V6),
            None => server.parse().ok().map(IpAddr::V4),
        }
    });
    let (Some(server), Some((_, path))) = (server, parts) else {
        return Err(args.unexpected_value(
            word,
            "not an IP address and a path: write `10.0.0.9:/EXPORT/FILE`, or `[ADDRESS]:/EXPORT/FILE` for IPv6",
        ));
    };
    let path = format!("/{path}");
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    if path.len() > PATH_BYTES_MAX || !is_plain || !path.split('/').skip(1).all(is_part) {
        return Err(args.unexpected_value(
            word,
            "not the path of a file without `.`, `..`, spaces and empty parts",
        ));
    }
    Ok(Storage::Nfs { server, path })
}

fn iscsi(args: &mut Args<'_>) -> Result<Storage, Diagnostic> {
    let word = args.required("the address of the target")?;
    let portal = word.str().parse().ok().or_else(|| {
        let address: IpAddr = word.str().parse().ok()?;
        Some(SocketAddr::new(address, ISCSI_PORT))
    });
    let Some(portal) = portal.filter(|portal| portal.port() != 0) else {
        return Err(args.unexpected_value(word, "not an IP address, with a port or without one"));
    };
    let word = args.required("the name of the target")?;
    let target = word.str().to_owned();
    let kinds = ["iqn.", "eui.", "naa."];
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
    let has_kind = kinds.iter().any(|kind| target.starts_with(kind));
    if !has_kind || target.len() > TARGET_BYTES_MAX || !target.bytes().all(is_letter) {
        return Err(args.unexpected_value(
            word,
            "not the name of a target, such as `iqn.2001-04.com.example:mail`",
        ));
    }
    let lun = args.count("the number of the logical unit", 0..=LUN_MAX)?;
    let (mut user, mut password_file) = (None, None);
    while let Some(word) = args.next() {
        match word.str() {
            "user" if user.is_none() => user = Some(name(args, "a user")?),
            "password-file" if password_file.is_none() => {
                password_file = Some(path(args, "the file of the password")?);
            }
            _ => {
                return Err(args.unexpected_value(word, "not `user` or `password-file`, each once"));
            }
        }
    }
    let login = match (user, password_file) {
        (Some(user), Some(password_file)) => Some(Login {
            user,
            password_file,
        }),
        (None, None) => None,
        _ => {
            let told = "'backing iscsi': `user` and `password-file` belong together";
            return Err(Diagnostic::error(&codes::VALUE, args.line().span, told));
        }
    };
    Ok(Storage::Iscsi {
        portal,
        target,
        lun,
        login,
    })
}

fn rbd(args: &mut Args<'_>) -> Result<Storage, Diagnostic> {
    let word = args.required("`POOL/IMAGE`")?;
    let parts = word.str().split_once('/');
    let Some((pool, image)) = parts.filter(|(pool, image)| is_name(pool) && is_name(image)) else {
        return Err(args.unexpected_value(word, "not `POOL/IMAGE`"));
    };
    let (pool, image) = (pool.to_owned(), image.to_owned());
    let (mut conf, mut user) = (None, None);
    while let Some(word) = args.next() {
        match word.str() {
            "conf" if conf.is_none() => conf = Some(path(args, "a file")?),
            "id" if user.is_none() => user = Some(name(args, "a user of Ceph")?),
            _ => return Err(args.unexpected_value(word, "not `conf` or `id`, each once")),
        }
    }
    Ok(Storage::Rbd {
        pool,
        image,
        conf,
        user,
    })
}

fn is_name(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = word
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && word.len() <= NAME_BYTES_MAX && word.bytes().all(is_letter)
}

fn name(args: &mut Args<'_>, what: &str) -> Result<String, Diagnostic> {
    let word: &ConfigWord = args.required(what)?;
    if is_name(word.str()) {
        Ok(word.str().to_owned())
    } else {
        Err(args.unexpected_value(word, "not a name of letters, digits, `.`, `_` and `-`"))
    }
}

fn path(args: &mut Args<'_>, what: &str) -> Result<PathBuf, Diagnostic> {
    let word = args.required(what)?;
    let path = Path::new(word.str());
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(plain) {
        Ok(path.to_owned())
    } else {
        Err(args.unexpected_value(word, "not an absolute path without `.` and `..`"))
    }
}

const OF_COPIES: &[&str] = &["snapshot every", "verify", "without-majority", "bind"];

pub(super) fn of_volume(before: &[Volume], volume: &Volume) -> Vec<Diagnostic> {
    let Some(external) = &volume.external else {
        return Vec::new();
    };
    let name = &volume.name.value;
    let lines = volume
        .given
        .iter()
        .filter(|(keyword, _)| OF_COPIES.contains(keyword));
    let mut found: Vec<Diagnostic> = lines
        .map(|(keyword, span)| {
            let told =
                format!("volume '{name}' is kept by its storage, so '{keyword}' does not apply");
            Diagnostic::error(&codes::EXTERNAL, span, told)
                .label("for copies that Evenkeel keeps")
                .with_label(external.span, "the storage keeps this one")
                .help("remove this line, and use what the storage has for it")
        })
        .collect();
    if let Some((other, at)) = first_on_image(before, volume) {
        let told = format!("{} belongs to volume '{other}'", external.value);
        let told = Diagnostic::error(&codes::BACKING_TWICE, external.span, told);
        found.push(
            told.label("a second volume on it")
                .with_label(at, "the first is here")
                .with_earlier_behaviour(
                    "the second volume is not served, and guests with it do not start",
                ),
        );
    }
    found
}

pub(super) fn first_on_image<'v>(before: &'v [Volume], volume: &Volume) -> Option<(&'v str, Span)> {
    let external = volume.external.as_ref()?;
    before.iter().find_map(|other| {
        let taken = other.external.as_ref()?;
        let is_same = taken.value.is_same_image(&external.value);
        is_same.then_some((other.name.value.as_str(), taken.span))
    })
}

pub(super) fn built(context: &Context, volume: &Volume) -> Option<ExternalVolume> {
    let external = external(volume)?;
    let here = volume
        .nodes
        .iter()
        .find(|node| context.nodes.is_local_node(&node.value));
    if here.is_none() && !volume.nodes.is_empty() {
        return None;
    }
    Some(ExternalVolume {
        external,
        me: here.map_or_else(String::new, |node| node.value.clone()),
        nodes: volume.nodes.iter().map(|node| node.value.clone()).collect(),
    })
}

pub(super) fn external(volume: &Volume) -> Option<External> {
    Some(External {
        storage: volume.external.as_ref()?.value.clone(),
        size_bytes: volume.size.as_ref().map(|size| size.value),
    })
}

pub(super) static LINES: &[Keyword<VolumeLineBuilder>] = language::rows! {
    "backing nfs <address>:<path>" &["volume"], |draft, args| set(draft, args, nfs),
        "backing nfs 10.0.0.9:/srv/images/mail.img",
        "The volume is this file of an NFS server (version 3), a raw image. The storage keeps its copies: Evenkeel has \
         none, and gives only the ownership. The QEMU of a guest opens the file itself (package qemu-block-extra), and \
         nothing else can use it: there is no socket, snapshot, resync or check of the data. `on` names the nodes that \
         may use it. `size` is optional: a guest sees so many bytes, and does not start if the file has fewer. QEMU \
         has no privileges, so the export needs `insecure` (ports above 1023) and write access for root \
         (`no_root_squash`) or for nobody. After a failure a guest starts elsewhere only when its node is confirmed \
         off: see `fence`.";
    "backing iscsi <address>[:<port>] <target> <lun> [user <name> password-file <file>]" &["volume"],
        |draft, args| set(draft, args, iscsi),
        "backing iscsi 10.0.0.9 iqn.2001-04.com.example:mail 1",
        "The volume is this logical unit of an iSCSI target, at port 3260 unless another one is given. `user` and \
         `password-file` are for CHAP; the file is read on the node that starts the guest, without the end of its \
         line. QEMU's name as an initiator is `iqn.2008-11.org.linux-kvm:` with the name of the guest. All else is as \
         with `backing nfs`.";
    "backing rbd <pool>/<image> [conf <file>] [id <user>]" &["volume"],
        |draft, args| set(draft, args, rbd),
        "backing rbd vms/mail id evenkeel",
        "The volume is this image of Ceph. `conf` is the configuration of Ceph's client, by default \
         /etc/ceph/ceph.conf; QEMU can read that directory, where the keyring is. `id` is the user, without `client.`. \
         All else is as with `backing nfs`.";
};
