//! Builds the commands of the peers for files and boots: dnsmasq and nginx, configured by hand.

use crate::comparison::Error;
use lab::ScratchDirectory;
use std::fs;
use std::path::Path;
use std::process::Command;

pub const DNSMASQ: &str = "/usr/sbin/dnsmasq";
pub const NGINX: &str = "/usr/sbin/nginx";
/// Port from which files are fetched by HTTP.
pub const HTTP_PORT: u16 = 7447;
/// Directory with the iPXE loaders of the distribution.
const LOADERS: &str = "/usr/lib/ipxe";

pub struct Hand;

impl Hand {
    /// Returns a command of dnsmasq that serves only boot loaders by TFTP.
    pub fn tftp(scratch: &ScratchDirectory) -> Result<Command, Error> {
        Hand::dnsmasq(scratch, "interface=eth0\n")
    }

    /// Returns a command of dnsmasq with these lines that also serves boot loaders by TFTP.
    pub fn dnsmasq(scratch: &ScratchDirectory, lines: &str) -> Result<Command, Error> {
        let path = scratch.path().display();
        let text = format!(
            "port=0\nbind-interfaces\nuser=root\nquiet-dhcp\nquiet-tftp\nenable-tftp\n\
             tftp-root={LOADERS}\ntftp-max=4000\ntftp-no-fail\n\
             dhcp-leasefile={path}/dnsmasq.leases\npid-file={path}/dnsmasq.pid\n{lines}"
        );
        let file = scratch.write("dnsmasq.conf", text)?;
        let mut command = Command::new(DNSMASQ);
        command.args(["--keep-in-foreground", "-C"]).arg(file);
        Ok(command)
    }

    /// Returns a command of nginx that serves the files below `www`, and the same file at every
    /// machine's path.
    pub fn http(scratch: &ScratchDirectory) -> Result<Command, Error> {
        let directory = scratch.path().join("www");
        let failed = |source| Error::File {
            doing: "creating",
            path: directory.clone(),
            source,
        };
        fs::create_dir_all(&directory).map_err(failed)?;
        let path = scratch.path().display();
        let text = format!(
            "user root;\nworker_processes auto;\nworker_rlimit_nofile 8192;\ndaemon off;\n\
             pid {path}/nginx.pid;\nerror_log {path}/nginx.error;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;\n\
             client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;\n\
             uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;\n\
             server {{ listen {HTTP_PORT} backlog=4096; root {}; \
             location ~ /storm/kernel$ {{ alias {path}/file; }} }} }}\n",
            directory.display()
        );
        let file = scratch.write("nginx.conf", text)?;
        let mut command = Command::new(NGINX);
        command
            .arg("-c")
            .arg(file)
            .arg("-e")
            .arg(Path::new("stderr"));
        Ok(command)
    }
}
