//! Checks the order of actions: release before the final advert, acquisition before announcements.
//! Only a master keeps the address, and a machine with a fault is never master.

use super::super::network::HOSTS;
use super::super::scene::Scene;
use super::Verdict;
use crate::vrrp::{Action, HandOver, State};

/// Index of the priority in an advert.
const PRIORITY: usize = 2;

#[derive(Default)]
pub struct Order {
    offered: [bool; HOSTS],
}

impl Order {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &Action) -> Verdict {
        let has = scene.hosts[host].has;
        match action {
            Action::Send { bytes, .. } if bytes[PRIORITY] == 0 && has && !self.offered[host] => {
                Err(format!(
                    "machine {host} says that it stops before it gave the address away"
                ))
            }
            Action::Announce { .. } if !has => Err(format!(
                "machine {host} announces an address that it does not have"
            )),
            Action::HandOver { step, .. } => {
                self.offered[host] = matches!(step, HandOver::Offered { .. });
                Ok(())
            }
            Action::Entered { .. } => {
                self.offered[host] = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub fn moment(&mut self, scene: &Scene) -> Verdict {
        for host in scene.hosts.iter().filter(|host| host.awake()) {
            let place = host.place;
            if host.has && host.state != State::Master {
                return Err(format!(
                    "machine {place} is {:?} and has the address",
                    host.state
                ));
            }
            if host.faulty && host.state == State::Master {
                return Err(format!("machine {place} has a fault and is master"));
            }
        }
        Ok(())
    }
}
