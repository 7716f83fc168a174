//! Supplies the manual's entries about ACLs: flags, matching methods, operators, and predefined
//! ACLs.

use super::{kept, row};
use language::keyword::Documented;
use model::rules::{Method, PREDEFINED};

const FAMILY: &str = "ACL flags and matching methods";

static FLAGS: &[(&str, &str, &str)] = &[
    (
        "-i",
        "-i",
        "Ignores case in all following patterns of the line, including its files.",
    ),
    (
        "-f",
        "-f <file>",
        "Reads patterns from a file, one per line; empty lines and lines that begin with `#` are ignored. Several \
         files add up, and `add acl` changes them at run time.",
    ),
    (
        "-m",
        "-m <method>",
        "Sets the matching method, instead of that of the fetch: `-m beg`, `-m reg`, `-m found` and so on. Required \
         if the fetch has another type, and after converters.",
    ),
    (
        "-n",
        "-n",
        "Does not resolve host names in patterns: a pattern that is not an address is an error.",
    ),
    (
        "-M",
        "-M",
        "Reads the files of `-f` as maps: only the first word of a line is a pattern.",
    ),
    (
        "-u",
        "-u <number>",
        "Sets the number of the ACL for `show acl`, instead of an automatic one.",
    ),
    (
        "--",
        "--",
        "Ends the flags: everything after it is a pattern, even if it begins with a dash.",
    ),
];

static OPERATORS: &[(&str, &str)] = &[
    (
        "eq",
        "The number is equal; the same as a number without operator.",
    ),
    ("ge", "The number is greater or equal."),
    ("gt", "The number is greater."),
    ("le", "The number is less or equal."),
    ("lt", "The number is less."),
];

fn method_doc(method: Method) -> &'static str {
    match method {
        Method::Found => {
            "The value exists: the header is present, the cookie was sent, the map has the key. Takes no pattern."
        }
        Method::Bool => {
            "The value is true, or a number other than 0. The default for boolean fetches."
        }
        Method::Int => {
            "The number equals a pattern, is in a range `<low>:<high>`, or satisfies an operator (`gt 100`). The \
             default for numbers."
        }
        Method::Ip => {
            "The address is in a network: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`. The default for addresses."
        }
        Method::Bin => "The bytes equal the pattern, which is written in hexadecimal digits.",
        Method::Len => "The length in bytes equals the number, or is in the range.",
        Method::Str => "The text equals the pattern. The default for text.",
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
            "The text matches the regular expression; `-i` ignores case. Slower than all others: prefer `-m beg`, `-m \
             end` or a map."
        }
    }
}

pub(super) fn documented() -> Vec<Documented> {
    let mut all: Vec<Documented> = Vec::new();
    for (name, syntax, doc) in FLAGS {
        all.push(row("ACL flag", FAMILY, name, syntax, doc));
    }
    for (name, method) in Method::ALL {
        let name = kept(format!("-m {name}"));
        all.push(row(
            "matching method",
            FAMILY,
            name,
            name,
            method_doc(method),
        ));
    }
    for (name, doc) in OPERATORS {
        let syntax = kept(format!("{name} <number>"));
        all.push(row("ACL operator", FAMILY, name, syntax, doc));
    }
    for (name, words) in PREDEFINED {
        let doc = kept(format!(
            "Predefined in every file: the same as `{}`.",
            words.join(" ")
        ));
        all.push(row("predefined ACL", "Predefined ACLs", name, name, doc));
    }
    all
}
