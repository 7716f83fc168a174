//! Defines the content of a log entry: a command, its author's signature, and the ticket that makes
//! the command idempotent.
//!
//! A proposer without a response proposes the command again under the same ticket. The
//! first one in the log counts, and the others get its result.

use crate::command::{ClusterCommand, CommandResult};
use crate::member::MemberId;
use part::codec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};
use std::collections::BTreeMap;
use std::fmt;

/// Context of the signature of a proposal: nothing else that a member signs begins like this.
const SIGNED_CONTEXT: &[u8] = b"evenkeel command 1\0";

/// Largest number of unanswered proposals of one member.
pub const WAITING_MAX: usize = 64;

/// The ticket of a proposal, which makes it idempotent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ticket {
    pub member: MemberId,
    /// Number of times that member's engine was started.
    pub start: u64,
    /// Sequence number within that start.
    pub number: u64,
    /// All smaller numbers were answered or abandoned.
    pub settled: u64,
}

/// The signature of a member, with what is needed to check it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberSignature {
    /// The Ed25519 public key. The state knows its digest.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    /// The certificate (DER) of the key, where the state does not know the key yet: the
    /// certificate proves that the key succeeds the one that the state knows.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

/// Signs in the name of this member.
pub trait Signer: Send + Sync {
    /// Signs these bytes with the present key of the member.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign(&self, bytes: &[u8]) -> Result<MemberSignature, SigningError>;
}

/// The member's key cannot sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the key of this member cannot sign")]
pub struct SigningError;

/// The bytes that were signed, and the signature. The bytes are stored as they were signed, so that
/// a release of evenkeel with more fields verifies the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorship {
    signed: Vec<u8>,
    signature: MemberSignature,
}

/// A command with its ticket.
///
/// From [`crate::command::SIGNED_FORMAT`] on, the author signs both. The ticket makes a command
/// that is replayed ineffective: [`Sessions`] applies each number of each start once. The
/// cluster's name is part of what is signed, and a member's key belongs to one membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposed {
    pub ticket: Ticket,
    pub command: ClusterCommand,
    authorship: Option<Authorship>,
}

impl Proposed {
    pub fn unsigned(ticket: Ticket, command: ClusterCommand) -> Proposed {
        Proposed {
            ticket,
            command,
            authorship: None,
        }
    }

    /// Creates a proposal that its author signs with `sign`.
    ///
    /// # Errors
    /// Returns the errors of `sign`.
    pub fn signed(
        cluster: &str,
        ticket: Ticket,
        command: ClusterCommand,
        sign: impl FnOnce(&[u8]) -> Result<MemberSignature, SigningError>,
    ) -> Result<Proposed, SigningError> {
        let signed = codec::encode(&SignedContent {
            ticket,
            command: &command,
        });
        let signature = sign(&signed_message(cluster, &signed))?;
        Ok(Proposed {
            ticket,
            command,
            authorship: Some(Authorship { signed, signature }),
        })
    }

    /// Returns whether there is a signature, valid or not.
    pub fn is_signed(&self) -> bool {
        self.authorship.is_some()
    }

    /// Returns the signature and the bytes that it must cover; None without a signature.
    pub fn authorship(&self, cluster: &str) -> Option<(&MemberSignature, Vec<u8>)> {
        let authorship = self.authorship.as_ref()?;
        let message = signed_message(cluster, &authorship.signed);
        Some((&authorship.signature, message))
    }
}

fn signed_message(cluster: &str, signed: &[u8]) -> Vec<u8> {
    [SIGNED_CONTEXT, cluster.as_bytes(), b"\0", signed].concat()
}

#[derive(Serialize)]
struct SignedContent<'a> {
    ticket: Ticket,
    command: &'a ClusterCommand,
}

/// The form without a signature. Programs before [`crate::command::SIGNED_FORMAT`] know only this.
#[derive(Serialize)]
struct UnsignedForm<'a> {
    ticket: &'a Ticket,
    command: &'a ClusterCommand,
}

#[derive(Serialize)]
struct SignedForm<'a> {
    signed: &'a Bytes,
    by: &'a MemberSignature,
}

#[derive(Deserialize)]
struct ProposalEncoding {
    #[serde(default)]
    ticket: Option<Ticket>,
    #[serde(default)]
    command: Option<ClusterCommand>,
    #[serde(default)]
    signed: Option<ByteBuf>,
    #[serde(default)]
    by: Option<MemberSignature>,
}

#[derive(Deserialize)]
struct ProposalContent {
    ticket: Ticket,
    command: ClusterCommand,
}

