//! Assigns the sockets that another process opened for this configuration to the listeners, by
//! their order in the configuration.

use super::identity::{inode, prefixed};
use super::open::Listening;
use model::config::{Bind, BindAddress, Config, Proxy, ProxyIndex};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Reason why descriptors of another process do not match a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssignError {
    #[error("expected {wanted} listening sockets, got {given}")]
    Count { wanted: usize, given: usize },
    #[error("socket {place} cannot be used ({errno})")]
    Descriptor {
        /// Index of the descriptor among those passed.
        place: usize,
        errno: Errno,
    },
}

/// Returns the listeners of a configuration, in the order in which their sockets are opened and
/// passed to other processes.
pub fn wanted(config: &Config) -> impl Iterator<Item = (ProxyIndex, u32)> + '_ {
    places(config).map(|(index, _, n, _)| (index, n))
}

/// Returns, for each of [`wanted`], its `fd@` number if it has one. The process that keeps the
/// sockets stores these numbers for [`super::Inherited::add_tagged`].
pub fn tags(config: &Config) -> impl Iterator<Item = Option<RawFd>> + '_ {
    places(config).map(|(_, _, _, bind)| bind.address.inherited_number())
}

/// Returns the addresses that two instances of the program must not use at the same time, because
/// the kernel would distribute the connections over both, or one would take the address from the
/// other. Only addresses that the configuration names count.
pub fn addresses(config: &Config) -> impl Iterator<Item = String> + '_ {
    let prefix = config.global.unix_bind_prefix.as_deref();
    places(config).filter_map(move |(_, _, _, bind)| match &bind.address {
        BindAddress::Inet(address) if address.port() != 0 => {
            let transport = if bind.datagrams { "udp " } else { "" };
            let interface = bind.interface.as_ref();
            let interface = interface.map_or_else(String::new, |name| format!(" of {name}"));
            Some(format!("{transport}{address}{interface}"))
        }
        BindAddress::Unix(path) => Some(prefixed(prefix, path).display().to_string()),
        _ => None,
    })
}

pub(super) fn places(
    config: &Config,
) -> impl Iterator<Item = (ProxyIndex, &Proxy, u32, &Bind)> + '_ {
    let listening = |(_, proxy): &(ProxyIndex, &Proxy)| proxy.kind.is_frontend() && !proxy.disabled;
    config.iter().filter(listening).flat_map(|(index, proxy)| {
        (0..)
            .zip(&proxy.binds)
            .map(move |(n, b)| (index, proxy, n, b))
    })
}

/// Assigns the sockets of another process to the listeners of a configuration, in the order of
/// [`wanted`]. The listeners at the indices `left_out` get none.
///
/// # Errors
/// Fails if the number of sockets differs from that of the listeners, or if fstat(2) fails for one.
/// All sockets are then closed.
pub fn assign(
    config: &Config,
    sockets: Vec<OwnedFd>,
    left_out: &[u32],
) -> Result<Vec<Listening>, AssignError> {
    let open = || {
        (0..)
            .zip(places(config))
            .filter(|(n, _)| !left_out.contains(n))
    };
    let (wanted, given) = (open().count(), sockets.len());
    if wanted != given {
        return Err(AssignError::Count { wanted, given });
    }
    let both = open().map(|(_, place)| place).zip(sockets).enumerate();
    both.map(|(place, ((index, proxy, n, bind), fd))| {
        let inode = inode(&fd).map_err(|errno| AssignError::Descriptor { place, errno })?;
        Ok(Listening {
            fd: Arc::new(fd),
            inode,
            proxy: index,
            bind: n,
            state: proxy.state.listener(bind.id),
        })
    })
    .collect()
}

/// Records in the frontends' states how many of their listeners are not open. Called after
/// the states of the previous configuration were adopted.
pub(crate) fn note_unopened(config: &Config, listening: &[Listening]) {
    let mut open: HashMap<u32, u32> = HashMap::new();
    for one in listening {
        *open.entry(one.proxy.0).or_default() += 1;
    }
    let frontends = config.iter().filter(|(_, proxy)| proxy.kind.is_frontend());
    for (index, proxy) in frontends.filter(|(_, proxy)| !proxy.disabled) {
        let wanted = u32::try_from(proxy.binds.len()).unwrap_or(u32::MAX);
        let open = open.get(&index.0).copied().unwrap_or_default();
        let unopened = wanted.saturating_sub(open);
        proxy.state.frontend.unopened.store(unopened, Relaxed);
    }
}
