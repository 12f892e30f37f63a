//! The first pass of `sweep pca`: every picture through the encoder.

use super::flags::Px;
use crate::cli::bar::Bar;
use crate::cli::fault::{Exit, OrExit as _};
use crate::cli::inputs::{self, Inputs};
use crate::data::Rgb;
use crate::data::transform::{self, Normal};
use crate::eval::infer;
use crate::eval::tokens::{Extractor, Store};

/// Patches of an image of the usual size, 518 pixels in patches of 14: as many of such images as the
/// device takes in one pass are a batch.
const USUAL_PATCHES: usize = 37 * 37;

/// The tokens of all pictures that could be read.
pub(super) struct Encoded {
    pub(super) store: Store,
    /// Those pictures.
    pub(super) inputs: Inputs,
    /// Height and width of each.
    pub(super) sizes: Vec<[u32; 2]>,
    /// Height and width of each for the network.
    pub(super) px: Vec<[u32; 2]>,
    /// Indices of the images that could not be read.
    pub(super) failed: Vec<usize>,
}

/// A picture as the network takes it: height, width, and `[3, height, width]`; or what is wrong
/// with its size.
type Ready = Result<([u32; 2], Vec<f32>), String>;

/// Encodes all pictures; names each image that cannot be read, and goes on.
pub(super) fn encode(
    inputs: &Inputs,
    (mut extractor, mut store): (Extractor, Store),
    (px, patch): (Px, u32),
    normal: Normal,
) -> anyhow::Result<Encoded> {
    let n_usual = infer::batch_size(&extractor.device());
    let mut bar = Bar::new("encoded", inputs.count());
    let mut batch = Batch::default();
    let (mut sizes, mut all_px, mut failed) = (vec![], vec![], vec![]);
    for (i, read) in inputs.read(2 * n_usual, ready(px, patch, normal))?.enumerate() {
        let problem = match read? {
            Ok((image, Ok((px, values)))) => {
                let n_patches = (px[0] / patch * (px[1] / patch)) as usize;
                let n_max = (n_usual * USUAL_PATCHES / n_patches).clamp(1, n_usual);
                if batch.px != px || batch.images.len() >= n_max {
                    batch.encode(&mut extractor, &mut store, patch)?;
                }
                batch.px = px;
                batch.images.push(values);
                sizes.push([image.height, image.width]);
                all_px.push(px);
                None
            }
            Ok((_, Err(words))) => Some(format!("{} {words}", inputs.name(i))),
            Err(error) => match inputs {
                Inputs::Images(paths) => Some(inputs::unreadable(&paths[i], error)),
                Inputs::Video(_) => return Err(error).or_exit(Exit::Usage),
            },
        };
        if let Some(problem) = problem {
            bar.note(&format_args!("not shown: {problem}"));
            failed.push(i);
        }
        bar.step();
    }
    batch.encode(&mut extractor, &mut store, patch)?;
    let inputs = match inputs {
        Inputs::Images(paths) => {
            let kept = paths.iter().enumerate().filter(|(i, _)| failed.binary_search(i).is_err());
            Inputs::Images(kept.map(|(_, path)| path.clone()).collect())
        }
        video @ Inputs::Video(_) => video.clone(),
    };
    Ok(Encoded { store, inputs, sizes, px: all_px, failed })
}

fn ready(px: Px, patch: u32, normal: Normal) -> impl Fn(&Rgb) -> Ready + Send + Sync + 'static {
    move |image| {
        let [height, width] = px.of([image.height, image.width], patch)?;
        let image = transform::squash(image, height, width);
        let mut values = vec![0.0; 3 * (height * width) as usize];
        transform::to_chw(&image, normal, &mut values);
        Ok(([height, width], values))
    }
}

/// Pictures of one size that are encoded together.
#[derive(Default)]
struct Batch {
    px: [u32; 2],
    images: Vec<Vec<f32>>,
}

impl Batch {
    fn encode(
        &mut self,
        extractor: &mut Extractor,
        store: &mut Store,
        patch: u32,
    ) -> anyhow::Result<()> {
        if self.images.is_empty() {
            return Ok(());
        }
        let tokens = extractor.run(&self.images, self.px.map(|side| side as usize));
        let grid = self.px.map(|side| (side / patch) as usize);
        for tokens in tokens.chunks_exact(tokens.len() / self.images.len()) {
            store.push(tokens, grid).or_exit(Exit::Environment)?;
        }
        self.images.clear();
        Ok(())
    }
}
