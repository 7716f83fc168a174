//! Parses the section `farm`: its first line, and the lines for its address and its hosts.

use super::agents;
use super::gateway::Gateway;
use super::portal::Portal;
use super::{FarmLineBuilder, codes};
use crate::config::{self, Agent, Balance, Check, LINK_PORT, PORT, SessionHost, Sessions};
use access::keyword::{Proxies, absolute_file, listening_address};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{self, GivenLines, NamedSection, many, once};
use language::{ConfigLine, ConfigWord, Diagnostic, Span, Spanned};
use std::net::SocketAddr;
use std::path::PathBuf;

const SECTIONS_MAX: usize = 16;
pub(super) const HOSTS_MAX: usize = 64;
const BINDS_MAX: usize = 8;
/// Limit of the name of a farm, in bytes (RFC 1035).
const FQDN_MAX: usize = 253;

#[derive(Debug)]
pub(super) struct Farm {
    pub(super) name: Spanned<String>,
    pub(super) fqdn: Option<Spanned<String>>,
    pub(super) binds: Vec<Bind>,
    pub(super) hosts: Vec<NamedHost>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) settings: Settings,
    pub(super) portal: Portal,
    pub(super) gateway: Gateway,
    pub(super) proxies: Proxies,
    pub(super) given: GivenLines,
}

/// Settings of optional lines, initially with the defaults.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) balance: Balance,
    pub(super) check: Check,
    pub(super) sessions: Sessions,
    pub(super) lifetime_ms: u64,
    pub(super) maxconn: u32,
    pub(super) notice: String,
}

#[derive(Debug)]
pub(super) struct Bind {
    pub(super) address: Spanned<SocketAddr>,
    pub(super) file: Spanned<PathBuf>,
    pub(super) accepts_proxy: bool,
}

#[derive(Debug)]
pub(super) struct NamedHost {
    pub(super) name: Spanned<String>,
    pub(super) address: Span,
    pub(super) host: SessionHost,
    pub(super) agent: Option<Agent>,
}

language::named_section!(Farm, "farm", "the farm's name", SECTIONS_MAX);

#[derive(Debug, Default)]
pub(super) struct FarmSectionDraft {
    pub(super) farms: Vec<Farm>,
}

pub(super) fn taken(name: &Spanned<String>, what: &str, first: Span) -> Diagnostic {
    let told = format!("duplicate {what} '{}'", name.value);
    Diagnostic::error(&codes::NAME, name.span, told).name_taken_at(first)
}

pub(super) fn begin(draft: &mut FarmSectionDraft, head: &ConfigLine) -> Built {
    let name = section::begin(&draft.farms, head)?;
    draft.farms.push(Farm {
        name,
        fqdn: None,
        binds: Vec::new(),
        hosts: Vec::new(),
        key: None,
        settings: Settings {
            balance: Balance::default(),
            check: Check::default(),
            sessions: Sessions::default(),
            lifetime_ms: config::Tokens::default().lifetime_ms,
            maxconn: config::MAXCONN,
            notice: String::new(),
        },
        portal: Portal::default(),
        gateway: Gateway::default(),
        proxies: Proxies::default(),
        given: GivenLines::default(),
    });
    Ok(())
}

fn fqdn(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "name")?;
    let word = args.required("a host name")?;
    args.end()?;
    let name = word.str();
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let has_ends = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && label.bytes().all(is_inner) && !has_ends
    };
    if name.len() > FQDN_MAX || !name.split('.').all(is_label) {
        return Err(args.unexpected_value(word, "not a host name such as desktop.example.org"));
    }
    farm.fqdn = Some(Spanned::new(name.to_ascii_lowercase(), word.span));
    Ok(())
}

fn bind(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "bind")?;
    binds(&mut farm.binds, &mut farm.proxies, args)
}

pub(super) fn binds(binds: &mut Vec<Bind>, proxies: &mut Proxies, args: &mut Args<'_>) -> Built {
    let word = args.required("an address and a port")?;
    let address = listening_address(args, word)?;
    if address.port() == LINK_PORT {
        return Err(args.unexpected_value(word, "at the port of the link between the nodes"));
    }
    let option = args.required("`crt FILE`")?;
    if !option.is("crt") {
        return Err(args.unexpected_value(option, "not `crt FILE`"));
    }
    let file = absolute_file(args)?;
    let option = args.next();
    let accepts_proxy = option.is_some_and(|option| option.is("accept-proxy"));
    match option {
        Some(option) if accepts_proxy => proxies.accept(option.span),
        Some(option) => return Err(args.unexpected_value(option, "not `accept-proxy`")),
        None => {}
    }
    args.end()?;
    if binds.len() >= BINDS_MAX {
        let told = format!("more than {BINDS_MAX} addresses");
        return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told));
    }
    binds.push(Bind {
        address: Spanned::new(address, word.span),
        file,
        accepts_proxy,
    });
    Ok(())
}

