//! Captures frames at an interface of a host: a thread records VRRP adverts, ARP, and neighbour
//! solicitations and advertisements with their times, byte by byte. The module also decodes their
//! addresses.

use namespace::{FRAME_BYTES_MAX, Interface, LabError, PacketSocket, Way, raise_priority};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of recorded frames. Later ones are ignored.
const FRAMES_MAX: usize = 200_000;

/// Maximum time until the thread notices the end.
const STOP_POLL: Duration = Duration::from_millis(20);

const ETHERNET_BYTES: usize = 14;
const IPV6_BYTES: usize = 40;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_VRRP: u8 = 112;
const PROTOCOL_ICMPV6: u8 = 58;
const ARP_BYTES: usize = 28;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Talk {
    Vrrp,
    ArpRequest,
    ArpReply,
    NeighbourSolicitation,
    NeighbourAdvertisement,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturedFrame {
    pub at: Instant,
    /// Direction of the frame: sent or received by the interface.
    pub way: Way,
    pub talk: Talk,
    /// Whole frame, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

impl CapturedFrame {
    /// Returns the source Ethernet address.
    pub fn sender(&self) -> [u8; 6] {
        array(&self.bytes, 6).unwrap_or_default()
    }

    /// Returns the destination Ethernet address.
    pub fn receiver(&self) -> [u8; 6] {
        array(&self.bytes, 0).unwrap_or_default()
    }

    /// Returns source and destination of the IP header; for ARP, the addresses of sender and
    /// target.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let packet = self.bytes.get(ETHERNET_BYTES..)?;
        let v4 = |at| array::<4>(packet, at).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
        let v6 = |at| array::<16>(packet, at).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
        match ethertype(&self.bytes)? {
            ETHERTYPE_IPV4 => Some((v4(12)?, v4(16)?)),
            ETHERTYPE_IPV6 => Some((v6(8)?, v6(24)?)),
            ETHERTYPE_ARP => Some((v4(14)?, v4(24)?)),
            _ => None,
        }
    }

    /// Returns the packet after the Ethernet header, without padding.
    pub fn packet(&self) -> &[u8] {
        let packet = self.bytes.get(ETHERNET_BYTES..).unwrap_or_default();
        let word = |at| array::<2>(packet, at).map(|b| usize::from(u16::from_be_bytes(b)));
        let length = match ethertype(&self.bytes) {
            Some(ETHERTYPE_IPV4) => word(2),
            Some(ETHERTYPE_IPV6) => word(4).map(|n| n + IPV6_BYTES),
            Some(ETHERTYPE_ARP) => Some(ARP_BYTES),
            _ => None,
        };
        let length = length.unwrap_or(packet.len()).min(packet.len());
        packet.get(..length).unwrap_or_default()
    }

    /// Returns the payload after the IP header: for VRRP, the advert itself.
    pub fn payload(&self) -> &[u8] {
        let packet = self.packet();
        let head = match packet.first().map(|first| first >> 4) {
            Some(4) => usize::from(packet[0] & 15) * 4,
            Some(6) => IPV6_BYTES,
            _ => 0,
        };
        packet.get(head..).unwrap_or_default()
    }

    /// Returns whether the frame announces the owner of an address to all: an ARP packet whose
    /// sender and target are equal, or a neighbour advertisement to all nodes.
    pub fn is_announcement(&self) -> bool {
        match self.talk {
            Talk::ArpRequest | Talk::ArpReply => self
                .addresses()
                .is_some_and(|(sender, target)| sender == target),
            Talk::NeighbourAdvertisement => {
                let to = self.addresses().map(|(_, to)| to);
                to == Some(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)))
            }
            _ => false,
        }
    }

    /// Returns the address that an announcement or a neighbour request is about.
    pub fn about(&self) -> Option<IpAddr> {
        match self.talk {
            Talk::Vrrp => None,
            Talk::ArpRequest | Talk::ArpReply => self.addresses().map(|(_, target)| target),
            Talk::NeighbourSolicitation | Talk::NeighbourAdvertisement => {
                let octets = array::<16>(self.payload(), 8)?;
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            }
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn ethertype(bytes: &[u8]) -> Option<u16> {
    array(bytes, 12).map(u16::from_be_bytes)
}

/// Returns the kind of a frame; None if it is not recorded.
fn talk(bytes: &[u8]) -> Option<Talk> {
    let packet = bytes.get(ETHERNET_BYTES..)?;
    match ethertype(bytes)? {
        ETHERTYPE_ARP => match array::<2>(packet, 6)? {
            [0, 1] => Some(Talk::ArpRequest),
            [0, 2] => Some(Talk::ArpReply),
            _ => None,
        },
        ETHERTYPE_IPV4 => (*packet.get(9)? == PROTOCOL_VRRP).then_some(Talk::Vrrp),
        ETHERTYPE_IPV6 => match *packet.get(6)? {
            PROTOCOL_VRRP => Some(Talk::Vrrp),
            PROTOCOL_ICMPV6 => match packet.get(IPV6_BYTES)? {
                135 => Some(Talk::NeighbourSolicitation),
                136 => Some(Talk::NeighbourAdvertisement),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

type Frames = Mutex<Vec<CapturedFrame>>;

/// A capture at an interface, which stops when it is dropped.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    frames: Arc<Frames>,
    thread: Option<JoinHandle<()>>,
}

fn lock(frames: &Frames) -> MutexGuard<'_, Vec<CapturedFrame>> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Starts to record the frames of the known kinds that the interface sends or receives.
    pub fn start(interface: &Interface) -> Result<Self, LabError> {
        let name = interface.name();
        let open = || PacketSocket::to_watch(name);
        let socket = interface.host().enter(open);
        let socket = socket.map_err(LabError::io("listen to", name))?;
        let stop = Arc::new(AtomicBool::new(false));
        let frames = Arc::new(Frames::default());
        let (stopped, kept) = (Arc::clone(&stop), Arc::clone(&frames));
        let thread = thread::spawn(move || {
            raise_priority();
            listen(&socket, &kept, &stopped);
        });
        Ok(Capture {
            stop,
            frames,
            thread: Some(thread),
        })
    }

    /// Returns the frames recorded so far.
    pub fn frames(&self) -> Vec<CapturedFrame> {
        lock(&self.frames).clone()
    }

    /// Returns the recorded frames of one kind.
    pub fn frames_of(&self, talk: Talk) -> Vec<CapturedFrame> {
        let frames = lock(&self.frames);
        let fit = frames.iter().filter(|frame| frame.talk == talk);
        fit.cloned().collect()
    }

    /// Returns the recorded adverts from an IP address.
    pub fn adverts_of(&self, source: IpAddr) -> Vec<CapturedFrame> {
        let mut adverts = self.frames_of(Talk::Vrrp);
        adverts.retain(|frame| frame.addresses().is_some_and(|(from, _)| from == source));
        adverts
    }

    /// Removes the frames recorded so far.
    pub fn clear(&self) {
        lock(&self.frames).clear();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(socket: &PacketSocket, frames: &Frames, stop: &AtomicBool) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    let timeout = Timespec::try_from(STOP_POLL).ok();
    while !stop.load(Ordering::Relaxed) {
        let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref());
        while let Ok((length, way)) = socket.receive(&mut buffer) {
            let at = Instant::now();
            let bytes = buffer.get(..length).unwrap_or_default();
            let Some(talk) = talk(bytes) else { continue };
            let mut frames = lock(frames);
            if frames.len() < FRAMES_MAX {
                frames.push(CapturedFrame {
                    at,
                    way,
                    talk,
                    bytes: bytes.to_vec(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lab, eventually};

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn capture_records_requests_and_replies_of_both_sides() {
        crate::skip_unless_root!();
        let lab = Lab::new("capture").unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let link = lab.link(&a, &b).unwrap();
        for (end, n) in [(&link.a, 1), (&link.b, 2)] {
            end.address(&format!("10.8.0.{n}/24")).unwrap();
            end.address(&format!("fd08::{n}/64")).unwrap();
        }
        let (at_a, at_b) = (
            Capture::start(&link.a).unwrap(),
            Capture::start(&link.b).unwrap(),
        );
        for to in ["10.8.0.2:9", "[fd08::2]:9"] {
            assert!(a.tcp_connect(to.parse().unwrap(), SOON).is_err());
        }
        let target4: IpAddr = "10.8.0.2".parse().unwrap();
        let target6: IpAddr = "fd08::2".parse().unwrap();
        for (capture, asked) in [(&at_a, Way::Out), (&at_b, Way::In)] {
            for (talk, about) in [
                (Talk::ArpRequest, target4),
                (Talk::NeighbourSolicitation, target6),
            ] {
                let heard = || {
                    let frames = capture.frames_of(talk);
                    frames
                        .into_iter()
                        .find(|frame| frame.about() == Some(about))
                };
                assert!(eventually(SOON, || heard().is_some()), "{talk:?}");
                let frame = heard().unwrap();
                assert_eq!(frame.way, asked, "{talk:?}");
                assert!(!frame.is_announcement());
            }
            assert!(eventually(SOON, || {
                !capture.frames_of(Talk::ArpReply).is_empty()
                    && !capture.frames_of(Talk::NeighbourAdvertisement).is_empty()
            }));
        }
        at_a.clear();
        assert!(at_a.frames_of(Talk::ArpReply).is_empty());
    }

    #[test]
    fn frame_is_parsed_without_its_padding() {
        // Ethernet, IPv4 of 20 + 4 bytes with protocol 112, two bytes of padding.
        let mut bytes = vec![1; 6];
        bytes.extend([2; 6]);
        bytes.extend([0x08, 0, 0x45, 0, 0, 24, 0, 0, 0, 0, 255, 112, 0, 0]);
        bytes.extend([192, 0, 2, 1, 224, 0, 0, 18, 0x21, 51, 100, 1, 0, 0]);
        let frame = CapturedFrame {
            at: Instant::now(),
            way: Way::In,
            talk: talk(&bytes).unwrap(),
            bytes,
        };
        assert_eq!(frame.talk, Talk::Vrrp);
        assert_eq!(frame.payload(), [0x21, 51, 100, 1]);
        assert_eq!((frame.receiver(), frame.sender()), ([1; 6], [2; 6]));
        let (from, to) = frame.addresses().unwrap();
        assert_eq!(from.to_string(), "192.0.2.1");
        assert_eq!(to.to_string(), "224.0.0.18");
        for cut in 0..frame.bytes.len() {
            // Parses every truncated frame, because the bytes come from the network.
            let bytes = frame.bytes[..cut].to_vec();
            let _ = talk(&bytes);
            let frame = CapturedFrame {
                bytes,
                ..frame.clone()
            };
            let _ = (frame.payload(), frame.about(), frame.is_announcement());
        }
    }
}
