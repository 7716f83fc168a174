//! Runs the console role as a process: opens its port, drops all privileges, and forwards the
//! supervisor's messages to [`console::role`].
//!
//! The process executes no operation itself: it sends each one to the part that can execute it.

use crate::command::look_up;
use crate::identity;
use crate::password::verify;
use crate::trusted::RoleCredentials;
use address::message::PART as ADDRESS;
use cluster::message::PART as CLUSTER;
use console::keyword::NAME;
use console::message::LinkRequest;
use console::role::{ConsoleEnvironment, ConsoleRole};
use console::shared::Manual;
use part::channel::Received;
use part::codec;
use part::report::StatusReport;
use part::role::{Level, Manner, MemberNews, PartMessage};
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::versions;
use part::work::{self, PartRequest, Work};
use proxy::message::{PART as PROXY, ProxyMessage as OfProxy};
use std::os::fd::BorrowedFd;
use std::time::Instant;

static CREDENTIALS: RoleCredentials = RoleCredentials::new();

pub static ROLE: RoleRow = RoleRow {
    message_recipients: &[
        PROXY,
        ADDRESS,
        guest::keyword::NAME,
        #[cfg(feature = "farm")]
        farm::keyword::NAME,
        CLUSTER,
        supervisor::ROUTE,
        #[cfg(feature = "demonstration")]
        demo::demonstration::NAME,
    ],
    reads_reports: true,
    certified: true,
    life: Life::Beside(SidecarProperties {
        state_survives_stop: true,
        ..SidecarProperties::plain("console")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            argument: "console-role",
            process_title: "evenkeel: console",
            display_name: "console role",
            environment: Environment::Few,
        },
        work::main::<Console>,
        "console",
    )
};

struct Console(ConsoleRole);

impl Work for Console {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Console, String> {
        let place = ConsoleEnvironment {
            host: identity::host_name,
            parts,
            versions: || versions::envelope(CLUSTER),
            operate: |level: Level| OfProxy::Operate { level }.envelope(),
            route: || PartMessage::new(supervisor::ROUTE, 1, &()),
            verify,
            manual: Manual {
                of_line: look_up::of_line,
                of_code: look_up::of_code,
            },
            confine: confinement::as_console,
        };
        ConsoleRole::new(place, payload, state).map(Console)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn next_due(&self) -> Option<Instant> {
        Some(self.0.due())
    }

    fn run_due_work(&mut self) {
        self.0.do_pending_work();
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

    fn update_membership(&mut self, news: &MemberNews) {
        self.0.apply_member_news(news);
    }

    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if CREDENTIALS.apply(message, |nodes| self.0.trust(nodes)) {
            return Some(Vec::new());
        }
        LinkRequest::is(message).then(|| codec::encode(&self.0.link()))
    }

    fn take_requests(&mut self) -> Vec<PartRequest> {
        self.0.take_queries()
    }

    fn handle_response(&mut self, answer: Received) {
        self.0.handle_response(answer);
    }

    fn stop(&mut self, _: Manner) {
        self.0.stop();
    }

    fn has_stopped(&self) -> bool {
        self.0.has_stopped()
    }
}

/// Returns the names of all parts that have a report, except the console.
fn parts() -> Vec<&'static str> {
    let shown = crate::command::status::shown_parts();
    shown.filter(|part| *part != NAME).collect()
}
