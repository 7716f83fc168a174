//! How ACLs compare: flags, matching methods, operators, and the ACLs that
//! every file has.

use super::{kept, row};
use crate::rules::{Method, PREDEFINED};
use language::keyword::Documented;

const FAMILY: &str = "ACL flags and matching methods";

static FLAGS: &[(&str, &str, &str)] = &[
    (
        "-i",
        "-i",
        "Case does not matter, in all patterns that follow on the line and in its files.",
    ),
    (
        "-f",
        "-f <file>",
        "Patterns are read from a file, one a line; empty lines and lines that begin with `#` are left out. Several files add up, and `add acl` changes them at run time.",
    ),
    (
        "-m",
        "-m <method>",
        "The matching method, in place of the one that the fetch has: `-m beg`, `-m reg`, `-m found` and so on. Needed where the fetch gives another type, and for converters.",
    ),
    (
        "-n",
        "-n",
        "Host names in patterns are not resolved: a pattern that is no address is an error.",
    ),
    (
        "-M",
        "-M",
        "The files of `-f` are maps: only the first word of a line is a pattern.",
    ),
    (
        "-u",
        "-u <number>",
        "The number of the ACL for `show acl`, instead of one that is assigned.",
    ),
    (
        "--",
        "--",
        "The end of the flags: what follows is a pattern, also where it begins with a dash.",
    ),
];

static OPERATORS: &[(&str, &str)] = &[
    (
        "eq",
        "The number is the same; also what a number alone means.",
    ),
    ("ge", "The number is the same or greater."),
    ("gt", "The number is greater."),
    ("le", "The number is the same or less."),
    ("lt", "The number is less."),
];

fn method_doc(method: Method) -> &'static str {
    match method {
        Method::Found => {
            "The value exists, whatever it is: a header that is there, a cookie that was sent, a key that the map has. Takes no pattern."
        }
        Method::Bool => {
            "The value is true, or a number other than 0. The usual method of fetches that give true or false."
        }
        Method::Int => {
            "The number equals a pattern, is in a range `<low>:<high>`, or meets an operator (`gt 100`). The usual method of numbers."
        }
        Method::Ip => {
            "The address is in a network: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`. The usual method of addresses."
        }
        Method::Bin => {
            "The bytes are those of the pattern, which is written in hexadecimal digits."
        }
        Method::Len => "The length in bytes is the number, or in the range.",
        Method::Str => "The text is exactly the pattern. The usual method of text.",
        Method::Beg => "The text begins with the pattern, as in `path_beg` (prefix).",
        Method::Sub => "The text contains the pattern anywhere (substring).",
        Method::Dir => {
            "The pattern is one of the parts between slashes, as in `path_dir images` (subdirectory)."
        }
        Method::Dom => {
            "The pattern is one of the parts between dots, as in `hdr_dom(host) example.com` (domain)."
        }
        Method::End => "The text ends with the pattern, as in `path_end .png` (suffix).",
        Method::Reg => {
            "The text matches the regular expression; `-i` makes case not matter. Slower than all others: prefer `-m beg`, `-m end` or a map."
        }
    }
}

pub(super) fn documented() -> Vec<Documented> {
    let mut all: Vec<Documented> = Vec::new();
    for flag in FLAGS {
        all.push(row("ACL flag", FAMILY, *flag));
    }
    for (name, method) in Method::ALL {
        let name = kept(format!("-m {name}"));
        all.push(row(
            "matching method",
            FAMILY,
            (name, name, method_doc(method)),
        ));
    }
    for (name, doc) in OPERATORS {
        let syntax = kept(format!("{name} <number>"));
        all.push(row("ACL operator", FAMILY, (name, syntax, doc)));
    }
    for (name, words) in PREDEFINED {
        let doc = kept(format!(
            "Is in every file: the same as `{}`.",
            words.join(" ")
        ));
        all.push(row("predefined ACL", "Predefined ACLs", (name, name, doc)));
    }
    all
}
