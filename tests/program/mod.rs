//! The program as users start it, for the tests that run it.

use std::path::Path;
use std::process::Command;

/// `sweep` in `folder`, without anything that this machine's user has set: no `SWEEP_` variable, no
/// proxy, no certificates, and a home folder in `folder` for settings and caches.
pub(crate) fn sweep(folder: &Path) -> Command {
    let mut command = Command::new("env");
    // Tests run in the background of a shell ignore interrupts, and so would what they start.
    // Elsewhere than where it was built, if that is said.
    let program = std::env::var_os("SWEEP_TEST_PROGRAM");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_sweep").into());
    command.arg("--default-signal=INT").arg(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("SWEEP_") || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    for name in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME", "HF_HOME"] {
        command.env(name, folder.join("home"));
    }
    command.env_remove("HF_HUB_CACHE").env_remove("SSL_CERT_FILE").current_dir(folder);
    command
}
