//! Computes and sets the resource limits of the process: open files, the number of connections that
//! they permit, and memory. The arithmetic is separate from the system calls.

use super::StartError;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors besides connections and listeners: standard streams, log sockets, checks, the
/// descriptors of each thread.
const RESERVE: u64 = 100;
/// Descriptors of one thread: epoll and an eventfd.
const PER_THREAD: u64 = 2;
const PER_CONNECTION: u64 = 2;
/// Descriptors of all pipes for splicing bodies. Without pipes, bodies are copied, so these
/// descriptors are requested only if the system permits them.
const FOR_PIPES: u64 = 2 * reactor::PIPES_MAX as u64;
/// Hard limit of open files from which the default of `maxconn` is computed at most: some systems
/// have a limit of a thousand million.
const DEFAULT_FILES_MAX: u64 = 1 << 20;

/// Resource limits that a configuration requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WantedLimits {
    pub connections: Option<u32>,
    pub files: Option<u64>,
    pub files_hard: Option<u64>,
    pub listeners: usize,
    pub checks: usize,
    pub threads: usize,
    /// An unreachable limit ends the start (`strict-limits`).
    pub strict: bool,
    /// `-m`: memory limit, MiB.
    pub memory_mib: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub connections: u32,
    pub files: u64,
    /// Required limit of open files that could not be set, so that `connections` is lower than
    /// configured.
    pub lowered_by: Option<u64>,
}

/// Computes the number of connections and the limit of open files from the soft and the hard limit.
///
/// # Errors
/// Fails if the hard limit is too low for one connection, or, with `strict`, for the configuration.
pub fn plan(wanted: &WantedLimits, soft: u64, hard: u64) -> Result<Limits, StartError> {
    let fixed = RESERVE
        + wanted.listeners as u64
        + wanted.checks as u64
        + PER_THREAD * wanted.threads as u64;
    // With fewer files, the process could not even receive a configuration change with its
    // descriptors.
    let least = fixed + PER_CONNECTION;
    let too_low = |wanted| StartError::FileLimit {
        wanted,
        allowed: hard,
    };
    if hard < least {
        return Err(too_low(least));
    }
    let room = |files: u64| {
        let room = files.saturating_sub(fixed) / PER_CONNECTION;
        u32::try_from(room).unwrap_or(u32::MAX)
    };
    let limits = |connections, files| Limits {
        connections,
        files,
        lowered_by: None,
    };
    let Some(connections) = wanted.connections else {
        let most = wanted.files_hard.unwrap_or(DEFAULT_FILES_MAX);
        let files = wanted.files.unwrap_or_else(|| hard.min(most));
        if files > hard && wanted.strict {
            return Err(too_low(files));
        }
        let files = files.clamp(least, hard);
        return Ok(limits(room(files), files));
    };
    let needed = fixed + PER_CONNECTION * u64::from(connections);
    // A limit that the configuration sets is kept, even if it is too low: HAProxy then starts, and
    // accepts while descriptors are left.
    let comfortable = needed.max(hard.min(needed.saturating_add(FOR_PIPES)));
    let files = wanted
        .files
        .map_or(comfortable.max(soft), |files| files.max(least));
    if files <= hard {
        return Ok(limits(connections, files));
    }
    if wanted.strict {
        return Err(too_low(files));
    }
    Ok(Limits {
        connections: connections.min(room(hard)),
        files: hard,
        lowered_by: Some(files),
    })
}

/// Sets the limits of open files and of memory. Tries to raise a hard limit of open files that is
/// too low.
pub fn apply(wanted: &WantedLimits) -> Result<Limits, StartError> {
    let (soft, _) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| refused("open files", errno))?;
    let limits = apply_files(wanted, soft)?;
    if let Some(mib) = wanted.memory_mib {
        let bytes = mib.saturating_mul(1 << 20);
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes).map_err(|errno| refused("memory", errno))?;
    }
    Ok(limits)
}

fn refused(resource: &'static str, errno: Errno) -> StartError {
    StartError::Limit { resource, errno }
}

