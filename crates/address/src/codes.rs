//! Lists the diagnostic codes that this crate reports, each with its explanation: x700 to x749 for
//! `keepalived.conf`, x750 to x799 for our language. A number is never reused, even after its code
//! is removed.

language::codes! {
    /// Warning for a line that keepalived ignores; reported only if Evenkeel runs under the name
    /// `keepalived`.
    LEFT_OUT = "W0723", "ignored, as in keepalived",
"Under the name `keepalived`, Evenkeel ignores the lines and blocks that keepalived logs and ignores: an
unknown keyword with its block, and the second `vrrp_script` of a name. `evenkeel check` and
`evenkeel run` report them as errors, because such a line is usually a typo.

```
vrrp_instance VI_1 {
    prioritty 150
```";

    UNKNOWN_KEYWORD = "E0700", "unknown keyword in a keepalived.conf",
"The word is not a keyword of this block. keepalived would log it and continue: if the first line of an
instance has a typo, the whole instance is missing, and no machine takes over its addresses.

```
vrrp_instance_VI_1 {
```

Keyword and name are two words: `vrrp_instance VI_1 {`. For a keyword of another block, the message
names that block. `evenkeel keyword NAME` shows the syntax.";

    /// A line has too few words, or a block lacks a required line.
    MISSING_VALUE = "E0701", "missing value",
"The keyword needs another value on its line, or the block lacks a required line. `evenkeel keyword
NAME` shows the syntax.

```
    advert_int
```

Write the value on the same line: `advert_int 1`.";

    BAD_VALUE = "E0702", "invalid value",
"The keyword expects a number, a duration, a switch or one of a few words. Durations are decimal numbers
in seconds without a unit (milliseconds for BFD): `0.05`, not `50ms`. Switches are `on`, `off`, `true`,
`false`, `yes`, `no`. Words are case-sensitive, such as `MASTER`.";

    OUT_OF_RANGE = "E0703", "value out of range",
"The value is smaller or larger than the protocol or the kernel allows. keepalived would log that and use
its default, so the machine would not do what the file says.

```
    priority 300
```

Priorities and VRIDs are 1 to 255, weights -253 to 253.";

    BAD_BRACE = "E0704", "misplaced brace",
"`{` opens the block of the keyword before it, on the same line or the line above. `}` closes the
innermost open block. This brace has no keyword or no partner, or its keyword takes no block.";

    UNCLOSED_BLOCK = "E0705", "block not closed",
"The `}` of this block is missing. The error is detected at the end of the configuration, or at a keyword
that is only allowed outside all blocks.

```
vrrp_instance A {
    authentication {
        auth_type PASS
}
vrrp_instance B {
```";

    UNMATCHED_QUOTE = "E0706", "unmatched quote in a keepalived.conf",
"A quote is not closed before the end of its line, or inside the words of a script. Quotes cannot span
lines. A backslash before a quote makes it a character. Single quotes are characters inside double
quotes, and the reverse: `notify \"/bin/say 'two words'\"`.";

    MISSING_BLOCK = "E0707", "missing block",
"The keyword needs a block in braces, on the same line or starting on the next one.

```
    virtual_ipaddress 192.0.2.10
```

Write `virtual_ipaddress { 192.0.2.10 }`.";

    NO_INCLUDE = "E0708", "included file missing",
"`includea`, `includer` and similar keywords, or `include_check`, require a file that does not exist or
cannot be read. Plain `include` only warns. Names are relative to the directory of the including file.";

    TOO_LARGE = "E0709", "configuration too large",
"The configuration exceeds a limit: 65536 bytes per line, 4096 words per line, 1048576 lines after
variables and sequences, 4096 files, 100 nested files or variables, 16 nested blocks. The usual reason
is a variable that refers to itself, a file that includes itself, or a file of another kind.";

    BAD_SEQUENCE = "E0710", "invalid ~SEQ or ~LST",
"`~SEQ(NAME, start, step, end)` repeats the rest of its line for every number, `~LST(NAME, a, b)` for
every value. `start` and `step` are optional. Put several variables at once in braces.

```
    ~SEQ(N, 10, 12) 192.0.2.${N}
    ~LST({A, B}, {1, 2}, {3, 4}) 10.0.${A}.${B}
```";

    BAD_ADDRESS = "E0711", "invalid address",
"The keyword expects an IPv4 or IPv6 address, some with a prefix length, in the same family as the other
addresses of the instance. Host names are not resolved, because a virtual address must not depend on a
nameserver. Groups are multicast addresses.";

    DUPLICATE = "E0712", "duplicate definition",
"Two blocks have the same name, or share something that only one can have. keepalived would ignore the
second one. Rename or remove one of them.";

    NO_ROUTER_ID = "E0713", "instance without virtual_router_id",
"All machines that share an address must use the same number from 1 to 255, and no other virtual router
on that network may use it. There is no default.

```
    virtual_router_id 51
```";

    NO_INTERFACE = "E0714", "instance without interface",
"Adverts are sent on an interface, and the addresses are added to it. Only an instance with
`unicast_peer` can omit it: then every address names its interface with `dev`.";

    UNKNOWN_INTERFACE = "E0715", "interface does not exist",
"This machine has no interface of that name (`ip link` lists them), or it is a loopback interface where
another machine must be reached. The usual reason is a file from another machine; `@host` lines make one
file fit both. If interfaces appear later, `dynamic_interfaces` waits for them.";

    SAME_ROUTER_ID = "E0716", "duplicate virtual_router_id",
"Both instances use the same interface, address family and multicast group (or have a peer in common).
Each would mistake the other's adverts for its own, and the owner would change again and again.

Give one of them another number, on all machines. Instances of different families, with a different
`mcast_dst_ip`, or with unicast to different peers may share a number.";

    UNKNOWN_REFERENCE = "E0717", "undefined name",
"An instance tracks, or a group names, something that no block defines. keepalived would ignore the line,
so the object would not be tracked. Define it, or correct the name. It may also be in a file that
`include` could not find.";

    MEMBER_TWICE = "E0718", "instance in two sync groups",
"Members of a sync group move together, so an instance can be in one group only. Put all instances that
must move together into one group.";

    VIRTUAL_SERVER = "E0719", "virtual_server is not supported: use a listen section",
"keepalived balances the connections of a `virtual_server` in the kernel, with IPVS. Evenkeel uses its
proxy: the help shows a `listen` section with the same address, servers and checks. Put it into an
haproxy.cfg and load both: `evenkeel run -f haproxy.cfg -f keepalived.conf`.

With `evenkeel keepalived -P` these blocks are ignored and only VRRP runs, as in keepalived.";

    UNKNOWN_ACCOUNT = "E0720", "unknown user or group",
"This machine does not have the user or group. The words after a script are the user and group that run
it. Often they are meant as arguments: quote a script together with its arguments. After `script_user`,
create the user, or name another one.

```
    notify_master \"/usr/local/bin/notify --master\" root
```";

    TOO_MANY_ADDRESSES = "E0721", "too many addresses for an advert",
"An advert counts its addresses in one byte, so it names at most 255. Addresses in
`virtual_ipaddress_excluded` move in the same way without being named; one address in
`virtual_ipaddress` is enough.";

    NOT_BUILT = "E0722", "not supported",
"keepalived has this keyword, and Evenkeel does not support it. Ignoring it would change what the
configuration does, so it is refused.";

    PASSWORD_CUT = "W0700", "password longer than eight bytes",
"A VRRP version 2 advert has room for eight bytes of password. The rest is neither sent nor compared, here
and in keepalived: two passwords that begin with the same eight bytes are equal. Anyone on the network
can read the password, so it only protects against mistakes.

```
        auth_pass some_secure_password_goes_here
```

is equal to `auth_pass some_sec`. Write that, so that nobody relies on the rest.";

    STATE_AND_PRIORITY = "W0701", "state contradicts priority",
"Only `priority` decides which machine owns the addresses: the highest one that is alive. `state` only sets
the state of a machine in its first seconds, and matters only with priority 255.

Write `state BACKUP` everywhere, with priority 150 on the preferred owner and 100 on the other machine.
Without `priority`, `state MASTER` means 255: a machine that never yields, even if a check fails.";

    /// `nopreempt` or `preempt_delay` that has no effect, for example with `state MASTER`.
    PREEMPTION = "W0702", "preemption setting without effect",
"`nopreempt` and `preempt_delay` only work on a machine that begins as a backup. With `state MASTER`
keepalived clears them, so the addresses move back at once when the machine returns. `preempt_delay` has
no effect with `nopreempt` or in strict mode.

Write `state BACKUP` on all machines.";

    ADVERT_ROUNDED = "W0703", "advert interval rounded",
"Version 2 sends whole seconds, version 3 hundredths of a second up to 40.95. Other intervals are rounded
to the nearest possible one. All machines must have the same interval: version 3 with 0.1 s and version 2
with 1 s never accept each other's adverts.";

    AUTHENTICATION_IGNORED = "W0704", "unused authentication",
"VRRP version 3, and therefore IPv6, has no authentication, and without `auth_pass` there is no password
to send. If only one machine has a password, the two reject each other's adverts and both own the
addresses.";

    SCRIPT_UNUSABLE = "W0705", "script cannot be run",
"The script does not exist, its user cannot execute it, or `enable_script_security` forbids it, because it
would run as root although others can change it or a directory on its path. A `vrrp_script` that cannot
be run is ignored, and so is its result, as in keepalived. Paths are those of this machine.";

    SCRIPT_SECURITY = "W0706", "scripts run as root without enable_script_security",
"Scripts run as root unless `script_user` or their own line names another user. Anyone who can write one
of them can then become root. With `enable_script_security`, scripts that others can change are not run.

```
global_defs {
    enable_script_security
    script_user nobody
}
```";

    UNDEFINED_VARIABLE = "W0707", "undefined variable",
"`${NAME}` is not defined, so the text stays in the line unchanged. Define variables above their use with
`$NAME=value`, without a space before the sign. Environment variables are not available, and scripts are
not run by a shell.";

    EXTRA_WORDS = "W0708", "extra words",
"The line has more words than the keyword takes; keepalived silently ignores the rest. Often two lines were
joined, or the arguments of a script are not quoted.";

    CONCERNS_IPVS = "W0709", "setting for IPVS only",
"The keyword configures IPVS, which Evenkeel does not use: its proxy balances connections. The line has no
effect on VRRP. With `evenkeel keepalived -P` it is not reported.";

    NO_EFFECT = "W0710", "no effect here",
"The keyword of keepalived is correct, but it configures something that Evenkeel does not have (SNMP, D-Bus,
iptables, separate processes), or that does not apply to the rest of its block. The help shows an
alternative.";

    DEPRECATED = "W0711", "obsolete syntax",
"The syntax still works, but keepalived's manual advises against it. The help shows the current form.";

    LONELY_GROUP = "W0712", "sync group with one member",
"A sync group moves several instances together. With one member it has no effect. Often the name of the
other instance has a typo.";

    NO_ADDRESS = "W0713", "instance without an address",
"The instance has no address in `virtual_ipaddress`, so its owner owns nothing. Routers of other vendors
may drop its adverts.";

    RULE_PREFERENCE = "W0714", "rule without a preference",
"The kernel evaluates routing rules in the order of their preferences. A rule without one gets a number
counted down from 16384, so its position depends on the order of the file. Add for example
`preference 100`.";

    TIMERS = "W0715", "conflicting times",
"A time is longer than another time that must include it. Either an interface may be down for longer than
adverts may be missing, so another machine takes the addresses while this one still has them. Or
announcing all addresses takes longer than the interval between announcements.";

    INCLUDE_MISSING = "W0716", "included file not found",
"Plain `include` continues without a missing file, as in keepalived. To require the file, write `includea`,
or `include_check` in `global_defs`.";

    NOT_TRACKED = "W0717", "route cannot be monitored",
"A route is monitored through its interface, and restored when another program removes it. Without `dev`
that is impossible, as in keepalived. Add the interface, or write `no_track`.";

    MIXED_FAMILIES = "W0718", "addresses of two families",
"The adverts of an instance have one address family, that of its first address, and name only addresses of
that family. keepalived drops the others. Evenkeel treats them like `virtual_ipaddress_excluded`, where
they belong: they move with the instance, and adverts do not name them.";

    STRICT = "W0719", "not allowed in strict mode",
"`vrrp_strict` (or `strict_mode`) follows the RFC exactly: no authentication, no unicast, no
`preempt_delay`, no MASTER below priority 255. Settings that contradict it have no effect, as in
keepalived. Most files with `vrrp_strict` were copied from a sample; remove it to enable the settings.";

    WEIGHT_IGNORED = "W0720", "weight without effect",
"Priority 255 never changes, and different priorities inside a sync group would separate its members. In
both cases weights are 0, as in keepalived: a failed check is a fault.";

    NO_PEER = "W0721", "unicast without a peer",
"The instance has unicast settings but no `unicast_peer`, so adverts use multicast, as in keepalived. On a
network without multicast, both machines then own the addresses.";

    ADDRESS_TWICE = "W0722", "duplicate address",
"The same address on the same interface appears in two instances, or twice in one. When one instance
releases it, the other one loses it too.";

    STATE_WITHOUT_EFFECT = "N0700", "state MASTER has no effect",
"With a priority below 255 a machine waits for adverts first, whatever its `state` is: the highest priority
owns the addresses. This is reported only with `-dD`, since nearly all files have it.";

    SO_ANYWAY = "N0701", "already the default",
"The keyword requests what Evenkeel does anyway. You can keep or remove it. This is reported only with `-dD`.";
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn every_code_is_unique_and_explains_itself() {
        let mut ids: Vec<_> = CODES.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CODES.len());
        for code in CODES {
            assert!(code.explanation.len() > 60, "{} says too little", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
            assert!(code.id[1..].starts_with("07"), "{}", code.id);
        }
    }
}
