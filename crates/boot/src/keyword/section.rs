//! Parses the first line of a `boot` section, and the lines for its network: interface, range of
//! addresses, DHCP parameters, ports and kind of boot loader. [`Lan`] also collects the results of
//! the lines that other modules parse.

use super::{BootLineBuilder, codes};
use crate::aoe::frame::AoeAddress;
use crate::config::{
    Image, Ipv4Network, Ipv6Network, LEASE_S, LEASES, LanPorts, Overlay, StorageConfig,
};
use crate::mac::Mac;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{self, GivenLines, once};
use language::value::TimeUnit;
use language::{ConfigLine, Diagnostic, Span, Spanned};
use part::power::control::PowerControl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

const SECTIONS_MAX: usize = 64;
/// Longest interface name, bytes (IFNAMSIZ without the terminating zero).
const INTERFACE_MAX: usize = 15;
const SERVERS_MAX: usize = 8;
/// Allowed lease times, milliseconds: 2 minutes to 24 days.
const LEASE_MS: RangeInclusive<u32> = 120_000..=2_073_600_000;

#[derive(Debug)]
pub(super) struct Lan {
    pub(super) name: Spanned<String>,
    pub(super) network: InterfaceLines,
    pub(super) range: Option<Spanned<Range>>,
    pub(super) proxy: Option<Span>,
    pub(super) told: DhcpParameters,
    pub(super) images: Vec<(Spanned<String>, Vec<Spanned<PathBuf>>, Image)>,
    pub(super) disks: Disks,
    pub(super) machines: Vec<MachineLine>,
    pub(super) unknown: Option<Spanned<Unknown>>,
    pub(super) ports: LanPorts,
    pub(super) leases: PathBuf,
    pub(super) secure_boot: Option<Span>,
    pub(super) six: Ipv6Lines,
    /// Keywords in the section, also in refused lines, with their position.
    pub(super) given: GivenLines,
}

#[derive(Debug, Default)]
pub(super) struct Ipv6Lines {
    pub(super) network: Option<Spanned<Ipv6Network>>,
    pub(super) range: Option<Spanned<Range6>>,
    pub(super) dns: Vec<Ipv6Addr>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Range6 {
    pub(super) first: Ipv6Addr,
    pub(super) last: Ipv6Addr,
    pub(super) lease_s: u32,
}

#[derive(Debug, Default)]
pub(super) struct InterfaceLines {
    pub(super) interface: Option<Spanned<String>>,
    pub(super) network: Option<Spanned<Ipv4Network>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) first: Ipv4Addr,
    pub(super) last: Ipv4Addr,
    pub(super) lease_s: u32,
}

#[derive(Debug, Default)]
pub(super) struct DhcpParameters {
    pub(super) gateway: Option<Spanned<Ipv4Addr>>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) domain: Option<String>,
    pub(super) ntp: Vec<Ipv4Addr>,
    pub(super) server: Option<Spanned<Ipv4Addr>>,
}

/// The `disk` lines of a section, and the disks that images name, each with its protocol.
#[derive(Debug, Default)]
pub(super) struct Disks {
    pub(super) all: Vec<DiskLine>,
    pub(super) named: Vec<(DiskProtocol, Spanned<String>)>,
}

/// Protocol by which a disk is used over the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DiskProtocol {
    Aoe,
    Iscsi,
    Nbd,
}

#[derive(Debug)]
pub(super) struct DiskLine {
    pub(super) name: Spanned<String>,
    pub(super) target: Option<Spanned<AoeAddress>>,
    pub(super) storage: Spanned<StorageConfig>,
    pub(super) iscsi: bool,
    pub(super) nbd: bool,
    pub(super) is_open: bool,
    pub(super) overlay: Option<Overlay>,
}

