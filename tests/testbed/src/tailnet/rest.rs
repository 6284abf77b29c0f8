//! headscale's REST API, which is what devices and boxes are managed through in earnest too.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Asks the server with that curl; returns its answer.
pub(super) fn ask(
    mut curl: Command,
    ca: &Path,
    key: &str,
    method: &str,
    url: &str,
    body: Option<&Value>,
) -> Result<Value> {
    // Not in the arguments, which everybody on the machine can read.
    let mut config = format!("header = \"Authorization: Bearer {key}\"\n");
    if let Some(body) = body {
        let quoted = Value::String(body.to_string()).to_string();
        config.push_str(&format!("header = \"Content-Type: application/json\"\ndata = {quoted}\n"));
    }
    curl.args(["--disable", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "20"]);
    curl.arg("--cacert").arg(ca).args(["--request", method, "--config", "-", url]);
    let piped = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().context("cannot run curl")?;
    // Dropped when written: that ends what curl reads.
    child.stdin.take().context("no pipe")?.write_all(config.as_bytes()).context("cannot write to curl")?;
    let said = child.wait_with_output().context("cannot wait for curl")?;
    let text = String::from_utf8_lossy(&said.stdout);
    if !said.status.success() {
        bail!("{method} {url}: {}{text}", String::from_utf8_lossy(&said.stderr));
    }
    serde_json::from_str(&text).with_context(|| format!("{method} {url} answers {text:?}"))
}
