//! Serves the connections of one farm on a thread: the listening addresses, the clients and the
//! health checks. The farm's state ([`crate::site`]) decides about each client.

mod agents;
mod ask;
mod check;
mod client;
mod door;
mod home;
mod places;
mod relay;

pub use door::{FarmListener, Secure};
pub(crate) use places::ConnectionSlot;
pub(crate) use relay::keep_alive;

use crate::site::FarmState;
use access::proxies::read_header;
use home::Homes;
use places::ConnectionSlots;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const REST: Duration = Duration::from_millis(50);
/// Connections that are accepted in a row before existing connections run again.
const ACCEPTS_MAX: u64 = 8;

/// Server of a farm. Dropping it closes its connections.
pub struct Server {
    doors: watch::Sender<Vec<Arc<FarmListener>>>,
}

impl Server {
    /// Starts the server of a farm at these addresses.
    ///
    /// # Errors
    /// Fails if the system has no thread or descriptor left.
    pub fn start(site: Arc<FarmState>, doors: Vec<Arc<FarmListener>>) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            // Checks the global queue first, so that logons that the other node has confirmed run
            // before new clients. Otherwise each of them would wait for a turn of all tasks.
            .global_queue_interval(1)
            .build()?;
        let (sender, receiver) = watch::channel(doors);
        let thread = thread::Builder::new().name("farm/rdp".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept_all(Rdp(Arc::clone(&site)), receiver) => {}
                    () = check::run(Arc::clone(&site)) => {}
                    () = agents::run(site) => {}
                }
            });
            // Ends the connections that are still open.
            runtime.shutdown_background();
        })?;
        Ok(Server { doors: sender })
    }

    /// Changes the addresses. Open connections stay.
    pub fn change(&self, doors: Vec<Arc<FarmListener>>) {
        self.doors.send_replace(doors);
    }

    pub fn listeners(&self) -> Vec<Arc<FarmListener>> {
        self.doors.borrow().clone()
    }
}

/// Handler of the connections of one type of address.
pub(crate) trait Listens: Clone + Send + 'static {
    fn site(&self) -> &FarmState;

    /// Reports the errors of the addresses; an empty list means that all are open.
    fn opened(&self, troubles: Vec<String>);

    /// Returns the address of the client, and whether it connects through the gateway.
    fn client_of(&self, peer: SocketAddr) -> (IpAddr, bool);

    fn serve(
        self,
        secure: Secure,
        stream: TcpStream,
        place: ConnectionSlot,
    ) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Rdp(Arc<FarmState>);

impl Listens for Rdp {
    fn site(&self) -> &FarmState {
        &self.0
    }

    fn opened(&self, troubles: Vec<String>) {
        self.0.opened(troubles);
    }

    fn client_of(&self, peer: SocketAddr) -> (IpAddr, bool) {
        match self.0.arrived(peer) {
            Some(from) => (from, true),
            None => (peer.ip().to_canonical(), false),
        }
    }

    async fn serve(self, secure: Secure, stream: TcpStream, place: ConnectionSlot) {
        if self.0.is_removed() {
            return self.0.count(|counters| &mut counters.refused);
        }
        client::serve(self.0, secure.tls, stream, place).await;
    }
}

pub(crate) async fn accept_all<L: Listens>(
    listens: L,
    mut doors: watch::Receiver<Vec<Arc<FarmListener>>>,
) {
    let (places, homes) = (
        Arc::new(ConnectionSlots::default()),
        Arc::new(Homes::default()),
    );
    let mut looks = JoinSet::new();
    let looked = Arc::clone(&homes);
    looks.spawn(async move { looked.poll_addresses().await });
    loop {
        let mut open = JoinSet::new();
        let mut troubles = Vec::new();
        for door in doors.borrow_and_update().iter() {
            let listener = door.listener().and_then(TcpListener::from_std);
            match listener {
                Ok(listener) => {
                    let (listens, door) = (listens.clone(), Arc::clone(door));
                    let (places, homes) = (Arc::clone(&places), Arc::clone(&homes));
                    open.spawn(accept(listens, door, listener, places, homes));
                }
                Err(error) => {
                    let why = language::reason(&error);
                    troubles.push(format!("cannot accept at {}: {why}", door.address()));
                }
            }
        }
        listens.opened(troubles);
        if doors.changed().await.is_err() {
            return;
        }
    }
}

async fn accept<L: Listens>(
    listens: L,
    door: Arc<FarmListener>,
    listener: TcpListener,
    places: Arc<ConnectionSlots>,
    homes: Arc<Homes>,
) {
    for count in 1_u64.. {
        if count.is_multiple_of(ACCEPTS_MAX) {
            tokio::task::yield_now().await;
        }
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Pauses accepting while no descriptor is free; existing connections continue.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::time::sleep(REST).await;
                }
                continue;
            }
        };
        let ((from, by_gateway), site) = (listens.client_of(from), listens.site());
        let is_proxy = !by_gateway && site.trusts(from);
        let expects_header = is_proxy && door.accepts_proxy();
        site.count(|counters| &mut counters.accepted);
        let maxconn = site.maxconn();
        // Skips a connection without a local address, which has ended already.
        let Ok(here) = stream.local_addr() else {
            continue;
        };
        let home = homes.of(here.ip().to_canonical());
        let Some(mut place) = ConnectionSlots::take(&places, from, home.clone(), is_proxy, maxconn)
        else {
            site.count(|counters| &mut counters.over);
            continue;
        };
        place.by_gateway = by_gateway;
        let (leave, counts) = (place.leave(), listens.clone());
        // Copies what the task needs: it must not own the `FarmListener`, whose socket has to close
        // when the address is removed, not when the clients end.
        let (listens, secure, mut stream) = (listens.clone(), door.secure(), stream);
        let serves = async move {
            if expects_header {
                match read_header(&mut stream).await {
                    Ok(Some(client)) => place.move_to(client),
                    // Continues with the address of the proxy itself, as in its health check.
                    Ok(None) => {}
                    Err(_) => {
                        let site = listens.site();
                        return site.count(|counters| &mut counters.malformed);
                    }
                }
            }
            listens.serve(secure, stream, place).await;
        };
        tokio::spawn(async move {
            tokio::select! {
                () = serves => {}
                () = home.wait_until_removed() => {}
                () = leave.notified() => counts.site().count(|counters| &mut counters.over),
            }
        });
    }
}
