//! The program: from arguments to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rstun::run(std::env::args_os())
}
