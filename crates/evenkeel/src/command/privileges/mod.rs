//! Implements `evenkeel check --privileges`: lists for each process the privileges with the given
//! files, what it may open and connect to, and why. The output describes a start as root, whichever
//! user runs the command. Only the kernel's features are tested, on a short-lived thread.

mod render;

use crate::parts::RolePayload;
use ::command::user_name;
use address::rights;
use confinement::{
    Confinement, FileConfinement, Filtered, IdentityOrigin, ProcessIdentity, ServiceUser,
    StartedAs, group_name, identity_for,
};
use keyword::load::Loaded;
use model::config::{Config, LogTargetAddress, ServerAddress};
use part::voice::Form;
use proxy_role::process::address_text;
use std::path::PathBuf;

/// Describes the processes of a configuration, as text or JSON. Of the roles in addition to the
/// proxy, only the volume role and the console role are described.
pub fn render_privileges(
    loaded: &Loaded,
    config: &Config,
    running: &[RolePayload],
    format: Option<&str>,
) -> String {
    let mut accounts = accounts(loaded, config);
    for one in running {
        accounts.extend(beside(one, config));
    }
    match format {
        Some("json") => render::json(&accounts),
        Some("concise") => render::concise(&accounts),
        _ => render::full(&accounts),
    }
}

fn beside(one: &RolePayload, config: &Config) -> Vec<ProcessPrivileges> {
    #[cfg(feature = "volume")]
    if one.part.name == volume::keyword::NAME {
        let volumes = part::codec::decode::<volume::config::Volumes>(&one.given.payload).ok();
        let described = volumes.map(|volumes| volume_role(&volumes, config));
        return described.into_iter().collect();
    }
    #[cfg(feature = "console")]
    if one.part.name == console::keyword::NAME {
        let console = part::codec::decode::<console::config::Config>(&one.given.payload).ok();
        let described = console.map(|console| [console_role(&console), route_process()]);
        return described.into_iter().flatten().collect();
    }
    let _ = (one, config);
    Vec::new()
}

pub fn of_addresses(config: &address::config::Config, format: Option<&str>) -> String {
    let reasons = rights::reasons(config).into_iter();
    let reasons = reasons.map(|(set, why)| Reason {
        capability: confinement::names(set).join(", "),
        why,
        place: String::new(),
    });
    render::of_addresses(&reasons.collect::<Vec<_>>(), format)
}

/// A user or a group.
struct Account {
    id: u32,
    name: Option<String>,
    why: &'static str,
}

/// Capability that the process keeps, with the line of the configuration that requires it.
struct Reason {
    capability: String,
    why: &'static str,
    place: String,
}

enum Capabilities {
    All,
    Only(Vec<Reason>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    Any,
    NotDeadly,
    Needed,
    Unfiltered,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    User,
    /// Landlock restricts access to the listed paths. The number is the version of Landlock.
    Listed(u32),
    /// The kernel has no Landlock, or it is disabled.
    Unavailable,
}

struct ProcessPrivileges {
    name: &'static str,
    purpose: &'static str,
    user: Account,
    group: Account,
    root: PathBuf,
    capabilities: Capabilities,
    no_new_privileges: bool,
    access: Access,
    calls: Calls,
    reads: Vec<String>,
    writes: Vec<String>,
    opens: Vec<String>,
    connects: Vec<String>,
}

/// Protections of the running kernel, determined by trying them.
struct Kernel {
    access: Access,
    filters: bool,
    no_new_privileges: bool,
}

impl Kernel {
    fn try_out(confinement: &Confinement) -> Kernel {
        let held = confinement::rehearse(confinement);
        Kernel {
            access: match held.map(|held| held.files) {
                Some(FileConfinement::Confined { version }) => Access::Listed(version),
                _ => Access::Unavailable,
            },
            filters: held.is_some_and(|held| held.system_calls == Filtered::Yes),
            no_new_privileges: held.is_some_and(|held| held.no_new_privileges),
        }
    }

