//! Decides how an attempt ended and whether its run is finished, tried again or given up, from the
//! worker's exit, its journal and the attempts so far. Called by the event loop; pure.

use super::executor::WorkerExit;
use super::stop::Stopping;
use crate::event::{FailureClass, Outcome};

/// Exit code of a worker that stopped on request with its state saved.
pub const CODE_INTERRUPTED: i32 = 130;
/// Exit code of a worker that could not write to its disk, and so possibly not to its journal.
pub const CODE_DISK: i32 = 3;
/// Words of a panic because the GPU had no memory left.
const GPU_MEMORY: &str = "out of device memory";

/// Exit code of a Rust process whose main thread panicked.
const CODE_PANIC: i32 = 101;

/// The way an attempt ended, from its exit and from its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// The worker stopped on request; its state is saved.
    Interrupted,
    Failed {
        reason: String,
        class: FailureClass,
    },
}

/// The decision about a run after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Finished,
    Retry,
    GiveUp,
    /// Leave the run as it is for the next invocation.
    Leave,
}

/// Decides how an attempt ended, from the exit that the system reports and the outcome that the
/// worker wrote.
///
/// A signal says more than the journal: a worker that is killed after its last line is retried,
/// finds everything done and exits. After a second stop it was us. Success needs both: a worker
/// whose folder was deleted exits with 0, and nothing of its run is there. `log_tail` explains
/// exits that nothing else explains.
pub fn ending(
    exit: WorkerExit,
    outcome: Option<&Outcome>,
    log_tail: &str,
    stopping: Stopping,
) -> Ending {
    use FailureClass::{Bug, Disk, Environment, Input};
    let failed = |reason: String, class| Ending::Failed { reason, class };
    match (exit, outcome) {
        (WorkerExit::Code(0), Some(Outcome::Done)) => Ending::Done,
        (WorkerExit::Code(0), _) => failed(
            "the worker exited with success, but the journal in the run's folder does not record \
             it: was the folder moved or deleted meanwhile?"
                .to_owned(),
            Environment,
        ),
        (WorkerExit::Code(CODE_INTERRUPTED), _) => Ending::Interrupted,
        (WorkerExit::Signal(9), _) if stopping == Stopping::Killed => {
            failed("killed on request".to_owned(), Environment)
        }
        (WorkerExit::Signal(signal), _) => {
            failed(with_tail(&signal_words(signal), log_tail), Environment)
        }
        (WorkerExit::Code(_), Some(Outcome::Failed { message, class })) => {
            failed(message.clone(), *class)
        }
        (WorkerExit::Code(CODE_DISK), _) => {
            failed(with_tail("the worker could not write to its disk", log_tail), Disk)
        }
        // Burn reports it so. The next attempt would ask for the same.
        (WorkerExit::Code(CODE_PANIC), _) if log_tail.contains(GPU_MEMORY) => failed(
            with_tail(
                "the GPU's memory ran out: `schedule.activations = \"recompute\"` takes less, so do \
                 `train.precision = \"bf16\"` and a smaller `train.batch_size`",
                log_tail,
            ),
            Input,
        ),
        // A lost device also ends in a panic, so one is tried again.
        (WorkerExit::Code(CODE_PANIC), _) => {
            failed(with_tail("the worker panicked", log_tail), Environment)
        }
        // A worker that could not even journal its failure has met a broken disk.
        (WorkerExit::Code(1), _) => failed(
            with_tail("the worker failed and wrote no reason to its journal", log_tail),
            Environment,
        ),
        (WorkerExit::Code(code), _) => {
            failed(with_tail(&format!("the worker exited with code {code}"), log_tail), Bug)
        }
    }
}

