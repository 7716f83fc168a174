//! Tests addresses and their lifetimes.

use super::super::*;
use super::{KernelHostPair, told, words};
use crate::config::{Address, Lifetime, Scope};
use lab::{Lab, LabHost, eventually};
use std::time::{Duration, Instant};

/// Timeout that no step exceeds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn plain(address: &str, prefix: u8) -> Address {
    Address::new(address.parse().unwrap(), prefix)
}

fn spec(kernel: &mut Kernel, address: &Address, lifetime: Option<Duration>) -> AddressSpec {
    let index = kernel.index_of("eth0").unwrap();
    AddressSpec::new(address, index, lifetime, true)
}

/// Lines of `ip address add`, each with the same address in our form.
fn lines() -> Vec<(&'static str, Address)> {
    let ip = |text: &str| Some(text.parse().unwrap());
    vec![
        ("10.9.0.1/24", plain("10.9.0.1", 24)),
        ("10.9.0.2/24", plain("10.9.0.2", 24)),
        ("10.9.1.1/32", plain("10.9.1.1", 32)),
        (
            "10.9.2.1/24 broadcast 10.9.2.255 label eth0:vip",
            Address {
                broadcast: ip("10.9.2.255"),
                label: Some("eth0:vip".to_owned()),
                ..plain("10.9.2.1", 24)
            },
        ),
        (
            "10.9.3.1 peer 10.9.3.2/32 scope link",
            Address {
                peer: ip("10.9.3.2"),
                scope: Some(Scope(253)),
                ..plain("10.9.3.1", 32)
            },
        ),
        (
            "10.9.4.1/24 noprefixroute scope host",
            Address {
                no_prefix_route: true,
                scope: Some(Scope(254)),
                ..plain("10.9.4.1", 24)
            },
        ),
        (
            "224.0.1.1/32 autojoin",
            Address {
                auto_join: true,
                ..plain("224.0.1.1", 32)
            },
        ),
        ("2001:db8:9::1/64 nodad", plain("2001:db8:9::1", 64)),
        (
            "2001:db8:9::2/128 nodad preferred_lft 0",
            Address {
                preferred: Some(Lifetime::Seconds(0)),
                ..plain("2001:db8:9::2", 128)
            },
        ),
        (
            "2001:db8:9::3/64 nodad home noprefixroute",
            Address {
                home: true,
                no_prefix_route: true,
                ..plain("2001:db8:9::3", 64)
            },
        ),
        (
            "2001:db8:a::4/64 nodad mngtmpaddr",
            Address {
                manage_temporary: true,
                ..plain("2001:db8:a::4", 64)
            },
        ),
        (
            "2001:db8:b::5 peer 2001:db8:b::6/128 nodad",
            Address {
                peer: ip("2001:db8:b::6"),
                ..plain("2001:db8:b::5", 128)
            },
        ),
    ]
}

#[test]
fn addresses_that_we_add_look_as_those_that_ip_adds() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-addr");
    for (line, _) in lines() {
        let all = [
            &["address", "add"],
            &words(line)[..],
            &["dev", "eth0", "proto", "18"],
        ];
        if pair.theirs.ip(&all.concat()).is_err() {
            // The installed version of ip does not know `proto`.
            pair.theirs
                .ip(&all[..2]
                    .concat()
                    .into_iter()
                    .chain(["dev", "eth0"])
                    .collect::<Vec<_>>())
                .unwrap();
        }
    }
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let specs: Vec<_> = lines()
            .iter()
            .map(|(_, address)| spec(&mut kernel, address, None))
            .collect();
        for (result, (line, _)) in kernel.add_addresses(&specs).into_iter().zip(lines()) {
            assert_eq!(result.unwrap(), Ack::Done, "{line}");
        }
        let seen = kernel.addresses().unwrap();
        for spec in &specs {
            assert!(
                seen.iter().any(|s| s.is(spec)),
                "{spec:?} is not among {seen:#?}"
            );
        }
    });
    for family in ["-4", "-6"] {
        let show = [family, "address", "show", "dev", "eth0"];
        let mut sides = [told(&pair.ours, &show), told(&pair.theirs, &show)];
        for side in &mut sides {
            for one in side
                .iter_mut()
                .flat_map(|l| l["addr_info"].as_array_mut().unwrap())
            {
                let known = one.as_object_mut().unwrap();
                known.remove("protocol");
            }
        }
        assert_eq!(sides[0], sides[1]);
        let route = [family, "route", "show", "table", "all"];
        assert_eq!(told(&pair.ours, &route), told(&pair.theirs, &route));
    }
}

