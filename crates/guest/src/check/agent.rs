//! Exchanges one request and its reply with the QEMU guest agent (QEMU manual, "QEMU Guest Agent
//! Protocol Reference"), without I/O: received bytes lead to bytes to be sent, or to the end.
//!
//! The channel may still contain replies to the commands of other clients. The conversation
//! therefore starts with a numbered `guest-sync`, and everything before its reply is ignored.

use serde_json::{Value, json};

const BYTES_MAX: usize = 64 << 10;

/// Next step of the conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentStep {
    Wait,
    Send(Vec<u8>),
    Well,
    Failed(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentCommand {
    Ping,
    Freeze,
    Thaw,
}

impl AgentCommand {
    fn word(self) -> &'static str {
        match self {
            AgentCommand::Ping => "guest-ping",
            AgentCommand::Freeze => "guest-fsfreeze-freeze",
            AgentCommand::Thaw => "guest-fsfreeze-thaw",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversation {
    command: AgentCommand,
    number: u64,
    is_synced: bool,
    begun: Vec<u8>,
    count: usize,
}

impl Conversation {
    /// Starts a conversation. `number` must be unique. Returns the bytes to be sent.
    pub fn begin(command: AgentCommand, number: u64) -> (Conversation, Vec<u8>) {
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

    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub fn take(&mut self, bytes: &[u8]) -> AgentStep {
        self.count = self.count.saturating_add(bytes.len());
        if self.count > BYTES_MAX {
            return AgentStep::Failed(format!(
                "the guest agent sent more than {BYTES_MAX} bytes in place of a reply"
            ));
        }
        for byte in bytes {
            if *byte != b'\n' {
                self.begun.push(*byte);
                continue;
            }
            let step = self.read();
            if step != AgentStep::Wait {
                return step;
            }
        }
        AgentStep::Wait
    }

    fn read(&mut self) -> AgentStep {
        let begun = std::mem::take(&mut self.begun);
        // Ignores a line that cannot be parsed, which is the rest of a reply to another client.
        let Ok(reply) = serde_json::from_slice::<Value>(&begun) else {
            return AgentStep::Wait;
        };
        let value = reply.get("return");
        if !self.is_synced {
            let is_own = value.and_then(Value::as_u64) == Some(self.number);
            self.is_synced = is_own;
            return if is_own {
                AgentStep::Send(line(&json!({"execute": self.command.word()})))
            } else {
                AgentStep::Wait
            };
        }
        let words = reply
            .get("error")
            .and_then(|error| error.get("desc")?.as_str());
        match (value, words) {
            (Some(_), _) => AgentStep::Well,
            (None, Some(words)) => {
                let words: String = words.chars().take(120).collect();
                // Escapes control characters: the guest controls this text, which is written to the
                // log.
                let words = language::render::visible(&words);
                let command = self.command.word();
                AgentStep::Failed(format!("the guest agent refused `{command}`: {words}"))
            }
            (None, None) => AgentStep::Wait,
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
    fn a_fragmented_conversation_has_the_same_result() {
        let session = concat!(
            // Replies to other clients, the first one incomplete.
            "turn\": {}}\n",
            "{\"return\": {}}\n",
            "{\"return\": 41}\n",
            "{\"return\": 42}\n",
        );
        for size in [1, 3, session.len()] {
            let (mut conversation, first) = Conversation::begin(AgentCommand::Ping, 42);
            assert_eq!(
                first,
                b"{\"execute\":\"guest-sync\",\"arguments\":{\"id\":42}}\n"
            );
            let steps = session.as_bytes().chunks(size);
            let mut steps = steps.map(|piece| conversation.take(piece));
            let step = steps.find(|step| *step != AgentStep::Wait);
            assert_eq!(
                step,
                Some(AgentStep::Send(b"{\"execute\":\"guest-ping\"}\n".to_vec()))
            );
            assert_eq!(conversation.take(b"{\"return\": {}}"), AgentStep::Wait);
            assert_eq!(conversation.take(b"\n"), AgentStep::Well);
        }
    }

    #[test]
    fn file_systems_are_frozen_only_when_the_agent_has_responded() {
        for (command, word) in [
            (AgentCommand::Freeze, "guest-fsfreeze-freeze"),
            (AgentCommand::Thaw, "guest-fsfreeze-thaw"),
        ] {
            let (mut conversation, _) = Conversation::begin(command, 7);
            // The reply to another client's `guest-sync`.
            assert_eq!(conversation.take(b"{\"return\": 6}\n"), AgentStep::Wait);
            assert!(!conversation.is_synced());
            let line = format!("{{\"execute\":\"{word}\"}}\n").into_bytes();
            assert_eq!(
                conversation.take(b"{\"return\": 7}\n"),
                AgentStep::Send(line)
            );
            assert!(conversation.is_synced());
            assert_eq!(conversation.take(b"{\"return\": 3}\n"), AgentStep::Well);
        }
    }

    #[test]
    fn an_agent_that_refuses_or_sends_endlessly_fails() {
        let (mut conversation, _) = Conversation::begin(AgentCommand::Ping, 1);
        conversation.take(b"{\"return\": 1}\n");
        let refused = b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n";
        let words = "the guest agent refused `guest-ping`: disabled".to_owned();
        assert_eq!(conversation.take(refused), AgentStep::Failed(words));
        // The text becomes one line without terminal controls.
        let (mut conversation, _) = Conversation::begin(AgentCommand::Ping, 1);
        conversation.take(b"{\"return\": 1}\n");
        let hostile = b"{\"error\": {\"class\": \"x\", \"desc\": \"a\\nb\\u001b[31m\"}}\n";
        let words = r"the guest agent refused `guest-ping`: a\nb\x1b[31m".to_owned();
        assert_eq!(conversation.take(hostile), AgentStep::Failed(words));
        for piece in [&[b' '; 1024], &[b'\n'; 1024]] {
            let (mut conversation, _) = Conversation::begin(AgentCommand::Ping, 1);
            let mut steps = (0..BYTES_MAX).map(|_| conversation.take(piece));
            let step = steps.find(|step| *step != AgentStep::Wait);
            assert!(matches!(step, Some(AgentStep::Failed(_))), "{step:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_lead_to_a_step(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Conversation::begin(AgentCommand::Ping, 1).0.take(&bytes);
        }
    }
}
