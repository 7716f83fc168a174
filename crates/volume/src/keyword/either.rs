//! Parses the lines that are valid both in `volume` sections and in `volume-defaults`:
//! `without-majority` and `verify`.

use super::section::ParsedSections;
use super::{VolumeLineBuilder, codes};
use crate::config::WithoutMajority;
use language::Spanned;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;

fn without_majority(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if let (true, Some(first)) = (draft.in_defaults, &draft.defaults.without_majority) {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    if !draft.in_defaults {
        once(&mut draft.volumes, args, "without-majority")?;
    }
    let word = args.required("`freeze` or `error`")?;
    let known = [WithoutMajority::Freeze, WithoutMajority::Error];
    let found = known.into_iter().find(|one| one.word() == word.str());
    let value = found.ok_or_else(|| args.unexpected_value(word, "not `freeze` or `error`"))?;
    args.end()?;
    if draft.in_defaults {
        draft.defaults.without_majority = Some(Spanned { value, span });
    } else if let Some(volume) = draft.volumes.last_mut() {
        volume.without_majority = Some(value);
    }
    Ok(())
}

fn verify(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if let (true, Some(first)) = (draft.in_defaults, &draft.defaults.verify) {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    if !draft.in_defaults {
        once(&mut draft.volumes, args, "verify")?;
    }
    let word = args.required("`yes` or `no`")?;
    let value = match word.str() {
        "yes" => true,
        "no" => false,
        _ => return Err(args.unexpected_value(word, "not `yes` or `no`")),
    };
    args.end()?;
    let written = Some(Spanned { value, span });
    if draft.in_defaults {
        draft.defaults.verify = written;
    } else if let Some(volume) = draft.volumes.last_mut() {
        volume.verify = written;
    }
    Ok(())
}

pub(super) static LINES: &[Keyword<VolumeLineBuilder>] = language::rows! {
    "without-majority { freeze | error }" &["volume", "volume-defaults"], without_majority,
        "without-majority error",
        "What requests to a volume with two copies do while no node may serve it, because no majority of the cluster \
         is reachable or its complete copy is away. With `freeze`, the default, they wait without an error. With \
         `error`, they fail (EIO) from 10 s after the end of the owner's lease on, so at most 15 s after the majority \
         was lost; so a member that restarts is no error. A node that is not the owner counts 15 s from the time at \
         which it last saw one. In both cases I/O resumes by itself. The blocks of a write that failed have the old or \
         the new content; once the volume is served again, that does not change. In `volume-defaults` it holds for all \
         volumes that do not say it themselves.";
    "verify { yes | no }" &["volume", "volume-defaults"], verify, "verify yes",
        "With `yes`, a checksum of each block of 4 KiB is kept on disk beside the data, on each node with a copy, and \
         each read is compared with it. Data that the disk has damaged without an error is never returned. With two \
         copies, the block is repaired from the other copy, and the client gets the right data. With one copy, or if \
         the other one does not have it either, the read fails (EIO) until the block is overwritten. `evenkeel volume \
         show` has the damage. Clients see a minimum block size of 4 KiB. The checksums take 0.2 % of the volume's \
         size and about 4 MiB of memory. Those of existing data are built while the volume is used, at `resync-rate`. \
         With `no`, the default, they are given up. A change takes effect at the reload, and clients connect again. In \
         `volume-defaults` it holds for all volumes that do not say it themselves.";
};