    fn calls(&self, calls: Calls) -> Calls {
        if self.filters {
            calls
        } else {
            Calls::Unfiltered
        }
    }
}

fn accounts(loaded: &Loaded, config: &Config) -> Vec<ProcessPrivileges> {
    let own = identity_for(&config.global, StartedAs::Root, Form::Own);
    let confinement = Confinement::proxy(config, &own);
    let kernel = Kernel::try_out(&confinement);
    let one = identity_for(&config.global, StartedAs::Root, Form::Haproxy);
    let name = "proxy under the name haproxy";
    vec![
        supervisor(config),
        loader(loaded, config),
        proxy("proxy", loaded, config, &own, &kernel),
        proxy(name, loaded, config, &one, &kernel),
    ]
}

fn as_started(name: &'static str, purpose: &'static str) -> ProcessPrivileges {
    ProcessPrivileges {
        name,
        purpose,
        user: account(Some(0), IdentityOrigin::Start, user_name),
        group: account(Some(0), IdentityOrigin::Start, group_name),
        root: "/".into(),
        capabilities: Capabilities::All,
        no_new_privileges: false,
        access: Access::User,
        calls: Calls::Any,
        reads: Vec::new(),
        writes: Vec::new(),
        opens: Vec::new(),
        connects: Vec::new(),
    }
}

fn account(id: Option<u32>, origin: IdentityOrigin, name: fn(u32) -> Option<String>) -> Account {
    let id = id.unwrap_or(0);
    Account {
        id,
        name: name(id),
        why: match origin {
            IdentityOrigin::File => "set in the file",
            IdentityOrigin::Default => "not set in the file, so not root",
            IdentityOrigin::Start => "as started",
        },
    }
}

fn supervisor(config: &Config) -> ProcessPrivileges {
    let pid_file = config.global.pidfile.as_deref();
    ProcessPrivileges {
        writes: pid_file
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        ..as_started(
            "supervisor",
            "starts and restarts the other processes; parses nothing that a user or the network wrote",
        )
    }
}

fn loader(loaded: &Loaded, config: &Config) -> ProcessPrivileges {
    let kernel = Kernel::try_out(&Confinement::loader());
    let mut reads: Vec<String> = Vec::new();
    let texts = loaded.sources.files().map(|(_, file)| file.name.clone());
    let named = loaded.recording.read();
    for name in texts.chain(named.map(|path| path.display().to_string())) {
        if !reads.contains(&name) {
            reads.push(name);
        }
    }
    ProcessPrivileges {
        no_new_privileges: kernel.no_new_privileges,
        calls: kernel.calls(Calls::NotDeadly),
        reads,
        opens: addresses(config),
        ..as_started(
            "loader",
            "reads and checks the files, resolves host names, binds addresses; ends after the load",
        )
    }
}

fn proxy(
    name: &'static str,
    loaded: &Loaded,
    config: &Config,
    identity: &ProcessIdentity,
    kernel: &Kernel,
) -> ProcessPrivileges {
    let confinement = Confinement::proxy(config, identity);
    let reason = |kept: &confinement::RetainedCapability| {
        let file = &loaded.sources.file(kept.span.file).name;
        Reason {
            capability: confinement::names(kept.capability).join(", "),
            why: kept.why.words(),
            place: format!("{file}:{}", loaded.sources.position(kept.span).line),
        }
    };
    let paths = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect();
    ProcessPrivileges {
        name,
        purpose: "serves clients and servers; gets all it needs from the loader",
        user: account(identity.uid, identity.uid_origin, user_name),
        group: account(identity.gid, identity.gid_origin, group_name),
        root: config.global.chroot.clone().unwrap_or_else(|| "/".into()),
        capabilities: Capabilities::Only(confinement.keeps.iter().map(reason).collect()),
        no_new_privileges: kernel.no_new_privileges,
        access: kernel.access,
        calls: kernel.calls(Calls::Needed),
        reads: paths(&confinement.reads),
        writes: paths(&confinement.writes),
        opens: Vec::new(),
        connects: peers(config),
    }
}

/// Describes the volume role. Each of its threads may open only the files of its own volume.
#[cfg(feature = "volume")]
fn volume_role(volumes: &volume::config::Volumes, config: &Config) -> ProcessPrivileges {
    let own = identity_for(&config.global, StartedAs::Root, Form::Own);
    let kernel = Kernel::try_out(&Confinement::volume());
    let sockets = volumes
        .0
        .keys()
        .map(|name| volume::role::socket_path(&supervisor::directory::path(), name));
    ProcessPrivileges {
        capabilities: Capabilities::Only(Vec::new()),
        no_new_privileges: kernel.no_new_privileges,
        // Tests the proxy's restrictions instead, which show whether the kernel supports Landlock:
        // each thread of the volume role restricts itself.
        access: Kernel::try_out(&Confinement::proxy(config, &own)).access,
        calls: kernel.calls(Calls::NotDeadly),
        writes: volumes
            .0
            .values()
            .map(|spec| spec.backing.path().display().to_string())
            .collect(),
        opens: sockets.map(|path| path.display().to_string()).collect(),
        ..as_started(
            "volume role",
            "serves volumes to clients of this machine; each of its threads has the files of one volume",
        )
    }
}

/// Describes a process that changes to its own user, or `nobody`, without capabilities and files.
#[cfg(feature = "console")]
fn as_service(
    name: &'static str,
    purpose: &'static str,
    confinement: &Confinement,
    user: ServiceUser,
) -> ProcessPrivileges {
    let kernel = Kernel::try_out(confinement);
    let (uid, gid) = user.ids();
    let account = |id: u32, name: fn(u32) -> Option<String>| Account {
        id,
        name: name(id),
        why: "regardless of the file",
    };
    let calls = match confinement.role {
        confinement::ConfinedProcess::Proxy => Calls::Needed,
        _ => Calls::NotDeadly,
    };
    ProcessPrivileges {
        user: account(uid, user_name),
        group: account(gid, group_name),
        capabilities: Capabilities::Only(Vec::new()),
        no_new_privileges: kernel.no_new_privileges,
        access: kernel.access,
        calls: kernel.calls(calls),
        ..as_started(name, purpose)
    }
}

#[cfg(feature = "console")]
fn console_role(config: &console::config::Config) -> ProcessPrivileges {
    // If `saslauthd` exists, the process is a member of its group.
    let asks = config
        .system
        .group()
        .map(|_| config.system.socket.display().to_string());
    ProcessPrivileges {
        opens: vec![config.address.to_string()],
        connects: asks.into_iter().collect(),
        ..as_service(
            "console role",
            "serves browsers and programs; requests all data and actions from the other processes",
            &Confinement::console(),
            ServiceUser::Console,
        )
    }
}

#[cfg(feature = "console")]
fn route_process() -> ProcessPrivileges {
    as_service(
        "route process",
        "shows where a request would go, for the console: one per request, at most two at a time, killed after 6 s",
        &Confinement::route(),
        ServiceUser::Route,
    )
}

fn addresses(config: &Config) -> Vec<String> {
    let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.binds);
    let of_operators = config
        .global
        .stats_sockets
        .iter()
        .map(|socket| &socket.bind);
    let of_peers = config.peers.iter().filter(|peers| peers.runs());
    let of_peers = of_peers.filter_map(|peers| Some(peers.listens()?.to_string()));
    let sections = config.log_forwards.iter();
    let of_senders = sections.flat_map(|section| &section.binds);
    of_proxies
        .chain(of_operators)
        .chain(of_senders)
        .map(|bind| address_text(&bind.address))
        .chain(of_peers)
        .collect()
}