#[test]
fn adding_twice_and_removing_twice_is_no_error() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-twice");
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let all: Vec<_> = lines()
            .iter()
            .map(|(_, address)| spec(&mut kernel, address, Some(Duration::from_secs(500))))
            .collect();
        let outcomes = |results: Vec<Result<Ack, KernelError>>| -> Vec<Ack> {
            results.into_iter().map(Result::unwrap).collect()
        };
        let each = |outcome| vec![outcome; all.len()];
        assert_eq!(outcomes(kernel.add_addresses(&all)), each(Ack::Done));
        assert_eq!(outcomes(kernel.add_addresses(&all)), each(Ack::Already));
        assert_eq!(outcomes(kernel.remove_addresses(&all)), each(Ack::Done));
        assert_eq!(outcomes(kernel.remove_addresses(&all)), each(Ack::Already));
    });
}

#[test]
fn an_address_that_cannot_be_added_is_told_with_the_kernels_words() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-refused");
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut nowhere = spec(&mut kernel, &plain("10.9.0.1", 24), None);
        let good = nowhere.clone();
        nowhere.interface = 9999;
        let mut wide = good.clone();
        wide.prefix = 77;
        let results = kernel.add_addresses(&[nowhere, good, wide]);
        assert!(matches!(&results[0], Err(error) if error.is(rustix::io::Errno::NODEV)));
        assert!(matches!(results[1], Ok(Ack::Done)));
        let words = results[2].as_ref().unwrap_err().to_string();
        assert!(words.contains("prefix"), "{words}");
        assert!(matches!(
            kernel.index_of("none"),
            Err(KernelError::NoInterface(_))
        ));
        assert!(matches!(kernel.link("a/b"), Err(KernelError::BadName(_))));
    });
}

#[test]
fn hundreds_of_addresses_go_in_one_batch() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-many");
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let all: Vec<_> = (0..1000)
            .map(|n| plain(&format!("10.9.{}.{}", n / 250, n % 250 + 1), 16))
            .map(|address| spec(&mut kernel, &address, Some(Duration::from_secs(60))))
            .collect();
        assert!(
            kernel
                .add_addresses(&all)
                .iter()
                .all(|r| matches!(r, Ok(Ack::Done)))
        );
        assert!(kernel.renew_addresses(&all).iter().all(Result::is_ok));
        let seen = kernel.addresses().unwrap();
        assert_eq!(
            seen.iter()
                .filter(|s| all.iter().any(|spec| s.is(spec)))
                .count(),
            1000
        );
        assert!(kernel.remove_addresses(&all).iter().all(Result::is_ok));
    });
}

fn has(host: &LabHost, address: &str) -> bool {
    host.ip(&["address", "show"]).unwrap().contains(address)
}

