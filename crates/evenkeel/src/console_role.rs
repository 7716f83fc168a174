//! The console role as a process: it opens its port, drops all privileges, and runs
//! [`console::role`].
//!
//! The process makes no decisions: it forwards each operation to the part that can execute it.

use crate::command::look_up;
use crate::confinement;
use crate::demonstration;
use crate::identity;
use crate::password::verify;
use crate::trusted::trusted;
use address::message::{HandedOver, PART as ADDRESS};
use cluster::authority::PartCredentials;
use cluster::message::PART as CLUSTER;
use console::keyword::NAME;
use console::message::AskLink;
use console::role::{Place, Role};
use console::shared::Manual;
use part::channel::Received;
use part::codec;
use part::report::Report;
use part::role::{Level, Manner, MemberNews, PartMessage};
use part::row::{self, Beside, Entry, Environment, Life, RoleRow};
use part::versions;
use part::voice::write_error;
use part::work::{self, Question, Work};
use proxy::message::{Message as OfProxy, PART as PROXY};
use std::iter;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// Role row for the supervisor.
pub static ROLE: RoleRow = RoleRow {
    says_to: &[
        PROXY,
        ADDRESS,
        guest::keyword::NAME,
        farm::keyword::NAME,
        CLUSTER,
        supervisor::ROUTE,
        demonstration::NAME,
    ],
    reads_reports: true,
    certified: true,
    life: Life::Beside(Beside {
        remembers: true,
        ..Beside::plain("console")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            word: "console-role",
            shown: "evenkeel: console",
            what: "console role",
            environment: Environment::Few,
        },
        work::main::<Console>,
        "console",
    )
};

/// Console role behind the common interface of roles.
struct Console(Role);

impl Work for Console {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Console, String> {
        let place = Place {
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
            outcome,
            confine: confinement::as_console,
        };
        Role::new(place, payload, state).map(Console)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.0.due())
    }

    fn work(&mut self) {
        self.0.turn();
    }

    fn state(&self) -> Vec<u8> {
        self.0.kept()
    }

    fn report(&self) -> Report {
        self.0.report()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.wakes())
    }

    fn member(&mut self, news: &MemberNews) {
        self.0.member(news);
    }

    fn hear(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if let Some(credentials) = PartCredentials::of(message) {
            match trusted(credentials) {
                Ok(trusted) => self.0.trust(trusted),
                Err(error) => write_error(&format!(
                    "evenkeel: console: cannot use the certificate of this node: {error}\n"
                )),
            }
            return Some(Vec::new());
        }
        AskLink::is(message).then(|| codec::encode(&self.0.link()))
    }

    fn ask(&mut self) -> Vec<Question> {
        self.0.asks()
    }

    fn answered(&mut self, answer: Received) {
        self.0.answered(answer);
    }

    fn stop(&mut self, _: Manner) {
        self.0.stop();
    }

    fn has_stopped(&self) -> bool {
        self.0.has_stopped()
    }
}

/// Returns the parts with a report, except the console: the processes, the roles beside the proxy,
/// and the cluster.
fn parts() -> Vec<&'static str> {
    let rows = row::all().iter();
    let reports = rows.filter(|row| row.beside().is_some() || row.part == CLUSTER);
    let reports = reports.map(|row| row.part).filter(|part| *part != NAME);
    iter::once(supervisor::PART).chain(reports).collect()
}

/// Decodes a part's response to an operation that its report offered.
fn outcome(part: &str, answer: &[u8]) -> Result<String, String> {
    let known = |words: String, good: bool| if good { Ok(words) } else { Err(words) };
    let said = match part {
        ADDRESS => codec::decode::<HandedOver>(answer).map(|said| known(said.words, said.moves)),
        _ => {
            codec::decode::<guest::message::Answer>(answer).map(|said| known(said.words, said.good))
        }
    };
    said.unwrap_or_else(|_| Err("its answer is of another program".to_owned()))
}