/// Decides about a run after an attempt; `attempts` counts those of this invocation.
pub fn on_exit(ending: &Ending, attempts: u32, retries: u32, stopping: Stopping) -> Verdict {
    match ending {
        Ending::Done => Verdict::Finished,
        Ending::Failed { class, .. } if !class.may_pass() => Verdict::GiveUp,
        Ending::Interrupted | Ending::Failed { .. } if stopping != Stopping::No => Verdict::Leave,
        // Interrupted, but not by us: someone else ended the worker.
        Ending::Interrupted | Ending::Failed { .. } if attempts <= retries => Verdict::Retry,
        Ending::Interrupted | Ending::Failed { .. } => Verdict::GiveUp,
    }
}

impl Ending {
    /// Tells whether the results folder cannot be written to, so that every other run fails as
    /// well.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Failed { class: FailureClass::Disk, .. })
    }

    /// The failure in words; `None` after success and interruption.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Interrupted => None,
            Self::Failed { reason, .. } => Some(reason),
        }
    }
}

fn signal_words(signal: i32) -> String {
    let hint = match signal {
        4 => " (illegal instruction): was this program built for another CPU?",
        6 => " (it aborted)",
        7 => " (bus error): a file that it had mapped was cut short, or the disk is full",
        9 => {
            return "the worker was killed by the system (signal 9), often because memory ran out: \
                    a smaller `train.batch_size` or fewer `--jobs` take less"
                .to_owned();
        }
        11 => " (segmentation fault)",
        15 => " (terminated from outside)",
        _ => "",
    };
    format!("the worker was ended by signal {signal}{hint}")
}

