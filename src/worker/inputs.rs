//! Opens the inputs of an attempt: the run's dataset, backbone and device.

use std::cell::Cell;

use super::Error;
use crate::data::dataset::{self, Dataset};
use crate::data::split::Split;
use crate::data::transform::Normal;
use crate::device;
use crate::eval;
use crate::eval::infer::Request;
use crate::eval::score::pass::Protocol;
use crate::eval::score::reference_metric::VoidIs;
use crate::experiment::{Order, RunFile, RunSpec, SetFacts};
use crate::fs::RunDir;
use crate::model::backbone::Backbone;
use crate::resolve::trained;
use crate::train::{Normalise, VoidLabel};

/// One attempt's inputs, opened.
pub(super) struct Work<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) file: &'a RunFile,
    pub(super) order: &'a Order,
    pub(super) dataset: Dataset,
    pub(super) backbone: Backbone,
    pub(super) device: burn::tensor::Device,
    /// The most that was seen to be held on the GPU.
    pub(super) held_bytes: Cell<Option<u64>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(dir: &'a RunDir, file: &'a RunFile, order: &'a Order) -> Result<Self, Error> {
        let dataset = dataset::open_at(&file.spec.data, &order.facts.data_root)?;
        let found = trained::backbone_of(&file.spec, &order.facts)?;
        let unchecked = || Error::Unknown("no such backbone: the spec was not checked".into());
        let backbone = found.ok_or_else(unchecked)?;
        let device = device::open(order.device.seen_alone())?;
        Ok(Self { dir, file, order, dataset, backbone, device, held_bytes: Cell::new(None) })
    }

    pub(super) fn spec(&self) -> &RunSpec {
        &self.file.spec
    }

    pub(super) fn input_px(&self) -> [usize; 2] {
        self.file.input_px.map(|px| px as usize)
    }

    pub(super) fn normal(&self) -> Normal {
        match self.spec().train.normalise {
            Normalise::Backbone => Normal { mean: self.backbone.mean, std: self.backbone.std },
            Normalise::None => Normal::NONE,
        }
    }

    pub(super) fn set(&self, facts: &SetFacts) -> Result<Split, Error> {
        Ok(trained::split_of(facts, &self.dataset)?)
    }

    /// The protocol of predictions, for scores as requested and for validation while training.
    pub(super) fn protocol(&self, mode: eval::Mode, tta: eval::Tta) -> Protocol {
        let config = &self.spec().train;
        Protocol {
            request: Request {
                mode,
                tta,
                patch_px: self.backbone.arch.patch as u32,
                input_px: self.file.input_px,
                normal: self.normal(),
            },
            reference_batch: config.batch_size,
            reference_void: match config.void_label {
                VoidLabel::Ignore => VoidIs::LeftOut,
                VoidLabel::Background => VoidIs::Background,
            },
            threads: self.load_threads(),
        }
    }

    /// Number of threads that load images: as many as compute. They sleep once a few batches are
    /// ready, so that they take no more from computing than loading needs; and where computing
    /// waits for them, every core is theirs.
    pub(super) fn load_threads(&self) -> usize {
        self.order.threads.max(1) as usize
    }
}
