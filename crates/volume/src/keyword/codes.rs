//! Defines the codes of the diagnostics for `volume` sections.

use language::arguments::ArgumentCodes;

/// Codes of missing, superfluous and invalid arguments.
pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN = "E0800", "unknown keyword in a volume section",
        "The first word of the line is not a keyword of the section. `evenkeel keyword volume` and `evenkeel keyword \
         volume-defaults` list them.";
    ARGUMENTS = "E0801", "wrong number of arguments in a volume section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0802", "invalid value in a volume section",
        "The keyword does not accept this value. A size is a number with one of the units `k`, `m`, `g` and `t` \
         (powers of 1024), is a multiple of 4 KiB, and is at most 16t. A backing is an \
         absolute path without `.` and `..`, or a volume group of LVM with or without a thin pool. Storage elsewhere is \
         named by an IP address, never by a host name: a takeover must not wait for a nameserver.";
    NAME = "E0803", "invalid or duplicate name of a volume",
        "Each `volume` section needs a unique name of at most 64 letters, digits, `.`, `_` and `-`, which does not \
         begin with `.`. The name becomes part of file names: `NAME.volume`.";
    TWICE = "E0804", "duplicate setting of a volume",
        "The keyword can appear only once in a `volume` or `volume-defaults` section, and there is one `volume-defaults` \
         section. Remove one of the two lines.";
    MISSING = "E0805", "volume without a size or a backing",
        "A `volume` section needs a line `size` and a line `backing`. Without them there is nothing to create or to \
         serve.";
    COPIES = "E0806", "volume on too many nodes",
        "`on` names a node twice, or more than two nodes. A volume has one copy or two, on different nodes; a third \
         member of the cluster decides between them and holds no data.";
    UNKNOWN_NODE = "E0807", "volume on an unknown node",
        "If the file has `node` sections, or the cluster has members, `on` must name one of them. The nearest name \
         is shown. No machine would run the volume of a misspelt node.";
    NO_NODE = "E0808", "volume without a node in a file of several nodes",
        "The file is for the nodes of its `node` sections, or for the members of the cluster. Without `on`, each of \
         them would run a volume of this name with data of its own, and nothing would tell them apart. Add `on NODE`.";
    BACKING_TWICE = "E0809", "two volumes on one device",
        "Two volumes of one node name the same device or file, by one path, another spelling or a link. Each volume needs a \
         device of its own; a directory of `backing file` can hold many volumes. In a version that was accepted earlier, the second volume on an image that \
         a storage system keeps is not served.";
    TOO_MANY = "E0810", "too many volumes",
        "A file has at most 256 `volume` sections.";
    SNAPSHOTS = "E0820", "scheduled snapshots not supported by this backing",
        "Scheduled snapshots are clones of files (reflink), so they need `backing file` with a directory on XFS or \
         btrfs. Remove the line `snapshot`. For a volume in a thin pool of LVM, run `evenkeel volume snapshot NAME` \
         from a timer.";
    NO_CLUSTER = "W0812", "volume with two copies outside of a cluster",
        "A volume with two copies is served by the node that has its lease in the cluster. These files were loaded \
         from the command line (`evenkeel check`, `evenkeel run -f`), so no cluster is known, and the volume would \
         wait. Apply the files with `evenkeel config apply`, and run the members without `-f`.";
    LINK = "E0811", "a link in the clear over the network of the nodes",
        "`plain` is for a cable between both machines, whose network the line `link` names: `link 10.99.0.0/30 plain`. \
         Over the addresses of the nodes (`link nodes`, or no line) the copies use TLS.";
    NETWORK = "E0813", "volume open to a network",
        "`bind` offers a volume over TCP. Without `ssl` everybody who reaches the address could read and write it, so only \
         loopback addresses are accepted. With `ssl`, clients are known by their certificates alone, so `crt`, `ca-file` \
         and `verify required` are needed.";
    CERTIFICATE = "E0814", "unusable certificate file of a volume",
        "A file that `bind` names cannot be read or used. `crt` needs a PEM file with a certificate, its issuers and the \
         private key without a passphrase; `ca-file` needs one with CA certificates. They are read at each load.";
    ADDRESS_TWICE = "E0815", "two volumes at one address",
        "Two volumes of one node have the same address and port in `bind`, or one of them has all addresses of that port. \
         Give each volume a port of its own.";
    EXTERNAL = "E0817", "setting for copies of a volume that its storage keeps",
        "With `backing nfs`, `backing iscsi` and `backing rbd`, the storage keeps the copies, and the QEMU of a guest uses it \
         without Evenkeel in between. So there is nothing for `snapshot`, `verify`, `without-majority` or `bind` to act on. \
         Remove the line, and use the snapshots and checks of the storage.";
    NO_VOLUME = "E0816", "no volume of this name",
        "A line, such as `disk` of a guest, names a volume that no `volume` section defines. The nearest name is shown.";
}