impl Serialize for Proposed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.authorship {
            None => UnsignedForm {
                ticket: &self.ticket,
                command: &self.command,
            }
            .serialize(serializer),
            Some(authorship) => SignedForm {
                signed: Bytes::new(&authorship.signed),
                by: &authorship.signature,
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Proposed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Proposed, D::Error> {
        match ProposalEncoding::deserialize(deserializer)? {
            ProposalEncoding {
                signed: Some(signed),
                by: Some(signature),
                ..
            } => {
                // Only the signed bytes take effect: no field outside of them is read.
                let content: ProposalContent = codec::decode(&signed).map_err(D::Error::custom)?;
                Ok(Proposed {
                    ticket: content.ticket,
                    command: content.command,
                    authorship: Some(Authorship {
                        signed: signed.into_vec(),
                        signature,
                    }),
                })
            }
            ProposalEncoding {
                ticket: Some(ticket),
                command: Some(command),
                ..
            } => Ok(Proposed::unsigned(ticket, command)),
            _ => Err(D::Error::custom("a proposal has no command")),
        }
    }
}

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command, self.ticket.number)
    }
}

/// The remembered tickets of a member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Session {
    start: u64,
    settled: u64,
    answers: BTreeMap<u64, CommandResult>,
}

/// The state of a received ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TicketState {
    New,
    Answered(CommandResult),
    /// The proposal belongs to an earlier start, or its proposer abandoned it: the
    /// command is not applied.
    Over,
}

/// Results of the last proposals of each member: part of the replicated state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sessions(BTreeMap<MemberId, Session>);

impl Sessions {
    /// Returns the state of a ticket; results that its proposer has received are
    /// forgotten.
    pub fn ticket_state(&mut self, ticket: &Ticket) -> TicketState {
        let session = self.0.entry(ticket.member).or_default();
        if ticket.start < session.start {
            return TicketState::Over;
        }
        if ticket.start > session.start {
            *session = Session {
                start: ticket.start,
                ..Session::default()
            };
        }
        if ticket.settled > session.settled {
            session.settled = ticket.settled;
            session.answers = session.answers.split_off(&ticket.settled);
        }
        if ticket.number < session.settled {
            return TicketState::Over;
        }
        match session.answers.get(&ticket.number) {
            Some(answer) => TicketState::Answered(answer.clone()),
            None => TicketState::New,
        }
    }

    pub fn answered(&mut self, ticket: &Ticket, answer: &CommandResult) {
        let session = self.0.entry(ticket.member).or_default();
        session.answers.insert(ticket.number, answer.clone());
        // A correct proposer has at most [`WAITING_MAX`] outstanding proposals. Results of more are
        // dropped, the oldest first, which affects only that proposer.
        while session.answers.len() > WAITING_MAX
            && let Some((number, _)) = session.answers.pop_first()
        {
            session.settled = session.settled.max(number + 1);
        }
    }

    /// Returns the highest start with which a member proposed anything; 0: never.
    pub fn start_of(&self, member: MemberId) -> u64 {
        self.0.get(&member).map_or(0, |session| session.start)
    }

    pub fn retain(&mut self, keep: impl Fn(MemberId) -> bool) {
        self.0.retain(|member, _| keep(*member));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(start: u64, number: u64, settled: u64) -> Ticket {
        Ticket {
            member: MemberId(1),
            start,
            number,
            settled,
        }
    }

    #[test]
    fn repeated_ticket_gets_the_first_response() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.ticket_state(&ticket(1, 1, 0)), TicketState::New);
        sessions.answered(&ticket(1, 1, 0), &CommandResult::Done);
        assert_eq!(
            sessions.ticket_state(&ticket(1, 1, 0)),
            TicketState::Answered(CommandResult::Done)
        );
    }

    #[test]
    fn abandoned_or_outdated_proposals_are_not_executed() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.ticket_state(&ticket(2, 5, 5)), TicketState::New);
        assert_eq!(sessions.ticket_state(&ticket(2, 4, 0)), TicketState::Over);
        assert_eq!(sessions.ticket_state(&ticket(1, 9, 0)), TicketState::Over);
        assert_eq!(sessions.ticket_state(&ticket(3, 1, 0)), TicketState::New);
        assert_eq!(sessions.ticket_state(&ticket(2, 6, 5)), TicketState::Over);
    }

    #[test]
    fn stored_responses_are_bounded() {
        let mut sessions = Sessions::default();
        for number in 0..10_000 {
            let ticket = ticket(1, number, 0);
            assert_eq!(sessions.ticket_state(&ticket), TicketState::New);
            sessions.answered(&ticket, &CommandResult::Done);
        }
        assert!(sessions.0[&MemberId(1)].answers.len() <= WAITING_MAX);
        assert_eq!(sessions.ticket_state(&ticket(1, 3, 0)), TicketState::Over);
    }

    #[test]
    fn settled_number_frees_earlier_responses() {
        let mut sessions = Sessions::default();
        for number in 0..10 {
            sessions.ticket_state(&ticket(1, number, 0));
            sessions.answered(&ticket(1, number, 0), &CommandResult::Done);
        }
        assert_eq!(sessions.ticket_state(&ticket(1, 10, 8)), TicketState::New);
        assert_eq!(sessions.0[&MemberId(1)].answers.len(), 2);
    }
}