fn trusted_proxy(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "trusted-proxy")?;
    farm.proxies.line(args)
}

fn host(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "host")?;
    let name = Farm::KIND.object_name("host", args.required("a name")?)?;
    if let Some(first) = farm.hosts.iter().find(|one| one.name.value == name.value) {
        return Err(taken(&name, "host", first.name.span));
    }
    if farm.hosts.len() >= HOSTS_MAX {
        let told = format!("more than {HOSTS_MAX} hosts in a section");
        return Err(Diagnostic::error(&codes::TOO_MANY, name.span, told));
    }
    let word = args.required("an IP address")?;
    let address = reaches(args, word)?;
    let (mut weight, mut drained) = (1, false);
    let mut agent = agents::Options::default();
    while let Some(option) = args.next() {
        match option.str() {
            "weight" => weight = args.count("a weight", 1..=256)?,
            "drain" => drained = true,
            "agent-port" => agent.take_port(args)?,
            "agent-inter" => agent.take_interval(option, args)?,
            _ => {
                let known = "not `weight NUMBER`, `drain`, `agent-port PORT` or `agent-inter TIME`";
                return Err(args.unexpected_value(option, known));
            }
        }
    }
    let agent = agent.built()?;
    farm.hosts.push(NamedHost {
        name,
        address: word.span,
        host: SessionHost {
            address,
            weight,
            drained,
        },
        agent,
    });
    Ok(())
}

/// Parses the address of a host; the port defaults to that of RDP.
fn reaches(args: &Args<'_>, word: &ConfigWord) -> Result<SocketAddr, Diagnostic> {
    let text = word.str();
    let with_port = text.parse::<SocketAddr>().ok();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = with_port.or_else(|| Some(SocketAddr::new(bare.parse().ok()?, PORT)));
    let is_of_one = |address: &SocketAddr| {
        let ip = address.ip();
        !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0
    };
    let found = address.filter(is_of_one);
    found.ok_or_else(|| args.unexpected_value(word, "not an IP address, with or without a port"))
}

pub(super) static LINES: &[Keyword<FarmLineBuilder>] = language::rows! {
    "name <name>" &["farm"], fqdn, "name desktop.example.org",
        "The host name by which clients reach the farm. A redirected client connects to it again; without the line, it \
         connects to what it connected to before. The certificate of `bind` has to have the name.";
    "bind [<address>]:<port> crt <file> [accept-proxy]" &["farm"], bind,
        "bind 192.0.2.10:3389 crt /etc/evenkeel/desktop.pem",
        "Where clients connect: an IP address and a port, at most 8 lines. A virtual address may be named before the \
         machine has it. `crt` is a certificate with its issuers and its private key in PEM format, for clients \
         without a token: they say over TLS who they are. With `accept-proxy` connections of the addresses in \
         `trusted-proxy` begin with a PROXY header (version 1 or 2), which has the client's address; all others have \
         to come without one. A port below 1024 can be added only by a restart.";
    "trusted-proxy <address>[/<bits>]..." &["farm"], trusted_proxy,
        "trusted-proxy 10.0.0.5 10.0.0.6",
        "The proxies in front of the farm, at most 64 addresses or networks. Requests from them at a `web` address are \
         of the client that `X-Forwarded-For` names (`option forwardfor` of HAProxy): the rightmost address that is \
         not a trusted proxy. Connections from them at an address with `accept-proxy` have to begin with a PROXY \
         header (`send-proxy` or `send-proxy-v2` of HAProxy). Without the line all clients behind a proxy have its \
         address, and share its limits.";
    "host <name> <address>[:<port>] [weight <number>] [drain] [agent-port <port>] [agent-inter <time>]" &["farm"],
        host,
        "host ts1 10.0.0.11:3389 weight 10",
        "A session host. The default port is 3389. Users without a session are shared by `weight`, from 1 to 256; the \
         default is 1. A host with `drain` gets nobody new; users with a session there come back to it. `agent-port` \
         is the port of an agent on the host: the farm asks it every `agent-inter` (5s), and it says which users have \
         a session there, and with the words of HAProxy's agents how much the host takes: `up`, `down`, `drain`, \
         `maint`, `ready`, `NN%`, `maxconn:N`. `evenkeel farm agent` is one for xrdp.";
};
