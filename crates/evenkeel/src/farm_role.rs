//! Runs the farm role as a process: opens its ports, drops all privileges except that for ports
//! below 1024, and forwards the supervisor's messages to [`farm::role`], which makes all decisions
//! about users.

use crate::password::verify;
use crate::trusted::RoleCredentials;
use farm::guests::GuestProvider;
use farm::keyword::NAME;
use farm::message::OperatorMessage;
use farm::role::{FarmRole, Program};
use part::channel::Received;
use part::report::StatusReport;
use part::role::{Manner, MemberNews, PartMessage};
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::work::{self, PartRequest, Work};
use std::os::fd::BorrowedFd;
use std::time::Instant;

static CREDENTIALS: RoleCredentials = RoleCredentials::new();

pub static ROLE: RoleRow = RoleRow {
    // The portal opens displays of guests by messages to the guest role.
    message_recipients: &[guest::keyword::NAME],
    certified: true,
    life: Life::Beside(SidecarProperties {
        has_clients: true,
        state_survives_stop: true,
        ..SidecarProperties::plain("farms")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            argument: "farm-role",
            process_title: "evenkeel: farm",
            display_name: "farm role",
            environment: Environment::Few,
        },
        work::main::<Farms>,
        "farms",
    )
};

struct Farms(FarmRole);

impl Work for Farms {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Farms, String> {
        let program = Program {
            confine: confinement::as_farm,
            verify,
            guests: GuestProvider {
                part: guest::keyword::NAME,
            },
        };
        FarmRole::new(program, payload, state).map(Farms)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn next_due(&self) -> Option<Instant> {
        Some(self.0.next_due())
    }

    fn run_due_work(&mut self) {
        self.0.run_due_work();
    }

    fn state(&self) -> Vec<u8> {
        self.0.saved_state()
    }

    fn report(&self) -> StatusReport {
        self.0.report()
    }

    fn wake_descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.wake_descriptor())
    }

    fn take_requests(&mut self) -> Vec<PartRequest> {
        self.0.take_requests()
    }

    fn handle_response(&mut self, answer: Received) {
        self.0.handle_response(&answer);
    }

    fn update_membership(&mut self, news: &MemberNews) {
        self.0.member(news);
    }

    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if CREDENTIALS.apply(message, |nodes| self.0.trust(nodes)) {
            return Some(Vec::new());
        }
        let order: OperatorMessage = message.read()?;
        Some(self.0.order(&order))
    }

    fn stop(&mut self, _: Manner) {
        self.0.stop();
    }
}
