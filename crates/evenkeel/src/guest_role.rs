//! Runs the guest role as a process with a single thread: keeps the privileges to create network
//! interfaces and to start QEMU, which drops them, and forwards the supervisor's messages to
//! [`guest::role`], which makes all decisions about guests.

use crate::trusted::RoleCredentials;
use guest::keyword::NAME;
use guest::message::{
    Fences, FencesRequest, GuestConfigurationRequest, GuestResponse, StandstillRequest,
};
use guest::qemu::group::GuestGroups;
use guest::qemu::host::{has_kvm, program};
use guest::remote::{OpenRequest, StreamRequest};
use guest::role::{GuestRole, RoleEnvironment};
use part::codec;
use part::control::lease_messages;
use part::report::StatusReport;
use part::role::{LeaseNews, Manner, PartMessage, VolumeNews};
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::voice::write_error;
use part::work::{self, Work};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;
use supervisor::directory;

static CREDENTIALS: RoleCredentials = RoleCredentials::new();

pub static ROLE: RoleRow = RoleRow {
    message_recipients: &[cluster::message::PART, volume::keyword::NAME],
    certified: true,
    life: Life::Beside(SidecarProperties {
        dependencies: &[volume::keyword::NAME],
        continues_after_stop: true,
        has_runtime_files: true,
        ..SidecarProperties::plain("guests")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            argument: "guest-role",
            process_title: "evenkeel: guest",
            display_name: "guest role",
            environment: Environment::Few,
        },
        work::main::<Guests>,
        "guests",
    )
};

struct Guests(GuestRole);

impl Work for Guests {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Guests, String> {
        let place = RoleEnvironment {
            runtime: directory::path().to_owned(),
            program: program(),
            confine: Some(confine),
            groups: groups(),
            has_kvm: has_kvm(),
            move_bandwidth: guest::role::move_bandwidth(),
            claimed: directory::claimed_by_others(std::os::unix::process::parent_id()),
            // Starts commands by `/proc/self/exe`, which stays valid if the file of the program is
            // replaced.
            commands: "/proc/self/exe".into(),
        };
        GuestRole::new(place, payload, state).map(Guests)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.due()
    }

    fn run_due_work(&mut self) {
        self.0.turn();
    }

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
        if let Some(news) = LeaseNews::of(message) {
            self.0.apply_lease_news(news);
            return Some(Vec::new());
        }
        if let Some(news) = VolumeNews::of(message) {
            self.0.apply_volume_news(news);
            return Some(Vec::new());
        }
        if let Some(ask) = FencesRequest::of(message) {
            return Some(codec::encode(&Fences(self.0.fences(&ask.node))));
        }
        if let Some(ask) = GuestConfigurationRequest::of(message) {
            return Some(codec::encode(&self.0.known(&ask.name)));
        }
        if let Some(ask) = StandstillRequest::of(message) {
            return Some(codec::encode(&self.0.stand(&ask)));
        }
        if let Some(ask) = StreamRequest::of(message) {
            return Some(codec::encode(&self.0.stream(&ask)));
        }
        Some(codec::encode(&self.0.order(&message.read()?)))
    }

    fn handle_connection(&mut self, message: &PartMessage, connection: OwnedFd) -> Option<Vec<u8>> {
        let ask = OpenRequest::of(message)?;
        let done = self.0.open(&ask, &message.by, connection.into());
        Some(codec::encode(&GuestResponse::of(done)))
    }

    fn adopted(&mut self) {
        self.0.adopted();
    }

    fn stop(&mut self, _: Manner) {
        self.0.end();
    }

    fn take_messages(&mut self) -> Vec<PartMessage> {
        let says = self.0.take_outbox();
        let volumes = says.volumes;
        let volumes = volumes.map(|used| used.envelope(volume::keyword::NAME));
        let leases = lease_messages(NAME, says.leases, says.records);
        leases.chain(volumes).collect()
    }
}

/// Returns the control group for those of QEMU processes. Without one, guests run in the group of the
/// role.
fn groups() -> Option<GuestGroups> {
    let opened = GuestGroups::from_environment();
    opened
        .inspect_err(|error| {
            write_error(&format!(
                "evenkeel: guests: no control group for each guest, so their memory is neither limited nor \
                 reported: {error}\n"
            ));
        })
        .ok()
}

pub(crate) fn confine(home: &Path, files: &[&Path]) -> io::Result<Option<OwnedFd>> {
    confinement::of_guest(home, files).map_err(io::Error::other)
}
