//! Parses `cpu-map` lines into sets of threads and processors, which are applied when threads
//! start. The parser of thread sets also serves other lines.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{CPUS_MAX, CpuMap, CpuSet, ThreadSet};

/// Highest number of a thread or thread group.
const THREADS_MAX: u32 = 64;

fn wrong(word: &ConfigWord, text: &str, what: String) -> Diagnostic {
    Diagnostic::error(
        &codes::BAD_VALUE,
        word.span,
        format!("'cpu-map': '{text}' is not a set of {what}"),
    )
    .help("write `cpu-map [auto:]<group>[/<threads>] <processors> …`, as in `cpu-map 1/1-4 0-3`")
}

/// Parses `3`, `1-4` or `2-` into the lowest and the highest number. An open end means `highest`.
fn range(text: &str, lowest: u32, highest: u32) -> Option<(u32, u32)> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|n| (lowest..=highest).contains(n))
    };
    match text.split_once('-') {
        None => number(text).map(|n| (n, n)),
        Some((first, "")) => number(first).map(|n| (n, highest)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            Some((first.min(last), first.max(last)))
        }
    }
}

pub(super) fn thread_set(text: &str) -> Option<ThreadSet> {
    match text {
        "all" => Some(ThreadSet::All),
        "odd" => Some(ThreadSet::Odd),
        "even" => Some(ThreadSet::Even),
        _ => range(text, 1, THREADS_MAX).map(|(first, last)| ThreadSet::Range(first, last)),
    }
}

fn cpu_map(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a thread group")?;
    let text = word.text();
    let (one_each, set) = match text.strip_prefix("auto:") {
        Some(set) => (true, set),
        None => (false, &*text),
    };
    let (group, threads) = set.split_once('/').unwrap_or((set, "all"));
    let bad = || {
        wrong(
            word,
            set,
            format!("threads (all, odd, even, 1 to {THREADS_MAX})"),
        )
    };
    let group = thread_set(group).ok_or_else(bad)?;
    let threads = thread_set(threads).ok_or_else(bad)?;
    let mut cpus = Vec::new();
    super::value::require_word(args, "processors")?;
    for word in args.rest() {
        for part in word.text().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = range(part, 0, CPUS_MAX - 1)
                .ok_or_else(|| wrong(word, part, format!("processors (0 to {})", CPUS_MAX - 1)))?;
            cpus.extend(first..=last);
        }
    }
    if !group.contains(1) {
        loader.report(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                word.span,
                "this 'cpu-map' has another process or thread group than the first one",
            )
            .label("there is only one thread group"),
        );
        return Ok(());
    }
    loader.config.global.cpu_maps.push(CpuMap {
        one_each,
        threads,
        cpus: CpuSet(cpus),
    });
    Ok(())
}

pub static LINES: &[LineRow] = language::rows! {
    "cpu-map [auto:]<group>[/<threads>] <processors> …" GLOBAL, cpu_map, "cpu-map auto:1/1-4 0-3",
        "Sets the processors on which threads run. Threads are numbered from 1 and selected by number, range, `all`, \
         `odd` or `even`; processors are numbered from 0. With `auto:` each thread of the set gets one processor of \
         the list. The group is always 1.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_may_be_single_open_or_reversed_and_stay_within_bounds() {
        assert_eq!(range("3", 0, 9), Some((3, 3)));
        assert_eq!(range("3-", 0, 9), Some((3, 9)));
        assert_eq!(range("5-2", 0, 9), Some((2, 5)));
        for bad in ["", "-", "-3", "10", "1-10", "x", "0x1", "1-2-3"] {
            assert_eq!(range(bad, 0, 9), None, "{bad}");
        }
    }
}