/// Sets only the limit of open files. `start` is the soft limit at the start of the process.
/// Without the privilege to raise the hard limit, plans again within that limit.
pub fn apply_files(wanted: &WantedLimits, start: u64) -> Result<Limits, StartError> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| refused("open files", errno))?;
    let set = |limits: Limits| -> Result<Limits, StartError> {
        if limits.files != soft {
            setrlimit(
                Resource::RLIMIT_NOFILE,
                limits.files,
                hard.max(limits.files),
            )
            .map_err(|_| StartError::FileLimit {
                wanted: limits.files,
                allowed: hard,
            })?;
        }
        Ok(limits)
    };
    // Plans without regard to the hard limit if the configuration sets a limit: a privileged
    // process can raise it.
    let wishes = wanted.connections.is_some() || wanted.files.is_some();
    let highest = if wishes { u64::MAX } else { hard };
    match plan(wanted, start, highest).and_then(set) {
        Ok(limits) => Ok(limits),
        Err(_) => set(plan(wanted, start, hard)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(connections: Option<u32>) -> WantedLimits {
        WantedLimits {
            connections,
            listeners: 2,
            threads: 1,
            strict: true,
            ..Default::default()
        }
    }

    #[test]
    fn without_maxconn_the_limit_of_the_system_decides() {
        let limits = plan(&wanted(None), 1024, 20_000).unwrap();
        assert_eq!(
            limits,
            Limits {
                connections: 9948,
                files: 20_000,
                lowered_by: None
            }
        );
        let limits = plan(&wanted(None), 1024, u64::MAX).unwrap();
        assert_eq!(limits.files, DEFAULT_FILES_MAX);
        let bounded = WantedLimits {
            files_hard: Some(5_000),
            ..wanted(None)
        };
        assert_eq!(plan(&bounded, 1024, 20_000).unwrap().files, 5_000);
    }

    #[test]
    fn maxconn_raises_the_limit_to_two_descriptors_a_connection() {
        let limits = plan(&wanted(Some(5000)), 1024, 20_000).unwrap();
        assert_eq!((limits.connections, limits.files), (5000, 10_232));
        let small = plan(&wanted(Some(10)), 1024, 20_000).unwrap();
        assert_eq!(small.files, 1024, "never lowered");
    }

    #[test]
    fn pipes_have_what_the_connections_leave() {
        let exactly = plan(&wanted(Some(5000)), 1024, 10_104).unwrap();
        assert_eq!((exactly.connections, exactly.files), (5000, 10_104));
        let almost = plan(&wanted(Some(5000)), 1024, 10_200).unwrap();
        assert_eq!((almost.connections, almost.files), (5000, 10_200));
    }

    #[test]
    fn too_high_a_maxconn_is_refused_or_lowered() {
        let error = plan(&wanted(Some(50_000)), 1024, 20_000).unwrap_err();
        assert!(matches!(
            error,
            StartError::FileLimit {
                wanted: 100_104,
                allowed: 20_000
            }
        ));
        let lenient = WantedLimits {
            strict: false,
            ..wanted(Some(50_000))
        };
        let limits = plan(&lenient, 1024, 20_000).unwrap();
        assert_eq!(limits.lowered_by, Some(100_104));
        assert_eq!((limits.connections, limits.files), (9948, 20_000));
    }

    #[test]
    fn too_low_a_limit_for_a_change_and_a_connection_is_refused() {
        for (connections, files, strict) in [
            (None, None, true),
            (None, Some(20), true),
            (Some(50_000), None, false),
            (Some(10), Some(20), true),
        ] {
            let wanted = WantedLimits {
                files,
                strict,
                ..wanted(connections)
            };
            let error = plan(&wanted, 24, 105).unwrap_err();
            let (wanted_files, allowed) = (106, 105);
            assert!(
                matches!(error, StartError::FileLimit { wanted, allowed: a } if wanted == wanted_files && a == allowed),
                "{error:?}"
            );
            assert_eq!(plan(&wanted, 24, 106).unwrap().files, 106);
        }
    }
}