#[derive(Debug)]
pub(super) struct MachineLine {
    pub(super) name: Spanned<String>,
    pub(super) mac: Spanned<Mac>,
    pub(super) address: Option<Spanned<Ipv4Addr>>,
    pub(super) address6: Option<Spanned<Ipv6Addr>>,
    pub(super) image: Spanned<String>,
    pub(super) once: bool,
    pub(super) power: Option<Spanned<PowerControl>>,
}

#[derive(Clone, Debug)]
pub(super) enum Unknown {
    Menu,
    Ignore,
    Image(String),
    Enlist,
}

language::named_section!(Lan, "boot", "the network's name", SECTIONS_MAX);

#[derive(Debug, Default)]
pub(super) struct BootSectionDraft {
    pub(super) lans: Vec<Lan>,
}

pub(super) fn begin(draft: &mut BootSectionDraft, head: &ConfigLine) -> Built {
    let name = section::begin(&draft.lans, head)?;
    draft.lans.push(Lan {
        name,
        network: InterfaceLines::default(),
        range: None,
        proxy: None,
        told: DhcpParameters::default(),
        images: Vec::new(),
        disks: Disks::default(),
        machines: Vec::new(),
        unknown: None,
        ports: LanPorts::default(),
        leases: LEASES.into(),
        secure_boot: None,
        six: Ipv6Lines::default(),
        given: GivenLines::default(),
    });
    Ok(())
}

pub(super) fn ipv4(args: &mut Args<'_>) -> Result<Spanned<Ipv4Addr>, Diagnostic> {
    let word = args.peek();
    let (address, span) = args.address()?;
    let told = match address {
        IpAddr::V4(address) if is_of_one(address) => return Ok(Spanned::new(address, span)),
        IpAddr::V4(_) => "not the address of one machine",
        IpAddr::V6(_) => "not an IPv4 address",
    };
    match word {
        Some(word) => Err(args.unexpected_value(word, told)),
        None => Err(args.value_error(&codes::VALUE, span, told)),
    }
}

pub(super) fn ipv6(args: &mut Args<'_>) -> Result<Spanned<Ipv6Addr>, Diagnostic> {
    let word = args.peek();
    let (address, span) = args.address()?;
    let told = match address {
        IpAddr::V6(address) if is_of_one6(address) => return Ok(Spanned::new(address, span)),
        IpAddr::V6(_) => "not the address of one machine in a network",
        IpAddr::V4(_) => "not an IPv6 address",
    };
    match word {
        Some(word) => Err(args.unexpected_value(word, told)),
        None => Err(args.value_error(&codes::VALUE, span, told)),
    }
}

fn is_of_one6(address: Ipv6Addr) -> bool {
    let is_special = address.is_unspecified() || address.is_loopback();
    !(is_special || address.is_multicast() || address.is_unicast_link_local())
}

fn is_of_one(address: Ipv4Addr) -> bool {
    let is_special = address.is_unspecified() || address.is_broadcast() || address.is_loopback();
    !(is_special || address.is_multicast())
}

fn servers(args: &mut Args<'_>) -> Result<Vec<Ipv4Addr>, Diagnostic> {
    several(args, |args| Ok(ipv4(args)?.value))
}

fn addresses(args: &mut Args<'_>) -> Result<Vec<IpAddr>, Diagnostic> {
    several(args, |args| {
        let is_six = args.peek().is_some_and(|word| word.str().contains(':'));
        Ok(if is_six {
            ipv6(args)?.value.into()
        } else {
            ipv4(args)?.value.into()
        })
    })
}

fn several<T>(
    args: &mut Args<'_>,
    one: impl Fn(&mut Args<'_>) -> Result<T, Diagnostic>,
) -> Result<Vec<T>, Diagnostic> {
    let mut all = vec![one(args)?];
    while let Some(word) = args.peek() {
        if all.len() >= SERVERS_MAX {
            let told = format!("at most {SERVERS_MAX} addresses");
            return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told));
        }
        all.push(one(args)?);
    }
    Ok(all)
}

