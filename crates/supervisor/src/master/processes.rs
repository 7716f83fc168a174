//! Formats the response to `show proc`: the supervisor and its proxy roles, in the columns that
//! scripts parse.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Worker {
    pub pid: i32,
    pub since: Instant,
    /// Number of reloads that failed since the last successful one, as in [`View::failed`].
    pub reloads: u64,
    /// True if the process finishes its connections and has a successor.
    pub former: bool,
}

/// The supervisor's state at the time of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub pid: u32,
    pub since: Instant,
    pub now: Instant,
    pub reloads: u64,
    /// Number of reloads that failed since the last successful one.
    pub failed: u64,
    pub stopping: bool,
    pub version: &'static str,
    /// The proxy roles, the current one first.
    pub workers: Vec<Worker>,
}

impl View {
    pub fn current(&self) -> Option<i32> {
        let one = self.workers.iter().find(|worker| !worker.former)?;
        Some(one.pid)
    }

    pub fn knows(&self, pid: i32) -> bool {
        self.workers.iter().any(|worker| worker.pid == pid)
    }

    pub fn table(&self) -> String {
        let uptime = |since| shown(self.now.saturating_duration_since(since));
        let mut text = row(["#<PID>", "<type>", "<reloads>", "<uptime>", "<version>"]);
        text += &row([
            &self.pid.to_string(),
            "master",
            &format!("{} [failed: {}]", self.reloads, self.failed),
            &uptime(self.since),
            self.version,
        ]);
        text += "# workers\n";
        for former in [false, true] {
            let these = self.workers.iter().filter(|one| one.former == former);
            let rows: String = these
                .map(|one| {
                    let (pid, reloads) = (one.pid.to_string(), one.reloads.to_string());
                    row([&pid, "worker", &reloads, &uptime(one.since), self.version])
                })
                .collect();
            if former && !rows.is_empty() {
                text += "# old workers\n";
            }
            text += &rows;
        }
        text + "# programs\n"
    }
}

fn row([pid, kind, reloads, uptime, version]: [&str; 5]) -> String {
    format!("{pid:<15} {kind:<15} {reloads:<15} {uptime:<15} {version:<15}\n")
}

fn shown(uptime: Duration) -> String {
    let s = uptime.as_secs();
    format!(
        "{}d{:02}h{:02}m{:02}s",
        s / 86_400,
        s / 3_600 % 24,
        s / 60 % 60,
        s % 60
    )
}

#[cfg(test)]
pub(super) fn view(now: Instant) -> View {
    View {
        pid: 12573,
        since: now,
        now,
        reloads: 2,
        failed: 1,
        stopping: false,
        version: "2.6.12-1+deb12u4",
        workers: vec![Worker {
            pid: 12838,
            since: now,
            reloads: 1,
            former: false,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_haproxy() {
        let since = Instant::now();
        let mut view = view(since);
        view.now = since + Duration::from_secs(86_400 + 3_600 + 62);
        assert_eq!(
            view.table(),
            "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
             12573           master          2 [failed: 1]   1d01h01m02s     2.6.12-1+deb12u4\n\
             # workers\n\
             12838           worker          1               1d01h01m02s     2.6.12-1+deb12u4\n\
             # programs\n"
        );
        view.workers.push(Worker {
            pid: 7,
            former: true,
            ..view.workers[0]
        });
        let table = view.table();
        assert!(
            table.contains("# old workers\n7               worker          1   "),
            "{table}"
        );
        assert!(view.knows(7) && !view.knows(8));
        assert_eq!(view.current(), Some(12838));
    }
}
