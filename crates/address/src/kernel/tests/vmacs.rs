//! Tests virtual interfaces with their own MAC address in the kernel.

use super::super::*;
use super::KernelHostPair;
use lab::LabHost;

fn spec(kernel: &mut Kernel, vrid: u8, ipv6: bool) -> VmacSpec {
    VmacSpec {
        name: VmacSpec::name(vrid, ipv6),
        base: kernel.index_of("eth0").unwrap(),
        kind: VmacKind::Macvlan {
            mac: VmacSpec::mac(vrid, ipv6),
        },
        ipv6,
        vrf: None,
    }
}

fn setting(host: &LabHost, path: &str) -> String {
    host.enter(|| sysctl::read(path).unwrap())
}

#[test]
fn a_virtual_interface_is_as_keepalived_makes_it_and_leaves_nothing_behind() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-vmac");
    let host = &pair.ours;
    let base = ["arp_ignore", "arp_filter"].map(|n| sysctl::of_interface(false, "eth0", n));
    let before = base.clone().map(|path| setting(host, &path));
    let (four, six, kernel) = host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let (four, six) = (spec(&mut kernel, 51, false), spec(&mut kernel, 52, true));
        let four = kernel.create_vmac(&four).unwrap();
        let six = kernel.create_vmac(&six).unwrap();
        (four, six, kernel)
    });
    assert!(!four.found && four.link.usable(), "{four:?}");
    let shown = host.ip(&["-d", "link", "show", "dev", "vrrp.51"]).unwrap();
    for wanted in [
        "00:00:5e:00:01:33",
        "macvlan mode private",
        "vrrp.51@eth0",
        "addrgenmode none",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let shown = host.ip(&["-d", "link", "show", "dev", "vrrp6.52"]).unwrap();
    assert!(shown.contains("00:00:5e:00:02:34"), "{shown}");
    for (name, value) in [
        ("accept_local", "1"),
        ("arp_ignore", "1"),
        ("rp_filter", "0"),
        ("promote_secondaries", "1"),
    ] {
        let path = sysctl::of_interface(false, "vrrp.51", name);
        assert_eq!(setting(host, &path), value, "{name}");
    }
    assert_eq!(setting(host, "net/ipv6/conf/vrrp.51/disable_ipv6"), "1");
    assert_eq!(setting(host, "net/ipv6/conf/vrrp6.52/disable_ipv6"), "0");
    let addresses = host.ip(&["address", "show", "dev", "vrrp6.52"]).unwrap();
    assert!(!addresses.contains("fe80"), "{addresses}");
    assert_eq!(base.clone().map(|path| setting(host, &path)), ["1", "1"]);
    host.enter(|| {
        let mut kernel = kernel;
        kernel.remove_vmac(&four).unwrap();
        // Another virtual interface still needs the settings.
        assert_eq!(
            base.clone().map(|path| sysctl::read(&path).unwrap()),
            ["1", "1"]
        );
        kernel.remove_vmac(&six).unwrap();
        // A second removal is no error.
        kernel.remove_vmac(&six).unwrap();
        assert_eq!(
            kernel
                .links()
                .unwrap()
                .iter()
                .filter(|l| l.kind == "macvlan")
                .count(),
            0
        );
    });
    assert_eq!(base.map(|path| setting(host, &path)), before);
}

#[test]
fn one_that_was_left_is_found_again_with_its_addresses_and_another_is_made_anew() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-vmac-again");
    let host = &pair.ours;
    host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let spec = spec(&mut kernel, 51, false);
        let first = kernel.create_vmac(&spec).unwrap();
        host.ip(&["address", "add", "10.9.0.1/24", "dev", "vrrp.51"])
            .unwrap();
        let again = kernel.create_vmac(&spec).unwrap();
        assert!(again.found);
        assert_eq!(again.link.index, first.link.index);
        assert!(host.ip(&["address", "show"]).unwrap().contains("10.9.0.1"));
        let other = VmacSpec {
            kind: VmacKind::Macvlan {
                mac: [2, 0, 0, 0, 0, 9],
            },
            ..spec.clone()
        };
        let anew = kernel.create_vmac(&other).unwrap();
        assert!(!anew.found);
        assert_eq!(anew.link.mac, Some([2, 0, 0, 0, 0, 9]));
        host.ip(&["link", "add", "vrrp.77", "type", "veth"])
            .unwrap();
        let taken = VmacSpec {
            name: "vrrp.77".to_owned(),
            ..spec
        };
        let error = kernel.create_vmac(&taken).unwrap_err();
        assert!(error.is(rustix::io::Errno::EXIST), "{error}");
    });
}

