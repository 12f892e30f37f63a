//! `sweep worker <run dir> --attempt N`: works on one run; started by the scheduler.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::fault::Exit;
use super::{Context, context, printer, signals};
use crate::event::FailureClass;
use crate::fs::RunDir;
use crate::worker;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Directory of the run, with its `spec.json`
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,
    /// Number of the attempt, whose order is in the directory
    #[arg(long)]
    pub attempt: u32,
}

/// Works until done, or until stdin ends or a signal comes: then the state is saved.
///
/// A panic ends the process by itself, with exit code 101 and its message on stderr.
pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_end_of_stdin(&stop);
    stop_at_signals(&stop);
    Ok(match worker::run(&RunDir::new(&args.run_dir), args.attempt, &stop) {
        worker::Exit::Done => Exit::Done,
        worker::Exit::Interrupted => Exit::Interrupted,
        worker::Exit::Failed { message, class } => {
            printer::note(&format_args!("error: {message}"));
            exit_of(class)
        }
    })
}

/// The exit of a failure; that of a full disk is its own, as the journal may not be writable then.
fn exit_of(class: FailureClass) -> Exit {
    match class {
        FailureClass::Disk => Exit::Environment,
        FailureClass::Input | FailureClass::Environment | FailureClass::Bug => Exit::SomeFailed,
    }
}

/// Stops the worker when its stdin ends: the coordinator holds the other end of that pipe, so that
/// its death is noticed too.
fn stop_at_end_of_stdin(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Stops the worker at a signal. Returns once signals are listened to: one that came before would
/// end the worker unsaved.
fn stop_at_signals(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let listen = async || {
            let mut stops = signals::stops()?;
            // The receiver waits for this message, so that it is there.
            let _ = ready.send(());
            while stops.recv().await.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        let listened = context::runtime().and_then(|runtime| runtime.block_on(listen()));
        if let Err(error) = listened {
            tracing::warn!("a signal will end this worker without saving: {error:#}");
        }
    });
    // This fails where the thread could not listen, which it has logged.
    let _ = is_ready.recv();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::retry;

    #[test]
    fn the_exits_are_those_that_the_coordinator_knows() {
        let code = |exit: Exit| i32::from(exit.code());
        assert_eq!(code(exit_of(FailureClass::Disk)), retry::CODE_DISK);
        assert_eq!(code(Exit::Interrupted), retry::CODE_INTERRUPTED);
        for class in [FailureClass::Input, FailureClass::Environment, FailureClass::Bug] {
            assert_eq!(code(exit_of(class)), 1);
        }
    }
}
