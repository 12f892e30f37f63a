//! Videos for tests, made and measured by `ffmpeg`.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `ffmpeg` is there; it must be where `SWEEP_TEST_FFMPEG` is set, as in CI.
pub(crate) fn can_be_read() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    assert!(is_there || std::env::var_os("SWEEP_TEST_FFMPEG").is_none(), "ffmpeg is not there");
    is_there
}

pub(crate) fn ffmpeg(arguments: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error"]).args(arguments);
    command
}

/// Width, height, frame rate and number of frames.
pub(crate) fn probe(video: &Path) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries"]);
    let output =
        command.arg("stream=width,height,r_frame_rate,nb_frames").arg(video).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
