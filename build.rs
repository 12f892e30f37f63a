//! Passes the commit this binary is built from to the code, as `SWEEP_GIT`.

use std::process::Command;

fn main() {
    // `sqlx::migrate!` embeds the files that are there; it cannot see a new one.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo::rustc-env=SWEEP_GIT={commit}");
}
