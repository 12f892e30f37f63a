//! Passes the commit this binary is built from to the code, as `BUILT_FROM_COMMIT`, and strips
//! symbols from released binaries.
//!
//! `cargo run` hands such a variable on to the program, which refuses unknown `SWEEP_…` ones: hence
//! its name.

use std::path::Path;
use std::process::Command;

fn main() {
    // `sqlx::migrate!` embeds the files that are there; it cannot see a new one.
    println!("cargo::rerun-if-changed=migrations");
    // Named by git, as they lie elsewhere in a worktree. A file that is not there is not named:
    // it would make every build start over.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=BUILT_FROM_COMMIT={commit}");
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        // The key `strip` of the profile is lost on a package with an `opt-level` of its own.
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}

fn is(variable: &str, value: &str) -> bool {
    std::env::var(variable).is_ok_and(|found| found == value)
}

/// What git prints; `None` where this is no repository, or there is no git.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}
