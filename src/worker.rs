//! One process, one run: trains, then scores, and writes only inside its run directory.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use burn::tensor::Device;

use crate::adapter::{self, About, EncoderInfo};
use crate::corrupt::{Corruptor, Effect, Severity};
use crate::data::dataset::{self, Dataset, EvalSet};
use crate::data::loader::{self, Budget, TrainLoader, TrainLoaderConfig};
use crate::data::split::Split;
use crate::eval::infer::Request;
use crate::eval::score::pass::{self, Protocol, Scored};
use crate::eval::score::per_image;
use crate::eval::score::reference_metric::VoidIs;
use crate::eval::{self, Select};
use crate::event::{
    self, AttemptStarted, Event, FailureClass, Line, ModelBuilt, Outcome, ScoreEnded,
};
use crate::experiment::{Facts, Order, RunFile, RunSpec, ScoreRequest, SetFacts};
use crate::fs::atomic::LineLog;
use crate::fs::{FileLock, RunDir};
use crate::id::ScoreId;
use crate::model::backbone::{self, Backbone};
use crate::model::network::Parts;
use crate::model::vit::Encoder;
use crate::model::{Network, Size, TuneConfig, init};
use crate::train::checkpoint;
use crate::train::run::{End, Job, Sink, Validate, with_sources};
use crate::train::{self, Normalise, VoidLabel};
use crate::weights;

/// A split and what it is called.
type Named = (String, Arc<Split>);

