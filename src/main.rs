//! The binary: hands the command line to [`dino_sweep::cli`] and returns its exit code.

use std::process::ExitCode;

use dino_sweep::cli;

fn main() -> ExitCode {
    match cli::main(std::env::args_os()) {
        Ok(code) => code,
        Err(error) => cli::report(&error).into(),
    }
}