#[test]
fn an_ipvlan_is_made_where_the_kernel_has_it() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-ipvlan");
    let possible = pair
        .theirs
        .ip(&["link", "add", "i0", "link", "eth0", "type", "ipvlan"]);
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let kind = VmacKind::Ipvlan {
            flag: IpvlanFlag::Private,
        };
        let spec = VmacSpec {
            kind,
            ..spec(&mut kernel, 53, false)
        };
        let made = kernel.create_vmac(&spec);
        assert_eq!(made.is_ok(), possible.is_ok(), "{made:?}, {possible:?}");
        if made.is_ok() {
            assert!(kernel.create_vmac(&spec).unwrap().found);
        } else {
            assert_eq!(kernel.link("vrrp.53").unwrap(), None);
        }
    });
}

#[test]
fn a_filter_of_reverse_paths_for_all_becomes_one_for_each_and_is_put_back() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-rpfilter");
    let host = &pair.ours;
    let path = |name: &str| sysctl::of_interface(false, name, "rp_filter");
    let now = || ["all", "default", "eth0", "eth1"].map(|n| setting(host, &path(n)));
    for (name, value) in [("all", "1"), ("default", "0"), ("eth0", "2"), ("eth1", "0")] {
        host.sysctl(&path(name), value).unwrap();
    }
    let before = now();
    let kept = host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let spec = spec(&mut kernel, 51, false);
        kernel.create_vmac(&spec).unwrap();
        kernel.saved_settings().to_vec()
    });
    assert_eq!(now(), ["0", "1", "2", "1"]);
    assert_eq!(setting(host, &path("vrrp.51")), "0");
    // The first role is gone; the next one restores the settings that it stored.
    host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let spec = spec(&mut kernel, 51, false);
        let found = kernel.create_vmac(&spec).unwrap();
        assert!(found.found && kernel.saved_settings().is_empty());
        kernel.adopt_settings(kept);
        kernel.remove_vmac(&found).unwrap();
    });
    assert_eq!(now(), before);
}

#[test]
fn what_keepalived_left_when_it_was_killed_is_found_and_used() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    let pair = KernelHostPair::new("kernel-vmac-kept");
    let host = &pair.ours;
    let scratch = lab::ScratchDirectory::new().unwrap();
    let config = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n use_vmac\n \
                  virtual_ipaddress {\n 10.0.1.100/24\n }\n}\n";
    let path = scratch.write("keepalived.conf", config).unwrap();
    let mut command = std::process::Command::new("keepalived");
    command.args(["-n", "-P", "-f"]).arg(path);
    for (option, name) in [("-p", "one.pid"), ("-r", "two.pid")] {
        command.arg(option).arg(scratch.path().join(name));
    }
    let theirs = host.spawn(command).unwrap();
    let there = || host.ip(&["address", "show", "dev", "vrrp.51"]);
    let owned = || there().is_ok_and(|shown| shown.contains("10.0.1.100"));
    assert!(lab::eventually(std::time::Duration::from_secs(20), owned));
    // The whole process group is killed, so keepalived cleans up nothing.
    drop(theirs);
    assert!(owned());
    host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let spec = spec(&mut kernel, 51, false);
        assert!(kernel.create_vmac(&spec).unwrap().found);
    });
    assert!(owned());
}

#[test]
fn secondary_addresses_stay_where_they_are_promoted_and_the_setting_is_put_back() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-promote");
    let host = &pair.ours;
    let path = sysctl::of_interface(false, "eth0", "promote_secondaries");
    host.sysctl(&path, "0").unwrap();
    let add = |address: &str| {
        host.ip(&["address", "add", address, "dev", "eth0"])
            .unwrap()
    };
    let stays = || {
        add("10.9.0.1/24");
        add("10.9.0.2/24");
        host.ip(&["address", "delete", "10.9.0.1/24", "dev", "eth0"])
            .unwrap();
        host.ip(&["address", "show"]).unwrap().contains("10.9.0.2")
    };
    assert!(!stays());
    host.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        kernel.set_until_stop(&path, "1").unwrap();
        assert!(stays());
        // A virtual interface that is created and removed does not affect the setting.
        let spec = spec(&mut kernel, 51, false);
        let vmac = kernel.create_vmac(&spec).unwrap();
        kernel.remove_vmac(&vmac).unwrap();
        assert_eq!(sysctl::read(&path).unwrap(), "1");
        kernel.restore_settings().unwrap();
        assert_eq!(sysctl::read(&path).unwrap(), "0");
    });
}
