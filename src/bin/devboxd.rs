//! The `devboxd` program: the broker.

use std::process::ExitCode;

fn main() -> ExitCode {
    devbox_ctl::broker::main()
}
