//! Ctrl-C, termination and hang-up as messages, for the coordinator's event loop and for workers.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::schedule::stop::Stop;

/// One message for each signal that asks us to stop; called inside the runtime.
///
/// A signal that was ignored when we were started stays ignored: `nohup`, and shells that start
/// jobs in the background, mean it.
pub fn stops() -> io::Result<mpsc::UnboundedReceiver<Stop>> {
    let (send, receive) = mpsc::unbounded_channel();
    let ignored = ignored_mask(&fs_err::read_to_string("/proc/self/status").unwrap_or_default());
    for (kind, stop) in [
        (SignalKind::interrupt(), Stop::Interrupt),
        (SignalKind::terminate(), Stop::Terminate),
        (SignalKind::hangup(), Stop::Terminate),
    ] {
        if is_in(ignored, kind.as_raw_value()) {
            continue;
        }
        let mut signals = signal(kind)?;
        let send = send.clone();
        tokio::spawn(
            async move { while signals.recv().await.is_some() && send.send(stop).is_ok() {} },
        );
    }
    Ok(receive)
}

/// The ignored signals in a Linux `/proc/<pid>/status`; none where it does not say.
fn ignored_mask(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let mask = ignored_mask("Name:\tsweep\nSigBlk:\t0\nSigIgn:\t0000000000001001\n");
        assert!(is_in(mask, 1), "hang-up, as under nohup");
        assert!(!is_in(mask, 2));
        assert!(is_in(mask, 13));
        assert_eq!(ignored_mask(""), 0);
    }
}
