//! Tests the configuration of volumes in external storage.

use super::tests::{load, on_alpha, told};
use super::*;
use configuration::{External, LoadOptions, Login, Storage};

fn elsewhere(backing: &str) -> External {
    let text = format!("volume mail\n    backing {backing}\n");
    let (volumes, told) = load(&text, LoadOptions::default());
    assert_eq!(told, "");
    volumes.1["mail"].external.clone()
}

#[test]
fn each_storage_is_read_with_all_that_its_line_says() {
    assert_eq!(
        elsewhere("nfs [fd00::9]:/srv/mail.img").storage,
        Storage::Nfs {
            server: "fd00::9".parse().unwrap(),
            path: "/srv/mail.img".to_owned(),
        }
    );
    let iscsi =
        "iscsi 10.0.0.9:3261 iqn.2001-04.com.example:mail 3 user kit password-file /etc/kit";
    assert_eq!(
        elsewhere(iscsi).storage,
        Storage::Iscsi {
            portal: "10.0.0.9:3261".parse().unwrap(),
            target: "iqn.2001-04.com.example:mail".to_owned(),
            lun: 3,
            login: Some(Login {
                user: "kit".to_owned(),
                password_file: "/etc/kit".into(),
            }),
        }
    );
    assert_eq!(
        elsewhere("iscsi fd00::9 iqn.2001-04.com.example:mail 0")
            .storage
            .to_string(),
        "iscsi [fd00::9]:3260 iqn.2001-04.com.example:mail 0"
    );
    assert_eq!(
        elsewhere("rbd vms/mail id kit conf /etc/ceph/other.conf").storage,
        Storage::Rbd {
            pool: "vms".to_owned(),
            image: "mail".to_owned(),
            conf: Some("/etc/ceph/other.conf".into()),
            user: Some("kit".to_owned()),
        }
    );
}

#[test]
fn its_size_may_be_that_of_the_storage_and_any_number_of_nodes_may_use_it() {
    let text = "volume mail\n    size 40g\n    on alpha beta gamma\n    backing rbd vms/mail\n";
    let (volumes, told) = on_alpha(text, &["alpha", "beta", "gamma"]);
    assert_eq!(told, "");
    let one = &volumes.1["mail"];
    assert_eq!(
        (one.me.as_str(), one.external.size_bytes),
        ("alpha", Some(40 << 30))
    );
    assert!(one.has_lease() && volumes.0.is_empty());
    let (volumes, _) = on_alpha(
        "volume mail\n    on beta\n    backing rbd a/b\n",
        &["alpha", "beta"],
    );
    assert_eq!(volumes, Volumes::default());
    let bytes = codec::encode(&volumes);
    assert_eq!(codec::decode::<Volumes>(&bytes).unwrap(), volumes);
}

#[test]
fn values_that_could_become_qemu_options_are_refused() {
    for (backing, words) in [
        ("nfs storage:/srv/mail.img", "not an IP address"),
        ("nfs 10.0.0.9:srv", "not an IP address and a path"),
        ("nfs fd00::9:/srv/a", "not an IP address and a path"),
        ("nfs 10.0.0.9:/srv/../etc/a", "not the path of a file"),
        ("nfs 10.0.0.9:/srv//a", "not the path of a file"),
        ("nfs 10.0.0.9:/srv/a\\ b", "not the path of a file"),
        ("nfs 10.0.0.9:/srv/a ro", "unexpected argument 'ro'"),
        ("iscsi storage iqn.a:b 1", "not an IP address"),
        ("iscsi 10.0.0.9:0 iqn.a:b 1", "not an IP address"),
        ("iscsi 10.0.0.9 mail 1", "not the name of a target"),
        ("iscsi 10.0.0.9 iqn.a/1,lun=2 1", "not the name of a target"),
        ("iscsi 10.0.0.9 iqn.a:b x", "found 'x'"),
        ("iscsi 10.0.0.9 iqn.a:b 16384", "16383"),
        ("iscsi 10.0.0.9 iqn.a:b 1 user kit", "belong together"),
        (
            "iscsi 10.0.0.9 iqn.a:b 1 user k,s=1 password-file /a",
            "not a name",
        ),
        (
            "iscsi 10.0.0.9 iqn.a:b 1 user kit password-file a",
            "not an absolute path",
        ),
        ("rbd mail", "not `POOL/IMAGE`"),
        ("rbd vms/mail:conf=/tmp/x", "not `POOL/IMAGE`"),
        ("rbd vms/mail@old", "not `POOL/IMAGE`"),
        ("rbd vms/mail id -x", "not a name"),
        ("rbd vms/mail id a id b", "each once"),
        ("rbd vms/mail conf ceph.conf", "not an absolute path"),
    ] {
        let text = told(&format!("volume x\n    backing {backing}\n"));
        assert!(text.contains(words), "{backing}: {text}");
    }
}

#[test]
fn lines_for_copies_of_ours_and_a_second_volume_on_one_image_are_refused() {
    for line in [
        "snapshot every 1h keep 2",
        "verify yes",
        "without-majority error",
        "bind 127.0.0.1:10809",
    ] {
        let text = told(&format!("volume x\n    backing rbd vms/x\n    {line}\n"));
        assert!(
            text.contains("E0817") && text.contains("does not apply"),
            "{line}: {text}"
        );
    }
    let twice = "volume x\n    backing rbd vms/x\nvolume y\n    backing rbd vms/x id kit\n";
    assert!(
        told(twice).contains("belongs to volume 'x'"),
        "{}",
        told(twice)
    );
    let both = "volume x\n    backing rbd vms/x\n    backing file /srv\n";
    assert!(told(both).contains("only once"), "{}", told(both));
}

#[test]
fn differences_name_the_storage() {
    let of = |text: &str| codec::encode(&load(text, LoadOptions::default()).0);
    let before = of("volume a\n    backing rbd v/a\nvolume b\n    backing rbd v/b\n");
    let now = of("volume a\n    size 1g\n    backing rbd v/a\nvolume c\n    backing rbd v/c\n");
    assert_eq!(
        config::difference(Some(&before), Some(&now)),
        [
            "- volume b",
            "~ volume a: backing rbd v/a -> backing rbd v/a, size 1g",
            "+ volume c: backing rbd v/c"
        ]
    );
}
