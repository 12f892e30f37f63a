//! Decides whether and when a failed download is tried again.

use std::time::Duration;

use super::Settings;
use super::client::Again;

/// Largest number of attempts at one address, for servers that break off again and again.
const ATTEMPTS_MAX: u32 = 2000;
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Counts attempts at one address.
pub(super) struct Patience {
    idle_attempts: u32,
    wait: Duration,
    attempts: u32,
    idle: u32,
    /// The most bytes seen so far: a server that starts over each time makes no progress.
    most: u64,
}

impl Patience {
    pub(super) fn new(settings: &Settings, len: u64) -> Self {
        let (idle_attempts, wait) = (settings.idle_attempts, settings.wait);
        Self { idle_attempts, wait, attempts: 0, idle: 0, most: len }
    }

    /// How long to wait before the next attempt; `None` to give up.
    pub(super) fn wait(&mut self, again: &Again, len: u64) -> Option<Duration> {
        self.attempts += 1;
        self.idle = if len > self.most { 0 } else { self.idle + 1 };
        self.most = self.most.max(len);
        // Without a network there is no use in waiting for long.
        let idle_max = if again.answered || self.most > 0 { self.idle_attempts } else { 2 };
        if self.idle >= idle_max || self.attempts >= ATTEMPTS_MAX {
            return None;
        }
        let doubled = self.wait.saturating_mul(1 << self.idle.min(10));
        Some(again.wait.unwrap_or(doubled.min(WAIT_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(answered: bool) -> Again {
        Again { answered, ..Again::new("x") }
    }

    #[test]
    fn waits_double_until_something_comes() {
        let mut patience = Patience::new(&Settings::default(), 0);
        let seconds = |wait: Option<Duration>| wait.map(|wait| wait.as_secs());
        assert_eq!(seconds(patience.wait(&again(true), 0)), Some(2));
        assert_eq!(seconds(patience.wait(&again(true), 0)), Some(4));
        assert_eq!(seconds(patience.wait(&again(true), 9)), Some(1));
        // No more than there was: a server that begins anew each time.
        for expect in [Some(2), Some(4), Some(8), Some(16), None] {
            assert_eq!(seconds(patience.wait(&again(true), 9)), expect);
        }
    }

    #[test]
    fn servers_say_when_to_come_again_and_no_network_is_soon_known() {
        let mut patience = Patience::new(&Settings::default(), 0);
        let wait = Some(Duration::from_secs(77));
        assert_eq!(patience.wait(&Again { wait, ..again(true) }, 0), wait);
        let mut patience = Patience::new(&Settings::default(), 0);
        assert!(patience.wait(&again(false), 0).is_some());
        assert!(patience.wait(&again(false), 0).is_none());
    }
}
