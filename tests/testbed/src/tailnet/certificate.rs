//! An authority of its own for each tailnet, and the server's certificate by it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{paths, run};

/// Writes `ca.pem`, `server.pem` and `server.key` into the folder.
pub(super) fn make(folder: &Path, address: Ipv4Addr) -> Result<()> {
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        // A new elliptic key, without a password, in no time.
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-days",
            "3650",
        ]);
        command.current_dir(folder).args(arguments);
        run::output(&mut command)
    };
    paths::create(folder)?;
    openssl(&["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab tailnet"])?;
    let mut server = vec!["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"];
    let name = format!("subjectAltName=IP:{address}");
    server.extend(["-subj", "/CN=headscale", "-addext", &name, "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl(&server)?;
    Ok(())
}
