//! Holds the open listening sockets of a configuration. After a change of the configuration,
//! threads find their listener by its socket, even if its descriptor, address or position in the
//! file has changed. This module opens nothing and accepts nothing.

use super::Listening;
use std::collections::HashMap;
use std::sync::Arc;

/// Identifies an accept task: the socket, and the index among the listeners that use the same
/// socket (`bind fd@3` twice).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SocketKey {
    inode: u64,
    nth: u32,
}

/// The listeners of one configuration.
#[derive(Debug, Default)]
pub(crate) struct OpenListeners {
    list: Vec<(SocketKey, Listening)>,
    places: HashMap<SocketKey, usize>,
}

impl OpenListeners {
    /// Creates the set of these listeners. For a socket that `before` contains, the descriptor in
    /// use stays and the new one is closed.
    pub(crate) fn following(listening: Vec<Listening>, before: &OpenListeners) -> OpenListeners {
        let mut sharing: HashMap<u64, u32> = HashMap::new();
        let mut open = OpenListeners::default();
        for mut one in listening {
            let nth = sharing.entry(one.inode).or_default();
            let key = SocketKey {
                inode: one.inode,
                nth: *nth,
            };
            *nth += 1;
            if let Some(known) = before.get(key) {
                one.fd = Arc::clone(&known.fd);
            }
            open.places.insert(key, open.list.len());
            open.list.push((key, one));
        }
        open
    }

    pub(crate) fn get(&self, key: SocketKey) -> Option<&Listening> {
        self.places.get(&key).map(|at| &self.list[*at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(SocketKey, Listening)> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::ProxyIndex;
    use std::net::TcpListener;
    use std::os::fd::{AsRawFd, OwnedFd};

    fn listening(socket: &TcpListener, proxy: u32) -> Listening {
        let fd: OwnedFd = socket.try_clone().unwrap().into();
        Listening {
            inode: rustix::fs::fstat(&fd).unwrap().st_ino,
            fd: Arc::new(fd),
            proxy: ProxyIndex(proxy),
            bind: 0,
            state: Arc::default(),
        }
    }

    #[test]
    fn kept_socket_moves_to_its_new_position() {
        let [stays, goes, comes] = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let before = OpenListeners::following(
            vec![listening(&stays, 0), listening(&goes, 1)],
            &OpenListeners::default(),
        );
        let fd_of = |open: &OpenListeners, at: usize| open.list[at].1.fd.as_raw_fd();
        let served = fd_of(&before, 0);
        let after =
            OpenListeners::following(vec![listening(&comes, 0), listening(&stays, 1)], &before);
        assert_eq!(fd_of(&after, 1), served);
        let key = before.list[0].0;
        assert_eq!(after.get(key).map(|one| one.proxy), Some(ProxyIndex(1)));
        assert!(after.get(before.list[1].0).is_none());
        assert_eq!(after.iter().count(), 2);
    }

    #[test]
    fn two_listeners_on_one_socket_are_two() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = || vec![listening(&socket, 0), listening(&socket, 1)];
        let before = OpenListeners::following(both(), &OpenListeners::default());
        let after = OpenListeners::following(both(), &before);
        assert_eq!(after.places.len(), 2);
        for (one, other) in before.iter().zip(after.iter()) {
            assert_eq!(one.0, other.0);
            assert!(Arc::ptr_eq(&one.1.fd, &other.1.fd));
        }
    }
}
