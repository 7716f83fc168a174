//! Runs the boot role as a process: keeps the capabilities for its ports, restricts file access,
//! and forwards the supervisor's messages to [`boot::role`], which makes all decisions about
//! machines.

use crate::trusted::RoleCredentials;
use boot::keyword::NAME;
use boot::message::OperatorRequest;
use boot::role::{BootEnvironment, BootRole};
use confinement::Confinement;
use part::control::lease_messages;
use part::report::StatusReport;
use part::role::{LeaseNews, Manner, MemberNews, PartMessage};
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::work::{self, Work};
use rustix::thread::CapabilitySet;
use std::io;
use std::path::Path;
use std::time::Instant;
use supervisor::directory;

static CREDENTIALS: RoleCredentials = RoleCredentials::new();

pub static ROLE: RoleRow = RoleRow {
    message_recipients: &[cluster::message::PART],
    certified: true,
    life: Life::Beside(SidecarProperties::plain("network boot")),
    ..RoleRow::plain(
        NAME,
        Entry {
            argument: "boot-role",
            process_title: "evenkeel: boot",
            display_name: "boot role",
            environment: Environment::Few,
        },
        work::main::<Boots>,
        "network boot",
    )
};

/// Capabilities that the role keeps: raw packets, and ports below 1024 when an interface returns.
const KEEPS: CapabilitySet = CapabilitySet::NET_RAW.union(CapabilitySet::NET_BIND_SERVICE);

struct Boots(BootRole);

impl Work for Boots {
    fn start(payload: &[u8], _: Option<&[u8]>) -> Result<Boots, String> {
        let keep = confinement::keep_only(KEEPS, false);
        keep.map_err(|error| error.to_string())?;
        let confined = confinement::apply(&Confinement::boot());
        confined.map_err(|error| error.to_string())?;
        let place = BootEnvironment {
            only_reads,
            only_writes,
            runtime: directory::path,
        };
        BootRole::new(place, payload).map(Boots)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.due()
    }

    fn run_due_work(&mut self) {
        self.0.evaluate_networks();
    }

    /// Returns nothing: leases and other state for the next role are in the files of the state
    /// directory.
    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn report(&self) -> StatusReport {
        self.0.report()
    }

    fn update_membership(&mut self, news: &MemberNews) {
        self.0.apply_member_news(news);
    }

    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if let Some(news) = LeaseNews::of(message) {
            self.0.apply_lease_news(&news);
            return Some(Vec::new());
        }
        if CREDENTIALS.apply(message, |nodes| self.0.trust(nodes)) {
            return Some(Vec::new());
        }
        let order: OperatorRequest = message.read()?;
        Some(self.0.order(&order))
    }

    fn adopted(&mut self) {
        self.0.repeat_messages();
    }

    fn take_messages(&mut self) -> Vec<PartMessage> {
        let says = self.0.take_messages();
        lease_messages(NAME, says.leases, says.records).collect()
    }

    fn stop(&mut self, _: Manner) {
        self.0.stop();
    }
}

fn only_reads() -> io::Result<()> {
    confinement::only_reading()
        .map(drop)
        .map_err(io::Error::other)
}

fn only_writes(directory: &Path) -> io::Result<()> {
    let confined = confinement::only_directory(directory);
    confined.map(drop).map_err(io::Error::other)
}
