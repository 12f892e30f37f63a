//! Videos, read and written frame by frame through the program `ffmpeg` (5.1 or newer).

use std::fmt;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::data::Rgb;

/// Endings of files that are taken for videos, in lower case.
pub const ENDINGS: [&str; 6] = ["mp4", "mov", "avi", "mkv", "webm", "m4v"];
/// Longest message of ffmpeg that is kept.
const MESSAGE_BYTES_MAX: usize = 2000;
/// Largest side of a frame; a header that says more is damaged.
const SIDE_MAX: usize = 1 << 16;

/// A video file with frames in it.
#[derive(Debug, Clone)]
pub struct Video {
    pub path: PathBuf,
    /// Frames a second, a fraction such as `30000/1001`.
    pub rate: String,
    /// Number of frames, where the file says it.
    pub n_frames: Option<usize>,
    /// Whether all frames last equally long.
    is_constant: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "videos need the program `{program}`, which is not there: install FFmpeg (`apt install \
         ffmpeg`, `brew install ffmpeg`), or give a folder of frames"
    )]
    NoProgram { program: &'static str },
    #[error("`{path}` cannot be read as a video: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("cannot write the video `{path}`: {reason}")]
    Unwritable { path: PathBuf, reason: String },
    #[error("cannot run `ffmpeg`")]
    Run(#[from] io::Error),
}

impl Video {
    /// Asks `ffprobe` what the file holds.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |reason: String| Error::Unreadable { path: path.to_owned(), reason };
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-select_streams", "v:0", "-of", "json", "-show_entries"]);
        probe.arg("stream=r_frame_rate,avg_frame_rate,nb_frames").arg("-i").arg(file(path));
        let found = probe.stdin(Stdio::null()).output().map_err(|e| started("ffprobe", e))?;
        if !found.status.success() {
            return Err(unreadable(last_line(&found.stderr, path)));
        }
        let found: Value = serde_json::from_slice(&found.stdout)
            .map_err(|error| unreadable(format!("ffprobe's answer is no JSON ({error})")))?;
        let stream = &found["streams"][0];
        if stream.is_null() {
            return Err(unreadable("it has no frames, only other content".to_owned()));
        }
        let text = |key: &str| stream[key].as_str().unwrap_or_default().to_owned();
        let (base, mean) = (text("r_frame_rate"), text("avg_frame_rate"));
        let is_constant = base == mean;
        let rate = if is_rate(&mean) { mean } else { base };
        if !is_rate(&rate) {
            return Err(unreadable(format!("its frame rate is `{rate}`")));
        }
        let n_frames = text("nb_frames").parse().ok();
        Ok(Self { path: path.to_owned(), rate, n_frames, is_constant })
    }

    /// Starts to decode the frames, turned as the file asks for. Where frames last unequally long,
    /// some are repeated or left out, so that they do not.
    pub fn frames(&self) -> Result<Frames, Error> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-i"]).arg(file(&self.path));
        command.args(["-map", "0:v:0", "-fps_mode"]);
        if self.is_constant {
            command.arg("passthrough");
        } else {
            command.args(["cfr", "-r", &self.rate]);
        }
        command.args(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = Program::start(command)?;
        let pixels = BufReader::new(program.child.stdout.take().expect("it is a pipe"));
        Ok(Frames { path: self.path.clone(), program: Some(program), pixels })
    }
}

/// The frames of a video, in order. Dropping it stops the decoder.
pub struct Frames {
    path: PathBuf,
    /// None once it has ended.
    program: Option<Program>,
    pixels: BufReader<ChildStdout>,
}

impl Iterator for Frames {
    type Item = Result<Rgb, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.program.as_ref()?;
        let frame = read_ppm(&mut self.pixels);
        if let Ok(Some(frame)) = frame {
            return Some(Ok(frame));
        }
        let message = match (self.program.take()?.end(), frame) {
            (Ok(message), Ok(_)) => return message.map(|reason| Err(self.unreadable(&reason))),
            (Ok(Some(message)), Err(_)) => message,
            (Ok(None), Err(error)) => error.to_string(),
            (Err(error), _) => return Some(Err(error.into())),
        };
        Some(Err(self.unreadable(&message)))
    }
}

impl Frames {
    fn unreadable(&self, reason: &str) -> Error {
        let name = self.path.display().to_string();
        let reason = reason.trim_start_matches(&format!("{name}: ")).to_owned();
        Error::Unreadable { path: self.path.clone(), reason }
    }
}

/// An H.264 video that is written frame by frame. It takes its name when it is finished.
pub struct Writer {
    path: PathBuf,
    temp: PathBuf,
    program: Option<Program>,
    pixels: Option<ChildStdin>,
    size: [u32; 2],
}

