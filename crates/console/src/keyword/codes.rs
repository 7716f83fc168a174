//! Defines the codes of the diagnostics for a `console` section.

use ::access::keyword::{Codes, ProxyCodes};
use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

pub(super) static OF_ACCESS: Codes = Codes {
    value: &VALUE,
    twice: &TWICE,
    no_user: &NO_USER,
    no_pam_users: &NO_PAM_USERS,
};

pub(super) static OF_PROXIES: ProxyCodes = ProxyCodes {
    no_proxies: &NO_PROXIES,
    everybody: &EVERYBODY,
};

language::codes! {
    NO_PROXIES = "E1082", "accept-proxy without trusted proxies in a console section",
        "With `accept-proxy` connections begin with a PROXY header, which has the client's address. Anybody can send one, so it \
         is accepted only from the addresses in a line `trusted-proxy`. Add the addresses of the proxies in front, such as \
         `trusted-proxy 127.0.0.1`.";
    EVERYBODY = "W1083", "console that trusts everybody as a proxy",
        "A network with the prefix length 0 has every address: each client may name any address as its own, so no limit by \
         address holds. Name the addresses of the proxies in `trusted-proxy`.";
    UNKNOWN = "E0901", "unknown keyword in a console section",
        "The first word of the line is not a keyword of the section. `evenkeel keyword console` lists them.";
    ARGUMENTS = "E0902", "wrong number of arguments in a console section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0903", "invalid value in a console section",
        "The keyword does not accept this value. An address is an IP address and a port; a role is `viewer`, `operator` \
         or `admin`; a file has an absolute path.";
    TWICE = "E0904", "duplicate setting of the console",
        "A file has at most one `console` section, and `bind`, `users`, `pam service`, `pam socket` and `second-factor required` \
         can appear only once in it, as can each token and the second factor of each user. Remove one of the two.";
    PLAIN = "E0905", "console in the clear over a network",
        "`plain` switches TLS off, so passwords and sessions would cross the network in the clear. It is only for addresses \
         of this machine, where a proxy with a certificate stands in front of the console. Remove `plain`, or bind a \
         loopback address.";
    CERTIFICATE = "E0906", "unusable certificate file of the console",
        "The file that `crt` names cannot be read or used. It needs a certificate, its issuers and the private key without \
         a passphrase in PEM format. It is read at each load.";
    NO_USER = "E0907", "line for somebody who cannot sign in",
        "A line `role`, `second-factor` or `token` names a user or a group that neither the `userlist` of the line `users` \
         nor a line `pam` has, or a line `pam group` names a group that `/etc/group` does not have. The nearest name is shown. A misspelt name would leave somebody without the rights that they need, or with more than they should have.";
    NO_LIST = "E0908", "roles, second factors or tokens without users",
        "Lines `role`, `second-factor` and `token` are for users of a `userlist` or of the system, but there is no line \
         `users` or `pam`. Add `users NAME`, or `pam user NAME`.";
    ALL_VIEWERS = "W0909", "console where nobody may do anything",
        "The section has users, but no line `role`, so all of them can only look. Add `role admin user NAME` or \
         `role operator group NAME`. `evenkeel console link` signs in an administrator of the machine in any case.";
    NO_SECOND = "W0910", "users without the second factor that is required",
        "The line `second-factor required` demands a second factor of these users, but no line `second-factor user` gives \
         them one, so they cannot sign in. `evenkeel console second-factor NAME` makes one and prints the line to add.";
    NO_PAM_USERS = "W0911", "PAM without users",
        "The section says how the system checks passwords, but no line `pam user` or `pam group` says whose. Add one.";
}
