//! Powers nodes off and on in the simulation.

use super::{AgreementSimulation, NODES, SimulatedGuest};

impl AgreementSimulation {
    pub(super) fn power_off(&mut self, at: usize) {
        self.note(format!("{} loses its power", NODES[at]));
        let seat = &mut self.seats[at];
        seat.is_powered = false;
        seat.storage.lose_power();
        seat.renewed.clear();
        seat.known.clear();
        seat.wants.clear();
        for machine in seat.machines.values_mut() {
            *machine = SimulatedGuest {
                failures: machine.failures,
                ..SimulatedGuest::default()
            };
        }
    }

    pub(super) fn power_on(&mut self, at: usize) {
        if self.seats[at].is_powered {
            return;
        }
        self.note(format!("{} has power again", NODES[at]));
        let epochs = self
            .leases
            .iter()
            .map(|(name, lease)| (name.clone(), lease.epoch));
        self.seats[at].seen = epochs.collect();
        self.seats[at].is_powered = true;
        self.find(at);
    }

    /// Restarts the machine of a node before any other node notices.
    pub(super) fn cycle(&mut self, at: usize) {
        self.power_off(at);
        self.power_on(at);
    }
}