impl Writer {
    /// Starts a video of frames of `size` (height, width), `rate` a second. Odd sides are padded by
    /// one pixel, as players demand.
    pub fn create(path: &Path, size: [u32; 2], rate: &str) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = path.with_file_name(format!(".{}.{name}", std::process::id()));
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
        command.args(["-s", &format!("{}x{}", size[1], size[0]), "-r", rate, "-i", "-"]);
        command.args(["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-crf", "18"]);
        command.args(["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]);
        command.arg(file(&temp)).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut program = Program::start(command)?;
        let pixels = program.child.stdin.take();
        Ok(Self { path: path.to_owned(), temp, program: Some(program), pixels, size })
    }

    /// Height and width of the frames.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// If it is of another size.
    pub fn put(&mut self, frame: &Rgb) -> Result<(), Error> {
        assert_eq!([frame.height, frame.width], self.size, "all frames have one size");
        let Some(pixels) = &mut self.pixels else { return Ok(()) };
        match pixels.write_all(&frame.pixels) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Ends the video and gives it its name.
    pub fn finish(mut self) -> Result<(), Error> {
        self.pixels = None;
        if let Some(reason) = self.program.take().map_or(Ok(None), Program::end)? {
            return Err(Error::Unwritable { path: self.path.clone(), reason });
        }
        let unwritable = |error: io::Error| Error::Unwritable {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        let sync = fs_err::File::open(&self.temp).and_then(|file| file.sync_all());
        sync.and_then(|()| fs_err::rename(&self.temp, &self.path)).map_err(unwritable)
    }

    /// What ffmpeg says about a pipe that broke.
    fn failed(&mut self, error: &io::Error) -> Error {
        self.pixels = None;
        let said = self.program.take().and_then(|program| program.end().ok().flatten());
        let reason = said.unwrap_or_else(|| error.to_string());
        Error::Unwritable { path: self.path.clone(), reason }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.pixels = None;
        self.program = None;
        // It is not there once it has its name.
        let _ = fs_err::remove_file(&self.temp);
    }
}

/// A running ffmpeg, stopped when dropped.
struct Program {
    child: Child,
    /// Reads what it says, lest it wait for somebody to.
    said: Option<JoinHandle<Vec<u8>>>,
}

impl Program {
    fn start(mut command: Command) -> Result<Self, Error> {
        let mut child =
            command.stderr(Stdio::piped()).spawn().map_err(|error| started("ffmpeg", error))?;
        let mut stderr = child.stderr.take().expect("it is a pipe");
        let said = std::thread::spawn(move || {
            let mut all = vec![];
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut part) {
                all.extend_from_slice(&part[..n]);
                all.drain(..all.len().saturating_sub(MESSAGE_BYTES_MAX));
            }
            all
        });
        Ok(Self { child, said: Some(said) })
    }

    /// Waits for its end; what it said if it failed.
    fn end(mut self) -> io::Result<Option<String>> {
        let status = self.child.wait()?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let lines = String::from_utf8_lossy(&said);
        let last = lines.lines().rfind(|line| !line.trim().is_empty());
        let told = || last.map_or_else(|| status.to_string(), |line| line.trim().to_owned());
        Ok((!status.success()).then(told))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended needs no stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started(program: &'static str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        Error::NoProgram { program }
    } else {
        error.into()
    }
}

/// The path as ffmpeg takes it for a file, whatever it begins with.
fn file(path: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from("file:");
    name.push(path);
    name
}

/// The last line that a program said, without the file's name before it.
fn last_line(said: &[u8], path: &Path) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason is given");
    let name = format!("file:{}: ", path.display());
    line.trim().trim_start_matches(&name).to_owned()
}

/// Whether text is a fraction above zero.
fn is_rate(text: &str) -> bool {
    let Some((above, below)) = text.split_once('/') else { return false };
    let is_positive = |text: &str| text.parse::<u64>().is_ok_and(|n| n > 0);
    is_positive(above) && is_positive(below)
}

/// Reads one picture of a stream of binary PPM with 8 bits a channel; none at its end. The format:
/// <https://netpbm.sourceforge.net/doc/ppm.html>.
fn read_ppm(stream: &mut impl io::BufRead) -> io::Result<Option<Rgb>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let damaged = |what: &dyn fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the frame {what}"))
    };
    let mut header = vec![];
    // `P6`, width, height and the largest value, each before one white space.
    for _ in 0..4 {
        let mut word = vec![];
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            if byte[0].is_ascii_whitespace() {
                break;
            }
            word.push(byte[0]);
            if word.len() > 8 {
                return Err(damaged(&"has no header"));
            }
        }
        header.push(String::from_utf8_lossy(&word).into_owned());
    }
    let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side));
    match (header[0].as_str(), side(&header[1]), side(&header[2]), header[3].as_str()) {
        ("P6", Some(width), Some(height), "255") => {
            let mut pixels = vec![0; 3 * width * height];
            stream.read_exact(&mut pixels)?;
            Ok(Some(Rgb { width: width as u32, height: height as u32, pixels }))
        }
        _ => Err(damaged(&format_args!("begins with `{}`", header.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_read_one_after_the_other() {
        let mut stream = &b"P6\n2 1\n255\n\x01\x02\x03\x04\x05\x06P6\n1 1\n255\n\n\n\n"[..];
        let first = read_ppm(&mut stream).unwrap().unwrap();
        assert_eq!((first.width, first.height, first.pixels), (2, 1, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(read_ppm(&mut stream).unwrap().unwrap().pixels, [10, 10, 10]);
        assert!(read_ppm(&mut stream).unwrap().is_none());
        for damaged in
            [&b"P6\n2 1\n255\n\x01"[..], b"P5\n1 1\n255\n1", b"nothing of the kind", b"P6"]
        {
            assert!(read_ppm(&mut &*damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn rates_are_fractions_above_zero() {
        assert!(is_rate("25/1") && is_rate("30000/1001"));
        assert!(!is_rate("0/0") && !is_rate("25") && !is_rate(""));
    }
}
