//! Forges VRRP packets for the simulation: those of an attacker without a key, and of a broken
//! device.

use super::plan::source;
use super::scene::Input;
use crate::vrrp::Settings;
use crate::vrrp::advert::{Advert, GROUP_V4};
use lab::Random;
use std::net::IpAddr;
use std::rc::Rc;

pub fn packet(random: &mut Random, settings: &Settings) -> Input {
    let stranger = IpAddr::from([10, 9, 0, 66]);
    let from = random.pick(&[stranger, source(0), source(1)]);
    let advert = Advert {
        version: settings.version,
        vrid: settings.vrid,
        priority: random.pick(&[0, 0, 1, 50, 254, 255]),
        interval: settings.interval,
        addresses: settings.addresses.clone(),
        authentication: None,
    };
    let mut bytes = advert.encode(from, GROUP_V4);
    let mut ttl = 255;
    match random.below(8) {
        0 => ttl = random.below(255) as u8,
        1 => bytes.truncate(random.below(bytes.len() as u64) as usize),
        2 => {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << random.below(8);
        }
        3 => bytes = (0..random.below(64)).map(|_| random.next() as u8).collect(),
        _ => {}
    }
    let bytes = Rc::new(bytes);
    Input::Packet { from, ttl, bytes }
}
