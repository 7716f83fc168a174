//! Serves the socket for the roles of the part `demonstration`: sends each of them lines with all
//! objects, and receives lines with orders. Writing never blocks.

use super::error::PlatformError;
use crate::demonstration::{FaultOrder, LINE_BYTES_MAX, Thing};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Limit of connected roles: those of both nodes, and predecessors that are being replaced.
const ROLES_MAX: usize = 8;

pub struct DemoControlSocket {
    listener: UnixListener,
    roles: Vec<Connected>,
    shown: Vec<u8>,
}

struct Connected {
    stream: UnixStream,
    unread: Vec<u8>,
    knows: bool,
}

impl DemoControlSocket {
    /// Opens the control socket.
    ///
    /// # Errors
    /// Opens the control socket at a path.
    pub fn listen(path: &Path) -> Result<DemoControlSocket, PlatformError> {
        let opened = UnixListener::bind(path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        Ok(DemoControlSocket {
            listener: opened.map_err(PlatformError::system("open the socket for the consoles"))?,
            roles: Vec::new(),
            shown: Vec::new(),
        })
    }

    pub fn orders(&mut self) -> Vec<FaultOrder> {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.roles.len() < ROLES_MAX && stream.set_nonblocking(true).is_ok() {
                self.roles.push(Connected {
                    stream,
                    unread: Vec::new(),
                    knows: false,
                });
            }
        }
        let mut orders = Vec::new();
        self.roles.retain_mut(|role| role.read(&mut orders));
        orders
    }

    pub fn show(&mut self, things: &[Thing]) {
        let mut line = serde_json::to_vec(things).unwrap_or_default();
        line.push(b'\n');
        if line != self.shown {
            self.roles.iter_mut().for_each(|role| role.knows = false);
            self.shown = line;
        }
        let shown = &self.shown;
        // Disconnects a role that does not read.
        self.roles.retain_mut(|role| {
            let knows = role.knows || role.stream.write_all(shown).is_ok();
            role.knows = knows;
            knows
        });
    }
}

impl Connected {
    /// Reads the available orders. Returns false if the connection has ended, or a line is too
    /// long.
    fn read(&mut self, orders: &mut Vec<FaultOrder>) -> bool {
        let mut piece = [0; 512];
        let is_there = match self.stream.read(&mut piece) {
            Ok(count) => {
                self.unread.extend(piece.iter().take(count));
                count > 0 && self.unread.len() < LINE_BYTES_MAX
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            orders.extend(serde_json::from_slice::<FaultOrder>(&line));
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::super::menu::{ActiveFaults, things};
    use super::*;
    use lab::ScratchDirectory;
    use std::io::{BufRead, BufReader};

    #[test]
    fn role_gets_each_change_and_sends_orders() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.path().join("control");
        let mut control = DemoControlSocket::listen(&path).unwrap();
        let mut role = UnixStream::connect(&path).unwrap();
        assert!(control.orders().is_empty());
        let (healthy, cut) = (
            things(&ActiveFaults::default()),
            things(&ActiveFaults {
                link_cut: true,
                ..ActiveFaults::default()
            }),
        );
        // Shows the same list twice, which the role receives once.
        for shown in [&healthy, &healthy, &cut] {
            control.show(shown);
        }
        let mut lines = BufReader::new(role.try_clone().unwrap()).lines();
        for expected in [&healthy, &cut] {
            let line = lines.next().unwrap().unwrap();
            assert_eq!(
                &serde_json::from_str::<Vec<Thing>>(&line).unwrap(),
                expected
            );
        }
        let order = cut[0].order;
        let line = serde_json::to_string(&order).unwrap();
        write!(role, "heal\n{line}\n{line}").unwrap();
        assert_eq!(control.orders(), [order]);
        drop((role, lines));
        assert!(control.orders().is_empty());
        assert!(control.roles.is_empty());
    }
}
