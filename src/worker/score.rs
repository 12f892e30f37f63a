//! Scores a trained run: makes each requested score that is missing, in one pass over its set.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::Error;
use super::inputs::Work;
use super::journal::{Earlier, Journal};
use crate::corrupt::{Corruptor, Effect, Severity};
use crate::data::split::Split;
use crate::eval::Select;
use crate::eval::score::pass::{self, Scored};
use crate::event::{Condition, Event, ScoreEnded};
use crate::experiment::ScoreRequest;
use crate::model::Network;
use crate::train::checkpoint;
use crate::train::run::{End, Sink};

/// Time between two progress lines of a scoring pass.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A network with the weights of an adapter file, LoRA merged into the encoder.
struct Trained {
    network: Network,
    checkpoint: checkpoint::Adapter,
}

impl Work<'_> {
    /// Makes the scores that the order asks for and no earlier attempt has made, those of one
    /// checkpoint together. `network` has the run's shape; its weights are replaced.
    pub(super) fn score_missing(
        &self,
        mut network: Network,
        earlier: &Earlier,
        journal: &mut Journal,
        stop: &AtomicBool,
    ) -> Result<End, Error> {
        for select in [Select::Last, Select::Best] {
            let wanted =
                |r: &&ScoreRequest| r.select == select && !earlier.scores.contains(&r.score);
            let requests: Vec<_> = self.order.scores.iter().filter(wanted).collect();
            if requests.is_empty() {
                continue;
            }
            let scored = match select {
                Select::Last => self.dir.adapter(),
                Select::Best => self.dir.adapter_best(),
            };
            let checkpoint = checkpoint::load_adapter(&scored, &self.file.run, &mut network)?;
            let mut trained = Trained { network: network.merged(), checkpoint };
            for request in requests {
                if self.score(&mut trained, request, journal, stop)? == End::Interrupted {
                    return Ok(End::Interrupted);
                }
            }
        }
        Ok(End::Finished)
    }

    fn score(
        &self,
        trained: &mut Trained,
        request: &ScoreRequest,
        journal: &mut Journal,
        stop: &AtomicBool,
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
        let scored = pass::score(&mut trained.network, set, &protocol, &mut progress, stop)?;
        let Some(Scored { metrics, images }) = scored else { return Ok(End::Interrupted) };
        // On disk before the line that says the score is there.
        images.save(&self.dir.confusion(request.score.as_str()))?;
        journal.emit(Event::ScoreEnded(ScoreEnded {
            score: request.score.clone(),
            checkpoint_sha256: trained.checkpoint.sha256.clone(),
            checkpoint_step: trained.checkpoint.step,
            protocol: request.protocol.clone(),
            set: request.set.clone(),
            set_fingerprint: request.set_fingerprint.clone(),
            suite: request.suite.clone(),
            condition: request.condition.clone(),
            metrics,
            time_ms: started.elapsed().as_millis() as u64,
        }))?;
        journal.sync()?;
        Ok(End::Finished)
    }

    fn corruptor(&self, request: &ScoreRequest) -> Result<Option<Corruptor>, Error> {
        let Condition::Corrupted { effect, severity } = &request.condition else {
            return Ok(None);
        };
        let known = Effect::parse(effect).zip(Severity::new(*severity));
        let (effect, severity) = known.ok_or_else(|| {
            Error::Unknown(format!("this binary has no corruption {effect} at level {severity}"))
        })?;
        let frost = self.order.facts.frost.as_deref();
        Ok(Some(Corruptor::new(effect, severity, frost)?))
    }

    /// The split that a score is made on; a name that the order's facts do not list is a split of
    /// the run's own dataset.
    fn scored_split(&self, request: &ScoreRequest) -> Result<Split, Error> {
        let named = self.order.facts.sets.iter().find(|facts| {
            facts.name == request.set && facts.fingerprint == request.set_fingerprint
        });
        match named {
            Some(facts) => self.set(facts),
            None => Ok(self.dataset.split(&request.split)?),
        }
    }
}
