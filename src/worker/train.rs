//! Trains a run: builds its network, splits and loader, and writes the adapter at the end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::DType;

use super::Error;
use super::inputs::Work;
use super::journal::Journal;
use super::pictures::Pictures;
use crate::adapter::{self, About, AdapterFile, EncoderInfo};
use crate::data::dataset::EvalSet;
use crate::data::loader::{self, Budget, TrainLoader, TrainLoaderConfig};
use crate::data::split::Split;
use crate::data::transform::Normal;
use crate::eval;
use crate::eval::score::pass;
use crate::event::{Event, ModelBuilt};
use crate::experiment::SetFacts;
use crate::model::network::Parts;
use crate::model::{Network, TuneConfig};
use crate::resolve::trained;
use crate::train::checkpoint;
use crate::train::run::{End, Job, Sink, Validate};
use crate::train::{Normalise, VoidLabel};

/// A split and its name.
type Named = (String, Arc<Split>);

impl Work<'_> {
    /// Builds the network that the spec describes, with the encoder's weights; the rest is
    /// untrained.
    pub(super) fn network(&self) -> Result<Network, Error> {
        let spec = self.spec();
        let facts = &self.order.facts;
        let encoder = trained::encoder_of(spec, facts, &self.backbone, &self.device)?;
        if let TuneConfig::Lora(lora) = &spec.tune {
            lora.check((&self.backbone.name, &self.backbone.arch)).map_err(Error::Unknown)?;
        }
        let parts = Parts {
            tune: &spec.tune,
            decoder: &spec.decoder,
            n_classes: self.dataset.n_classes() as usize,
            seed: spec.seed,
        };
        let mut network = Network::new(encoder, &parts);
        if let Some(file) = &self.order.facts.init {
            AdapterFile::open(&file.path)?.start(&mut network)?;
        }
        let dtype = spec.train.precision.dtype();
        // A device that lacks a type may compute something else instead of failing.
        if !self.device.supports_dtype(DType::from(dtype)) {
            let (precision, device) = (spec.train.precision, self.order.device);
            return Err(Error::Precision { precision, device });
        }
        network.compute_in(dtype);
        Ok(network)
    }

    /// The parts of the network, for adapter files.
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
            normalise: match (spec.train.normalise, self.normal()) {
                (Normalise::None, _) => adapter::Normalise::None {},
                (Normalise::Backbone, Normal { mean, std }) => {
                    adapter::Normalise::MeanStd { mean, std }
                }
            },
        }
    }

    /// The splits to train on and to validate on; the latter with its name.
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

    /// Trains from the newest sound checkpoint to the last step, and writes the adapter.
    pub(super) fn train(
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
        let pictures = validate.as_ref().and_then(|(_, split)| self.pictures(split, &protocol));
        let draw = pictures.map(|pictures| {
            let draw = move |network: &mut Network, epoch| pictures.draw(network, epoch);
            Box::new(draw) as Box<_>
        });
        let validate = validate.map(|(name, split)| Validate {
            split: name,
            draw,
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
            normal: self.normal(),
            activations: self.order.terms.activations,
            checkpoints: self.dir.checkpoints(),
            checkpoint_every: Duration::from_secs(u64::from(self.order.terms.checkpoint_every_s)),
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

    /// The images of a split to draw at each validation, if any are.
    fn pictures(&self, split: &Arc<Split>, protocol: &pass::Protocol) -> Option<Pictures> {
        let n_images = self.order.terms.pictures as usize;
        let (split, request) = (Arc::clone(split), protocol.request.clone());
        (n_images > 0).then(|| Pictures { split, n_images, request, dir: self.dir.clone() })
    }

    fn loader(&self, train: &Arc<Split>) -> TrainLoader {
        let config = &self.spec().train;
        let (threads, batch_size) = (self.load_threads(), config.batch_size as usize);
        let terms = self.order.terms;
        TrainLoader::new(TrainLoaderConfig {
            split: Arc::clone(train),
            input_px: self.file.input_px,
            transform: config.transform,
            photometric: config.photometric,
            batch_size,
            seed: self.spec().seed,
            flip: config.flip,
            void_as_background: config.void_label == VoidLabel::Background,
            threads,
            depth: loader::depth(threads, batch_size),
            cache: Budget {
                memory_bytes: terms.cache_mb << 20,
                disk_bytes: terms.cache_disk_mb << 20,
                folder: self.dir.root().to_owned(),
            },
        })
    }
}