#[test]
fn an_address_that_nobody_renews_vanishes_and_one_that_is_renewed_stays() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-life");
    let lifetime = Some(Duration::from_millis(1500));
    let (four, six, kept) = (
        plain("10.9.0.1", 24),
        plain("2001:db8:9::1", 64),
        plain("10.9.9.9", 32),
    );
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut monitor = Monitor::open(false).unwrap();
        let specs = [&four, &six].map(|a| spec(&mut kernel, a, lifetime));
        let kept = spec(&mut kernel, &kept, lifetime);
        for result in kernel.add_addresses(&specs) {
            result.unwrap();
        }
        let kept_for = AddressSpec {
            lifetime: Some(Duration::from_secs(3600)),
            ..kept.clone()
        };
        kernel.add_address(&kept).unwrap();
        kernel.renew_address(&kept_for).unwrap();
        let mut gone = Vec::new();
        let both_gone = eventually(PATIENCE, || {
            while let Some(change) = monitor.next_change() {
                if let KernelChange::AddressRemoved(seen) = change {
                    gone.push(seen.address);
                }
            }
            gone.len() >= 2
        });
        assert!(both_gone, "only {gone:?} went");
        gone.sort();
        assert_eq!(gone, [four.address, six.address]);
    });
    assert!(!has(&pair.ours, "10.9.0.1") && !has(&pair.ours, "2001:db8:9::1"));
    assert!(has(&pair.ours, "10.9.9.9"));
}

#[test]
fn renewing_puts_back_what_somebody_deleted() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-back");
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let hour = Some(Duration::from_secs(3600));
        for address in [plain("10.9.0.1", 24), plain("2001:db8:9::1", 64)] {
            let spec = spec(&mut kernel, &address, hour);
            kernel.add_address(&spec).unwrap();
            kernel.remove_address(&spec).unwrap();
            kernel.renew_address(&spec).unwrap();
            let seen = kernel.addresses().unwrap();
            let back = seen.iter().find(|s| s.is(&spec)).unwrap();
            assert!(back.valid_seconds.is_some_and(|s| s > 3000), "{back:?}");
            // An existing address becomes permanent if it is added without a lifetime, and the
            // reverse.
            let forever = AddressSpec {
                lifetime: None,
                ..spec.clone()
            };
            assert_eq!(kernel.add_address(&forever).unwrap(), Ack::Already);
            let seen = kernel.addresses().unwrap();
            let now = seen.iter().find(|s| s.is(&spec)).unwrap();
            assert_eq!(
                (now.valid_seconds, now.flags.permanent()),
                (None, true),
                "{now:?}"
            );
        }
    });
}

#[test]
fn a_deletion_by_somebody_else_is_heard_at_once() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-heard");
    let host = pair.ours.clone();
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let address = plain("10.9.0.1", 24);
        let spec = spec(&mut kernel, &address, None);
        kernel.add_address(&spec).unwrap();
        let mut monitor = Monitor::open(true).unwrap();
        host.ip(&["address", "delete", "10.9.0.1/24", "dev", "eth0"])
            .unwrap();
        // `ip` has ended, so the notification is there and no wait is needed.
        let mut changes = std::iter::from_fn(|| monitor.next_change());
        assert!(changes.any(|c| matches!(c, KernelChange::AddressRemoved(seen) if seen.is(&spec))));
    });
}

#[test]
fn an_interface_that_goes_and_comes_back_is_heard_with_its_new_number() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-veth").unwrap();
    let host = lab.host("one").unwrap();
    let add = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    host.ip(&add).unwrap();
    let inside = host.clone();
    host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut monitor = Monitor::open(true).unwrap();
        let before = kernel.link("v0").unwrap().unwrap();
        assert_eq!((before.kind.as_str(), before.usable()), ("veth", false));
        inside.ip(&["link", "delete", "v0"]).unwrap();
        let mut changes = std::iter::from_fn(|| monitor.next_change());
        assert!(changes.any(|c| matches!(c, KernelChange::LinkGone(l) if l.name == "v0")));
        assert_eq!(kernel.link("v0").unwrap(), None);
        inside.ip(&add).unwrap();
        for name in ["v0", "v1"] {
            inside.ip(&["link", "set", name, "up"]).unwrap();
        }
        let mut last = None;
        let up = eventually(PATIENCE, || {
            while let Some(change) = monitor.next_change() {
                match change {
                    KernelChange::Link(link) if link.name == "v0" => last = Some(link),
                    _ => {}
                }
            }
            last.as_ref().is_some_and(|l| l.usable() && l.carrier)
        });
        assert!(up, "{last:?}");
        let after = kernel.link("v0").unwrap().unwrap();
        assert_ne!(after.index, before.index);
        assert_eq!(after.mac, last.unwrap().mac);
        assert!(kernel.links().unwrap().contains(&after));
    });
}