fn interface(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "interface")?;
    let word = args.required("the name of an interface")?;
    let name = word.str();
    let is_name = (1..=INTERFACE_MAX).contains(&name.len()) && !matches!(name, "." | "..");
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if !is_name || !name.bytes().all(fits) {
        return Err(args.unexpected_value(
            word,
            "not the name of an interface: at most 15 bytes without `/` and `:`",
        ));
    }
    args.end()?;
    lan.network.interface = Some(Spanned::new(name.to_owned(), word.span));
    Ok(())
}

fn network(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "network")?;
    let word = args.required("a network")?;
    let read = |text: &str| {
        let (first, prefix) = text.split_once('/')?;
        let first: Ipv4Addr = first.parse().ok()?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| (8..=30).contains(prefix))?;
        Some(Ipv4Network::of(first, prefix)).filter(|network| network.first == first)
    };
    let Some(network) = read(word.str()) else {
        let told =
            "not a network such as 10.20.0.0/24: its first address, and a prefix from 8 to 30";
        return Err(args.unexpected_value(word, told));
    };
    args.end()?;
    lan.network.network = Some(Spanned::new(network, word.span));
    Ok(())
}

fn range(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = once(&mut draft.lans, args, "range")?;
    let first = ipv4(args)?;
    let last = ipv4(args)?;
    let lease_s = lease(args)?;
    if first.value > last.value {
        let told = format!("the range ends at {} before it begins", last.value);
        let told = Diagnostic::error(&codes::RANGE, last.span, told);
        return Err(told.help(format!("write `range {} {}`", last.value, first.value)));
    }
    let range = Range {
        first: first.value,
        last: last.value,
        lease_s,
    };
    lan.range = Some(Spanned::new(range, span));
    Ok(())
}

/// Parses the option `lease` at the end of a line. Returns its time in seconds, or the default.
pub(super) fn lease(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    let mut lease_s = LEASE_S;
    args.options(&["lease"], &[], &codes::TWICE, |_, args| {
        let word = args.peek();
        let time = args.time_ms(TimeUnit::Milliseconds)?;
        match word.filter(|_| !LEASE_MS.contains(&time)) {
            Some(word) if word.str().bytes().all(|byte| byte.is_ascii_digit()) => Err(args
                .unexpected_value(
                    word,
                    "in milliseconds, and a lease lasts 2m to 24d: write a unit, such as `12h`",
                )),
            Some(word) => Err(args.unexpected_value(word, "not between 2m and 24d")),
            None => {
                lease_s = time / 1000;
                Ok(())
            }
        }
    })?;
    Ok(lease_s)
}

fn proxy(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = once(&mut draft.lans, args, "proxy")?;
    args.end()?;
    lan.proxy = Some(span);
    Ok(())
}

fn gateway(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "gateway")?;
    lan.told.gateway = Some(ipv4(args)?);
    args.end()
}

fn dns(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "dns")?;
    for address in addresses(args)? {
        match address {
            IpAddr::V4(address) => lan.told.dns.push(address),
            IpAddr::V6(address) => lan.six.dns.push(address),
        }
    }
    Ok(())
}

fn ntp(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "ntp")?;
    lan.told.ntp = servers(args)?;
    Ok(())
}

fn domain(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "domain")?;
    let word = args.required("a domain")?;
    let text = word.str();
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    if text.len() > 200 || !text.split('.').all(is_label) {
        return Err(args.unexpected_value(word, "not a domain such as example.org"));
    }
    args.end()?;
    lan.told.domain = Some(text.to_owned());
    Ok(())
}

fn server(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "server")?;
    lan.told.server = Some(ipv4(args)?);
    args.end()
}

fn http_port(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "http-port")?;
    lan.ports.http = port(args)?;
    args.end()
}

fn iscsi_port(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "iscsi-port")?;
    lan.ports.iscsi = port(args)?;
    args.end()
}

fn nbd_port(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "nbd-port")?;
    lan.ports.nbd = port(args)?;
    args.end()
}

