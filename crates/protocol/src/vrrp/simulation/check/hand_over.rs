//! Checks in the VRRP simulation that a machine keeps the address while it offers it to others, and
//! releases it only after another machine has it. Adverts that may be forged are exempt.

use super::super::network::HOSTS;
use super::super::plan::source;
use super::super::scene::Scene;
use super::InvariantResult;
use crate::vrrp::{HandOver, VrrpAction};

#[derive(Default)]
pub struct HandOvers {
    /// Machines that offer the address to others and still have it.
    offers: [bool; HOSTS],
}

impl HandOvers {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) -> InvariantResult {
        let by = match action {
            VrrpAction::HandOver { step, .. } => {
                self.offers[host] = matches!(step, HandOver::Offered { .. });
                match step {
                    HandOver::Taken { by } => by,
                    _ => return Ok(()),
                }
            }
            VrrpAction::Entered { .. } => {
                self.offers[host] = false;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if scene.now < scene.forged_until {
            return Ok(());
        }
        let others = scene.hosts.iter().filter(|other| other.place != host);
        // Accepts a successor that had a fault or a suspension since it sent its advert.
        let said = scene.now - scene.network.longest_ns().min(scene.now);
        let taken = others.clone().any(|other| other.answers())
            || others.clone().any(|other| {
                let undisturbed = other.steady_since < said && other.awake();
                source(other.place) == *by && !undisturbed
            });
        if taken {
            Ok(())
        } else {
            Err(format!(
                "machine {host} hands over to {by}, and nobody has it"
            ))
        }
    }

    /// Checks that a machine that offers the address still has it.
    pub fn moment(&mut self, scene: &Scene) -> InvariantResult {
        for host in scene.hosts.iter().filter(|host| host.awake()) {
            if self.offers[host.place] && !host.has {
                return Err(format!(
                    "machine {} offers the address and does not have it any more",
                    host.place
                ));
            }
        }
        Ok(())
    }
}
