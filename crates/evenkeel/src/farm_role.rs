//! The farm role as a process: it opens its ports, drops all privileges except that for ports below
//! 1024, and runs [`farm::role`].
//!
//! The process makes no decisions about users.

use crate::confinement;
use crate::password::verify;
use crate::trusted::trusted;
use cluster::authority::PartCredentials;
use farm::guests::Source;
use farm::keyword::NAME;
use farm::message::Message;
use farm::role::{Program, Role};
use part::channel::Received;
use part::codec;
use part::report::Report;
use part::role::{Manner, MemberNews, PartMessage};
use part::row::{Beside, Entry, Environment, Life, RoleRow};
use part::voice::write_error;
use part::work::{self, Question, Work};
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// Role row for the supervisor.
pub static ROLE: RoleRow = RoleRow {
    // For the displays of guests in the portal.
    says_to: &[guest::keyword::NAME],
    certified: true,
    life: Life::Beside(Beside {
        answers: true,
        remembers: true,
        ..Beside::plain("farms")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            word: "farm-role",
            shown: "evenkeel: farm",
            what: "farm role",
            environment: Environment::Few,
        },
        work::main::<Farms>,
        "farms",
    )
};

/// Farm role behind the common interface of roles.
struct Farms(Role);

impl Work for Farms {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Farms, String> {
        let program = Program {
            confine: confinement::as_farm,
            verify,
            guests: Source {
                part: guest::keyword::NAME,
                elsewhere: guest::role::report::ELSEWHERE,
                outcome,
            },
        };
        Role::new(program, payload, state).map(Farms)
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

    fn ask(&mut self) -> Vec<Question> {
        self.0.asks()
    }

    fn answered(&mut self, answer: Received) {
        self.0.answered(&answer);
    }

    fn member(&mut self, news: &MemberNews) {
        self.0.member(news);
    }

    fn hear(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        if let Some(credentials) = PartCredentials::of(message) {
            match trusted(credentials) {
                Ok(trusted) => self.0.trust(trusted),
                Err(error) => write_error(&format!(
                    "evenkeel: farm: cannot use the certificate of this node: {error}\n"
                )),
            }
            return Some(Vec::new());
        }
        let order: Message = message.read()?;
        Some(self.0.order(&order))
    }

    fn stop(&mut self, _: Manner) {
        self.0.stop();
    }
}

/// Decodes a response of the part that runs the guests.
fn outcome(answer: &[u8]) -> Result<String, String> {
    match codec::decode::<guest::message::Answer>(answer) {
        Ok(answer) if answer.good => Ok(answer.words),
        Ok(answer) => Err(answer.words),
        Err(_) => Err("its answer is of another program".to_owned()),
    }
}
