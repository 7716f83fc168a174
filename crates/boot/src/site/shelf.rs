//! Finds the files that machines fetch by name: boot loaders, scripts that are generated for the
//! machine, and files of images.

use super::{MachineFacts, NetworkState, SharedNetworkState};
use crate::assignment::{BootTarget, assigned};
use crate::config::{AddressSource, Image, LanConfig};
use crate::content::{
    ContentSource, FetchClient, FetchContent, FetchProtocol, FetchReport, MissingContent,
};
use crate::history::BootHistoryEntry;
use crate::loader::LOADERS;
use crate::mac::Mac;
use crate::script;
use part::report::Moment;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Maximum number of facts that a machine reports about itself.
const FACTS_MAX: usize = 16;
/// Maximum length of a fact, characters.
const FACT_MAX: usize = 80;
const FOLLOWED_MAX: usize = 16_384;
/// Name of the local disk as the boot target of a machine, in messages.
pub(super) const OWN_DISK: &str = "its disk";

/// Files of one network, as its file servers serve them.
pub struct NetworkContentSource(pub SharedNetworkState);

/// Meaning of a requested file name.
#[derive(PartialEq, Eq, Debug)]
enum RequestedFile<'n> {
    Loader(PathBuf),
    Script(Mac),
    Choice(Mac, &'n str),
    File(Mac, &'n str, &'n str),
    /// Script that a new machine runs after it has reported its facts.
    Enlist(Mac),
    GrubStart,
    Grub(Mac),
}

impl RequestedFile<'_> {
    /// Returns the machine of a name; None: the file is the same for all machines.
    fn machine(&self) -> Option<Mac> {
        match self {
            RequestedFile::Loader(_) | RequestedFile::GrubStart => None,
            RequestedFile::Script(mac)
            | RequestedFile::Choice(mac, _)
            | RequestedFile::File(mac, ..)
            | RequestedFile::Enlist(mac)
            | RequestedFile::Grub(mac) => Some(*mac),
        }
    }
}

fn named(name: &str) -> Option<RequestedFile<'_>> {
    let name = name.trim_start_matches('/');
    if let Some(loader) = LOADERS.iter().find(|loader| loader.name == name) {
        return Some(RequestedFile::Loader(loader.path.into()));
    }
    if matches!(name, "grub/grub.cfg" | "grub.cfg") {
        return Some(RequestedFile::GrubStart);
    }
    let (first, rest) = name.split_once('/')?;
    let mut parts = rest.split('/');
    let parts = (parts.next()?, parts.next(), parts.next(), parts.next());
    match (first, parts) {
        ("boot", (own, None, ..)) => match own.strip_suffix(".grub") {
            Some(mac) => Some(RequestedFile::Grub(mac.parse().ok()?)),
            None => Some(RequestedFile::Script(
                own.strip_suffix(".ipxe")?.parse().ok()?,
            )),
        },
        ("boot", (mac, Some(image), None, _)) => Some(RequestedFile::Choice(
            mac.parse().ok()?,
            image.strip_suffix(".ipxe")?,
        )),
        ("boot", (mac, Some(image), Some(file), None)) => {
            Some(RequestedFile::File(mac.parse().ok()?, image, file))
        }
        ("enlist", (own, None, ..)) => Some(RequestedFile::Enlist(
            own.strip_suffix(".ipxe")?.parse().ok()?,
        )),
        _ => None,
    }
}

fn files(image: &Image) -> Vec<(String, PathBuf)> {
    match image {
        Image::Kernel { kernel, initrd, .. } => {
            let initrds = initrd.iter().enumerate();
            let initrds = initrds.map(|(at, path)| (format!("initrd{at}"), path.clone()));
            std::iter::once(("kernel".to_owned(), kernel.clone()))
                .chain(initrds)
                .collect()
        }
        Image::Program { bios, uefi } => {
            let all = [("bios", bios), ("uefi", uefi)].into_iter();
            all.filter_map(|(name, path)| Some((name.to_owned(), path.clone()?)))
                .collect()
        }
        Image::Disk | Image::Aoe { .. } | Image::Iscsi { .. } => Vec::new(),
    }
}

