//! Virtual addresses: those that come to this machine and leave it, as far as the
//! proxy has to know of them.

pub use protocol::vitals::Service;
use std::net::IpAddr;

impl super::Config {
    /// Whether an address comes and goes.
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        let mut all = self.services.iter();
        all.any(|service| service.addresses.contains(&address))
    }
}
