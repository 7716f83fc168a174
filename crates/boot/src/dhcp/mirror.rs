//! Copies the leases of a part to the other nodes, so that one of them knows the leases when it
//! takes the part: [`record::OwnedParts`] with addresses of both families as keys. A copy also has
//! the leases that the holder gave by previous ranges in the name of the part.

use super::holder::{Holder, HolderChange};
use super::range::RANGE_MAX;
use crate::mac::Mac;
use record::{OwnedChange, OwnedContent, OwnedCopies, OwnedCopy, OwnedMessage, OwnedParts};
use std::net::IpAddr;

/// New holder of an address of either family.
pub type LeaseChange = HolderChange<IpAddr>;
/// Sender side at the holder of parts.
pub type LeaseSharing = OwnedParts<LeaseChange>;
/// Copies of the parts of other nodes.
pub type LeaseCopies = OwnedCopies<LeaseChange>;
/// Copy of the leases of a part. Its division is the checksum of the ranges.
pub type LeaseCopy = OwnedCopy<LeaseChange>;
pub type LeaseCopyMessage = OwnedMessage<LeaseChange>;
pub type LeaseCopyContent = OwnedContent<LeaseChange>;

impl OwnedChange for LeaseChange {
    type Key = IpAddr;
    type Group = Mac;

    /// Addresses of a range of IPv4 and of one of IPv6.
    const KEYS_MAX: usize = 2 * RANGE_MAX as usize;

    fn key(&self) -> IpAddr {
        self.address
    }

    fn group(&self) -> Option<Mac> {
        self.mac()
    }

    fn has_record(&self) -> bool {
        self.holder != Holder::Nobody
    }
}
