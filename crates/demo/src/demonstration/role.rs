//! Runs the role of the part `demonstration`: receives the list of all objects from the process of
//! the demo over one connection, reports them with their actions, and sends the operator's orders
//! back.

use super::{FaultOrder, LINE_BYTES_MAX, NAME, Thing};
use confinement::as_console;
use guest::message::GuestResponse;
use part::codec;
use part::report::{Grade, StatusReport, Subject, SubjectAction};
use part::role::PartMessage;
use part::row::{Entry, Environment, Life, RoleRow, SidecarProperties};
use part::work::{self, Work};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub static ROLE: RoleRow = RoleRow {
    life: Life::Beside(SidecarProperties {
        has_state_file: false,
        ..SidecarProperties::plain("demonstrations")
    }),
    ..RoleRow::plain(
        NAME,
        Entry {
            argument: "demonstration-role",
            process_title: "evenkeel: demonstration",
            display_name: "demonstration role",
            environment: Environment::Few,
        },
        work::main::<Demonstration>,
        "demonstrations",
    )
};

const ORDER: u16 = 1;
const WHAT: &str = "this is the demonstration: its nodes, links and servers are processes and networks of one machine, \
                    and the faults below are deliberate";

/// Connection to the process of the demo, and the last list of objects.
struct Demonstration {
    path: PathBuf,
    /// None after the demonstration has ended.
    stream: Option<UnixStream>,
    unread: Vec<u8>,
    things: Vec<Thing>,
}

impl Demonstration {
    fn connect(path: &Path) -> Result<Demonstration, String> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| {
            format!(
                "there is no demonstration here: {}: {error}",
                path.display()
            )
        })?;
        Ok(Demonstration {
            path: path.to_owned(),
            stream: Some(stream),
            unread: Vec::new(),
            things: Vec::new(),
        })
    }

    /// Reads the available bytes and keeps the list in the last complete line. Closes the
    /// connection at its end, or if a line is too long.
    fn read(&mut self) {
        while let Some(stream) = &mut self.stream {
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(count @ 1..) if self.unread.len() < LINE_BYTES_MAX => {
                    self.unread.extend(piece.iter().take(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Closes the connection: the demo has ended, or the peer sends no lines and is
                // another program.
                _ => self.stream = None,
            }
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if let Ok(things) = serde_json::from_slice(&line) {
                    self.things = things;
                }
            }
        }
    }

    fn order(&mut self, order: FaultOrder) -> Result<String, String> {
        let ended = || "the demonstration has ended".to_owned();
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        let mut line = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let written = stream.write_all(&line);
        written.map_err(|error| format!("the demonstration: {error}"))?;
        Ok("the demonstration executes it".to_owned())
    }
}

fn subject(thing: &Thing) -> Subject {
    let grade = if thing.is_faulty {
        Grade::Busy
    } else {
        Grade::Good
    };
    let [word, label, follows] = &thing.offer;
    let message = PartMessage::new(NAME, ORDER, &thing.order);
    let mut subject = Subject::new(&thing.kind, &thing.name).state(&thing.state, grade);
    let offer = SubjectAction::new(word, label, message).follows(follows);
    subject.offers.push(offer);
    subject
}

impl Work for Demonstration {
    fn start(payload: &[u8], _: Option<&[u8]>) -> Result<Demonstration, String> {
        let path: PathBuf = codec::decode(payload).map_err(|error| error.to_string())?;
        let demonstration = Demonstration::connect(&path)?;
        as_console(None)?;
        Ok(demonstration)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let path: PathBuf = codec::decode(payload).map_err(|error| error.to_string())?;
        if path == self.path {
            Ok(())
        } else {
            Err("the socket of the demonstration changes with a restart".to_owned())
        }
    }

    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn run_due_work(&mut self) {
        self.read();
    }

    fn wake_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn report(&self) -> StatusReport {
        let (word, grade) = match self.stream {
            Some(_) => ("running", Grade::Good),
            None => ("ended", Grade::Bad),
        };
        let mut platform = Subject::new("demonstration", "platform").state(word, grade);
        WHAT.clone_into(&mut platform.why);
        let things = self.things.iter().filter(|_| self.stream.is_some());
        StatusReport {
            part: NAME.to_owned(),
            subjects: std::iter::once(platform)
                .chain(things.map(subject))
                .collect(),
            ..StatusReport::default()
        }
    }

    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        let order = (message.kind == ORDER).then(|| message.read())??;
        Some(codec::encode(&GuestResponse::of(self.order(order))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    #[test]
    fn things_of_the_demonstration_are_offered_and_orders_go_to_it() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.path().join("control");
        let refused = Demonstration::connect(&path).err().unwrap();
        assert!(
            refused.starts_with("there is no demonstration here: "),
            "{refused}"
        );
        let listener = UnixListener::bind(&path).unwrap();
        let mut role = Demonstration::connect(&path).unwrap();
        let (mut demo, _) = listener.accept().unwrap();
        let order = FaultOrder {
            key: '1',
            is_faulty: true,
        };
        let thing = Thing {
            kind: "link".to_owned(),
            name: "alpha to beta".to_owned(),
            state: "up".to_owned(),
            is_faulty: false,
            offer: ["cut", "Cut", "Expect it."].map(str::to_owned),
            order,
        };
        let line = serde_json::to_string(&[thing]).unwrap();
        let (first, second) = line.split_at(9);
        write!(demo, "no line of it\n{first}").unwrap();
        role.run_due_work();
        assert_eq!(role.report().subjects.len(), 1);
        writeln!(demo, "{second}").unwrap();
        role.run_due_work();
        let report = role.report();
        let [platform, link] = &report.subjects[..] else {
            panic!("{report:?}");
        };
        assert!(platform.why.starts_with("this is the demonstration"));
        assert_eq!((&*link.state.word, &*link.offers[0].label), ("up", "Cut"));

        let message = PartMessage {
            part: NAME.to_owned(),
            kind: link.offers[0].kind,
            holds: false,
            bytes: link.offers[0].bytes.clone(),
            by: String::new(),
        };
        let answer: GuestResponse = codec::decode(&role.handle_message(&message).unwrap()).unwrap();
        assert!(answer.good, "{answer:?}");
        let mut read = String::new();
        let mut lines = BufReader::new(demo);
        lines.read_line(&mut read).unwrap();
        assert_eq!(serde_json::from_str::<FaultOrder>(&read).unwrap(), order);
        // The demonstration ends, and with it all offers.
        drop((lines, listener));
        role.run_due_work();
        assert!(role.wake_descriptor().is_none());
        assert_eq!(role.report().subjects[0].state.word, "ended");
        let answer: GuestResponse = codec::decode(&role.handle_message(&message).unwrap()).unwrap();
        assert_eq!(
            (answer.good, &*answer.words),
            (false, "the demonstration has ended")
        );
    }

    #[test]
    fn peer_with_an_endless_line_is_not_the_demonstration() {
        let (own, mut other) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let mut role = Demonstration {
            path: PathBuf::new(),
            stream: Some(own),
            unread: Vec::new(),
            things: Vec::new(),
        };
        for _ in 0..2 * LINE_BYTES_MAX / 1024 {
            other.write_all(&[b'x'; 1024]).unwrap();
        }
        role.run_due_work();
        assert!(role.stream.is_none());
        assert!(role.unread.len() <= LINE_BYTES_MAX + 4096);
    }
}
