//! What operators ask about addresses: passed on to the role, whose answers come
//! in the order of the questions.

use super::super::run::Supervisor;
use crate::roles::channel::Received;
use part::role::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a role may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Questions that wait at one time.
const WAITING_MAX: usize = 256;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// How everything is.
    Status,
    /// Another machine is to have the addresses.
    HandOver {
        /// Of which instance; all without a name.
        name: Option<String>,
        /// How long requests may finish.
        drain_ms: Option<u64>,
    },
}

/// Somebody who waits for an answer; none where it was for ourselves.
pub struct Waiting {
    client: u64,
    /// When it is told that there is none.
    pub until: Instant,
}

impl Supervisor {
    /// Passes a question on, or says that there is nobody who could answer.
    pub(in super::super) fn ask_addresses(&mut self, client: u64, question: &Question) {
        let message = match question {
            Question::Status => Message::TellAddresses,
            Question::HandOver { name, drain_ms } => Message::HandOverAddresses {
                name: name.clone(),
                drain_ms: *drain_ms,
            },
        };
        let room = self.addresses.waiting.len() < WAITING_MAX;
        let role = self
            .addresses
            .role
            .as_mut()
            .filter(|role| role.ready && room);
        let asked = role.is_some_and(|role| role.say(&message));
        if !asked {
            let words = match self.addresses.run.is_some() {
                true => "the address role does not answer",
                false => "there are no virtual addresses in these files",
            };
            return self.answer_nothing(client, words);
        }
        self.addresses.waiting.push_back(Waiting {
            client,
            until: Instant::now() + ANSWER_LIMIT,
        });
    }

    fn answer_nothing(&mut self, client: u64, words: &str) {
        let words = words.to_owned();
        let message = Message::AddressesHandedOver {
            moves: false,
            words,
        };
        self.answer_question(client, &message, Vec::new());
    }

    fn answer_question(
        &mut self,
        client: u64,
        message: &Message,
        descriptors: Vec<crate::roles::Shared>,
    ) {
        if let Some(control) = &mut self.control {
            control.answer(client, message, &descriptors);
        }
    }

    /// The role answered the oldest question.
    pub(super) fn question_answered(&mut self, received: Received) {
        let Some(waiting) = self.addresses.waiting.pop_front() else {
            return;
        };
        let descriptors = received.descriptors.into_iter().map(Arc::new).collect();
        self.answer_question(waiting.client, &received.message, descriptors);
    }

    /// Who waits for too long is told so, and nobody is answered with the answer
    /// to another question: the role that is late is not asked any more.
    pub(super) fn give_up_questions(&mut self, now: Instant) {
        let late = self.addresses.waiting.front();
        if late.is_some_and(|waiting| waiting.until <= now) {
            self.drop_questions();
            if let Some(role) = &mut self.addresses.role {
                // It is followed by another one, which goes on where it was.
                role.process.kill();
            }
        }
    }

    /// Nobody answers any more.
    pub(super) fn drop_questions(&mut self) {
        while let Some(waiting) = self.addresses.waiting.pop_front() {
            self.answer_nothing(waiting.client, "the address role did not answer");
        }
    }
}
