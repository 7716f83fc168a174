//! Decides on how many threads the process serves (`nbthread`), restricts the process to a NUMA
//! node (`numa-cpu-mapping`), and warns about impossible `cpu-map` lines. The data plane pins the
//! threads.

use model::config::Global;
use part::voice::MessagePrinter;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::Path;

const NODES: &str = "/sys/devices/system/node";

/// Returns `nbthread`, or the number of processors that the process may use, within the limits of
/// the configuration and the reactor.
pub fn threads(global: &Global) -> usize {
    let usable = || std::thread::available_parallelism().map_or(1, usize::from);
    global
        .threads
        .map_or_else(usable, usize::from)
        .min(global.threads_hard_max.map_or(usize::MAX, usize::from))
        .clamp(1, reactor::THREADS_MAX)
}

/// Restricts the process to the first NUMA node of several, unless the configuration sets the
/// number of threads or their processors. Warns about `cpu-map` lines that have no effect. Has to
/// be called before any thread is started.
pub fn choose(global: &Global, voice: &mut MessagePrinter) {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    for thread in 1..=threads(global) as u32 {
        let Some(wanted) = global.cpus_of_thread(thread) else {
            continue;
        };
        if !wanted.iter().any(|cpu| has(&allowed, *cpu)) {
            voice.warning(format_args!(
                "'cpu-map': none of the processors of thread {thread} is available, so it runs on any."
            ));
        }
    }
    let asked = global.threads.is_some() || !global.cpu_maps.is_empty();
    if !global.numa_unmapped
        && !asked
        && let Some(node) = first_node(Path::new(NODES), &allowed)
    {
        // Ignores errors: the new set is a subset of the allowed processors.
        let _ = sched_setaffinity(None, &node);
    }
}

fn has(set: &CpuSet, cpu: u32) -> bool {
    (cpu as usize) < CpuSet::MAX_CPU && set.is_set(cpu as usize)
}

/// Returns the usable processors of the first node that has some, if other nodes have some too. A
/// process that is restricted to one node already is left alone.
fn first_node(nodes: &Path, allowed: &CpuSet) -> Option<CpuSet> {
    let list = |path: &Path| Some(numbers(&std::fs::read_to_string(path).ok()?));
    let mut found: Option<CpuSet> = None;
    let mut others = false;
    for node in list(&nodes.join("online"))? {
        let cpus = list(&nodes.join(format!("node{node}/cpulist")))?;
        let mut set = CpuSet::new();
        for cpu in cpus.into_iter().filter(|cpu| has(allowed, *cpu)) {
            set.set(cpu as usize);
        }
        match &found {
            _ if set.count() == 0 => {}
            None => found = Some(set),
            Some(_) => others = true,
        }
    }
    found.filter(|_| others)
}

/// Parses a list in the system's format: "0-3,8".
fn numbers(list: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            continue;
        };
        all.extend((first..=last).take(CpuSet::MAX_CPU));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, nodes: &[&str]) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        for (n, cpus) in nodes.iter().enumerate() {
            let node = root.join(format!("node{n}"));
            std::fs::create_dir_all(&node).unwrap();
            std::fs::write(node.join("cpulist"), cpus).unwrap();
        }
        std::fs::write(root.join("online"), format!("0-{}\n", nodes.len() - 1)).unwrap();
        root
    }

    fn set(cpus: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        set
    }

    #[test]
    fn cpu_lists_of_the_kernel_are_parsed() {
        assert_eq!(numbers("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(numbers("3\n"), [3]);
        assert!(numbers("\n").is_empty());
    }

    #[test]
    fn process_on_several_numa_nodes_is_bound_to_the_first() {
        let two = machine("two-nodes", &["0-1\n", "2-3\n"]);
        let all = set(&[0, 1, 2, 3]);
        let node = first_node(&two, &all).unwrap();
        assert!(has(&node, 0) && has(&node, 1) && !has(&node, 2));
        assert!(first_node(&two, &set(&[2, 3])).is_none());
        let one = machine("one-node", &["0-3\n"]);
        assert!(first_node(&one, &all).is_none());
        assert!(first_node(Path::new("/nowhere"), &all).is_none());
        let _ = std::fs::remove_dir_all(one);
        let _ = std::fs::remove_dir_all(two);
    }

    #[test]
    fn nbthread_decides_how_many_threads_there_are() {
        let global = Global {
            threads: Some(3),
            ..Global::default()
        };
        assert_eq!(threads(&global), 3);
        assert!(threads(&Global::default()) >= 1);
    }
}
