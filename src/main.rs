//! The `devbox-ctl` command: parse, run the verb, print, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    devbox_ctl::cli::main()
}
