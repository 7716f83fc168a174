//! Names the resources of a machine that only one instance of the program may use at a time.

use serde::{Deserialize, Serialize};
use std::fmt;

pub const RESOURCES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 96;

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResourceKind {
    Listener,
    VirtualAddress,
    /// A VRRP router, identified by interface, router id and address family.
    VirtualRouter,
    /// An interface on which DHCP requests are handled.
    BootInterface,
    Guest,
    Volume,
    /// A block device that stores a volume.
    Disk,
}

impl ResourceKind {
    pub const ALL: [ResourceKind; 7] = [
        ResourceKind::Listener,
        ResourceKind::VirtualAddress,
        ResourceKind::VirtualRouter,
        ResourceKind::BootInterface,
        ResourceKind::Guest,
        ResourceKind::Volume,
        ResourceKind::Disk,
    ];

    pub fn word(self) -> &'static str {
        match self {
            ResourceKind::Listener => "listener",
            ResourceKind::VirtualAddress => "virtual-address",
            ResourceKind::VirtualRouter => "virtual-router",
            ResourceKind::BootInterface => "boot-interface",
            ResourceKind::Guest => "guest",
            ResourceKind::Volume => "volume",
            ResourceKind::Disk => "disk",
        }
    }

    /// Returns whether each network namespace may have a resource of the same name.
    pub fn is_of_network(self) -> bool {
        match self {
            ResourceKind::Listener
            | ResourceKind::VirtualAddress
            | ResourceKind::VirtualRouter
            | ResourceKind::BootInterface => true,
            ResourceKind::Guest | ResourceKind::Volume | ResourceKind::Disk => false,
        }
    }
}

/// A resource of a machine that only one instance of the program may use at a time.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Resource {
    pub kind: ResourceKind,
    /// Name, at most 96 bytes, without line ends.
    pub name: String,
}

impl Resource {
    /// Creates a resource. A long name is truncated to its end, because paths differ there.
    pub fn new(kind: ResourceKind, name: impl fmt::Display) -> Resource {
        let name = name.to_string().replace(['\n', '\r'], "?");
        let from = name.len().saturating_sub(NAME_BYTES_MAX);
        let mut starts = from..=name.len();
        let start = starts.find(|at| name.is_char_boundary(*at));
        Resource {
            kind,
            name: name[start.unwrap_or(name.len())..].to_owned(),
        }
    }

    /// Returns the resource as a line of the runtime directory: `guest mail`.
    pub fn line(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }

    /// Parses the result of [`Resource::line`]. None if the kind is unknown because a later version
    /// of the program added it.
    pub fn parse(line: &str) -> Option<Resource> {
        let (word, name) = line.split_once(' ')?;
        let kind = ResourceKind::ALL
            .into_iter()
            .find(|kind| kind.word() == word)?;
        Some(Resource::new(kind, name))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.kind {
            ResourceKind::Listener => write!(out, "the address {name}"),
            ResourceKind::VirtualAddress => write!(out, "the virtual address {name}"),
            ResourceKind::VirtualRouter => write!(out, "the virtual router {name}"),
            ResourceKind::BootInterface => write!(out, "network boot on the interface {name}"),
            ResourceKind::Guest => write!(out, "the guest '{name}'"),
            ResourceKind::Volume => write!(out, "the volume '{name}'"),
            ResourceKind::Disk => write!(out, "the disk {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_line_is_parsed_back() {
        for kind in ResourceKind::ALL {
            let resource = Resource::new(kind, "a b");
            assert_eq!(Resource::parse(&resource.line()), Some(resource));
        }
        assert_eq!(Resource::parse("door 7"), None);
        assert_eq!(Resource::parse("guest"), None);
    }

    #[test]
    fn long_name_keeps_its_end_and_no_line_end() {
        let long = format!("/{}/end\nof\u{e4}{}", "d".repeat(200), "x".repeat(90));
        let resource = Resource::new(ResourceKind::Disk, long);
        assert!(resource.name.len() <= NAME_BYTES_MAX && !resource.name.contains('\n'));
        assert!(resource.name.ends_with(&"x".repeat(90)));
    }
}
