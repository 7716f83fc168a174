//! Virtual addresses, which are added to this machine and removed from it, as far as the proxy must
//! know them.

pub use protocol::vitals::Service;
use std::net::IpAddr;

impl super::Config {
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        let mut all = self.services.iter();
        all.any(|service| service.addresses.contains(&address))
    }
}
