//! Runs the volume role as a process: raises the limit of locked memory, drops all privileges that
//! volumes do not need, and forwards the supervisor's messages to [`volume::role`], which has one
//! thread per volume.

use crate::trusted::RoleCredentials;
use confinement::Confinement;
use part::codec;
use part::control::lease_messages;
use part::report::StatusReport;
use part::role::{LeaseNews, Manner, PartMessage, UsedVolumes, WantedLease};
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::work::{self, Work};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;
use supervisor::directory;
use volume::device::Backing;
use volume::role::{VolumeEnvironment, VolumeRole};

const GUEST: &str = "guest";

static CREDENTIALS: RoleCredentials = RoleCredentials::new();

pub static ROLE: RoleRow = RoleRow {
    message_recipients: &[cluster::message::PART, GUEST],
    certified: true,
    life: Life::Beside(SidecarProperties {
        // The stored users let guests reconnect that continue to run while the program is stopped.
        state_survives_stop: true,
        has_runtime_files: true,
        ..SidecarProperties::plain("volumes")
    }),
    ..RoleRow::plain(
        volume::keyword::NAME,
        Entry {
            argument: "volume-role",
            process_title: "evenkeel: volume",
            display_name: "volume role",
            environment: Environment::Few,
        },
        work::main::<Volumes>,
        "volumes",
    )
};

struct Volumes(VolumeRole);

impl Work for Volumes {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Volumes, String> {
        // Raises the limit against which registered memory counts without CAP_IPC_LOCK. After a
        // failure, the role works without registered memory.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        let _ = setrlimit(Resource::Memlock, unlimited);
        let role = VolumeRole::new(VolumeEnvironment {
            runtime: directory::path(),
            confine,
        });
        let mut role = role.map_err(|errno| format!("cannot start: {errno}"))?;
        confinement::apply(&Confinement::volume()).map_err(|error| error.to_string())?;
        if let Some(state) = state {
            role.resume(state);
        }
        role.change(payload)?;
        Ok(Volumes(role))
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.next_due()
    }

    fn run_due_work(&mut self) {
        self.0.check_waiting_changes();
    }

    /// Returns the users of each volume for the next process. Other state of a volume is stored
    /// next to its data.
    fn state(&self) -> Vec<u8> {
        self.0.kept()
    }

    fn report(&self) -> StatusReport {
        self.0.report()
    }

    fn wake_descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.wakes())
    }

    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if CREDENTIALS.apply(message, |nodes| self.0.trust(nodes)) {
            return Some(Vec::new());
        }
        if let Some(used) = UsedVolumes::of(message) {
            self.0.uses(used);
            return Some(Vec::new());
        }
        match LeaseNews::of(message) {
            Some(news) => {
                self.0.apply_lease_news(news);
                Some(Vec::new())
            }
            None => Some(codec::encode(&self.0.order(&message.read()?))),
        }
    }

    fn handle_part_end(&mut self, part: &str) {
        self.0.forget_user(part);
    }

    fn adopted(&mut self) {
        self.0.resend_reports();
    }

    fn stop(&mut self, manner: Manner) {
        self.0.stop(manner);
    }

    fn has_stopped(&self) -> bool {
        self.0.has_stopped()
    }

    fn take_messages(&mut self) -> Vec<PartMessage> {
        let wishes = self.0.wishes();
        let lease = |(name, rank): (String, u32)| WantedLease {
            name,
            rank,
            watch: rank == 0,
            valid_ms: 0,
        };
        let leases = wishes.leases;
        let leases = leases.map(|leases| leases.into_iter().map(lease).collect());
        let news = self.0.news().into_iter();
        let news = news.map(|(part, news)| news.envelope(&part));
        let leases = lease_messages(volume::keyword::NAME, leases, wishes.records);
        leases.chain(news).collect()
    }
}

fn confine(runtime: &Path, backing: &Backing) -> Result<(), String> {
    let confined = confinement::only_volume(runtime, backing.path());
    confined.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