impl NetworkState {
    /// Returns an image that a machine may fetch: the image assigned to it, any image of a menu, or
    /// one of which it has fetched a file.
    fn image_for<'l>(&'l self, mac: Mac, name: &str) -> Result<&'l Image, MissingContent> {
        let lan: &LanConfig = &self.lan;
        let image = match assigned(lan, &self.turns, mac) {
            BootTarget::Image(own, image) if own == name => Some(image),
            BootTarget::Menu => lan.images.get(name),
            _ => None,
        };
        // A machine may complete a download that it has begun, even if another image was assigned
        // since.
        let begun = self
            .seen
            .fetched
            .get(&mac)
            .is_some_and(|(image, _)| image == name);
        let image = image.or_else(|| lan.images.get(name).filter(|_| begun));
        image.ok_or_else(|| MissingContent(format!("image '{name}' is not assigned to {mac}")))
    }

    fn find(
        &mut self,
        name: &str,
        query: &str,
        asker: &FetchClient,
    ) -> Result<FetchContent, MissingContent> {
        let made = |bytes: Vec<u8>| Ok(FetchContent::Made(Arc::from(bytes)));
        let servers = self.servers(asker.address);
        let unknown = || MissingContent("there is nothing of this name".to_owned());
        let named = named(name).ok_or_else(unknown)?;
        if let Some(mac) = named.machine()
            && let Some(why) = self.why_no_fetch(mac, Moment::now().boottime_ms)
        {
            return Err(MissingContent(why));
        }
        match named {
            RequestedFile::Loader(path) => Ok(FetchContent::File(path)),
            RequestedFile::GrubStart => made(script::grub_start()),
            RequestedFile::Script(mac) => {
                let assigned = assigned(&self.lan, &self.turns, mac);
                self.renew(mac, assigned, asker);
                made(script::ipxe(&self.lan, &self.name, assigned, mac, &servers))
            }
            RequestedFile::Grub(mac) => {
                let assigned = assigned(&self.lan, &self.turns, mac);
                self.renew(mac, assigned, asker);
                made(script::grub(&self.lan, &self.name, assigned, mac, &servers))
            }
            RequestedFile::Choice(mac, name) => {
                let image = self.image_for(mac, name)?;
                self.renew(mac, BootTarget::Image(name, image), asker);
                made(script::of_image(&self.lan, name, image, mac, &servers))
            }
            RequestedFile::File(mac, image, file) => {
                let mut files = files(self.image_for(mac, image)?).into_iter();
                let found = files.find(|(name, _)| name == file);
                let absent = || MissingContent(format!("image '{image}' has no file '{file}'"));
                Ok(FetchContent::File(found.ok_or_else(absent)?.1))
            }
            RequestedFile::Enlist(mac) => {
                // A machine may report facts only about itself.
                let is_new = matches!(assigned(&self.lan, &self.turns, mac), BootTarget::Enlist);
                if is_new && self.is_of(asker.address, mac) {
                    self.enlist(mac, facts(query));
                }
                made(script::enlisted(mac, &servers))
            }
        }
    }

    /// Counts a boot. When a machine boots, its earlier changes to its disk are dropped, unless the
    /// configuration keeps them. Only the machine itself can cause that.
    fn renew(&self, mac: Mac, assigned: BootTarget<'_>, asker: &FetchClient) {
        if self.is_of(asker.address, mac) {
            self.boots.count(mac);
        }
        let BootTarget::Image(_, image) = assigned else {
            return;
        };
        let overlays = image.disk().and_then(|disk| self.overlays.get(disk));
        if let Some(overlays) = overlays.filter(|_| self.is_of(asker.address, mac)) {
            overlays.boot(mac);
        }
    }

    fn fetched(&mut self, name: &str, asker: &FetchClient, end: &FetchReport) {
        let named = named(name);
        let mac = match &named {
            Some(named) => named.machine(),
            None => None,
        };
        let mac = mac.or_else(|| self.seen.macs.get(&asker.address).copied());
        let Some(mac) = mac else { return };
        let via = match asker.via {
            FetchProtocol::Tftp => "TFTP",
            FetchProtocol::Http => "HTTP",
        };
        let (mut answered, mut why) = match end {
            FetchReport::Whole(bytes) => (format!("{bytes} bytes"), String::new()),
            FetchReport::Broken(why) => (String::new(), why.clone()),
        };
        if !self.is_of(asker.address, mac) {
            // A request from another address does not count as a sign that the machine boots.
            let address = asker.address;
            let bytes = std::mem::take(&mut answered);
            why = format!(
                "{address} asked for it, which no node is known to have given it; {bytes}{why}"
            );
        }
        tracing::debug!(%mac, file = name, by = via, bytes = answered, reason = why, "file fetched");
        self.history.add(
            mac,
            BootHistoryEntry {
                at: Moment::now(),
                asked: format!("fetch {name} by {via}"),
                answered,
                why,
                times: 1,
            },
        );
        if !matches!(end, FetchReport::Whole(_)) || !self.is_of(asker.address, mac) {
            return;
        }
        if let Some(image) = named.as_ref().and_then(|named| self.booted_by(named)) {
            self.history.boots(mac, &image, Moment::now());
        }
        if let Some(RequestedFile::File(mac, image, file)) = named {
            self.has_fetched(mac, image, file);
        }
    }

    /// Returns how a machine boots by this fetch, as text. None: the fetch does not start a boot.
    fn booted_by(&self, named: &RequestedFile<'_>) -> Option<String> {
        match named {
            RequestedFile::Script(mac) | RequestedFile::Grub(mac) => {
                match assigned(&self.lan, &self.turns, *mac) {
                    BootTarget::Image(image, _) => Some(image.to_owned()),
                    BootTarget::Nothing(_) => Some(OWN_DISK.to_owned()),
                    BootTarget::Menu | BootTarget::Enlist => None,
                }
            }
            RequestedFile::Choice(_, image) => Some((*image).to_owned()),
            // Counts a file of another image than the last one as a boot: the machine got its
            // script from another node, or before the role started.
            RequestedFile::File(mac, image, _) => {
                let known = self.history.booted(*mac).map(|(image, _)| image);
                (known != Some(*image)).then(|| (*image).to_owned())
            }
            RequestedFile::Loader(_) | RequestedFile::Enlist(_) | RequestedFile::GrubStart => None,
        }
    }

    /// Returns whether a request for a machine's files comes from that machine, whichever node
    /// assigned its address. Beside another DHCP server, each IPv4 address is accepted, since that
    /// of the machine is unknown. In other cases, no other host can end the single boot of a
    /// machine.
    fn is_of(&self, address: IpAddr, mac: Mac) -> bool {
        let is_unknown = self.lan.gives == AddressSource::Other && address.is_ipv4();
        let line = self.lan.machines.get(&mac);
        let own = line.and_then(|machine| machine.address).map(IpAddr::V4);
        let six = self.lan.six.as_ref();
        let own6 = six.and_then(|six| six.machines.get(&mac)).copied();
        let is_own = own == Some(address) || own6.map(IpAddr::V6) == Some(address);
        let is_known = is_unknown || is_own || self.seen.macs.get(&address) == Some(&mac);
        is_known || self.is_copied(mac, address)
    }

    /// Records that a machine has fetched a file. With all files of an image, its single boot is
    /// done.
    fn has_fetched(&mut self, mac: Mac, name: &str, file: &str) {
        let Some(image) = self.lan.images.get(name) else {
            return;
        };
        let files = files(image);
        let Some(at) = files.iter().position(|(known, _)| known == file) else {
            return;
        };
        // Requires only one of the two files of a program: the other one is for other firmware.
        let all = match image {
            Image::Program { .. } => 1 << at,
            _ => (1_u32 << files.len()) - 1,
        };
        if self.seen.fetched.len() >= FOLLOWED_MAX && !self.seen.fetched.contains_key(&mac) {
            self.seen.fetched.clear();
        }
        let fetched = self.seen.fetched.entry(mac).or_default();
        if fetched.0 != name {
            *fetched = (name.to_owned(), 0);
        }
        fetched.1 |= 1 << at;
        if fetched.1 & all == all {
            self.seen.fetched.remove(&mac);
            if self.turns.fetched(&self.lan, mac, name) {
                self.pass_turns();
                self.wake_writer();
            }
        }
    }
}

/// Parses the facts of a query, as iPXE encodes them. Characters that cannot be printed are
/// dropped.
fn facts(query: &str) -> MachineFacts {
    let mut facts = MachineFacts::new();
    // iPXE encodes a space as `%20`, and does not encode a plus.
    let query = query.replace('+', "%2B");
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(FACTS_MAX) {
        // Control characters could change the display of a terminal.
        let fits = |one: &char| *one == ' ' || one.is_ascii_graphic() || one.is_alphanumeric();
        let value: String = value.chars().filter(fits).take(FACT_MAX).collect();
        let value = value.trim();
        if script::FACTS.contains(&&*name) && !value.is_empty() {
            facts.insert(name.into_owned(), value.to_owned());
        }
    }
    facts
}

impl ContentSource for NetworkContentSource {
    fn find(
        &self,
        name: &str,
        query: &str,
        asker: &FetchClient,
    ) -> Result<FetchContent, MissingContent> {
        self.0.lock().find(name, query, asker)
    }

    fn fetched(&self, name: &str, asker: &FetchClient, end: &FetchReport) {
        self.0.lock().fetched(name, asker, end);
    }
}