/// Time between two progress lines of a scoring pass.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{path}`: {reason}; the run directory is damaged")]
    RunFile { path: PathBuf, reason: String },
    #[error("cannot open the dataset")]
    Data(#[from] crate::data::Error),
    #[error("cannot load weights")]
    Weights(#[from] weights::Error),
    #[error("training failed")]
    Train(#[from] train::run::Error),
    #[error("scoring failed")]
    Score(#[from] pass::Error),
    #[error("cannot keep the counts of a score")]
    Counts(#[from] per_image::Error),
    #[error("cannot use the trained adapter")]
    Adapter(#[from] checkpoint::Error),
    #[error("cannot write the journal")]
    Journal(#[from] io::Error),
    #[error("{0}")]
    Unknown(String),
}

/// How the worker ended.
#[derive(Debug)]
pub enum Exit {
    Done,
    Interrupted,
    Failed(String),
}

/// Trains and scores the run in `dir` as `order.<attempt>.json` asks; blocks while an earlier
/// worker holds the run. Sets nothing outside `dir`. `stop` asks for a checkpoint and the end.
pub fn run(dir: &RunDir, attempt: u32, stop: &Arc<AtomicBool>) -> Exit {
    let lock = match FileLock::acquire(&dir.lock()) {
        Ok(lock) => lock,
        Err(error) => return Exit::Failed(format!("cannot lock the run: {error}")),
    };
    let result = work(dir, attempt, stop);
    drop(lock);
    match result {
        Ok(End::Finished) => Exit::Done,
        Ok(End::Interrupted) => Exit::Interrupted,
        Err(error) => Exit::Failed(with_sources(&error)),
    }
}

fn work(dir: &RunDir, attempt: u32, stop: &AtomicBool) -> Result<End, Error> {
    let file: RunFile = read_json(&dir.spec())?;
    let order: Order = read_json(&dir.order(attempt))?;
    let mut journal = Journal::open(dir, attempt)?;
    journal.emit(Event::AttemptStarted(started(&order)))?;
    let result = Work::new(dir, &file, &order).and_then(|work| work.run(&mut journal, stop));
    let outcome = match &result {
        Ok(End::Finished) => Outcome::Done,
        Ok(End::Interrupted) => Outcome::Interrupted,
        Err(error) => Outcome::Failed { message: with_sources(error), class: error.class() },
    };
    journal.emit(Event::AttemptEnded { outcome })?;
    journal.sync()?;
    result
}

/// One attempt's inputs, opened.
struct Work<'a> {
    dir: &'a RunDir,
    file: &'a RunFile,
    order: &'a Order,
    dataset: Dataset,
    backbone: Backbone,
    device: Device,
}

impl<'a> Work<'a> {
    fn new(dir: &'a RunDir, file: &'a RunFile, order: &'a Order) -> Result<Self, Error> {
        let dataset = dataset::open_at(&file.spec.data, &order.facts.data_root)?;
        let backbone = backbone(&file.spec, &order.facts)?;
        Ok(Self { dir, file, order, dataset, backbone, device: device(&order.device)? })
    }

    fn spec(&self) -> &RunSpec {
        &self.file.spec
    }

    fn run(&self, journal: &mut Journal, stop: &AtomicBool) -> Result<End, Error> {
        let earlier = Earlier::read(self.dir)?;
        let mut network = self.network()?;
        let adapter = self.dir.adapter();
        let trained = match checkpoint::load_adapter(&adapter, &self.file.run, &mut network) {
            Ok(_) => true,
            Err(error) => {
                if adapter.exists() {
                    journal.emit(Event::CheckpointRejected {
                        checkpoint: "adapter.safetensors".to_owned(),
                        reason: with_sources(&error),
                    })?;
                }
                false
            }
        };
        if (!trained || !earlier.trained)
            && self.train(network.clone(), journal, stop)? == End::Interrupted
        {
            return Ok(End::Interrupted);
        }
        for select in [Select::Last, Select::Best] {
            let wanted =
                |r: &&ScoreRequest| r.select == select && !earlier.scores.contains(&r.score);
            let requests: Vec<_> = self.order.scores.iter().filter(wanted).collect();
            if requests.is_empty() {
                continue;
            }
            let scored = match select {
                Select::Last => adapter.clone(),
                Select::Best => self.dir.adapter_best(),
            };
            let checkpoint = checkpoint::load_adapter(&scored, &self.file.run, &mut network)?;
            let mut network = network.merged();
            for request in requests {
                let ended = self.score(&mut network, request, &checkpoint, (journal, stop))?;
                if ended == End::Interrupted {
                    return Ok(End::Interrupted);
                }
            }
        }
        Ok(End::Finished)
    }

    fn network(&self) -> Result<Network, Error> {
        let spec = self.spec();
        let encoder = if let Some(file) = &self.order.facts.weights {
            let wanted = (self.backbone.name.as_str(), self.backbone.arch);
            weights::load(&file.path, wanted, &self.device)?
        } else {
            let mut encoder = Encoder::zeros(self.backbone.arch, &self.device);
            init::encoder(&mut encoder, spec.seed);
            encoder
        };
        if let TuneConfig::Lora(lora) = &spec.tune {
            lora.check((&self.backbone.name, &self.backbone.arch)).map_err(Error::Unknown)?;
        }
        let parts = Parts {
            tune: &spec.tune,
            decoder: &spec.decoder,
            n_classes: self.dataset.n_classes() as usize,
            seed: spec.seed,
        };
        Ok(Network::new(encoder, &parts))
    }

    /// What the network is made of, for adapter files.
    fn about(&self) -> About {
        let spec = self.spec();
        let weights = self.order.facts.weights.as_ref();
        let weights_sha256 = weights.map(|file| file.sha256.clone());
        About {
            sweep: Some(env!("CARGO_PKG_VERSION").to_owned()),
            encoder: EncoderInfo {
                weights_sha256,
                ..EncoderInfo::of(&self.backbone.name, &self.backbone.arch)
            },
            tune: spec.tune.clone(),
            decoder: Some(spec.decoder.clone()),
            n_classes: Some(self.dataset.n_classes() as usize),
            class_names: Some(self.dataset.classes.clone()),
            input_px: Some(self.input_px()),
            normalise: match (spec.train.normalise, self.mean_std()) {
                (Normalise::None, _) => adapter::Normalise::None {},
                (Normalise::Backbone, (mean, std)) => adapter::Normalise::MeanStd { mean, std },
            },
        }
    }

    fn input_px(&self) -> [usize; 2] {
        self.file.input_px.map(|px| px as usize)
    }

    fn mean_std(&self) -> ([f32; 3], [f32; 3]) {
        match self.spec().train.normalise {
            Normalise::Backbone => (self.backbone.mean, self.backbone.std),
            Normalise::None => ([0.0; 3], [1.0; 3]),
        }
    }

    /// The splits to train and to validate on; the latter with its name.
    fn splits(&self) -> Result<(Arc<Split>, Option<Named>), Error> {
        let train = self.dataset.train_split()?;
        let dev = self.spec().train.dev;
        if dev.fraction > 0.0 {
            let (train, dev) = train.hold_out(dev.fraction, dev.seed);
            return Ok((Arc::new(train), Some(("dev".to_owned(), Arc::new(dev)))));
        }
        let validated = match self.spec().eval.sets.first() {
            None => None,
            Some(EvalSet::Own(name)) => Some((name.clone(), self.dataset.split(name)?)),
            Some(set) => {
                let found = self.order.facts.sets.iter().find(|facts| facts.set == *set);
                let named =
                    |facts: &SetFacts| Ok::<_, Error>((facts.name.clone(), self.set(facts)?));
                found.map(named).transpose()?
            }
        };
        let validated = validated.map(|(name, split)| (name, Arc::new(split)));
        Ok((Arc::new(train), validated))
    }

    fn set(&self, facts: &SetFacts) -> Result<Split, Error> {
        Ok(match &facts.set {
            EvalSet::Own(split) => self.dataset.split(split)?,
            EvalSet::Other { data, split } => dataset::open_at(data, &facts.root)?.split(split)?,
        })
    }

    fn corruptor(&self, request: &ScoreRequest) -> Result<Option<Corruptor>, Error> {
        let Some(name) = &request.corruption else { return Ok(None) };
        let severity = request.severity.and_then(Severity::new);
        match Effect::parse(name).zip(severity) {
            Some((effect, severity)) => {
                let frost = self.order.facts.frost.as_deref();
                Ok(Some(Corruptor::new(effect, severity, frost)?))
            }
            None => Err(Error::Unknown(format!(
                "this binary has no corruption {name} at level {:?}",
                request.severity
            ))),
        }
    }

    /// The split that a score is made on; a name that the facts do not have is one of the run's own
    /// dataset.
    fn scored_split(&self, request: &ScoreRequest) -> Result<Split, Error> {
        let named = self.order.facts.sets.iter().find(|facts| {
            facts.name == request.set && facts.fingerprint == request.set_fingerprint
        });
        match named {
            Some(facts) => self.set(facts),
            None => Ok(self.dataset.split(&request.split)?),
        }
    }

    fn train(
        &self,
        mut network: Network,
        journal: &mut Journal,
        stop: &AtomicBool,
    ) -> Result<End, Error> {
        let (train, validate) = self.splits()?;
        let loader = self.loader(&train);
        let config = &self.spec().train;
        let steps_total = match (config.steps, config.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => u64::from(epochs.unwrap_or(1)) * loader.batches_per_epoch() as u64,
        };
        let (params_total, params_trained) = network.count();
        let patch = self.backbone.arch.patch as u32;
        journal.emit(Event::ModelBuilt(ModelBuilt {
            params_total,
            params_trained,
            input_px: self.file.input_px,
            tokens: self.file.input_px.map(|px| px / patch),
            n_classes: self.dataset.n_classes(),
            n_train_images: train.len() as u64,
            steps_total,
        }))?;
        // Validation while training is one plain view, whatever the scores are made with.
        let protocol = self.protocol(eval::Mode::Whole {}, eval::Tta::default());
        let validate = validate.map(|(name, split)| Validate {
            split: name,
            score: Box::new(move |network| {
                let silent = &mut |_, _| Ok(());
                let scored = pass::score(network, (&split, None), &protocol, silent, stop)?;
                Ok(scored.map(|scored| scored.metrics))
            }),
        });
        // Kept wherever there is a `dev` to choose on: scores of it may be asked for later.
        let best = config.dev.fraction > 0.0;
        let mut job = Job {
            run: self.file.run.clone(),
            about: self.about(),
            seed: self.spec().seed,
            config,
            network,
            loader,
            steps_total,
            input_px: self.input_px(),
            checkpoints: self.dir.checkpoints(),
            checkpoint_every: Duration::from_secs(u64::from(self.order.checkpoint_every_s)),
            best: best.then(|| self.dir.adapter_best()),
            validate,
        };
        if job.run(journal, stop)? == End::Interrupted {
            return Ok(End::Interrupted);
        }
        let saved = {
            let named = (&job.run, steps_total);
            checkpoint::save_adapter(&self.dir.adapter(), named, &job.about, &mut job.network)?
        };
        let epoch = steps_total.div_ceil(job.loader.batches_per_epoch() as u64) as u32;
        journal.emit(Event::TrainingEnded {
            step: steps_total,
            epoch,
            adapter_sha256: saved.sha256,
        })?;
        journal.sync()?;
        Ok(End::Finished)
    }

    fn loader(&self, train: &Arc<Split>) -> TrainLoader {
        let (mean, std) = self.mean_std();
        let config = &self.spec().train;
        let (threads, batch_size) = (self.load_threads(), config.batch_size as usize);
        let cache = self.order.cache;
        TrainLoader::new(TrainLoaderConfig {
            split: Arc::clone(train),
            input_px: self.file.input_px,
            transform: config.transform,
            photometric: config.photometric,
            batch_size,
            seed: self.spec().seed,
            flip: config.flip,
            mean,
            std,
            void_as_background: config.void_label == VoidLabel::Background,
            threads,
            depth: loader::depth(threads, batch_size),
            cache: Budget {
                memory_bytes: cache.memory_mb << 20,
                disk_bytes: cache.disk_mb << 20,
                folder: self.dir.root().to_owned(),
            },
        })
    }

    /// As many as compute. They sleep once a few batches are ready, so that they take no more from
    /// computing than loading needs; and where computing waits for them, every core is theirs.
    fn load_threads(&self) -> usize {
        self.order.threads.max(1) as usize
    }

    fn protocol(&self, mode: eval::Mode, tta: eval::Tta) -> Protocol {
        let (mean, std) = self.mean_std();
        let config = &self.spec().train;
        Protocol {
            request: Request {
                mode,
                tta,
                patch_px: self.backbone.arch.patch as u32,
                input_px: self.file.input_px,
                mean,
                std,
            },
            reference_batch: config.batch_size,
            reference_void: match config.void_label {
                VoidLabel::Ignore => VoidIs::LeftOut,
                VoidLabel::Background => VoidIs::Background,
            },
            threads: self.load_threads(),
        }
    }

    fn score(
        &self,
        network: &mut Network,
        request: &ScoreRequest,
        checkpoint: &checkpoint::Adapter,
        (journal, stop): (&mut Journal, &AtomicBool),
    ) -> Result<End, Error> {
        let started = Instant::now();
        let split = Arc::new(self.scored_split(request)?);
        let corruptor = self.corruptor(request)?;
        let mut reported = started;
        let mut progress = |done: usize, total: usize| {
            if reported.elapsed() < PROGRESS_EVERY {
                return Ok(());
            }
            reported = Instant::now();
            journal.emit(Event::Scoring {
                score: request.score.clone(),
                images_done: done as u64,
                images_total: total as u64,
            })
        };
        let protocol = self.protocol(request.mode, request.tta.clone());
        let set = (&split, corruptor.as_ref());
        let scored = pass::score(network, set, &protocol, &mut progress, stop)?;
        let Some(Scored { metrics, images }) = scored else { return Ok(End::Interrupted) };
        // On disk before the line that says the score is there.
        images.save(&self.dir.confusion(request.score.as_str()))?;
        journal.emit(Event::ScoreEnded(ScoreEnded {
            score: request.score.clone(),
            checkpoint_sha256: checkpoint.sha256.clone(),
            checkpoint_step: checkpoint.step,
            protocol: request.protocol.clone(),
            set: request.set.clone(),
            set_fingerprint: request.set_fingerprint.clone(),
            suite: request.suite.clone(),
            corruption: request.corruption.clone(),
            severity: request.severity,
            metrics,
            time_ms: started.elapsed().as_millis() as u64,
        }))?;
        journal.sync()?;
        Ok(End::Finished)
    }
}

/// The encoder that a spec names; `custom` ones are read off their folder.
fn backbone(spec: &RunSpec, facts: &Facts) -> Result<Backbone, Error> {
    let unchecked = || Error::Unknown("no such backbone: the spec was not checked".into());
    if spec.model.size == Size::CUSTOM {
        let folder = facts.weights.as_ref().ok_or_else(unchecked)?;
        return Ok(weights::custom(&spec.model, &folder.path)?);
    }
    backbone::find(&spec.model).map(Backbone::from).ok_or_else(unchecked)
}

/// What earlier attempts have journalled.
#[derive(Default)]
struct Earlier {
    /// Step of `TrainingEnded`.
    trained: bool,
    scores: BTreeSet<ScoreId>,
}

impl Earlier {
    fn read(dir: &RunDir) -> Result<Self, Error> {
        let mut earlier = Self::default();
        for entry in fs_err::read_dir(dir.root())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_journal = path.extension().is_some_and(|extension| extension == "jsonl");
            if !(is_journal && name.starts_with("events.")) {
                continue;
            }
            // A torn line is no event; whoever ingests the journal reports it.
            let text = String::from_utf8_lossy(&fs_err::read(&path)?).into_owned();
            for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
                match line.event {
                    Event::TrainingEnded { .. } => earlier.trained = true,
                    Event::ScoreEnded(score) => {
                        earlier.scores.insert(score.score);
                    }
                    _ => {}
                }
            }
        }
        Ok(earlier)
    }
}

/// The journal of one attempt.
struct Journal {
    log: LineLog,
    attempt: u32,
    bytes: u64,
}

impl Journal {
    fn open(dir: &RunDir, attempt: u32) -> io::Result<Self> {
        Ok(Self { log: LineLog::open(&dir.events(attempt))?, attempt, bytes: 0 })
    }
}

impl Sink for Journal {
    fn emit(&mut self, event: Event) -> io::Result<()> {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let line = Line { v: event::VERSION, at_ms: at_ms as u64, event };
        let text = serde_json::to_string(&line).map_err(io::Error::other)?;
        self.bytes += text.len() as u64 + 1;
        self.log.append(&text)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }

    fn position(&self) -> (u32, u64) {
        (self.attempt, self.bytes)
    }
}

impl Error {
    /// What the coordinator may do about it.
    fn class(&self) -> FailureClass {
        match self {
            Self::Data(error)
            | Self::Train(train::run::Error::Data(error))
            | Self::Score(pass::Error::Data(error)) => error.class(),
            Self::RunFile { .. }
            | Self::Weights(_)
            | Self::Train(train::run::Error::Diverged { .. } | train::run::Error::Batch { .. })
            | Self::Unknown(_) => FailureClass::Input,
            Self::Train(_)
            | Self::Score(_)
            | Self::Adapter(_)
            | Self::Counts(_)
            | Self::Journal(_) => FailureClass::Environment,
        }
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, Error> {
    let failed = |reason: String| Error::RunFile { path: path.to_owned(), reason };
    let bytes = fs_err::read(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
}

/// `cpu`, or `cuda:N` where the coordinator has made device N the only visible one.
fn device(name: &str) -> Result<Device, Error> {
    if name == "cpu" {
        return Ok(Device::flex());
    }
    #[cfg(feature = "cuda")]
    if name.starts_with("cuda:") {
        return Ok(Device::cuda(0usize));
    }
    Err(Error::Unknown(format!("this binary cannot use device {name}")))
}

fn started(order: &Order) -> AttemptStarted {
    AttemptStarted {
        attempt: order.attempt,
        pid: std::process::id(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        device: order.device.clone(),
        device_name: if order.device == "cpu" { cpu_name() } else { order.device.clone() },
        threads: order.threads,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git: env!("BUILT_FROM_COMMIT").to_owned(),
    }
}

/// Model of the CPU as Linux names it; empty elsewhere.
fn cpu_name() -> String {
    let Ok(text) = fs_err::read_to_string("/proc/cpuinfo") else { return String::new() };
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        .unwrap_or_default()
}
