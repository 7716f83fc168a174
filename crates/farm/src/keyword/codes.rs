//! Defines the codes of the diagnostics for `farm` sections.

use access::keyword::{Codes, DirectoryCodes, ProxyCodes};
use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

pub(super) static OF_ACCESS: Codes = Codes {
    value: &VALUE,
    twice: &TWICE,
    no_user: &NO_USER,
    no_pam_users: &NO_PAM_USERS,
};

pub(super) static OF_DIRECTORY: DirectoryCodes = DirectoryCodes {
    file: &CERTIFICATE,
    no_server: &NO_SERVER,
};

pub(super) static OF_PROXIES: ProxyCodes = ProxyCodes {
    no_proxies: &NO_PROXIES,
    everybody: &EVERYBODY,
};

language::codes! {
    NO_PROXIES = "E1080", "accept-proxy without trusted proxies in a farm section",
        "With `accept-proxy` connections begin with a PROXY header, which has the client's address. Anybody can send one, so it \
         is accepted only from the addresses in a line `trusted-proxy`. Add the addresses of the proxies in front, such as \
         `trusted-proxy 10.0.0.5`.";
    EVERYBODY = "W1081", "farm that trusts everybody as a proxy",
        "A network with the prefix length 0 has every address: each client may name any address as its own, so no limit by \
         address holds. Name the addresses of the proxies in `trusted-proxy`.";
    UNKNOWN = "E0975", "unknown keyword in a farm section",
        "The first word of the line is not a keyword of the section. `evenkeel keyword farm` lists them.";
    ARGUMENTS = "E0976", "wrong number of arguments in a farm section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0977", "invalid value in a farm section",
        "The keyword does not accept this value. Hosts have IP addresses, files absolute paths. Names have letters, digits, \
         `.`, `_` and `-`.";
    NAME = "E0978", "invalid or duplicate name in a farm section",
        "Each `farm` section needs a unique name, and so does each `host` in it, of at most 64 letters, digits, `.`, `_` and \
         `-`.";
    TWICE = "E0979", "duplicate setting of a farm section",
        "The keyword can appear only once in a section, and an address in one `bind` line and one `host` line only. Remove one \
         of the two.";
    MISSING = "E0980", "farm section without an address or without hosts",
        "A `farm` section needs a line `bind`, where clients come in, and a line `host` for each session host.";
    CERTIFICATE = "E0981", "unusable certificate or key of a farm",
        "The file of `crt` has the certificate with its issuers and its private key in PEM format, that of `ca-file` certificates \
         in PEM format, that of `bind-password-file` a password in its first line, that of `icon` a square PNG of at most 64 KiB. The file of `token-key` has \
         32 to 1024 bytes, such as those that `head -c 32 /dev/urandom` prints.";
    TOO_MANY = "E0982", "too many lines or sections",
        "A file has at most 16 `farm` sections, a section at most 64 hosts and 8 `bind` lines.";
    NO_KEY = "E0983", "farm of several nodes without a common key",
        "Each node of a cluster serves the farm, and routes by tokens that another one has made. So both need one key: create a \
         file with 32 random bytes (`(umask 077; head -c 32 /dev/urandom >/etc/evenkeel/farm.key)`), and name it with \
         `token-key`. A version of the cluster contains the file, so one node needs it.";
    OTHER_NAME = "W0984", "certificate of another name",
        "The certificate of a `bind` line is not valid for the `name` of the farm, or that of a `web` line for the name of the \
         gateway. Clients that connect to this name show a \
         warning, or refuse. Use a certificate that has the name among its alternative names.";
    CERTIFICATE_TIME = "W0996", "certificate not currently valid",
        "The certificate of a `bind` or `web` line has expired, or is not valid yet: clients show a warning, or refuse. \
         Renew it, or check the clock of this machine.";
    ONE_USER = "W0997", "two accounts that are one user of a farm",
        "A farm takes `anna`, `EXAMPLE\\anna` and `anna@example.org` as one user, in upper and lower case: clients send any of \
         them. Two accounts of the `userlist` that differ only in this share one session. Who types one of the two names \
         letter by letter is checked by its password. Remove one of them.";
    NO_USER = "E0985", "line for a user or a group that is unknown",
        "A line `users`, `app`, `desktop`, `guest-consoles`, `second-factor` or `pam` names a user or a group that neither the `userlist` nor the \
         lines `pam` have. The nearest name is shown.";
    EMPTY_LIST = "W1000", "userlist without users for a farm",
        "The `userlist` in the line `users` has no user, or none in the groups of the line, so nobody signs in at the portal or the \
         gateway by it. Add a line `user` to the `userlist`, or the users to one of the groups.";
    INCOMPLETE = "E0986", "incomplete portal",
        "A portal needs a line `portal` with its address, a line `web`, where it listens for HTTPS, users who may sign in (`users` or `pam`), and something that they may \
         start (`desktop`, `app` or `guest-consoles`).";
    NO_SECOND = "W0987", "users without the second factor that is required",
        "The line `second-factor required` demands a second factor of all users, but no line `second-factor user` gives these \
         one, so they cannot sign in. `evenkeel console second-factor NAME` makes one and prints the line to add.";
    NO_PAM_USERS = "W0988", "PAM without users",
        "The section says how the system checks passwords, but no line `pam user` or `pam group` says whose. Add one.";
    NO_HOST = "E0998", "desktop or app on a host that the farm does not have",
        "The option `hosts` of a line `desktop` or `app` names hosts of the same section. Add a line `host`, or correct the name: \
         the nearest one is shown.";
    ALL_DRAINED = "W0999", "app whose hosts are all drained",
        "The lines of all hosts behind `hosts` have `drain`: users with a session there come back to it, and nobody else can start \
         this. Remove `drain` from one of them, or add a host.";
    INCOMPLETE_GATEWAY = "E0989", "incomplete gateway",
        "A gateway needs a line `web`, where it listens for HTTPS, and a line `users` or `pam` for those who may use it.";
    NO_SERVER = "W0993", "LDAP server without an address",
        "The name of a server in the line `users ldap` has no address now. Names are resolved again while the farm runs, so this \
         server is asked once its name has an address. Check the name, or add it to `/etc/hosts`.";
    ONLY_BASIC = "W0994", "gateway for users of a directory without a portal",
        "Windows' mstsc authenticates at a gateway by NTLM, which needs the password itself, and an LDAP directory has none to \
         give: only clients that use Basic come in. Add a portal: its `.rdp` files let a user into the gateway.";
    TWO_SOURCES = "E0995", "users of a directory and of the system",
        "A farm has the users of one source: the line `users ldap` names a directory, and the lines `pam` users of the system. \
         Remove one of the two.";
}
