//! What is told of mistakes, as people see it.

use super::*;
use insta::assert_snapshot;

/// The file of 2011, as it was found.
const FIELD: &str = "vrrp_instance_VI_1 {
\tstate MASTER
\tinterface eth0
\tvirtual_router_id 51
\t! this priority (below) should be higher on the master server, than on the slave.
\t! a bit of a pain as it makes Mercurial'ising this config more difficult - anyone know a solution?
\tpriority 200
\tadvert_int 1
\tauthentication {
\t\tauth_type PASS
\t\tauth_pass some_secure_password_goes_here
\t}
\tvirtual_ipaddress {
\t\t172.16.61.150
\t\t172.16.61.159
\t}
}
";

#[test]
fn the_file_of_2011_is_told_its_slip_and_its_password() {
    assert_snapshot!(told(FIELD));
}

#[test]
fn the_file_of_2011_loads_once_its_slip_is_mended() {
    let mended = FIELD.replace("vrrp_instance_VI_1", "vrrp_instance VI_1");
    assert_eq!(codes(&mended), "N0700 W0700");
    let (_, loaded) = loaded(&mended);
    let config = loaded.config.unwrap();
    assert_eq!(config.instances[0].name, "VI_1");
    assert_eq!(config.instances[0].addresses.len(), 2);
}
