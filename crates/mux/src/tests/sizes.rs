//! Tests how much memory HTTP/2 connections and streams use.

use super::super::shared::MuxState;
use super::super::slot::StreamSlot;
use super::*;

#[test]
fn an_idle_connection_holds_little() {
    let (slot, inner) = (size_of::<StreamSlot>(), size_of::<MuxState>());
    let driver = size_of::<Driver<'_>>();
    let connection = size_of::<Connection>();
    println!("slot {slot}; connection {connection}, with its streams {inner}; driver {driver}");
    assert!(slot <= 256, "a stream: {slot} bytes");
    assert!(inner <= connection + 256, "a connection: {inner} bytes");
    assert!(driver <= 96, "its driver: {driver} bytes");
}
