//! Finds out whether an address is virtual: one that moves between machines.

pub use protocol::vitals::Service;
use std::net::IpAddr;

impl super::Config {
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        let mut all = self.services.iter();
        all.any(|service| service.addresses.contains(&address))
    }
}
