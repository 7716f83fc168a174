//! `show proc`: the processes that the supervisor knows, in the columns that
//! scripts take apart.

use std::time::{Duration, Instant};

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Its id.
    pub pid: i32,
    /// When it began.
    pub since: Instant,
    /// Changes that were asked for and that it does not serve: 0 for one that
    /// serves what the files said last.
    pub reloads: u64,
    /// It finishes what it has and was followed by another one.
    pub former: bool,
}

/// What the supervisor knows when it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The supervisor's own id.
    pub pid: u32,
    /// When it began.
    pub since: Instant,
    /// Now.
    pub now: Instant,
    /// Changes that were asked for.
    pub reloads: u64,
    /// How many of them failed since the last that did not.
    pub failed: u64,
    /// What is asked for is not served any more: it ends.
    pub stopping: bool,
    /// The version that is shown.
    pub version: &'static str,
    /// The roles, that which serves first.
    pub workers: Vec<Worker>,
}

impl View {
    /// The worker that relative numbers mean.
    pub fn current(&self) -> Option<i32> {
        let one = self.workers.iter().find(|worker| !worker.former)?;
        Some(one.pid)
    }

    /// Whether a process is one of ours.
    pub fn knows(&self, pid: i32) -> bool {
        self.workers.iter().any(|worker| worker.pid == pid)
    }

    /// The table.
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
