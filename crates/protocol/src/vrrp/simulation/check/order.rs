//! Checks the order of actions in the VRRP simulation: release before an advert of priority zero,
//! acquisition before announcements. Only a machine that offers a hand-over may send priority zero
//! while it has the address. Only a master keeps the address, and a machine with a fault is never
//! master.

use super::super::network::HOSTS;
use super::super::scene::Scene;
use super::InvariantResult;
use crate::vrrp::{HandOver, VrrpAction, VrrpState};

/// Index of the priority in an advert.
const PRIORITY: usize = 2;

#[derive(Default)]
pub struct ActionOrderCheck {
    offered: [bool; HOSTS],
}

impl ActionOrderCheck {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) -> InvariantResult {
        let has = scene.hosts[host].has;
        match action {
            VrrpAction::Send { bytes, .. }
                if bytes[PRIORITY] == 0 && has && !self.offered[host] =>
            {
                Err(format!(
                    "machine {host} says that it stops before it gave the address away"
                ))
            }
            VrrpAction::Announce { .. } if !has => Err(format!(
                "machine {host} announces an address that it does not have"
            )),
            VrrpAction::HandOver { step, .. } => {
                self.offered[host] = matches!(step, HandOver::Offered { .. });
                Ok(())
            }
            VrrpAction::Entered { .. } => {
                self.offered[host] = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub fn moment(&mut self, scene: &Scene) -> InvariantResult {
        for host in scene.hosts.iter().filter(|host| host.awake()) {
            let place = host.place;
            if host.has && host.state != VrrpState::Master {
                return Err(format!(
                    "machine {place} is {:?} and has the address",
                    host.state
                ));
            }
            if host.faulty && host.state == VrrpState::Master {
                return Err(format!("machine {place} has a fault and is master"));
            }
        }
        Ok(())
    }
}