fn port(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let port = args.count("a port", 1..=65_535)?;
    Ok(u16::try_from(port).unwrap_or(u16::MAX))
}

fn leases(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "leases")?;
    lan.leases = args.absolute_path("a directory")?.value;
    args.end()
}

fn secure_boot(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = once(&mut draft.lans, args, "secure-boot")?;
    let is = args.choice(&[("yes", true), ("no", false)])?;
    lan.secure_boot = is.then_some(span);
    args.end()
}

pub(super) static LINES: &[Keyword<BootLineBuilder>] = language::rows! {
    "interface <name>" &["boot"], interface, "interface br0",
        "The interface where the machines are: a card, a bridge or a VLAN of this node. Required. Where nodes have \
         interfaces of different names, write a line for each node, such as `on alpha interface br0`. The node needs \
         an IPv4 address there, which is the server's. The interface may come and go: it is used while it is there.";
    "network <address>/<prefix>" &["boot"], network, "network 10.20.0.0/24",
        "The network of the machines. By default it is that of the interface's first IPv4 address. Write it if the \
         machines are behind a DHCP relay (RFC 2131, 3046): relayed requests belong to the section with the network of \
         the relay's address. With it, `check` finds addresses outside of the network on every machine.";
    "range <first> <last> [lease <time>]" &["boot"], range,
        "range 10.20.0.100 10.20.0.199 lease 12h",
        "The addresses for machines without an `address` of their own, and how long such a machine may use one: 2 \
         minutes to 24 days, `12h` by default. Addresses of `machine` lines, of the nodes, of `gateway` and of \
         `server` are left out. The nodes of a cluster share the range: each gives addresses of its own part, so that \
         no address is ever given twice, and a node takes over the part of one that is gone. Without `range` and \
         `proxy`, only machines of the file get an address.";
    "proxy" &["boot"], proxy, "proxy",
        "Another DHCP server gives the addresses, such as that of a router, and this one only says what to boot \
         (proxyDHCP; ports 67 and 4011). Nothing has to be changed at the other server.";
    "gateway <address>" &["boot"], gateway, "gateway 10.20.0.1",
        "The router of the network. The default is none.";
    "dns <address> [<address>…]" &["boot"], dns, "dns 10.20.0.1 10.20.0.2 fd00:20::1",
        "The nameservers, at most 8. Those with an IPv6 address are for machines that ask over IPv6.";
    "domain <name>" &["boot"], domain, "domain example.org", "The domain of the machines.";
    "ntp <address> [<address>…]" &["boot"], ntp, "ntp 10.20.0.1", "The time servers, at most 8.";
    "server <address>" &["boot"], server, "server 10.20.0.5",
        "The address from which machines fetch their files, such as a virtual address of the nodes. By default each \
         node names its own address on the interface, and iPXE tries the other node if one does not answer.";
    "http-port <port>" &["boot"], http_port, "http-port 8069",
        "The TCP port from which machines fetch their files by HTTP; the default is 7447.";
    "iscsi-port <port>" &["boot"], iscsi_port, "iscsi-port 3270",
        "The TCP port of disks by iSCSI; the default is 3260.";
    "nbd-port <port>" &["boot"], nbd_port, "nbd-port 10819",
        "The TCP port of disks by NBD; the default is 10809.";
    "leases <directory>" &["boot"], leases, "leases /srv/boot/leases",
        "The directory where the node keeps the leases of the range, so that a restart gives no address twice. It is \
         created if it is missing, in a directory that is there. The default is /var/lib/evenkeel/boot. A client is \
         only told of a lease that is on the disk. When a reload names another directory, the leases move there.";
    "secure-boot { yes | no }" &["boot"], secure_boot, "secure-boot yes",
        "With `yes`, UEFI machines get the distribution's signed `shim` and GRUB (packages shim-signed and \
         grub-efi-amd64-signed), so that they boot with Secure Boot on; the kernel has to be signed as well. With \
         `no`, the default, they get iPXE, which is faster, loads by HTTP and has menus.";
};
