//! Asks what the file system below the results folder can do: whether it can be written to, and
//! whether it is a network file system.

use std::path::Path;

/// Tells whether the folder that holds `path` can be written to, and `path` too where it exists.
pub(super) fn is_writable(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(Path::new("."));
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let can_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    can_write(dir) && (!path.exists() || can_write(path))
}

/// Tells whether `dir` lies on a network file system, where SQLite's WAL must not be used: it needs
/// memory that all processes share.
#[cfg(target_os = "linux")]
pub(super) fn is_network(dir: &Path) -> bool {
    match rustix::fs::statfs(dir) {
        // The types are 32-bit magic numbers; the field's width and sign vary by platform.
        Ok(stat) => NETWORK.contains(&(stat.f_type as u32)),
        // A rollback journal works everywhere.
        Err(_) => true,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_network(_dir: &Path) -> bool {
    false
}

/// Magic numbers of statfs(2): NFS, SMB, CIFS, SMB2, AFS, Coda, NCP, 9P, Ceph, Lustre, GPFS,
/// `BeeGFS`, `PanFS`, `OrangeFS`, FUSE (sshfs, s3fs and the like).
#[cfg(target_os = "linux")]
const NETWORK: [u32; 15] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x5346_414F,
    0x7375_7245,
    0x564C,
    0x0102_1997,
    0x00C3_6400,
    0x0BD0_0BD0,
    0x4750_4653,
    0x1983_0326,
    0xAAD7_AAEA,
    0x2003_0528,
    0x6573_5546,
];
