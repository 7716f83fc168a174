//! Renders the texts that the personality `keepalived` prints: version, usage, and signal numbers.

use crate::identity::keepalived_name;

/// Returns the output of `keepalived -v`.
pub fn version() -> String {
    let system = rustix::system::uname();
    format!(
        "{}\n\nRunning on {} {} {}\n\nConfig options:  VRRP VRRP_AUTH VRRP_VMAC JSON BFD\n",
        keepalived_name(),
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.version().to_string_lossy(),
    )
}

pub fn signal(purpose: &str) -> Option<i32> {
    use supervisor::{SIGNAL_CLEAR_STATISTICS, SIGNAL_JSON};
    Some(match purpose {
        "STOP" => nix::libc::SIGTERM,
        "RELOAD" => nix::libc::SIGHUP,
        "DATA" => nix::libc::SIGUSR1,
        "STATS" => nix::libc::SIGUSR2,
        "STATS_CLEAR" => SIGNAL_CLEAR_STATISTICS,
        "JSON" => SIGNAL_JSON,
        _ => return None,
    })
}

/// Output of `keepalived -h`, after the version.
pub const USAGE: &str = "\
Usage: keepalived [OPTION...]
  -f, --use-file=FILE          Use the specified configuration file
                                default '/etc/keepalived/keepalived.conf'
  -P, --vrrp                   Only run with VRRP subsystem
  -C, --check                  Only run with Health-checker subsystem: refused, see `evenkeel run`
  -B, --no_bfd                 Don't run BFD subsystem
      --all                    Force all child processes to run, even if have no configuration
  -l, --log-console            Log messages to local console
  -D, --log-detail             Detailed log messages
  -S, --log-facility=([0-7]|local[0-7]|user|daemon)
                               Set syslog facility to LOG_LOCAL[0-7], user or daemon (default)
  -g, --log-file=FILE          Also log to FILE, the address role's lines to FILE_vrrp
      --flush-log-file         Flush log file on write
  -G, --no-syslog              Don't log via syslog
  -u, --umask=MASK             umask for file creation (in numeric form)
  -X, --release-vips           Drop VIP on transition from signal.
  -V, --dont-release-vrrp      Don't remove VRRP VIPs and VROUTEs on daemon stop
  -I, --dont-release-ipvs      Don't remove IPVS topology on daemon stop (there is none)
  -R, --dont-respawn           Don't respawn child processes
  -n, --dont-fork              Don't fork the daemon process
  -d, --dump-conf              Dump the configuration data
  -p, --pid=FILE               Use specified pidfile for parent process
  -r, --vrrp_pid=FILE          Use specified pidfile for VRRP child process
  -c, --checkers_pid=FILE      Use specified pidfile for checkers child process (there is none)
  -a, --address-monitoring     Report all address additions/deletions notified via netlink (no effect)
  -b, --bfd_pid=FILE           Use specified pidfile for BFD child process (there is none)
  -e, --all-config             Don't load if any configuration file is missing or cannot be read
  -s, --namespace=NAME         Run in network namespace NAME (overrides config)
  -m, --core-dump              Produce core dump if terminate abnormally
  -i, --config-id id           Skip any configuration lines beginning '@' that don't match id
                                or any lines beginning @^ that do match.
      --signum=SIGFUNC         Return signal number for STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON
  -t, --config-test[=LOG_FILE] Check the configuration for obvious errors, output to
                                stderr by default
  -v, --version                Display the version number
  -h, --help                   Display this help message
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_numbers_of_keepalived() {
        let all = ["STOP", "RELOAD", "DATA", "STATS", "STATS_CLEAR", "JSON"];
        let numbers: Vec<_> = all.iter().filter_map(|one| signal(one)).collect();
        assert_eq!(numbers, [15, 1, 10, 12, 63, 36]);
        assert_eq!(signal("TDATA"), None);
    }
}