/// Returns the addresses that the proxy connects to, without duplicates: peers, servers and log
/// targets.
fn peers(config: &Config) -> Vec<String> {
    let mut peers = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut add = |peer: String| {
        if seen.insert(peer.clone()) {
            peers.push(peer);
        }
    };
    let others = config.peers.iter().filter(|peers| peers.runs());
    let others = others.flat_map(|peers| peers.all.iter().filter(|p| p.name != peers.local));
    others
        .filter_map(|peer| peer.address)
        .for_each(|address| add(address.to_string()));
    for server in config.proxies.iter().flat_map(|proxy| &proxy.servers) {
        match &server.address {
            ServerAddress::Inet(address) => add(address.to_string()),
            ServerAddress::Unix(path) => add(path.display().to_string()),
            _ => add(server.address_text.to_string()),
        }
    }
    let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.logs);
    for target in config.global.logs.iter().chain(of_proxies) {
        match &target.address {
            LogTargetAddress::Udp(address) => add(format!("udp@{address}")),
            LogTargetAddress::Unix(path) => add(path.display().to_string()),
            LogTargetAddress::Ring(ring) => {
                for server in &ring.servers {
                    add(format!("tcp@{}", server.address));
                }
            }
            // The servers of a log backend are listed with all others.
            LogTargetAddress::Fd(_) | LogTargetAddress::Backend(_) => {}
        }
    }
    peers
}