fn with_tail(words: &str, log_tail: &str) -> String {
    match log_tail.trim() {
        "" => words.to_owned(),
        tail => format!("{words}; its log ends: {tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(class: FailureClass) -> Outcome {
        Outcome::Failed { message: "mask is torn".to_owned(), class }
    }

    fn may_pass(exit: WorkerExit, outcome: Option<&Outcome>) -> Option<bool> {
        match ending(exit, outcome, "", Stopping::No) {
            Ending::Failed { class, .. } => Some(class.may_pass()),
            Ending::Done | Ending::Interrupted => None,
        }
    }

    #[test]
    fn exits_that_are_no_failures() {
        assert_eq!(
            ending(WorkerExit::Code(0), Some(&Outcome::Done), "", Stopping::No),
            Ending::Done
        );
        assert_eq!(ending(WorkerExit::Code(130), None, "", Stopping::No), Ending::Interrupted);
    }

    #[test]
    fn success_without_a_journal_that_says_so_is_a_failure() {
        let unsaid = ending(WorkerExit::Code(0), None, "", Stopping::No);
        assert!(unsaid.error().unwrap().contains("deleted"), "{unsaid:?}");
        let interrupted = Some(&Outcome::Interrupted);
        let unsaid = ending(WorkerExit::Code(0), interrupted, "", Stopping::No);
        assert!(
            matches!(unsaid, Ending::Failed { class: FailureClass::Environment, .. }),
            "{unsaid:?}"
        );
    }

    #[test]
    fn the_class_in_the_journal_decides_what_may_pass() {
        for (class, expect) in [
            (FailureClass::Input, false),
            (FailureClass::Bug, false),
            (FailureClass::Environment, true),
            (FailureClass::Disk, true),
        ] {
            assert_eq!(may_pass(WorkerExit::Code(1), Some(&outcome(class))), Some(expect));
        }
    }

    #[test]
    fn crashes_may_pass_and_strange_codes_do_not() {
        assert_eq!(may_pass(WorkerExit::Signal(9), None), Some(true));
        assert_eq!(may_pass(WorkerExit::Signal(11), Some(&Outcome::Done)), Some(true));
        assert_eq!(may_pass(WorkerExit::Code(101), None), Some(true));
        assert_eq!(may_pass(WorkerExit::Code(1), None), Some(true));
        assert_eq!(may_pass(WorkerExit::Code(2), None), Some(false));
    }

    #[test]
    fn reasons_quote_the_journal_or_the_log() {
        let reason =
            |exit, outcome: Option<&Outcome>, tail| match ending(exit, outcome, tail, Stopping::No)
            {
                Ending::Failed { reason, .. } => reason,
                other => panic!("{other:?}"),
            };
        let input = outcome(FailureClass::Input);
        assert_eq!(reason(WorkerExit::Code(1), Some(&input), "noise"), "mask is torn");
        assert_eq!(
            reason(WorkerExit::Code(101), None, "thread 'main' panicked: index\n"),
            "the worker panicked; its log ends: thread 'main' panicked: index"
        );
        assert!(reason(WorkerExit::Signal(9), None, "").contains("because memory ran out"));
    }

    #[test]
    fn a_gpu_without_memory_is_named_and_not_asked_again() {
        let tail = "Caused by: |   out of device memory allocating 266338304 bytes";
        let ending = ending(WorkerExit::Code(101), None, tail, Stopping::No);
        assert!(ending.error().unwrap().starts_with("the GPU's memory ran out: "));
        assert_eq!(on_exit(&ending, 1, 3, Stopping::No), Verdict::GiveUp);
    }

    #[test]
    fn our_own_kill_is_not_taken_for_exhausted_memory() {
        let ending = ending(WorkerExit::Signal(9), None, "", Stopping::Killed);
        assert_eq!(ending.error(), Some("killed on request"));
    }

    #[test]
    fn a_full_disk_is_known_by_its_class_or_its_exit_code_and_not_by_words() {
        let check = |exit, outcome: Option<&Outcome>, expect| {
            let tail = "cannot write: No space left on device (os error 28)";
            let ending = ending(exit, outcome, tail, Stopping::No);
            assert_eq!(ending.is_of_the_disk(), expect, "{ending:?}");
        };
        check(WorkerExit::Code(1), Some(&outcome(FailureClass::Disk)), true);
        check(WorkerExit::Code(3), Some(&outcome(FailureClass::Disk)), true);
        check(WorkerExit::Code(3), None, true);
        check(WorkerExit::Code(1), Some(&outcome(FailureClass::Environment)), false);
        check(WorkerExit::Code(1), None, false);
        check(WorkerExit::Code(101), None, false);
        check(WorkerExit::Code(0), None, false);
    }

    fn check(ending: &Ending, attempts: u32, retries: u32, stopping: Stopping, expect: Verdict) {
        assert_eq!(
            on_exit(ending, attempts, retries, stopping),
            expect,
            "{ending:?}, attempt {attempts}, {retries} retries, {stopping:?}"
        );
    }

    fn failed(may_pass: bool) -> Ending {
        let class = if may_pass { FailureClass::Environment } else { FailureClass::Input };
        Ending::Failed { reason: "x".to_owned(), class }
    }

    #[test]
    fn what_may_pass_is_tried_again_as_often_as_allowed() {
        check(&failed(true), 1, 0, Stopping::No, Verdict::GiveUp);
        check(&failed(true), 1, 1, Stopping::No, Verdict::Retry);
        check(&failed(true), 2, 1, Stopping::No, Verdict::GiveUp);
        check(&failed(true), 2, 2, Stopping::No, Verdict::Retry);
    }

    #[test]
    fn what_cannot_pass_is_given_up_at_once() {
        check(&failed(false), 1, 9, Stopping::No, Verdict::GiveUp);
        check(&failed(false), 1, 9, Stopping::Asked, Verdict::GiveUp);
    }

    #[test]
    fn nothing_is_retried_while_stopping() {
        check(&failed(true), 1, 9, Stopping::Asked, Verdict::Leave);
        check(&failed(true), 1, 9, Stopping::Killed, Verdict::Leave);
        check(&Ending::Interrupted, 1, 9, Stopping::Asked, Verdict::Leave);
        check(&Ending::Done, 1, 9, Stopping::Asked, Verdict::Finished);
    }

    #[test]
    fn an_interruption_by_someone_else_counts_as_a_failure_that_may_pass() {
        check(&Ending::Interrupted, 1, 1, Stopping::No, Verdict::Retry);
        check(&Ending::Interrupted, 2, 1, Stopping::No, Verdict::GiveUp);
    }
}
