//! The codes that this crate reports, each with its explanation: x700 to x749 for
//! `keepalived.conf`, x750 to x799 for our language. A number is never used twice,
//! also when its code is gone.

use language::Code;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $explanation:literal;)*) => {
        $($(#[$doc])* pub static $name: Code = Code { id: $id, title: $title, explanation: $explanation };)*
        /// Codes of `keepalived.conf`, by number.
        pub static DIALECT_CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    /// Under the name `keepalived`: what the real one leaves out.
    LEFT_OUT = "W0723", "left out, as keepalived does",
"Under the name 'keepalived' a line or a block that the real keepalived logs and leaves out is left out, too: an
unknown keyword with its block, and the second 'vrrp_script' of a name. 'evenkeel check' and 'evenkeel run' report
the same as an error, since what is left out is seldom what was meant.

```
vrrp_instance VI_1 {
    prioritty 150
```";

    /// A word that is no keyword where it stands.
    UNKNOWN_KEYWORD = "E0700", "unknown keyword in a keepalived.conf",
"The word is no keyword of the block that it stands in. keepalived would log it and go on without it:
an instance whose first line has a slip is missing as a whole, and nobody takes over its addresses.

```
vrrp_instance_VI_1 {
```

Keyword and name are two words: `vrrp_instance VI_1 {`. A keyword of another block is told with the
blocks that it belongs in; `evenkeel keyword NAME` shows its syntax.";

    /// Too few words.
    MISSING_VALUE = "E0701", "a value is missing",
"The keyword needs more words than follow it on its line, or the block lacks a line that it cannot do
without. `evenkeel keyword NAME` shows the syntax.

```
    advert_int
```

Write the value on the same line: `advert_int 1`.";

    /// A word that is no value of its kind.
    BAD_VALUE = "E0702", "not a value of this keyword",
"The keyword takes a number, a time, a switch or one of a few words, and this is none of them. Times
are in seconds (of BFD in milliseconds) as decimal numbers without a unit: `0.05`, not `50ms`.
Switches are `on`, `off`, `true`, `false`, `yes`, `no`. Words are written as the manual writes them,
`MASTER` in capitals.";

    /// A number beyond its bounds.
    OUT_OF_RANGE = "E0703", "beyond the bounds of this keyword",
"The value is of the right kind, but smaller or larger than the protocol or the kernel has room for.
keepalived would log that and use its default, so that the file says one thing and the machine does
another.

```
    priority 300
```

Priorities and router ids are 1 to 255, weights -253 to 253.";

    /// A brace without its partner, or where none belongs.
    BAD_BRACE = "E0704", "misplaced brace",
"`{` opens the block of the keyword before it, on the same line or the line above; `}` closes the
innermost open block. This brace has no keyword, no partner, or belongs to a keyword without a block.";

    /// `{` without `}`.
    UNCLOSED_BLOCK = "E0705", "a block is not closed",
"The `}` of this block is missing. It is noticed at the end of the configuration, or where a keyword
follows that can only stand outside of all blocks.

```
vrrp_instance A {
    authentication {
        auth_type PASS
}
vrrp_instance B {
```";

    /// A quote without its partner.
    UNMATCHED_QUOTE = "E0706", "unmatched quote in a keepalived.conf",
"A quote is opened and not closed before the end of its line, or within the words of a script. Quotes
do not span lines. A backslash before a quote makes it a character; in double quotes single ones are
characters and the other way round: `notify \"/bin/say 'two words'\"`.";

    /// A keyword without its block.
    MISSING_BLOCK = "E0707", "a block is missing",
"The keyword needs a block in braces, on the same line or beginning on the next one.

```
    virtual_ipaddress 192.0.2.10
```

Write `virtual_ipaddress { 192.0.2.10 }`.";

    /// A file that has to be there.
    NO_INCLUDE = "E0708", "an included file is missing",
"`includea`, `includer` and their kin, or `include_check`, ask for a file that is not there or cannot
be read. Plain `include` only warns. Names are relative to the directory of the file that includes.";

    /// Beyond a bound.
    TOO_LARGE = "E0709", "the configuration is too large",
"A bound of the reader is exceeded: 65536 bytes a line, 4096 words a line, 1048576 lines after
variables and sequences, 4096 files, 100 files or variables in each other, 16 blocks in each other.
Nearly always a variable names itself, a file includes itself, or the file is of another kind.";

    /// `~SEQ`, `~LST`.
    BAD_SEQUENCE = "E0710", "unreadable ~SEQ or ~LST",
"`~SEQ(NAME, start, step, end)` repeats the rest of its line with every number, `~LST(NAME, a, b)` with
every value; start and step may be left out. Several variables at once stand in braces.

```
    ~SEQ(N, 10, 12) 192.0.2.${N}
    ~LST({A, B}, {1, 2}, {3, 4}) 10.0.${A}.${B}
```";

    /// An address.
    BAD_ADDRESS = "E0711", "not an address that can stand here",
"Here stands an address of IPv4 or IPv6, where it says so with the length of its prefix, and of the
family that the other addresses of the instance have. Names of hosts are not resolved: an address
that moves must not depend on a name server. Groups are multicast addresses.";

    /// Something twice.
    DUPLICATE = "E0712", "defined twice",
"Two blocks have the same name, or two things share what only one can have. keepalived would ignore
the second one. Give it another name, or take one of them away.";

    /// No `virtual_router_id`.
    NO_ROUTER_ID = "E0713", "an instance without virtual_router_id",
"All machines that share an address must agree on a number from 1 to 255 which no other virtual router
on that network has. There is no default.

```
    virtual_router_id 51
```";

    /// No `interface`.
    NO_INTERFACE = "E0714", "an instance without interface",
"Adverts are sent by an interface, and the addresses are put on it. Only an instance with `unicast_peer`
can do without: then every address names its own with `dev`.";

    /// An interface that is not there.
    UNKNOWN_INTERFACE = "E0715", "no such interface",
"This machine has no interface of that name (`ip link` lists them), or it is a loopback where another
machine has to be reached. A name from another machine's file is the usual reason; `@host` lines
make one file fit both. Where interfaces come later, `dynamic_interfaces` waits for them.";

    /// Two instances with one number.
    SAME_ROUTER_ID = "E0716", "two instances with one virtual_router_id",
"Both instances are on the same interface, of the same family, and use the same multicast group (or
have a peer in common). Each would take the other's adverts for its own: addresses differ, priorities
fight, and the owner changes without end.

Give one of them another number, on all machines. The other family, another `mcast_dst_ip`, or unicast
to other peers may use the same one.";

    /// A name that nothing has.
    UNKNOWN_REFERENCE = "E0717", "a name that nothing has",
"An instance tracks, or a group names, something that no block of the configuration defines. keepalived
would ignore the line: what seems to be watched is not. Define it, or mend the name; a file that
`include` could not find is another reason.";

    /// In two groups.
    MEMBER_TWICE = "E0718", "an instance in two sync groups",
"Members of a sync group move together, so an instance can be in one group only. Put all that have to
move together into one group.";

    /// `virtual_server`.
    VIRTUAL_SERVER = "E0719", "virtual_server is balanced by a proxy here",
"keepalived balances the connections of a `virtual_server` in the kernel, by IPVS. This program has a
proxy for that: the help shows the `listen` section with the same address, servers and checks. Put it
into an haproxy.cfg and load both: `evenkeel run -f haproxy.cfg -f keepalived.conf`.

With `-P` the blocks are passed over and only VRRP runs, as keepalived does with that option.";

    /// A user or a group.
    UNKNOWN_ACCOUNT = "E0720", "no such user or group",
"The words behind a script are the user and the group that run it, and this machine has none of that
name. Often they are meant for arguments: a script with arguments stands in quotes.

```
    notify_master \"/usr/local/bin/told --master\" root
```";

    /// Too many addresses.
    TOO_MANY_ADDRESSES = "E0721", "more addresses than an advert can name",
"An advert counts its addresses in one byte: 255 at most. Those in `virtual_ipaddress_excluded` move in
the same way and are not named; one address in `virtual_ipaddress` is enough.";

    /// Known and not built.
    NOT_BUILT = "E0722", "not supported",
"The word is one of keepalived's, and this program does not do what it asks for. Going on without it
would make something else than is meant, so it is refused.";

    /// A long password.
    PASSWORD_CUT = "W0700", "only eight bytes of the password are sent",
"An advert of VRRP version 2 has room for eight bytes of password. The rest is never sent nor compared,
here and in keepalived: two passwords that begin with the same eight bytes are the same one. The
password is readable on the network in any case; it guards against mistakes only.

```
        auth_pass some_secure_password_goes_here
```

is `auth_pass some_sec`. Write that, so that nobody trusts in the rest.";

    /// `state` against `priority`.
    STATE_AND_PRIORITY = "W0701", "state and priority say different things",
"Which machine owns the addresses is decided by `priority` alone: the highest that is alive. `state` only
says what a machine is in its first seconds, and only counts with priority 255.

Write `state BACKUP` everywhere, with priority 150 on the machine that is to be the owner and 100 on
the other one. Without `priority`, `state MASTER` means 255: a machine that never yields to a check.";

    /// `nopreempt` and the like with MASTER.
    PREEMPTION = "W0702", "preemption that has no effect",
"`nopreempt` and `preempt_delay` are for a machine that begins as a backup. With `state MASTER`
keepalived clears them, so the addresses move back at once when the machine returns. `preempt_delay`
means nothing with `nopreempt`, and strict mode has none.

Write `state BACKUP` on all machines.";

    /// A rounded interval.
    ADVERT_ROUNDED = "W0703", "the advert interval is rounded",
"Version 2 sends whole seconds, version 3 hundredths of a second up to 40.95. An interval between them
becomes the nearest one that can be sent. All machines must have the same interval: one with version 3
and 0.1 s next to one with version 2 and 1 s never agree.";

    /// Authentication that is not used.
    AUTHENTICATION_IGNORED = "W0704", "authentication that is not used",
"Version 3 of VRRP, and so IPv6, has no authentication; and without `auth_pass` there is nothing to
send. A password on one machine only keeps the two from hearing each other: both own the addresses.";

    /// A script that cannot be run.
    SCRIPT_UNUSABLE = "W0705", "a script that cannot be run",
"The script is not there, the account that is to run it may not execute it, or, with
`enable_script_security`, it would be run as root although others can change it or a directory on its
path. A `vrrp_script` that cannot be run is left out, and what tracks it goes on without it, as in
keepalived. Paths are of this machine, as the file was read here.";

    /// Scripts as root, unguarded.
    SCRIPT_SECURITY = "W0706", "scripts run as root without enable_script_security",
"Scripts run as root where neither `script_user` nor their own line names another user. Then everyone
who can write one of them is root. With `enable_script_security` scripts that others can change are
not run.

```
global_defs {
    enable_script_security
    script_user nobody
}
```";

    /// `${NAME}` without a value.
    UNDEFINED_VARIABLE = "W0707", "an undefined variable",
"`${NAME}` has no value where it is used, and stays in the line with all its characters. Variables are
defined above their use by `$NAME=value`, without a space before the sign; environment variables are
not looked at, and scripts are not run by a shell that would.";

    /// Words too many.
    EXTRA_WORDS = "W0708", "words without meaning",
"The keyword takes fewer words than stand behind it; keepalived passes over the rest in silence. Often
two lines were joined, or a script's arguments stand without quotes.";

    /// IPVS.
    CONCERNS_IPVS = "W0709", "concerns IPVS alone",
"The keyword sets up IPVS, which this program does not drive: its proxy balances connections. It has no
effect; everything that concerns VRRP has. With `-P` nothing is said.";

    /// Right, and without effect.
    NO_EFFECT = "W0710", "has no effect here",
"The keyword is one of keepalived's and correctly written, and what it sets does not exist in this
program (SNMP, D-Bus, iptables, separate processes), or does not apply to the rest of its block. The
help says what does the same.";

    /// Old forms.
    DEPRECATED = "W0711", "an old form",
"The form still works, and keepalived's manual says not to use it any more. The help shows the one that
replaces it.";

    /// A group of one.
    LONELY_GROUP = "W0712", "a sync group with one member",
"A sync group moves several instances together. With one member it does nothing that the instance would
not do by itself. Often the other one has a slip in its name.";

    /// No address.
    NO_ADDRESS = "W0713", "an instance without an address",
"The instance elects an owner of nothing: it has no address in `virtual_ipaddress`. Routers of other
makes may drop its adverts.";

    /// A rule without its place.
    RULE_PREFERENCE = "W0714", "a rule without a preference",
"Rules of routing are asked in the order of their preferences. Without one it gets a number counted down
from 16384, so its place depends on the order of the file. Say `preference 100` or the like.";

    /// Times against each other.
    TIMERS = "W0715", "times that do not go together",
"One of the times is longer than another that it should fit into: an interface may be down for longer
than adverts may be missing, so another machine takes the addresses while this one still has them; or
announcing all addresses takes longer than the time until they are announced again.";

    /// A file that is not there.
    INCLUDE_MISSING = "W0716", "an included file is not there",
"Plain `include` goes on without a file that it does not find, as keepalived does. Where the file has to
be there, write `includea`, or `include_check` in `global_defs`.";

    /// Not watched.
    NOT_TRACKED = "W0717", "a route that is not watched",
"A route is watched by its interface: removed by somebody else, it is put back. Without `dev` it cannot
be, as in keepalived. Name the interface, or write `no_track` where that is meant.";

    /// Two families.
    MIXED_FAMILIES = "W0718", "addresses of two families",
"The adverts of an instance are of one family, that of its first address, and name addresses of that
family alone. keepalived drops the others; here they are taken for `virtual_ipaddress_excluded`, where
they belong: they move with the instance and adverts do not name them.";

    /// Strict mode.
    STRICT = "W0719", "not allowed in strict mode",
"`vrrp_strict` (or `strict_mode`) keeps to the letter of the RFC, which has no authentication, no unicast,
no `preempt_delay`, no MASTER below priority 255. What contradicts it has no effect, as in keepalived.
Most files that have `vrrp_strict` were copied from a sample: without it they do what they say.";

    /// A weight that does not count.
    WEIGHT_IGNORED = "W0720", "a weight that does not count",
"Priority 255 never changes, and members of a sync group with different priorities would pull it apart.
There weights are 0, as in keepalived: the failure of what is tracked is a fault.";

    /// No peer.
    NO_PEER = "W0721", "unicast without a peer",
"Words of unicast are there and no machine is named in `unicast_peer`, so adverts go by multicast, as in
keepalived. In a network without multicast both machines own the addresses then.";

    /// An address twice.
    ADDRESS_TWICE = "W0722", "an address is written twice",
"The same address on the same interface stands in two instances, or twice in one. When one instance gives
it up, the other one has lost it, too.";

    /// `state MASTER` that does nothing.
    STATE_WITHOUT_EFFECT = "N0700", "state MASTER has no effect",
"With a priority below 255 a machine waits for adverts first, whatever its `state` says: the highest
priority owns the addresses. It is told only when diagnostics are asked for (`-dD`), since nearly all
files have it.";

    /// Fulfilled without it.
    SO_ANYWAY = "N0701", "is so without it",
"The keyword asks for something that this program does always, or chooses a way where it has one only.
It can stay or go. It is told only when diagnostics are asked for (`-dD`).";
}

#[cfg(test)]
mod tests {
    use super::DIALECT_CODES;

    #[test]
    fn every_code_is_unique_and_explains_itself() {
        let mut ids: Vec<_> = DIALECT_CODES.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), DIALECT_CODES.len());
        for code in DIALECT_CODES {
            assert!(code.explanation.len() > 60, "{} says too little", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
            assert!(code.id[1..].starts_with("07"), "{}", code.id);
        }
    }
}
