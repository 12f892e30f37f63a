//! The binary: hands the command line to [`dino_sweep::cli`] and returns its exit code.

use std::process::ExitCode;

use dino_sweep::cli;
use mimalloc::MiMalloc;

/// The allocator: a training step allocates and frees hundreds of tensors of the same few sizes,
/// which `MiMalloc` does faster than the system's. The system's allocator hands them back to the
/// kernel each time, and page faults take a tenth of the step.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let code = match cli::main(std::env::args_os()) {
        Ok(code) => code,
        Err(error) => cli::report(&error).into(),
    };
    cli::end(code)
}
