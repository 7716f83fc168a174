//! Simulates session hosts: each accepts and confirms connections, sends its number, and keeps the
//! connection open.

use super::crowd::packet;
use lab::LabHost;
use protocol::rdp::{Negotiated, SSL};
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Hosts that run on a thread, until this is dropped.
#[derive(Debug)]
pub struct Hosts {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hosts {
    /// Starts a host at each of these addresses of a machine.
    pub fn start(machine: &LabHost, addresses: &[SocketAddr]) -> io::Result<Hosts> {
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = machine.tcp_listen(*address)?;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // If this fails, the measured times are only higher.
            let _ = super::yields();
            runtime.block_on(async {
                for (number, listener) in (0_u8..).zip(listeners) {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        tokio::spawn(accept(listener, number));
                    }
                }
                // The wait also ends when the sender is dropped.
                let _ = stopped.await;
            });
        });
        Ok(Hosts {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, number: u8) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, number));
    }
}

async fn serve(mut stream: TcpStream, number: u8) -> io::Result<()> {
    packet(&mut stream).await?;
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: SSL,
    };
    let mut answer = selected.encode();
    answer.push(number);
    stream.write_all(&answer).await?;
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
