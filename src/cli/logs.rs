//! `sweep logs RUN`: prints the journal of a run in words, and what its workers printed.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::fault::{Exit, fault};
use super::{Context, printer, runs, words};
use crate::event::{Event, Line};
use crate::fs::RunDir;
use crate::schedule::attempt;

/// Time between two looks at a followed run.
const POLL: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The run's id or the start of it, as the table's last column shows it; or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Keep printing what is new until the attempt ends
    #[arg(short, long)]
    pub follow: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let run = runs::find(&results, &args.run)?;
    let dir = results.run(&run);
    if !dir.root().is_dir() {
        return Err(fault(Exit::Usage, format_args!("run {run} is planned but has not started")));
    }
    let mut reader = Reader::new(&dir);
    loop {
        let news = reader.read().with_context(|| format!("cannot read the logs of {run}"))?;
        if !news.lines.is_empty() {
            printer::data(&format!("{}\n", news.lines.join("\n")));
        }
        if !args.follow || news.ended || !printer::is_open() {
            return Ok(Exit::Done);
        }
        std::thread::sleep(POLL);
    }
}

/// The lines that are new since the last look.
#[derive(Debug, Default)]
struct News {
    lines: Vec<String>,
    /// The latest attempt has come to its end.
    ended: bool,
}

/// A reader of journals and worker logs that goes on where it stopped.
struct Reader {
    dir: RunDir,
    offsets: BTreeMap<PathBuf, u64>,
    latest: u32,
    ended: bool,
}

impl Reader {
    fn new(dir: &RunDir) -> Self {
        Self { dir: dir.clone(), offsets: BTreeMap::new(), latest: 0, ended: false }
    }

    fn read(&mut self) -> io::Result<News> {
        let mut news = News::default();
        for attempt in 1..=attempt::last_attempt(&self.dir)? {
            if attempt > self.latest {
                (self.latest, self.ended) = (attempt, false);
            }
            for text in self.whole_lines(&self.dir.events(attempt))? {
                match serde_json::from_str::<Line>(&text) {
                    Ok(line) => {
                        self.ended |= attempt == self.latest
                            && matches!(line.event, Event::AttemptEnded { .. });
                        if !matches!(line.event, Event::Scoring { .. }) {
                            news.lines.push(words::line(&line));
                        }
                    }
                    // Possibly of a newer version; better shown as it is than hidden.
                    Err(_) => news.lines.push(text),
                }
            }
            let log = self.whole_lines(&self.dir.log(attempt))?;
            news.lines.extend(log.into_iter().map(|text| format!("  | {text}")));
        }
        news.ended = self.ended;
        Ok(news)
    }

    fn whole_lines(&mut self, path: &Path) -> io::Result<Vec<String>> {
        let mut file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let offset = self.offsets.entry(path.to_owned()).or_default();
        file.seek(SeekFrom::Start(*offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        *offset += whole as u64;
        let text = String::from_utf8_lossy(&bytes[..whole]);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Outcome};
    use crate::fs::atomic::LineLog;
    use crate::fs::write_atomic;

    fn append(dir: &RunDir, attempt: u32, event: Event) {
        let line = Line { v: event::VERSION, at_ms: 1_772_366_405_000, event };
        let mut log = LineLog::open(&dir.events(attempt)).unwrap();
        log.append(&serde_json::to_string(&line).unwrap()).unwrap();
    }

    #[test]
    fn only_what_is_new_is_read_until_the_latest_attempt_ends() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        append(&dir, 1, Event::Warning { message: "slow".to_owned() });
        append(&dir, 1, Event::AttemptEnded { outcome: Outcome::Interrupted, memory: None });
        write_atomic(&dir.log(1), b"panicked\ntorn").unwrap();
        append(&dir, 2, Event::Warning { message: "slower".to_owned() });
        let mut reader = Reader::new(&dir);
        let news = reader.read().unwrap();
        let expect = [
            "2026-03-01 12:00:05Z  warning: slow",
            "2026-03-01 12:00:05Z  stopped on request, state saved",
            "  | panicked",
            "2026-03-01 12:00:05Z  warning: slower",
        ];
        assert_eq!((news.lines, news.ended), (expect.map(str::to_owned).to_vec(), false));
        append(&dir, 2, Event::AttemptEnded { outcome: Outcome::Done, memory: None });
        let news = reader.read().unwrap();
        assert_eq!((news.lines.len(), news.ended), (1, true));
        append(&dir, 3, Event::Warning { message: "again".to_owned() });
        assert!(!reader.read().unwrap().ended);
    }
}
