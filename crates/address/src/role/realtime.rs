//! Protects the event loop against delays by other programs: with real-time scheduling or a nice
//! value, its own processors, and memory that is never swapped out. All are optional, and the
//! granted ones are reported. Other threads of the role, and the programs that it starts, get no
//! real-time scheduling.

use super::{Level, Log};
use crate::config::{Config, Dialect};
use std::ffi::CString;
use std::hint::black_box;
use std::time::Duration;

/// Default SCHED_RR priority; any value is above ordinary processes.
const PRIORITY: u32 = 50;

/// Adverts more frequent than this enable real-time scheduling by default.
const SUB_SECOND: Duration = Duration::from_secs(1);

/// Time in microseconds that the loop may run without sleeping before the kernel kills the process.
/// A runaway loop must not occupy a processor forever, and the next process resumes its state.
/// `vrrp_rlimit_rttime` can only raise the limit: keepalived only logs when the limit is reached,
/// so its values may be too low for a kill.
const RTTIME_US: u64 = 2_000_000;

/// Size of the stack that is touched in advance, so that its pages are present when needed.
const STACK_BYTES: usize = 128 * 1024;

/// Requests the privileges, and returns descriptions of the granted ones.
pub fn take(config: &Config, log: &mut Log) -> Vec<String> {
    let mut granted = Vec::new();
    let name = config.global.process_name.as_deref();
    if let Some(name) = name.and_then(|name| CString::new(name).ok())
        && let Err(errno) = rustix::thread::set_name(&name)
    {
        refused(log, true, "process_names", &errno.into());
    }
    let own = config.dialect == Dialect::Own;
    let quick = config
        .instances
        .iter()
        .any(|i| i.options.advert_interval < SUB_SECOND);
    let chosen = config.global.realtime_priority.filter(|p| *p > 0);
    let priority = chosen.or((own || quick).then_some(PRIORITY));
    if let Some(priority) = priority {
        match round_robin(
            priority,
            config.global.rttime_us.unwrap_or(0).max(RTTIME_US),
        ) {
            Ok(()) => granted.push(format!("SCHED_RR {priority}")),
            Err(error) => refused(log, chosen.is_some(), "real-time scheduling", &error),
        }
    }
    if config.global.lock_memory || priority.is_some() {
        touch_stack();
        match lock_memory() {
            Ok(()) => granted.push("memory locked".to_owned()),
            Err(error) => refused(log, config.global.lock_memory, "locked memory", &error),
        }
    }
    if let Some(nice) = config.global.nice {
        match rustix::process::setpriority_process(None, nice) {
            Ok(()) => granted.push(format!("nice {nice}")),
            Err(error) => refused(log, true, "vrrp_priority", &error.into()),
        }
    }
    if !config.global.processors.is_empty() {
        match bind_to(&config.global.processors) {
            Ok(()) => granted.push(format!("processors {:?}", config.global.processors)),
            Err(error) => refused(log, true, "vrrp_cpu_affinity", &error),
        }
    }
    granted
}

fn refused(log: &mut Log, asked_for: bool, what: &str, error: &std::io::Error) {
    let level = if asked_for {
        Level::Warning
    } else {
        Level::Info
    };
    log(level, &format!("{what} is not permitted: {error}"));
}

/// Sets real-time scheduling for this thread only, and limits its time without sleep
/// (RLIMIT_RTTIME). Its children get ordinary scheduling (SCHED_RESET_ON_FORK).
fn round_robin(priority: u32, rttime_us: u64) -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: rttime_us,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit is a whole structure that lives during the call.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) };
    if limited != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let priority = i32::try_from(priority).unwrap_or(1).clamp(1, 99);
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    part::scheduling::set_scheduler(policy, priority)
}

fn lock_memory() -> std::io::Result<()> {
    // Pages are locked on first use, so that gigabytes of address space are not locked at once.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: the call takes no pointer.
    if unsafe { libc::mlockall(flags) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[inline(never)]
fn touch_stack() {
    let stack = [0u8; STACK_BYTES];
    black_box(&stack);
}

fn bind_to(processors: &[u32]) -> std::io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for processor in processors {
        let processor = *processor as usize;
        if processor < rustix::thread::CpuSet::MAX_CPU {
            set.set(processor);
        }
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}
