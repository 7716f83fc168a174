//! The loop.

use super::{Exit, Given, Level, Order, RoleError, Status, Told, clock};
use crate::config::Config;
use rustix::event::{PollFd, PollFlags, poll};

/// Runs a configuration until it is told to stop.
pub fn run(config: Config, given: Given) -> Result<Exit, RoleError> {
    let mut role = Role { config, given };
    role.given.orders.tell(Told::Ready);
    loop {
        if let Some(exit) = role.take_orders() {
            role.given.orders.tell(Told::Stopped);
            return Ok(exit);
        }
        let fd = role.given.orders.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(RoleError::System {
                    what: "poll",
                    error: errno.into(),
                });
            }
        }
    }
}

struct Role {
    config: Config,
    given: Given,
}

impl Role {
    fn take_orders(&mut self) -> Option<Exit> {
        while let Some(order) = self.given.orders.next() {
            match order {
                Order::Take(config) => {
                    self.config = *config;
                    self.given.orders.tell(Told::Taken);
                }
                Order::Stop { release: true } => return Some(Exit::Released),
                Order::Stop { release: false } => return Some(Exit::Left),
                Order::HandOver { .. } => self.given.orders.tell(Told::HandOver(Vec::new())),
                Order::Status => {
                    let status = self.status();
                    self.given.orders.tell(Told::Status(Box::new(status)));
                }
                Order::Dump(_) | Order::ClearStatistics => {}
                Order::Left => (self.given.log)(Level::Warning, "the supervisor is gone"),
            }
        }
        None
    }

    fn status(&self) -> Status {
        Status {
            now_ms: clock::as_ms(clock::now()),
            unix_ms: clock::unix_ms(),
            router: self.config.global.router_id.clone(),
            pid: std::process::id(),
            ..Status::default()
        }
    }
}
