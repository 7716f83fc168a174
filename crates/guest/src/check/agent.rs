//! A conversation with QEMU's guest agent (QEMU manual, "QEMU Guest Agent Protocol Reference") as a
//! value: bytes that came lead to bytes that are to be sent, or to the end.
//!
//! The channel may still have the replies to commands of others. So `guest-sync` comes first, with a
//! number: what is before its reply is of no meaning.

use serde_json::{Value, json};

/// Bytes of all replies at most.
const BYTES_MAX: usize = 64 << 10;

/// The next step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// More bytes have to come.
    Wait,
    /// These bytes are to be sent.
    Send(Vec<u8>),
    /// The agent works.
    Well,
    /// It does not, and why.
    Failed(String),
}

/// What the agent is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Nothing: whether it responds.
    Ping,
    /// Flush and freeze all file systems of the guest.
    Freeze,
    /// Let them go on.
    Thaw,
}

impl Command {
    /// The name in the agent's protocol.
    fn word(self) -> &'static str {
        match self {
            Command::Ping => "guest-ping",
            Command::Freeze => "guest-fsfreeze-freeze",
            Command::Thaw => "guest-fsfreeze-thaw",
        }
    }
}

/// The conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversation {
    command: Command,
    number: u64,
    is_synced: bool,
    begun: Vec<u8>,
    count: usize,
}

impl Conversation {
    /// Begins, with a number that no conversation before had. Returns what is to be sent.
    pub fn begin(command: Command, number: u64) -> (Conversation, Vec<u8>) {
        let conversation = Conversation {
            command,
            number,
            is_synced: false,
            begun: Vec::new(),
            count: 0,
        };
        let command = json!({"execute": "guest-sync", "arguments": {"id": number}});
        (conversation, line(&command))
    }

    /// Whether the agent has responded, so that the command was sent.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Takes bytes that came.
    pub fn take(&mut self, bytes: &[u8]) -> Step {
        self.count = self.count.saturating_add(bytes.len());
        if self.count > BYTES_MAX {
            return Step::Failed(format!(
                "the guest agent sent more than {BYTES_MAX} bytes in place of a reply"
            ));
        }
        for byte in bytes {
            if *byte != b'\n' {
                self.begun.push(*byte);
                continue;
            }
            let step = self.read();
            if step != Step::Wait {
                return step;
            }
        }
        Step::Wait
    }

    fn read(&mut self) -> Step {
        let begun = std::mem::take(&mut self.begun);
        // What cannot be read is the rest of another conversation.
        let Ok(reply) = serde_json::from_slice::<Value>(&begun) else {
            return Step::Wait;
        };
        let value = reply.get("return");
        if !self.is_synced {
            let is_own = value.and_then(Value::as_u64) == Some(self.number);
            self.is_synced = is_own;
            return match is_own {
                true => Step::Send(line(&json!({"execute": self.command.word()}))),
                false => Step::Wait,
            };
        }
        let words = { reply.get("error") }.and_then(|error| error.get("desc")?.as_str());
        match (value, words) {
            (Some(_), _) => Step::Well,
            (None, Some(words)) => {
                let words: String = words.chars().take(120).collect();
                // It is a guest's word, and goes to the log.
                let words = language::render::visible(&words);
                let command = self.command.word();
                Step::Failed(format!("the guest agent refused `{command}`: {words}"))
            }
            (None, None) => Step::Wait,
        }
    }
}

fn line(command: &Value) -> Vec<u8> {
    let mut bytes = command.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_conversation_is_the_same_in_pieces_of_any_size() {
        let session = concat!(
            // Of others, in part.
            "turn\": {}}\n",
            "{\"return\": {}}\n",
            "{\"return\": 41}\n",
            "{\"return\": 42}\n",
        );
        for size in [1, 3, session.len()] {
            let (mut conversation, first) = Conversation::begin(Command::Ping, 42);
            assert_eq!(
                first,
                b"{\"execute\":\"guest-sync\",\"arguments\":{\"id\":42}}\n"
            );
            let steps = session.as_bytes().chunks(size);
            let mut steps = steps.map(|piece| conversation.take(piece));
            let step = steps.find(|step| *step != Step::Wait);
            assert_eq!(
                step,
                Some(Step::Send(b"{\"execute\":\"guest-ping\"}\n".to_vec()))
            );
            assert_eq!(conversation.take(b"{\"return\": {}}"), Step::Wait);
            assert_eq!(conversation.take(b"\n"), Step::Well);
        }
    }

    #[test]
    fn file_systems_are_frozen_only_when_the_agent_has_responded() {
        for (command, word) in [
            (Command::Freeze, "guest-fsfreeze-freeze"),
            (Command::Thaw, "guest-fsfreeze-thaw"),
        ] {
            let (mut conversation, _) = Conversation::begin(command, 7);
            // The reply to the sync of another one.
            assert_eq!(conversation.take(b"{\"return\": 6}\n"), Step::Wait);
            assert!(!conversation.is_synced());
            let line = format!("{{\"execute\":\"{word}\"}}\n").into_bytes();
            assert_eq!(conversation.take(b"{\"return\": 7}\n"), Step::Send(line));
            assert!(conversation.is_synced());
            assert_eq!(conversation.take(b"{\"return\": 3}\n"), Step::Well);
        }
    }

    #[test]
    fn an_agent_that_refuses_or_never_ends_to_speak_has_failed() {
        let (mut conversation, _) = Conversation::begin(Command::Ping, 1);
        conversation.take(b"{\"return\": 1}\n");
        let refused = b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n";
        let words = "the guest agent refused `guest-ping`: disabled".to_owned();
        assert_eq!(conversation.take(refused), Step::Failed(words));
        // What it says is one line, which no terminal obeys.
        let (mut conversation, _) = Conversation::begin(Command::Ping, 1);
        conversation.take(b"{\"return\": 1}\n");
        let hostile = b"{\"error\": {\"class\": \"x\", \"desc\": \"a\\nb\\u001b[31m\"}}\n";
        let words = r"the guest agent refused `guest-ping`: a\nb\x1b[31m".to_owned();
        assert_eq!(conversation.take(hostile), Step::Failed(words));
        for piece in [&[b' '; 1024], &[b'\n'; 1024]] {
            let (mut conversation, _) = Conversation::begin(Command::Ping, 1);
            let mut steps = (0..BYTES_MAX).map(|_| conversation.take(piece));
            let step = steps.find(|step| *step != Step::Wait);
            assert!(matches!(step, Some(Step::Failed(_))), "{step:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_anybody_lead_to_a_step(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Conversation::begin(Command::Ping, 1).0.take(&bytes);
        }
    }
}
