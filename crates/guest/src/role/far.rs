//! Sends an operator's order about a guest to another node, on a connection of [`super::carrier`],
//! and executes such orders of other nodes. The operator's command polls for the result.

use super::GuestRole;
use super::carrier::OutgoingConnection;
use crate::clock::boottime_ms;
use crate::message::{GuestOrder, GuestResponse};
use crate::migration::{ConnectionPurpose, MESSAGE_BYTES_MAX, frame, take_frame};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;

const ANSWER_MAX_MS: u64 = 10_000;
/// Time for which a result is kept that nobody requests, milliseconds.
const KEPT_MS: u64 = 60_000;
const ORDERS_MAX: usize = 64;

const SHOWN_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct RemoteRequests {
    last: u64,
    orders: BTreeMap<u64, RemoteRequest>,
    /// Last report from each other node, about one guest or about all (empty name), and its time,
    /// milliseconds.
    shown: BTreeMap<(String, String), (Vec<u8>, u64)>,
}

#[derive(Debug)]
struct RemoteRequest {
    node: String,
    /// Guest whose report is requested; empty for all guests; None: another order.
    asks: Option<String>,
    /// Open connection; None: the other node has responded.
    waits: Option<PendingResponse>,
    answer: GuestResponse,
    at: u64,
}

#[derive(Debug)]
struct PendingResponse {
    socket: UnixStream,
    line: OutgoingConnection,
    came: Vec<u8>,
}

impl RemoteRequests {
    pub(super) fn wakes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waits = self.orders.values().filter_map(|one| one.waits.as_ref());
        waits.map(|waits| waits.socket.as_fd())
    }

    pub(super) fn due(&self) -> Option<u64> {
        let limit = |sent: &RemoteRequest| match sent.waits {
            Some(_) => sent.at + ANSWER_MAX_MS,
            None => sent.at + KEPT_MS,
        };
        self.orders.values().map(limit).min()
    }

    pub(super) fn poll_responses(&mut self, now: u64) {
        self.orders.retain(|_, sent| now < sent.at + KEPT_MS);
        for sent in self.orders.values_mut() {
            let Some(waits) = &mut sent.waits else {
                continue;
            };
            let answer = match waits.read() {
                Ok(None) if now < sent.at + ANSWER_MAX_MS => continue,
                Ok(None) => Err("it did not respond in time".to_owned()),
                Ok(Some(answer)) => Ok(answer),
                Err(words) => Err(words),
            };
            sent.waits = None;
            let shown = sent.asks.clone().map(|name| (sent.node.clone(), name));
            sent.answer = match (answer, shown) {
                (Ok(answer), shown) => {
                    let shown = shown.filter(|_| answer.good && !answer.bytes.is_empty());
                    if let Some(shown) = shown {
                        if self.shown.len() >= SHOWN_MAX {
                            self.shown.clear();
                        }
                        self.shown.insert(shown, (answer.bytes.clone(), now));
                    }
                    answer
                }
                (Err(words), shown) => {
                    let before = shown.and_then(|shown| self.shown.get(&shown));
                    let words = Err(format!("node {}: {words}", sent.node));
                    with(GuestResponse::of(words), before, now)
                }
            };
        }
    }

    pub(super) fn remembered(&self, node: &str, name: &str) -> GuestResponse {
        let shown = (node.to_owned(), name.to_owned());
        let none = GuestResponse::of(Ok(String::new()));
        with(none, self.shown.get(&shown), boottime_ms())
    }
}

fn with(answer: GuestResponse, before: Option<&(Vec<u8>, u64)>, now: u64) -> GuestResponse {
    match before {
        Some((bytes, at)) => GuestResponse {
            bytes: bytes.clone(),
            age_ms: now.saturating_sub(*at),
            ..answer
        },
        None => answer,
    }
}

impl PendingResponse {
    fn read(&mut self) -> Result<Option<GuestResponse>, String> {
        let mut piece = [0; 4096];
        while self.came.len() <= MESSAGE_BYTES_MAX {
            if let Some(answer) = take_frame(&mut self.came)? {
                return Ok(Some(answer));
            }
            match self.socket.read(&mut piece) {
                Ok(0) => {
                    let trouble = Some(self.line.trouble()).filter(|words| !words.is_empty());
                    let closed = || "it has closed the connection".to_owned();
                    return Err(trouble.unwrap_or_else(closed));
                }
                Ok(count) => self
                    .came
                    .extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("its response is too long".to_owned())
    }
}

impl GuestRole {
    pub(super) fn send(&mut self, node: &str, order: &GuestOrder) -> GuestResponse {
        let carrier = self.moves.carrier.as_ref().filter(|one| one.is_ready());
        let Some(carrier) = carrier else {
            return GuestResponse::of(Err(format!("node {node}: not connected to this node yet")));
        };
        if self.far.orders.len() >= ORDERS_MAX {
            return GuestResponse::of(
                Err("too many orders for other nodes are pending".to_owned()),
            );
        }
        let pair = UnixStream::pair();
        let pair = pair.and_then(|(own, local)| own.set_nonblocking(true).map(|()| (own, local)));
        let (socket, local) = match pair {
            Ok(pair) => pair,
            Err(error) => return GuestResponse::of(Err(error.to_string())),
        };
        let line = carrier.dial(node, ConnectionPurpose::Order(order.clone()), local);
        self.far.last += 1;
        let came = Vec::new();
        let asks = match order {
            GuestOrder::Shown { name } => Some(name.clone()),
            _ => None,
        };
        let before = asks.as_ref().map(|name| self.far.remembered(node, name));
        let answer = GuestResponse {
            waits: self.far.last,
            ..before.unwrap_or_else(|| GuestResponse::of(Ok(String::new())))
        };
        let sent = RemoteRequest {
            node: node.to_owned(),
            asks,
            waits: Some(PendingResponse { socket, line, came }),
            answer: answer.clone(),
            at: boottime_ms(),
        };
        self.far.orders.insert(self.far.last, sent);
        answer
    }

    pub(super) fn sent(&mut self, number: u64) -> GuestResponse {
        self.far.poll_responses(boottime_ms());
        let Some(sent) = self.far.orders.get(&number) else {
            return GuestResponse::of(Err("this role has not sent that order".to_owned()));
        };
        let (answer, is_over) = (sent.answer.clone(), sent.waits.is_none());
        if is_over {
            self.far.orders.remove(&number);
        }
        answer
    }

    pub(super) fn execute_remote_order(
        &mut self,
        order: &GuestOrder,
        give: &SyncSender<UnixStream>,
    ) {
        let Ok((mut own, local)) = UnixStream::pair() else {
            return;
        };
        if give.send(local).is_err() {
            return;
        }
        let answer = self.carry_out(order);
        // Ignores errors: a response fits into the socket buffer, and if none is sent, the
        // requesting node reports that.
        let _ = own.set_nonblocking(true);
        let _ = own.write_all(&frame(&answer));
    }
}
