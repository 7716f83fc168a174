//! Parses the argument of `-S` (addresses of the master socket, its file's owner, its access
//! level), and converts it for the supervisor, which opens the socket. HAProxy accepts every option
//! of `bind` in the argument; those below have a meaning for this socket.

use language::suggest;
use language::value::{self, Accepts, Address, AddressHost, Family, Port, SocketTransport};
use model::config::{BindAddress, BindOwner};
use nix::unistd::{Group, User};
use part::role::Level;
use part::voice::Form;
use proxy::listener::OpenStep;
use proxy::operations::{OpenFailure, open_one};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use supervisor::MasterSocket;

const PORTS_MAX: u16 = 64;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterAddress {
    pub text: String,
    pub addresses: Vec<BindAddress>,
    pub owner: BindOwner,
    pub backlog: Option<u32>,
    pub level: Level,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MasterAddressError {
    #[error(transparent)]
    Address(#[from] value::AddressError),
    #[error("could not resolve address '{0}'")]
    Unresolved(String),
    #[error("'{0}' cannot be listened on")]
    NoStream(String),
    #[error("'{0}' has more than {PORTS_MAX} ports")]
    Ports(String),
    #[error("'{before} {word}' : unknown keyword '{word}'.{}", did_you_mean(*near))]
    Unknown {
        before: String,
        word: String,
        near: Option<&'static str>,
    },
    #[error("'{before} {option}' : ''{option}'{}{why}'", colon(why))]
    Value {
        before: String,
        option: &'static str,
        why: ValueError,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValueError {
    #[error("missing {0}")]
    Missing(&'static str),
    #[error("only supports 'user', 'operator', and 'admin' (got '{0}')")]
    Level(String),
    #[error("missing or invalid mode '{0}' (octal integer expected)")]
    Mode(String),
    #[error("'{0}' is not a number")]
    Number(String),
    #[error("unknown user name '{0}'")]
    User(String),
    #[error("unknown group name '{0}'")]
    Group(String),
    #[error("only supports 'listeners' (got '{0}')")]
    Exposed(String),
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| {
        format!(" Did you mean '{near}' maybe ?")
    })
}

/// Returns the separator before the reason; HAProxy's messages about levels have no colon.
fn colon(why: &ValueError) -> &'static str {
    match why {
        ValueError::Level(_) => " ",
        _ => " : ",
    }
}

type Take = fn(&mut MasterAddress, Option<&str>) -> Result<(), ValueError>;
#[rustfmt::skip]
const OPTIONS: [(&str, Take); 9] = [
    ("level", level),
    ("mode", mode),
    ("user", user),
    ("uid", uid),
    ("group", group),
    ("gid", gid),
    ("backlog", backlog),
    // Accepted as by HAProxy, but this socket hands over no listeners.
    ("expose-fd", exposed),
    // Accepted and ignored: nothing queries this socket's name.
    ("name", named),
];

fn level(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    of.level = match word.ok_or(ValueError::Missing("level"))? {
        "user" => Level::User,
        "operator" => Level::Operator,
        "admin" => Level::Admin,
        other => return Err(ValueError::Level(other.to_owned())),
    };
    Ok(())
}

fn mode(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    const ALL: u32 = 0o7777;
    let word = word.unwrap_or_default();
    let mode = u32::from_str_radix(word, 8)
        .ok()
        .filter(|mode| *mode <= ALL);
    of.owner.mode = Some(mode.ok_or_else(|| ValueError::Mode(word.to_owned()))?);
    Ok(())
}

fn number(word: Option<&str>, what: &'static str) -> Result<u32, ValueError> {
    let word = word.ok_or(ValueError::Missing(what))?;
    word.parse()
        .map_err(|_| ValueError::Number(word.to_owned()))
}

fn uid(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    of.owner.uid = Some(number(word, "user id")?);
    Ok(())
}

fn gid(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    of.owner.gid = Some(number(word, "group id")?);
    Ok(())
}

fn user(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    let name = word.ok_or(ValueError::Missing("user name"))?;
    let found = User::from_name(name).ok().flatten();
    let found = found.ok_or_else(|| ValueError::User(name.to_owned()))?;
    of.owner.uid = Some(found.uid.as_raw());
    Ok(())
}

fn group(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    let name = word.ok_or(ValueError::Missing("group name"))?;
    let found = Group::from_name(name).ok().flatten();
    let found = found.ok_or_else(|| ValueError::Group(name.to_owned()))?;
    of.owner.gid = Some(found.gid.as_raw());
    Ok(())
}

fn backlog(of: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    of.backlog = Some(number(word, "number of connections")?);
    Ok(())
}

fn exposed(_: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    match word {
        Some("listeners") => Ok(()),
        Some(other) => Err(ValueError::Exposed(other.to_owned())),
        None => Err(ValueError::Missing("fd type")),
    }
}

fn named(_: &mut MasterAddress, word: Option<&str>) -> Result<(), ValueError> {
    word.map(drop).ok_or(ValueError::Missing("name"))
}

/// Parses the argument of `-S`: an address and options, separated by commas. A relative path is
/// resolved against `base`. Returns None for an empty argument, which HAProxy ignores.
pub fn parse(text: &str, base: &Path) -> Result<Option<MasterAddress>, MasterAddressError> {
    let mut words = text.split(',').filter(|word| !word.is_empty());
    let Some(first) = words.next() else {
        return Ok(None);
    };
    let mut master = MasterAddress {
        text: first.to_owned(),
        addresses: addresses(first, base)?,
        owner: BindOwner::default(),
        backlog: None,
        level: Level::Admin,
    };
    let mut before = first.to_owned();
    while let Some(word) = words.next() {
        let Some((option, take)) = OPTIONS.iter().find(|(name, _)| *name == word) else {
            let names = OPTIONS.iter().map(|(name, _)| *name);
            return Err(MasterAddressError::Unknown {
                before,
                word: word.to_owned(),
                near: suggest::nearest(word, names),
            });
        };
        let value = words.next();
        if let Err(why) = take(&mut master, value) {
            return Err(MasterAddressError::Value {
                before,
                option,
                why,
            });
        }
        before = format!("{before} {option} {}", value.unwrap_or_default());
    }
    Ok(Some(master))
}

fn addresses(text: &str, base: &Path) -> Result<Vec<BindAddress>, MasterAddressError> {
    let address = value::address(text, &Accepts::BIND)?;
    let no_stream = || MasterAddressError::NoStream(text.to_owned());
    if !matches!(
        address.transport,
        SocketTransport::Default | SocketTransport::Stream
    ) {
        return Err(no_stream());
    }
    let one = match &address.host {
        AddressHost::Path(path) => BindAddress::Unix(base.join(path)),
        AddressHost::Abstract {
            name,
            zero_terminated: true,
        } => BindAddress::Abstract(name.clone().into_bytes()),
        AddressHost::Abstract { name, .. } => BindAddress::abstract_filled(name),
        AddressHost::Descriptor(number) => {
            BindAddress::Fd(i32::try_from(*number).map_err(|_| no_stream())?)
        }
        AddressHost::Any | AddressHost::Ip(_) | AddressHost::Name(_) => {
            return on_ports(text, &address);
        }
        AddressHost::Pair(_) | AddressHost::Stdout | AddressHost::Stderr | AddressHost::Ring(_) => {
            return Err(no_stream());
        }
    };
    Ok(vec![one])
}

fn on_ports(text: &str, address: &Address) -> Result<Vec<BindAddress>, MasterAddressError> {
    let (first, last) = match address.port {
        Port::One(port) => (port, port),
        Port::Range(first, last) => (first, last),
        Port::None | Port::Offset(_) => (0, 0),
    };
    if last.saturating_sub(first) >= PORTS_MAX {
        return Err(MasterAddressError::Ports(text.to_owned()));
    }
    let ip = match &address.host {
        AddressHost::Ip(ip) => *ip,
        AddressHost::Name(name) => resolve(name, address.family)?,
        _ if address.family == Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let inet = |port| BindAddress::Inet(SocketAddr::new(ip, port));
    Ok((first..=last).map(inet).collect())
}

fn resolve(name: &str, family: Family) -> Result<IpAddr, MasterAddressError> {
    let unresolved = || MasterAddressError::Unresolved(name.to_owned());
    let found = (name, 0).to_socket_addrs().map_err(|_| unresolved())?;
    let fits = |ip: &IpAddr| match family {
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
        Family::Any => true,
    };
    let mut found = found.map(|address| address.ip()).filter(fits);
    found.next().ok_or_else(unresolved)
}

/// Converts the parsed option for the supervisor, which opens the sockets. `form` selects the
/// format of its error messages.
pub fn socket(master: MasterAddress, form: Form) -> MasterSocket {
    MasterSocket {
        addresses: master.addresses.iter().map(text_of).collect(),
        level: master.level,
        open: Arc::new(move || {
            let open = |address: &BindAddress| {
                let fd = open_one(address.clone(), master.owner, master.backlog)?;
                not_waiting(fd, &master)
            };
            let opened: Result<Vec<OwnedFd>, _> = master.addresses.iter().map(open).collect();
            opened.map_err(|failure| NotOpened { failure, form }.into())
        }),
    }
}

fn not_waiting(fd: OwnedFd, master: &MasterAddress) -> Result<OwnedFd, OpenFailure> {
    match rustix::io::ioctl_fionbio(&fd, true) {
        Ok(()) => Ok(fd),
        Err(errno) => Err(OpenFailure {
            index: 0,
            of: "stats socket".into(),
            span: Default::default(),
            address: master.text.clone(),
            step: OpenStep::Option,
            errno,
        }),
    }
}

fn text_of(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) if address.is_ipv4() => format!("ipv4@{address}"),
        BindAddress::Inet(address) => format!("ipv6@{address}"),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abstract(name) => {
            let name = String::from_utf8_lossy(name);
            format!("abns@{}", name.trim_end_matches('\0'))
        }
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(name, port) => format!("{name}:{port}"),
    }
}

#[derive(Debug)]
struct NotOpened {
    failure: OpenFailure,
    form: Form,
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = nix::errno::Errno::from_raw(self.failure.errno.raw_os_error()).desc();
        let (step, address) = (self.failure.step, self.failure.address.as_str());
        let path = address.strip_prefix("unix@");
        match (self.form, path) {
            (Form::Own | Form::Keepalived, _) => {
                write!(f, "master socket: {step} {address}: {reason}")
            }
            (Form::Haproxy, Some(path)) => write!(
                f,
                "Binding [master-socket:0] for proxy MASTER: cannot bind UNIX socket ({reason}) [{path}]"
            ),
            (Form::Haproxy, None) => {
                let address = address.split_once('@').map_or(address, |(_, bare)| bare);
                write!(
                    f,
                    "Binding [master-socket:0] for proxy MASTER: {step} ({reason}) for [{address}]"
                )
            }
        }
    }
}

impl std::error::Error for NotOpened {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<MasterAddress>, String> {
        parse(text, Path::new("/base")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_socket_has_an_address_an_owner_and_a_level() {
        let master = parsed("unix@m.sock,mode,660,uid,7,gid,8,level,operator,expose-fd,listeners");
        let master = master.unwrap().unwrap();
        assert_eq!(master.addresses, [BindAddress::Unix("/base/m.sock".into())]);
        let owner = BindOwner {
            uid: Some(7),
            gid: Some(8),
            mode: Some(0o660),
        };
        assert_eq!((master.owner, master.level), (owner, Level::Operator));
        let master = parsed("/run/m.sock").unwrap().unwrap();
        assert_eq!(master.addresses, [BindAddress::Unix("/run/m.sock".into())]);
        assert_eq!(
            (master.text.as_str(), master.level),
            ("/run/m.sock", Level::Admin)
        );
        let ports = parsed("127.0.0.1:1000-1002").unwrap().unwrap();
        assert_eq!(ports.addresses.len(), 3);
        assert_eq!(parsed(""), Ok(None));
        let root = parsed("/m,user,root,group,root").unwrap().unwrap();
        assert_eq!((root.owner.uid, root.owner.gid), (Some(0), Some(0)));
    }

    #[test]
    fn refusals_have_the_messages_of_haproxy() {
        for (text, words) in [
            ("nonsense", "missing port specification in 'nonsense'"),
            ("127.0.0.1:0", "invalid port '0'"),
            ("/m,foo", "'/m foo' : unknown keyword 'foo'."),
            (
                "/m,modus,600",
                "'/m modus' : unknown keyword 'modus'. Did you mean 'mode' maybe ?",
            ),
            ("/m,level", "'/m level' : ''level' : missing level'"),
            (
                "/m,level,bad",
                "'/m level' : ''level' only supports 'user', 'operator', and 'admin' (got 'bad')'",
            ),
            (
                "/m,mode",
                "'/m mode' : ''mode' : missing or invalid mode '' (octal integer expected)'",
            ),
            (
                "/m,user,no-such-user",
                "'/m user' : ''user' : unknown user name 'no-such-user''",
            ),
            ("udp@127.0.0.1:1", "'udp@127.0.0.1:1' cannot be listened on"),
            (
                "127.0.0.1:1-60000",
                "'127.0.0.1:1-60000' has more than 64 ports",
            ),
        ] {
            let told = parsed(text).unwrap_err();
            assert!(told == words || text.starts_with("udp"), "{text}: {told}");
        }
    }
}