#[test]
fn an_address_that_another_machine_has_is_told_as_a_duplicate() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-dad").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.b.address("2001:db8:9::1/64").unwrap();
    for of in ["all", "eth0"] {
        a.sysctl(&format!("net/ipv6/conf/{of}/accept_dad"), "1")
            .unwrap();
    }
    a.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut monitor = Monitor::open(false).unwrap();
        let index = kernel.index_of("eth0").unwrap();
        let address = plain("2001:db8:9::1", 64);
        let spec = AddressSpec::new(&address, index, None, false);
        kernel.add_address(&spec).unwrap();
        let told = eventually(PATIENCE, || {
            std::iter::from_fn(|| monitor.next_change())
                .any(|c| matches!(c, KernelChange::AddressDuplicate(seen) if seen.is(&spec)))
        });
        assert!(told);
        // After a probe by Evenkeel, the address is added without duplicate detection, and used.
        kernel.remove_address(&spec).unwrap();
        let probed = AddressSpec::new(&address, index, None, true);
        kernel.add_address(&probed).unwrap();
        let seen = kernel.addresses().unwrap();
        let now = seen.iter().find(|s| s.is(&probed)).unwrap();
        assert!(!now.flags.tentative() && !now.flags.duplicate(), "{now:?}");
    });
}

#[test]
fn a_monitor_that_is_not_read_says_so_and_hears_again() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-overrun");
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut monitor = Monitor::open(true).unwrap();
        let all: Vec<_> = (0..500)
            .map(|n| plain(&format!("10.9.{}.{}", n / 250, n % 250 + 1), 32))
            .map(|address| spec(&mut kernel, &address, None))
            .collect();
        let began = Instant::now();
        let mut overrun = false;
        while !overrun && began.elapsed() < PATIENCE {
            for _ in 0..8 {
                kernel.add_addresses(&all);
                kernel.remove_addresses(&all);
            }
            overrun =
                std::iter::from_fn(|| monitor.next_change()).any(|c| c == KernelChange::Overrun);
        }
        assert!(overrun);
        kernel.add_address(&all[0]).unwrap();
        let mut changes = std::iter::from_fn(|| monitor.next_change());
        assert!(changes.any(|c| matches!(c, KernelChange::AddressAdded(seen) if seen.is(&all[0]))));
    });
}

#[test]
fn lifetimes_are_rounded_up_and_never_too_short() {
    let of = |ms| lifetime_seconds(Duration::from_millis(ms));
    assert_eq!(
        [of(0), of(500), of(2000), of(2001), of(36_000)],
        [2, 2, 2, 3, 36]
    );
    assert_eq!(lifetime_seconds(Duration::MAX), u32::MAX - 1);
}

#[test]
fn packets_to_a_new_address_of_ipv6_are_taken_when_it_was_waited_for() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-routes");
    let patience = Duration::from_secs(10);
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        for n in 0..100 {
            let one = plain(&format!("2001:db8:1::1:{n}"), 64);
            let one = spec(&mut kernel, &one, None);
            kernel.add_address(&one).unwrap();
            assert!(kernel.wait_for_routes(std::slice::from_ref(&one), patience));
            let at = std::net::SocketAddr::new(one.address, 0);
            let taker = std::net::UdpSocket::bind(at).unwrap();
            taker.set_read_timeout(Some(patience)).unwrap();
            let asker = std::net::UdpSocket::bind("[::]:0").unwrap();
            asker.send_to(b"x", taker.local_addr().unwrap()).unwrap();
            taker.recv(&mut [0; 4]).unwrap();
        }
        let none = spec(&mut kernel, &plain("2001:db8:1::ffff", 64), None);
        assert!(!kernel.wait_for_routes(&[none], Duration::ZERO));
    });
}
