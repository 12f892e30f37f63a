//! Decides what a request to stop does, from its kind and from what the workers were asked before.
//! Called by the event loop; pure.

use std::time::Duration;

/// Time within which a second Ctrl-C counts as the first: some terminals and wrappers deliver a key
/// press twice.
pub const SETTLES: Duration = Duration::from_secs(1);

/// A request to stop the sweep, from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C, which a person may press again.
    Interrupt,
    /// A signal to terminate or hang up. `timeout`, a closing terminal and cluster managers send
    /// several of them for one wish, so that however many come they never kill a worker.
    Terminate,
}

/// The progress of a coordinator that was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    No,
    /// Workers were asked to save their state and exit.
    Asked,
    /// Workers were killed.
    Killed,
}

/// Decides what `stop` changes: returns the new state, or `None` where nothing is to be done.
/// `since` is the time since the workers were asked, for [`Stopping::Asked`].
pub fn on_stop(stopping: Stopping, stop: Stop, since: Duration) -> Option<Stopping> {
    match (stopping, stop) {
        (Stopping::No, _) => Some(Stopping::Asked),
        (Stopping::Asked, Stop::Interrupt) if since >= SETTLES => Some(Stopping::Killed),
        (Stopping::Asked | Stopping::Killed, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stopping: Stopping, stop: Stop, since_ms: u64, expect: Option<Stopping>) {
        let since = Duration::from_millis(since_ms);
        assert_eq!(on_stop(stopping, stop, since), expect, "{stopping:?} {stop:?} {since_ms}");
    }

    #[test]
    fn any_first_stop_asks() {
        check(Stopping::No, Stop::Interrupt, 0, Some(Stopping::Asked));
        check(Stopping::No, Stop::Terminate, 0, Some(Stopping::Asked));
    }

    #[test]
    fn a_second_interrupt_kills_once_the_first_has_settled() {
        check(Stopping::Asked, Stop::Interrupt, 10, None);
        check(Stopping::Asked, Stop::Interrupt, 999, None);
        check(Stopping::Asked, Stop::Interrupt, 1000, Some(Stopping::Killed));
        check(Stopping::Killed, Stop::Interrupt, 5000, None);
    }

    #[test]
    fn terminations_and_hang_ups_never_kill() {
        check(Stopping::Asked, Stop::Terminate, 10, None);
        check(Stopping::Asked, Stop::Terminate, 3_600_000, None);
        check(Stopping::Killed, Stop::Terminate, 10, None);
    }
}
